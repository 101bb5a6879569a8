//! Vectors as a whole and their lanes: constants, splats, single lanes, shuffles, bits, tests.

use super::super::numeric::push_bool;
use super::{binary, emit_unary, original_type, pop, pop2, push, unary, view};
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value, types};
use types::{F32X4, F64X2, I8, I8X16, I16, I16X8, I32, I32X4, I64X2};
use wasmparser::Operator as Op;

/// Translates `op` if it is of this kind.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match *op {
        Op::V128Const { value } => {
            let bytes = t.builder.func.dfg.constants.insert(value.bytes().as_slice().into());
            let vector = t.builder.ins().vconst(I8X16, bytes);
            push(t, vector);
        }
        Op::I8x16Shuffle { lanes } => {
            let (x, y) = pop2(t, I8X16);
            let lanes = t.builder.func.dfg.immediates.push(lanes.as_slice().into());
            let vector = t.builder.ins().shuffle(x, y, lanes);
            push(t, vector);
        }
        Op::I8x16Swizzle => binary(t, I8X16, Opcode::Swizzle),

        Op::I8x16Splat => splat(t, I8X16),
        Op::I16x8Splat => splat(t, I16X8),
        Op::I32x4Splat => splat(t, I32X4),
        Op::I64x2Splat => splat(t, I64X2),
        Op::F32x4Splat => splat(t, F32X4),
        Op::F64x2Splat => splat(t, F64X2),

        Op::I8x16ExtractLaneS { lane } => extract_small(t, I8X16, lane, Opcode::Sextend),
        Op::I8x16ExtractLaneU { lane } => extract_small(t, I8X16, lane, Opcode::Uextend),
        Op::I16x8ExtractLaneS { lane } => extract_small(t, I16X8, lane, Opcode::Sextend),
        Op::I16x8ExtractLaneU { lane } => extract_small(t, I16X8, lane, Opcode::Uextend),
        Op::I32x4ExtractLane { lane } => extract(t, I32X4, lane),
        Op::I64x2ExtractLane { lane } => extract(t, I64X2, lane),
        Op::F32x4ExtractLane { lane } => extract(t, F32X4, lane),
        Op::F64x2ExtractLane { lane } => extract(t, F64X2, lane),

        Op::I8x16ReplaceLane { lane } => replace(t, I8X16, lane),
        Op::I16x8ReplaceLane { lane } => replace(t, I16X8, lane),
        Op::I32x4ReplaceLane { lane } => replace(t, I32X4, lane),
        Op::I64x2ReplaceLane { lane } => replace(t, I64X2, lane),
        Op::F32x4ReplaceLane { lane } => replace(t, F32X4, lane),
        Op::F64x2ReplaceLane { lane } => replace(t, F64X2, lane),

        Op::V128Not => unary(t, I8X16, Opcode::Bnot),
        Op::V128And => binary(t, I8X16, Opcode::Band),
        Op::V128Or => binary(t, I8X16, Opcode::Bor),
        Op::V128Xor => binary(t, I8X16, Opcode::Bxor),
        Op::V128AndNot => {
            let (x, y) = pop2(t, I8X16);
            let vector = t.builder.ins().band_not(x, y);
            push(t, vector);
        }
        Op::V128Bitselect => bitselect(t),

        Op::V128AnyTrue => {
            let vector = t.pop();
            let ty = original_type(t, vector);
            let vector = view(t, ty, vector);
            let boolean = t.builder.ins().vany_true(vector);
            push_bool(t, boolean);
        }
        Op::I8x16AllTrue => all_true(t, I8X16),
        Op::I16x8AllTrue => all_true(t, I16X8),
        Op::I32x4AllTrue => all_true(t, I32X4),
        Op::I64x2AllTrue => all_true(t, I64X2),
        Op::I8x16Bitmask => bitmask(t, I8X16),
        Op::I16x8Bitmask => bitmask(t, I16X8),
        Op::I32x4Bitmask => bitmask(t, I32X4),
        Op::I64x2Bitmask => bitmask(t, I64X2),
        _ => return false,
    }
    true
}

/// Pops a scalar that is to be a lane: small lanes come as `i32`.
pub(super) fn pop_lane(t: &mut FuncTranslator<'_>, lane: Type) -> Value {
    let scalar = t.pop();
    match lane {
        I8 | I16 => t.builder.ins().ireduce(lane, scalar),
        _ => scalar,
    }
}

/// `mask`'s ones take from the first, its zeroes from the second.
///
/// It works in the type in which the mask was made: if that was a comparison, instruction selection
/// then knows that whole lanes are taken, and blends.
pub(super) fn bitselect(t: &mut FuncTranslator<'_>) {
    let (yes, no, mask) = t.pop3();
    let ty = original_type(t, mask);
    let (yes, no, mask) = (view(t, ty, yes), view(t, ty, no), view(t, ty, mask));
    let vector = t.builder.ins().bitselect(mask, yes, no);
    push(t, vector);
}

fn splat(t: &mut FuncTranslator<'_>, ty: Type) {
    let scalar = pop_lane(t, ty.lane_type());
    let vector = t.builder.ins().splat(ty, scalar);
    push(t, vector);
}

fn extract(t: &mut FuncTranslator<'_>, ty: Type, lane: u8) {
    let vector = pop(t, ty);
    let scalar = t.builder.ins().extractlane(vector, lane);
    t.push(scalar);
}

fn extract_small(t: &mut FuncTranslator<'_>, ty: Type, lane: u8, extend: Opcode) {
    let vector = pop(t, ty);
    let scalar = t.builder.ins().extractlane(vector, lane);
    let scalar = emit_unary(t, extend, I32, scalar);
    t.push(scalar);
}

fn replace(t: &mut FuncTranslator<'_>, ty: Type, lane: u8) {
    let scalar = pop_lane(t, ty.lane_type());
    let vector = pop(t, ty);
    let vector = t.builder.ins().insertlane(vector, scalar, lane);
    push(t, vector);
}

fn all_true(t: &mut FuncTranslator<'_>, ty: Type) {
    let vector = pop(t, ty);
    let boolean = t.builder.ins().vall_true(vector);
    push_bool(t, boolean);
}

fn bitmask(t: &mut FuncTranslator<'_>, ty: Type) {
    let vector = pop(t, ty);
    let mask = t.builder.ins().vhigh_bits(I32, vector);
    t.push(mask);
}
