//! Wasm stacks: memory for wasm frames alone, pooled by the engine.
//!
//! ```text
//!   ┌───────────────┐ top, 16-aligned
//!   │ wasm frames   │ max_wasm_stack bytes; prologues test stack_limit
//!   ├───────────────┤ stack_limit
//!   │ reserve       │ frames that are not tested, the stubs' save area, and the frames of signal
//!   │               │ handlers that run without an alternate stack; virtual until touched
//!   ├───────────────┤
//!   │ guard page    │ inaccessible: second line of defence
//!   └───────────────┘ base
//! ```

use crate::arch;
use crate::mapping::page_size;
use anyhow::{Context, Result};
use std::ptr::NonNull;
use std::sync::Mutex;

/// The largest frame of a function whose prologue does not test `stack_limit`; the translator
/// verifies it (`LEAF_FRAME_MAX` there).
const UNTESTED_FRAME_MAX: usize = 4096 + 64;

/// The least that wasm frames may take. The entry trampoline does not test the limit; its frame is
/// at most 48 KiB (the translator refuses larger ones), which this and the reserve exceed.
const USABLE_MIN: usize = 16 << 10;

/// A mapped wasm stack.
#[derive(Debug)]
pub(crate) struct WasmStack {
    base: NonNull<u8>,
    /// Bytes mapped, guard included.
    size: usize,
    guard: usize,
    reserve: usize,
}

// SAFETY: the stack is plain memory, owned by this value alone; nothing in it is tied to a thread.
unsafe impl Send for WasmStack {}
// SAFETY: a shared reference gives addresses only.
unsafe impl Sync for WasmStack {}

impl WasmStack {
    /// Maps a stack on which wasm frames may take `usable` bytes.
    fn new(usable: usize) -> Result<WasmStack> {
        let page = page_size();
        let reserve = reserve();
        let guard = page;
        let size = (usable.max(USABLE_MIN) + reserve).next_multiple_of(page) + guard;
        // SAFETY: a fresh private mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            let error = std::io::Error::last_os_error();
            return Err(error).with_context(|| format!("mapping a wasm stack of {size} bytes"));
        }
        let base = NonNull::new(base.cast::<u8>()).expect("mmap does not return null");
        let stack = WasmStack { base, size, guard, reserve };
        // SAFETY: the first pages of the mapping that was just made.
        if unsafe { libc::mprotect(base.as_ptr().cast(), guard, libc::PROT_NONE) } != 0 {
            let error = std::io::Error::last_os_error();
            return Err(error).context("protecting the guard page of a wasm stack");
        }
        Ok(stack)
    }

    /// The address above the highest byte.
    pub(crate) fn top(&self) -> usize {
        self.base.as_ptr() as usize + self.size
    }

    /// The lowest address wasm frames may use.
    pub(crate) fn limit(&self) -> usize {
        self.base.as_ptr() as usize + self.guard + self.reserve
    }

    /// The readable addresses.
    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.base.as_ptr() as usize + self.guard..self.top()
    }
}

impl Drop for WasmStack {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`, owned by `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
    }
}

/// Bytes below `stack_limit`.
fn reserve() -> usize {
    // SAFETY: reads the auxiliary vector.
    let minsigstksz = unsafe { libc::getauxval(libc::AT_MINSIGSTKSZ) } as usize;
    let signals = (2 * minsigstksz + (16 << 10)).max(32 << 10);
    (signals + UNTESTED_FRAME_MAX + arch::STUB_FRAME_MAX).next_multiple_of(page_size())
}

/// The engine's pool of wasm stacks, all of the same size.
#[derive(Debug)]
pub(crate) struct StackPool {
    usable: usize,
    /// Stacks kept for reuse, at most.
    keep: usize,
    /// Boxed, so that a stack changes hands as one word: that happens twice in every call.
    #[expect(clippy::vec_box, reason = "the boxes themselves go in and out")]
    free: Mutex<Vec<Box<WasmStack>>>,
}

impl StackPool {
    /// A pool of stacks with `usable` bytes for wasm frames, that keeps at most `keep` free ones.
    pub(crate) fn new(usable: usize, keep: usize) -> StackPool {
        StackPool { usable, keep, free: Mutex::new(Vec::new()) }
    }

    /// A free stack, or a new one.
    pub(crate) fn take(&self) -> Result<Box<WasmStack>> {
        let free = self.lock().pop();
        free.map_or_else(|| WasmStack::new(self.usable).map(Box::new), Ok)
    }

    /// Gives a stack back.
    pub(crate) fn put(&self, stack: Box<WasmStack>) {
        let mut free = self.lock();
        if free.len() < self.keep {
            free.push(stack);
        }
    }

    /// Number of free stacks in the pool.
    pub(crate) fn free(&self) -> usize {
        self.lock().len()
    }

    #[expect(clippy::vec_box, reason = "as above")]
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Box<WasmStack>>> {
        self.free.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_has_its_usable_bytes_above_the_limit_and_a_reserve_below() {
        let stack = WasmStack::new(100_000).unwrap();
        assert!(stack.top() - stack.limit() >= 100_000);
        assert_eq!(stack.top() % 16, 0);
        assert!(stack.limit() - stack.range().start >= (32 << 10) + UNTESTED_FRAME_MAX);
        let low = stack.range().start as *mut u8;
        // SAFETY: the lowest readable byte of a stack that nobody uses.
        unsafe {
            low.write_volatile(7);
            assert_eq!(low.read_volatile(), 7);
        }
    }

    #[test]
    fn the_pool_reuses_stacks_and_keeps_no_more_than_it_should() {
        let pool = StackPool::new(1 << 16, 1);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        let top = a.top();
        pool.put(a);
        pool.put(b);
        assert_eq!(pool.free(), 1);
        assert_eq!(pool.take().unwrap().top(), top);
    }
}
