//! The two pieces of code per function type by which host and wasm call each other.
//!
//! ```text
//!   host ──enter──► entry trampoline ──► wasm function ──► host trampoline ──HostCall──► host
//!                   System V             tail              tail
//!                   cells -> registers                     registers -> cells
//! ```
//!
//! Values cross in an array of 16-byte cells: parameters in, results out, both from index 0. Both
//! pieces run on the wasm stack. They are position-independent and know nothing of any module.
//!
//! When code counts fuel, the counter is in the pinned register while wasm runs and in
//! `VMRuntimeLimits` while the host runs: these are the places where it changes over.

use crate::compile::{LEAF_FRAME_MAX, StackTest, Worker};
use crate::env::{Metering, builtin_signature, clif_type, wasm_signature};
use crate::metering;
use anyhow::{Context as _, Result, ensure};
use cranelift_codegen::ir::{
    self, AbiParam, InstBuilder, MemFlagsData, Signature, StackSlotData, StackSlotKind, Value,
    types,
};
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext};
use stillframe_abi::builtins::Builtin;
use stillframe_abi::limits::offsets as limits;
use stillframe_abi::types::{FuncType, ValType};
use stillframe_abi::vmctx::{ARG_CELL_SIZE, offsets as vmctx};

/// Functions of the text start at multiples of this.
pub(crate) const FUNCTION_ALIGNMENT: usize = 16;
/// What is between functions: `int3`.
pub(crate) const FILLER: u8 = 0xcc;
/// The largest frame of a trampoline: what 1000 parameters and 1000 results of 16 bytes take, which
/// are the most that a function type can have, with room for the register allocator.
const TRAMPOLINE_FRAME_MAX: u32 = 48 << 10;

/// The machine code of the trampolines of a function type.
///
/// # The entry trampoline
///
/// Called by the host through the enter stub, on the wasm stack, in the System V convention:
/// `(callee vmctx, caller vmctx, code, cells)`. Loads the parameters from the cells, calls `code`
/// (a `VMFuncRef::wasm_call` of this type), stores the results to the cells. It does not preserve
/// `r15` when code counts fuel.
///
/// Its frame is the first on its stack and is not tested against the stack limit, and can have up
/// to 48 KiB: a wasm stack, with the reserve below its limit, must be larger than that.
///
/// # The host trampoline
///
/// What `VMFuncRef::wasm_call` of a host function of this type points to; the callee's context is
/// the host function's. It has a checkpoint, as any function that calls; then it says in
/// `VMRuntimeLimits` which wasm frame called and where it goes on, and calls
/// [`Builtin::HostCall`] with the cells.
///
/// If it has so many cells that the reserve below the stack limit might not hold them, it tests
/// the stack limit. That test is the only thing in either trampoline that can trap: a fault whose
/// address is in this text is a stack overflow, and nothing of the call has been done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TrampolineText {
    /// The machine code of both.
    pub text: Vec<u8>,
    /// Where in `text` the entry trampoline starts.
    pub entry: u32,
    /// Where in `text` the host trampoline starts.
    pub host: u32,
}

/// Makes the trampolines of `ty`.
///
/// # Errors
///
/// If Cranelift cannot compile them.
pub(crate) fn make(
    isa: &dyn TargetIsa,
    metering: &Metering,
    ty: &FuncType,
) -> Result<TrampolineText> {
    let mut worker = Worker::new();
    let mut text = Vec::new();
    let mut piece = |name: &str, signature: Signature, test, build: Build| {
        let code = worker
            .compile_trampoline(isa, test, |func, context| {
                func.signature = signature;
                assemble(func, context, isa, |builder| build(builder, metering, ty));
            })
            .with_context(|| format!("compiling the {name} trampoline of {ty}"))?;
        ensure!(
            code.buffer.relocs().is_empty(),
            "the {name} trampoline of {ty} is not position-independent"
        );
        let frame = code.buffer.frame_layout().map_or(0, |frame| frame.frame_to_fp_offset);
        ensure!(frame <= TRAMPOLINE_FRAME_MAX, "the {name} trampoline of {ty} has a huge frame");
        text.resize(text.len().next_multiple_of(FUNCTION_ALIGNMENT), FILLER);
        let at = u32::try_from(text.len())?;
        text.extend_from_slice(code.buffer.data());
        Ok(at)
    };
    let entry = piece("entry", entry_signature(), StackTest::Never, build_entry)?;
    let host = piece("host", wasm_signature(ty), StackTest::Above(LEAF_FRAME_MAX), build_host)?;
    Ok(TrampolineText { text, entry, host })
}

type Build = fn(&mut FunctionBuilder<'_>, &Metering, &FuncType);

/// Builds a function in whose entry block `build` starts, and which has no loops.
fn assemble(
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    isa: &dyn TargetIsa,
    build: impl FnOnce(&mut FunctionBuilder<'_>),
) {
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    build(&mut builder);
    builder.finalize(isa.frontend_config());
}

fn entry_signature() -> Signature {
    let mut signature = Signature::new(CallConv::SystemV);
    signature.params.extend([AbiParam::new(types::I64); 4]);
    signature
}

fn build_entry(builder: &mut FunctionBuilder<'_>, metering: &Metering, ty: &FuncType) {
    let block = builder.current_block().expect("the entry block");
    let params = builder.block_params(block);
    let (callee, caller, code, cells) = (params[0], params[1], params[2], params[3]);
    if metering.fuel {
        metering::load_fuel(builder, callee);
    }
    let mut args = vec![callee, caller];
    args.extend(load_cells(builder, cells, ty.params()));
    let signature = builder.import_signature(wasm_signature(ty));
    let call = builder.ins().call_indirect(signature, code, &args);
    let results = builder.inst_results(call).to_vec();
    store_cells(builder, cells, &results);
    if metering.fuel {
        metering::store_fuel(builder, callee);
    }
    builder.ins().return_(&[]);
}

fn build_host(builder: &mut FunctionBuilder<'_>, metering: &Metering, ty: &FuncType) {
    let block = builder.current_block().expect("the entry block");
    let params = builder.block_params(block).to_vec();
    let (callee, caller) = (params[0], params[1]);
    if metering.fuel || metering.epochs {
        metering::trampoline_checkpoint(builder, callee, metering);
    }

    // The frame pointer points to the wasm caller's; the return address is next to it.
    let flags = MemFlagsData::trusted();
    let constant = MemFlagsData::trusted().with_readonly().with_can_move();
    let fp = builder.ins().get_frame_pointer(types::I64);
    let exit_fp = builder.ins().load(types::I64, flags, fp, 0);
    let exit_pc = builder.ins().load(types::I64, flags, fp, 8);
    let limits_ptr = builder.ins().load(types::I64, constant, callee, vmctx::LIMITS as i32);
    builder.ins().store(flags, exit_fp, limits_ptr, limits::LAST_WASM_EXIT_FP as i32);
    builder.ins().store(flags, exit_pc, limits_ptr, limits::LAST_WASM_EXIT_PC as i32);

    let count = ty.params().len().max(ty.results().len());
    let cells = builder.create_sized_stack_slot(StackSlotData::new(
        StackSlotKind::ExplicitSlot,
        (count * ARG_CELL_SIZE) as u32,
        ARG_CELL_SIZE.trailing_zeros() as u8,
    ));
    let cells = builder.ins().stack_addr(types::I64, cells, 0);
    store_cells(builder, cells, &params[2..]);
    if metering.fuel {
        metering::store_fuel(builder, callee);
    }
    let table = builder.ins().load(types::I64, constant, callee, vmctx::BUILTINS as i32);
    let code = builder.ins().load(types::I64, constant, table, Builtin::HostCall.offset() as i32);
    let signature = builder.import_signature(builtin_signature(Builtin::HostCall));
    builder.ins().call_indirect(signature, code, &[callee, caller, cells]);
    if metering.fuel {
        metering::load_fuel(builder, callee);
    }
    let results = load_cells(builder, cells, ty.results());
    builder.ins().return_(&results);
}

/// Flags of an access to a cell: the host's array need not be aligned for vectors.
fn cell_flags() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

fn load_cells(builder: &mut FunctionBuilder<'_>, cells: Value, types: &[ValType]) -> Vec<Value> {
    let load = |(i, &ty): (usize, &ValType)| {
        let at = (i * ARG_CELL_SIZE) as i32;
        builder.ins().load(clif_type(ty), cell_flags(), cells, at)
    };
    types.iter().enumerate().map(load).collect()
}

fn store_cells(builder: &mut FunctionBuilder<'_>, cells: Value, values: &[Value]) {
    for (i, &value) in values.iter().enumerate() {
        builder.ins().store(cell_flags(), value, cells, (i * ARG_CELL_SIZE) as i32);
    }
}
