//! How much fuel is charged where, so that there are few charges.
//!
//! The operators of a function fall into *runs*: a run is executed from its start to its end unless
//! it traps. What a run costs could be charged where it starts, for each by itself. But the counter
//! must be right only where somebody can see it, at calls and checkpoints. In between it may be
//! *ahead*: what comes later is charged with what comes now. Where the way parts, that is what one of
//! the ways costs from there on (of the arms of an `if` the cheaper; of a branch the one that is
//! taken, unless it leaves a loop), and the other way charges the difference or gives it back.
//!
//! ```text
//!   loop                     charge A + B         one charge each time round …
//!     A
//!     br_if out of the loop ──► charge − B ──►    … and one for leaving, on the way that is taken once
//!     B
//!     br to the loop
//!
//!   A                        charge A + C
//!   if
//!     B                      charge B
//!   end
//!   C                        (paid with A)
//! ```
//!
//! A run is ahead by the same amount at its end whichever way it goes on, and finds the same amount
//! paid at its start whichever way it is reached. So this is settled at the end of the function,
//! backwards: a run's *demand* is its cost and what it is to be ahead at its end. The start of a run
//! that several ways lead to is paid for by all of them. What a run has to charge is its demand,
//! less what is paid. The charges are emitted before that is known, and patched or removed.
//!
//! A trap gives back what is charged and was not executed: the rest of its run, and what the run is
//! ahead at its end ([`Solution::charged`]).

use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;

/// The number of a run in its function. Whatever a run leads to, but for loops' starts, has a higher
/// number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RunId(pub(crate) u32);

/// A place that several runs can lead to: the end of a construct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Join(u32);

/// How a run is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Start {
    /// From where the counter is exact: behind a call or a checkpoint, or in a handler.
    Exact,
    /// By a place that several runs can lead to.
    Join(Join),
    /// Only from the end of this run.
    After(RunId),
}

/// What is behind a run's end.
#[derive(Debug)]
pub(crate) enum End {
    /// The counter must be exact there: a call, a checkpoint, a loop's start, the function's end.
    Exact,
    /// The place.
    To(Join),
    /// The runs that name it as what they come [after](Start::After). Both arms of an `if`.
    Arms,
    /// The run that names it, or else a branch is taken.
    BranchIf {
        /// Where to: `None` is a loop's start.
        taken: Option<Join>,
        /// The charge on the way there, if it leaves a loop: that is the rarer way.
        leaving: Option<Charge>,
    },
    /// Many places, at which nothing is paid in advance.
    Table(Vec<Join>),
}

/// A charge in the code: `counter += amount`.
#[derive(Debug)]
pub(crate) struct Charge {
    amount: ir::Inst,
    /// What is removed with it if it charges nothing.
    rest: Vec<ir::Inst>,
}

impl Charge {
    /// Emits a charge of an amount that is not known yet.
    pub(crate) fn emit(builder: &mut FunctionBuilder<'_>) -> Charge {
        let fuel = builder.ins().get_pinned_reg(types::I64);
        let amount = builder.ins().iconst(types::I64, 0);
        let sum = builder.ins().iadd(fuel, amount);
        let set = builder.ins().set_pinned_reg(sum);
        let def = |value| builder.func.dfg.value_def(value).unwrap_inst();
        Charge { amount: def(amount), rest: vec![set, def(sum), def(fuel)] }
    }

    /// A charge that stays in the code whatever its amount, which is this `iconst`.
    pub(crate) fn fixed(builder: &FunctionBuilder<'_>, amount: Value) -> Charge {
        Charge { amount: builder.func.dfg.value_def(amount).unwrap_inst(), rest: Vec::new() }
    }

    /// Puts in the amount.
    fn settle(&self, func: &mut ir::Function, amount: i64) {
        if amount == 0 && !self.rest.is_empty() {
            for &inst in self.rest.iter().chain([&self.amount]) {
                func.layout.remove_inst(inst);
            }
            return;
        }
        func.dfg.insts[self.amount] = ir::InstructionData::UnaryImm {
            opcode: ir::Opcode::Iconst,
            imm: ir::immediates::Imm64::new(amount),
        };
    }
}

#[derive(Debug)]
struct Run {
    start: Start,
    cost: u64,
    charge: Charge,
    end: End,
}

/// The runs of a function.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    runs: Vec<Run>,
    /// By join: whether nothing may be paid there in advance.
    joins: Vec<bool>,
    /// The run that is open.
    open: Option<RunId>,
}

impl Runs {
    /// A new place that several runs can lead to.
    pub(crate) fn join(&mut self) -> Join {
        self.joins.push(false);
        Join(self.joins.len() as u32 - 1)
    }

    /// The run that is open, if one is.
    pub(crate) fn open(&self) -> Option<RunId> {
        self.open
    }

    /// Opens a run, which `charge` charges. None may be open.
    pub(crate) fn start(&mut self, start: Start, charge: Charge) -> RunId {
        debug_assert!(self.open.is_none(), "one run at a time");
        let id = RunId(self.runs.len() as u32);
        self.runs.push(Run { start, cost: 0, charge, end: End::Exact });
        self.open = Some(id);
        id
    }

    /// Adds to the cost of the open run. Returns what it costs so far.
    pub(crate) fn add(&mut self, cost: u64) -> u64 {
        let open = self.open.expect("an open run");
        let run = &mut self.runs[open.0 as usize];
        run.cost = run.cost.saturating_add(cost);
        run.cost
    }

    /// Ends the open run.
    pub(crate) fn end(&mut self, end: End) -> RunId {
        let open = self.open.take().expect("an open run");
        if let End::Table(joins) = &end {
            joins.iter().for_each(|join| self.joins[join.0 as usize] = true);
        }
        self.runs[open.0 as usize].end = end;
        open
    }

    /// Settles all charges of the function, whose runs have all been ended.
    pub(crate) fn settle(self, func: &mut ir::Function) -> Solution {
        debug_assert!(self.open.is_none(), "all runs were ended");
        let solution = Solution::of(&self);
        for (run, &amount) in self.runs.iter().zip(&solution.amounts) {
            run.charge.settle(func, amount);
        }
        for (run, amount) in &solution.leaving {
            if let End::BranchIf { leaving: Some(charge), .. } = &self.runs[*run].end {
                charge.settle(func, *amount);
            }
        }
        solution
    }
}

/// What is charged where.
#[derive(Debug)]
pub(crate) struct Solution {
    /// By run: what has been charged for it where it starts, by itself and by those before it: its
    /// cost, and what it is ahead at its end.
    demands: Vec<i64>,
    /// By run: what it charges itself.
    amounts: Vec<i64>,
    /// What is charged on ways out of loops, with the run that they are at the end of.
    leaving: Vec<(usize, i64)>,
}

impl Solution {
    fn of(runs: &Runs) -> Solution {
        let count = runs.runs.len();
        let mut demands = vec![0i64; count];
        // What is paid where a run starts.
        let mut paid = vec![0i64; count];
        let mut leaving = Vec::new();
        let mut joins = vec![0i64; runs.joins.len()];
        // The runs that come after each run alone. At most two.
        let mut after: Vec<[Option<usize>; 2]> = vec![[None; 2]; count];
        for (at, run) in runs.runs.iter().enumerate() {
            if let Start::After(RunId(before)) = run.start {
                let after = &mut after[before as usize];
                after[usize::from(after[0].is_some())] = Some(at);
            }
        }
        for (at, run) in runs.runs.iter().enumerate().rev() {
            let next = after[at].into_iter().flatten();
            let ahead = match &run.end {
                End::Exact | End::Table(_) => 0,
                End::To(Join(join)) => joins[*join as usize],
                End::Arms => next.clone().map(|next| demands[next]).min().unwrap_or(0),
                End::BranchIf { taken, leaving: charge } => {
                    let taken = taken.map_or(0, |Join(join)| joins[join as usize]);
                    match (charge, after[at][0]) {
                        (Some(_), Some(next)) => {
                            let ahead = demands[next];
                            leaving.push((at, taken - ahead));
                            ahead
                        }
                        _ => taken,
                    }
                }
            };
            next.for_each(|next| paid[next] = ahead);
            // The sum of what one way through the function costs, at most: 2^32 operators of 2^31
            // each would be needed to pass `i64`.
            demands[at] = i64::try_from(run.cost).unwrap_or(i64::MAX).saturating_add(ahead);
            if let Start::Join(Join(join)) = run.start
                && !runs.joins[join as usize]
            {
                joins[join as usize] = demands[at];
                paid[at] = demands[at];
            }
        }
        let amounts = demands.iter().zip(&paid).map(|(demand, paid)| demand - paid).collect();
        Solution { demands, amounts, leaving }
    }

    /// What has been charged in all for a run and what follows it, where it starts. Behind a part of
    /// it that cost `prefix`, so much less is charged in advance.
    pub(crate) fn charged(&self, RunId(run): RunId) -> u64 {
        self.demands[run as usize] as u64
    }
}

#[cfg(test)]
impl Solution {
    /// What a function of one run is charged.
    pub(crate) fn of_one_run(cost: i64) -> Solution {
        Solution { demands: vec![cost], amounts: vec![cost], leaving: Vec::new() }
    }
}
