//! Loads and stores of vectors and of their lanes.
//!
//! Where the bytes are and what a fault means is `ops/memory.rs`'s; here is only what the bytes
//! become.

use super::{pop, push};
use crate::func::FuncTranslator;
use crate::ops::memory::{Access, access};
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value, types};
use types::{I8X16, I16X8, I32X4, I64X2};
use wasmparser::{MemArg, Operator as Op};

/// Translates `op` if it is of this kind.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::V128Load { memarg } => {
            let vector = load(t, memarg, I8X16);
            push(t, vector);
        }
        Op::V128Store { memarg } => {
            let vector = t.pop();
            store(t, memarg, vector);
        }

        Op::V128Load8x8S { memarg } => load_widened(t, memarg, Opcode::Sload8x8),
        Op::V128Load8x8U { memarg } => load_widened(t, memarg, Opcode::Uload8x8),
        Op::V128Load16x4S { memarg } => load_widened(t, memarg, Opcode::Sload16x4),
        Op::V128Load16x4U { memarg } => load_widened(t, memarg, Opcode::Uload16x4),
        Op::V128Load32x2S { memarg } => load_widened(t, memarg, Opcode::Sload32x2),
        Op::V128Load32x2U { memarg } => load_widened(t, memarg, Opcode::Uload32x2),

        Op::V128Load8Splat { memarg } => load_splat(t, memarg, I8X16),
        Op::V128Load16Splat { memarg } => load_splat(t, memarg, I16X8),
        Op::V128Load32Splat { memarg } => load_splat(t, memarg, I32X4),
        Op::V128Load64Splat { memarg } => load_splat(t, memarg, I64X2),

        Op::V128Load32Zero { memarg } => load_zero(t, memarg, I32X4),
        Op::V128Load64Zero { memarg } => load_zero(t, memarg, I64X2),

        Op::V128Load8Lane { memarg, lane } => load_lane(t, memarg, I8X16, *lane),
        Op::V128Load16Lane { memarg, lane } => load_lane(t, memarg, I16X8, *lane),
        Op::V128Load32Lane { memarg, lane } => load_lane(t, memarg, I32X4, *lane),
        Op::V128Load64Lane { memarg, lane } => load_lane(t, memarg, I64X2, *lane),

        Op::V128Store8Lane { memarg, lane } => store_lane(t, memarg, I8X16, *lane),
        Op::V128Store16Lane { memarg, lane } => store_lane(t, memarg, I16X8, *lane),
        Op::V128Store32Lane { memarg, lane } => store_lane(t, memarg, I32X4, *lane),
        Op::V128Store64Lane { memarg, lane } => store_lane(t, memarg, I64X2, *lane),
        _ => return false,
    }
    true
}

/// Pops an index and loads a value of type `ty` from there.
fn load(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) -> Value {
    let index = t.pop();
    let Access { flags, address, offset } = access(t, memarg, index, ty.bytes() as u8);
    t.builder.ins().load(ty, flags, address, offset)
}

/// Pops an index and stores `value` there.
fn store(t: &mut FuncTranslator<'_>, memarg: &MemArg, value: Value) {
    let size = t.builder.func.dfg.value_type(value).bytes() as u8;
    let index = t.pop();
    let Access { flags, address, offset } = access(t, memarg, index, size);
    t.builder.ins().store(flags, value, address, offset);
}

/// Loads 64 bits as the low lanes of a vector and widens them: one instruction, `opcode`.
fn load_widened(t: &mut FuncTranslator<'_>, memarg: &MemArg, opcode: Opcode) {
    let index = t.pop();
    let Access { flags, address, offset } = access(t, memarg, index, 8);
    let address_type = t.builder.func.dfg.value_type(address);
    let flags = t.builder.func.dfg.mem_flags.insert_unchecked(flags);
    let (load, dfg) = t.builder.ins().Load(opcode, address_type, flags, offset.into(), address);
    let vector = dfg.first_result(load);
    push(t, vector);
}

fn load_splat(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let scalar = load(t, memarg, ty.lane_type());
    let vector = t.builder.ins().splat(ty, scalar);
    push(t, vector);
}

/// Loads the lowest lane; the others are zero.
fn load_zero(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type) {
    let scalar = load(t, memarg, ty.lane_type());
    let vector = t.builder.ins().scalar_to_vector(ty, scalar);
    push(t, vector);
}

fn load_lane(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type, lane: u8) {
    let vector = pop(t, ty);
    let scalar = load(t, memarg, ty.lane_type());
    let vector = t.builder.ins().insertlane(vector, scalar, lane);
    push(t, vector);
}

fn store_lane(t: &mut FuncTranslator<'_>, memarg: &MemArg, ty: Type, lane: u8) {
    let vector = pop(t, ty);
    let scalar = t.builder.ins().extractlane(vector, lane);
    store(t, memarg, scalar);
}
