//! Translation of one function: the state that the operators in `ops/` work on.
//!
//! The translator is driven by [`FuncTranslator::translate_body`]: decode an operator, validate it,
//! charge for it, give it a point, translate it. Wasm locals are Cranelift variables; the operand
//! stack is a vector of Cranelift values; vectors are always `i8x16` there. With `frame_writes` a
//! debugger may change an operand that lies below the construct that is being executed, so then
//! operands are variables too.

use crate::charges::Runs;
use crate::effort::{self, TooLarge};
use crate::env::{ModuleEnv, clif_type, wasm_signature};
use crate::frame_state::{FunctionState, StateKeeper, TooMuchState, Way};
use crate::inline::{self, Inlining};
use crate::liveness::Liveness;
use crate::metering::Stretch;
use crate::operands::OperandStack;
use crate::ops;
use crate::ops::control::ControlFrame;
use crate::points::Points;
use anyhow::Result;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use cranelift_codegen::packed_option::ReservedValue;
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use std::collections::HashMap;
use stillframe_abi::builtins::Builtin;
use stillframe_abi::frame_table::WasmPc;
use stillframe_abi::types::ValType;
use stillframe_abi::vmctx::offsets;
use wasmparser::{FuncValidator, FunctionBody, Operator, WasmModuleResources};

/// The state of translating one function.
pub(crate) struct FuncTranslator<'a> {
    pub(crate) builder: FunctionBuilder<'a>,
    pub(crate) env: &'a ModuleEnv<'a>,
    /// The context of the function's instance: the first argument. To be used by way of
    /// [`FuncTranslator::vmctx`].
    pub(crate) context_param: Value,
    /// Where the context is kept in the frame, if it is.
    pub(crate) context: Option<(ir::StackSlot, i32)>,
    /// Variables of the wasm locals, parameters first, with their types; those of inlined bodies
    /// come behind the function's own.
    pub(crate) locals: Vec<(Variable, ValType)>,
    /// The operand stack.
    pub(crate) stack: OperandStack,
    /// With `frame_writes`: the variables of the operands, by depth and type.
    operand_vars: HashMap<(usize, ir::Type), Variable>,
    /// The control stack; the first frame is the function's.
    pub(crate) control: Vec<ControlFrame>,
    pub(crate) inlining: Inlining,
    /// Whether the current operator can be reached.
    pub(crate) reachable: bool,
    pub(crate) points: Points,
    /// Where the current operator is in the file.
    pub(crate) pc: WasmPc,
    /// Its ordinal in the function's own body; in an inlined one, that of the call.
    pub(crate) operator: u32,
    /// Its first point.
    pub(crate) first_point: ir::SourceLoc,
    pub(crate) state: StateKeeper,
    /// Which locals may still be read; `None` if none of them is kept.
    pub(crate) liveness: Option<Liveness>,
    /// The straight-line runs, and the one that is being charged.
    pub(crate) runs: Runs,
    /// The stretch since the last checkpoint.
    pub(crate) stretch: Stretch,
    /// The value of the operator before, if it was `i32.const` (zero-extended) or `i64.const`.
    pub(crate) last_const: Option<u64>,
    /// Functions of the module called so far, so that each is declared once.
    pub(crate) func_refs: HashMap<u32, ir::FuncRef>,
    /// Where an exception's values are on their way to and from the runtime.
    pub(crate) exception_cells: Option<ir::StackSlot>,
    /// Signatures of function types of the module called so far.
    pub(crate) sig_refs: HashMap<u32, ir::SigRef>,
    /// Whether there is a call of wasm in the code.
    pub(crate) calls: bool,
    /// The loops' headers, and how many loops each is in, itself included.
    pub(crate) loops: Vec<(ir::Block, u32)>,
    /// Branches to one loop's header, at most.
    pub(crate) max_branches: u32,
    /// Values that calls and branches have passed so far.
    pub(crate) passed: u64,
    /// Squares of how many results calls have inside of a `try_table`.
    pub(crate) tried: u64,
    /// Bytes of the body.
    bytes: u64,
}

/// What translating a function leaves beside the Cranelift function.
pub(crate) struct Translated {
    pub(crate) points: Points,
    pub(crate) state: FunctionState,
    /// Whether the code contains a call of wasm: if not, its prologue needs no stack test as long as
    /// its frame fits the reserve.
    pub(crate) calls: bool,
    /// The loops' headers, and how many loops each is in, itself included.
    pub(crate) loops: Vec<(ir::Block, u32)>,
}

/// What the body contains, as written, reachable or not: it decides about the checkpoint at entry.
#[derive(Default)]
struct Contents {
    has_loop: bool,
    has_call: bool,
}

impl Contents {
    fn scan(body: &FunctionBody<'_>) -> Result<Contents> {
        let mut contents = Contents::default();
        let mut ops = body.get_operators_reader()?;
        while !(ops.eof() || contents.has_loop && contents.has_call) {
            match ops.read()? {
                Operator::Loop { .. } => contents.has_loop = true,
                Operator::Call { .. }
                | Operator::CallIndirect { .. }
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. } => contents.has_call = true,
                _ => {}
            }
        }
        Ok(contents)
    }
}

/// Validates and translates the body of function `index` into `func`.
///
/// # Errors
///
/// If the body is malformed or not valid; [`TooMuchState`], if it is to be translated in the usual
/// way; [`TooLarge`].
pub(crate) fn translate_function(
    env: &ModuleEnv<'_>,
    index: u32,
    body: &FunctionBody<'_>,
    validator: &mut FuncValidator<impl WasmModuleResources>,
    func: &mut ir::Function,
    context: &mut FunctionBuilderContext,
    way: Way,
) -> Result<Translated> {
    let ty = env.info.func_type(index);
    func.signature = wasm_signature(ty);
    let mut builder = FunctionBuilder::new(func, context);
    let entry = builder.create_block();
    builder.append_block_params_for_function_params(entry);
    builder.switch_to_block(entry);
    builder.seal_block(entry);
    let params: Vec<Value> = builder.block_params(entry).to_vec();
    let mut t = FuncTranslator {
        builder,
        env,
        context_param: params[0],
        context: None,
        locals: Vec::new(),
        stack: OperandStack::default(),
        operand_vars: HashMap::new(),
        control: Vec::new(),
        inlining: Inlining::new(&env.inlinable, body),
        reachable: true,
        points: Points::default(),
        pc: WasmPc(0),
        operator: 0,
        first_point: ir::SourceLoc::new(0),
        state: StateKeeper::new(env.frame_state, way),
        liveness: None,
        runs: Runs::default(),
        stretch: Stretch::default(),
        last_const: None,
        func_refs: Default::default(),
        exception_cells: None,
        sig_refs: Default::default(),
        calls: false,
        loops: Vec::new(),
        max_branches: 0,
        passed: 0,
        tried: 0,
        bytes: body.range().end - body.range().start,
    };
    if t.state.is_plain() {
        t.start_homes();
    }
    for (&ty, &value) in ty.params().iter().zip(&params[2..]) {
        t.declare_local(ty, value);
    }
    let declared = t.translate_body(index, body, validator)?;
    let FuncTranslator { builder, mut points, state, runs, inlining, calls, loops, .. } = t;
    if env.metering.fuel {
        points.set_charges(runs.settle(builder.func));
    }
    let state = state.finish(builder.func, declared, inlining.sites);
    builder.finalize(env.isa.frontend_config());
    Ok(Translated { points, state, calls, loops })
}

impl FuncTranslator<'_> {
    /// Adds a local, with its first value.
    pub(crate) fn declare_local(&mut self, ty: ValType, value: Value) {
        let var = match self.state.is_plain() {
            true => Variable::reserved_value(),
            false => self.builder.declare_var(clif_type(ty)),
        };
        self.locals.push((var, ty));
        self.start_local(self.locals.len() as u32 - 1, value);
    }

    fn translate_body(
        &mut self,
        index: u32,
        body: &FunctionBody<'_>,
        validator: &mut FuncValidator<impl WasmModuleResources>,
    ) -> Result<Vec<(u32, ValType)>> {
        let contents = Contents::scan(body)?;
        let mut declared = Vec::new();
        let mut locals = body.get_locals_reader()?;
        for _ in 0..locals.get_count() {
            let offset = locals.original_position();
            let (count, ty) = locals.read()?;
            validator.define_locals(offset, count, ty)?;
            let ty = crate::env::val_type(ty);
            declared.push((count, ty));
            for _ in 0..count {
                let zero = self.zero(ty);
                self.declare_local(ty, zero);
            }
        }

        if !self.state.writes_through() && self.locals.iter().any(|&(_, ty)| self.state.keeps(ty)) {
            let liveness = Liveness::of(body, self.locals.len(), self.state.keeps_all())?;
            self.liveness = Some(liveness.ok_or(TooMuchState)?);
        }
        let mut ops = body.get_operators_reader()?;
        let start = WasmPc(ops.original_position() as u32);
        let loc = self.points.start_point(start, None);
        self.builder.set_srcloc(loc);
        self.keep_context(contents.has_loop);
        self.keep_all_locals();
        if contents.has_loop || contents.has_call {
            self.checkpoint();
        }
        self.charge(u64::from(self.env.metering.costs.function_entry()));
        ops::control::push_function_frame(self, index);
        while !self.control.is_empty() {
            let pc = WasmPc(ops.original_position() as u32);
            let op = ops.read()?;
            validator.op(u64::from(pc.0), &op)?;
            self.translate_operator(&op, pc)?;
            self.operator += 1;
            self.state.check_budget(self.operator)?;
            self.check_size()?;
        }
        ops.finish()?;
        Ok(declared)
    }

    /// Whether the function becomes too large for the way in which it is translated.
    ///
    /// # Errors
    ///
    /// If so.
    pub(crate) fn check_size(&self) -> Result<(), TooLarge> {
        let (func, plain) = (&self.builder.func, self.state.is_plain());
        let variables = if plain { 0 } else { self.locals.len() };
        let size = effort::Size {
            values: func.dfg.num_values(),
            listed: func.dfg.value_lists.capacity(),
            variables_in_blocks: variables.saturating_mul(func.dfg.num_blocks()),
            arguments_of_loops: variables.saturating_mul(self.max_branches as usize),
            passed: self.passed,
            tried: self.tried,
            bytes: self.bytes,
        };
        size.check(plain)
    }

    /// Puts a block behind all that are not cold.
    pub(crate) fn set_cold(&mut self, block: ir::Block) {
        // What lives from a block to one far behind is in the way of a single-pass allocator.
        if !self.state.is_plain() {
            self.builder.set_cold_block(block);
        }
    }

    /// Charges for the operator, gives it a point and translates it.
    ///
    /// # Errors
    ///
    /// If it is malformed or not supported.
    pub(crate) fn translate_operator(&mut self, op: &Operator<'_>, pc: WasmPc) -> Result<()> {
        self.pc = pc;
        let reachable = self.reachable;
        if reachable {
            if self.points.end_chunk() {
                self.builder.ins().sequence_point();
            }
            self.stretch_before(op, pc);
            // A bulk operation's checkpoint comes first, so that at its slow path only what was
            // executed is charged.
            ops::bulk::checkpoint_before(self, op, pc);
            let charged = self.charge(u64::from(self.env.metering.costs.of(op)));
            self.first_point = self.points.start_point(pc, charged);
            self.builder.set_srcloc(self.first_point);
            self.stack.start_operator();
        }
        let known = ops::control::translate(self, op)?
            || !self.reachable
            || ops::variable::translate(self, op)
            || ops::numeric::translate(self, op)
            || ops::memory::translate(self, op)
            || ops::atomic::translate(self, op)
            || inline::translate(self, op)?
            || ops::call::translate(self, op)
            || ops::exception::translate(self, op)
            || ops::simd::translate(self, op)
            || ops::table::translate(self, op)
            || ops::bulk::translate(self, op);
        anyhow::ensure!(known, "operator {op:?} at offset {:#x} is not supported", pc.0);
        if reachable {
            self.note_trap_state();
        }
        self.last_const = match *op {
            Operator::I32Const { value } => Some(u64::from(value as u32)),
            Operator::I64Const { value } => Some(value as u64),
            _ => None,
        };
        Ok(())
    }

    /// Pushes a value that is not a reference.
    pub(crate) fn push(&mut self, value: Value) {
        let ty = match self.builder.func.dfg.value_type(value) {
            types::I32 => ValType::I32,
            types::I64 => ValType::I64,
            types::F32 => ValType::F32,
            types::F64 => ValType::F64,
            _ => ValType::V128,
        };
        self.push_as(value, ty);
    }

    /// Pushes a value of this type.
    pub(crate) fn push_as(&mut self, value: Value, ty: ValType) {
        self.stack.push(value, ty, self.builder.current_block());
        self.operand_pushed(self.stack.len() - 1, value);
    }

    /// Pushes values of these types.
    pub(crate) fn push_all(&mut self, values: &[Value], types: &[ValType]) {
        for (&value, &ty) in values.iter().zip(types) {
            self.push_as(value, ty);
        }
    }

    /// With `frame_writes`: the operand at a depth, as it is now.
    pub(crate) fn use_operand(&mut self, depth: usize) -> Value {
        let var = self.operand_var(depth);
        self.builder.use_var(var)
    }

    /// The `n` topmost operands.
    pub(crate) fn top(&mut self, n: usize) -> Vec<Value> {
        let len = self.stack.len();
        (len - n..len).map(|depth| self.operand(depth)).collect()
    }

    /// With `frame_writes`: gives an operand another value.
    pub(crate) fn set_operand(&mut self, depth: usize, value: Value) {
        let var = self.operand_var(depth);
        self.builder.def_var(var, value);
    }

    fn operand_var(&mut self, depth: usize) -> Variable {
        let ty = clif_type(self.stack.types()[depth]);
        *self.operand_vars.entry((depth, ty)).or_insert_with(|| self.builder.declare_var(ty))
    }

    /// Pops a value. Validation has made sure that there is one.
    pub(crate) fn pop(&mut self) -> Value {
        self.pop_many(1)[0]
    }

    /// Pops two values; the second was on top.
    pub(crate) fn pop2(&mut self) -> (Value, Value) {
        let second = self.pop();
        (self.pop(), second)
    }

    /// Pops three values; the third was on top.
    pub(crate) fn pop3(&mut self) -> (Value, Value, Value) {
        let third = self.pop();
        let (first, second) = self.pop2();
        (first, second, third)
    }

    /// Pops `n` values, in the order in which they were pushed.
    pub(crate) fn pop_many(&mut self, n: usize) -> Vec<Value> {
        let values = self.top(n);
        self.stack.truncate(self.stack.len() - n);
        values
    }

    /// The first value of a local of this type.
    pub(crate) fn zero(&mut self, ty: ValType) -> Value {
        match ty {
            ValType::F32 => self.builder.ins().f32const(0.0),
            ValType::F64 => self.builder.ins().f64const(0.0),
            ValType::V128 => {
                let zero = self.builder.func.dfg.constants.insert(vec![0; 16].into());
                self.builder.ins().vconst(types::I8X16, zero)
            }
            ty => self.builder.ins().iconst(clif_type(ty), 0),
        }
    }

    /// Flags of a load from a structure of the runtime that never changes: it may be hoisted.
    pub(crate) fn constant_flags() -> ir::MemFlagsData {
        ir::MemFlagsData::trusted().with_readonly().with_can_move()
    }

    /// Loads a constant 64-bit field of the context.
    pub(crate) fn load_vmctx_constant(&mut self, offset: usize) -> Value {
        let (vmctx, flags) = (self.vmctx(), Self::constant_flags());
        self.builder.ins().load(types::I64, flags, vmctx, offset as i32)
    }

    /// Calls a builtin at which a frame can be seen, in a trace or by host code. `args` are all its
    /// arguments but the context, as `i64`. The operands that it takes were popped.
    pub(crate) fn call_builtin(&mut self, builtin: Builtin, args: &[Value]) -> Option<Value> {
        let kept = self.before_call();
        let result = self.call_builtin_quietly(builtin, args);
        self.behind_call(&kept);
        result
    }

    /// Calls a builtin that neither runs host code nor stops. The fuel counter goes to memory and
    /// comes back.
    pub(crate) fn call_builtin_quietly(
        &mut self,
        builtin: Builtin,
        args: &[Value],
    ) -> Option<Value> {
        if self.env.metering.fuel {
            let vmctx = self.vmctx();
            crate::metering::store_fuel(&mut self.builder, vmctx);
        }
        let table = self.load_vmctx_constant(offsets::BUILTINS);
        let flags = Self::constant_flags();
        let code = self.builder.ins().load(types::I64, flags, table, builtin.offset() as i32);
        let sig = self.builder.import_signature(crate::env::builtin_signature(builtin));
        let args: Vec<Value> = std::iter::once(self.vmctx()).chain(args.iter().copied()).collect();
        let call = self.builder.ins().call_indirect(sig, code, &args);
        self.age_values();
        if self.env.metering.fuel {
            let vmctx = self.vmctx();
            crate::metering::load_fuel(&mut self.builder, vmctx);
        }
        self.builder.inst_results(call).first().copied()
    }
}
