//! Exceptions: `try_table`, `throw`, `throw_ref`.
//!
//! A call inside of a `try_table` is a Cranelift `try_call`, whose one handler gets every exception:
//! which clause catches it is found out by code, from the innermost `try_table` outwards.
//!
//! ```text
//!   try_call ── exception ──► entry   the exception in a payload register; fuel is loaded again
//!                               │
//!   throw in the same function ─┼──► clauses   does its tag match? values, then branch to the label
//!                                        │
//!                                        └── none: clauses of the next try_table, or `Throw`
//! ```
//!
//! Handlers are written at the `end` of their `try_table`, when all that go there are known and
//! labels mean what they do outside of it. A path that throws costs calls of the runtime; one that
//! does not costs nothing beyond what `try_call` forces to be spilled.

use crate::env::clif_type;
use crate::frame_state::Meeting;
use crate::func::FuncTranslator;
use crate::ops::control;
use crate::points::Points;
use anyhow::Result;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    Block, BlockArg, InstBuilder, MemFlagsData, StackSlotData, StackSlotKind, Value, types,
};
use stillframe_abi::Trap;
use stillframe_abi::builtins::Builtin;
use stillframe_abi::frame_table::WasmPc;
use stillframe_abi::types::ValType;
use stillframe_abi::vmctx::ARG_CELL_SIZE;
use wasmparser::{Catch, Operator, TryTable};

/// A `try_table` that has been entered and not left.
#[derive(Debug)]
pub(crate) struct Try {
    catches: Vec<Catch>,
    pc: WasmPc,
    /// Where `try_call`s send exceptions.
    entry: Option<Block>,
    /// Where the clauses are tried; the exception is its parameter.
    clauses: Option<Block>,
    /// What the cells hold at all calls that can throw.
    held_at_calls: Meeting,
    /// The same at calls in whose place the callee is.
    held_at_inlined: Meeting,
    /// What they hold wherever the clauses are reached from.
    held: Meeting,
}

impl Try {
    /// A `try_table` whose operator is at `pc`.
    pub(crate) fn new(try_table: &TryTable, pc: WasmPc) -> Try {
        let (held_at_calls, held_at_inlined, held) = Default::default();
        let catches = try_table.catches.clone();
        Try { catches, pc, entry: None, clauses: None, held_at_calls, held_at_inlined, held }
    }

    /// Whether anything can throw in it, or could if nothing were inlined.
    pub(crate) fn is_used(&self) -> bool {
        self.throws() || self.held_at_inlined.is_reached()
    }

    fn throws(&self) -> bool {
        self.entry.is_some() || self.clauses.is_some()
    }
}

/// Translates `op` if it is of this kind.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> bool {
    match *op {
        Operator::Throw { tag_index } => {
            let types = tag_types(t, tag_index);
            let values = t.pop_many(types.len());
            t.end_run_exactly();
            let cells = cells(t, types.len());
            for (i, value) in (0..).zip(values) {
                let flags = MemFlagsData::trusted();
                t.builder.ins().store(flags, value, cells, i * ARG_CELL_SIZE as i32);
            }
            let tag = t.builder.ins().iconst(types::I64, i64::from(tag_index));
            let exception = t.call_builtin(Builtin::ExnNew, &[tag, cells]).expect("a result");
            raise(t, exception);
        }
        Operator::ThrowRef => {
            let exception = t.pop();
            let null = t.builder.ins().icmp_imm_s(IntCC::Equal, exception, 0);
            t.trap_if(null, Trap::NullReference);
            t.end_run_exactly();
            raise(t, exception);
        }
        _ => return false,
    }
    true
}

/// Where exceptions of a call at this place go, if it is inside of a `try_table`.
pub(crate) fn handler(t: &mut FuncTranslator<'_>) -> Option<Block> {
    if let Some(entry) = control::innermost_try(t)?.entry {
        return Some(entry);
    }
    let block = t.builder.create_block();
    t.set_cold(block);
    t.builder.append_block_param(block, types::I64);
    control::innermost_try(t)?.entry = Some(block);
    Some(block)
}

/// Notes that the call which is about to be made can throw. It has saved its state.
pub(crate) fn note_call(t: &mut FuncTranslator<'_>) {
    let held = t.state.held.clone();
    if let Some(try_table) = control::innermost_try(t) {
        try_table.held_at_calls.join(&held);
    }
}

/// Notes that a callee is translated in the place of a call.
///
/// The call would have made this a place from where the labels of the `try_table` are reached. What can
/// be reached must not depend on what is inlined: where checkpoints stand does on it.
pub(crate) fn note_inlined(t: &mut FuncTranslator<'_>) {
    let held = t.state.held.clone();
    if let Some(try_table) = control::innermost_try(t) {
        try_table.held_at_inlined.join(&held);
    }
}

/// The block that tries the clauses of the innermost `try_table`, if there is one.
fn clauses(t: &mut FuncTranslator<'_>) -> Option<Block> {
    if let Some(clauses) = control::innermost_try(t)?.clauses {
        return Some(clauses);
    }
    let block = t.builder.create_block();
    t.set_cold(block);
    t.builder.append_block_param(block, types::I64);
    control::innermost_try(t)?.clauses = Some(block);
    Some(block)
}

/// Throws an exception at this place. Ends reachable code.
fn raise(t: &mut FuncTranslator<'_>, exception: Value) {
    match clauses(t) {
        Some(clauses) => {
            let held = t.state.held.clone();
            if let Some(try_table) = control::innermost_try(t) {
                try_table.held.join(&held);
            }
            t.builder.ins().jump(clauses, &[BlockArg::Value(exception)]);
        }
        None => {
            t.call_builtin(Builtin::Throw, &[exception]);
            t.builder.ins().trap(Points::fixed_code(Trap::UnreachableCodeReached));
        }
    }
    control::leave(t);
}

/// Writes the handlers of a `try_table` whose frame was popped just now. The current block has been
/// ended.
///
/// # Errors
///
/// If the function becomes too large.
pub(crate) fn write_handlers(t: &mut FuncTranslator<'_>, try_table: &mut Try) -> Result<()> {
    let loc = t.points.start_point(try_table.pc, None);
    t.builder.set_srcloc(loc);
    if !try_table.throws() {
        // Nothing comes here, and the code generator leaves it out.
        let entry = t.builder.create_block();
        t.builder.append_block_param(entry, types::I64);
        try_table.entry = Some(entry);
        try_table.held_at_calls = std::mem::take(&mut try_table.held_at_inlined);
    }
    let clauses = try_table.clauses.unwrap_or_else(|| {
        let block = t.builder.create_block();
        t.builder.append_block_param(block, types::I64);
        block
    });
    if let Some(entry) = try_table.entry {
        t.builder.switch_to_block(entry);
        t.builder.seal_block(entry);
        if t.env.metering.fuel {
            let vmctx = t.vmctx();
            crate::metering::load_fuel(&mut t.builder, vmctx);
        }
        t.state.arrive(std::mem::take(&mut try_table.held_at_calls));
        t.reload_held();
        try_table.held.join(&t.state.held);
        let exception = t.builder.block_params(entry)[0];
        t.builder.ins().jump(clauses, &[BlockArg::Value(exception)]);
    }
    t.builder.switch_to_block(clauses);
    t.builder.seal_block(clauses);
    t.state.arrive(std::mem::take(&mut try_table.held));
    let exception = t.builder.block_params(clauses)[0];
    t.reachable = true;
    for catch in &try_table.catches {
        let (tag, label, with_ref) = match *catch {
            Catch::One { tag, label } => (Some(tag), label, false),
            Catch::OneRef { tag, label } => (Some(tag), label, true),
            Catch::All { label } => (None, label, false),
            Catch::AllRef { label } => (None, label, true),
        };
        let next = tag.map(|tag| match_tag(t, exception, tag));
        let height = t.stack.len();
        if let Some(tag) = tag {
            push_values(t, exception, tag);
        }
        if with_ref {
            t.push_as(exception, ValType::ExnRef);
        }
        control::branch(t, label);
        t.check_size()?;
        t.stack.truncate(height);
        match next {
            Some(next) => {
                t.builder.switch_to_block(next);
                t.reachable = true;
            }
            // Nothing gets past a clause that catches all.
            None => return Ok(()),
        }
    }
    raise(t, exception);
    Ok(())
}

/// Goes on in a new block if the exception has the tag, and returns the block for when it has not.
fn match_tag(t: &mut FuncTranslator<'_>, exception: Value, tag: u32) -> Block {
    let tag = t.builder.ins().iconst(types::I64, i64::from(tag));
    let same = t.call_builtin_quietly(Builtin::ExnMatch, &[exception, tag]).expect("a result");
    let (hit, next) = (t.builder.create_block(), t.builder.create_block());
    t.builder.ins().brif(same, hit, &[], next, &[]);
    t.builder.seal_block(hit);
    t.builder.seal_block(next);
    t.builder.switch_to_block(hit);
    next
}

/// Pushes the values of an exception with this tag.
fn push_values(t: &mut FuncTranslator<'_>, exception: Value, tag: u32) {
    let types = tag_types(t, tag);
    if types.is_empty() {
        return;
    }
    let cells = cells(t, types.len());
    t.call_builtin_quietly(Builtin::ExnLoad, &[exception, cells]);
    for (i, ty) in (0..).zip(types) {
        let flags = MemFlagsData::trusted();
        let at = i * ARG_CELL_SIZE as i32;
        let value = t.builder.ins().load(clif_type(ty), flags, cells, at);
        t.push_as(value, ty);
    }
}

fn tag_types(t: &FuncTranslator<'_>, tag: u32) -> Vec<ValType> {
    let info = t.env.info;
    info.types[info.tags[tag as usize] as usize].params().to_vec()
}

/// The address of an array of cells in the frame. There is one for all, since none is used for longer
/// than an operator takes.
fn cells(t: &mut FuncTranslator<'_>, count: usize) -> Value {
    let size = (count.max(1) * ARG_CELL_SIZE) as u32;
    let slot = *t.exception_cells.get_or_insert_with(|| {
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, 0, 4);
        t.builder.create_sized_stack_slot(slot)
    });
    let so_far = &mut t.builder.func.sized_stack_slots[slot].size;
    *so_far = size.max(*so_far);
    t.builder.ins().stack_addr(types::I64, slot, 0)
}
