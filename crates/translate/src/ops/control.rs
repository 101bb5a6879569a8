//! Blocks, loops, branches: the control stack.
//!
//! Wasm control is structured; Cranelift's is a graph of blocks. A [`ControlFrame`] is made for
//! every construct that is entered, and gives the Cranelift blocks that branches to it go to:
//!
//! ```text
//!   block … end        -> exit block, made by the first branch to it: a block that nobody
//!                         branches to is straight-line code, and no run ends there
//!   loop … end         -> header block, made at once, sealed at `end`
//!   if … else … end    -> the two arms, sealed at once; exit block as for `block`
//! ```
//!
//! What crosses into a block is in `control/edges.rs`. Behind a branch that is always taken,
//! operators are not translated; the frames they open are marked [`Kind::Unreachable`] and only
//! keep the nesting right.
//!
//! Fuel: a straight-line run ends before every branching instruction and wherever control flow can
//! merge (`charges.rs`); a loop's header has a checkpoint (`metering.rs`).

mod edges;

use crate::charges::{Charge, End, Join, RunId, Start};
use crate::frame_state::{Meeting, Saved};
use crate::func::FuncTranslator;
use crate::metering::Stretch;
use crate::ops::exception::{self, Try};
use anyhow::Result;
use cranelift_codegen::ir::{Block, InstBuilder, JumpTableData};
use edges::{Label, Passed, block_for, jump, jump_to_exit, label, push_passed};
use std::collections::HashMap;
use stillframe_abi::Trap;
use stillframe_abi::module::ModuleInfo;
use stillframe_abi::types::ValType;
use wasmparser::{BlockType, BrTable, Operator};

/// A construct that has been entered and not left.
#[derive(Debug)]
pub(crate) struct ControlFrame {
    kind: Kind,
    signature: BlockSignature,
    /// Height of the operand stack without the construct's parameters.
    height: usize,
    /// Where branches to the construct's end go.
    exit: Exit,
    /// The stretch at its start.
    stretch: Stretch,
    /// How many loops there are among the frames up to this one.
    loops: u32,
    /// Where among these frames the last `try_table` is.
    try_table: Option<usize>,
}

/// Where branches to a construct's end go.
#[derive(Debug, Default)]
struct Exit {
    /// The block, if there are such branches, and what their runs lead to. The results are passed
    /// to it.
    block: Option<(Block, Join)>,
    /// What the cells hold at all of them.
    held: Meeting,
}

#[derive(Debug)]
enum Kind {
    /// The function's body, or an inlined one.
    Function,
    /// A `block`, or an `if` behind its `else`.
    Block,
    /// A `loop`; its parameters are the header's. So far so many branches go there.
    Loop { header: Block, branches: u32 },
    /// An `if` before its `else`.
    If(Else),
    /// A `try_table`; its handlers are written at its `end` (`exception.rs`).
    Try(Try),
    /// A construct in code that cannot be reached.
    Unreachable,
}

/// What an `else`, written or not, starts with.
#[derive(Debug)]
struct Else {
    block: Block,
    params: Saved,
    /// What the cells hold before the `if`.
    held: Meeting,
    /// The run before the `if`, if fuel is counted.
    run: Option<RunId>,
}

/// The type of a construct.
#[derive(Clone, Copy, Debug)]
enum BlockSignature {
    /// No parameters and at most one result.
    Result(Option<ValType>),
    /// The function type with this index.
    Func(u32),
}

impl BlockSignature {
    fn new(ty: BlockType) -> BlockSignature {
        match ty {
            BlockType::Empty => BlockSignature::Result(None),
            BlockType::Type(ty) => BlockSignature::Result(Some(crate::env::val_type(ty))),
            BlockType::FuncType(index) => BlockSignature::Func(index),
        }
    }

    fn params(self, info: &ModuleInfo) -> &[ValType] {
        match self {
            BlockSignature::Result(_) => &[],
            BlockSignature::Func(index) => info.types[index as usize].params(),
        }
    }

    fn results<'a>(&'a self, info: &'a ModuleInfo) -> &'a [ValType] {
        match self {
            BlockSignature::Result(ty) => ty.as_slice(),
            BlockSignature::Func(index) => info.types[*index as usize].results(),
        }
    }
}

/// Pushes the frame of the body of function `func_index`: the outermost one, or that of a body that
/// is inlined, whose parameters were popped.
pub(crate) fn push_function_frame(t: &mut FuncTranslator<'_>, func_index: u32) {
    let signature = BlockSignature::Func(t.env.info.functions[func_index as usize]);
    let height = t.stack.len();
    push_frame_at(t, Kind::Function, signature, height);
}

/// Translates `op` if it is of this kind. Called for every operator, reachable or not.
///
/// # Errors
///
/// If a `br_table` is malformed, or the function becomes too large.
pub(crate) fn translate(t: &mut FuncTranslator<'_>, op: &Operator<'_>) -> Result<bool> {
    match op {
        Operator::Block { blockty } => {
            let signature = BlockSignature::new(*blockty);
            push_frame(t, Kind::Block, signature);
        }
        Operator::Loop { blockty } => enter_loop(t, BlockSignature::new(*blockty)),
        Operator::If { blockty } => enter_if(t, BlockSignature::new(*blockty)),
        Operator::TryTable { try_table } => {
            let kind = Kind::Try(Try::new(try_table, t.pc));
            push_frame(t, kind, BlockSignature::new(try_table.ty));
        }
        Operator::Else => enter_else(t),
        Operator::End => end(t)?,
        Operator::Br { .. }
        | Operator::BrIf { .. }
        | Operator::BrTable { .. }
        | Operator::Return
        | Operator::Unreachable
            if !t.reachable => {}
        Operator::Br { relative_depth } => branch(t, *relative_depth),
        Operator::BrIf { relative_depth } => branch_if(t, *relative_depth),
        Operator::BrTable { targets } => branch_table(t, targets)?,
        Operator::Return => return_(t),
        Operator::Unreachable => {
            t.end_run_exactly();
            t.trap_here(Trap::UnreachableCodeReached);
            leave(t);
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Marks what follows as unreachable, after a branch that is always taken.
pub(crate) fn leave(t: &mut FuncTranslator<'_>) {
    debug_assert!(t.runs.open().is_none(), "a run ends before every branch");
    t.reachable = false;
}

/// Pushes the frame of a construct whose parameters are on top of the stack.
fn push_frame(t: &mut FuncTranslator<'_>, kind: Kind, signature: BlockSignature) {
    let (kind, height) = match t.reachable {
        true => (kind, t.stack.len() - signature.params(t.env.info).len()),
        false => (Kind::Unreachable, t.stack.len()),
    };
    push_frame_at(t, kind, signature, height);
}

fn push_frame_at(t: &mut FuncTranslator<'_>, kind: Kind, signature: BlockSignature, height: usize) {
    let around = t.control.last().map_or(0, |frame| frame.loops);
    let loops = around + u32::from(matches!(kind, Kind::Loop { .. }));
    let (exit, stretch) = (Exit::default(), t.stretch);
    let try_table = match kind {
        Kind::Try(_) => Some(t.control.len()),
        _ => t.control.last().and_then(|around| around.try_table),
    };
    t.control.push(ControlFrame { kind, signature, height, exit, stretch, loops, try_table });
}

fn enter_loop(t: &mut FuncTranslator<'_>, signature: BlockSignature) {
    if !t.reachable {
        return push_frame(t, Kind::Unreachable, signature);
    }
    t.end_run_exactly();
    let params = signature.params(t.env.info);
    let (header, height) = (block_for(t, params), t.stack.len() - params.len());
    let passed = Passed::new(t, params.len(), height);
    t.stack.truncate(height);
    t.enter_loop_state();
    jump(t, header, passed);
    t.builder.switch_to_block(header);
    push_passed(t, header, params);
    t.checkpoint();
    push_frame(t, Kind::Loop { header, branches: 0 }, signature);
    let depth = t.control.last().map_or(0, |frame| frame.loops);
    t.loops.push((header, depth));
}

fn enter_if(t: &mut FuncTranslator<'_>, signature: BlockSignature) {
    if !t.reachable {
        return push_frame(t, Kind::Unreachable, signature);
    }
    let condition = t.pop();
    // The parameters dominate both arms, so they need not be block parameters.
    let params = t.save_for_later(signature.params(t.env.info).len());
    let run = t.end_run(End::Arms);
    let then = t.builder.create_block();
    let block = t.builder.create_block();
    t.builder.ins().brif(condition, then, &[], block, &[]);
    t.builder.seal_block(then);
    t.builder.seal_block(block);
    t.builder.switch_to_block(then);
    let mut held = Meeting::default();
    held.join(&t.state.held);
    run_after(t, run);
    push_frame(t, Kind::If(Else { block, params, held, run }), signature);
}

fn enter_else(t: &mut FuncTranslator<'_>) {
    let mut frame = t.control.pop().expect("validated nesting");
    t.stretch.reaches_back_to(frame.stretch);
    if let Kind::If(otherwise) = frame.kind {
        start_else(t, otherwise, &mut frame.exit, frame.signature, frame.height);
        frame.kind = Kind::Block;
    }
    t.control.push(frame);
}

/// The next run comes only after this one.
fn run_after(t: &mut FuncTranslator<'_>, run: Option<RunId>) {
    if let Some(run) = run {
        t.runs.next_is(Start::After(run));
    }
}

/// Ends the first arm of an `if`, and goes on at the start of its `else`, written or not.
fn start_else(
    t: &mut FuncTranslator<'_>,
    otherwise: Else,
    exit: &mut Exit,
    signature: BlockSignature,
    height: usize,
) {
    if t.reachable {
        jump_to_exit(t, exit, height, signature.results(t.env.info));
    }
    t.stack.truncate(height);
    t.builder.switch_to_block(otherwise.block);
    t.state.arrive(otherwise.held);
    t.restore(otherwise.params, signature.params(t.env.info));
    run_after(t, otherwise.run);
    t.reachable = true;
}

fn end(t: &mut FuncTranslator<'_>) -> Result<()> {
    let mut frame = t.control.pop().expect("validated nesting");
    let results = frame.signature.results(t.env.info);
    t.stretch.reaches_back_to(frame.stretch);
    match frame.kind {
        Kind::Unreachable => return Ok(()),
        Kind::Function | Kind::Block => {}
        Kind::Loop { header, .. } => t.builder.seal_block(header),
        Kind::Try(ref mut try_table) if try_table.is_used() => {
            if t.reachable {
                jump_to_exit(t, &mut frame.exit, frame.height, results);
            }
            t.stack.truncate(frame.height);
            exception::write_handlers(t, try_table)?;
        }
        Kind::Try(_) => {}
        // Without an `else`, the parameters are the results.
        Kind::If(otherwise) => {
            start_else(t, otherwise, &mut frame.exit, frame.signature, frame.height);
        }
    }
    if frame.exit.block.is_some() && t.reachable {
        jump_to_exit(t, &mut frame.exit, frame.height, results);
    }
    if let Some((exit, join)) = frame.exit.block {
        t.runs.next_is(Start::Join(join));
        t.builder.seal_block(exit);
        t.builder.switch_to_block(exit);
        t.stack.truncate(frame.height);
        t.state.arrive(frame.exit.held);
        push_passed(t, exit, results);
        t.reachable = true;
    } else if !t.reachable {
        t.stack.truncate(frame.height);
    }
    if t.control.is_empty() && t.reachable {
        t.end_run_exactly();
        let results = t.pop_many(t.stack.len());
        t.builder.ins().return_(&results);
        leave(t);
    }
    Ok(())
}

/// The innermost `try_table` that the current operator is in.
pub(crate) fn innermost_try<'t>(t: &'t mut FuncTranslator<'_>) -> Option<&'t mut Try> {
    let at = t.control.last()?.try_table?;
    match &mut t.control[at].kind {
        Kind::Try(try_table) => Some(try_table),
        _ => None,
    }
}

/// Branches to a label with the operands on top of the stack.
pub(crate) fn branch(t: &mut FuncTranslator<'_>, depth: u32) {
    if depth as usize == t.control.len() - 1 {
        return return_(t);
    }
    branch_within(t, depth);
}

/// The same, if it is not the outermost frame's label.
fn branch_within(t: &mut FuncTranslator<'_>, depth: u32) {
    let Label { block, passed, join, .. } = label(t, depth);
    t.end_run(join.map_or(End::Exact, End::To));
    jump(t, block, passed);
    leave(t);
}

fn branch_if(t: &mut FuncTranslator<'_>, depth: u32) {
    let condition = t.pop();
    let Label { block, passed, join, leaves_loop } = label(t, depth);
    let next = t.builder.create_block();
    let mut leaving = None;
    let charges = leaves_loop && t.env.metering.fuel;
    if let Some(args) = passed.arguments()
        && !charges
    {
        t.builder.ins().brif(condition, block, args, next, &[]);
    } else {
        let edge = t.builder.create_block();
        t.builder.ins().brif(condition, edge, &[], next, &[]);
        t.builder.seal_block(edge);
        t.builder.switch_to_block(edge);
        leaving = charges.then(|| Charge::emit(&mut t.builder));
        jump(t, block, passed);
    }
    let run = t.end_run(End::BranchIf { taken: join, leaving });
    run_after(t, run);
    t.builder.seal_block(next);
    t.builder.switch_to_block(next);
}

/// A label that takes operands, or that occurs more than once, gets a block of its own that jumps
/// to it: so what crosses the edge (operands, and locals that Cranelift makes block parameters) is
/// written once for each label and not once for each entry of the table.
fn branch_table(t: &mut FuncTranslator<'_>, table: &BrTable<'_>) -> Result<()> {
    let index = t.pop();
    let mut depths = vec![table.default()];
    for depth in table.targets() {
        depths.push(depth?);
    }
    let mut occurrences: HashMap<u32, u32> = HashMap::new();
    for &depth in &depths {
        *occurrences.entry(depth).or_default() += 1;
    }
    let mut blocks: HashMap<u32, Block> = HashMap::new();
    let mut edges = Vec::new();
    let mut joins = Vec::new();
    let mut calls = Vec::with_capacity(depths.len());
    for depth in depths {
        let block = *blocks.entry(depth).or_insert_with(|| {
            let Label { block: target, passed, join, .. } = label(t, depth);
            joins.extend(join);
            if passed.is_nothing() && occurrences[&depth] == 1 {
                return target;
            }
            let edge = t.builder.create_block();
            edges.push((edge, target, passed));
            edge
        });
        t.check_size()?;
        calls.push(t.builder.func.dfg.block_call(block, &[]));
    }
    let table = t.builder.create_jump_table(JumpTableData::new(calls[0], &calls[1..]));
    t.builder.ins().br_table(index, table);
    t.end_run(End::Table(joins));
    for (edge, target, passed) in edges {
        t.builder.seal_block(edge);
        t.builder.switch_to_block(edge);
        jump(t, target, passed);
        t.check_size()?;
    }
    leave(t);
    Ok(())
}

fn return_(t: &mut FuncTranslator<'_>) {
    if let Some(frame) = t.inlining.frame() {
        return branch_within(t, (t.control.len() - 1 - frame) as u32);
    }
    t.end_run_exactly();
    let signature = t.control[0].signature;
    let results = t.top(signature.results(t.env.info).len());
    t.passed += results.len() as u64;
    t.builder.ins().return_(&results);
    leave(t);
}
