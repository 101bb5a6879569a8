//! Relaxed vector operators: those for which WebAssembly allows several results.
//!
//! The choice depends on the processor alone, never on the operands or on where the operator
//! stands, so that a program gives the same results each time on the same machine. The fast
//! instruction is taken if the processor has it and its results are allowed; otherwise the strict
//! operator's results, which always are.

use super::float::{pseudo_max, pseudo_min, truncate_signed_zero, truncate_unsigned_zero};
use super::integer::{dot, signed_pair_sums};
use super::lanes::bitselect;
use super::{binary, convert, pop, pop2, pop3, push};
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{InstBuilder, Opcode, Type, Value, types};
use types::{F32X4, F64X2, I8X16, I16X8, I32X4};
use wasmparser::Operator as Op;

/// Translates `op` if it is of this kind.
pub(super) fn translate(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I8x16RelaxedSwizzle if t.env.isa.has_x86_pshufb_lowering() => {
            binary(t, I8X16, Opcode::X86Pshufb);
        }
        Op::I8x16RelaxedSwizzle => binary(t, I8X16, Opcode::Swizzle),
        Op::I16x8RelaxedQ15mulrS if t.env.isa.has_x86_pmulhrsw_lowering() => {
            binary(t, I16X8, Opcode::X86Pmulhrsw);
        }
        Op::I16x8RelaxedQ15mulrS => binary(t, I16X8, Opcode::SqmulRoundSat),

        Op::I32x4RelaxedTruncF32x4S => convert(t, F32X4, truncate_signed(t), I32X4),
        Op::I32x4RelaxedTruncF32x4U => convert(t, F32X4, Opcode::FcvtToUintSat, I32X4),
        Op::I32x4RelaxedTruncF64x2SZero => truncate_signed_zero(t, truncate_signed(t)),
        Op::I32x4RelaxedTruncF64x2UZero => truncate_unsigned_zero(t),

        Op::F32x4RelaxedMadd => multiply_add(t, F32X4, false),
        Op::F64x2RelaxedMadd => multiply_add(t, F64X2, false),
        Op::F32x4RelaxedNmadd => multiply_add(t, F32X4, true),
        Op::F64x2RelaxedNmadd => multiply_add(t, F64X2, true),

        Op::I8x16RelaxedLaneselect
        | Op::I16x8RelaxedLaneselect
        | Op::I32x4RelaxedLaneselect
        | Op::I64x2RelaxedLaneselect => bitselect(t),

        Op::F32x4RelaxedMin => pseudo_min(t, F32X4),
        Op::F64x2RelaxedMin => pseudo_min(t, F64X2),
        Op::F32x4RelaxedMax => pseudo_max(t, F32X4),
        Op::F64x2RelaxedMax => pseudo_max(t, F64X2),

        Op::I16x8RelaxedDotI8x16I7x16S => {
            let (x, y) = pop2(t, I8X16);
            let sums = dot_i7(t, x, y);
            push(t, sums);
        }
        Op::I32x4RelaxedDotI8x16I7x16AddS => {
            let addend = pop(t, I32X4);
            let (x, y) = pop2(t, I8X16);
            let sums = dot_i7(t, x, y);
            let sums = signed_pair_sums(t, sums);
            let value = t.builder.ins().iadd(sums, addend);
            push(t, value);
        }
        _ => return false,
    }
    true
}

/// Conversion of lanes to signed integers: on x86-64 the instruction, which has no query of its own
/// and gives the least integer for whatever does not fit.
fn truncate_signed(t: &FuncTranslator<'_>) -> Opcode {
    match t.env.isa.name() {
        "x64" => Opcode::X86Cvtt2dq,
        _ => Opcode::FcvtToSintSat,
    }
}

/// `x * y + z`, or `-(x * y) + z`: rounded once if the processor can, otherwise twice. (Cranelift
/// would call a library for a fused instruction that the processor does not have.)
fn multiply_add(t: &mut FuncTranslator<'_>, ty: Type, negate: bool) {
    let (x, y, z) = pop3(t, ty);
    let x = if negate { t.builder.ins().fneg(x) } else { x };
    let value = if t.env.isa.has_native_fma() {
        t.builder.ins().fma(x, y, z)
    } else {
        let product = t.builder.ins().fmul(x, y);
        t.builder.ins().fadd(product, z)
    };
    push(t, value);
}

/// The sums of the products of neighbouring lanes; `y`'s lanes are 0 to 127. Then no product is
/// too large and no sum saturates, and it does not matter that x86 takes `y` as unsigned.
fn dot_i7(t: &mut FuncTranslator<'_>, x: Value, y: Value) -> Value {
    if t.env.isa.has_x86_pmaddubsw_lowering() {
        t.builder.ins().x86_pmaddubsw(x, y)
    } else {
        dot(t, x, y)
    }
}
