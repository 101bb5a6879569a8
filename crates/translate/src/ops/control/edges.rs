//! Edges: where branches go to, and what they pass.
//!
//! As usual, the operands that a branch passes are arguments of the block that it goes to. In the
//! plain way (`frame_state/homes.rs`) they are at home in the frame, and a branch moves those whose
//! depth is another one there:
//!
//! ```text
//!               block (result i32)    … local.get 0   local.get 1    br 0   … end
//!   usual:                              v7              v9           jump exit(v9)
//!   plain:      height 3                home 3 = v7     home 4 = v9  home 3 = home 4; jump exit
//! ```

use super::{ControlFrame, Exit, Kind};
use crate::charges::{End, Join};
use crate::env::clif_type;
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Value};
use stillframe_abi::types::ValType;

/// Where a branch goes to.
pub(super) struct Label {
    pub(super) block: Block,
    pub(super) passed: Passed,
    /// What its run leads to, if that is not a loop's start.
    pub(super) join: Option<Join>,
    /// Whether it leaves a loop.
    pub(super) leaves_loop: bool,
}

/// What an edge passes on. The operands stay on the stack.
pub(super) enum Passed {
    Arguments(Vec<BlockArg>),
    /// So many operands move down in the frame.
    Moved {
        from: usize,
        to: usize,
        count: usize,
    },
}

impl Passed {
    /// The topmost operands, of which there are so many, for a place where the stack has this height
    /// without them.
    pub(super) fn new(t: &mut FuncTranslator<'_>, count: usize, to: usize) -> Passed {
        let passed = match t.state.is_plain() {
            true => Passed::Moved { from: t.stack.len() - count, to, count },
            false => Passed::Arguments(block_args(&t.top(count))),
        };
        t.passed += if passed.is_nothing() { 0 } else { count as u64 };
        passed
    }

    /// Whether the edge is a jump and nothing else.
    pub(super) fn is_nothing(&self) -> bool {
        match *self {
            Passed::Arguments(ref args) => args.is_empty(),
            Passed::Moved { from, to, count } => count == 0 || from == to,
        }
    }

    /// The arguments, if passing these is all there is to do.
    pub(super) fn arguments(&self) -> Option<&[BlockArg]> {
        match self {
            Passed::Arguments(args) => Some(args),
            Passed::Moved { .. } => self.is_nothing().then_some(&[]),
        }
    }
}

/// Where a branch to the label at `depth` goes to.
pub(super) fn label(t: &mut FuncTranslator<'_>, depth: u32) -> Label {
    let at = t.control.len() - 1 - depth as usize;
    let ControlFrame { signature, height, ref exit, .. } = t.control[at];
    let exit = exit.block;
    let leaves_loop = t.control[at].loops < t.control.last().map_or(0, |frame| frame.loops);
    let (block, join, types) = match (&mut t.control[at].kind, exit) {
        (Kind::Loop { header, branches }, _) => {
            *branches += 1;
            t.max_branches = t.max_branches.max(*branches);
            (*header, None, signature.params(t.env.info))
        }
        (_, exit) => {
            let results = signature.results(t.env.info);
            let (block, join) = exit.unwrap_or_else(|| new_exit(t, results));
            t.control[at].exit.block = Some((block, join));
            (block, Some(join), results)
        }
    };
    // What a loop's header finds held was settled when the loop was entered.
    let frame = &mut t.control[at];
    if !matches!(frame.kind, Kind::Loop { .. }) {
        frame.exit.held.join(&t.state.held);
    }
    Label { block, passed: Passed::new(t, types.len(), height), join, leaves_loop }
}

/// The end of a construct with these results.
fn new_exit(t: &mut FuncTranslator<'_>, results: &[ValType]) -> (Block, Join) {
    (block_for(t, results), t.runs.join())
}

/// Jumps to a block.
pub(super) fn jump(t: &mut FuncTranslator<'_>, block: Block, passed: Passed) {
    let args = match passed {
        Passed::Arguments(args) => args,
        Passed::Moved { from, to, count } => {
            t.move_operands(from, to, count);
            Vec::new()
        }
    };
    t.builder.ins().jump(block, &args);
}

/// Jumps to the exit of a frame at this height, with its results from the stack.
pub(super) fn jump_to_exit(
    t: &mut FuncTranslator<'_>,
    exit: &mut Exit,
    height: usize,
    results: &[ValType],
) {
    let (block, join) = *exit.block.get_or_insert_with(|| new_exit(t, results));
    t.end_run(End::To(join));
    exit.held.join(&t.state.held);
    let passed = Passed::new(t, results.len(), height);
    jump(t, block, passed);
}

/// A new block to which operands of these types are passed.
pub(super) fn block_for(t: &mut FuncTranslator<'_>, types: &[ValType]) -> Block {
    let block = t.builder.create_block();
    if !t.state.is_plain() {
        for &ty in types {
            t.builder.append_block_param(block, clif_type(ty));
        }
    }
    block
}

/// Pushes the operands of these types that are passed to the current block.
pub(super) fn push_passed(t: &mut FuncTranslator<'_>, block: Block, types: &[ValType]) {
    match t.state.is_plain() {
        true => types.iter().for_each(|&ty| t.stack.push_at_home(ty)),
        false => {
            let values = t.builder.block_params(block).to_vec();
            t.push_all(&values, types);
        }
    }
}

fn block_args(values: &[Value]) -> Vec<BlockArg> {
    values.iter().copied().map(BlockArg::Value).collect()
}
