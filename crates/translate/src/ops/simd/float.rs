//! Floating-point lanes: comparisons, arithmetic, and conversions from and to integer lanes.

use super::{binary, convert, emit_unary, pop, pop2, push, unary, view, zeroes};
use crate::func::FuncTranslator;
use cranelift_codegen::ir::condcodes::FloatCC;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, types};
use types::{F32X4, F64X2, I32X4, I64X2};
use wasmparser::Operator as Op;

/// Translates `op` if it is of this kind.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    arithmetic(t, op) || conversion(t, op)
}

fn arithmetic(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::F32x4Eq => compare(t, F32X4, FloatCC::Equal),
        Op::F64x2Eq => compare(t, F64X2, FloatCC::Equal),
        Op::F32x4Ne => compare(t, F32X4, FloatCC::NotEqual),
        Op::F64x2Ne => compare(t, F64X2, FloatCC::NotEqual),
        Op::F32x4Lt => compare(t, F32X4, FloatCC::LessThan),
        Op::F64x2Lt => compare(t, F64X2, FloatCC::LessThan),
        Op::F32x4Gt => compare(t, F32X4, FloatCC::GreaterThan),
        Op::F64x2Gt => compare(t, F64X2, FloatCC::GreaterThan),
        Op::F32x4Le => compare(t, F32X4, FloatCC::LessThanOrEqual),
        Op::F64x2Le => compare(t, F64X2, FloatCC::LessThanOrEqual),
        Op::F32x4Ge => compare(t, F32X4, FloatCC::GreaterThanOrEqual),
        Op::F64x2Ge => compare(t, F64X2, FloatCC::GreaterThanOrEqual),

        Op::F32x4Abs => unary(t, F32X4, Opcode::Fabs),
        Op::F64x2Abs => unary(t, F64X2, Opcode::Fabs),
        Op::F32x4Neg => unary(t, F32X4, Opcode::Fneg),
        Op::F64x2Neg => unary(t, F64X2, Opcode::Fneg),
        Op::F32x4Ceil => unary(t, F32X4, Opcode::Ceil),
        Op::F64x2Ceil => unary(t, F64X2, Opcode::Ceil),
        Op::F32x4Floor => unary(t, F32X4, Opcode::Floor),
        Op::F64x2Floor => unary(t, F64X2, Opcode::Floor),
        Op::F32x4Trunc => unary(t, F32X4, Opcode::Trunc),
        Op::F64x2Trunc => unary(t, F64X2, Opcode::Trunc),
        Op::F32x4Nearest => unary(t, F32X4, Opcode::Nearest),
        Op::F64x2Nearest => unary(t, F64X2, Opcode::Nearest),
        Op::F32x4Sqrt => unary(t, F32X4, Opcode::Sqrt),
        Op::F64x2Sqrt => unary(t, F64X2, Opcode::Sqrt),

        Op::F32x4Add => binary(t, F32X4, Opcode::Fadd),
        Op::F64x2Add => binary(t, F64X2, Opcode::Fadd),
        Op::F32x4Sub => binary(t, F32X4, Opcode::Fsub),
        Op::F64x2Sub => binary(t, F64X2, Opcode::Fsub),
        Op::F32x4Mul => binary(t, F32X4, Opcode::Fmul),
        Op::F64x2Mul => binary(t, F64X2, Opcode::Fmul),
        Op::F32x4Div => binary(t, F32X4, Opcode::Fdiv),
        Op::F64x2Div => binary(t, F64X2, Opcode::Fdiv),
        Op::F32x4Min => binary(t, F32X4, Opcode::Fmin),
        Op::F64x2Min => binary(t, F64X2, Opcode::Fmin),
        Op::F32x4Max => binary(t, F32X4, Opcode::Fmax),
        Op::F64x2Max => binary(t, F64X2, Opcode::Fmax),
        Op::F32x4PMin => pseudo_min(t, F32X4),
        Op::F64x2PMin => pseudo_min(t, F64X2),
        Op::F32x4PMax => pseudo_max(t, F32X4),
        Op::F64x2PMax => pseudo_max(t, F64X2),
        _ => return false,
    }
    true
}

fn conversion(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::F32x4ConvertI32x4S => convert(t, I32X4, Opcode::FcvtFromSint, F32X4),
        Op::F32x4ConvertI32x4U => convert(t, I32X4, Opcode::FcvtFromUint, F32X4),
        Op::F64x2ConvertLowI32x4S => {
            let x = pop(t, I32X4);
            let x = t.builder.ins().swiden_low(x);
            let value = t.builder.ins().fcvt_from_sint(F64X2, x);
            push(t, value);
        }
        Op::F64x2ConvertLowI32x4U => {
            let x = pop(t, I32X4);
            let x = t.builder.ins().uwiden_low(x);
            let value = t.builder.ins().fcvt_from_uint(F64X2, x);
            push(t, value);
        }
        Op::F32x4DemoteF64x2Zero => unary(t, F64X2, Opcode::Fvdemote),
        Op::F64x2PromoteLowF32x4 => unary(t, F32X4, Opcode::FvpromoteLow),

        Op::I32x4TruncSatF32x4S => convert(t, F32X4, Opcode::FcvtToSintSat, I32X4),
        Op::I32x4TruncSatF32x4U => convert(t, F32X4, Opcode::FcvtToUintSat, I32X4),
        Op::I32x4TruncSatF64x2SZero => truncate_signed_zero(t, Opcode::FcvtToSintSat),
        Op::I32x4TruncSatF64x2UZero => truncate_unsigned_zero(t),
        _ => return false,
    }
    true
}

fn compare(t: &mut FuncTranslator<'_>, ty: Type, condition: FloatCC) {
    let (x, y) = pop2(t, ty);
    let mask = t.builder.ins().fcmp(condition, x, y);
    push(t, mask);
}

/// `y < x ? y : x`, in the order that is one instruction on x86-64.
pub(super) fn pseudo_min(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y) = pop2(t, ty);
    let mask = t.builder.ins().fcmp(FloatCC::LessThan, y, x);
    let mask = view(t, ty, mask);
    let value = t.builder.ins().bitselect(mask, y, x);
    push(t, value);
}

/// `x < y ? y : x`, in the order that is one instruction on x86-64.
pub(super) fn pseudo_max(t: &mut FuncTranslator<'_>, ty: Type) {
    let (x, y) = pop2(t, ty);
    let mask = t.builder.ins().fcmp(FloatCC::LessThan, x, y);
    let mask = view(t, ty, mask);
    let value = t.builder.ins().bitselect(mask, y, x);
    push(t, value);
}

/// `f64x2` to the low lanes of an `i32x4`; `opcode` is the conversion.
///
/// Converting to 64 bits and saturating that to 32 is converting to 32. Cranelift knows the two
/// instructions only in this combination with a constant zero.
pub(super) fn truncate_signed_zero(t: &mut FuncTranslator<'_>, opcode: Opcode) {
    let x = pop(t, F64X2);
    let wide = emit_unary(t, opcode, I64X2, x);
    let zero = zeroes(t, I64X2);
    let value = t.builder.ins().snarrow(wide, zero);
    push(t, value);
}

/// As [`truncate_signed_zero`], for unsigned lanes.
pub(super) fn truncate_unsigned_zero(t: &mut FuncTranslator<'_>) {
    let x = pop(t, F64X2);
    let wide = t.builder.ins().fcvt_to_uint_sat(I64X2, x);
    let zero = zeroes(t, I64X2);
    let value = t.builder.ins().uunarrow(wide, zero);
    push(t, value);
}
