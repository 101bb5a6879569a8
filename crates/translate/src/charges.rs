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
//! ahead at its end ([`Charged`]).

use cranelift_codegen::ir::{self, InstBuilder, Value, types};
use cranelift_frontend::FunctionBuilder;

/// The number of a run in its function. Whatever a run leads to, but for loops' starts, has a higher
/// number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RunId(u32);

/// A place that several runs can lead to: the end of a construct.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Join(u32);

/// How a run is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Start {
    /// From where the counter is exact: behind a call or a checkpoint, or in a handler.
    #[default]
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
    /// The other instructions, which are removed with it if it charges nothing; `None` if they stay.
    rest: Option<[ir::Inst; 3]>,
}

impl Charge {
    /// Emits a charge of an amount that is not known yet.
    pub(crate) fn emit(builder: &mut FunctionBuilder<'_>) -> Charge {
        let fuel = builder.ins().get_pinned_reg(types::I64);
        let amount = builder.ins().iconst(types::I64, 0);
        let sum = builder.ins().iadd(fuel, amount);
        let set = builder.ins().set_pinned_reg(sum);
        let def = |value| builder.func.dfg.value_def(value).unwrap_inst();
        Charge { amount: def(amount), rest: Some([set, def(sum), def(fuel)]) }
    }

    /// A charge that stays in the code whatever its amount, which is this `iconst`.
    pub(crate) fn fixed(builder: &FunctionBuilder<'_>, amount: Value) -> Charge {
        Charge { amount: builder.func.dfg.value_def(amount).unwrap_inst(), rest: None }
    }

    /// Puts in the amount.
    fn settle(&self, func: &mut ir::Function, amount: i64) {
        if let (0, Some(rest)) = (amount, self.rest) {
            rest.into_iter().chain([self.amount]).for_each(|inst| func.layout.remove_inst(inst));
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
    unpaid: Vec<bool>,
    /// The run that is open.
    open: Option<RunId>,
    /// How the run is reached that will be started next.
    next: Start,
}

impl Runs {
    /// A new place that several runs can lead to.
    pub(crate) fn join(&mut self) -> Join {
        self.unpaid.push(false);
        Join(self.unpaid.len() as u32 - 1)
    }

    /// The run that is open, if one is.
    pub(crate) fn open(&self) -> Option<RunId> {
        self.open
    }

    /// Says how the run is reached that will be started next. Unless this is called, it is from where
    /// the counter is exact.
    pub(crate) fn next_is(&mut self, start: Start) {
        self.next = start;
    }

    /// Whether the counter is exact here: no run is open, and none has led here.
    pub(crate) fn is_exact(&self) -> bool {
        self.open.is_none() && self.next == Start::Exact
    }

    /// Opens a run, which `charge` charges. None may be open.
    pub(crate) fn start(&mut self, charge: Charge) -> RunId {
        debug_assert!(self.open.is_none(), "one run at a time");
        let (id, start) = (RunId(self.runs.len() as u32), std::mem::take(&mut self.next));
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
            joins.iter().for_each(|join| self.unpaid[join.0 as usize] = true);
        }
        self.runs[open.0 as usize].end = end;
        open
    }

    /// Settles all charges of the function, whose runs have all been ended.
    pub(crate) fn settle(self, func: &mut ir::Function) -> Charged {
        debug_assert!(self.open.is_none(), "all runs were ended");
        let (demands, charges) = self.solve();
        charges.into_iter().for_each(|(charge, amount)| charge.settle(func, amount));
        Charged(demands)
    }

    /// The demand of each run, and what each charge is.
    fn solve(&self) -> (Vec<i64>, Vec<(&Charge, i64)>) {
        let count = self.runs.len();
        let mut demands = vec![0i64; count];
        // What is paid where a run starts, and at each join.
        let mut paid = vec![0i64; count];
        let mut joins = vec![0i64; self.unpaid.len()];
        let mut charges = Vec::with_capacity(count);
        // The runs that come after each run alone. At most two.
        let mut after: Vec<[Option<usize>; 2]> = vec![[None; 2]; count];
        for (at, run) in self.runs.iter().enumerate() {
            if let Start::After(RunId(before)) = run.start {
                let after = &mut after[before as usize];
                after[usize::from(after[0].is_some())] = Some(at);
            }
        }
        for (at, run) in self.runs.iter().enumerate().rev() {
            let next = after[at].into_iter().flatten();
            let cheapest = next.clone().map(|next| demands[next]).min().unwrap_or(0);
            let taken = |join: &Option<Join>| join.map_or(0, |Join(join)| joins[join as usize]);
            let ahead = match &run.end {
                End::Exact | End::Table(_) => 0,
                End::To(Join(join)) => joins[*join as usize],
                End::Arms => cheapest,
                End::BranchIf { taken: join, leaving: None } => taken(join),
                End::BranchIf { taken: join, leaving: Some(charge) } => {
                    charges.push((charge, taken(join) - cheapest));
                    cheapest
                }
            };
            next.for_each(|next| paid[next] = ahead);
            // The sum of what one way through the function costs, at most: 2^32 operators of 2^31
            // each would be needed to pass `i64`.
            demands[at] = i64::try_from(run.cost).unwrap_or(i64::MAX).saturating_add(ahead);
            if let Start::Join(Join(join)) = run.start
                && !self.unpaid[join as usize]
            {
                joins[join as usize] = demands[at];
                paid[at] = demands[at];
            }
        }
        let own = self.runs.iter().zip(demands.iter().zip(&paid));
        charges.extend(own.map(|(run, (demand, paid))| (&run.charge, demand - paid)));
        (demands, charges)
    }
}

/// What has been charged for each run where it starts, by itself and by those before it: its cost,
/// and what it is ahead at its end.
#[derive(Debug)]
pub(crate) struct Charged(Vec<i64>);

impl Charged {
    /// What has been charged for a run where it starts.
    pub(crate) fn of(&self, RunId(run): RunId) -> u64 {
        self.0[run as usize] as u64
    }

    /// A run, and that so much is charged for it.
    #[cfg(test)]
    pub(crate) fn one_run(cost: i64) -> (RunId, Charged) {
        (RunId(0), Charged(vec![cost]))
    }
}
