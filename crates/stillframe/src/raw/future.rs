//! Asynchronous calls and host functions, over suspended calls.
//!
//! ```text
//!   Func::call_async ── run ──► wasm ──► asynchronous host function: makes a future
//!                        ▲                    │ the call is suspended
//!                        └── poll ◄───────────┘ resumed when the future is ready
//! ```
//!
//! A host function's future borrows the store (its `Caller`), which `HostFuture` cannot say: the
//! lifetime is erased here. It lives in a `SuspendedCall`, and that only in [`run`], which has the
//! store mutably borrowed for longer: `run` drops the call before the borrow ends, and no suspended
//! call that waits for a future leaves it. The future of a function of dynamic type also borrows the
//! values beside it in [`DynamicWaiting`], which drops it first.

use super::call::{HostFunc, TypedHandle, with_params};
use super::cells::{Cells, cell_of, val_of};
use crate::caller::Caller;
use crate::context::{AsContextMut, StoreContextMut};
use crate::error;
use crate::into_func::Returned;
use crate::val::Val;
use anyhow::Result;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use stillframe_abi::Trap;
use stillframe_abi::types::{FuncType, ValType};
use stillframe_runtime::{
    CallError, Cause, FuncHandle, HostCall, HostCode, HostFuture, InstanceHandle, NotResumed,
    Outcome, RawValue, StoreCore,
};

/// A boxed future, as asynchronous host functions return it.
type Boxed<'a, R> = Box<dyn Future<Output = R> + Send + 'a>;

/// A host function whose results are `R`, waiting.
struct TypedWaiting<R>(Pin<Boxed<'static, R>>);

impl<R: Returned> HostFuture for TypedWaiting<R> {
    fn poll(
        &mut self,
        store: &mut StoreCore,
        values: &mut [RawValue],
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        self.0.as_mut().poll(context).map(|returned| {
            let results = returned.into_result()?;
            results.check(store, "host function result")?;
            results.store_to(store, values);
            Ok(())
        })
    }
}

/// A host function whose type is known at run time, waiting.
struct DynamicWaiting {
    /// Refers to the values below, so it is dropped before them, and before they are looked at.
    future: Option<Pin<Boxed<'static, Result<()>>>>,
    _params: Vec<Val>,
    results: Vec<Val>,
    ty: FuncType,
}

impl HostFuture for DynamicWaiting {
    fn poll(
        &mut self,
        store: &mut StoreCore,
        values: &mut [RawValue],
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let future = self.future.as_mut().expect("polled until it is ready");
        future.as_mut().poll(context).map(|returned| {
            self.future = None;
            returned?;
            for (i, (val, ty)) in self.results.iter().zip(self.ty.results()).enumerate() {
                values[i] = cell_of(store, *ty, val, || format!("host function result {i}"))?;
            }
            Ok(())
        })
    }
}

/// Lets a future's borrows be as long as one likes.
///
/// # Safety
///
/// The future is dropped, or never used again, before what it borrows ends.
unsafe fn erase<'a, R>(future: Boxed<'a, R>) -> Pin<Boxed<'static, R>> {
    // SAFETY: lent future: only the lifetime changes.
    let future = unsafe { std::mem::transmute::<Boxed<'a, R>, Boxed<'static, R>>(future) };
    Box::into_pin(future)
}

impl<T: Send + 'static> HostFunc<T> {
    /// An asynchronous host function of the type that follows from `P` and `R`.
    pub(crate) fn typed_async<P: Cells, R: Returned + 'static>(
        body: impl for<'a> Fn(Caller<'a, T>, P) -> Boxed<'a, R> + Send + Sync + 'static,
    ) -> HostFunc<T> {
        let types = <R::Results as Cells>::TYPES;
        let ty = FuncType::new(P::TYPES.iter().copied(), types.iter().copied());
        let code = move |HostCall { store, caller, values }: HostCall<'_>| {
            // SAFETY: checked values: the caller has stored parameters of the function's type.
            let params = unsafe { P::load(store, values) };
            let future = body(Caller::new(store, caller), params);
            // SAFETY: lent future: see the module's text.
            Box::new(TypedWaiting(unsafe { erase(future) })) as Box<dyn HostFuture>
        };
        HostFunc::new(ty, HostCode::asynchronous(code))
    }

    /// An asynchronous host function of type `ty`. What `body` stores as results is checked.
    pub(crate) fn dynamic_async(
        ty: FuncType,
        body: impl for<'a> Fn(Caller<'a, T>, &'a [Val], &'a mut [Val]) -> Boxed<'a, Result<()>>
        + Send
        + Sync
        + 'static,
    ) -> HostFunc<T> {
        let types = ty.clone();
        let code = move |HostCall { store, caller, values }: HostCall<'_>| {
            let cells = types.params().iter().zip(&*values);
            // SAFETY: checked values: the caller has stored parameters of the function's type.
            let params: Vec<Val> =
                cells.map(|(ty, cell)| unsafe { val_of(store, *ty, *cell) }).collect();
            let mut results: Vec<Val> =
                types.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
            // SAFETY: lent future: the vectors' elements stay where they are, are dropped after the
            // future, and are looked at only when the future is done.
            let (lent_params, lent_results) = unsafe {
                let (params, results) = (params.as_ptr(), results.as_mut_ptr());
                (
                    std::slice::from_raw_parts(params, types.params().len()),
                    std::slice::from_raw_parts_mut(results, types.results().len()),
                )
            };
            let future = body(Caller::new(store, caller), lent_params, lent_results);
            // SAFETY: lent future: see the module's text.
            let future = Some(unsafe { erase(future) });
            let ty = types.clone();
            Box::new(DynamicWaiting { future, _params: params, results, ty }) as Box<dyn HostFuture>
        };
        HostFunc::new(ty, HostCode::asynchronous(code))
    }
}

/// Runs a call to its end that `start` begins; it waits for host functions and yields. `results`
/// gets its results.
///
/// # Safety
///
/// `start` makes a call in asynchronous mode.
async unsafe fn run<T: Send + 'static, R>(
    mut store: StoreContextMut<'_, T>,
    start: impl FnOnce(&mut StoreCore) -> Result<Outcome<R>, CallError>,
    results: impl Fn(&StoreCore, &[RawValue]) -> R,
) -> Result<R> {
    let mut outcome = start(store.core).map_err(error::of_call)?;
    loop {
        let mut call = match outcome {
            Outcome::Finished(results) => return Ok(results),
            Outcome::Suspended(call) => call,
        };
        match call.cause() {
            Cause::Interrupted { .. } | Cause::Yielded { .. } => yield_now().await,
            Cause::HostFuture { .. } => {
                let store = &mut store;
                let poll =
                    |cx: &mut Context<'_>| store.as_context_mut().core.poll_host(&mut call, cx);
                if let Err(failed) = poll_fn(poll).await {
                    return Err(error::of_call(store.core.end_suspended(call, failed)));
                }
            }
            Cause::OutOfFuel { .. } => {
                let ended = store.core.end_suspended(call, Trap::OutOfFuel.into());
                return Err(error::of_call(ended));
            }
            Cause::HostTrap { .. } => unreachable!("asynchronous calls end in such errors"),
        }
        // SAFETY: lent future: without inputs; what it waited for is ready.
        outcome = match unsafe { store.core.resume(call, |_, _| (), &results) } {
            Ok(outcome) => outcome,
            Err(failed) => {
                return Err(error::of_call(match *failed {
                    NotResumed::Ended(ended) => ended,
                    // Its fuel has been looked at above, so it is the nesting.
                    NotResumed::Refused(call, _) => {
                        store.core.end_suspended(call, Trap::StackOverflow.into())
                    }
                }));
            }
        };
    }
}

/// Lets the executor do something else once.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Calls a function asynchronously, with values whose types are checked here.
pub(crate) async fn call_async<T: Send + 'static>(
    store: StoreContextMut<'_, T>,
    func: FuncHandle,
    params: &[Val],
    results: &mut [Val],
) -> Result<()> {
    let (ty, cells) = with_params(store.core, func, params, results.len(), |_, ty, cells| {
        Ok((ty.clone(), cells.to_vec()))
    })?;
    let load = |core: &StoreCore, cells: &[RawValue]| -> Vec<Val> {
        // SAFETY: checked values: the call has stored results of the function's type.
        let load = |(ty, cell): (&ValType, &RawValue)| unsafe { val_of(core, *ty, *cell) };
        ty.results().iter().zip(cells).map(load).collect()
    };
    let start = |core: &mut StoreCore| {
        let params = |_: &StoreCore, to: &mut [RawValue]| to.copy_from_slice(&cells);
        // SAFETY: checked values: `with_params` has checked each parameter's type and store, and
        // there are cells for parameters and results.
        unsafe { core.call_async(func, cells.len(), params, load) }
    };
    // SAFETY: lent future: the call above.
    results.copy_from_slice(&unsafe { run(store, start, load) }.await?);
    Ok(())
}

impl<P: Cells, R: Cells> TypedHandle<P, R> {
    /// Calls the function asynchronously.
    pub(crate) async fn call_async<T: Send + 'static>(
        &self,
        store: StoreContextMut<'_, T>,
        params: P,
    ) -> Result<R> {
        params.check(store.core, "argument")?;
        let func = self.func();
        // SAFETY: checked values: the call has stored results of the function's type.
        let results = |core: &StoreCore, cells: &[RawValue]| unsafe { R::load(core, cells) };
        let start = |core: &mut StoreCore| {
            let params = |core: &StoreCore, cells: &mut [RawValue]| params.store_to(core, cells);
            // SAFETY: checked values: the function's type was compared in `new`, so the cells are
            // of its parameters' types, and references are of this store, as checked; there are
            // cells for all parameters and results.
            unsafe { core.call_async(func, Self::CELLS, params, results) }
        };
        // SAFETY: lent future: the call above.
        unsafe { run(store, start, results) }.await
    }
}

/// Runs an instance's start function asynchronously, if it has one.
pub(crate) async fn start_async<T: Send + 'static>(
    store: StoreContextMut<'_, T>,
    instance: InstanceHandle,
) -> Result<()> {
    // SAFETY: lent future: the call is made in asynchronous mode.
    unsafe { run(store, |core| core.start_async(instance), |_, _| ()) }.await
}
