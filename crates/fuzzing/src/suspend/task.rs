//! One call, made resumably, with the calls that its host functions have made and left.
//!
//! ```text
//!   frames:  call of the lane ── stands in a host function that failed: Escaped
//!               └── call of the host function's ── stands wherever: is carried on first
//! ```

use super::host::{Escaped, Host, Instead, Mode, add_fuel, charge, enter, nested_ended, set_fuel};
use super::state::{Ending, check};
use super::stir;
use super::values::{show_all, values};
use crate::resuming::{Resumed, resume};
use crate::threads;
use anyhow::{Context as _, Error, Result, bail, ensure};
use stillframe::{
    AsContextMut, FrameHandle, Func, ResumableCall, ResumeRefused, Store, StoreContextMut, Val,
    ValType,
};

/// A call that is suspended.
pub(super) struct Task {
    lane: usize,
    /// The outermost call first; the last one is to be carried on.
    frames: Vec<Suspended>,
}

struct Suspended {
    call: ResumableCall,
    /// Where its results go.
    results: Vec<Val>,
    /// Some of its frames.
    handles: Vec<FrameHandle>,
}

/// How a task goes on.
pub(super) enum Step {
    Stopped(Task),
    Ended(Ending),
}

impl Task {
    /// Calls a function.
    pub(super) fn start(
        store: &mut StoreContextMut<'_, Host>,
        lane: usize,
        func: Func,
        number: u64,
    ) -> Result<Step> {
        let ty = func.ty(&*store);
        let args = values(store, lane, number, ty.params());
        let mut results = vec![Val::I32(0); ty.results().len()];
        stir::fuel_for_start(store)?;
        let task = Task { lane, frames: Vec::new() };
        let called = enter(store, lane, Mode::Resumable, |store| {
            func.call_resumable(store.as_context_mut(), &args, &mut results)
        })?;
        task.went(store, called, results, Some(true))
    }

    /// Carries it on, to its next stop.
    pub(super) fn step(mut self, store: &mut StoreContextMut<'_, Host>) -> Result<Step> {
        stir::before_resuming(store)?;
        let Suspended { mut call, mut results, handles } =
            self.frames.pop().context("a suspended call")?;
        for handle in &handles {
            ensure!(handle.is_valid(&*store), "{handle:?} of a suspended call is not valid");
        }
        let inputs = self.inputs(store, &call)?;
        call = refusals(store, call, inputs.as_deref().unwrap_or_default(), &mut results)?;
        let is_host = matches!(call, ResumableCall::HostTrap(_));
        let (mut owed, mut pays) = (0, false);
        if let ResumableCall::OutOfFuel(call) = &call {
            owed = call.overdraft();
            let required = call.required_fuel();
            ensure!(required > owed, "{required} required, {owed} owed");
            if !store.data_mut().choices.one_in(4) {
                stir::fuel_for(store, required)?;
            }
            pays = store.data().books.left() >= required;
        }
        if pays {
            store.data_mut().books.resumed(owed);
        }
        let inputs = inputs.unwrap_or_default();
        let lane = self.lane;
        let resumed = enter_resumed(store, lane, pays, |store| {
            resume(store.as_context_mut(), call, &inputs, &mut results)
        })?;
        match resumed {
            Resumed::Refused(call, ResumeRefused::NotEnoughFuel { required, available }) => {
                ensure!(!pays, "refused with {available} units of {required}");
                let left = store.data().books.left();
                ensure!(available == left, "{available} units are available, of {left}");
                store.data_mut().seen.refused += 1;
                self.frames.push(Suspended { call, results, handles });
                Ok(Step::Stopped(self))
            }
            Resumed::Refused(_, reason) => bail!("refused: {reason}"),
            Resumed::Went(called) => {
                let moved = moved(store, &handles)?;
                // A checkpoint is tested again, and may stop the call for another reason.
                let may_stay = !is_host && called.as_ref().is_ok_and(is_at_checkpoint);
                ensure!(moved != Some(false) || may_stay, "it is over, and its frames are valid");
                self.went(store, called, results, moved)
            }
        }
    }

    /// A call has come back. `moved`: whether it has executed anything, if that is known.
    fn went(
        mut self,
        store: &mut StoreContextMut<'_, Host>,
        called: Result<ResumableCall, Error>,
        results: Vec<Val>,
        moved: Option<bool>,
    ) -> Result<Step> {
        check(store.data_mut())?;
        let ended = match called {
            Ok(ResumableCall::Finished) => Ok(show_all(store, self.lane, &results)),
            Err(error) => store.data_mut().ended(&error),
            Ok(call) => {
                self.stopped(store, call, results, moved)?;
                return Ok(Step::Stopped(self));
            }
        };
        if self.frames.is_empty() {
            return Ok(Step::Ended(ended));
        }
        // A host function had made it, and has failed since.
        nested_ended(store.data_mut(), self.lane, &ended);
        Ok(Step::Stopped(self))
    }

    fn stopped(
        &mut self,
        store: &mut StoreContextMut<'_, Host>,
        call: ResumableCall,
        results: Vec<Val>,
        moved: Option<bool>,
    ) -> Result<()> {
        let mut escaped = None;
        let host = store.data_mut();
        match &call {
            ResumableCall::HostTrap(call) => {
                host.seen.host_traps += 1;
                if call.host_error().is::<Escaped>() {
                    host.seen.escaped += 1;
                    escaped = Some(host.lanes[self.lane].escaped.take().context("its own call")?);
                }
            }
            ResumableCall::OutOfFuel(call) => {
                host.seen.out_of_fuel += 1;
                let at_once = match moved {
                    Some(moved) => !moved,
                    None => call.overdraft() == 0,
                };
                host.books.suspended(at_once, call.required_fuel(), call.overdraft())?;
            }
            ResumableCall::Interrupted(_) => host.seen.interrupted += 1,
            ResumableCall::Finished => bail!("a finished call is no suspended one"),
        }
        let handles = look(store, &call)?;
        self.frames.push(Suspended { call, results, handles });
        if let Some(inner) = escaped {
            self.frames.extend(inner.frames);
        }
        Ok(())
    }

    /// Drops it, here or on another thread. Its frames are gone then.
    pub(super) fn drop_on(
        self,
        store: StoreContextMut<'_, Host>,
        elsewhere: bool,
        inner_first: bool,
    ) -> Result<()> {
        let mut frames = self.frames;
        if inner_first {
            frames.reverse();
        }
        let handles: Vec<_> = frames.iter().flat_map(|frame| frame.handles.clone()).collect();
        match elsewhere {
            true => threads::elsewhere(move || drop(frames)),
            false => drop(frames),
        }
        let mut handles = handles.iter();
        ensure!(!handles.any(|handle| handle.is_valid(&store)), "a dropped call's frame is valid");
        Ok(())
    }

    /// What the host function returns in which a call stands.
    fn inputs(
        &self,
        store: &mut StoreContextMut<'_, Host>,
        call: &ResumableCall,
    ) -> Result<Option<Vec<Val>>> {
        let ResumableCall::HostTrap(call) = call else { return Ok(None) };
        let error = call.host_error();
        let instead = error.downcast_ref::<Instead>().map(|Instead(number)| *number);
        let escaped = error.downcast_ref::<Escaped>().map(|Escaped(number)| *number);
        let number = instead.or(escaped).context("an error of another host function")?;
        let ty = call.host_func().ty(&*store);
        Ok(Some(values(store, self.lane, number, ty.results())))
    }
}

/// Whether a call has gone on whose frames these were, if it had any.
fn moved(store: &mut StoreContextMut<'_, Host>, handles: &[FrameHandle]) -> Result<Option<bool>> {
    let Some(first) = handles.first() else { return Ok(None) };
    let is_valid = first.is_valid(&*store);
    for handle in handles {
        ensure!(handle.is_valid(&*store) == is_valid, "some frames of a call are valid");
    }
    store.data_mut().seen.frames += u64::from(!is_valid);
    Ok(Some(!is_valid))
}

fn is_at_checkpoint(call: &ResumableCall) -> bool {
    matches!(call, ResumableCall::OutOfFuel(_) | ResumableCall::Interrupted(_))
}

/// As [`enter`]; what a call owes has been taken off the books already, and not from the store.
fn enter_resumed(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    pays: bool,
    what: impl FnOnce(&mut StoreContextMut<'_, Host>) -> Resumed,
) -> Result<Resumed> {
    if !pays {
        return enter(store, lane, Mode::Resumable, what);
    }
    let before = std::mem::replace(&mut store.data_mut().current, lane);
    store.data_mut().modes.push(Mode::Resumable);
    let done = what(store);
    store.data_mut().modes.pop();
    charge(store)?;
    store.data_mut().current = before;
    Ok(done)
}

/// Resumes a call as it cannot be, now and then; it must come back.
fn refusals(
    store: &mut StoreContextMut<'_, Host>,
    call: ResumableCall,
    inputs: &[Val],
    results: &mut [Val],
) -> Result<ResumableCall> {
    if !store.data_mut().choices.one_in(8) {
        return Ok(call);
    }
    let (resumed, expected) = match store.data_mut().choices.below(4) {
        0 => {
            let mut other = Store::new(store.engine(), ());
            (resume(&mut other, call, inputs, results), ResumeRefused::WrongStore)
        }
        1 if matches!(call, ResumableCall::HostTrap(_)) => {
            let mut more = inputs.to_vec();
            more.push(Val::I32(0));
            let expected =
                ResumeRefused::InputCount { expected: inputs.len(), found: inputs.len() + 1 };
            (resume(store.as_context_mut(), call, &more, results), expected)
        }
        2 if matches!(call, ResumableCall::HostTrap(_)) && !inputs.is_empty() => {
            let mut wrong = inputs.to_vec();
            let (index, expected) = (wrong.len() - 1, wrong[wrong.len() - 1].ty());
            let found = if expected == ValType::I32 { ValType::F64 } else { ValType::I32 };
            wrong[index] = Val::default_for_ty(found);
            let reason = ResumeRefused::InputType { index, expected, found };
            (resume(store.as_context_mut(), call, &wrong, results), reason)
        }
        3 if matches!(call, ResumableCall::HostTrap(_)) => {
            let mut more = results.to_vec();
            more.push(Val::I32(0));
            let (expected, found) = (results.len(), results.len() + 1);
            let expected = ResumeRefused::OutputCount { expected, found };
            (resume(store.as_context_mut(), call, inputs, &mut more), expected)
        }
        _ => return Ok(call),
    };
    charge(store)?;
    store.data_mut().seen.refused += 1;
    match resumed {
        Resumed::Refused(call, reason) if reason == expected => Ok(call),
        Resumed::Refused(_, reason) => bail!("refused with {reason:?} instead of {expected:?}"),
        Resumed::Went(_) => bail!("resumed, where {expected:?} was to be said"),
    }
}

/// Looks at a suspended call, and takes handles of some of its frames.
fn look(store: &mut StoreContextMut<'_, Host>, call: &ResumableCall) -> Result<Vec<FrameHandle>> {
    if !store.data_mut().choices.one_in(3) {
        return Ok(call.frames(&*store)?.take(1).collect());
    }
    let mut handles = Vec::new();
    for frame in call.frames(&*store)?.take(6) {
        frame.source(&*store)?;
        for local in frame.locals(&*store)? {
            std::hint::black_box(format!("{local:?}"));
        }
        for operand in frame.operands(&*store)? {
            std::hint::black_box(format!("{operand:?}"));
        }
        handles.push(frame);
    }
    let backtrace = match call {
        ResumableCall::HostTrap(call) => call.backtrace(&*store)?,
        ResumableCall::OutOfFuel(call) => call.backtrace(&*store)?,
        ResumableCall::Interrupted(call) => call.backtrace(&*store)?,
        ResumableCall::Finished => bail!("a finished call is no suspended one"),
    };
    ensure!(backtrace.frames().is_empty() == handles.is_empty(), "frames and backtrace differ");
    Ok(handles)
}

/// A host function calls another function, and carries it on, to its end; or it leaves the call,
/// if it can fail itself, and then there is no ending yet.
pub(super) fn run_nested(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    func: Func,
    number: u64,
    mode: Mode,
) -> Result<Option<Ending>> {
    let mut step = Task::start(store, lane, func, number)?;
    loop {
        let task = match step {
            Step::Ended(ended) => return Ok(Some(ended)),
            Step::Stopped(task) => task,
        };
        stir::stir(store)?;
        if mode == Mode::Resumable && store.data_mut().choices.one_in(3) {
            store.data_mut().lanes[lane].escaped = Some(task);
            return Ok(None);
        }
        step = task.step(store)?;
    }
}

/// Gives a store so much that it can be told from what it had, for a call to come.
pub(super) fn some_fuel(store: &mut StoreContextMut<'_, Host>, fuel: u64) -> Result<()> {
    match store.data_mut().choices.one_in(2) {
        true => set_fuel(store, fuel),
        false => add_fuel(store, fuel),
    }
}
