//! Tables.

use crate::activation::Exec;
use crate::machine::{InstanceId, Machine, TableId};
use crate::ops::memory::size;
use crate::trap::TrapKind;
use crate::value::Value;
use wasmparser::Operator as Op;

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    let table_of = |x: &Exec<'_>, index: u32| x.instance().tables[index as usize];
    match *op {
        Op::TableGet { table } => {
            let index = x.pop().index();
            let elements = x.machine.table(table_of(x, table));
            let at = range(index, 1, elements.len())?;
            let value = elements[at.start];
            x.push(value);
        }
        Op::TableSet { table } => {
            let value = x.pop();
            let index = x.pop().index();
            let table = table_of(x, table);
            let elements = x.machine.table_mut(table);
            let at = range(index, 1, elements.len())?;
            elements[at.start] = value;
        }
        Op::TableSize { table } => {
            let table = &x.machine.tables[table_of(x, table).at()];
            let value = size(table.ty.limits.is_64, table.elements.len() as u64);
            x.push(value);
        }
        Op::TableGrow { table } => {
            let by = x.pop().index();
            let value = x.pop();
            let table = table_of(x, table);
            let old = grow(x.machine, table, by, value);
            let is_64 = x.machine.tables[table.at()].ty.limits.is_64;
            x.push(size(is_64, old.unwrap_or(u64::MAX)));
        }
        Op::TableFill { table } => {
            let count = x.pop().index();
            let value = x.pop();
            let start = x.pop().index();
            let table = table_of(x, table);
            let elements = x.machine.table_mut(table);
            let at = range(start, count, elements.len())?;
            elements[at].fill(value);
        }
        Op::TableCopy { dst_table, src_table } => {
            let count = x.pop().index();
            let from = x.pop().index();
            let to = x.pop().index();
            let (source, target) = (table_of(x, src_table), table_of(x, dst_table));
            let source = x.machine.table(source);
            // A copy of its own: they may overlap.
            let copied = source[range(from, count, source.len())?].to_vec();
            let target = x.machine.table_mut(target);
            let at = range(to, count, target.len())?;
            target[at].copy_from_slice(&copied);
        }
        Op::TableInit { elem_index, table } => {
            let count = x.pop().index();
            let from = x.pop().index();
            let to = x.pop().index();
            let (table, instance) = (table_of(x, table), x.frame().instance);
            init(x.machine, instance, elem_index as usize, table, to, from, count)?;
        }
        Op::ElemDrop { elem_index } => {
            let instance = x.frame().instance;
            x.machine.instances[instance.at()].elems[elem_index as usize].clear();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// The places of `count` elements at `start`, if all of them are less than `len`.
fn range(start: u64, count: u64, len: usize) -> Result<std::ops::Range<usize>, TrapKind> {
    match start.checked_add(count) {
        Some(end) if end <= len as u64 => Ok(start as usize..end as usize),
        _ => Err(TrapKind::TableOutOfBounds),
    }
}

/// Grows a table by some elements; gives how many it had.
fn grow(machine: &mut Machine, table: TableId, by: u64, value: Value) -> Option<u64> {
    let most = machine.max_table;
    let table = &mut machine.tables[table.at()];
    let old = table.elements.len() as u64;
    let new = old.checked_add(by)?;
    let declared = table.ty.limits.max.unwrap_or(u64::MAX);
    if new > declared.min(most) {
        return None;
    }
    table.elements.resize(new as usize, value);
    Some(old)
}

/// Copies `count` elements of a segment to a table.
pub(crate) fn init(
    machine: &mut Machine,
    instance: InstanceId,
    segment: usize,
    table: TableId,
    to: u64,
    from: u64,
    count: u64,
) -> Result<(), TrapKind> {
    let source = &machine.instances[instance.at()].elems[segment];
    let target = &mut machine.tables[table.at()].elements;
    let from = range(from, count, source.len())?;
    let to = range(to, count, target.len())?;
    target[to].copy_from_slice(&source[from]);
    Ok(())
}
