//! Atomic accesses, fences, `memory.atomic.wait*` and `memory.atomic.notify`.
//!
//! An atomic access traps if it is not aligned, and that is tested before its bounds. The bounds
//! are tested by the access itself, as for all accesses (`memory.rs`). What Cranelift emits for one
//! can be several instructions, a loop even; all have the access's trap code and location, and the
//! first one faults if any does.
//!
//! Memories are never shared (`module.rs` refuses those that are), so nobody can wait: waiting
//! traps and there is never anyone to notify. Both test alignment and bounds first.

use crate::func::FuncTranslator;
use crate::ops::memory;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Type, Value, types};
use stillframe_abi::Trap;
use wasmparser::{MemArg, Operator};

/// What an atomic access does.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Load,
    Store,
    Rmw(AtomicRmwOp),
    CompareExchange,
}

/// One atomic access.
struct Atomic<'op> {
    kind: Kind,
    /// The type on the operand stack.
    ty: Type,
    /// The type in memory: the same or a narrower one.
    narrow: Type,
    memarg: &'op MemArg,
}

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    if let Some(atomic) = atomic(op) {
        translate_access(t, &atomic);
        return true;
    }
    match op {
        Operator::AtomicFence { .. } => {
            t.builder.ins().fence();
        }
        Operator::MemoryAtomicNotify { memarg } => {
            let (index, _count) = t.pop2();
            touch(t, memarg, index, types::I32);
            let woken = t.builder.ins().iconst(types::I32, 0);
            t.push(woken);
        }
        Operator::MemoryAtomicWait32 { memarg } => wait(t, memarg, types::I32),
        Operator::MemoryAtomicWait64 { memarg } => wait(t, memarg, types::I64),
        _ => return false,
    }
    true
}

/// How an operator accesses memory, if it does so atomically.
fn atomic<'op>(op: &'op Operator<'_>) -> Option<Atomic<'op>> {
    use Operator as Op;
    use types::{I8, I16, I32, I64};
    /// The operators of each kind in the order of their types.
    macro_rules! by_kind {
        ($($kind:expr => [
            $i32:ident $i32_8:ident $i32_16:ident $i64:ident $i64_8:ident $i64_16:ident $i64_32:ident
        ])*) => {
            match op {
                $(
                    Op::$i32 { memarg } => ($kind, I32, I32, memarg),
                    Op::$i32_8 { memarg } => ($kind, I32, I8, memarg),
                    Op::$i32_16 { memarg } => ($kind, I32, I16, memarg),
                    Op::$i64 { memarg } => ($kind, I64, I64, memarg),
                    Op::$i64_8 { memarg } => ($kind, I64, I8, memarg),
                    Op::$i64_16 { memarg } => ($kind, I64, I16, memarg),
                    Op::$i64_32 { memarg } => ($kind, I64, I32, memarg),
                )*
                _ => return None,
            }
        };
    }
    let (kind, ty, narrow, memarg) = by_kind! {
        Kind::Load => [
            I32AtomicLoad I32AtomicLoad8U I32AtomicLoad16U
            I64AtomicLoad I64AtomicLoad8U I64AtomicLoad16U I64AtomicLoad32U
        ]
        Kind::Store => [
            I32AtomicStore I32AtomicStore8 I32AtomicStore16
            I64AtomicStore I64AtomicStore8 I64AtomicStore16 I64AtomicStore32
        ]
        Kind::Rmw(AtomicRmwOp::Add) => [
            I32AtomicRmwAdd I32AtomicRmw8AddU I32AtomicRmw16AddU
            I64AtomicRmwAdd I64AtomicRmw8AddU I64AtomicRmw16AddU I64AtomicRmw32AddU
        ]
        Kind::Rmw(AtomicRmwOp::Sub) => [
            I32AtomicRmwSub I32AtomicRmw8SubU I32AtomicRmw16SubU
            I64AtomicRmwSub I64AtomicRmw8SubU I64AtomicRmw16SubU I64AtomicRmw32SubU
        ]
        Kind::Rmw(AtomicRmwOp::And) => [
            I32AtomicRmwAnd I32AtomicRmw8AndU I32AtomicRmw16AndU
            I64AtomicRmwAnd I64AtomicRmw8AndU I64AtomicRmw16AndU I64AtomicRmw32AndU
        ]
        Kind::Rmw(AtomicRmwOp::Or) => [
            I32AtomicRmwOr I32AtomicRmw8OrU I32AtomicRmw16OrU
            I64AtomicRmwOr I64AtomicRmw8OrU I64AtomicRmw16OrU I64AtomicRmw32OrU
        ]
        Kind::Rmw(AtomicRmwOp::Xor) => [
            I32AtomicRmwXor I32AtomicRmw8XorU I32AtomicRmw16XorU
            I64AtomicRmwXor I64AtomicRmw8XorU I64AtomicRmw16XorU I64AtomicRmw32XorU
        ]
        Kind::Rmw(AtomicRmwOp::Xchg) => [
            I32AtomicRmwXchg I32AtomicRmw8XchgU I32AtomicRmw16XchgU
            I64AtomicRmwXchg I64AtomicRmw8XchgU I64AtomicRmw16XchgU I64AtomicRmw32XchgU
        ]
        Kind::CompareExchange => [
            I32AtomicRmwCmpxchg I32AtomicRmw8CmpxchgU I32AtomicRmw16CmpxchgU
            I64AtomicRmwCmpxchg I64AtomicRmw8CmpxchgU I64AtomicRmw16CmpxchgU I64AtomicRmw32CmpxchgU
        ]
    };
    Some(Atomic { kind, ty, narrow, memarg })
}

fn translate_access(t: &mut FuncTranslator<'_>, &Atomic { kind, ty, narrow, memarg }: &Atomic<'_>) {
    let old = match kind {
        Kind::Load => {
            let index = t.pop();
            let (flags, address) = aligned_access(t, memarg, index, narrow);
            t.builder.ins().atomic_load(narrow, flags, address)
        }
        Kind::Store => {
            let (index, value) = t.pop2();
            let value = reduce(t, value, ty, narrow);
            let (flags, address) = aligned_access(t, memarg, index, narrow);
            t.builder.ins().atomic_store(flags, value, address);
            return;
        }
        Kind::Rmw(op) => {
            let (index, operand) = t.pop2();
            let operand = reduce(t, operand, ty, narrow);
            let (flags, address) = aligned_access(t, memarg, index, narrow);
            t.builder.ins().atomic_rmw(narrow, flags, op, address, operand)
        }
        // The expected value is wrapped too before it is compared.
        Kind::CompareExchange => {
            let (index, expected, replacement) = t.pop3();
            let expected = reduce(t, expected, ty, narrow);
            let replacement = reduce(t, replacement, ty, narrow);
            let (flags, address) = aligned_access(t, memarg, index, narrow);
            t.builder.ins().atomic_cas(flags, address, expected, replacement)
        }
    };
    let old = if ty == narrow { old } else { t.builder.ins().uextend(ty, old) };
    t.push(old);
}

/// Waits: on a memory that is not shared that is a trap.
fn wait(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let (index, _expected, _timeout) = t.pop3();
    touch(t, memarg, index, ty);
    let always = t.builder.ins().iconst(types::I32, 1);
    t.trap_if(always, Trap::AtomicWaitNonSharedMemory);
    let woken = t.builder.ins().iconst(types::I32, 0);
    t.push(woken);
}

/// Traps as an atomic access of type `ty` does, and does nothing else.
fn touch(t: &mut FuncTranslator<'_>, memarg: &MemArg, index: Value, ty: Type) {
    let (flags, address) = aligned_access(t, memarg, index, ty);
    // Cranelift keeps atomic loads, also where nobody uses the value.
    t.builder.ins().atomic_load(ty, flags, address);
}

fn reduce(t: &mut FuncTranslator<'_>, value: Value, from: Type, to: Type) -> Value {
    if from == to { value } else { t.builder.ins().ireduce(to, value) }
}

/// Flags and address of one atomic access of type `ty`, which has been found aligned.
fn aligned_access(
    t: &mut FuncTranslator<'_>,
    memarg: &MemArg,
    index: Value,
    ty: Type,
) -> (MemFlagsData, Value) {
    let size = ty.bytes() as u8;
    if size > 1 {
        let mask = i64::from(size) - 1;
        // The low bits of the effective address; that the sum may wrap does not change them.
        let static_bits = memarg.offset as i64 & mask;
        let low = match static_bits {
            0 => index,
            bits => t.builder.ins().iadd_imm_u(index, bits),
        };
        let misalignment = t.builder.ins().band_imm_u(low, mask);
        t.trap_if(misalignment, Trap::UnalignedAtomic);
    }
    let memory::Access { flags, address, offset } = memory::access(t, memarg, index, size);
    let address = match offset {
        0 => address,
        offset => t.builder.ins().iadd_imm_s(address, i64::from(offset)),
    };
    (flags, address)
}

#[cfg(test)]
mod tests {
    use crate::ops::memory::tests::{has, insts, translated};
    use cranelift_codegen::ir::{InstructionData, Opcode};
    use std::collections::HashSet;

    #[test]
    fn alignment_is_tested_before_every_access_but_of_single_bytes() {
        let functions = translated(
            r#"(module (memory 1)
                (func (param i32) (result i64) (i64.atomic.load32_u offset=6 (local.get 0)))
                (func (param i32) (i32.atomic.store16 (local.get 0) (i32.const 7)))
                (func (param i32) (result i32) (memory.atomic.notify (local.get 0) (i32.const 7)))
                (func (param i32) (result i64)
                    (i64.atomic.rmw8.xor_u (local.get 0) (i64.const 7))))"#,
            false,
        );
        for func in &functions[..3] {
            let opcodes: Vec<_> = insts(func).map(|(_, data)| data.opcode()).collect();
            let at = |opcode| opcodes.iter().position(|&found| found == opcode);
            let access = at(Opcode::AtomicLoad).or(at(Opcode::AtomicStore));
            assert!(at(Opcode::Trapnz).expect("a test") < access.expect("an access"), "{func}");
        }
        assert!(!has(&functions[3], Opcode::Trapnz), "{}", functions[3]);
    }

    #[test]
    fn every_access_traps_with_a_code_of_its_own() {
        let functions = translated(
            r#"(module (memory 1) (memory i64 1)
                (func (param i32 i64)
                    (drop (i32.atomic.load (local.get 0)))
                    (i64.atomic.store8 1 (local.get 1) (i64.const 1))
                    (drop (i64.atomic.rmw16.sub_u 1 (local.get 1) (i64.const 1)))
                    (drop (i32.atomic.rmw8.cmpxchg_u
                        (local.get 0) (i32.const 1) (i32.const 2)))
                    (drop (memory.atomic.notify 1 (local.get 1) (i32.const 1)))
                    (drop (memory.atomic.wait64 (local.get 0) (i64.const 1) (i64.const 1)))))"#,
            false,
        );
        let func = &functions[0];
        let codes: Vec<_> = insts(func)
            .filter_map(|(_, data)| match *data {
                InstructionData::LoadNoOffset { flags, .. }
                | InstructionData::StoreNoOffset { flags, .. }
                | InstructionData::AtomicRmw { flags, .. }
                | InstructionData::AtomicCas { flags, .. } => Some(flags),
                _ => None,
            })
            .map(|flags| func.dfg.mem_flags[flags].trap_code().expect("it can trap"))
            .collect();
        assert_eq!(codes.len(), 6, "{func}");
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), 6, "{func}");
    }
}
