//! Where fuel and epochs are tested, and where fuel is charged.
//!
//! # The contract
//!
//! A *checkpoint* stands at the entry of every function whose body contains a loop or a call, at
//! every loop header, in the wasm-to-host trampoline, before each bulk operation whose cost is
//! not a constant of at most [`SMALL_BULK_COST`], and wherever the stretch behind the last one
//! reaches [`STRETCH_MAX`]. It tests first: execution goes on if at least
//! one unit of fuel is left (at a bulk operation: at least the operation's cost), and if the epoch
//! was before the deadline when it was looked at last.
//!
//! A *run* is a row of operators that are executed one after the other unless one traps: it ends at
//! every call, checkpoint and branch. It is charged as a whole where it starts, or before
//! (`charges.rs`); the counter is exact at every frozen point: there no run is open, and none is paid
//! in advance. A trap inside a run gives back what was charged and not executed (`points.rs`). The
//! operator that traps counts as executed.
//!
//! A *stretch* is what may have been executed in a function since its last checkpoint: an operator
//! counts 1, a call [`CALL_WEIGHT`], because a function without loops and calls has no checkpoint
//! of its own to end the caller's. It is an upper bound, over the structure of the code: behind
//! `end` it is what it was at the construct's start, and all that is in the construct. So what a
//! call can execute beyond its budget is bounded by the depth of its stack, and does not grow with
//! the size of the module.
//!
//! # The code
//!
//! The counter lives in the pinned register: negative, counting up. A run is `add r15, cost`; a
//! checkpoint is `test r15, r15; jns cold`. Where a run starts at a checkpoint, they are one:
//! the counter is charged before the branch, and the cold block puts back what it was. It calls with
//! the `PreserveAll` convention, so the hot path spills nothing for it.
//!
//! Epochs need no test of their own where every way back to a checkpoint costs something: then the
//! runtime gives out fuel in slices ([`Metering::EPOCH_SLICE`]), and looks at the epoch when one is
//! used up. Otherwise, and without fuel, a checkpoint compares the epoch with the deadline.

use crate::charges::{Charge, End, RunId};
use crate::env::Metering;
use crate::func::FuncTranslator;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;
use stillframe_abi::builtins::Builtin;
use stillframe_abi::frame_table::WasmPc;
use stillframe_abi::limits::offsets as limits;
use stillframe_abi::vmctx::offsets as vmctx;
use wasmparser::Operator;

/// A bulk operation whose cost is a constant of at most this many units has no checkpoint.
pub(crate) const SMALL_BULK_COST: u64 = 128;

/// A stretch of so much ends in a checkpoint.
pub(crate) const STRETCH_MAX: u64 = 1000;

/// What a call counts in a stretch.
const CALL_WEIGHT: u64 = STRETCH_MAX / 8;

/// How far the translation has come, in the measure of stretches.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Stretch {
    /// What has been passed in all.
    passed: u64,
    /// `passed` where the stretch started.
    start: u64,
}

impl Stretch {
    /// Notes that control can also come from where `earlier` was taken.
    pub(crate) fn reaches_back_to(&mut self, earlier: Stretch) {
        self.start = self.start.min(earlier.start);
    }
}

impl FuncTranslator<'_> {
    /// Adds `cost` to the open run, which is started here if none is. Returns the run and its cost
    /// so far, for the operator's point.
    pub(crate) fn charge(&mut self, cost: u64) -> Option<(RunId, u64)> {
        let run = self.open_run()?;
        Some((run, self.runs.add(cost)))
    }

    /// The open run, if fuel is counted; it is started here if none is open.
    fn open_run(&mut self) -> Option<RunId> {
        if !self.env.metering.fuel {
            return None;
        }
        if let Some(open) = self.runs.open() {
            return Some(open);
        }
        let charge = Charge::emit(&mut self.builder);
        Some(self.runs.start(charge))
    }

    /// Ends the run that leads here. Returns it, if fuel is counted.
    pub(crate) fn end_run(&mut self, end: End) -> Option<RunId> {
        self.open_run()?;
        Some(self.runs.end(end))
    }

    /// Ends the open run, if there is one, at a place where the counter must be exact.
    pub(crate) fn end_run_exactly(&mut self) {
        if !self.runs.is_exact() {
            self.end_run(End::Exact);
        }
    }

    /// The checkpoint at the end of a stretch, if it is before `op` at `pc` that one has become too
    /// long.
    pub(crate) fn stretch_before(&mut self, op: &Operator<'_>, pc: WasmPc) {
        if self.stretch.passed - self.stretch.start >= STRETCH_MAX {
            self.end_run_exactly();
            // It can suspend: it needs a point of its own, where nothing is charged in advance.
            let loc = self.points.start_point(pc, None);
            self.builder.set_srcloc(loc);
            self.checkpoint();
            if self.env.frame_writes {
                // The operand may be changed there.
                self.last_const = None;
            }
        }
        self.stretch.passed += match op {
            Operator::Call { .. } | Operator::CallIndirect { .. } => CALL_WEIGHT,
            _ => 1,
        };
    }

    /// A checkpoint at a function's entry, a loop's header or the end of a stretch. No run may be
    /// open.
    pub(crate) fn checkpoint(&mut self) {
        self.stretch.start = self.stretch.passed;
        if self.env.metering.fuel || self.env.metering.epochs {
            // The counter would live until the slow path.
            let want = if self.state.is_plain() { Want::One } else { Want::OneAndCharge };
            let charge = self.emit_checkpoint(want);
            if let Some(charge) = charge {
                self.runs.start(charge);
            }
        }
    }

    /// A checkpoint whose slow path saves the frame's state. Returns the charge for what follows, if
    /// it is one with the test.
    fn emit_checkpoint(&mut self, want: Want) -> Option<Charge> {
        let (vmctx, metering) = (self.vmctx(), self.env.metering);
        let slow_path = self.builder.create_block();
        self.set_cold(slow_path);
        let (slow, charge) = test_checkpoint(&mut self.builder, vmctx, metering, want, slow_path);
        let cold = self.before_cold_call();
        // Not the value that the hot path has, so that it need not be in a register there.
        let kept = self.kept_context();
        slow.call(&mut self.builder, vmctx, kept);
        self.behind_cold_call(cold);
        slow.finish(&mut self.builder);
        charge
    }

    /// The checkpoint before a bulk operation on `units` bytes, elements or pages (`i64`) that cost
    /// `per_unit` each, and the charge for them. `constant` is the number of units when the operator
    /// right before is a constant.
    ///
    /// A constant cost of at most [`SMALL_BULK_COST`] is charged to the open run, without a
    /// checkpoint. Otherwise this ends the open run. The operator's own cost is charged afterwards,
    /// by the caller.
    pub(crate) fn bulk_checkpoint(
        &mut self,
        units: impl Fn(&mut Self) -> Value,
        per_unit: u32,
        constant: Option<u64>,
    ) {
        let per_unit = u64::from(per_unit);
        // What costs nothing per unit (`memory.grow` by default) has a constant cost too.
        let constant = if per_unit == 0 { Some(0) } else { constant };
        let constant_cost = constant.map(|units| units.saturating_mul(per_unit));
        if let Some(cost) = constant_cost
            && cost <= SMALL_BULK_COST
        {
            self.charge(cost);
            return;
        }
        let metering = self.env.metering;
        if !metering.fuel && !metering.epochs {
            return;
        }
        self.end_run_exactly();
        self.stretch.start = self.stretch.passed;
        let cost = |t: &mut Self| {
            let units = units(t);
            t.bulk_cost(units, per_unit)
        };
        let tested = metering.fuel.then(|| cost(self));
        self.emit_checkpoint(tested.map_or(Want::One, Want::All));
        if let Some(tested) = tested {
            // A debugger may have written the number of units; and in the plain way, nothing lives so long.
            let again = self.env.frame_writes || self.state.is_plain();
            let cost = if again { cost(self) } else { tested };
            let fuel = self.builder.ins().get_pinned_reg(types::I64);
            let sum = saturating_add(&mut self.builder, fuel, cost);
            self.builder.ins().set_pinned_reg(sum);
        }
    }

    /// `units × per_unit`, at most `i64::MAX`.
    fn bulk_cost(&mut self, units: Value, per_unit: u64) -> Value {
        let ins = |t: &mut Self, imm| t.builder.ins().iconst(types::I64, imm);
        let max = ins(self, i64::MAX);
        let max_units = ins(self, i64::MAX / per_unit as i64);
        let factor = ins(self, per_unit as i64);
        let cost = self.builder.ins().imul(units, factor);
        let fits = self.builder.ins().icmp(IntCC::UnsignedLessThanOrEqual, units, max_units);
        self.builder.ins().select(fits, cost, max)
    }
}

/// `fuel + cost` for a `cost` that is not negative, at most `i64::MAX`.
fn saturating_add(builder: &mut FunctionBuilder<'_>, fuel: Value, cost: Value) -> Value {
    let sum = builder.ins().iadd(fuel, cost);
    let max = builder.ins().iconst(types::I64, i64::MAX);
    let overflow = builder.ins().icmp(IntCC::SignedLessThan, sum, fuel);
    builder.ins().select(overflow, max, sum)
}

/// What must be left at a checkpoint for execution to go on.
#[derive(Clone, Copy)]
enum Want {
    /// One unit.
    One,
    /// One unit; and the run behind it is charged in the same breath.
    OneAndCharge,
    /// So many units (not negative), and at least one.
    All(Value),
}

/// The checkpoint of a wasm-to-host trampoline. Leaves the builder in the block where execution goes
/// on.
///
/// `vmctx` may be an instance's context or, in a wasm-to-host trampoline, the host function's: the
/// fields used here are at the same offsets in both.
pub(crate) fn trampoline_checkpoint(
    builder: &mut FunctionBuilder<'_>,
    vmctx: Value,
    metering: &Metering,
) {
    let cold = builder.create_block();
    builder.set_cold_block(cold);
    let (slow, _) = test_checkpoint(builder, vmctx, metering, Want::One, cold);
    slow.call(builder, vmctx, None);
    slow.finish(builder);
}

/// The slow path of a checkpoint, in whose cold block the builder is.
struct SlowPath {
    fuel: bool,
    /// The units that must be left, if not one.
    need: Option<Value>,
    /// What the test has charged, and the cold block has taken back.
    charged: Option<Value>,
    go_on: ir::Block,
}

/// Emits the test of a checkpoint, and starts its slow path, in block `cold`.
fn test_checkpoint(
    builder: &mut FunctionBuilder<'_>,
    vmctx: Value,
    metering: &Metering,
    want: Want,
    cold: ir::Block,
) -> (SlowPath, Option<Charge>) {
    let go_on = builder.create_block();
    let (fuel, epochs) = (metering.fuel, metering.tests_epochs());
    let constant = FuncTranslator::constant_flags();

    // The counter before it was charged, and by how much it was.
    let mut charged = None;
    if fuel {
        let counter = builder.ins().get_pinned_reg(types::I64);
        if let Want::OneAndCharge = want {
            let amount = builder.ins().iconst(types::I64, 0);
            let after = builder.ins().iadd(counter, amount);
            builder.ins().set_pinned_reg(after);
            charged = Some((counter, amount));
        }
        let mut stop = builder.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, counter, 0);
        if let Want::All(cost) = want {
            let after = saturating_add(builder, counter, cost);
            let too_much = builder.ins().icmp_imm_s(IntCC::SignedGreaterThan, after, 0);
            stop = builder.ins().bor(stop, too_much);
        }
        let next = if epochs { builder.create_block() } else { go_on };
        builder.ins().brif(stop, cold, &[], next, &[]);
        if epochs {
            builder.switch_to_block(next);
            builder.seal_block(next);
        }
    }
    if epochs {
        let limits_ptr = builder.ins().load(types::I64, constant, vmctx, vmctx::LIMITS as i32);
        let epoch_ptr = builder.ins().load(types::I64, constant, vmctx, vmctx::EPOCH as i32);
        let flags = ir::MemFlagsData::trusted();
        let now = builder.ins().load(types::I64, flags, epoch_ptr, 0);
        let deadline =
            builder.ins().load(types::I64, flags, limits_ptr, limits::EPOCH_DEADLINE as i32);
        let reached = builder.ins().icmp(IntCC::UnsignedGreaterThanOrEqual, now, deadline);
        builder.ins().brif(reached, cold, &[], go_on, &[]);
    }

    builder.switch_to_block(cold);
    builder.seal_block(cold);
    if let Some((counter, _)) = charged {
        builder.ins().set_pinned_reg(counter);
    }
    let need = match want {
        Want::All(cost) => Some(cost),
        Want::One | Want::OneAndCharge => None,
    };
    let charged = charged.map(|(_, amount)| amount);
    let charge = charged.map(|amount| Charge::fixed(builder, amount));
    (SlowPath { fuel, need, charged, go_on }, charge)
}

impl SlowPath {
    /// The call. `kept` is where the frame keeps the context, if it does.
    fn call(
        &self,
        builder: &mut FunctionBuilder<'_>,
        vmctx: Value,
        kept: Option<(Value, ir::MemFlagsData)>,
    ) {
        // What is constant is loaded here all the same: hoisted, it would be in registers of a loop
        // that has no use for it. And the argument of a plain checkpoint is in no register that the
        // allocator would give to most loops.
        let flags = ir::MemFlagsData::trusted();
        let mut context = |ty| match kept {
            Some((address, flags)) => builder.ins().load(ty, flags, address, 0),
            None if ty == types::I64 => vmctx,
            None => builder.ins().bitcast(ty, ir::MemFlagsData::new(), vmctx),
        };
        let (vmctx, argument) = (context(types::I64), context(types::F64));
        let builtin = match (self.need, self.fuel) {
            (Some(_), _) => Builtin::CheckpointFor,
            (None, true) => Builtin::Checkpoint,
            (None, false) => Builtin::EpochCheckpoint,
        };
        let table = builder.ins().load(types::I64, flags, vmctx, vmctx::BUILTINS as i32);
        let code = builder.ins().load(types::I64, flags, table, builtin.offset() as i32);
        let sig = builder.import_signature(crate::env::builtin_signature(builtin));
        if let Some(need) = self.need {
            let one = builder.ins().iconst(types::I64, 1);
            let need = builder.ins().umax(need, one);
            store_fuel(builder, vmctx);
            builder.ins().call_indirect(sig, code, &[vmctx, need]);
            load_fuel(builder, vmctx);
        } else {
            builder.ins().call_indirect(sig, code, &[argument]);
        }
        if let Some(amount) = self.charged {
            let counter = builder.ins().get_pinned_reg(types::I64);
            let after = builder.ins().iadd(counter, amount);
            builder.ins().set_pinned_reg(after);
        }
    }

    /// Ends the slow path, where execution goes on.
    fn finish(self, builder: &mut FunctionBuilder<'_>) {
        builder.ins().jump(self.go_on, &[]);
        builder.switch_to_block(self.go_on);
        builder.seal_block(self.go_on);
    }
}

/// Stores the counter to `VMRuntimeLimits::fuel_consumed`: before every exit to the runtime.
pub(crate) fn store_fuel(builder: &mut FunctionBuilder<'_>, vmctx: Value) {
    let constant = FuncTranslator::constant_flags();
    let limits_ptr = builder.ins().load(types::I64, constant, vmctx, vmctx::LIMITS as i32);
    let counter = builder.ins().get_pinned_reg(types::I64);
    let flags = ir::MemFlagsData::trusted();
    builder.ins().store(flags, counter, limits_ptr, limits::FUEL_CONSUMED as i32);
}

/// Loads the counter from `VMRuntimeLimits::fuel_consumed`: after every way back into wasm.
pub(crate) fn load_fuel(builder: &mut FunctionBuilder<'_>, vmctx: Value) {
    let constant = FuncTranslator::constant_flags();
    let limits_ptr = builder.ins().load(types::I64, constant, vmctx, vmctx::LIMITS as i32);
    let flags = ir::MemFlagsData::trusted();
    let counter = builder.ins().load(types::I64, flags, limits_ptr, limits::FUEL_CONSUMED as i32);
    builder.ins().set_pinned_reg(counter);
}
