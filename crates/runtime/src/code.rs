//! Code memory: the mapped machine code, and who owns the code at an address.
//!
//! # The registry
//!
//! One for the process, since a signal handler starts with nothing but a program counter. It maps
//! ranges of code to their owners (compiled modules), and holds them weakly: being registered
//! keeps nothing alive.
//!
//! ```text
//!   register ─────────── last owner goes ─────────── unregister ─── unmapped
//!      ├────────────────── is_code: true ─────────────────┤
//!      ├─ lookup: the owner ──────┤
//! ```
//!
//! A range must leave the registry before its addresses are unmapped, for then another module's
//! code can get them. So the owner unregisters in its `drop`, before its fields go; and dropping a
//! [`CodeMemory`] takes out what it finds of its own range first, in case nobody did.

use crate::mapping::Mapping;
use crate::reclaim::{self, Room};
use anyhow::{Context, Result};
use std::any::Any;
use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

/// Machine code in pages of its own, readable and executable, and never writable from the moment
/// on that it is executable.
#[derive(Debug)]
pub struct CodeMemory {
    mapping: Mapping,
    /// Bytes of code; `mapping` ends with the page of the last.
    len: usize,
}

// The code is looked at from whichever thread has a store. There is no interior mutability: nobody
// writes the pages after `publish`.
const _: fn() = || {
    fn send_and_sync<T: Send + Sync>() {}
    send_and_sync::<CodeMemory>();
};

impl CodeMemory {
    /// Copies the code to memory of its own and makes that executable.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn publish(text: &[u8]) -> Result<CodeMemory> {
        reclaim::retrying(Room::new(text.len()), || CodeMemory::map(text))
    }

    fn map(text: &[u8]) -> Result<CodeMemory> {
        let len = text.len();
        // A module without functions has no code, but an address like any other.
        let mut mapping = Mapping::reserve(len.max(1))
            .with_context(|| format!("cannot reserve {len} bytes of address space for code"))?;
        let size = mapping.len();
        mapping.open(0..size).with_context(|| format!("cannot map {len} bytes for code"))?;
        // SAFETY: own mapping: the mapping is fresh, open, and at least as long as the text.
        unsafe { mapping.base().copy_from_nonoverlapping(text.as_ptr(), len) };
        if cfg!(miri) {
            // It runs no code.
            return Ok(CodeMemory { mapping, len });
        }
        let executable = region::Protection::READ_EXECUTE;
        // SAFETY: code pages: the pages are the mapping's own, and nothing writes to them from here
        // on: `base` is given out as `*const` only.
        unsafe { region::protect(mapping.base(), size, executable) }
            .with_context(|| format!("cannot make {len} bytes of code executable"))?;
        Ok(CodeMemory { mapping, len })
    }

    /// The address of the code at this offset.
    ///
    /// # Panics
    ///
    /// If the offset lies beyond the end of the code.
    pub fn address(&self, offset: u32) -> *const u8 {
        let offset = offset as usize;
        assert!(offset <= self.len, "code offset {offset:#x} is beyond {:#x} bytes", self.len);
        self.mapping.base().wrapping_add(offset)
    }

    /// The addresses of the code. A return address can be the end of it, if a call is the very
    /// last instruction.
    pub fn range(&self) -> Range<usize> {
        let start = self.mapping.base() as usize;
        start..start + self.len
    }

    /// The code.
    pub fn text(&self) -> &[u8] {
        // SAFETY: code pages: mapped and readable while `self` lives, and nobody writes there.
        unsafe { std::slice::from_raw_parts(self.mapping.base(), self.len) }
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        unregister(self.range());
    }
}

/// What owns code: something that keeps the code mapped while it lives.
///
/// What [`lookup`] returns coerces to `Arc<dyn Any + Send + Sync>`, to be downcast.
pub trait CodeOwner: Any + Send + Sync {}

/// By the end of each range. Ranges are not empty and do not overlap.
type Registry = BTreeMap<usize, Registered>;

struct Registered {
    start: usize,
    owner: Weak<dyn CodeOwner>,
}

// The map is whole after a panic too: nothing below runs code that could panic while the map is
// half changed. So poison means nothing.
static REGISTRY: RwLock<Registry> = RwLock::new(BTreeMap::new());

fn read() -> RwLockReadGuard<'static, Registry> {
    REGISTRY.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Registry> {
    REGISTRY.write().unwrap_or_else(PoisonError::into_inner)
}

/// The range that contains `pc`.
fn find(registry: &Registry, pc: usize) -> Option<&Registered> {
    let (_, found) = registry.range((Bound::Excluded(pc), Bound::Unbounded)).next()?;
    (found.start <= pc).then_some(found)
}

/// Makes `owner` known as the owner of the code in `range`, until [`unregister`]. An empty range
/// has no code, and is not registered.
pub fn register(range: Range<usize>, owner: Weak<dyn CodeOwner>) {
    if range.is_empty() {
        return;
    }
    let mut registry = write();
    // Of the ranges that end after our start, the first must start at our end or later.
    let next = registry.range((Bound::Excluded(range.start), Bound::Unbounded)).next();
    let overlaps = next.is_some_and(|(_, next)| next.start < range.end);
    let replaced = registry.insert(range.end, Registered { start: range.start, owner });
    drop(registry);
    // Not under the lock: the last weak reference frees memory.
    drop(replaced);
    debug_assert!(!overlaps, "code at {range:x?} is registered twice");
}

/// Takes out a range that was registered; nothing if it was not.
pub fn unregister(range: Range<usize>) {
    let mut registry = write();
    let is_same = registry.get(&range.end).is_some_and(|found| found.start == range.start);
    let removed = if is_same { registry.remove(&range.end) } else { None };
    drop(registry);
    // Not under the lock, as in `register`.
    drop(removed);
}

/// The owner of the code at this address, while somebody has it.
///
/// Not for signal handlers: dropping what it returns can be what drops the owner.
pub fn lookup(pc: usize) -> Option<Arc<dyn CodeOwner>> {
    // The lock is given back before the caller can drop the owner, which would unregister.
    find(&read(), pc)?.owner.upgrade()
}

/// Whether the address is that of registered code.
///
/// It may be called in a signal handler, on a thread that the signal found in wasm: such a thread
/// holds no lock of ours and is not in the allocator. It waits for the registry's lock, which
/// other threads hold for short; it allocates nothing, takes and drops no reference to the owner,
/// and has nothing in it that panics.
pub fn is_code(pc: usize) -> bool {
    find(&read(), pc).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::testing::{address_space, alone, protections};
    use std::sync::atomic::{AtomicBool, Ordering};

    struct Owner(CodeMemory);

    impl CodeOwner for Owner {}

    impl Drop for Owner {
        fn drop(&mut self) {
            unregister(self.0.range());
        }
    }

    fn registered(text: &[u8]) -> Arc<Owner> {
        let owner = Arc::new(Owner(CodeMemory::publish(text).unwrap()));
        register(owner.0.range(), weak(&owner));
        owner
    }

    fn weak(owner: &Arc<Owner>) -> Weak<dyn CodeOwner> {
        let weak: Weak<Owner> = Arc::downgrade(owner);
        weak
    }

    fn owner_at(pc: usize) -> Option<Arc<Owner>> {
        let owner: Arc<dyn Any + Send + Sync> = lookup(pc)?;
        Some(owner.downcast().unwrap())
    }

    /// Addresses that no mapping of a process has: not even of a test that runs meanwhile.
    const ELSEWHERE: usize = 0xffff_8000_0000_0000;

    #[test]
    fn published_code_is_executable_and_not_writable() {
        let text: Vec<u8> = (0..10_000u32).map(|i| i as u8).collect();
        let code = CodeMemory::publish(&text).unwrap();
        assert_eq!(code.text(), text);
        let pages = code.range().start..code.range().start + code.mapping.len();
        assert_eq!(protections(pages.clone()), [(pages, Some("r-xp".to_string()))]);
        assert_eq!(code.range().len(), 10_000);
        assert_eq!(code.address(77) as usize, code.range().start + 77);
        assert_eq!(code.address(10_000) as usize, code.range().end);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn published_code_runs() {
        // nop; mov eax, 42; ret
        let code = CodeMemory::publish(&[0x90, 0xb8, 42, 0, 0, 0, 0xc3]).unwrap();
        // SAFETY: the code is a function of this signature, and stays mapped during the call.
        let result = unsafe {
            let function: extern "C" fn() -> u32 = std::mem::transmute(code.address(1));
            function()
        };
        assert_eq!(result, 42);
    }

    #[test]
    #[should_panic(expected = "beyond 0x4 bytes")]
    fn addresses_beyond_the_code_are_refused() {
        CodeMemory::publish(&[0; 4]).unwrap().address(5);
    }

    #[test]
    fn code_of_no_bytes_has_an_address_and_is_not_found() {
        let owner = registered(&[]);
        let range = owner.0.range();
        assert!(range.is_empty() && owner.0.text().is_empty());
        assert_eq!(owner.0.address(0) as usize, range.start);
        assert!(!is_code(range.start) && lookup(range.start).is_none());
    }

    #[test]
    fn an_address_is_found_from_the_first_byte_of_its_range_to_the_last() {
        let (first, second) = (registered(&[0xcc; 5000]), registered(&[0xcc; 4096]));
        for owner in [&first, &second] {
            let range = owner.0.range();
            for pc in [range.start, range.start + 1, range.end - 1] {
                assert!(is_code(pc));
                assert!(Arc::ptr_eq(&owner_at(pc).unwrap(), owner));
            }
            // The byte past the end can be the other one's first.
            for pc in [range.start - 1, range.end] {
                assert!(!owner_at(pc).is_some_and(|found| Arc::ptr_eq(&found, owner)));
            }
        }
        // Between the end of the code and the end of its page there is nothing.
        let end = first.0.range().end;
        assert!(!is_code(end) && lookup(end).is_none());
        for pc in [0, usize::MAX, usize::MAX - 1] {
            assert!(!is_code(pc) && lookup(pc).is_none());
        }
    }

    #[test]
    fn neighbouring_ranges_are_told_apart() {
        let base = ELSEWHERE;
        let (low, high) = (registered(&[1]), registered(&[2]));
        register(base + 10..base + 20, weak(&high));
        register(base..base + 10, weak(&low));
        register(base + 20..base + 20, weak(&low));
        for (pc, expected) in [(0, &low), (9, &low), (10, &high), (19, &high)] {
            assert!(Arc::ptr_eq(&owner_at(base + pc).unwrap(), expected), "{pc}");
        }
        assert!(!is_code(base - 1) && !is_code(base + 20));
        // Only the very range that was registered can be taken out.
        unregister(base + 5..base + 10);
        unregister(base..base + 9);
        assert!(is_code(base + 7));
        unregister(base..base + 10);
        unregister(base..base + 10);
        assert!(!is_code(base + 9) && is_code(base + 10));
        unregister(base + 10..base + 20);
        assert!(!is_code(base + 10));
    }

    #[test]
    fn registered_code_has_no_owner_once_that_is_gone() {
        let range = ELSEWHERE + 4096..ELSEWHERE + 4112;
        let owner = registered(&[0xcc; 16]);
        register(range.clone(), weak(&owner));
        assert!(lookup(range.start).is_some());
        drop(owner);
        assert!(is_code(range.start) && lookup(range.start).is_none());
        unregister(range.clone());
        assert!(!is_code(range.start));
    }

    #[test]
    fn code_memory_unregisters_what_its_owner_forgot() {
        if !alone("code::tests::code_memory_unregisters_what_its_owner_forgot") {
            return;
        }
        struct Careless(CodeMemory);
        impl CodeOwner for Careless {}
        let owner = Arc::new(Careless(CodeMemory::publish(&[0xcc; 16]).unwrap()));
        let weak: Weak<Careless> = Arc::downgrade(&owner);
        let pc = owner.0.range().start;
        register(owner.0.range(), weak);
        assert!(is_code(pc));
        drop(owner);
        assert!(!is_code(pc));
    }

    #[test]
    fn the_registry_works_after_a_panic_under_its_lock() {
        let panicked = std::thread::spawn(|| {
            let _registry = write();
            panic!("on purpose, to poison the lock");
        });
        assert!(panicked.join().is_err());
        let owner = registered(&[0xcc; 16]);
        assert!(is_code(owner.0.range().start));
        assert!(lookup(owner.0.range().start).is_some());
    }

    #[test]
    fn owners_can_go_while_others_look_them_up() {
        let stop = AtomicBool::new(false);
        let latest = std::sync::atomic::AtomicUsize::new(0);
        let found = std::thread::scope(|scope| {
            let looking = scope.spawn(|| {
                let mut found = 0;
                while !stop.load(Ordering::Relaxed) || found == 0 {
                    let pc = latest.load(Ordering::Relaxed);
                    // Whoever drops the last reference drops the code, here or there.
                    if let Some(owner) = owner_at(pc) {
                        assert!(owner.0.range().contains(&pc));
                        assert_eq!(owner.0.text()[0], 0xcc);
                        found += 1;
                    }
                }
                found
            });
            for _ in 0..2000 {
                let owner = registered(&[0xcc; 64]);
                latest.store(owner.0.range().start, Ordering::Relaxed);
                assert!(is_code(owner.0.range().start));
            }
            let last = registered(&[0xcc; 64]);
            latest.store(last.0.range().start, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
            looking.join().unwrap()
        });
        assert!(found > 0);
    }

    #[test]
    fn dropped_code_leaves_no_mappings() {
        if !alone("code::tests::dropped_code_leaves_no_mappings") {
            return;
        }
        let round = || {
            let owners: Vec<_> = (0..200).map(|i| registered(&vec![0xcc; i * 100])).collect();
            assert_eq!(read().len(), 199, "all but the empty one");
            drop(owners);
        };
        round();
        let (mappings, size) = address_space();
        for _ in 0..5 {
            round();
        }
        let (mappings_after, size_after) = address_space();
        assert!(mappings_after <= mappings + 4, "{mappings} -> {mappings_after} mappings");
        assert!(size_after < size + (16 << 20), "{size} -> {size_after} bytes of address space");
        assert!(read().is_empty());
    }
}
