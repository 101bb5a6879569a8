//! `Table`: tables of references.

use crate::context::{AsContext, AsContextMut};
use crate::raw;
use crate::val::Ref;
use anyhow::{Context, Result, ensure};
use stillframe_abi::Trap;
use stillframe_abi::types::TableType;
use stillframe_runtime::TableHandle;

/// A table of a store.
///
/// All methods panic when used with another store than the table's own.
///
/// ```
/// use stillframe::{Engine, Func, Ref, Store, Table, TableType, ValType};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = TableType::new(ValType::FuncRef, 2, None);
/// let table = Table::new(&mut store, ty, Ref::Func(None))?;
/// let func = Func::wrap(&mut store, || 42);
/// table.set(&mut store, 1, func.into())?;
/// assert_eq!(table.get(&mut store, 1), Some(Ref::Func(Some(func))));
/// assert_eq!(table.get(&mut store, 2), None);
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Table(pub(crate) TableHandle);

impl Table {
    /// A new table with `init` in every element.
    ///
    /// # Errors
    ///
    /// If the type's elements are no references, `init` is not of their type or of another store,
    /// the store's limiter refuses, or there is no memory.
    pub fn new(mut store: impl AsContextMut, ty: TableType, init: Ref) -> Result<Table> {
        ensure!(ty.element().is_ref(), "tables hold references, not `{}`", ty.element());
        Ok(Table(raw::new_table(store.as_context_mut().core, ty, init)?))
    }

    /// Its type; the minimum is the current size.
    pub fn ty(&self, store: impl AsContext) -> TableType {
        let core = store.as_context().core;
        let (ty, size) = (core.table_type(self.0), core.table_size(self.0));
        match ty.is_64() {
            true => TableType::new64(ty.element(), size, ty.maximum()),
            false => {
                // Sizes and declared maxima of 32-bit tables fit 32 bits.
                let narrow = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
                TableType::new(ty.element(), narrow(size), ty.maximum().map(narrow))
            }
        }
    }

    /// The number of elements.
    pub fn size(&self, store: impl AsContext) -> u64 {
        store.as_context().core.table_size(self.0)
    }

    /// The element at `index`; `None` out of bounds.
    pub fn get(&self, mut store: impl AsContextMut, index: u64) -> Option<Ref> {
        raw::get_table(store.as_context_mut().core, self.0, index)
    }

    /// Sets the element at `index`.
    ///
    /// # Errors
    ///
    /// If the index is out of bounds, or the value is not of the elements' type or of another
    /// store.
    pub fn set(&self, mut store: impl AsContextMut, index: u64, value: Ref) -> Result<()> {
        let core = store.as_context_mut().core;
        let size = core.table_size(self.0);
        let set = raw::set_table(core, self.0, index, value)?;
        set.with_context(|| format!("element {index} is out of bounds of a table of {size}"))
    }

    /// Adds `delta` elements `init`; returns the size before.
    ///
    /// # Errors
    ///
    /// If the result would exceed the table's maximum, the store's limiter refuses, there is no
    /// memory, or `init` is not of the elements' type or of another store; the table is as it was.
    pub fn grow(&self, mut store: impl AsContextMut, delta: u64, init: Ref) -> Result<u64> {
        let core = store.as_context_mut().core;
        let size = core.table_size(self.0);
        let grown = raw::grow_table(core, self.0, delta, init)?;
        grown.with_context(|| format!("a table of {size} elements cannot grow by {delta}"))
    }

    /// Sets `len` elements from `dst` on.
    ///
    /// # Errors
    ///
    /// [`Trap::TableOutOfBounds`] if they are out of bounds; an error if the value is not of the
    /// elements' type or of another store. The table is as it was.
    pub fn fill(&self, mut store: impl AsContextMut, dst: u64, value: Ref, len: u64) -> Result<()> {
        let core = store.as_context_mut().core;
        Ok(raw::fill_table(core, self.0, dst, value, len)?.ok_or(Trap::TableOutOfBounds)?)
    }

    /// Copies `len` elements from `src_index` of one table to `dst_index` of another, or the same.
    ///
    /// # Errors
    ///
    /// [`Trap::TableOutOfBounds`] if they are out of bounds of either; an error if the tables'
    /// elements are not of one type. The tables are as they were.
    pub fn copy(
        mut store: impl AsContextMut,
        dst_table: &Table,
        dst_index: u64,
        src_table: &Table,
        src_index: u64,
        len: u64,
    ) -> Result<()> {
        let core = store.as_context_mut().core;
        let (to, from) = (core.table_type(dst_table.0), core.table_type(src_table.0));
        ensure!(
            to.element() == from.element(),
            "elements of type `{}` cannot be copied to a table of `{}`",
            from.element(),
            to.element()
        );
        let copied = core.copy_table_elements(dst_table.0, dst_index, src_table.0, src_index, len);
        Ok(copied.ok_or(Trap::TableOutOfBounds)?)
    }
}
