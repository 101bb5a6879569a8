//! One function: from its body, or its IR, to machine code and frame table rows.
//!
//! # The stack test
//!
//! A function that calls compares the stack pointer, less its frame, with
//! `VMRuntimeLimits::stack_limit` in its prologue. A function without calls (and a trampoline)
//! does so only if its frame exceeds [`LEAF_FRAME_MAX`]: no other wasm frame can be below it. Below
//! the limit the runtime keeps a reserve of at least 32 KiB, which holds such a frame, the save
//! area of a checkpoint's slow path (less than 1 KiB) and a signal frame.

use crate::effort::{self, TooLarge, Weight};
use crate::env::ModuleEnv;
use crate::frame_state::{FunctionState, TooMuchState, Way};
use crate::func::{Translated, translate_function};
use crate::points::{PointState, Points};
use anyhow::{Context as _, Result, anyhow};
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::ir::{self, GlobalValueData, MemFlagsData, SourceLoc, TrapCode, types};
use cranelift_codegen::isa::TargetIsa;
use cranelift_codegen::{CodegenResult, CompiledCode, Context, FinalizedMachExceptionHandler};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_module::{FuncId, ModuleReloc};
use stillframe_abi::Trap;
use stillframe_abi::frame_table::{
    FrameLayout, Handler, NativeOffset, Row, RowKind, WasmPc, encode_function,
};
use stillframe_abi::limits::offsets as limits;
use stillframe_abi::vmctx::offsets as vmctx;
use wasmparser::{FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources};

/// The largest frame, in bytes, that a function may have without testing the stack limit.
pub(crate) const LEAF_FRAME_MAX: u32 = 4096;

/// A function in machine code.
pub(crate) struct CompiledFunction {
    pub(crate) code: Vec<u8>,
    pub(crate) alignment: u32,
    pub(crate) relocs: Vec<ModuleReloc>,
    /// Its frame table rows, as `encode_function` made them.
    pub(crate) rows: Vec<u8>,
}

/// Code generation for what a context holds, optimised already.
type Backend = Box<dyn FnMut(&dyn TargetIsa, &Context) -> CodegenResult<CompiledCode> + Send>;

/// Compiles functions, one after the other; keeps allocations from one to the next.
pub(crate) struct Worker {
    context: Context,
    builder: FunctionBuilderContext,
    validator: FuncValidatorAllocations,
    backend: Backend,
}

impl Worker {
    pub(crate) fn new() -> Worker {
        // The register allocator's working memory.
        let mut registers = Default::default();
        let backend = move |isa: &dyn TargetIsa, context: &Context| {
            let Context { func, domtree, want_disasm, .. } = context;
            let control = &mut ControlPlane::default();
            let code =
                isa.compile_function(func, domtree, &mut registers, *want_disasm, control)?;
            Ok(code.apply_params(&func.params))
        };
        Worker {
            context: Context::new(),
            builder: FunctionBuilderContext::new(),
            validator: FuncValidatorAllocations::default(),
            backend: Box::new(backend),
        }
    }

    /// Validates and compiles the body of a function of the module.
    ///
    /// # Errors
    ///
    /// If the body is not valid or exceeds a limit of the code generator.
    pub(crate) fn compile(
        &mut self,
        env: &ModuleEnv<'_>,
        validator: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<CompiledFunction> {
        let index = validator.index;
        let (translated, isa) = self.translate(env, validator, body)?;
        let code = self.generate(isa, stack_test(&translated)).context("generating code")?;
        let body_start = WasmPc(body.range().start as u32);
        let Translated { points, state, .. } = translated;
        let rows = rows(&code, &points, body_start)?;
        let FunctionState { layout, slot, states } = state;
        let layout = FrameLayout { base: cells_base(&code, slot)?, ..layout };
        let rows: Vec<_> =
            rows.iter().map(|&(row, PointState(at))| (row, &states[at as usize])).collect();
        let func = &self.context.func;
        let relocs = code.buffer.relocs().iter();
        Ok(CompiledFunction {
            code: code.buffer.data().to_vec(),
            alignment: code.buffer.alignment,
            relocs: relocs
                .map(|reloc| ModuleReloc::from_mach_reloc(reloc, func, FuncId::from_u32(index)))
                .collect(),
            rows: encode_function(&layout, &rows, body_start),
        })
    }

    /// The IR of a function of the module, as it is translated, and its machine code, as text.
    ///
    /// # Errors
    ///
    /// As [`Worker::compile`].
    pub(crate) fn disassemble(
        &mut self,
        env: &ModuleEnv<'_>,
        validator: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(String, String)> {
        let (translated, isa) = self.translate(env, validator, body)?;
        let clif = self.context.func.display().to_string();
        self.context.set_disasm(true);
        let code = self.generate(isa, stack_test(&translated)).context("generating code")?;
        Ok((clif, code.vcode.unwrap_or_default()))
    }

    /// Compiles what `build` builds in an empty function: a trampoline.
    ///
    /// # Errors
    ///
    /// If it exceeds a limit of the code generator.
    pub(crate) fn compile_trampoline(
        &mut self,
        isa: &dyn TargetIsa,
        stack_test: StackTest,
        build: impl FnOnce(&mut ir::Function, &mut FunctionBuilderContext),
    ) -> Result<CompiledCode> {
        self.context.clear();
        build(&mut self.context.func, &mut self.builder);
        self.generate(isa, stack_test)
    }

    /// Translates a function in the first way whose cost is within bounds. Returns with what to
    /// generate its code.
    fn translate<'a>(
        &mut self,
        env: &ModuleEnv<'a>,
        validator: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(Translated, &'a dyn TargetIsa)> {
        let mut way = if env.plain { Way::Plain } else { Way::Usual };
        loop {
            let resources = validator.resources.clone();
            let validator = FuncToValidate { resources, ..validator };
            let translated = self.translate_once(env, validator, body, way);
            way = match translated {
                Ok(translated) if way == Way::Plain => {
                    let mut needed = || effort::needs_single_pass(&mut self.context, body);
                    let isa = match env.single_pass || needed() {
                        true => env.single_pass_isa,
                        false => env.plain_isa,
                    };
                    return Ok((translated, isa));
                }
                Ok(translated) => {
                    if !Weight::of(&mut self.context, &translated.loops).is_too_much(body) {
                        return Ok((translated, env.isa));
                    }
                    Way::Plain
                }
                Err(error) if way == Way::Usual && error.is::<TooMuchState>() => Way::Through,
                Err(error) if way < Way::Plain && error.is::<TooLarge>() => Way::Plain,
                Err(error) => return Err(error),
            };
        }
    }

    fn translate_once(
        &mut self,
        env: &ModuleEnv<'_>,
        validator: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
        way: Way,
    ) -> Result<Translated> {
        // An error leaves the builder's context half full.
        let mut builder = std::mem::take(&mut self.builder);
        self.context.clear();
        // Its capacity says how large a function is.
        self.context.func.dfg.value_lists = Default::default();
        let index = validator.index;
        self.context.func.name = ir::UserFuncName::user(0, index);
        let mut validator = validator.into_validator(std::mem::take(&mut self.validator));
        let func = &mut self.context.func;
        let translated =
            translate_function(env, index, body, &mut validator, func, &mut builder, way)?;
        self.validator = validator.into_allocations();
        self.builder = builder;
        Ok(translated)
    }

    /// Machine code for the context's function.
    fn generate(&mut self, isa: &dyn TargetIsa, stack_test: StackTest) -> Result<CompiledCode> {
        self.context.optimize(isa, &mut ControlPlane::default())?;
        locate_rewritten(&mut self.context.func);
        let untested = match stack_test {
            StackTest::Always => None,
            StackTest::Above(limit) => Some(limit),
            StackTest::Never => Some(u32::MAX),
        };
        if let Some(limit) = untested {
            let code = (self.backend)(isa, &self.context)?;
            let frame = code.buffer.frame_layout().context("no frame layout")?;
            if frame.frame_to_fp_offset <= limit {
                return Ok(code);
            }
        }
        test_stack_limit(&mut self.context.func);
        Ok((self.backend)(isa, &self.context)?)
    }
}

/// Whether a prologue tests the stack limit.
#[derive(Clone, Copy)]
pub(crate) enum StackTest {
    Always,
    /// If the frame has more bytes than this.
    Above(u32),
    Never,
}

fn stack_test(translated: &Translated) -> StackTest {
    match translated.calls {
        true => StackTest::Always,
        false => StackTest::Above(LEAF_FRAME_MAX),
    }
}

/// Makes the prologue of `func` test the stack limit.
fn test_stack_limit(func: &mut ir::Function) {
    let flags = MemFlagsData::trusted().with_readonly().with_can_move();
    let flags = func.dfg.mem_flags.insert_unchecked(flags);
    let mut address = func.create_global_value(GlobalValueData::VMContext);
    for offset in [vmctx::LIMITS, limits::STACK_LIMIT] {
        let offset = (offset as i32).into();
        let load = GlobalValueData::Load { base: address, offset, global_type: types::I64, flags };
        address = func.create_global_value(load);
    }
    func.stack_limit = Some(address);
}

/// Gives a source location to the instructions that the optimiser made and that have none.
///
/// Such an instruction computes a value; it can trap only if a load is sunk into it later, and
/// then the fault is found under its location. Loads that can trap sink down to an instruction of
/// the same block at most, and not past the next chunk of `points.rs`: so the location of the last
/// such load in the block is one by which the trap's site is found.
fn locate_rewritten(func: &mut ir::Function) {
    let ir::Function { stencil, .. } = func;
    for block in stencil.layout.blocks() {
        let mut load = None;
        for inst in stencil.layout.block_insts(block) {
            let loc = stencil.srclocs[inst];
            if loc.is_default() {
                if let Some(load) = load {
                    stencil.srclocs[inst] = load;
                }
            } else if stencil.dfg.insts[inst].opcode().can_load()
                && let Some(flags) = stencil.dfg.insts[inst].memflags_data(&stencil.dfg)
                && flags.trap_code().is_some()
            {
                load = Some(loc);
            }
        }
    }
}

/// Bytes from the frame pointer down to the cells, which are in `slot`.
///
/// # Errors
///
/// If the code generator does not say where it has put them.
fn cells_base(code: &CompiledCode, slot: Option<ir::StackSlot>) -> Result<u32> {
    let Some(slot) = slot else { return Ok(0) };
    let frame = code.buffer.frame_layout().context("no frame layout")?;
    let below = frame.frame_to_fp_offset.checked_sub(frame.stackslots[slot].offset);
    below.context("internal error: cells above the frame pointer")
}

/// The frame table rows of a function with the states of their points, in ascending order, calls
/// before traps at the same address. Cranelift counts tail calls as calls, so there is a row behind
/// each, where nothing returns to.
///
/// # Errors
///
/// If a call or a trap belongs to no operator, which is a mistake in the translator.
fn rows(
    code: &CompiledCode,
    points: &Points,
    body_start: WasmPc,
) -> Result<Vec<(Row, PointState)>> {
    let locations = code.buffer.get_srclocs_sorted();
    let location = |at: u32| {
        let after = locations.partition_point(|range| range.start <= at);
        let range = after.checked_sub(1).map(|i| &locations[i])?;
        (at < range.end && !range.loc.is_default()).then_some(range.loc)
    };
    let unknown = |what: &str, at: u32| {
        anyhow!("internal error: the {what} at {at:#x} in its machine code is of no operator")
    };
    let mut rows = Vec::new();
    for site in code.buffer.call_sites() {
        let at = site.ret_addr;
        let resolved = location(at - 1).and_then(|loc| points.resolve(loc));
        let resolved = resolved.ok_or_else(|| unknown("call that returns", at))?;
        debug_assert!(resolved.site.is_none(), "nothing is called in inlined bodies");
        let wasm_pc = resolved.wasm_pc;
        let kind = match site.exception_handlers {
            [] => RowKind::Call,
            [FinalizedMachExceptionHandler::Default(landing)] => {
                let frame_size = site.frame_offset.context("a try_call without a frame size")?;
                let landing = NativeOffset(*landing);
                RowKind::CallWithHandler(Handler { landing, frame_size })
            }
            other => anyhow::bail!("internal error: unexpected handlers {other:?}"),
        };
        rows.push((Row { native: NativeOffset(at), wasm_pc, site: None, kind }, resolved.call));
    }
    for trap in code.buffer.traps() {
        let at = trap.offset;
        let (trap, wasm_pc, site, refund, state) = match (location(at), trap.code) {
            // The prologue's stack test is before all operators, and before all charges.
            (None, TrapCode::STACK_OVERFLOW) => {
                (Trap::StackOverflow, body_start, None, 0, PointState::default())
            }
            (loc, code) => {
                let resolved = loc.and_then(|loc: SourceLoc| points.resolve_trap(loc, code));
                let (trap, resolved) =
                    resolved.ok_or_else(|| unknown(&format!("trap ({code})"), at))?;
                (trap, resolved.wasm_pc, resolved.site, resolved.refund, resolved.trap)
            }
        };
        let kind = RowKind::Trap { trap, refund };
        rows.push((Row { native: NativeOffset(at), wasm_pc, site, kind }, state));
    }
    rows.sort_by_key(|(row, _)| (row.native, !row.kind.is_call()));
    rows.dedup();
    Ok(rows)
}
