//! Which locals may still be read: backward may-liveness over the graph of a function's operators.
//!
//! An operator's successors are all that control flow can lead to, whatever the operands: both ways
//! of a `br_if`, every label of a `br_table`, and from a call or a throw inside of a `try_table`
//! every clause that an exception may get to, from the innermost outwards to the first that catches
//! all (two tags may be one, so no clause is ruled out by its tag). Traps lead nowhere.
//! `local.get` reads, `local.set` and `local.tee` overwrite. What is unreachable is in the graph like
//! everything else; nothing leads there.

use crate::function::{Code, Function, Op};
use std::collections::BTreeSet;
use wasmparser::{Catch, Operator};

/// Locals, by index.
pub type LocalSet = BTreeSet<u32>;

/// The locals that may still be read when execution stands at the operator at `pc`, before it.
/// Makes the analysis anew: for many questions about a function, keep a [`Liveness`].
///
/// # Panics
///
/// If no operator begins at `pc`.
pub fn live_locals(func: &Function, pc: u32) -> LocalSet {
    Liveness::new(func).live_locals(pc)
}

/// The locals that may be read once the call at `pc` has returned, or has thrown into a handler of
/// this function.
///
/// # Panics
///
/// If no operator begins at `pc`.
pub fn live_after_call(func: &Function, pc: u32) -> LocalSet {
    Liveness::new(func).live_after_call(pc)
}

/// What is known of a function.
#[derive(Debug)]
pub struct Liveness<'a> {
    func: &'a Function,
    successors: Vec<Vec<usize>>,
    /// For each operator, for each local: whether it is live before the operator.
    live: Vec<Vec<bool>>,
}

impl<'a> Liveness<'a> {
    /// Analyses a function.
    pub fn new(func: &'a Function) -> Liveness<'a> {
        let successors: Vec<_> = (0..func.ops.len()).map(|at| successors(func, at)).collect();
        let mut live = vec![vec![false; func.locals.len()]; func.ops.len()];
        loop {
            let mut changed = false;
            // Backwards, since that is how liveness flows; the order does not matter for the result.
            for at in (0..func.ops.len()).rev() {
                let mut before = vec![false; func.locals.len()];
                for &next in &successors[at] {
                    for (local, live) in live[next].iter().enumerate() {
                        before[local] |= live;
                    }
                }
                match func.ops[at].code {
                    Code::Plain(Operator::LocalGet { local_index }) => {
                        before[local_index as usize] = true;
                    }
                    Code::Plain(
                        Operator::LocalSet { local_index } | Operator::LocalTee { local_index },
                    ) => before[local_index as usize] = false,
                    _ => {}
                }
                changed |= before != live[at];
                live[at] = before;
            }
            if !changed {
                return Liveness { func, successors, live };
            }
        }
    }

    /// See [`live_locals`].
    ///
    /// # Panics
    ///
    /// If no operator begins at `pc`.
    pub fn live_locals(&self, pc: u32) -> LocalSet {
        self.set(&self.live[self.position(pc)])
    }

    /// See [`live_after_call`].
    ///
    /// # Panics
    ///
    /// If no operator begins at `pc`.
    pub fn live_after_call(&self, pc: u32) -> LocalSet {
        let after = self.successors[self.position(pc)].iter();
        after.flat_map(|&next| self.set(&self.live[next])).collect()
    }

    fn position(&self, pc: u32) -> usize {
        self.func.position(pc).unwrap_or_else(|| panic!("no operator begins at {pc:#x}"))
    }

    fn set(&self, live: &[bool]) -> LocalSet {
        (0..).zip(live).filter(|(_, live)| **live).map(|(local, _)| local).collect()
    }
}

/// The operators that can be executed after the one at `at`, in the same frame.
fn successors(func: &Function, at: usize) -> Vec<usize> {
    let op = &func.ops[at];
    let label = |depth: u32| target(func, op.parent, depth);
    let plain = match &op.code {
        Code::BrTable(labels) => return labels.iter().filter_map(|depth| label(*depth)).collect(),
        Code::Plain(plain) => plain,
    };
    match plain {
        Operator::Unreachable
        | Operator::Return
        | Operator::ReturnCall { .. }
        | Operator::ReturnCallIndirect { .. }
        | Operator::ReturnCallRef { .. } => Vec::new(),
        Operator::Br { relative_depth } => label(*relative_depth).into_iter().collect(),
        Operator::BrIf { relative_depth }
        | Operator::BrOnNull { relative_depth }
        | Operator::BrOnNonNull { relative_depth } => {
            label(*relative_depth).into_iter().chain([at + 1]).collect()
        }
        Operator::If { .. } => {
            let block = op.block.expect("an opener");
            vec![at + 1, block.otherwise.unwrap_or(block.end) + 1]
        }
        // Reached from the arm before it.
        Operator::Else => vec![op.block.expect("decoded").end + 1],
        // The end of the body.
        Operator::End if op.parent.is_none() => Vec::new(),
        Operator::Throw { .. } | Operator::ThrowRef => handlers(func, op),
        Operator::Call { .. } | Operator::CallIndirect { .. } | Operator::CallRef { .. } => {
            let mut all = handlers(func, op);
            all.push(at + 1);
            all
        }
        _ => vec![at + 1],
    }
}

/// Where a branch goes to that stands in the block opened at `parent`. None if it returns.
fn target(func: &Function, parent: Option<usize>, depth: u32) -> Option<usize> {
    let mut opener = parent?;
    for _ in 0..depth {
        opener = func.ops[opener].parent?;
    }
    match func.ops[opener].code {
        Code::Plain(Operator::Loop { .. }) => Some(opener),
        _ => Some(func.ops[opener].block.expect("an opener").end + 1),
    }
}

/// Where an exception can go to that is thrown by `op` or comes out of it.
fn handlers(func: &Function, op: &Op) -> Vec<usize> {
    let mut all = Vec::new();
    let mut around = op.parent;
    while let Some(opener) = around {
        let outside = func.ops[opener].parent;
        if let Code::Plain(Operator::TryTable { try_table }) = &func.ops[opener].code {
            for catch in &try_table.catches {
                let (Catch::One { label, .. }
                | Catch::OneRef { label, .. }
                | Catch::All { label }
                | Catch::AllRef { label }) = *catch;
                all.extend(target(func, outside, label));
                if matches!(catch, Catch::All { .. } | Catch::AllRef { .. }) {
                    return all;
                }
            }
        }
        around = outside;
    }
    all
}
