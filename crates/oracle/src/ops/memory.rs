//! Loads, stores, and operations on many bytes.

use crate::activation::Exec;
use crate::machine::{InstanceId, Machine, MemoryId, PAGE};
use crate::trap::TrapKind;
use crate::value::Value;
use wasmparser::{MemArg, MemArgTarget, Operator as Op};

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    Ok(accesses(x, op)? || bulk(x, op)?)
}

fn accesses(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    match op {
        Op::I32Load { memarg } => load(x, memarg, |b| Value::I32(u32::from_le_bytes(b)))?,
        Op::I64Load { memarg } => load(x, memarg, |b| Value::I64(u64::from_le_bytes(b)))?,
        Op::F32Load { memarg } => load(x, memarg, |b| Value::F32(u32::from_le_bytes(b)))?,
        Op::F64Load { memarg } => load(x, memarg, |b| Value::F64(u64::from_le_bytes(b)))?,
        Op::I32Load8S { memarg } => {
            load(x, memarg, |b| Value::I32(i8::from_le_bytes(b) as u32))?;
        }
        Op::I32Load8U { memarg } => load(x, memarg, |b| Value::I32(u8::from_le_bytes(b).into()))?,
        Op::I32Load16S { memarg } => {
            load(x, memarg, |b| Value::I32(i16::from_le_bytes(b) as u32))?;
        }
        Op::I32Load16U { memarg } => load(x, memarg, |b| Value::I32(u16::from_le_bytes(b).into()))?,
        Op::I64Load8S { memarg } => load(x, memarg, |b| Value::I64(i8::from_le_bytes(b) as u64))?,
        Op::I64Load8U { memarg } => load(x, memarg, |b| Value::I64(u8::from_le_bytes(b).into()))?,
        Op::I64Load16S { memarg } => {
            load(x, memarg, |b| Value::I64(i16::from_le_bytes(b) as u64))?;
        }
        Op::I64Load16U { memarg } => load(x, memarg, |b| Value::I64(u16::from_le_bytes(b).into()))?,
        Op::I64Load32S { memarg } => {
            load(x, memarg, |b| Value::I64(i32::from_le_bytes(b) as u64))?;
        }
        Op::I64Load32U { memarg } => load(x, memarg, |b| Value::I64(u32::from_le_bytes(b).into()))?,
        Op::I32Store { memarg } => store(x, memarg, |v: u32| v.to_le_bytes())?,
        Op::I64Store { memarg } => store(x, memarg, |v: u64| v.to_le_bytes())?,
        Op::F32Store { memarg } => store(x, memarg, |v: f32| v.to_bits().to_le_bytes())?,
        Op::F64Store { memarg } => store(x, memarg, |v: f64| v.to_bits().to_le_bytes())?,
        Op::I32Store8 { memarg } => store(x, memarg, |v: u32| (v as u8).to_le_bytes())?,
        Op::I32Store16 { memarg } => store(x, memarg, |v: u32| (v as u16).to_le_bytes())?,
        Op::I64Store8 { memarg } => store(x, memarg, |v: u64| (v as u8).to_le_bytes())?,
        Op::I64Store16 { memarg } => store(x, memarg, |v: u64| (v as u16).to_le_bytes())?,
        Op::I64Store32 { memarg } => store(x, memarg, |v: u64| (v as u32).to_le_bytes())?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// Pops an index, and pushes what the bytes there give.
fn load<const N: usize>(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    value: impl Fn([u8; N]) -> Value,
) -> Result<(), TrapKind> {
    let index = x.pop().index();
    let bytes = read(x, memarg, index)?;
    x.push(value(bytes));
    Ok(())
}

/// Pops a value and an index, and writes the value's bytes there.
fn store<A: crate::ops::operand::Operand, const N: usize>(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    bytes: impl Fn(A) -> [u8; N],
) -> Result<(), TrapKind> {
    let value = x.pop_as();
    let index = x.pop().index();
    write(x, memarg, index, bytes(value))
}

/// The memory that a memory access names.
pub(crate) fn memory_of(x: &Exec<'_>, memarg: &MemArg) -> MemoryId {
    let MemArgTarget::Memory(memory) = memarg.target else { panic!("not a memory: {memarg:?}") };
    x.instance().memories[memory as usize]
}

/// The bytes at `index`, and the offset.
pub(crate) fn read<const N: usize>(
    x: &Exec<'_>,
    memarg: &MemArg,
    index: u64,
) -> Result<[u8; N], TrapKind> {
    let memory = &x.machine.memories[memory_of(x, memarg).at()].bytes;
    let at = range(index, memarg.offset, N as u64, memory.len())?;
    Ok(memory[at].try_into().expect("N bytes"))
}

/// Writes bytes at `index`, and the offset.
pub(crate) fn write<const N: usize>(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    index: u64,
    bytes: [u8; N],
) -> Result<(), TrapKind> {
    let memory = memory_of(x, memarg);
    let memory = &mut x.machine.memories[memory.at()].bytes;
    let at = range(index, memarg.offset, N as u64, memory.len())?;
    memory[at].copy_from_slice(&bytes);
    Ok(())
}

/// The places of `count` bytes at `index + offset`, if all of them are less than `len`.
fn range(
    index: u64,
    offset: u64,
    count: u64,
    len: usize,
) -> Result<std::ops::Range<usize>, TrapKind> {
    let start = u128::from(index) + u128::from(offset);
    let end = start + u128::from(count);
    match end <= len as u128 {
        true => Ok(start as usize..end as usize),
        false => Err(TrapKind::MemoryOutOfBounds),
    }
}

fn bulk(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    let memory = |x: &Exec<'_>, index: u32| x.instance().memories[index as usize];
    match *op {
        Op::MemorySize { mem } => {
            let memory = &x.machine.memories[memory(x, mem).at()];
            let pages = memory.bytes.len() as u64 / PAGE;
            let is_64 = memory.ty.is_64;
            x.push(size(is_64, pages));
        }
        Op::MemoryGrow { mem } => {
            let by = x.pop().index();
            let memory = memory(x, mem);
            let old = grow(x.machine, memory, by);
            let is_64 = x.machine.memories[memory.at()].ty.is_64;
            x.push(size(is_64, old.unwrap_or(u64::MAX)));
        }
        Op::MemoryFill { mem } => {
            let count = x.pop().index();
            let byte: u32 = x.pop_as();
            let start = x.pop().index();
            let memory = memory(x, mem);
            let bytes = &mut x.machine.memories[memory.at()].bytes;
            let at = range(start, 0, count, bytes.len())?;
            bytes[at].fill(byte as u8);
        }
        Op::MemoryCopy { dst_mem, src_mem } => {
            let count = x.pop().index();
            let from = x.pop().index();
            let to = x.pop().index();
            let (source, target) = (memory(x, src_mem), memory(x, dst_mem));
            let source = &x.machine.memories[source.at()].bytes;
            // A copy of its own: they may overlap.
            let copied = source[range(from, 0, count, source.len())?].to_vec();
            let target = &mut x.machine.memories[target.at()].bytes;
            let at = range(to, 0, count, target.len())?;
            target[at].copy_from_slice(&copied);
        }
        Op::MemoryInit { data_index, mem } => {
            let count = x.pop().index();
            let from = x.pop().index();
            let to = x.pop().index();
            let (memory, instance) = (memory(x, mem), x.frame().instance);
            init(x.machine, instance, data_index as usize, memory, to, from, count)?;
        }
        Op::DataDrop { data_index } => {
            let instance = x.frame().instance;
            x.machine.instances[instance.at()].data[data_index as usize].clear();
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A size, or −1 for [`u64::MAX`], in the index type.
pub(crate) fn size(is_64: bool, size: u64) -> Value {
    if is_64 { Value::I64(size) } else { Value::I32(size as u32) }
}

/// Grows a memory by some pages; gives the pages it had.
fn grow(machine: &mut Machine, memory: MemoryId, by: u64) -> Option<u64> {
    let most_bytes = machine.max_memory;
    let memory = &mut machine.memories[memory.at()];
    let old = memory.bytes.len() as u64 / PAGE;
    let new = old.checked_add(by)?;
    let most = memory.ty.max.unwrap_or(if memory.ty.is_64 { 1 << 48 } else { 1 << 16 });
    if new > most || new.saturating_mul(PAGE) > most_bytes {
        return None;
    }
    // Not `resize`: what the system gives anew is zero without being written.
    let mut bytes = vec![0; (new * PAGE) as usize];
    bytes[..memory.bytes.len()].copy_from_slice(&memory.bytes);
    memory.bytes = bytes;
    Some(old)
}

/// Copies `count` bytes of a data segment to a memory.
pub(crate) fn init(
    machine: &mut Machine,
    instance: InstanceId,
    segment: usize,
    memory: MemoryId,
    to: u64,
    from: u64,
    count: u64,
) -> Result<(), TrapKind> {
    let source = &machine.instances[instance.at()].data[segment];
    let target = &mut machine.memories[memory.at()].bytes;
    let from = range(from, 0, count, source.len())?;
    let to = range(to, 0, count, target.len())?;
    target[to].copy_from_slice(&source[from]);
    Ok(())
}
