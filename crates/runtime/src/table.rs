//! The elements of a table: references, as the 64-bit words that generated code uses.
//!
//! They lie in one allocation, which this file reaches through a raw pointer. Generated code has a
//! copy of that pointer ([`TableElements::base`]) and writes through it (`table.set`) without
//! asking; so slices are made from it for the length of one method only, while the store is
//! borrowed and none of its wasm runs. The copy comes from the same pointer, not from a slice:
//! none of our slices invalidates it.

use crate::reclaim::{self, Room};
use anyhow::{Context, Result, ensure};
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Range;
use std::ptr::NonNull;
use stillframe_abi::types::TableType;

/// A table's elements: contiguous, 0 is null.
#[derive(Debug)]
pub struct TableElements {
    ty: TableType,
    /// An allocation of `capacity` elements, or dangling if that is 0. All are initialised; those
    /// from `len` on are 0.
    elements: NonNull<u64>,
    len: usize,
    capacity: usize,
}

// SAFETY: own allocation: the allocation belongs to this value alone. What the words mean is the
// store's business, and the store moves between threads as a whole.
unsafe impl Send for TableElements {}
// SAFETY: own allocation: what `&self` offers only reads. Generated code writes through `base`, but
// only while its store is borrowed for running it.
unsafe impl Sync for TableElements {}

impl TableElements {
    /// A table of the type's minimum size, every element `init`.
    ///
    /// With `init` null, elements cost no memory until they are set.
    ///
    /// # Errors
    ///
    /// If the minimum is over what the type can have, or there is no memory for it.
    pub fn new(ty: &TableType, init: u64) -> Result<TableElements> {
        let (count, limit) = (ty.minimum(), absolute_maximum(ty));
        ensure!(count <= limit, "a table of {count} elements is over its maximum of {limit}");
        let mut table =
            TableElements { ty: *ty, elements: NonNull::dangling(), len: 0, capacity: 0 };
        table
            .grow(count, init)
            .with_context(|| format!("cannot allocate a table of {count} elements"))?;
        Ok(table)
    }

    /// The address of element 0. It stays the same until the next [`grow`](TableElements::grow).
    ///
    /// Through it, elements below [`len`](TableElements::len) can be read and written while
    /// nobody uses `self`.
    pub fn base(&mut self) -> *mut u64 {
        self.elements.as_ptr()
    }

    /// Number of elements.
    #[allow(clippy::len_without_is_empty, reason = "nobody asks")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The type that the table was made with.
    pub fn ty(&self) -> &TableType {
        &self.ty
    }

    /// Element `i`; `None` out of bounds.
    pub fn get(&self, i: u64) -> Option<u64> {
        self.slice().get(usize::try_from(i).ok()?).copied()
    }

    /// Sets element `i`; `None` out of bounds.
    pub fn set(&mut self, i: u64, value: u64) -> Option<()> {
        *self.slice_mut().get_mut(usize::try_from(i).ok()?)? = value;
        Some(())
    }

    /// Adds `delta` elements `init`, and returns the number before. `None`, and nothing has
    /// changed, if the type's maximum would be exceeded or there is no memory.
    ///
    /// Whether the store's limiter allows it is the caller's to ask, before. The base can be
    /// another one afterwards.
    pub fn grow(&mut self, delta: u64, init: u64) -> Option<u64> {
        let old = self.len;
        let new = (old as u64).checked_add(delta).filter(|n| *n <= absolute_maximum(&self.ty))?;
        let new = usize::try_from(new).ok()?;
        if new > self.capacity {
            self.reallocate(new)?;
        }
        self.len = new;
        if init != 0 {
            self.slice_mut()[old..].fill(init);
        }
        Some(old as u64)
    }

    /// Sets `len` elements from `dst` on; `None`, and none is set, if one is out of bounds.
    pub fn fill(&mut self, dst: u64, value: u64, len: u64) -> Option<()> {
        let dst = self.checked(dst, len)?;
        self.slice_mut()[dst].fill(value);
        Some(())
    }

    /// Copies `len` elements from `src` on to `dst` on, which may overlap; `None`, and none is
    /// copied, if one is out of bounds.
    pub fn copy_within(&mut self, dst: u64, src: u64, len: u64) -> Option<()> {
        let (dst, src) = (self.checked(dst, len)?, self.checked(src, len)?);
        self.slice_mut().copy_within(src, dst.start);
        Some(())
    }

    /// Copies `len` elements of `other` from `src` on to `dst` on; `None`, and none is copied, if
    /// one is out of bounds.
    pub fn copy_from(&mut self, other: &TableElements, dst: u64, src: u64, len: u64) -> Option<()> {
        let (dst, src) = (self.checked(dst, len)?, other.checked(src, len)?);
        self.slice_mut()[dst].copy_from_slice(&other.slice()[src]);
        Some(())
    }

    /// `start..start + len` if those elements exist.
    fn checked(&self, start: u64, len: u64) -> Option<Range<usize>> {
        let end = usize::try_from(start.checked_add(len)?).ok().filter(|end| *end <= self.len)?;
        // No more than `end`, which is a `usize`.
        Some(start as usize..end)
    }

    /// Moves to an allocation with room for `least` elements, which is more than there is now.
    /// Twice as many if it can be had: growing step by step stays linear.
    fn reallocate(&mut self, least: usize) -> Option<()> {
        let twice = self.capacity.saturating_mul(2).max(least);
        let either = || match allocate(twice) {
            Some(elements) => Ok((elements, twice)),
            None => allocate(least).map(|elements| (elements, least)).ok_or(()),
        };
        let room = Room::new(least.saturating_mul(size_of::<u64>()));
        let (elements, capacity) = reclaim::retrying(room, either).ok()?;
        // SAFETY: own allocation: `len` elements are initialised in the old allocation and have room in the new
        // one, which is another.
        unsafe { elements.copy_from_nonoverlapping(self.elements, self.len) };
        self.free();
        (self.elements, self.capacity) = (elements, capacity);
        Some(())
    }

    /// Frees the allocation; `elements` dangles afterwards.
    fn free(&mut self) {
        if self.capacity > 0 {
            let layout = Layout::array::<u64>(self.capacity).expect("it was allocated with it");
            // SAFETY: own allocation: from `allocate` with this capacity and so this layout; the
            // callers put another pointer in its place, or are `drop`.
            unsafe { dealloc(self.elements.as_ptr().cast(), layout) };
        }
    }

    fn slice(&self) -> &[u64] {
        // SAFETY: own allocation: `len <= capacity` initialised elements. Nobody writes while the
        // slice lives: we only with `&mut self`, generated code only while its store is borrowed
        // for running it.
        unsafe { std::slice::from_raw_parts(self.elements.as_ptr(), self.len) }
    }

    fn slice_mut(&mut self) -> &mut [u64] {
        // SAFETY: own allocation: as in `slice`, and with `&mut self` nobody reads either.
        unsafe { std::slice::from_raw_parts_mut(self.elements.as_ptr(), self.len) }
    }
}

impl Drop for TableElements {
    fn drop(&mut self) {
        self.free();
    }
}

/// The most elements a table of this type can ever have.
fn absolute_maximum(ty: &TableType) -> u64 {
    let index_max = if ty.is_64() { u64::MAX } else { u64::from(u32::MAX) };
    ty.maximum().unwrap_or(index_max).min(index_max)
}

/// `count` elements of 0, of which large ones are untouched pages; `None` if they cannot be had.
/// `count` is not 0.
fn allocate(count: usize) -> Option<NonNull<u64>> {
    let layout = Layout::array::<u64>(count).ok()?;
    assert!(layout.size() > 0, "no elements need no allocation");
    // SAFETY: own allocation: the size is not 0.
    NonNull::new(unsafe { alloc_zeroed(layout) }.cast())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::types::ValType;

    fn table(minimum: u32, init: u64) -> TableElements {
        TableElements::new(&TableType::new(ValType::FuncRef, minimum, None), init).unwrap()
    }

    fn numbered(count: u64) -> TableElements {
        let mut table = table(count as u32, 0);
        for i in 0..count {
            table.set(i, 100 + i).unwrap();
        }
        table
    }

    #[test]
    fn elements_can_be_read_and_set_within_bounds_only() {
        let mut table = table(3, 7);
        assert_eq!((table.len(), table.get(0), table.get(2)), (3, Some(7), Some(7)));
        assert_eq!(table.set(2, 9), Some(()));
        assert_eq!(table.get(2), Some(9));
        for i in [3, 1 << 32, 1 << 61, u64::MAX] {
            assert_eq!((table.get(i), table.set(i, 1)), (None, None), "{i}");
        }
        assert_eq!(table.slice(), [7, 7, 9]);
    }

    #[test]
    fn what_generated_code_writes_through_the_base_is_seen_and_kept() {
        let mut table = table(4, 0);
        let base = table.base();
        assert_eq!(table.get(1), Some(0));
        // SAFETY: in bounds, and the table is not used meanwhile.
        unsafe { base.add(1).write(42) };
        assert_eq!(table.get(1), Some(42));
        table.set(2, 43).unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { base.add(2).read() }, 43);
        table.grow(1000, 0).unwrap();
        assert_eq!(table.slice()[..4], [0, 42, 43, 0]);
    }

    #[test]
    fn growth_keeps_elements_and_gives_new_ones_their_first_value() {
        let mut table = table(0, 5);
        assert_eq!((table.len(), table.get(0)), (0, None));
        let mut expected = Vec::new();
        for round in 0..200 {
            let init = round % 3;
            assert_eq!(table.grow(round % 7, init), Some(expected.len() as u64));
            expected.extend(std::iter::repeat_n(init, (round % 7) as usize));
            assert_eq!(table.slice(), expected);
        }
    }

    #[test]
    fn growth_over_the_maximum_changes_nothing() {
        let bounded = TableType::new(ValType::ExternRef, 2, Some(5));
        let unbounded = TableType::new(ValType::ExternRef, 2, None);
        for (ty, most) in [(bounded, 5), (unbounded, u64::from(u32::MAX))] {
            let mut table = TableElements::new(&ty, 1).unwrap();
            for delta in [most - 1, 1 << 32, u64::MAX, u64::MAX - 2] {
                assert_eq!(table.grow(delta, 0), None, "{delta}");
            }
            assert_eq!(table.grow(0, 3), Some(2));
            assert_eq!(table.grow(3, 3), Some(2));
            assert_eq!(table.slice(), [1, 1, 3, 3, 3]);
        }
    }

    #[test]
    fn tables_that_cannot_be_had_are_refused_and_do_not_abort() {
        for minimum in [1 << 45, 1 << 60, 1 << 61, u64::MAX] {
            let ty = TableType::new64(ValType::FuncRef, minimum, None);
            let error = TableElements::new(&ty, 0).unwrap_err().to_string();
            assert_eq!(error, format!("cannot allocate a table of {minimum} elements"));
        }
        let ty = TableType::new(ValType::FuncRef, 3, Some(2));
        let error = TableElements::new(&ty, 0).unwrap_err().to_string();
        assert!(error.contains("over its maximum of 2"), "{error}");
        let ty = TableType::new64(ValType::FuncRef, 1, None);
        let mut table = TableElements::new(&ty, 6).unwrap();
        for delta in [1 << 45, 1 << 60, (1 << 61) - 1, u64::MAX - 1, u64::MAX] {
            assert_eq!(table.grow(delta, 6), None, "{delta}");
        }
        assert_eq!(table.slice(), [6]);
    }

    #[test]
    fn null_elements_of_a_giant_table_cost_no_memory() {
        // 2 GiB, if they were touched.
        let mut table = table(1 << 28, 0);
        assert_eq!(table.get((1 << 28) - 1), Some(0));
        table.set((1 << 28) - 1, 1).unwrap();
        let page = region::page::size();
        let (start, bytes) = (table.base() as usize, table.len() * 8);
        let pages = start.next_multiple_of(page)..(start + bytes) / page * page;
        let mut resident = vec![0u8; pages.len() / page];
        // SAFETY: asks about pages inside of the allocation, and writes a byte for each.
        let asked = unsafe {
            libc::mincore(pages.start as *mut libc::c_void, pages.len(), resident.as_mut_ptr())
        };
        assert_eq!(asked, 0);
        let resident = resident.iter().filter(|page| *page & 1 != 0).count();
        // At most a huge page at either end.
        assert!(resident < 2000, "{resident} pages are resident");
    }

    #[test]
    fn fill_sets_all_or_nothing() {
        let mut table = numbered(4);
        assert_eq!(table.fill(1, 9, 2), Some(()));
        assert_eq!(table.slice(), [100, 9, 9, 103]);
        assert_eq!((table.fill(4, 9, 0), table.fill(5, 9, 0)), (Some(()), None));
        for (dst, len) in [(3, 2), (0, 5), (u64::MAX, 1), (1, u64::MAX), (u64::MAX, u64::MAX)] {
            assert_eq!(table.fill(dst, 1, len), None, "{dst} {len}");
        }
        assert_eq!(table.slice(), [100, 9, 9, 103]);
    }

    #[test]
    fn copies_may_overlap_and_are_all_or_nothing() {
        let mut table = numbered(5);
        assert_eq!(table.copy_within(1, 0, 3), Some(()));
        assert_eq!(table.slice(), [100, 100, 101, 102, 104]);
        assert_eq!(table.copy_within(0, 2, 3), Some(()));
        assert_eq!(table.slice(), [101, 102, 104, 102, 104]);
        assert_eq!(table.copy_within(5, 5, 0), Some(()));
        for (dst, src, len) in [(3, 0, 3), (0, 3, 3), (6, 0, 0), (0, 6, 0), (0, u64::MAX, 2)] {
            assert_eq!(table.copy_within(dst, src, len), None, "{dst} {src} {len}");
        }
        let other = numbered(3);
        assert_eq!(table.copy_from(&other, 3, 1, 2), Some(()));
        for (dst, src, len) in [(4, 0, 2), (0, 2, 2), (u64::MAX, 0, 1), (0, 0, u64::MAX)] {
            assert_eq!(table.copy_from(&other, dst, src, len), None, "{dst} {src} {len}");
        }
        assert_eq!(table.slice(), [101, 102, 104, 101, 102]);
    }
}
