//! The run that is cut, as futures: asynchronous calls that wait for asynchronous host functions,
//! yield, and are polled on any thread.

use super::guest::{Guest, choices_of};
use super::host::{
    self, Host, Mode, PLENTY, called, charge, differs, nested, nested_ended, set_fuel,
};
use super::state::{Called, Ending, Left, Run, check};
use super::values::{show_all, values};
use super::{Outcome, cut, stir};
use crate::Choices;
use crate::threads::hop;
use anyhow::{Result, ensure};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use stillframe::{
    AsContextMut, Caller, Engine, Func, FuncType, Instance, Module, Store, StoreContextMut, Val,
};

/// Runs a guest. No runs if they cannot be compared.
pub(super) async fn run(
    guest: Guest,
    mut choices: Choices<'static>,
) -> Result<(Vec<Run>, Outcome)> {
    // In one guest of four, one of the calls is dropped after some polls.
    let cancelled =
        choices.one_in(4).then(|| (choices.below(guest.calls + 1), choices.below(4) as u64));
    let mut outside = choices_of(choices.number());
    let host = Host::new(guest.settings.clone(), guest.seed, Some(choices), 1, guest.calls);
    let mut store = host::store(&guest.cut, host);
    // So that nothing else carries its calls on.
    store.data_mut().lanes[0].is_running = true;
    let engine = guest.cut.engine().clone();
    let imports = host::imports(&mut store.as_context_mut(), &guest.cut, 0, func)?;
    prepare(&mut store.as_context_mut())?;
    let limit = |call| cancelled.filter(|(at, _)| *at == call).map(|(_, polls)| polls);
    let instantiating = instantiate(&mut store, &guest.cut, &imports);
    let Some(instance) = watch(instantiating, &engine, &mut outside, limit(0)).await else {
        return cancelled_run(store);
    };
    let mut run = cut::empty(&guest, Ok(()));
    check(store.data_mut())?;
    match instance? {
        Ok(instance) => host::instantiated(&mut store.as_context_mut(), 0, instance)?,
        Err(error) => {
            run.instantiated = store.data_mut().ended(&error).map(|_| ());
        }
    }
    let calls = if store.data().lanes[0].instance.is_some() { guest.calls } else { 0 };
    for call in 0..calls {
        prepare(&mut store.as_context_mut())?;
        let lane = &store.data().lanes[0];
        let ((name, func), before) = (lane.funcs[call].clone(), lane.consumed);
        let calling = call_async(&mut store, func, 1 << 33 | call as u64);
        let Some(ended) = watch(calling, &engine, &mut outside, limit(call + 1)).await else {
            return cancelled_run(store);
        };
        check(store.data_mut())?;
        if store.data().gave_up {
            return Ok((Vec::new(), store.data().seen));
        }
        let consumed = store.data().lanes[0].consumed - before;
        run.calls.push(Called { name, ended: ended?, consumed });
        stir::stir(&mut store.as_context_mut())?;
    }
    cut::is_idle(&store)?;
    run.log = std::mem::take(&mut store.data_mut().lanes[0].log);
    if let Some(instance) = store.data().lanes[0].instance {
        run.left = Left::of(&mut store, 0, instance);
    }
    Ok((vec![run], store.data().seen))
}

/// A call was dropped before it was done: the store must be as if it had ended in an error.
fn cancelled_run(mut store: Store<Host>) -> Result<(Vec<Run>, Outcome)> {
    check(store.data_mut())?;
    store.data_mut().modes.clear();
    charge(&mut store.as_context_mut())?;
    cut::is_idle(&store)?;
    store.data_mut().seen.cancelled += 1;
    Ok((Vec::new(), store.data().seen))
}

/// Polls a future, and lets epochs pass between; `None` if it is dropped, after so many polls.
async fn watch<R>(
    future: impl Future<Output = Result<R>> + Send,
    engine: &Engine,
    choices: &mut Choices<'static>,
    limit: Option<u64>,
) -> Option<Result<R>> {
    let mut future = pin!(future);
    let mut polls = 0;
    poll_fn(|context| {
        if limit == Some(polls) {
            return Poll::Ready(None);
        }
        polls += 1;
        if choices.one_in(3) {
            engine.increment_epoch();
        }
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// An asynchronous call is to be made: it must not run out of fuel, nor yield too often.
fn prepare(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    set_fuel(store, PLENTY)?;
    if store.data().settings.fuel {
        let interval = store.data_mut().choices.pick(&[None, Some(50), Some(1000), Some(50_000)]);
        store.fuel_async_yield_interval(interval)?;
    }
    stir::epoch_action_later(store);
    Ok(())
}

async fn instantiate(
    store: &mut Store<Host>,
    module: &Module,
    imports: &[stillframe::Extern],
) -> Result<Result<Instance>> {
    begin(&mut store.as_context_mut())?;
    let instance = Instance::new_async(&mut *store, module, imports).await;
    end(&mut store.as_context_mut())?;
    Ok(instance)
}

async fn call_async(
    mut store: impl AsContextMut<Data = Host> + Send,
    func: Func,
    number: u64,
) -> Result<Ending> {
    let ty = func.ty(&store);
    let args = values(&mut store.as_context_mut(), 0, number, ty.params());
    let mut results = vec![Val::I32(0); ty.results().len()];
    begin(&mut store.as_context_mut())?;
    let ended = func.call_async(&mut store, &args, &mut results).await;
    end(&mut store.as_context_mut())?;
    Ok(match ended {
        Ok(()) => Ok(show_all(&store, 0, &results)),
        Err(error) => store.as_context_mut().data_mut().ended(&error),
    })
}

fn begin(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    charge(store)?;
    store.data_mut().modes.push(Mode::Async);
    Ok(())
}

fn end(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    let mode = store.data_mut().modes.pop();
    ensure!(mode == Some(Mode::Async), "{mode:?} has ended instead");
    charge(store)
}

/// A host function; those that can call others are asynchronous.
fn func(store: &mut StoreContextMut<'_, Host>, import: usize, ty: FuncType) -> Func {
    if !import.is_multiple_of(2) && store.data_mut().choices.one_in(2) {
        return host::func(store, 0, import, ty);
    }
    let own = ty.clone();
    Func::new_async(store.as_context_mut(), ty, move |mut caller, args, results| {
        let own = own.clone();
        Box::new(async move {
            let number = answer(&mut caller, import, args).await;
            let mut store = caller.as_context_mut();
            match number {
                Ok(number) => {
                    results.copy_from_slice(&values(&mut store, 0, number, own.results()));
                    Ok(())
                }
                Err(error) => Err(differs(&mut store, error)),
            }
        })
    })
}

/// What a host function does before it answers; returns the number of the answer.
async fn answer(caller: &mut Caller<'_, Host>, import: usize, args: &[Val]) -> Result<u64> {
    let number = called(&mut caller.as_context_mut(), 0, import, args)?;
    let pauses = caller.data_mut().choices.below(3);
    for _ in 0..pauses {
        caller.data_mut().seen.pending += 1;
        let frames: Vec<_> = caller.frames().collect();
        hop().await;
        let mut frames = frames.iter();
        ensure!(frames.all(|frame| frame.is_valid(&*caller)), "a frame is stale behind a poll");
        stir::stir(&mut caller.as_context_mut())?;
    }
    let call = nested(&mut caller.as_context_mut(), 0, import, number);
    if let Some((func, args)) = call {
        caller.data_mut().lanes[0].depth += 1;
        caller.data_mut().seen.nested += 1;
        let ended = call_async(&mut *caller, func, args).await?;
        nested_ended(caller.data_mut(), 0, &ended);
    }
    Ok(number)
}
