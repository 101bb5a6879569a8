//! Constants, locals, globals, `drop`, `select`, `nop`, and references that are not calls.

use crate::env::clif_type;
use crate::func::FuncTranslator;
use crate::regions::Region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use stillframe_abi::module::NO_SLOT;
use stillframe_abi::types::{Mutability, ValType};
use stillframe_abi::vmctx::offsets;
use wasmparser::Operator;

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    // The type, where the value does not tell.
    let mut ty_of_value = None;
    let value = match *op {
        Operator::Nop => return true,
        Operator::Drop => {
            t.pop();
            return true;
        }
        Operator::LocalGet { local_index } => {
            let local = t.inlining.local(local_index);
            ty_of_value = Some(t.locals[local as usize].1);
            t.read_local(local)
        }
        Operator::LocalSet { local_index } => {
            let value = t.pop();
            t.write_local(t.inlining.local(local_index), value);
            return true;
        }
        Operator::LocalTee { local_index } => {
            let value = t.top(1)[0];
            t.write_local(t.inlining.local(local_index), value);
            return true;
        }
        Operator::GlobalGet { global_index } => {
            let ty = t.env.info.globals[global_index as usize];
            ty_of_value = Some(ty.content());
            let (address, offset) = global_address(t, global_index);
            let flags = match ty.mutability() {
                Mutability::Const => FuncTranslator::constant_flags(),
                Mutability::Var => global_flags(t),
            };
            t.builder.ins().load(clif_type(ty.content()), flags, address, offset)
        }
        Operator::GlobalSet { global_index } => {
            let value = t.pop();
            let (address, offset) = global_address(t, global_index);
            let flags = global_flags(t);
            t.builder.ins().store(flags, value, address, offset);
            return true;
        }
        Operator::Select | Operator::TypedSelect { .. } => {
            let condition = t.pop();
            ty_of_value = Some(t.stack.top_type());
            let (yes, no) = t.pop2();
            t.builder.ins().select(condition, yes, no)
        }
        Operator::I32Const { value } => t.builder.ins().iconst(types::I32, i64::from(value as u32)),
        Operator::I64Const { value } => t.builder.ins().iconst(types::I64, value),
        Operator::F32Const { value } => {
            t.builder.ins().f32const(ir::immediates::Ieee32::with_bits(value.bits()))
        }
        Operator::F64Const { value } => {
            t.builder.ins().f64const(ir::immediates::Ieee64::with_bits(value.bits()))
        }
        Operator::RefNull { hty } => {
            let ty = wasmparser::RefType::new(true, hty).expect("a validated heap type");
            ty_of_value = Some(crate::env::val_type(ty.into()));
            t.builder.ins().iconst(types::I64, 0)
        }
        Operator::RefIsNull => {
            let reference = t.pop();
            let is_null = t.builder.ins().icmp_imm_s(IntCC::Equal, reference, 0);
            t.builder.ins().uextend(types::I32, is_null)
        }
        Operator::RefFunc { function_index } => {
            ty_of_value = Some(ValType::FuncRef);
            ref_func(t, function_index)
        }
        _ => return false,
    };
    match ty_of_value {
        Some(ty) => t.push_as(value, ty),
        None => t.push(value),
    }
    true
}

/// Flags of an access to a global that can change.
fn global_flags(t: &mut FuncTranslator<'_>) -> ir::MemFlagsData {
    Region::Globals.flags(t.builder.func, ir::MemFlagsData::trusted())
}

/// The address of a global's definition, as a base and an offset.
fn global_address(t: &mut FuncTranslator<'_>, index: u32) -> (Value, i32) {
    match index.checked_sub(t.env.info.num_imported_globals as u32) {
        Some(defined) => (t.vmctx(), t.env.offsets.global(defined) as i32),
        None => (t.load_vmctx_constant(t.env.offsets.global_import(index)), 0),
    }
}

/// The address of a function's `VMFuncRef`.
fn ref_func(t: &mut FuncTranslator<'_>, index: u32) -> Value {
    if (index as usize) < t.env.info.num_imported_functions {
        let import = t.env.offsets.function_import(index);
        return t.load_vmctx_constant(import + offsets::IMPORT_FUNC_REF);
    }
    let slot = t.env.info.func_ref_slots[index as usize];
    assert_ne!(slot, NO_SLOT, "the validator allows ref.func of declared functions only");
    let offset = t.env.offsets.func_ref(slot) as i64;
    let vmctx = t.vmctx();
    t.builder.ins().iadd_imm_s(vmctx, offset)
}
