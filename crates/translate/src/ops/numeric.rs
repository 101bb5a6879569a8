//! Scalar arithmetic, comparisons and conversions.
//!
//! Nearly every operator is one Cranelift instruction, so this is a table from operator to opcode,
//! by shape. Cranelift's division, remainder and conversions trap by themselves, with the trap
//! codes that `points.rs` knows; its shifts and rotations take their count modulo the width, its
//! `fmin`, `fmax`, `nearest` and saturating conversions follow WebAssembly, and its `srem` of the
//! least integer by -1 is 0.

use crate::func::FuncTranslator;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Opcode, Type, Value, types};
use types::{F32, F64, I8, I16, I32, I64, I128};
use wasmparser::Operator as Op;

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    integer(t, op) || float(t, op) || conversion(t, op) || wide(t, op)
}

/// Integer tests, comparisons, arithmetic and bit operations.
fn integer(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I32Eqz | Op::I64Eqz => eqz(t),
        Op::I32Eq | Op::I64Eq => compare(t, IntCC::Equal),
        Op::I32Ne | Op::I64Ne => compare(t, IntCC::NotEqual),
        Op::I32LtS | Op::I64LtS => compare(t, IntCC::SignedLessThan),
        Op::I32LtU | Op::I64LtU => compare(t, IntCC::UnsignedLessThan),
        Op::I32GtS | Op::I64GtS => compare(t, IntCC::SignedGreaterThan),
        Op::I32GtU | Op::I64GtU => compare(t, IntCC::UnsignedGreaterThan),
        Op::I32LeS | Op::I64LeS => compare(t, IntCC::SignedLessThanOrEqual),
        Op::I32LeU | Op::I64LeU => compare(t, IntCC::UnsignedLessThanOrEqual),
        Op::I32GeS | Op::I64GeS => compare(t, IntCC::SignedGreaterThanOrEqual),
        Op::I32GeU | Op::I64GeU => compare(t, IntCC::UnsignedGreaterThanOrEqual),

        Op::I32Clz | Op::I64Clz => unary(t, Opcode::Clz),
        Op::I32Ctz | Op::I64Ctz => unary(t, Opcode::Ctz),
        Op::I32Popcnt | Op::I64Popcnt => unary(t, Opcode::Popcnt),

        Op::I32Add | Op::I64Add => binary(t, Opcode::Iadd),
        Op::I32Sub | Op::I64Sub => binary(t, Opcode::Isub),
        Op::I32Mul | Op::I64Mul => binary(t, Opcode::Imul),
        Op::I32DivS | Op::I64DivS => binary(t, Opcode::Sdiv),
        Op::I32DivU | Op::I64DivU => binary(t, Opcode::Udiv),
        Op::I32RemS | Op::I64RemS => binary(t, Opcode::Srem),
        Op::I32RemU | Op::I64RemU => binary(t, Opcode::Urem),
        Op::I32And | Op::I64And => binary(t, Opcode::Band),
        Op::I32Or | Op::I64Or => binary(t, Opcode::Bor),
        Op::I32Xor | Op::I64Xor => binary(t, Opcode::Bxor),
        Op::I32Shl | Op::I64Shl => binary(t, Opcode::Ishl),
        Op::I32ShrS | Op::I64ShrS => binary(t, Opcode::Sshr),
        Op::I32ShrU | Op::I64ShrU => binary(t, Opcode::Ushr),
        Op::I32Rotl | Op::I64Rotl => binary(t, Opcode::Rotl),
        Op::I32Rotr | Op::I64Rotr => binary(t, Opcode::Rotr),
        _ => return false,
    }
    true
}

/// Floating-point comparisons and arithmetic.
fn float(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::F32Eq | Op::F64Eq => compare_float(t, FloatCC::Equal),
        Op::F32Ne | Op::F64Ne => compare_float(t, FloatCC::NotEqual),
        Op::F32Lt | Op::F64Lt => compare_float(t, FloatCC::LessThan),
        Op::F32Gt | Op::F64Gt => compare_float(t, FloatCC::GreaterThan),
        Op::F32Le | Op::F64Le => compare_float(t, FloatCC::LessThanOrEqual),
        Op::F32Ge | Op::F64Ge => compare_float(t, FloatCC::GreaterThanOrEqual),

        Op::F32Abs | Op::F64Abs => unary(t, Opcode::Fabs),
        Op::F32Neg | Op::F64Neg => unary(t, Opcode::Fneg),
        Op::F32Ceil | Op::F64Ceil => unary(t, Opcode::Ceil),
        Op::F32Floor | Op::F64Floor => unary(t, Opcode::Floor),
        Op::F32Trunc | Op::F64Trunc => unary(t, Opcode::Trunc),
        Op::F32Nearest | Op::F64Nearest => unary(t, Opcode::Nearest),
        Op::F32Sqrt | Op::F64Sqrt => unary(t, Opcode::Sqrt),

        Op::F32Add | Op::F64Add => binary(t, Opcode::Fadd),
        Op::F32Sub | Op::F64Sub => binary(t, Opcode::Fsub),
        Op::F32Mul | Op::F64Mul => binary(t, Opcode::Fmul),
        Op::F32Div | Op::F64Div => binary(t, Opcode::Fdiv),
        Op::F32Min | Op::F64Min => binary(t, Opcode::Fmin),
        Op::F32Max | Op::F64Max => binary(t, Opcode::Fmax),
        Op::F32Copysign | Op::F64Copysign => binary(t, Opcode::Fcopysign),
        _ => return false,
    }
    true
}

/// From one scalar type to another, or to itself by way of a narrower one.
fn conversion(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I32WrapI64 => convert(t, Opcode::Ireduce, I32),
        Op::I64ExtendI32S => convert(t, Opcode::Sextend, I64),
        Op::I64ExtendI32U => convert(t, Opcode::Uextend, I64),
        Op::I32Extend8S => sign_extend(t, I8, I32),
        Op::I32Extend16S => sign_extend(t, I16, I32),
        Op::I64Extend8S => sign_extend(t, I8, I64),
        Op::I64Extend16S => sign_extend(t, I16, I64),
        Op::I64Extend32S => sign_extend(t, I32, I64),

        Op::I32TruncF32S | Op::I32TruncF64S => convert(t, Opcode::FcvtToSint, I32),
        Op::I32TruncF32U | Op::I32TruncF64U => convert(t, Opcode::FcvtToUint, I32),
        Op::I64TruncF32S | Op::I64TruncF64S => convert(t, Opcode::FcvtToSint, I64),
        Op::I64TruncF32U | Op::I64TruncF64U => convert(t, Opcode::FcvtToUint, I64),
        Op::I32TruncSatF32S | Op::I32TruncSatF64S => convert(t, Opcode::FcvtToSintSat, I32),
        Op::I32TruncSatF32U | Op::I32TruncSatF64U => convert(t, Opcode::FcvtToUintSat, I32),
        Op::I64TruncSatF32S | Op::I64TruncSatF64S => convert(t, Opcode::FcvtToSintSat, I64),
        Op::I64TruncSatF32U | Op::I64TruncSatF64U => convert(t, Opcode::FcvtToUintSat, I64),

        Op::F32ConvertI32S | Op::F32ConvertI64S => convert(t, Opcode::FcvtFromSint, F32),
        Op::F32ConvertI32U | Op::F32ConvertI64U => convert(t, Opcode::FcvtFromUint, F32),
        Op::F64ConvertI32S | Op::F64ConvertI64S => convert(t, Opcode::FcvtFromSint, F64),
        Op::F64ConvertI32U | Op::F64ConvertI64U => convert(t, Opcode::FcvtFromUint, F64),
        Op::F32DemoteF64 => convert(t, Opcode::Fdemote, F32),
        Op::F64PromoteF32 => convert(t, Opcode::Fpromote, F64),

        Op::I32ReinterpretF32 => reinterpret(t, I32),
        Op::I64ReinterpretF64 => reinterpret(t, I64),
        Op::F32ReinterpretI32 => reinterpret(t, F32),
        Op::F64ReinterpretI64 => reinterpret(t, F64),
        _ => return false,
    }
    true
}

/// Operators on 128-bit integers, which lie on the stack as two 64-bit halves, the low one first.
fn wide(t: &mut FuncTranslator<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I64Add128 => binary_wide(t, Opcode::Iadd),
        Op::I64Sub128 => binary_wide(t, Opcode::Isub),
        Op::I64MulWideS => multiply_wide(t, Opcode::Sextend),
        Op::I64MulWideU => multiply_wide(t, Opcode::Uextend),
        _ => return false,
    }
    true
}

/// Emits an instruction of one operand. `ty` is the opcode's controlling type: the operand's, or
/// for a conversion the result's.
pub(super) fn emit_unary(t: &mut FuncTranslator<'_>, opcode: Opcode, ty: Type, x: Value) -> Value {
    let (inst, dfg) = t.builder.ins().Unary(opcode, ty, x);
    dfg.first_result(inst)
}

/// Emits an instruction of two operands, whose controlling type is the first one's.
pub(super) fn emit_binary(t: &mut FuncTranslator<'_>, opcode: Opcode, x: Value, y: Value) -> Value {
    let ty = t.builder.func.dfg.value_type(x);
    let (inst, dfg) = t.builder.ins().Binary(opcode, ty, x, y);
    dfg.first_result(inst)
}

/// Pushes a Cranelift boolean (an `i8`, 0 or 1) as the `i32` that WebAssembly has for it.
pub(super) fn push_bool(t: &mut FuncTranslator<'_>, boolean: Value) {
    let value = t.builder.ins().uextend(I32, boolean);
    t.push(value);
}

fn unary(t: &mut FuncTranslator<'_>, opcode: Opcode) {
    let x = t.pop();
    let ty = t.builder.func.dfg.value_type(x);
    let value = emit_unary(t, opcode, ty, x);
    t.push(value);
}

fn binary(t: &mut FuncTranslator<'_>, opcode: Opcode) {
    let (x, y) = t.pop2();
    let value = emit_binary(t, opcode, x, y);
    t.push(value);
}

fn convert(t: &mut FuncTranslator<'_>, opcode: Opcode, to: Type) {
    let x = t.pop();
    let value = emit_unary(t, opcode, to, x);
    t.push(value);
}

fn eqz(t: &mut FuncTranslator<'_>) {
    let x = t.pop();
    let boolean = t.builder.ins().icmp_imm_s(IntCC::Equal, x, 0);
    push_bool(t, boolean);
}

fn compare(t: &mut FuncTranslator<'_>, condition: IntCC) {
    let (x, y) = t.pop2();
    let boolean = t.builder.ins().icmp(condition, x, y);
    push_bool(t, boolean);
}

fn compare_float(t: &mut FuncTranslator<'_>, condition: FloatCC) {
    let (x, y) = t.pop2();
    let boolean = t.builder.ins().fcmp(condition, x, y);
    push_bool(t, boolean);
}

/// Takes the low bits, as many as `from` has, as a signed number.
fn sign_extend(t: &mut FuncTranslator<'_>, from: Type, to: Type) {
    let x = t.pop();
    let low = t.builder.ins().ireduce(from, x);
    let value = t.builder.ins().sextend(to, low);
    t.push(value);
}

fn reinterpret(t: &mut FuncTranslator<'_>, to: Type) {
    let x = t.pop();
    let value = t.builder.ins().bitcast(to, MemFlagsData::new(), x);
    t.push(value);
}

fn binary_wide(t: &mut FuncTranslator<'_>, opcode: Opcode) {
    let (y_low, y_high) = t.pop2();
    let (x_low, x_high) = t.pop2();
    let x = t.builder.ins().iconcat(x_low, x_high);
    let y = t.builder.ins().iconcat(y_low, y_high);
    let value = emit_binary(t, opcode, x, y);
    push_halves(t, value);
}

fn multiply_wide(t: &mut FuncTranslator<'_>, extend: Opcode) {
    let (x, y) = t.pop2();
    let x = emit_unary(t, extend, I128, x);
    let y = emit_unary(t, extend, I128, y);
    let value = t.builder.ins().imul(x, y);
    push_halves(t, value);
}

fn push_halves(t: &mut FuncTranslator<'_>, value: Value) {
    let (low, high) = t.builder.ins().isplit(value);
    t.push(low);
    t.push(high);
}
