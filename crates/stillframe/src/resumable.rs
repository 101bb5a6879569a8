//! Resumable calls: calls that come back unfinished, and can go on.

use crate::context::{AsContext, AsContextMut};
use crate::func::Func;
use crate::into_func::WasmResults;
use crate::raw::Suspended;
use crate::val::Val;
use anyhow::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use stillframe_abi::types::ValType;
use stillframe_debug::WasmBacktrace;
use stillframe_runtime::Cause;

/// How a call came back that was made with [`Func::call_resumable`].
///
/// A call that has not finished is a value. It can be kept, looked at, sent to another thread,
/// resumed or dropped. Any number of calls can be suspended at once in a store, and be resumed in
/// any order. Dropping one gives up its stack and runs nothing.
///
/// ```
/// use stillframe::{Caller, Engine, Func, Instance, Module, ResumableCall, Store, Val, bail};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module
///         (import "host" "ask" (func $ask (result i32)))
///         (func (export "run") (result i32) (i32.add (call $ask) (call $ask))))
/// "#)?;
/// let mut store = Store::new(&engine, ());
/// let ask = Func::wrap(&mut store, || -> stillframe::Result<i32> { bail!("I have to ask") });
/// let instance = Instance::new(&mut store, &module, &[ask.into()])?;
/// let run = instance.get_func(&mut store, "run").unwrap();
///
/// let mut results = [Val::I32(0)];
/// let mut call = run.call_resumable(&mut store, &[], &mut results)?;
/// let mut answers = [40, 2].map(Val::I32).into_iter();
/// while let ResumableCall::HostTrap(asking) = call {
///     assert_eq!(asking.host_error().to_string(), "I have to ask");
///     call = asking.resume(&mut store, &[answers.next().unwrap()], &mut results)?;
/// }
/// assert_eq!(results[0].unwrap_i32(), 42);
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Debug)]
pub enum ResumableCall {
    /// The call has finished; its results have been stored.
    Finished,
    /// A host function returned an error.
    HostTrap(ResumableCallHostTrap),
    /// The store has too little fuel left.
    OutOfFuel(ResumableCallOutOfFuel),
    /// The epoch deadline was reached
    /// ([`Store::epoch_deadline_suspend`](crate::Store::epoch_deadline_suspend)).
    Interrupted(ResumableCallInterrupted),
}

/// How a call came back that was made with
/// [`TypedFunc::call_resumable`](crate::TypedFunc::call_resumable); see [`ResumableCall`].
///
/// ```
/// use stillframe::{Config, Engine, Instance, Module, Store, TypedResumableCall};
///
/// let engine = Engine::new(Config::new().consume_fuel(true))?;
/// let module = Module::new(&engine, r#"
///     (module (func (export "count") (param i32) (result i32) (local i32)
///         (loop $again
///             (local.set 1 (i32.add (local.get 1) (i32.const 1)))
///             (br_if $again (i32.lt_u (local.get 1) (local.get 0))))
///         (local.get 1)))
/// "#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let count = instance.get_typed_func::<i32, i32>(&mut store, "count")?;
///
/// let mut pauses = 0;
/// let mut call = count.call_resumable(&mut store, 1000)?;
/// let counted = loop {
///     call = match call {
///         TypedResumableCall::Finished(counted) => break counted,
///         TypedResumableCall::OutOfFuel(paused) => {
///             pauses += 1;
///             store.add_fuel(100.max(paused.required_fuel()))?;
///             paused.resume(&mut store)?
///         }
///         other => stillframe::bail!("{other:?}"),
///     };
/// };
/// assert_eq!(counted, 1000);
/// assert!(pauses > 50);
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Debug)]
pub enum TypedResumableCall<R> {
    /// The call has finished, with these results.
    Finished(R),
    /// A host function returned an error.
    HostTrap(TypedResumableCallHostTrap<R>),
    /// The store has too little fuel left.
    OutOfFuel(TypedResumableCallOutOfFuel<R>),
    /// The epoch deadline was reached
    /// ([`Store::epoch_deadline_suspend`](crate::Store::epoch_deadline_suspend)).
    Interrupted(TypedResumableCallInterrupted<R>),
}

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
            ResumeRefused::NestedTooDeep => f.write_str("too many calls are nested"),
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
    fn map<D>(self, wrap: impl FnOnce(C) -> D) -> ResumeError<D> {
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

impl ResumableCall {
    #[inline]
    pub(crate) fn new(suspended: Option<Suspended>) -> ResumableCall {
        let Some(call) = suspended else { return ResumableCall::Finished };
        match call.cause() {
            Cause::HostTrap { .. } | Cause::HostFuture { .. } => {
                ResumableCall::HostTrap(ResumableCallHostTrap(call))
            }
            Cause::OutOfFuel { .. } => ResumableCall::OutOfFuel(ResumableCallOutOfFuel(call)),
            Cause::Interrupted { .. } | Cause::Yielded { .. } => {
                ResumableCall::Interrupted(ResumableCallInterrupted(call))
            }
        }
    }
}

impl<R> TypedResumableCall<R> {
    #[inline]
    pub(crate) fn new(outcome: Result<R, Suspended>) -> TypedResumableCall<R> {
        let call = match outcome {
            Ok(results) => return TypedResumableCall::Finished(results),
            Err(suspended) => suspended,
        };
        match ResumableCall::new(Some(call)) {
            ResumableCall::Finished => unreachable!("it is suspended"),
            ResumableCall::HostTrap(call) => TypedResumableCall::HostTrap(call.typed()),
            ResumableCall::OutOfFuel(call) => TypedResumableCall::OutOfFuel(call.typed()),
            ResumableCall::Interrupted(call) => TypedResumableCall::Interrupted(call.typed()),
        }
    }
}

/// The kinds of suspended calls, untyped and typed.
macro_rules! suspended_calls {
    ($(
        $(#[$doc:meta])*
        $untyped:ident, $typed:ident, resume($($input:ident: $input_ty:ty)?) {
            $(#[$resume:meta])*
        }
    )*) => {$(
        $(#[$doc])*
        ///
        /// It is of one store, and keeps neither that nor its objects alive; when the store is
        /// gone, it can only be dropped.
        #[must_use = "a suspended call that is dropped is given up"]
        pub struct $untyped(Suspended);

        #[doc = concat!("As [`", stringify!($untyped), "`], with the type of its results.")]
        #[must_use = "a suspended call that is dropped is given up"]
        pub struct $typed<R> {
            call: $untyped,
            _results: PhantomData<fn() -> R>,
        }

        impl $untyped {
            /// The function that was called.
            pub fn func(&self) -> Func {
                Func(self.0.func())
            }

            /// Where it stands: the frames of this call, the innermost first.
            ///
            /// # Errors
            ///
            /// If it is of another store.
            pub fn backtrace(&self, store: impl AsContext) -> Result<WasmBacktrace> {
                let trace = self.0.trace(store.as_context().core);
                let trace = trace.ok_or_else(|| Error::msg("the call is of another store"))?;
                Ok(WasmBacktrace::new(trace, None))
            }

            $(#[$resume])*
            ///
            /// `outputs` must have as many elements as the called function has results; they are
            /// stored when it finishes.
            ///
            /// # Errors
            ///
            /// If it cannot be resumed: the error has the call, which is unharmed. If it goes on
            /// and ends in an error.
            ///
            /// # Panics
            ///
            /// If a host function panics: with its panic.
            pub fn resume(
                self,
                mut store: impl AsContextMut,
                $($input: $input_ty,)?
                outputs: &mut [Val],
            ) -> Result<ResumableCall, ResumeError<$untyped>> {
                let inputs: &[Val] = suspended_calls!(@inputs $($input)?);
                let resumed = self.0.resume(store.as_context_mut().core, inputs, outputs);
                resumed.map(ResumableCall::new).map_err(|error| error.map($untyped))
            }

            #[inline]
            fn typed<R>(self) -> $typed<R> {
                $typed { call: self, _results: PhantomData }
            }
        }

        impl<R> $typed<R> {
            $(#[$resume])*
            ///
            /// # Errors
            ///
            /// If it cannot be resumed: the error has the call, which is unharmed. If it goes on
            /// and ends in an error.
            ///
            /// # Panics
            ///
            /// If a host function panics: with its panic.
            pub fn resume(
                self,
                mut store: impl AsContextMut,
                $($input: $input_ty,)?
            ) -> Result<TypedResumableCall<R>, ResumeError<$typed<R>>>
            where
                R: WasmResults,
            {
                let inputs: &[Val] = suspended_calls!(@inputs $($input)?);
                let resumed = self.call.0.resume_typed(store.as_context_mut().core, inputs);
                let typed = |call| $untyped(call).typed();
                resumed.map(TypedResumableCall::new).map_err(|error| error.map(typed))
            }

            /// The call without the type of its results.
            pub fn into_untyped(self) -> $untyped {
                self.call
            }
        }

        impl<R> Deref for $typed<R> {
            type Target = $untyped;

            fn deref(&self) -> &$untyped {
                &self.call
            }
        }

        impl fmt::Debug for $untyped {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = f.debug_struct(stringify!($untyped));
                self.describe(&mut out);
                out.finish_non_exhaustive()
            }
        }

        impl<R> fmt::Debug for $typed<R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut out = f.debug_struct(stringify!($typed));
                self.describe(&mut out);
                out.finish_non_exhaustive()
            }
        }
    )*};
    (@inputs) => { &[] };
    (@inputs $input:ident) => { $input };
}

suspended_calls! {
    /// A call that stands in a host function that returned an error.
    ResumableCallHostTrap, TypedResumableCallHostTrap, resume(inputs: &[Val]) {
        /// Lets the call go on as if the host function had returned `inputs`.
    }

    /// A call that stands where it needs more fuel than the store has left.
    ResumableCallOutOfFuel, TypedResumableCallOutOfFuel, resume() {
        /// Lets the call go on. The store must have
        /// [`required_fuel`](ResumableCallOutOfFuel::required_fuel) units.
    }

    /// A call that stands where it has reached the epoch deadline.
    ResumableCallInterrupted, TypedResumableCallInterrupted, resume() {
        /// Lets the call go on, to its next checkpoint at least: also if the deadline has not been
        /// changed. If the store has no fuel left, the call comes back as
        /// [`OutOfFuel`](ResumableCall::OutOfFuel).
    }
}

impl ResumableCallHostTrap {
    /// The host function that returned the error. Its results are what `resume` wants.
    pub fn host_func(&self) -> Func {
        Func(self.0.host_func().expect("it stands in a host function"))
    }

    /// The error that it returned.
    pub fn host_error(&self) -> &Error {
        match self.0.cause() {
            Cause::HostTrap { error, .. } => error,
            _ => unreachable!("a call of this kind has an error"),
        }
    }

    /// The error that it returned; gives the call up.
    pub fn into_host_error(self) -> Error {
        self.0.into_host_error().expect("a call of this kind has an error")
    }

    fn describe(&self, out: &mut fmt::DebugStruct<'_, '_>) {
        out.field("host_error", &self.host_error().to_string());
    }
}

impl<R> TypedResumableCallHostTrap<R> {
    /// The error that the host function returned; gives the call up.
    pub fn into_host_error(self) -> Error {
        self.call.into_host_error()
    }
}

impl ResumableCallOutOfFuel {
    /// The least that the store must have, in units
    /// ([`Store::get_fuel`](crate::Store::get_fuel)), for the call to go on: the
    /// [overdraft](ResumableCallOutOfFuel::overdraft), and what its next step takes at least.
    #[inline]
    pub fn required_fuel(&self) -> u64 {
        self.0.cause().required_fuel()
    }

    /// Units that the call has executed beyond what the store had. They have not been taken from
    /// the store, which says that 0 are left; they are, when the call is resumed.
    ///
    /// Fuel is tested at checkpoints: at loops, calls and the like. How much is executed between two
    /// of them does not grow with the size of the module, only with the depth of the wasm stack.
    pub fn overdraft(&self) -> u64 {
        match self.0.cause() {
            Cause::OutOfFuel { overdraft, .. } => *overdraft,
            _ => unreachable!("a call of this kind has run out of fuel"),
        }
    }

    fn describe(&self, out: &mut fmt::DebugStruct<'_, '_>) {
        out.field("required_fuel", &self.required_fuel()).field("overdraft", &self.overdraft());
    }
}

impl ResumableCallInterrupted {
    fn describe(&self, _: &mut fmt::DebugStruct<'_, '_>) {}
}

// A suspended call can be kept, looked at and dropped by any thread.
const _: () = {
    const fn send_and_sync<C: Send + Sync>() {}
    send_and_sync::<ResumableCall>();
    send_and_sync::<TypedResumableCall<i32>>();
    send_and_sync::<ResumeError<ResumableCallHostTrap>>();
};
