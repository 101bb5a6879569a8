//! GDB's JIT interface: telling a debugger which code exists.
//!
//! The debugger knows two symbols. It reads the list that `__jit_debug_descriptor` starts when it
//! attaches, and has a breakpoint in `__jit_debug_register_code` afterwards, by which it learns of
//! each entry that comes or goes. An entry points to an object file in memory:
//!
//! ```text
//!   __jit_debug_descriptor
//!   ├ version 1
//!   ├ action_flag     what the call of __jit_debug_register_code is about
//!   ├ relevant_entry  and which entry
//!   └ first_entry ──► entry ◄──► entry ◄──► entry      (a process's JITs all link theirs here)
//!                     └ image of an ELF file           (ours: `stillframe-debug` makes them)
//! ```
//!
//! # Other JITs in the process
//!
//! There is one pair of these symbols in a program, whoever defines them: a debugger looks them up
//! by name, and two strong definitions do not link. Ours are weak, as wasmtime's are, so any other
//! definition can take their place, and all JITs then share one list. (That is why they are in
//! assembly: stable Rust has no weak symbols.)
//!
//! The interface has no lock. [`LOCK`] orders our own changes; a JIT with a lock of its own is not
//! held up by it. LLVM, wasmtime and others have this in common, and nobody can cure it from one
//! side: an update is several plain writes. So a program that lets two JITs describe code to
//! debuggers must not have both publish or drop code at the same time; `Config::native_debug_info`
//! says so where one chooses it.

use std::ptr::{self, NonNull};
use std::sync::{Mutex, PoisonError};

/// One object file in the list. The layout is the debugger's.
#[repr(C)]
struct Entry {
    next: *mut Entry,
    previous: *mut Entry,
    image: *const u8,
    image_size: u64,
}

/// The list, and the last change to it. The layout is the debugger's.
#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const NO_ACTION: u32 = 0;
const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

// A function that does nothing, and a descriptor of version 1 with an empty list. In sections of
// their own, so that the linker can leave out those that lost to another definition.
core::arch::global_asm!(
    ".pushsection .text.__jit_debug_register_code,\"ax\",@progbits",
    ".weak __jit_debug_register_code",
    ".type __jit_debug_register_code,@function",
    ".balign 16",
    "__jit_debug_register_code:",
    ".cfi_startproc",
    "ret",
    ".cfi_endproc",
    ".size __jit_debug_register_code, . - __jit_debug_register_code",
    ".popsection",
    ".pushsection .data.__jit_debug_descriptor,\"aw\",@progbits",
    ".weak __jit_debug_descriptor",
    ".type __jit_debug_descriptor,@object",
    ".balign 8",
    "__jit_debug_descriptor:",
    ".long 1, 0",
    ".quad 0, 0",
    ".size __jit_debug_descriptor, {size}",
    ".popsection",
    size = const size_of::<Descriptor>(),
);

unsafe extern "C" {
    static mut __jit_debug_descriptor: Descriptor;
    fn __jit_debug_register_code();
}

/// Held while the list changes.
static LOCK: Mutex<()> = Mutex::new(());

/// An object file that debuggers can see; dropping it takes it away from them.
///
/// Whoever has this must drop it before the addresses that the file describes can become those of
/// other code.
#[derive(Debug)]
pub struct Registration {
    entry: NonNull<Entry>,
    /// What `entry` points to.
    image: Box<[u8]>,
}

// SAFETY: debuggers' list: the entry is reached through the list only, under `LOCK`; the image does
// not change.
unsafe impl Send for Registration {}
// SAFETY: debuggers' list: a shared reference gives the image only.
unsafe impl Sync for Registration {}

impl Registration {
    /// Puts an object file into the debuggers' list.
    ///
    /// Its bytes are for debuggers: nothing in this process reads them. A debugger will say so if
    /// they are no object file.
    pub fn new(image: Vec<u8>) -> Registration {
        let image = image.into_boxed_slice();
        let entry = NonNull::from(Box::leak(Box::new(Entry {
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            image: image.as_ptr(),
            image_size: image.len() as u64,
        })));
        let _locked = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: debuggers' list: the list is ours under the lock, as far as it can be (see
        // above). Entries in it are alive, since each is unlinked before it is freed; `entry` is
        // fresh.
        unsafe {
            let list = &raw mut __jit_debug_descriptor;
            let first = (*list).first;
            (*entry.as_ptr()).next = first;
            if !first.is_null() {
                (*first).previous = entry.as_ptr();
            }
            (*list).first = entry.as_ptr();
            notify(list, REGISTER, entry.as_ptr());
        }
        Registration { entry, image }
    }

    /// The object file.
    pub fn image(&self) -> &[u8] {
        &self.image
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let entry = self.entry.as_ptr();
        let locked = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: debuggers' list: as in `new`; the entry is in the list since then, and so are its
        // neighbours.
        unsafe {
            let list = &raw mut __jit_debug_descriptor;
            let Entry { next, previous, .. } = *entry;
            match previous.is_null() {
                true => (*list).first = next,
                false => (*previous).next = next,
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            notify(list, UNREGISTER, entry);
        }
        drop(locked);
        // SAFETY: debuggers' list: made by `Box::leak` in `new`, and nothing points to it any more.
        drop(unsafe { Box::from_raw(entry) });
    }
}

/// Tells a debugger of the change.
///
/// # Safety
///
/// `LOCK` is held, and `list` is the descriptor.
unsafe fn notify(list: *mut Descriptor, action: u32, entry: *mut Entry) {
    // SAFETY: debuggers' list: the caller's. The debugger's breakpoint is in the function called;
    // to the compiler it could read the descriptor, so that the writes before it are done by then.
    unsafe {
        (*list).action = action;
        (*list).relevant = entry;
        __jit_debug_register_code();
        (*list).action = NO_ACTION;
        (*list).relevant = ptr::null_mut();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The images in the list, first to last, checked to be linked both ways.
    fn listed() -> Vec<Vec<u8>> {
        let _locked = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
        let mut images = Vec::new();
        // SAFETY: the list does not change under the lock, and what it reaches is alive.
        unsafe {
            let list = &raw const __jit_debug_descriptor;
            assert_eq!(((*list).version, (*list).action), (1, NO_ACTION));
            assert!((*list).relevant.is_null());
            let (mut previous, mut entry) = (ptr::null_mut(), (*list).first);
            while !entry.is_null() {
                assert_eq!((*entry).previous, previous);
                let size = (*entry).image_size as usize;
                images.push(std::slice::from_raw_parts((*entry).image, size).to_vec());
                (previous, entry) = (entry, (*entry).next);
            }
        }
        images
    }

    /// One test, since the list is the process's.
    #[test]
    fn entries_come_and_go_in_any_order_and_on_any_thread() {
        let before = listed();
        let make = |name: &str| Registration::new(name.as_bytes().to_vec());
        let (a, b, c, d) = (make("a"), make("bb"), make(""), make("d"));
        let names = || -> Vec<String> {
            let images = listed();
            let ours = &images[..images.len() - before.len()];
            ours.iter().map(|image| String::from_utf8(image.clone()).unwrap()).collect()
        };
        assert_eq!(names(), ["d", "", "bb", "a"]);
        drop(b); // in the middle
        assert_eq!(names(), ["d", "", "a"]);
        drop(d); // the first
        assert_eq!(names(), ["", "a"]);
        drop(a); // the last
        assert_eq!((names(), c.image()), (vec![String::new()], &[][..]));
        drop(c);
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                scope.spawn(move || {
                    let mut kept = Vec::new();
                    for i in 0..500u32 {
                        kept.push(Registration::new(vec![thread; 10]));
                        if i % 3 != 0 {
                            kept.swap_remove(i as usize * 7 % kept.len());
                        }
                    }
                });
            }
        });
        assert_eq!(listed(), before);
    }
}
