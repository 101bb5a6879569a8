//! Resumable calls: calls that come back unfinished, and can go on.

use crate::context::{AsContext, AsContextMut, StoreContext};
use crate::frame::Frames;
use crate::func::Func;
use crate::into_func::WasmResults;
use crate::raw::Suspended;
use crate::resume_error::ResumeError;
use crate::val::Val;
use anyhow::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use stillframe_debug::WasmBacktrace;
use stillframe_runtime::{Cause, FrameError};

/// How a call came back that was made with [`Func::call_resumable`].
///
/// A call that has not finished is a value. It can be kept, looked at, sent to another thread,
/// resumed or dropped. Any number of calls can be suspended at once in a store, and be resumed in
/// any order. To resume one takes its store, on any thread; a [`Store`](crate::Store) is `Send` if
/// its data is. Dropping one gives up its stack and runs nothing.
///
/// Each has a wasm stack of its own: what it has touched of that is memory, and it takes two
/// mappings, of which Linux allows a process 65,530 unless told otherwise (`vm.max_map_count`), so
/// some 32,000 calls. One more is an error.
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
///
/// On another thread:
///
/// ```
/// use stillframe::{Config, Engine, Instance, Module, Store, TypedResumableCall};
///
/// let engine = Engine::new(Config::new().consume_fuel(true))?;
/// let module = Module::new(&engine, r#"
///     (module (func $f (export "f") (result i32) (call $g)) (func $g (result i32) i32.const 7))
/// "#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let f = instance.get_typed_func::<(), i32>(&mut store, "f")?;
/// let TypedResumableCall::OutOfFuel(call) = f.call_resumable(&mut store, ())? else {
///     panic!("the store has no fuel")
/// };
/// let there = std::thread::spawn(move || {
///     store.add_fuel(100)?;
///     Ok(call.resume(&mut store)?)
/// });
/// let resumed: stillframe::Result<TypedResumableCall<i32>> = there.join().unwrap();
/// assert!(matches!(resumed?, TypedResumableCall::Finished(7)));
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Debug)]
#[must_use = "a call that has not finished is given up when it is dropped"]
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
#[must_use = "a call that has not finished is given up when it is dropped"]
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

impl ResumableCall {
    /// Its frames, innermost first; see [`FrameHandle`](crate::FrameHandle). None if it has
    /// finished.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`].
    pub fn frames<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Frames<'a>, FrameError> {
        match self {
            ResumableCall::Finished => Ok(Frames::none()),
            ResumableCall::HostTrap(call) => call.frames(store),
            ResumableCall::OutOfFuel(call) => call.frames(store),
            ResumableCall::Interrupted(call) => call.frames(store),
        }
    }

    #[inline]
    pub(crate) fn new(suspended: Option<Suspended>) -> ResumableCall {
        let Some(call) = suspended else { return ResumableCall::Finished };
        match call.cause() {
            Cause::HostTrap { .. } => ResumableCall::HostTrap(ResumableCallHostTrap(call)),
            Cause::OutOfFuel { .. } => ResumableCall::OutOfFuel(ResumableCallOutOfFuel(call)),
            Cause::Interrupted { .. } => ResumableCall::Interrupted(ResumableCallInterrupted(call)),
            Cause::HostFuture { .. } | Cause::Yielded { .. } => {
                unreachable!("calls made by `call_async` stop so, and it keeps them")
            }
        }
    }
}

impl<R> TypedResumableCall<R> {
    /// Its frames, innermost first; see [`FrameHandle`](crate::FrameHandle). None if it has
    /// finished.
    ///
    /// # Errors
    ///
    /// [`FrameError::WrongStore`].
    pub fn frames<'a, T: 'static>(
        &'a self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> Result<Frames<'a>, FrameError> {
        match self {
            TypedResumableCall::Finished(_) => Ok(Frames::none()),
            TypedResumableCall::HostTrap(call) => call.frames(store),
            TypedResumableCall::OutOfFuel(call) => call.frames(store),
            TypedResumableCall::Interrupted(call) => call.frames(store),
        }
    }

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

            /// Its frames, innermost first; see [`FrameHandle`](crate::FrameHandle). They stay
            /// frozen until the call goes on, ends or is dropped.
            ///
            /// # Errors
            ///
            /// [`FrameError::WrongStore`].
            pub fn frames<'a, T: 'static>(
                &'a self,
                store: impl Into<StoreContext<'a, T>>,
            ) -> Result<Frames<'a>, FrameError> {
                self.0.frames(store.into().core).map(Frames::new)
            }

            $(#[$resume])*
            ///
            /// `outputs` must have as many elements as the called function has results; they are
            /// stored when it finishes.
            ///
            /// # Errors
            ///
            /// If it is refused ([`ResumeError::reason`] says why): [`ResumeError::into_call`] gives
            /// the call back, unharmed. If it goes on and ends in an error.
            ///
            /// # Panics
            ///
            /// If a host function or an epoch callback panics: with its panic. The call is gone
            /// then.
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
            /// If it is refused ([`ResumeError::reason`] says why): [`ResumeError::into_call`] gives
            /// the call back, unharmed. If it goes on and ends in an error.
            ///
            /// # Panics
            ///
            /// If a host function or an epoch callback panics: with its panic. The call is gone
            /// then.
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
        /// [`required_fuel`](ResumableCallOutOfFuel::required_fuel) units. If the epoch deadline
        /// has been reached, the call comes back as [`Interrupted`](ResumableCall::Interrupted), or
        /// ends, before it executes anything; its overdraft is paid then.
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
    /// the store, which says that 0 are left; they are, when the call is resumed. If it is dropped,
    /// nobody pays them; [`Store::fuel_consumed`](crate::Store::fuel_consumed) has counted them.
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
