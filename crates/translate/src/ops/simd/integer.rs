//! Integer lanes: comparisons, arithmetic, widening and narrowing.

use super::{binary, emit_binary, emit_unary, pop, pop2, push, unary};
use crate::func::FuncTranslator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value, types};
use types::{I8X16, I16X8, I32X4, I64X2};
use wasmparser::Operator as Op;

/// Which half of the lanes is widened, and how.
const LOW_S: Opcode = Opcode::SwidenLow;
const LOW_U: Opcode = Opcode::UwidenLow;
const HIGH_S: Opcode = Opcode::SwidenHigh;
const HIGH_U: Opcode = Opcode::UwidenHigh;

/// Translates `op` if it is of this kind.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    comparison(t, op) || arithmetic(t, op) || resizing(t, op)
}

fn comparison(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I8x16Eq => compare(t, I8X16, IntCC::Equal),
        Op::I16x8Eq => compare(t, I16X8, IntCC::Equal),
        Op::I32x4Eq => compare(t, I32X4, IntCC::Equal),
        Op::I64x2Eq => compare(t, I64X2, IntCC::Equal),
        Op::I8x16Ne => compare(t, I8X16, IntCC::NotEqual),
        Op::I16x8Ne => compare(t, I16X8, IntCC::NotEqual),
        Op::I32x4Ne => compare(t, I32X4, IntCC::NotEqual),
        Op::I64x2Ne => compare(t, I64X2, IntCC::NotEqual),

        Op::I8x16LtS => compare(t, I8X16, IntCC::SignedLessThan),
        Op::I16x8LtS => compare(t, I16X8, IntCC::SignedLessThan),
        Op::I32x4LtS => compare(t, I32X4, IntCC::SignedLessThan),
        Op::I64x2LtS => compare(t, I64X2, IntCC::SignedLessThan),
        Op::I8x16LtU => compare(t, I8X16, IntCC::UnsignedLessThan),
        Op::I16x8LtU => compare(t, I16X8, IntCC::UnsignedLessThan),
        Op::I32x4LtU => compare(t, I32X4, IntCC::UnsignedLessThan),

        Op::I8x16GtS => compare(t, I8X16, IntCC::SignedGreaterThan),
        Op::I16x8GtS => compare(t, I16X8, IntCC::SignedGreaterThan),
        Op::I32x4GtS => compare(t, I32X4, IntCC::SignedGreaterThan),
        Op::I64x2GtS => compare(t, I64X2, IntCC::SignedGreaterThan),
        Op::I8x16GtU => compare(t, I8X16, IntCC::UnsignedGreaterThan),
        Op::I16x8GtU => compare(t, I16X8, IntCC::UnsignedGreaterThan),
        Op::I32x4GtU => compare(t, I32X4, IntCC::UnsignedGreaterThan),

        Op::I8x16LeS => compare(t, I8X16, IntCC::SignedLessThanOrEqual),
        Op::I16x8LeS => compare(t, I16X8, IntCC::SignedLessThanOrEqual),
        Op::I32x4LeS => compare(t, I32X4, IntCC::SignedLessThanOrEqual),
        Op::I64x2LeS => compare(t, I64X2, IntCC::SignedLessThanOrEqual),
        Op::I8x16LeU => compare(t, I8X16, IntCC::UnsignedLessThanOrEqual),
        Op::I16x8LeU => compare(t, I16X8, IntCC::UnsignedLessThanOrEqual),
        Op::I32x4LeU => compare(t, I32X4, IntCC::UnsignedLessThanOrEqual),

        Op::I8x16GeS => compare(t, I8X16, IntCC::SignedGreaterThanOrEqual),
        Op::I16x8GeS => compare(t, I16X8, IntCC::SignedGreaterThanOrEqual),
        Op::I32x4GeS => compare(t, I32X4, IntCC::SignedGreaterThanOrEqual),
        Op::I64x2GeS => compare(t, I64X2, IntCC::SignedGreaterThanOrEqual),
        Op::I8x16GeU => compare(t, I8X16, IntCC::UnsignedGreaterThanOrEqual),
        Op::I16x8GeU => compare(t, I16X8, IntCC::UnsignedGreaterThanOrEqual),
        Op::I32x4GeU => compare(t, I32X4, IntCC::UnsignedGreaterThanOrEqual),
        _ => return false,
    }
    true
}

/// From lanes to lanes of the same size.
fn arithmetic(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I8x16Abs => unary(t, I8X16, Opcode::Iabs),
        Op::I16x8Abs => unary(t, I16X8, Opcode::Iabs),
        Op::I32x4Abs => unary(t, I32X4, Opcode::Iabs),
        Op::I64x2Abs => unary(t, I64X2, Opcode::Iabs),
        Op::I8x16Neg => unary(t, I8X16, Opcode::Ineg),
        Op::I16x8Neg => unary(t, I16X8, Opcode::Ineg),
        Op::I32x4Neg => unary(t, I32X4, Opcode::Ineg),
        Op::I64x2Neg => unary(t, I64X2, Opcode::Ineg),
        Op::I8x16Popcnt => unary(t, I8X16, Opcode::Popcnt),

        Op::I8x16Shl => shift(t, I8X16, Opcode::Ishl),
        Op::I16x8Shl => shift(t, I16X8, Opcode::Ishl),
        Op::I32x4Shl => shift(t, I32X4, Opcode::Ishl),
        Op::I64x2Shl => shift(t, I64X2, Opcode::Ishl),
        Op::I8x16ShrS => shift(t, I8X16, Opcode::Sshr),
        Op::I16x8ShrS => shift(t, I16X8, Opcode::Sshr),
        Op::I32x4ShrS => shift(t, I32X4, Opcode::Sshr),
        Op::I64x2ShrS => shift(t, I64X2, Opcode::Sshr),
        Op::I8x16ShrU => shift(t, I8X16, Opcode::Ushr),
        Op::I16x8ShrU => shift(t, I16X8, Opcode::Ushr),
        Op::I32x4ShrU => shift(t, I32X4, Opcode::Ushr),
        Op::I64x2ShrU => shift(t, I64X2, Opcode::Ushr),

        Op::I8x16Add => binary(t, I8X16, Opcode::Iadd),
        Op::I16x8Add => binary(t, I16X8, Opcode::Iadd),
        Op::I32x4Add => binary(t, I32X4, Opcode::Iadd),
        Op::I64x2Add => binary(t, I64X2, Opcode::Iadd),
        Op::I8x16AddSatS => binary(t, I8X16, Opcode::SaddSat),
        Op::I16x8AddSatS => binary(t, I16X8, Opcode::SaddSat),
        Op::I8x16AddSatU => binary(t, I8X16, Opcode::UaddSat),
        Op::I16x8AddSatU => binary(t, I16X8, Opcode::UaddSat),
        Op::I8x16Sub => binary(t, I8X16, Opcode::Isub),
        Op::I16x8Sub => binary(t, I16X8, Opcode::Isub),
        Op::I32x4Sub => binary(t, I32X4, Opcode::Isub),
        Op::I64x2Sub => binary(t, I64X2, Opcode::Isub),
        Op::I8x16SubSatS => binary(t, I8X16, Opcode::SsubSat),
        Op::I16x8SubSatS => binary(t, I16X8, Opcode::SsubSat),
        Op::I8x16SubSatU => binary(t, I8X16, Opcode::UsubSat),
        Op::I16x8SubSatU => binary(t, I16X8, Opcode::UsubSat),
        Op::I16x8Mul => binary(t, I16X8, Opcode::Imul),
        Op::I32x4Mul => binary(t, I32X4, Opcode::Imul),
        Op::I64x2Mul => binary(t, I64X2, Opcode::Imul),
        Op::I16x8Q15MulrSatS => binary(t, I16X8, Opcode::SqmulRoundSat),
        Op::I8x16AvgrU => binary(t, I8X16, Opcode::AvgRound),
        Op::I16x8AvgrU => binary(t, I16X8, Opcode::AvgRound),

        Op::I8x16MinS => binary(t, I8X16, Opcode::Smin),
        Op::I16x8MinS => binary(t, I16X8, Opcode::Smin),
        Op::I32x4MinS => binary(t, I32X4, Opcode::Smin),
        Op::I8x16MinU => binary(t, I8X16, Opcode::Umin),
        Op::I16x8MinU => binary(t, I16X8, Opcode::Umin),
        Op::I32x4MinU => binary(t, I32X4, Opcode::Umin),
        Op::I8x16MaxS => binary(t, I8X16, Opcode::Smax),
        Op::I16x8MaxS => binary(t, I16X8, Opcode::Smax),
        Op::I32x4MaxS => binary(t, I32X4, Opcode::Smax),
        Op::I8x16MaxU => binary(t, I8X16, Opcode::Umax),
        Op::I16x8MaxU => binary(t, I16X8, Opcode::Umax),
        Op::I32x4MaxU => binary(t, I32X4, Opcode::Umax),
        _ => return false,
    }
    true
}

/// To lanes of twice or half the size.
fn resizing(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I16x8ExtendLowI8x16S => unary(t, I8X16, LOW_S),
        Op::I32x4ExtendLowI16x8S => unary(t, I16X8, LOW_S),
        Op::I64x2ExtendLowI32x4S => unary(t, I32X4, LOW_S),
        Op::I16x8ExtendLowI8x16U => unary(t, I8X16, LOW_U),
        Op::I32x4ExtendLowI16x8U => unary(t, I16X8, LOW_U),
        Op::I64x2ExtendLowI32x4U => unary(t, I32X4, LOW_U),
        Op::I16x8ExtendHighI8x16S => unary(t, I8X16, HIGH_S),
        Op::I32x4ExtendHighI16x8S => unary(t, I16X8, HIGH_S),
        Op::I64x2ExtendHighI32x4S => unary(t, I32X4, HIGH_S),
        Op::I16x8ExtendHighI8x16U => unary(t, I8X16, HIGH_U),
        Op::I32x4ExtendHighI16x8U => unary(t, I16X8, HIGH_U),
        Op::I64x2ExtendHighI32x4U => unary(t, I32X4, HIGH_U),

        Op::I8x16NarrowI16x8S => binary(t, I16X8, Opcode::Snarrow),
        Op::I16x8NarrowI32x4S => binary(t, I32X4, Opcode::Snarrow),
        Op::I8x16NarrowI16x8U => binary(t, I16X8, Opcode::Unarrow),
        Op::I16x8NarrowI32x4U => binary(t, I32X4, Opcode::Unarrow),

        Op::I16x8ExtMulLowI8x16S => multiply(t, I8X16, LOW_S),
        Op::I32x4ExtMulLowI16x8S => multiply(t, I16X8, LOW_S),
        Op::I64x2ExtMulLowI32x4S => multiply(t, I32X4, LOW_S),
        Op::I16x8ExtMulLowI8x16U => multiply(t, I8X16, LOW_U),
        Op::I32x4ExtMulLowI16x8U => multiply(t, I16X8, LOW_U),
        Op::I64x2ExtMulLowI32x4U => multiply(t, I32X4, LOW_U),
        Op::I16x8ExtMulHighI8x16S => multiply(t, I8X16, HIGH_S),
        Op::I32x4ExtMulHighI16x8S => multiply(t, I16X8, HIGH_S),
        Op::I64x2ExtMulHighI32x4S => multiply(t, I32X4, HIGH_S),
        Op::I16x8ExtMulHighI8x16U => multiply(t, I8X16, HIGH_U),
        Op::I32x4ExtMulHighI16x8U => multiply(t, I16X8, HIGH_U),
        Op::I64x2ExtMulHighI32x4U => multiply(t, I32X4, HIGH_U),

        Op::I16x8ExtAddPairwiseI8x16S => add_pairs(t, I8X16, LOW_S, HIGH_S),
        Op::I32x4ExtAddPairwiseI16x8S => add_pairs(t, I16X8, LOW_S, HIGH_S),
        Op::I16x8ExtAddPairwiseI8x16U => add_pairs(t, I8X16, LOW_U, HIGH_U),
        Op::I32x4ExtAddPairwiseI16x8U => add_pairs(t, I16X8, LOW_U, HIGH_U),
        Op::I32x4DotI16x8S => {
            let (x, y) = pop2(t, I16X8);
            let sums = dot(t, x, y);
            push(t, sums);
        }
        _ => return false,
    }
    true
}

fn compare(t: &mut FuncTranslator<'_>, ty: Type, condition: IntCC) {
    let (x, y) = pop2(t, ty);
    let mask = t.builder.ins().icmp(condition, x, y);
    push(t, mask);
}

/// Shifts all lanes by the same `i32`; Cranelift takes it modulo the lane's width.
fn shift(t: &mut FuncTranslator<'_>, ty: Type, opcode: Opcode) {
    let count = t.pop();
    let vector = pop(t, ty);
    let vector = emit_binary(t, opcode, vector, count);
    push(t, vector);
}

/// Multiplies half of the lanes, widened.
fn multiply(t: &mut FuncTranslator<'_>, ty: Type, widen: Opcode) {
    let (x, y) = pop2(t, ty);
    let products = widened_product(t, widen, x, y);
    push(t, products);
}

fn add_pairs(t: &mut FuncTranslator<'_>, ty: Type, low: Opcode, high: Opcode) {
    let vector = pop(t, ty);
    let sums = widened_pair_sums(t, low, high, vector);
    push(t, sums);
}

fn widened_product(t: &mut FuncTranslator<'_>, widen: Opcode, x: Value, y: Value) -> Value {
    let ty = t.builder.func.dfg.value_type(x);
    let x = emit_unary(t, widen, ty, x);
    let y = emit_unary(t, widen, ty, y);
    t.builder.ins().imul(x, y)
}

fn widened_pair_sums(t: &mut FuncTranslator<'_>, low: Opcode, high: Opcode, x: Value) -> Value {
    let ty = t.builder.func.dfg.value_type(x);
    let low = emit_unary(t, low, ty, x);
    let high = emit_unary(t, high, ty, x);
    t.builder.ins().iadd_pairwise(low, high)
}

/// The sums of neighbouring lanes, widened as signed numbers.
pub(super) fn signed_pair_sums(t: &mut FuncTranslator<'_>, x: Value) -> Value {
    widened_pair_sums(t, LOW_S, HIGH_S, x)
}

/// The sums of the products of neighbouring lanes, as signed numbers of twice the size; wraps.
pub(super) fn dot(t: &mut FuncTranslator<'_>, x: Value, y: Value) -> Value {
    let low = widened_product(t, LOW_S, x, y);
    let high = widened_product(t, HIGH_S, x, y);
    t.builder.ins().iadd_pairwise(low, high)
}
