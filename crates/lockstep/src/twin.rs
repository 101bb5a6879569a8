//! The interpreter's side.

use crate::compare::Checker;
use crate::report::Report;
use crate::settings::Settings;
use crate::values::{Functions, chosen};
use anyhow::{Context as _, Error, Result, bail, ensure};
use std::collections::BTreeSet;
use stillframe::{AsContext, AsContextMut, FrameHandle, FuncType, Store, Val};
use stillframe_oracle as oracle;
use stillframe_oracle::{Activation, Machine, Step};

/// Steps in which the interpreter must come to the next stop, if fuel is consumed.
const MAX_STEPS: u64 = 3_000_000;
/// Steps of a whole call, if not: what takes us a moment can take the interpreter hours.
const MAX_STEPS_UNMETERED: u64 = 20_000_000;
/// What is said of a call that takes more, which is no difference.
pub const TOO_LONG: &str = "a call takes too many steps for the interpreter";

/// The interpreter's side, as the store's data.
#[derive(Default)]
pub(crate) struct Twin {
    pub(crate) machine: Machine,
    pub(crate) call: Option<Activation>,
    /// The host function that it waits for, and its arguments.
    pub(crate) awaited: Option<(oracle::FuncId, Vec<oracle::Value>)>,
    pub(crate) checker: Option<Checker>,
    pub(crate) settings: Option<Settings>,
    pub(crate) functions: Functions,
    /// Fuel that both have consumed before the call.
    pub(crate) base: (u64, u64),
    /// Counts, to choose values.
    pub(crate) seed: u64,
    /// What was different.
    pub(crate) failure: Option<Error>,
    /// Steps of the call so far.
    pub(crate) steps: u64,
    /// The operators that were executed: function and pc.
    pub(crate) executed: BTreeSet<(u32, u32)>,
}

/// What a host function does.
pub(crate) enum Answer {
    Return(Vec<oracle::Value>),
    /// It fails, and the call is suspended.
    Fail,
}

impl Twin {
    pub(crate) fn settings(&self) -> &Settings {
        self.settings.as_ref().expect("set")
    }

    pub(crate) fn report(&mut self) -> &mut Report {
        &mut self.checker.as_mut().expect("set").report
    }

    pub(crate) fn choose(&mut self, ty: stillframe::ValType) -> oracle::Value {
        self.seed += 1;
        chosen(ty, self.seed, &self.functions)
    }

    /// Whether a value is the interpreter's.
    pub(crate) fn same(&self, store: impl AsContext, ours: &Val, theirs: &oracle::Value) -> bool {
        self.functions.same(&store.as_context(), ours, theirs)
    }

    /// Starts a call there.
    pub(crate) fn start(&mut self, func: oracle::FuncId, args: Vec<oracle::Value>) -> Result<()> {
        self.call = Some(self.machine.start(func, args)?);
        self.awaited = None;
        self.base.1 = self.machine.fuel_consumed();
        self.steps = 0;
        Ok(())
    }

    /// `ours`: units that were consumed here since the store was made.
    pub(crate) fn check_fuel(&self, ours: Option<u64>) -> Result<()> {
        if let Some(ours) = ours {
            let ours = ours - self.base.0;
            let theirs = self.machine.fuel_consumed() - self.base.1;
            ensure!(ours == theirs, "it consumed {ours} units instead of {theirs}");
        }
        Ok(())
    }

    /// One operator, or entering one function.
    ///
    /// # Errors
    ///
    /// If the call takes too long.
    fn operator(&mut self) -> Result<Step> {
        self.steps += 1;
        ensure!(self.settings().fuel || self.steps < MAX_STEPS_UNMETERED, TOO_LONG);
        let call = self.call.as_mut().expect("a call runs");
        if let Some(view) = call.innermost()
            && !view.entering
        {
            self.executed.insert((view.func_index, view.pc));
        }
        Ok(call.step(&mut self.machine))
    }

    /// Runs the interpreter to the end of the call.
    pub(crate) fn finish(&mut self) -> Result<Step> {
        let waits = self.call.as_ref().expect("a call runs").is_awaiting_host();
        ensure!(!waits, "there it waits for a host function");
        for step in 0.. {
            match self.operator()? {
                Step::Running => {}
                other => return Ok(other),
            }
            ensure!(!self.settings().fuel || step < MAX_STEPS, "there it does not end");
        }
        unreachable!("the steps are bounded")
    }

    /// One step of the interpreter, which does not end the call.
    fn step(&mut self) -> Result<()> {
        match self.operator()? {
            Step::Running => Ok(()),
            Step::HostCall { func, args } => {
                self.awaited = Some((func, args));
                Ok(())
            }
            other => bail!("there it has ended: {other:?}"),
        }
    }

    /// We are at a checkpoint: moves the interpreter to the same place.
    pub(crate) fn checkpoint(
        &mut self,
        store: &mut Store<Twin>,
        frames: &[FrameHandle],
    ) -> Result<()> {
        let fuel = store.fuel_consumed()? - self.base.0;
        // Without frames before a host function that was called in tail position.
        let place = match frames.first() {
            Some(inner) => {
                Some((inner.func_index(&*store)?, inner.wasm_pc(&*store)?, frames.len()))
            }
            None => None,
        };
        loop {
            let call = self.call.as_ref().expect("a call runs");
            let theirs = self.machine.fuel_consumed() - self.base.1;
            let at = call.innermost().map(|view| (view.func_index, view.pc, call.depth()));
            if theirs == fuel && at == place {
                break;
            }
            ensure!(
                theirs <= fuel && !call.is_awaiting_host(),
                "stopped at {place:x?} after {fuel} units; there {at:x?} after {theirs}"
            );
            self.step()?;
        }
        self.stop(store, frames)
    }

    /// Compares the frames, and writes to some of them.
    pub(crate) fn stop(
        &mut self,
        mut store: impl AsContextMut,
        frames: &[FrameHandle],
    ) -> Result<()> {
        let call = self.call.as_ref().expect("a call runs");
        let checker = self.checker.as_mut().expect("set");
        checker.stop(&store.as_context(), &self.functions, frames, call)?;
        if self.settings().frame_writes {
            self.write(&mut store, frames)?;
        }
        Ok(())
    }

    /// Writes to a local and to an operand of a frame, on both sides.
    fn write(&mut self, mut store: impl AsContextMut, frames: &[FrameHandle]) -> Result<()> {
        self.seed += 1;
        let depth = (self.seed as usize / 3) % frames.len().max(1);
        let Some(frame) = frames.get(depth) else { return Ok(()) };
        let locals = frame.num_locals(&store)?;
        if locals > 0 {
            let index = self.seed as usize % locals;
            let value = self.choose(frame.local_type(&store, index)?);
            let new = self.functions.ours(&mut store, value)?;
            if frame.local(&store, index).is_ok() {
                frame.set_local(&mut store, index, new)?;
                self.call.as_mut().expect("a call runs").set_local(depth, index, value)?;
                self.report().writes += 1;
            } else {
                ensure!(frame.set_local(&mut store, index, new).is_err(), "a dead local written");
            }
        }
        let operands = frame.num_operands(&store)?;
        if operands > 0 {
            let index = self.seed as usize % operands;
            let ty = frame.operand_type(&store, index)?.context("an operand without a type")?;
            let value = self.choose(ty);
            let new = self.functions.ours(&mut store, value)?;
            frame.set_operand(&mut store, index, new)?;
            self.call.as_mut().expect("a call runs").set_operand(depth, index, value)?;
            self.report().writes += 1;
        }
        Ok(())
    }

    /// A host function was called here.
    pub(crate) fn host_called(
        &mut self,
        mut caller: impl AsContextMut,
        fuel: Option<u64>,
        frames: &[FrameHandle],
        args: &[Val],
        ty: &FuncType,
    ) -> Result<Answer> {
        for step in 0.. {
            if self.awaited.is_some() {
                break;
            }
            let there = !self.settings().fuel || step < MAX_STEPS;
            ensure!(there, "a host function is called; there nothing is");
            self.step().context("a host function is called")?;
        }
        let (_, theirs) = self.awaited.take().expect("just seen");
        let same = args.len() == theirs.len()
            && args.iter().zip(&theirs).all(|(a, b)| self.same(&caller, a, b));
        ensure!(same, "a host function is called with {args:?} instead of {theirs:x?}");
        self.check_fuel(fuel)?;
        self.stop(&mut caller, frames)?;
        self.report().host_calls += 1;
        self.seed += 1;
        if self.seed.is_multiple_of(3) {
            return Ok(Answer::Fail);
        }
        let values: Vec<_> = ty.results().iter().map(|&ty| self.choose(ty)).collect();
        self.host_returns(values.clone())?;
        Ok(Answer::Return(values))
    }

    pub(crate) fn host_returns(&mut self, values: Vec<oracle::Value>) -> Result<()> {
        self.call.as_mut().expect("a call runs").host_returned(&self.machine, values)
    }
}
