//! 128-bit vectors, the relaxed operators included.
//!
//! On the operand stack, in locals and wherever else it is kept, a vector is an `i8x16`. An
//! operator *views* its operands in the lane type it works on, and pushes its result as bytes
//! again. Both are bitcasts in little-endian order, which is WebAssembly's order of lanes whatever
//! the processor; they cost no instruction. Where one operator uses what another has just made, the
//! view takes the value from before the bitcast, so that Cranelift's instruction selection sees
//! both operators at once.
//!
//! The tables are split by kind; the shapes that several of them need are here.

mod float;
mod integer;
mod lanes;
mod memory;
mod relaxed;

use super::numeric::{emit_binary, emit_unary};
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{
    Endianness, InstBuilder, InstructionData, MemFlagsData, Opcode, Type, Value, ValueDef, types,
};
use wasmparser::Operator;

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    memory::translate(t, op)
        || lanes::translate(t, op)
        || integer::translate(t, op)
        || float::translate(t, op)
        || relaxed::translate(t, op)
}

/// The vector that `vector` is the bytes of, if a bitcast made it; otherwise itself.
fn before_bitcast(t: &FuncTranslator<'_>, vector: Value) -> Value {
    let dfg = &t.builder.func.dfg;
    let vector = dfg.resolve_aliases(vector);
    if let ValueDef::Result(inst, _) = dfg.value_def(vector)
        && let InstructionData::LoadNoOffset { opcode: Opcode::Bitcast, arg, .. } = dfg.insts[inst]
        && dfg.value_type(arg).is_vector()
    {
        return arg;
    }
    vector
}

/// The type in which `vector` was made.
fn original_type(t: &FuncTranslator<'_>, vector: Value) -> Type {
    let original = before_bitcast(t, vector);
    t.builder.func.dfg.value_type(original)
}

/// The same bits as a vector of type `ty`.
fn view(t: &mut FuncTranslator<'_>, ty: Type, vector: Value) -> Value {
    if t.builder.func.dfg.value_type(vector) == ty {
        return vector;
    }
    let original = before_bitcast(t, vector);
    if t.builder.func.dfg.value_type(original) == ty {
        return original;
    }
    let little = MemFlagsData::new().with_endianness(Endianness::Little);
    t.builder.ins().bitcast(ty, little, vector)
}

/// Pops a vector and views it as `ty`.
fn pop(t: &mut FuncTranslator<'_>, ty: Type) -> Value {
    let vector = t.pop();
    view(t, ty, vector)
}

/// Pops two vectors and views them as `ty`; the second was on top.
fn pop2(t: &mut FuncTranslator<'_>, ty: Type) -> (Value, Value) {
    let second = pop(t, ty);
    (pop(t, ty), second)
}

/// Pops three vectors and views them as `ty`; the third was on top.
fn pop3(t: &mut FuncTranslator<'_>, ty: Type) -> (Value, Value, Value) {
    let third = pop(t, ty);
    let (first, second) = pop2(t, ty);
    (first, second, third)
}

/// Pushes a vector of any type.
fn push(t: &mut FuncTranslator<'_>, vector: Value) {
    let bytes = view(t, types::I8X16, vector);
    t.push(bytes);
}

/// Lane by lane, from `ty` to `ty`.
fn unary(t: &mut FuncTranslator<'_>, ty: Type, opcode: Opcode) {
    convert(t, ty, opcode, ty);
}

/// An instruction of one operand of type `from` and of the controlling type `ty`.
fn convert(t: &mut FuncTranslator<'_>, from: Type, opcode: Opcode, ty: Type) {
    let x = pop(t, from);
    let value = emit_unary(t, opcode, ty, x);
    push(t, value);
}

/// An instruction of two operands of type `ty`.
fn binary(t: &mut FuncTranslator<'_>, ty: Type, opcode: Opcode) {
    let (x, y) = pop2(t, ty);
    let value = emit_binary(t, opcode, x, y);
    push(t, value);
}

/// A vector of zeroes.
fn zeroes(t: &mut FuncTranslator<'_>, ty: Type) -> Value {
    let zeroes = t.builder.func.dfg.constants.insert(vec![0; 16].into());
    t.builder.ins().vconst(ty, zeroes)
}
