//! Resumable calls: suspended ones carry values that are checked when they go on.

use super::call::{TypedHandle, with_params};
use super::cells::{Cells, cell_of, load_results};
use crate::error;
use crate::resume_error::{ResumeError, ResumeRefused};
use crate::val::Val;
use anyhow::{Error, Result};
use stillframe_abi::types::FuncType;
use stillframe_runtime::{
    Cause, FrameError, Frames, FuncHandle, Outcome, RawValue, Refusal, StoreCore, SuspendedCall,
    Trace,
};

/// A call that stopped and can go on.
#[derive(Debug)]
pub(crate) struct Suspended(SuspendedCall);

impl Suspended {
    /// The function that was called.
    #[inline]
    pub(crate) fn func(&self) -> FuncHandle {
        self.0.func()
    }

    #[inline]
    pub(crate) fn cause(&self) -> &Cause {
        self.0.cause()
    }

    /// The host function that it stands in.
    #[inline]
    pub(crate) fn host_func(&self) -> Option<FuncHandle> {
        self.0.host_func()
    }

    pub(crate) fn into_host_error(self) -> Option<Error> {
        self.0.into_host_error()
    }

    /// Where it stands; `None` if it is of another store.
    pub(crate) fn trace(&self, core: &StoreCore) -> Option<Trace> {
        core.trace_suspended(&self.0)
    }

    /// Its frames.
    pub(crate) fn frames<'a>(&'a self, core: &'a StoreCore) -> Result<Frames<'a>, FrameError> {
        core.frames_of_suspended(&self.0)
    }

    /// Lets it go on with these values as results of the host function that it stands in. `Ok`
    /// without a value means that it has finished, and that `outputs` are its results.
    pub(crate) fn resume(
        self,
        core: &mut StoreCore,
        inputs: &[Val],
        outputs: &mut [Val],
    ) -> Result<Option<Suspended>, ResumeError<Suspended>> {
        if self.0.store() != core.id() {
            return Err(self.refused(ResumeRefused::WrongStore));
        }
        let ty = core.func_type(self.0.func());
        let (expected, found) = (ty.results().len(), outputs.len());
        if expected != found {
            return Err(self.refused(ResumeRefused::OutputCount { expected, found }));
        }
        let results = |core: &StoreCore, cells: &[RawValue]| {
            // SAFETY: checked values: the call has finished, with results of the function's type.
            unsafe { load_results(core, &ty, cells, outputs) };
        };
        self.resume_with(core, inputs, results).map(Result::err)
    }

    /// The same for a call whose results are known to be `R`.
    #[inline]
    pub(crate) fn resume_typed<R: Cells>(
        self,
        core: &mut StoreCore,
        inputs: &[Val],
    ) -> Result<Result<R, Suspended>, ResumeError<Suspended>> {
        let results = |core: &StoreCore, cells: &[RawValue]| {
            // SAFETY: checked values: the call has finished; its function's results are `R`, as
            // `call_resumable` of a `TypedHandle` made it.
            unsafe { R::load(core, cells) }
        };
        self.resume_with(core, inputs, results)
    }

    /// Lets it go on; `results` gets its results.
    #[inline]
    fn resume_with<R>(
        self,
        core: &mut StoreCore,
        inputs: &[Val],
        results: impl FnOnce(&StoreCore, &[RawValue]) -> R,
    ) -> Result<Result<R, Suspended>, ResumeError<Suspended>> {
        if self.0.store() != core.id() {
            return Err(self.refused(ResumeRefused::WrongStore));
        }
        let host = self.0.host_func().map(|host| core.func_type(host));
        if let Some(ty) = &host
            && let Err(reason) = check_inputs(core, ty, inputs)
        {
            return Err(self.refused(reason));
        }
        let inputs = |core: &StoreCore, cells: &mut [RawValue]| {
            let types = host.iter().flat_map(|ty| ty.results());
            for (cell, (input, ty)) in cells.iter_mut().zip(inputs.iter().zip(types)) {
                *cell = cell_of(core, *ty, input, || "input").expect("checked above");
            }
        };
        // SAFETY: checked values: the inputs have been checked against the host function's results;
        // only calls made by `call_async` wait for futures, and those are not resumed here.
        let resumed = unsafe { core.resume(self.0, inputs, results) };
        match resumed {
            Ok(Outcome::Finished(results)) => Ok(Ok(results)),
            Ok(Outcome::Suspended(call)) => Ok(Err(Suspended(call))),
            Err(error) => Err(not_resumed(core, *error)),
        }
    }

    #[cold]
    fn refused(self, reason: ResumeRefused) -> ResumeError<Suspended> {
        ResumeError::refused(self, reason)
    }
}

#[cold]
fn not_resumed(core: &StoreCore, error: stillframe_runtime::NotResumed) -> ResumeError<Suspended> {
    let (call, why) = match error {
        stillframe_runtime::NotResumed::Ended(error) => {
            return ResumeError::ended(error::of_call(error));
        }
        stillframe_runtime::NotResumed::Refused(call, why) => (call, why),
    };
    let reason = match why {
        Refusal::WrongStore => ResumeRefused::WrongStore,
        Refusal::NestedTooDeep => ResumeRefused::NestedTooDeep,
        Refusal::NotEnoughFuel => ResumeRefused::NotEnoughFuel {
            required: call.cause().required_fuel(),
            available: core.fuel(),
        },
    };
    Suspended(call).refused(reason)
}

/// Whether these can be the results of a host function of type `ty`.
fn check_inputs(core: &StoreCore, ty: &FuncType, inputs: &[Val]) -> Result<(), ResumeRefused> {
    let (expected, found) = (ty.results().len(), inputs.len());
    if expected != found {
        return Err(ResumeRefused::InputCount { expected, found });
    }
    for (index, (input, &expected)) in inputs.iter().zip(ty.results()).enumerate() {
        let found = input.ty();
        if found != expected {
            return Err(ResumeRefused::InputType { index, expected, found });
        }
        if input.store().is_some_and(|store| store != core.id()) {
            return Err(ResumeRefused::InputStore { index });
        }
    }
    Ok(())
}

/// Calls a function resumably, with values whose types are checked here.
pub(crate) fn call_resumable(
    core: &mut StoreCore,
    func: FuncHandle,
    params: &[Val],
    results: &mut [Val],
) -> Result<Option<Suspended>> {
    with_params(core, func, params, results.len(), |core, ty, cells| {
        let params = |_: &StoreCore, to: &mut [RawValue]| to.copy_from_slice(cells);
        let results = |core: &StoreCore, cells: &[RawValue]| {
            // SAFETY: checked values: the call has stored results of the function's type.
            unsafe { load_results(core, ty, cells, results) };
        };
        // SAFETY: checked values: `with_params` has checked each parameter's type and store, and
        // there are cells for parameters and results.
        let called = unsafe { core.call_resumable(func, cells.len(), params, results) };
        match called.map_err(error::of_call)? {
            Outcome::Finished(()) => Ok(None),
            Outcome::Suspended(call) => Ok(Some(Suspended(call))),
        }
    })
}

impl<P: Cells, R: Cells> TypedHandle<P, R> {
    /// Calls the function resumably: its results, or the call that can go on.
    #[inline]
    pub(crate) fn call_resumable(
        &self,
        core: &mut StoreCore,
        params: P,
    ) -> Result<Result<R, Suspended>> {
        params.check(core, "argument")?;
        let params = |core: &StoreCore, cells: &mut [RawValue]| params.store_to(core, cells);
        // SAFETY: checked values: the call has stored results of the function's type.
        let results = |core: &StoreCore, cells: &[RawValue]| unsafe { R::load(core, cells) };
        // SAFETY: checked values: the function's type was compared in `new`, so the cells are of
        // its parameters' types, and references are of this store, as checked; there are cells for
        // all parameters and results.
        match unsafe { core.call_resumable(self.func(), Self::CELLS, params, results) } {
            Ok(Outcome::Finished(results)) => Ok(Ok(results)),
            Ok(Outcome::Suspended(call)) => Ok(Err(Suspended(call))),
            Err(error) => Err(error::of_call(error)),
        }
    }
}
