//! Suspended calls: calls that stopped and can go on.
//!
//! A suspended call owns the wasm stack that it stands on, and nothing of the store: it can be
//! kept, sent to another thread, and dropped, which gives the stack back and runs nothing. What it
//! needs to go on lies on the stack ([`WasmStack::standing`]); to go on is to put the activation
//! back on the store's list and to load the stack pointer.

use crate::activation::{CallError, Mode};
use crate::arch;
use crate::frames::Trace;
use crate::stack::WasmStack;
use crate::store::{FuncHandle, StoreCore, StoreId};
use crate::traps;
use crate::value::RawValue;
use anyhow::{Error, Result};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};
use stillframe_abi::vmctx::VMFuncRef;

/// How a call came back that can be suspended.
#[derive(Debug)]
pub enum Outcome {
    /// It has returned.
    Finished,
    /// It can go on later.
    Suspended(SuspendedCall),
}

/// Why a call was suspended.
pub enum Cause {
    /// A host function returned an error.
    HostTrap {
        /// The error.
        error: Error,
        /// The host function's call.
        site: HostSite,
    },
    /// It waits for an asynchronous host function.
    HostFuture {
        /// What it waits for.
        future: Box<dyn HostFuture>,
        /// The host function's call.
        site: HostSite,
    },
    /// Too little fuel is left.
    OutOfFuel {
        /// Units that must be left when the overdraft is paid.
        need: i64,
        /// Units that were executed and could not be charged to the store.
        overdraft: u64,
    },
    /// The epoch's deadline was reached, or a slice of fuel is used up.
    Interrupted {
        /// Units that must be left.
        need: i64,
    },
}

/// An asynchronous host function that has been called.
///
/// It lives in a [`SuspendedCall`] and is dropped with it, so nothing of the store is used then but
/// by the destructor of what the embedder wrote.
pub trait HostFuture: Send {
    /// Polls it. When it is ready without an error, the results are in the cells, which are at
    /// least as many.
    fn poll(
        &mut self,
        store: &mut StoreCore,
        values: &mut [RawValue],
        context: &mut Context<'_>,
    ) -> Poll<Result<()>>;
}

/// The call of a host function that has not returned.
#[derive(Clone, Copy, Debug)]
pub struct HostSite {
    /// The host function, of the suspended call's store.
    pub(crate) func: NonNull<VMFuncRef>,
    /// The cells that receive its results: on the wasm stack, or in [`Place::Host`].
    pub(crate) values: NonNull<RawValue>,
    pub(crate) cells: u32,
}

impl HostSite {
    /// The cells.
    ///
    /// # Safety
    ///
    /// The suspended call that the site is of is borrowed for as long.
    unsafe fn values<'a>(self) -> &'a mut [RawValue] {
        // SAFETY: the cells lie in the call's frames or in its `Place::Host`, which it owns.
        unsafe { std::slice::from_raw_parts_mut(self.values.as_ptr(), self.cells as usize) }
    }
}

/// Where a suspended call stands.
enum Place {
    /// On a wasm stack, which nobody else uses.
    Wasm(Arc<WasmStack>),
    /// In a host function that the host called straight, with these cells.
    Host(Vec<RawValue>),
}

/// A call that stopped and can go on, by [`StoreCore::resume`]. Dropping it gives it up.
pub struct SuspendedCall {
    /// The function that was called, and its store.
    func: FuncHandle,
    cause: Cause,
    /// `None` only while it goes on or is dropped.
    place: Option<Place>,
    /// Number of cells that the call was made with.
    cells: u32,
    mode: Mode,
}

// It is moved through several hands each time.
const _: () = assert!(size_of::<SuspendedCall>() <= 96);

// SAFETY: the stack is memory that the call owns, and what is on it is not tied to a thread: wasm
// frames hold addresses of the store's objects and of the engine's code, which are used only when
// it goes on, with the store in hand. The pointer in `HostSite` points into that stack, or into
// `Place::Host`. `Cause` is made of an error and a future, which are `Send`.
unsafe impl Send for SuspendedCall {}
// SAFETY: a shared reference gives the cause's plain data and the error, which is `Sync`; the
// future cannot be reached through it.
unsafe impl Sync for SuspendedCall {}

/// Why a suspended call was not resumed; it is unharmed, and nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is of another store.
    WrongStore,
    /// The store has less fuel than what is needed to go on.
    NotEnoughFuel {
        /// What is needed.
        required: u64,
        /// What is left in the store.
        available: u64,
    },
    /// There is no room on the host's stack, or too many calls are nested.
    NestedTooDeep,
}

/// Why resuming did not give an [`Outcome`].
#[derive(Debug)]
pub enum ResumeError {
    /// Nothing was done.
    Refused(SuspendedCall, Refusal),
    /// It went on and ended in an error.
    Ended(CallError),
}

impl SuspendedCall {
    #[inline]
    pub(crate) fn new(
        func: FuncHandle,
        stack: Arc<WasmStack>,
        cells: u32,
        mode: Mode,
        cause: Cause,
    ) -> SuspendedCall {
        SuspendedCall { func, cause, place: Some(Place::Wasm(stack)), cells, mode }
    }

    /// A host function that the host called straight, with a copy of these cells. `cause` gets the
    /// site of the call.
    pub(crate) fn direct(
        func: FuncHandle,
        values: &[RawValue],
        mode: Mode,
        cause: impl FnOnce(HostSite) -> Cause,
    ) -> SuspendedCall {
        let mut values = values.to_vec();
        let cells = values.len() as u32;
        let first = NonNull::new(values.as_mut_ptr()).expect("a vector's pointer");
        let cause = cause(HostSite { func: func.func_ref, values: first, cells });
        SuspendedCall { func, cause, place: Some(Place::Host(values)), cells, mode }
    }

    /// The store that it is of.
    pub fn store(&self) -> StoreId {
        self.func.store
    }

    /// The function that was called.
    pub fn func(&self) -> FuncHandle {
        self.func
    }

    /// Why it was suspended.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// The host function that it stands in.
    pub fn host_func(&self) -> Option<FuncHandle> {
        match &self.cause {
            Cause::HostTrap { site, .. } | Cause::HostFuture { site, .. } => {
                Some(FuncHandle { store: self.func.store, func_ref: site.func })
            }
            Cause::OutOfFuel { .. } | Cause::Interrupted { .. } => None,
        }
    }

    /// The error that a host function returned; gives the call up.
    pub fn into_host_error(mut self) -> Option<Error> {
        match self.take_cause() {
            Cause::HostTrap { error, .. } => Some(error),
            _ => None,
        }
    }

    fn take_cause(&mut self) -> Cause {
        std::mem::replace(&mut self.cause, Cause::Interrupted { need: 0 })
    }
}

impl StoreCore {
    /// Lets a suspended call go on. `inputs` are the results of the host function that it stands
    /// in, if its cause is [`Cause::HostTrap`]. `values` receives the results if it finishes.
    ///
    /// # Errors
    ///
    /// If it cannot go on, or ends in an error.
    ///
    /// # Panics
    ///
    /// If there are more inputs than the host function has cells, or more values than the call. If
    /// a host function panics: with its panic.
    ///
    /// # Safety
    ///
    /// The inputs are values of this store, of the types of the host function's results; `values`
    /// has no more cells than the called function has results. If the cause is
    /// [`Cause::HostFuture`], [`StoreCore::poll_host`] has said that it is ready.
    #[inline]
    pub unsafe fn resume(
        &mut self,
        mut call: SuspendedCall,
        inputs: &[RawValue],
        values: &mut [RawValue],
    ) -> Result<Outcome, ResumeError> {
        if call.store() != self.id() {
            return Err(ResumeError::Refused(call, Refusal::WrongStore));
        }
        if !self.has_room() {
            return Err(ResumeError::Refused(call, Refusal::NestedTooDeep));
        }
        match &mut call.cause {
            Cause::HostTrap { site, .. } => {
                // SAFETY: the call is ours.
                unsafe { site.values()[..inputs.len()].copy_from_slice(inputs) };
            }
            Cause::HostFuture { .. } => {}
            Cause::OutOfFuel { need, overdraft } => {
                if self.pay(*overdraft, *need).is_none() {
                    let required = overdraft.saturating_add(*need as u64);
                    let available = self.fuel();
                    let why = Refusal::NotEnoughFuel { required, available };
                    return Err(ResumeError::Refused(call, why));
                }
            }
            Cause::Interrupted { need } => {
                if self.engine().config().fuel && self.pay(0, *need).is_none() {
                    call.cause = Cause::OutOfFuel { need: *need, overdraft: 0 };
                    return Ok(Outcome::Suspended(call));
                }
            }
        }
        let stack = match call.place.take().expect("a suspended call stands somewhere") {
            Place::Wasm(stack) => stack,
            Place::Host(results) => {
                values.copy_from_slice(&results[..values.len()]);
                return Ok(Outcome::Finished);
            }
        };
        assert!(values.len() <= call.cells as usize, "more cells than results");
        traps::prepare_thread();
        let (func, cells, mode) = (call.func, call.cells, call.mode);
        drop(call);
        let sp = stack.standing().sp;
        self.begin_again(stack, mode);
        // SAFETY: the activation was begun on the call's stack, which stands as it was left, but
        // for the cells of the host function's results.
        let left = unsafe { self.run(|limits| arch::resume(limits, sp)) };
        match left {
            Ok(left) => Ok(self.left(left, func, cells, values)),
            Err(error) => Err(ResumeError::Ended(error)),
        }
    }

    /// Polls the asynchronous host function that a call waits for. To it, the store is as it was
    /// when it was called: the frames of its callers are there.
    ///
    /// # Panics
    ///
    /// If the call waits for none, or is of another store. If the future panics: with its panic.
    pub fn poll_host(
        &mut self,
        call: &mut SuspendedCall,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        /// Takes the activation off the list again, also when the future panics.
        struct Guard(*mut StoreCore);
        impl Drop for Guard {
            fn drop(&mut self) {
                // SAFETY: made from the `&mut` below, which is not used while the guard lives, but
                // by the future, which has returned.
                unsafe { (*self.0).suspend() };
            }
        }

        self.check(call.store(), "suspended call");
        let Cause::HostFuture { future, site } = &mut call.cause else {
            panic!("the call does not wait for a host function");
        };
        match &call.place {
            Some(Place::Wasm(stack)) => self.begin_again(stack.clone(), call.mode),
            Some(Place::Host(_)) | None => self.begin_direct(call.mode),
        }
        let store: *mut StoreCore = self;
        let _guard = Guard(store);
        // SAFETY: the call is borrowed; the store is the one of `self`, which is not used until the
        // future has returned.
        unsafe { future.poll(&mut *store, site.values(), context) }
    }

    /// Ends a suspended call with an error, as if that had happened where it stands.
    pub fn end_suspended(&self, call: SuspendedCall, error: Error) -> CallError {
        CallError { error, trace: self.trace_suspended(&call) }
    }

    /// The frames of a suspended call, innermost first; `None` if it is of another store.
    pub fn trace_suspended(&self, call: &SuspendedCall) -> Option<Trace> {
        if call.store() != self.id() {
            return None;
        }
        Some(match &call.place {
            Some(Place::Wasm(stack)) => Trace::of_standing(stack, stack.standing()),
            Some(Place::Host(_)) | None => Trace::default(),
        })
    }

    /// The frames of all calls of this store that are suspended now, each innermost first. Other
    /// threads may drop such calls meanwhile.
    pub fn traces_of_suspended(&self) -> Vec<Trace> {
        let mut seen = std::collections::HashSet::new();
        let stacks = self.suspended.iter().filter(|stack| seen.insert(stack.as_ptr()));
        let looked =
            stacks.filter_map(|stack| stack.upgrade()?.look(self.id(), Trace::of_standing));
        looked.collect()
    }
}

impl Drop for SuspendedCall {
    fn drop(&mut self) {
        if let Some(Place::Wasm(stack)) = self.place.take() {
            // What the host function was doing ends before its caller's frames do.
            drop(self.take_cause());
            stack.release();
        }
    }
}

impl std::fmt::Debug for SuspendedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SuspendedCall").field("func", &self.func).finish_non_exhaustive()
    }
}
