//! Globals and tables: values are checked on their way in, and trusted on their way out.

use super::cells::{cell_of, ref_of, val_of};
use crate::val::{Ref, Val};
use anyhow::Result;
use stillframe_abi::types::{GlobalType, TableType};
use stillframe_runtime::{GlobalHandle, RawValue, StoreCore, TableHandle};

pub(crate) fn new_global(
    core: &mut StoreCore,
    ty: GlobalType,
    value: &Val,
) -> Result<GlobalHandle> {
    let cell = cell_of(core, ty.content(), value, || "the global's value")?;
    // SAFETY: checked values: type and store have been checked by `cell_of`.
    Ok(unsafe { core.new_global(ty, cell) })
}

pub(crate) fn get_global(core: &StoreCore, global: GlobalHandle) -> Val {
    let ty = core.global_type(global).content();
    // SAFETY: checked values: a global holds a value of its type, of its store.
    unsafe { val_of(core, ty, core.global(global)) }
}

/// Does not ask whether the global is mutable.
pub(crate) fn set_global(core: &mut StoreCore, global: GlobalHandle, value: &Val) -> Result<()> {
    let ty = core.global_type(global).content();
    let cell = cell_of(core, ty, value, || "the global's value")?;
    // SAFETY: checked values: type and store have been checked by `cell_of`.
    unsafe { core.set_global(global, cell) };
    Ok(())
}

/// A value as a cell for elements of type `ty`.
fn element(core: &StoreCore, ty: &TableType, value: Ref) -> Result<RawValue> {
    cell_of(core, ty.element(), &value.into(), || "the table's element")
}

/// `ty`'s elements are references.
pub(crate) fn new_table(core: &mut StoreCore, ty: TableType, init: Ref) -> Result<TableHandle> {
    let cell = element(core, &ty, init)?;
    // SAFETY: checked values: type and store have been checked by `element`.
    unsafe { core.new_table(&ty, cell) }
}

pub(crate) fn get_table(core: &StoreCore, table: TableHandle, index: u64) -> Option<Ref> {
    let ty = core.table_type(table).element();
    let cell = core.table_get(table, index)?;
    // SAFETY: checked values: a table holds values of its type, of its store.
    Some(unsafe { ref_of(core, ty, cell) })
}

/// `None` if out of bounds.
pub(crate) fn set_table(
    core: &mut StoreCore,
    table: TableHandle,
    index: u64,
    value: Ref,
) -> Result<Option<()>> {
    let cell = element(core, &core.table_type(table), value)?;
    // SAFETY: checked values: type and store have been checked by `element`.
    Ok(unsafe { core.table_set(table, index, cell) })
}

/// `None` if that cannot be.
pub(crate) fn grow_table(
    core: &mut StoreCore,
    table: TableHandle,
    delta: u64,
    init: Ref,
) -> Result<Option<u64>> {
    let cell = element(core, &core.table_type(table), init)?;
    // SAFETY: checked values: type and store have been checked by `element`.
    unsafe { core.grow_table(table, delta, cell) }
}

/// `None` if out of bounds.
pub(crate) fn fill_table(
    core: &mut StoreCore,
    table: TableHandle,
    dst: u64,
    value: Ref,
    len: u64,
) -> Result<Option<()>> {
    let cell = element(core, &core.table_type(table), value)?;
    // SAFETY: checked values: type and store have been checked by `element`.
    Ok(unsafe { core.fill_table(table, dst, cell, len) })
}
