//! Executable memory, and which module an address of it belongs to.

use anyhow::{Context, Result};
use region::{Allocation, Protection};
use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, Weak};

/// Machine code in a mapping of its own: written once, then readable and executable. It is never
/// writable and executable at once, and unmapped when dropped.
pub struct CodeMemory {
    mapping: Allocation,
    len: usize,
}

// SAFETY: after `publish` nobody writes the mapping; it is unmapped by the one owner's drop.
unsafe impl Send for CodeMemory {}
// SAFETY: as above.
unsafe impl Sync for CodeMemory {}

impl CodeMemory {
    /// Copies `text` into executable memory.
    ///
    /// # Errors
    ///
    /// If memory cannot be mapped or protected.
    pub fn publish(text: &[u8]) -> Result<CodeMemory> {
        // An empty module needs an address range too.
        let size = text.len().max(1);
        let mut mapping = region::alloc(size, Protection::READ_WRITE)
            .with_context(|| format!("mapping {size} bytes for code"))?;
        // SAFETY: the mapping has at least `text.len()` writable bytes that nobody else knows.
        unsafe {
            std::ptr::copy_nonoverlapping(text.as_ptr(), mapping.as_mut_ptr::<u8>(), text.len());
            region::protect(mapping.as_ptr::<u8>(), mapping.len(), Protection::READ_EXECUTE)
                .context("making code executable")?;
        }
        Ok(CodeMemory { mapping, len: text.len() })
    }

    /// The address of the byte at `offset`.
    ///
    /// # Panics
    ///
    /// If it lies outside of the text.
    pub fn address(&self, offset: u32) -> *const u8 {
        &raw const self.text()[offset as usize]
    }

    /// The addresses of the text.
    pub fn range(&self) -> Range<usize> {
        let start = self.mapping.as_ptr::<u8>() as usize;
        start..start + self.len
    }

    /// The text.
    pub fn text(&self) -> &[u8] {
        // SAFETY: the mapping has `len` bytes, which were written in `publish` and are readable.
        unsafe { std::slice::from_raw_parts(self.mapping.as_ptr::<u8>(), self.len) }
    }
}

/// Whoever owns code: found by address, and downcast by who looks.
pub trait CodeOwner: Any + Send + Sync {}

/// A range of registered code.
struct Registered {
    start: usize,
    owner: Weak<dyn CodeOwner>,
}

/// All wasm code of the process, by its end address.
static CODE: RwLock<BTreeMap<usize, Registered>> = RwLock::new(BTreeMap::new());

/// Announces code. `unregister` must be called before the range is unmapped.
pub fn register(range: Range<usize>, owner: Weak<dyn CodeOwner>) {
    if !range.is_empty() {
        let registered = Registered { start: range.start, owner };
        CODE.write().unwrap_or_else(PoisonError::into_inner).insert(range.end, registered);
    }
}

/// Takes back what `register` announced.
pub fn unregister(range: Range<usize>) {
    if !range.is_empty() {
        let gone = CODE.write().unwrap_or_else(PoisonError::into_inner).remove(&range.end);
        // Dropped after the lock was released.
        drop(gone);
    }
}

/// The owner of the code at `pc`, while it lives.
pub fn lookup(pc: usize) -> Option<Arc<dyn CodeOwner>> {
    let code = CODE.read().unwrap_or_else(PoisonError::into_inner);
    let (_, found) = code.range(pc.checked_add(1)?..).next()?;
    (found.start <= pc).then(|| found.owner.upgrade()).flatten()
}

/// Whether there is registered code at `pc`. For the signal handler, on a thread that was running
/// wasm and so holds no lock of ours: it allocates nothing and drops nothing.
pub fn is_code(pc: usize) -> bool {
    let code = CODE.read().unwrap_or_else(PoisonError::into_inner);
    let Some(after) = pc.checked_add(1) else { return false };
    code.range(after..).next().is_some_and(|(_, found)| found.start <= pc)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Owner;
    impl CodeOwner for Owner {}

    #[test]
    fn code_is_found_by_address_up_to_its_edges() {
        let code = CodeMemory::publish(&[0xc3; 100]).unwrap();
        let range = code.range();
        assert_eq!(range.len(), 100);
        assert_eq!(code.text(), [0xc3; 100]);
        assert!(!is_code(range.start));
        let owner = Arc::new(Owner);
        let weak: Weak<Owner> = Arc::downgrade(&owner);
        register(range.clone(), weak);
        for (pc, inside) in [
            (range.start - 1, false),
            (range.start, true),
            (range.end - 1, true),
            (range.end, false),
            (usize::MAX, false),
        ] {
            assert_eq!(is_code(pc), inside, "{pc:#x}");
            assert_eq!(lookup(pc).is_some(), inside, "{pc:#x}");
        }
        drop(owner);
        assert!(lookup(range.start).is_none(), "the owner is gone");
        unregister(range.clone());
        assert!(!is_code(range.start));
    }

    #[test]
    fn published_code_is_executable_and_not_writable() {
        let code = CodeMemory::publish(&[0xc3]).unwrap();
        let region = region::query(code.address(0)).unwrap();
        assert_eq!(region.protection(), Protection::READ_EXECUTE);
    }
}
