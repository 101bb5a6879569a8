//! Suspended calls: calls that stopped and can go on.
//!
//! A suspended call owns the wasm stack that it stands on, and nothing of the store: it can be
//! kept, sent to another thread, and dropped, which gives the stack back and runs nothing. What it
//! needs to go on lies on the stack ([`WasmStack::standing`]); to go on is to put the activation
//! back on the store's list and to load the stack pointer.

use crate::activation::{CallError, Mode};
use crate::arch;
use crate::frames::{Copy, FrozenStack, Link};
use crate::metering::AtDeadline;
use crate::stack::WasmStack;
use crate::store::{FuncHandle, StoreCore, StoreId};
use crate::value::RawValue;
use anyhow::{Error, Result};
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll};
use stillframe_abi::Trap;
use stillframe_abi::vmctx::VMFuncRef;

/// How a call came back that can be suspended.
#[derive(Debug)]
pub enum Outcome<R> {
    /// It has returned, with these results.
    Finished(R),
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
    /// The epoch's deadline was reached.
    Interrupted {
        /// Units that must be left.
        need: i64,
    },
    /// A slice of fuel is used up.
    Yielded {
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
    /// The cells that receive its results, on the wasm stack.
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
        // SAFETY: own stack: the cells lie in the call's frames, or above them, on the stack that
        // it owns.
        unsafe { std::slice::from_raw_parts_mut(self.values.as_ptr(), self.cells as usize) }
    }
}

/// What is known of a call that can be suspended. It is kept with the stack that the call runs or
/// stands on, so that a suspended call can be handed around as one word.
pub(crate) struct CallRecord {
    /// The function that was called, and its store.
    pub(crate) func: FuncHandle,
    /// Number of cells at the top of the stack: the call's parameters and results.
    pub(crate) cells: u32,
    pub(crate) mode: Mode,
    /// Whether it stands in a host function that the host called straight: there are no frames.
    pub(crate) direct: bool,
    /// Why it is suspended; `None` while it runs.
    pub(crate) cause: Option<Cause>,
}

/// A call that stopped and can go on, by [`StoreCore::resume`]. Dropping it gives it up.
pub struct SuspendedCall {
    /// The stack, which nobody else uses; the call's record is there. `None` only while the call
    /// goes on or is dropped.
    stack: Option<Arc<WasmStack>>,
}

// SAFETY: own stack: the stack is memory that the call owns, and what is on it is not tied to a
// thread: wasm frames hold addresses of the store's objects and of the engine's code, which are
// used only when it goes on, with the store in hand. The pointer in `HostSite` points into that
// stack. `Cause` is made of an error and a future, which are `Send`.
unsafe impl Send for SuspendedCall {}
// SAFETY: own stack: a shared reference gives the cause's plain data, the error, which is `Sync`, and
// the future, whose only method needs more than a shared reference.
unsafe impl Sync for SuspendedCall {}

/// Why a suspended call was not resumed; it is unharmed, and nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It is of another store.
    WrongStore,
    /// The store has less fuel than what its cause says.
    NotEnoughFuel,
    /// There is no room on the host's stack, or too many calls are nested.
    NestedTooDeep,
}

/// Whether a call goes on that stands at a checkpoint.
enum Settled {
    GoOn,
    /// It stays suspended; its cause says why.
    Suspended,
    /// There is too little fuel. Nothing has changed.
    Refused,
    /// It ends.
    Ended(Error),
}

/// Why resuming did not give an [`Outcome`].
#[derive(Debug)]
pub enum NotResumed {
    /// Nothing was done.
    Refused(SuspendedCall, Refusal),
    /// It went on and ended in an error.
    Ended(CallError),
}

impl Cause {
    /// The fuel that the store must have for the call to go on, in units.
    #[inline]
    pub fn required_fuel(&self) -> u64 {
        match self {
            Cause::OutOfFuel { need, overdraft } => overdraft.saturating_add(*need as u64),
            Cause::Interrupted { need } | Cause::Yielded { need } => *need as u64,
            Cause::HostTrap { .. } | Cause::HostFuture { .. } => 0,
        }
    }
}

impl SuspendedCall {
    /// The call that is suspended on a stack which the caller owns.
    #[inline]
    pub(crate) fn new(stack: Arc<WasmStack>) -> SuspendedCall {
        SuspendedCall { stack: Some(stack) }
    }

    #[inline]
    pub(crate) fn stack(&self) -> &Arc<WasmStack> {
        self.stack.as_ref().expect("a suspended call has a stack")
    }

    #[inline]
    fn record(&self) -> &CallRecord {
        // SAFETY: own stack: the stack is ours, so nobody writes to this while we are borrowed.
        unsafe { (*self.stack().record()).as_ref() }.expect("the call has a record")
    }

    #[inline]
    fn record_mut(&mut self) -> &mut CallRecord {
        // SAFETY: own stack: the stack is ours, and we are borrowed mutably.
        unsafe { (*self.stack().record()).as_mut() }.expect("the call has a record")
    }

    /// The store that it is of.
    #[inline]
    pub fn store(&self) -> StoreId {
        self.record().func.store
    }

    /// Its frames, and the innermost of them; `None` if it has none.
    pub(crate) fn frozen(&self) -> Option<(FrozenStack<'_>, Link)> {
        let stack = self.stack();
        let at = (!self.record().direct).then(|| stack.standing())?;
        // SAFETY: frozen stack: the call is borrowed, so it is neither resumed nor given up, and it
        // owns the stack.
        let frozen = unsafe { FrozenStack::new(stack) };
        Some((frozen, Link { pc: at.pc, fp: at.fp }))
    }

    /// The function that was called.
    #[inline]
    pub fn func(&self) -> FuncHandle {
        self.record().func
    }

    /// Why it was suspended.
    #[inline]
    pub fn cause(&self) -> &Cause {
        self.record().cause.as_ref().expect("a suspended call has a cause")
    }

    /// The host function that it stands in.
    #[inline]
    pub fn host_func(&self) -> Option<FuncHandle> {
        match self.cause() {
            Cause::HostTrap { site, .. } | Cause::HostFuture { site, .. } => {
                Some(FuncHandle { store: self.store(), func_ref: site.func })
            }
            Cause::OutOfFuel { .. } | Cause::Interrupted { .. } | Cause::Yielded { .. } => None,
        }
    }

    /// The error that a host function returned; gives the call up.
    pub fn into_host_error(mut self) -> Option<Error> {
        match self.record_mut().cause.take() {
            Some(Cause::HostTrap { error, .. }) => Some(error),
            _ => None,
        }
    }
}

impl StoreCore {
    /// Lets a suspended call go on. `inputs` stores results in the cells of the host function that
    /// it stands in, if its cause is [`Cause::HostTrap`]. `results` gets its results when it
    /// finishes, in as many cells as the larger of the function's parameters and results.
    ///
    /// # Errors
    ///
    /// If it cannot go on, or ends in an error. Boxed, so that what is returned fits registers.
    ///
    /// # Panics
    ///
    /// If a host function panics: with its panic.
    ///
    /// # Safety
    ///
    /// `inputs` stores values of this store, of the types of the host function's results. If the
    /// cause is [`Cause::HostFuture`], [`StoreCore::poll_host`] has said that it is ready.
    #[inline]
    pub unsafe fn resume<R>(
        &mut self,
        mut call: SuspendedCall,
        inputs: impl FnOnce(&StoreCore, &mut [RawValue]),
        results: impl FnOnce(&StoreCore, &[RawValue]) -> R,
    ) -> Result<Outcome<R>, Box<NotResumed>> {
        if call.store() != self.id() {
            return Err(Box::new(NotResumed::Refused(call, Refusal::WrongStore)));
        }
        if !self.has_room() {
            return Err(Box::new(NotResumed::Refused(call, Refusal::NestedTooDeep)));
        }
        if let Some(Cause::HostTrap { site, .. }) = &call.record().cause {
            // SAFETY: own stack: the call is ours.
            inputs(self, unsafe { site.values() });
        }
        match self.settle(&mut call) {
            Settled::GoOn => {}
            Settled::Suspended => return Ok(Outcome::Suspended(call)),
            Settled::Refused => {
                return Err(Box::new(NotResumed::Refused(call, Refusal::NotEnoughFuel)));
            }
            Settled::Ended(error) => {
                return Err(Box::new(NotResumed::Ended(self.end_suspended(call, error))));
            }
        }
        let record = call.record_mut();
        record.cause = None;
        let (mode, direct, cells) = (record.mode, record.direct, record.cells);
        let stack = call.stack.take().expect("a suspended call has a stack");
        // It has nothing to give up any more.
        std::mem::forget(call);
        if direct {
            // SAFETY: own stack: the stack is ours.
            let values = results(self, unsafe { stack.cells(cells as usize).as_ref() });
            self.keep_stack(stack);
            return Ok(Outcome::Finished(values));
        }
        let sp = stack.standing().sp;
        self.begin_again(stack, mode);
        // SAFETY: stack switch: the activation was begun on the call's stack, which stands as it
        // was left, but for the cells of the host function's results.
        match unsafe { self.run(|limits| arch::resume(limits, sp)) } {
            Ok(left) => Ok(self.finish_or_suspend(left, cells, results)),
            Err(error) => Err(Box::new(NotResumed::Ended(error))),
        }
    }

    /// Tests anew what has suspended a call at a checkpoint: its fuel, and the epoch unless that has
    /// stopped it.
    #[inline]
    fn settle(&mut self, call: &mut SuspendedCall) -> Settled {
        let (need, tests_epoch, mut has_fuel) = match &mut call.record_mut().cause {
            Some(Cause::OutOfFuel { need, overdraft }) => {
                if self.pay(*overdraft, *need).is_none() {
                    return Settled::Refused;
                }
                *overdraft = 0;
                (*need, true, true)
            }
            Some(Cause::Yielded { need }) => (*need, true, false),
            Some(Cause::Interrupted { need }) => (*need, false, false),
            Some(Cause::HostTrap { .. } | Cause::HostFuture { .. }) | None => return Settled::GoOn,
        };
        if tests_epoch && self.deadline_reached() {
            match self.at_deadline_of(call) {
                // A callback may have used fuel, or taken it away.
                Ok(AtDeadline::GoOn) => has_fuel = false,
                Ok(AtDeadline::Suspend) => return Settled::Suspended,
                Ok(AtDeadline::Trap) => return Settled::Ended(Trap::Interrupt.into()),
                Err(error) => return Settled::Ended(error),
            }
        }
        has_fuel |= !self.engine().config().fuel;
        if !has_fuel && self.pay(0, need).is_none() {
            call.record_mut().cause = Some(Cause::OutOfFuel { need, overdraft: 0 });
            return Settled::Suspended;
        }
        Settled::GoOn
    }

    /// Polls the asynchronous host function that a call waits for. To it, the store is as it was
    /// when it was called: the frames of its callers are there. Ready with an error if there is no
    /// room on the host's stack.
    ///
    /// # Panics
    ///
    /// If the call waits for none, or is of another store. If the future panics: with its panic.
    pub fn poll_host(
        &mut self,
        call: &mut SuspendedCall,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        self.check(call.store(), "suspended call");
        if !self.has_room() {
            return Poll::Ready(Err(Trap::StackOverflow.into()));
        }
        let stack = call.stack().clone();
        let CallRecord { cause: Some(Cause::HostFuture { future, site }), mode, direct, .. } =
            call.record_mut()
        else {
            panic!("the call does not wait for a host function");
        };
        match direct {
            true => self.begin_direct(*mode),
            false => self.begin_again(stack, *mode),
        }
        let store: *mut StoreCore = self;
        let _guard = OnList(store);
        // SAFETY: lent store: the call is borrowed; the store is the one of `self`, which is not
        // used until the future has returned.
        unsafe { future.poll(&mut *store, site.values(), context) }
    }

    /// Does what is to be done at the epoch's deadline, where a suspended call stands; to an epoch
    /// callback it is running. Notes if it stays suspended.
    #[cold]
    fn at_deadline_of(&mut self, call: &mut SuspendedCall) -> Result<AtDeadline> {
        self.begin_again(call.stack().clone(), call.record().mode);
        let store: *mut StoreCore = self;
        let guard = OnList(store);
        // SAFETY: lent store: the store is the one of `self`, which is not used until this returns.
        let verdict = unsafe { (*store).at_deadline() };
        drop(guard);
        if let Ok(AtDeadline::Suspend) = verdict {
            let need = call.cause().required_fuel() as i64;
            call.record_mut().cause = Some(Cause::Interrupted { need });
        }
        verdict
    }

    /// Ends a suspended call with an error, as if that had happened where it stands.
    pub fn end_suspended(&mut self, call: SuspendedCall, error: Error) -> CallError {
        CallError { error, trace: self.trace_call(&call, Copy::Values).map(Box::new) }
    }
}

/// Has put a suspended call on the list of activations, and takes it off again, also when host
/// code panics.
struct OnList(*mut StoreCore);

impl Drop for OnList {
    fn drop(&mut self) {
        // SAFETY: lent store: made from a `&mut` that is not used while the guard lives, but by
        // host code, which has returned.
        unsafe { (*self.0).suspend() };
    }
}

impl Drop for SuspendedCall {
    fn drop(&mut self) {
        let Some(stack) = self.stack.take() else { return };
        // SAFETY: own stack: the stack is ours. What a host function was doing ends before its
        // caller's frames do.
        unsafe { *stack.record() = None };
        stack.release();
    }
}

impl std::fmt::Debug for SuspendedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SuspendedCall").field("func", &self.func()).finish_non_exhaustive()
    }
}
