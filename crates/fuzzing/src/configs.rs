//! An engine's settings, chosen.

use crate::Choices;
use anyhow::Result;
use stillframe::{Config, Engine, FrameState, OperatorCosts, OptLevel};

/// What operators cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Costs {
    /// The default.
    Default,
    /// Nothing but what is needed for loops to cost something, and entries of functions.
    Branches,
    /// Some operators are dear, and bulk operations too.
    Dear,
}

/// All settings of an engine that bear on how guests run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Whether code consumes fuel.
    pub fuel: bool,
    /// What operators cost, if code consumes fuel.
    pub costs: Costs,
    /// Whether code tests the epoch.
    pub epochs: bool,
    /// What frames keep.
    pub frame_state: FrameState,
    /// Whether frames can be written.
    pub frame_writes: bool,
    /// Whether small functions are inlined.
    pub inlining: bool,
    /// How code is optimised.
    pub opt_level: OptLevel,
    /// Whether stacks and memories are pooled.
    pub pooled: bool,
    /// Whether all functions are compiled in the plain way; without `inlining`, which has no
    /// meaning then, registers are allocated in a single pass.
    pub plain: bool,
}

impl Settings {
    /// Any settings.
    pub fn choose(choices: &mut Choices<'_>) -> Settings {
        // A bit for each, so that few bytes of the input are taken.
        let bits = choices.below(256);
        let bit = |i: u32| bits >> i & 1 == 1;
        Settings {
            fuel: bit(0),
            costs: choices.pick(&[Costs::Default, Costs::Default, Costs::Branches, Costs::Dear]),
            epochs: bit(1),
            frame_state: choices.pick(&[FrameState::Live, FrameState::All, FrameState::Off]),
            frame_writes: bit(2) && bit(3),
            inlining: bit(4) || bit(5),
            opt_level: choices.pick(&[OptLevel::Speed, OptLevel::None, OptLevel::SpeedAndSize]),
            pooled: bit(6) || bit(7),
            plain: bit(2) && !bit(3) && bit(7),
        }
    }

    /// The engine's settings. Modules are compiled on one thread: whoever runs many inputs has
    /// other work for the rest.
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .consume_fuel(self.fuel)
            .operator_costs(self.costs.table())
            .epoch_interruption(self.epochs)
            .frame_state(self.frame_state)
            .frame_writes(self.frame_writes)
            .inlining(self.inlining)
            .cranelift_opt_level(self.opt_level)
            .parallel_compilation(false)
            .plain_code(self.plain)
            .single_pass(!self.inlining);
        if !self.pooled {
            config.pooled_stacks(0).pooled_memories(0);
        }
        config
    }

    /// An engine with them.
    ///
    /// # Errors
    ///
    /// If the engine cannot be made.
    pub fn engine(&self) -> Result<Engine> {
        Engine::new(&self.config())
    }
}

impl Costs {
    /// The table.
    pub fn table(self) -> OperatorCosts {
        let set: &[(&str, u32)] = match self {
            Costs::Default => return OperatorCosts::default(),
            Costs::Branches => {
                &[("br", 1), ("br_if", 1), ("br_table", 1), ("throw", 1), ("function entry", 1)]
            }
            Costs::Dear => &[
                ("i32.const", 0),
                ("local.get", 3),
                ("i32.add", 2000),
                ("i64.div_u", 70_000),
                ("call", 10),
                ("function entry", 100),
                ("end", 1),
                ("memory.grow per page", 1000),
                ("memory.fill per byte", 0),
                ("table.grow per element", 50),
            ],
        };
        let base =
            if self == Costs::Dear { OperatorCosts::default() } else { OperatorCosts::free() };
        set.iter().fold(base, |mut table, &(name, cost)| {
            table.set(name, cost).expect("the name of an operator");
            table
        })
    }
}
