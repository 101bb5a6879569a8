//! Atomic accesses. There is one thread, so they are plain ones that must be aligned.
//!
//! Memories are never shared, so nobody can wait: waiting traps, and there is nobody to notify.
//! Alignment is tested before bounds.

use crate::activation::Exec;
use crate::ops::memory::{read, write};
use crate::trap::TrapKind;
use crate::value::Value;
use wasmparser::{MemArg, Operator as Op};

/// What an access does.
#[derive(Clone, Copy)]
enum Kind {
    Load,
    Store,
    /// Gives the new value for the old one and the operand.
    Modify(fn(u64, u64) -> u64),
    CompareExchange,
}

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    if let Some((kind, is_64, size, memarg)) = access(op) {
        perform(x, kind, is_64, size, memarg)?;
        return Ok(true);
    }
    match op {
        Op::AtomicFence { .. } => {}
        Op::MemoryAtomicNotify { memarg } => {
            x.pop();
            let index = x.pop().index();
            get(x, memarg, index, 4)?;
            x.push(Value::I32(0));
        }
        Op::MemoryAtomicWait32 { memarg } => wait(x, memarg, 4)?,
        Op::MemoryAtomicWait64 { memarg } => wait(x, memarg, 8)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// What an access does, whether its operands are `i64`, how many bytes it accesses, and where.
fn access<'op>(op: &'op Op<'_>) -> Option<(Kind, bool, u32, &'op MemArg)> {
    macro_rules! by_kind {
        ($($kind:expr => [
            $i32:ident $i32_8:ident $i32_16:ident $i64:ident $i64_8:ident $i64_16:ident $i64_32:ident
        ])*) => {
            match op {
                $(
                    Op::$i32 { memarg } => ($kind, false, 4, memarg),
                    Op::$i32_8 { memarg } => ($kind, false, 1, memarg),
                    Op::$i32_16 { memarg } => ($kind, false, 2, memarg),
                    Op::$i64 { memarg } => ($kind, true, 8, memarg),
                    Op::$i64_8 { memarg } => ($kind, true, 1, memarg),
                    Op::$i64_16 { memarg } => ($kind, true, 2, memarg),
                    Op::$i64_32 { memarg } => ($kind, true, 4, memarg),
                )*
                _ => return None,
            }
        };
    }
    Some(by_kind! {
        Kind::Load => [
            I32AtomicLoad I32AtomicLoad8U I32AtomicLoad16U
            I64AtomicLoad I64AtomicLoad8U I64AtomicLoad16U I64AtomicLoad32U
        ]
        Kind::Store => [
            I32AtomicStore I32AtomicStore8 I32AtomicStore16
            I64AtomicStore I64AtomicStore8 I64AtomicStore16 I64AtomicStore32
        ]
        Kind::Modify(u64::wrapping_add) => [
            I32AtomicRmwAdd I32AtomicRmw8AddU I32AtomicRmw16AddU
            I64AtomicRmwAdd I64AtomicRmw8AddU I64AtomicRmw16AddU I64AtomicRmw32AddU
        ]
        Kind::Modify(u64::wrapping_sub) => [
            I32AtomicRmwSub I32AtomicRmw8SubU I32AtomicRmw16SubU
            I64AtomicRmwSub I64AtomicRmw8SubU I64AtomicRmw16SubU I64AtomicRmw32SubU
        ]
        Kind::Modify(|old, operand| old & operand) => [
            I32AtomicRmwAnd I32AtomicRmw8AndU I32AtomicRmw16AndU
            I64AtomicRmwAnd I64AtomicRmw8AndU I64AtomicRmw16AndU I64AtomicRmw32AndU
        ]
        Kind::Modify(|old, operand| old | operand) => [
            I32AtomicRmwOr I32AtomicRmw8OrU I32AtomicRmw16OrU
            I64AtomicRmwOr I64AtomicRmw8OrU I64AtomicRmw16OrU I64AtomicRmw32OrU
        ]
        Kind::Modify(|old, operand| old ^ operand) => [
            I32AtomicRmwXor I32AtomicRmw8XorU I32AtomicRmw16XorU
            I64AtomicRmwXor I64AtomicRmw8XorU I64AtomicRmw16XorU I64AtomicRmw32XorU
        ]
        Kind::Modify(|_, operand| operand) => [
            I32AtomicRmwXchg I32AtomicRmw8XchgU I32AtomicRmw16XchgU
            I64AtomicRmwXchg I64AtomicRmw8XchgU I64AtomicRmw16XchgU I64AtomicRmw32XchgU
        ]
        Kind::CompareExchange => [
            I32AtomicRmwCmpxchg I32AtomicRmw8CmpxchgU I32AtomicRmw16CmpxchgU
            I64AtomicRmwCmpxchg I64AtomicRmw8CmpxchgU I64AtomicRmw16CmpxchgU I64AtomicRmw32CmpxchgU
        ]
    })
}

fn perform(
    x: &mut Exec<'_>,
    kind: Kind,
    is_64: bool,
    size: u32,
    memarg: &MemArg,
) -> Result<(), TrapKind> {
    // Operands are wrapped to the size in memory, also what is compared.
    let wrap = |value: u64| value & (u64::MAX >> (64 - 8 * size));
    let mut operand = || wrap(x.pop().index());
    let (first, second) = match kind {
        Kind::Load => (0, 0),
        Kind::Store | Kind::Modify(_) => (operand(), 0),
        Kind::CompareExchange => {
            let replacement = operand();
            (operand(), replacement)
        }
    };
    let index = x.pop().index();
    let old = get(x, memarg, index, size)?;
    let new = match kind {
        Kind::Load => old,
        Kind::Store => first,
        Kind::Modify(f) => wrap(f(old, first)),
        Kind::CompareExchange if old == first => second,
        Kind::CompareExchange => old,
    };
    put(x, memarg, index, size, new)?;
    if !matches!(kind, Kind::Store) {
        x.push(if is_64 { Value::I64(old) } else { Value::I32(old as u32) });
    }
    Ok(())
}

/// Traps, one way or another.
fn wait(x: &mut Exec<'_>, memarg: &MemArg, size: u32) -> Result<(), TrapKind> {
    x.pop();
    x.pop();
    let index = x.pop().index();
    get(x, memarg, index, size)?;
    Err(TrapKind::AtomicWaitNonSharedMemory)
}

/// The value of so many bytes, if they are aligned.
fn get(x: &Exec<'_>, memarg: &MemArg, index: u64, size: u32) -> Result<u64, TrapKind> {
    // The low bits are right even if the sum wraps.
    if !index.wrapping_add(memarg.offset).is_multiple_of(size.into()) {
        return Err(TrapKind::UnalignedAtomic);
    }
    Ok(match size {
        1 => u8::from_le_bytes(read(x, memarg, index)?).into(),
        2 => u16::from_le_bytes(read(x, memarg, index)?).into(),
        4 => u32::from_le_bytes(read(x, memarg, index)?).into(),
        _ => u64::from_le_bytes(read(x, memarg, index)?),
    })
}

fn put(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    index: u64,
    size: u32,
    value: u64,
) -> Result<(), TrapKind> {
    match size {
        1 => write(x, memarg, index, (value as u8).to_le_bytes()),
        2 => write(x, memarg, index, (value as u16).to_le_bytes()),
        4 => write(x, memarg, index, (value as u32).to_le_bytes()),
        _ => write(x, memarg, index, value.to_le_bytes()),
    }
}
