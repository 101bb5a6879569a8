//! Why a suspended call was not resumed, or how it ended.

use anyhow::Error;
use std::fmt;
use stillframe_abi::types::ValType;

/// Why `resume` did not give a call back that has finished or is suspended: either the call was
/// refused, and is here, unharmed; or it went on and ended in an error, as if that had happened in
/// [`Func::call`](crate::Func::call).
///
/// The operator `?` turns it into that error or, if it was refused, into the [`ResumeRefused`]; the
/// call is dropped then.
///
/// ```
/// use stillframe::{Config, Engine, Instance, Module, ResumeRefused, Store, TypedResumableCall};
///
/// # let engine = Engine::new(Config::new().consume_fuel(true))?;
/// # let module = Module::new(&engine, r#"(module (func (export "f") (loop (br 0))))"#)?;
/// # let mut store = Store::new(&engine, ());
/// # let instance = Instance::new(&mut store, &module, &[])?;
/// # let func = instance.get_typed_func::<(), ()>(&mut store, "f")?;
/// let TypedResumableCall::OutOfFuel(call) = func.call_resumable(&mut store, ())? else {
///     unreachable!("the store has no fuel")
/// };
/// let error = call.resume(&mut store).unwrap_err();
/// assert_eq!(error.reason(), Some(&ResumeRefused::NotEnoughFuel { required: 1, available: 0 }));
/// let call = error.into_call().expect("it was refused");
/// store.set_fuel(call.required_fuel())?;
/// assert!(matches!(call.resume(&mut store)?, TypedResumableCall::OutOfFuel(_)));
/// # stillframe::Result::<()>::Ok(())
/// ```
pub struct ResumeError<C>(Box<NotResumed<C>>);

/// Boxed, because what is returned each time should fit registers.
enum NotResumed<C> {
    Refused(C, ResumeRefused),
    Ended(Error),
}

/// Why a suspended call was not resumed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ResumeRefused {
    /// The call is of another store. That is what it says too when its own store is gone.
    WrongStore,
    /// The store has too little fuel.
    NotEnoughFuel {
        /// What it must have, in units.
        required: u64,
        /// What it has.
        available: u64,
    },
    /// There are more or fewer inputs than the host function has results.
    InputCount {
        /// The host function's results.
        expected: usize,
        /// The inputs.
        found: usize,
    },
    /// An input is of another type than the host function's result.
    InputType {
        /// Which input, from 0.
        index: usize,
        /// The result's type.
        expected: ValType,
        /// The input's type.
        found: ValType,
    },
    /// An input is a reference of another store.
    InputStore {
        /// Which input, from 0.
        index: usize,
    },
    /// There is room for more or fewer outputs than the called function has results.
    OutputCount {
        /// The function's results.
        expected: usize,
        /// The room for outputs.
        found: usize,
    },
    /// Too many calls are nested
    /// ([`Config::max_nested_calls`](crate::Config::max_nested_calls)), or too little is left of
    /// the host's stack ([`Config::host_stack_reserve`](crate::Config::host_stack_reserve)).
    NestedTooDeep,
}

impl fmt::Display for ResumeRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call was not resumed: ")?;
        match self {
            ResumeRefused::WrongStore => f.write_str("it is of another store"),
            ResumeRefused::NotEnoughFuel { required, available } => {
                write!(f, "it needs {required} units of fuel, and the store has {available}")
            }
            ResumeRefused::InputCount { expected, found } => {
                write!(f, "the host function has {expected} results, but there are {found} inputs")
            }
            ResumeRefused::InputType { index, expected, found } => {
                write!(f, "input {index}: expected `{expected}`, found `{found}`")
            }
            ResumeRefused::InputStore { index } => {
                write!(f, "input {index}: the reference is of another store")
            }
            ResumeRefused::OutputCount { expected, found } => {
                write!(f, "expected room for {expected} results, found room for {found}")
            }
            ResumeRefused::NestedTooDeep => f.write_str(
                "too many calls are nested, or too little is left of this thread's stack",
            ),
        }
    }
}

impl std::error::Error for ResumeRefused {}

impl<C> ResumeError<C> {
    pub(crate) fn refused(call: C, reason: ResumeRefused) -> ResumeError<C> {
        ResumeError(Box::new(NotResumed::Refused(call, reason)))
    }

    pub(crate) fn ended(error: Error) -> ResumeError<C> {
        ResumeError(Box::new(NotResumed::Ended(error)))
    }

    /// The call, as it was, if it was refused; then nothing was executed and nothing has changed.
    pub fn into_call(self) -> Option<C> {
        match *self.0 {
            NotResumed::Refused(call, _) => Some(call),
            NotResumed::Ended(_) => None,
        }
    }

    /// Why it was refused, if it was.
    pub fn reason(&self) -> Option<&ResumeRefused> {
        match &*self.0 {
            NotResumed::Refused(_, reason) => Some(reason),
            NotResumed::Ended(_) => None,
        }
    }

    /// What it ended in, or why it was refused; then the call is dropped.
    pub fn into_error(self) -> Error {
        match *self.0 {
            NotResumed::Refused(_, reason) => reason.into(),
            NotResumed::Ended(error) => error,
        }
    }

    #[cold]
    pub(crate) fn map<D>(self, wrap: impl FnOnce(C) -> D) -> ResumeError<D> {
        match *self.0 {
            NotResumed::Refused(call, reason) => ResumeError::refused(wrap(call), reason),
            NotResumed::Ended(error) => ResumeError::ended(error),
        }
    }
}

impl<C> From<ResumeError<C>> for Error {
    fn from(error: ResumeError<C>) -> Error {
        error.into_error()
    }
}

impl<C> fmt::Display for ResumeError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            NotResumed::Refused(_, reason) => reason.fmt(f),
            NotResumed::Ended(error) => error.fmt(f),
        }
    }
}

impl<C> fmt::Debug for ResumeError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            NotResumed::Refused(_, reason) => f.debug_tuple("Refused").field(reason).finish(),
            NotResumed::Ended(error) => f.debug_tuple("Ended").field(error).finish(),
        }
    }
}
