//! Calls: direct, through a table, and in tail position.
//!
//! Every callee takes `(its own context, the caller's context, parameters…)` in the `tail`
//! convention, whether it is a function of this module, of another, or the wasm-to-host trampoline
//! of a host function. A straight-line run ends before every call.

use crate::env::{clif_type, wasm_signature};
use crate::func::FuncTranslator;
use crate::liveness::LocalSet;
use crate::ops;
use crate::points::Points;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, BlockArg, BlockCall, ExceptionTableData, ExceptionTableItem, ExtFuncData, ExternalName,
    FuncRef, InstBuilder, MemFlagsData, SigRef, UserExternalName, Value, types,
};
use stillframe_abi::Trap;
use stillframe_abi::vmctx::offsets;
use wasmparser::Operator;

/// Whom a call goes to.
enum Callee {
    /// A function of this module, with the caller's context.
    Local(FuncRef),
    /// Code at an address, with a context of its own.
    Indirect { code: Value, vmctx: Value, signature: SigRef },
}

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match *op {
        Operator::Call { function_index } => {
            let callee = direct(t, function_index);
            call(t, callee, t.env.info.functions[function_index as usize]);
        }
        Operator::CallIndirect { type_index, table_index } => {
            let callee = through_table(t, type_index, table_index);
            call(t, callee, type_index);
        }
        Operator::ReturnCall { function_index } => {
            let callee = direct(t, function_index);
            return_call(t, callee, t.env.info.functions[function_index as usize]);
        }
        Operator::ReturnCallIndirect { type_index, table_index } => {
            let callee = through_table(t, type_index, table_index);
            return_call(t, callee, type_index);
        }
        _ => return false,
    }
    true
}

/// Calls a function of type `type_index` with the operands on the stack.
fn call(t: &mut FuncTranslator<'_>, callee: Callee, type_index: u32) {
    t.end_run_exactly();
    let args = arguments(t, &callee, type_index);
    let handler = ops::exception::handler(t);
    let kept = t.before_call();
    if let Some(handler) = handler {
        return try_call(t, callee, type_index, &args, handler, &kept);
    }
    let call = match callee {
        Callee::Local(func) => t.builder.ins().call(func, &args),
        Callee::Indirect { code, signature, .. } => {
            t.builder.ins().call_indirect(signature, code, &args)
        }
    };
    let results = t.builder.inst_results(call).to_vec();
    t.age_values();
    t.behind_call(&kept);
    t.push_all(&results, t.env.info.types[type_index as usize].results());
}

/// The same inside of a `try_table`: exceptions that come out of the call go to `handler`.
fn try_call(
    t: &mut FuncTranslator<'_>,
    callee: Callee,
    type_index: u32,
    args: &[Value],
    handler: Block,
    kept: &LocalSet,
) {
    ops::exception::note_call(t);
    let returned = t.builder.create_block();
    let result_types = t.env.info.types[type_index as usize].results();
    t.tried += (result_types.len() as u64).pow(2);
    for &ty in result_types {
        t.builder.append_block_param(returned, clif_type(ty));
    }
    let sig = signature(t, type_index);
    let pool = &mut t.builder.func.dfg.value_lists;
    let results = (0..result_types.len() as u32).map(BlockArg::TryCallRet);
    let normal = BlockCall::new(returned, results, pool);
    let thrown = BlockCall::new(handler, [BlockArg::TryCallExn(0)], pool);
    let table = ExceptionTableData::new(sig, normal, [ExceptionTableItem::Default(thrown)]);
    let table = t.builder.func.dfg.exception_tables.push(table);
    match callee {
        Callee::Local(func) => t.builder.ins().try_call(func, args, table),
        Callee::Indirect { code, .. } => t.builder.ins().try_call_indirect(code, args, table),
    };
    t.builder.switch_to_block(returned);
    t.builder.seal_block(returned);
    let results = t.builder.block_params(returned).to_vec();
    t.behind_call(kept);
    t.push_all(&results, result_types);
}

/// The same in tail position: the callee's results are the function's.
fn return_call(t: &mut FuncTranslator<'_>, callee: Callee, type_index: u32) {
    t.end_run_exactly();
    let args = arguments(t, &callee, type_index);
    // Nothing returns here.
    t.before_quiet_call();
    match callee {
        Callee::Local(func) => t.builder.ins().return_call(func, &args),
        Callee::Indirect { code, signature, .. } => {
            t.builder.ins().return_call_indirect(signature, code, &args)
        }
    };
    ops::control::leave(t);
}

/// The contexts and the operands.
fn arguments(t: &mut FuncTranslator<'_>, callee: &Callee, type_index: u32) -> Vec<Value> {
    t.calls = true;
    let ty = &t.env.info.types[type_index as usize];
    t.passed += (ty.params().len() + ty.results().len()) as u64;
    let vmctx = match *callee {
        Callee::Local(_) => t.vmctx(),
        Callee::Indirect { vmctx, .. } => vmctx,
    };
    let params = t.env.info.types[type_index as usize].params().len();
    let mut args = vec![vmctx, t.vmctx()];
    args.extend(t.pop_many(params));
    args
}

/// The function with index `index`: linked by its index if it is defined here, through the context
/// if it is imported.
fn direct(t: &mut FuncTranslator<'_>, index: u32) -> Callee {
    let type_index = t.env.info.functions[index as usize];
    if (index as usize) < t.env.info.num_imported_functions {
        let import = t.env.offsets.function_import(index);
        let code = t.load_vmctx_constant(import + offsets::IMPORT_WASM_CALL);
        let vmctx = t.load_vmctx_constant(import + offsets::IMPORT_VMCTX);
        return Callee::Indirect { code, vmctx, signature: signature(t, type_index) };
    }
    if let Some(&func) = t.func_refs.get(&index) {
        return Callee::Local(func);
    }
    let signature = signature(t, type_index);
    let name = UserExternalName { namespace: 0, index };
    let name = t.builder.func.declare_imported_user_function(name);
    let func = t.builder.import_function(ExtFuncData {
        name: ExternalName::user(name),
        signature,
        colocated: true,
        patchable: false,
    });
    t.func_refs.insert(index, func);
    Callee::Local(func)
}

/// The function that the table element on top of the stack refers to, if it has type `type_index`.
fn through_table(t: &mut FuncTranslator<'_>, type_index: u32, table: u32) -> Callee {
    let index = t.pop();
    let element = ops::table::element_address(t, table, index, Trap::UndefinedElement);
    let flags = ops::table::element_flags(t);
    let func_ref = t.builder.ins().load(types::I64, flags, element, 0);

    // The null test is the processor's: nothing is mapped at the lowest addresses, so if the
    // reference is null this load faults.
    let faults =
        MemFlagsData::trusted().with_trap_code(Some(Points::fixed_code(Trap::IndirectCallToNull)));
    let type_id =
        t.builder.ins().load(types::I32, faults, func_ref, offsets::FUNC_REF_TYPE_ID as i32);
    let type_ids = t.load_vmctx_constant(offsets::TYPE_IDS);
    let constant = FuncTranslator::constant_flags();
    let expected = t.builder.ins().load(types::I32, constant, type_ids, type_index as i32 * 4);
    let same = t.builder.ins().icmp(IntCC::Equal, type_id, expected);
    t.trap_unless(same, Trap::BadSignature);

    // Constant while the store lives, but must not move up past the tests: so not `can_move`.
    let flags = MemFlagsData::trusted();
    let mut field =
        |offset: usize| t.builder.ins().load(types::I64, flags, func_ref, offset as i32);
    let code = field(offsets::FUNC_REF_WASM_CALL);
    let vmctx = field(offsets::FUNC_REF_VMCTX);
    Callee::Indirect { code, vmctx, signature: signature(t, type_index) }
}

/// The signature of functions of type `type_index`, imported once for each type.
fn signature(t: &mut FuncTranslator<'_>, type_index: u32) -> SigRef {
    if let Some(&signature) = t.sig_refs.get(&type_index) {
        return signature;
    }
    let imported = wasm_signature(&t.env.info.types[type_index as usize]);
    let imported = t.builder.import_signature(imported);
    t.sig_refs.insert(type_index, imported);
    imported
}
