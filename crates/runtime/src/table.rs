//! Elements of tables.
//!
//! Generated code reads and writes elements through the address that `TableElements::base` gives,
//! so they are `Cell`s: a shared borrow of the table does not mean that they stay as they are.

use anyhow::{Result, anyhow};
use std::cell::Cell;
use stillframe_abi::types::TableType;

/// The elements of a table: raw references, 0 is null.
#[derive(Debug)]
pub struct TableElements {
    ty: TableType,
    elements: Vec<Cell<u64>>,
}

impl TableElements {
    /// A table of this type's minimum size, with `init` in every element.
    ///
    /// # Errors
    ///
    /// If there is no memory for it.
    pub fn new(ty: &TableType, init: u64) -> Result<TableElements> {
        let mut table = TableElements { ty: *ty, elements: Vec::new() };
        table
            .grow(ty.minimum(), init)
            .ok_or_else(|| anyhow!("no memory for a table of {} elements", ty.minimum()))?;
        Ok(table)
    }

    /// The type.
    pub fn ty(&self) -> &TableType {
        &self.ty
    }

    /// The address of element 0; changes when the table grows.
    pub fn base(&mut self) -> *mut u64 {
        self.elements.as_mut_ptr().cast()
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    fn at(&self, index: u64) -> Option<&Cell<u64>> {
        self.elements.get(usize::try_from(index).ok()?)
    }

    /// `start..start + len`, if it is in bounds.
    fn slice(&self, start: u64, len: u64) -> Option<&[Cell<u64>]> {
        let end = usize::try_from(start.checked_add(len)?).ok()?;
        self.elements.get(usize::try_from(start).ok()?..end)
    }

    /// An element; `None` out of bounds.
    pub fn get(&self, index: u64) -> Option<u64> {
        self.at(index).map(Cell::get)
    }

    /// Sets an element; `None` out of bounds.
    pub fn set(&mut self, index: u64, value: u64) -> Option<()> {
        self.at(index).map(|element| element.set(value))
    }

    /// Adds `delta` elements `init` and returns the size before; `None` if there is no memory.
    pub fn grow(&mut self, delta: u64, init: u64) -> Option<u64> {
        let delta = usize::try_from(delta).ok()?;
        let old = self.elements.len();
        self.elements.try_reserve_exact(delta).ok()?;
        self.elements.resize(old + delta, Cell::new(init));
        Some(old as u64)
    }

    /// Sets `len` elements from `dst` on; `None`, and nothing done, out of bounds.
    pub fn fill(&mut self, dst: u64, value: u64, len: u64) -> Option<()> {
        self.slice(dst, len)?.iter().for_each(|element| element.set(value));
        Some(())
    }

    /// Copies elements within the table, as if through a buffer; `None`, and nothing done, out of
    /// bounds.
    pub fn copy_within(&mut self, dst: u64, src: u64, len: u64) -> Option<()> {
        let (to, from) = (self.slice(dst, len)?, self.slice(src, len)?);
        if dst <= src {
            to.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
        } else {
            to.iter().zip(from).rev().for_each(|(to, from)| to.set(from.get()));
        }
        Some(())
    }

    /// Copies elements of another table; `None`, and nothing done, out of bounds.
    pub fn copy_from(&mut self, other: &TableElements, dst: u64, src: u64, len: u64) -> Option<()> {
        let (to, from) = (self.slice(dst, len)?, other.slice(src, len)?);
        to.iter().zip(from).for_each(|(to, from)| to.set(from.get()));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stillframe_abi::types::ValType;

    fn table(elements: &[u64]) -> TableElements {
        let ty = TableType::new(ValType::FuncRef, elements.len() as u32, None);
        let mut table = TableElements::new(&ty, 0).unwrap();
        for (i, &element) in elements.iter().enumerate() {
            table.set(i as u64, element).unwrap();
        }
        table
    }

    fn elements(table: &TableElements) -> Vec<u64> {
        (0..table.len() as u64).map(|i| table.get(i).unwrap()).collect()
    }

    #[test]
    fn accesses_out_of_bounds_do_nothing() {
        let mut t = table(&[1, 2, 3]);
        assert_eq!(t.get(3), None);
        assert_eq!(t.set(u64::MAX, 9), None);
        assert_eq!(t.fill(2, 9, 2), None);
        assert_eq!(t.fill(u64::MAX, 9, 2), None);
        assert_eq!(t.copy_within(1, 0, 3), None);
        assert_eq!(t.copy_from(&table(&[7]), 0, 0, 2), None);
        assert_eq!(t.fill(3, 9, 0), Some(()));
        assert_eq!(elements(&t), [1, 2, 3]);
    }

    #[test]
    fn overlapping_copies_are_as_if_through_a_buffer() {
        let mut t = table(&[1, 2, 3, 4]);
        t.copy_within(1, 0, 3).unwrap();
        assert_eq!(elements(&t), [1, 1, 2, 3]);
        t.copy_within(0, 1, 3).unwrap();
        assert_eq!(elements(&t), [1, 2, 3, 3]);
    }

    #[test]
    fn growing_gives_the_old_size_and_fails_without_memory() {
        let mut t = table(&[1]);
        assert_eq!(t.grow(2, 5), Some(1));
        assert_eq!(elements(&t), [1, 5, 5]);
        assert_eq!(t.grow(u64::MAX, 5), None);
        assert_eq!(t.grow(1 << 60, 5), None);
        assert_eq!(t.len(), 3);
    }
}
