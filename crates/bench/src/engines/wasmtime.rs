//! The rows in wasmtime: calls, and async calls that yield.

use super::Sample;
use crate::guest::{self, Metering, Setup, Step, answer, check};
use crate::measure::{Frames, ended_early, time, time_yields};
use crate::memory;
use crate::row::{Kind, Row};
use anyhow::{Result, anyhow};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use wasmtime::{Caller, Config, Engine, Instance, Linker, Module, Store, TypedFunc, Val};

/// The store's data.
#[derive(Default)]
struct Host {
    /// For [`Step::Calls`]: what it calls, and how often.
    nested: Option<(TypedFunc<(), ()>, u32, Frames)>,
    /// What one of these calls took.
    nanos: f64,
}

type Loop = TypedFunc<(u32, u32), u32>;

struct Guest {
    store: Store<Host>,
    instance: Instance,
}

impl Guest {
    fn new(setup: Setup) -> Result<Guest> {
        let engine = engine(setup.metering)?;
        let module = Module::new(&engine, guest::MODULE).map_err(told)?;
        Guest::of(&engine, &module, setup)
    }

    fn of(engine: &Engine, module: &Module, setup: Setup) -> Result<Guest> {
        let mut linker = Linker::new(engine);
        match setup.step {
            Step::Adds => linker.func_wrap("host", "step", |count: u32| count + 1),
            Step::Fails => linker.func_wrap("host", "step", |_: u32| -> wasmtime::Result<u32> {
                Err(guest::Stop.into())
            }),
            Step::Calls => linker.func_wrap("host", "step", step_that_calls),
        }
        .map_err(told)?;
        let ready = move |caller: Caller<'_, Host>| {
            if setup.stop_when_ready {
                // Code keeps the deadline in a register: it must pass, not be set to the past.
                caller.engine().increment_epoch();
            }
        };
        linker.func_wrap("host", "ready", ready).map_err(told)?;
        let mut store = Store::new(engine, Host::default());
        match setup.metering {
            Metering::None => {}
            Metering::Fuel => store.set_fuel(u64::MAX).map_err(told)?,
            Metering::Epochs => store.set_epoch_deadline(1),
        }
        let instance = linker.instantiate(&mut store, module).map_err(told)?;
        Ok(Guest { store, instance })
    }

    fn empty(&mut self) -> Result<TypedFunc<(), ()>> {
        self.instance.get_typed_func(&mut self.store, "empty").map_err(told)
    }

    fn loop_named(&mut self, name: &str) -> Result<Loop> {
        self.instance.get_typed_func(&mut self.store, name).map_err(told)
    }
}

fn engine(metering: Metering) -> Result<Engine> {
    let mut config = Config::new();
    match metering {
        Metering::None => {}
        Metering::Fuel => drop(config.consume_fuel(true)),
        Metering::Epochs => drop(config.epoch_interruption(true)),
    }
    Engine::new(&config).map_err(told)
}

/// Wasmtime's errors are of a type of their own.
#[cold]
pub(crate) fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:?}")
}

fn step_that_calls(mut caller: Caller<'_, Host>, count: u32) -> wasmtime::Result<u32> {
    let Some((empty, n, frames)) = caller.data().nested.clone() else {
        wasmtime::bail!("nothing to call");
    };
    let nanos = time(n, frames, || empty.call(&mut caller, ()).map_err(told));
    caller.data_mut().nanos = nanos.map_err(|error| wasmtime::format_err!("{error:#}"))?;
    Ok(count + 1)
}

pub(super) fn prepare(row: Row, n: u32) -> Result<Option<Sample>> {
    Ok(Some(match row.kind {
        Kind::Enter => enter(row, n)?,
        Kind::Untyped => untyped(row, n)?,
        Kind::Nested => nested(row, n)?,
        Kind::Loop(metering) => spin(row, n, metering)?,
        Kind::HostCall => host_call(row, n)?,
        Kind::AsyncYield => async_yield(row, n)?,
        _ => return Ok(None),
    }))
}

fn enter(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let empty = guest.empty()?;
    Ok(Box::new(move || time(n, row.frames, || empty.call(&mut guest.store, ()).map_err(told))))
}

fn untyped(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let add = guest.instance.get_func(&mut guest.store, "add");
    let add = add.ok_or_else(|| anyhow!("no function `add`"))?;
    Ok(Box::new(move || {
        let mut sum = 0;
        let nanos = time(n, row.frames, || {
            let mut results = [Val::I32(0)];
            add.call(&mut guest.store, &[Val::I32(sum), Val::I32(1)], &mut results)
                .map_err(told)?;
            sum = results[0].unwrap_i32();
            Ok(())
        })?;
        check(sum as u32, n)?;
        Ok(nanos)
    }))
}

fn nested(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup { step: Step::Calls, ..Setup::DEFAULT })?;
    let empty = guest.empty()?;
    guest.store.data_mut().nested = Some((empty, n, row.frames));
    let calls = guest.loop_named("calls")?;
    Ok(Box::new(move || {
        let found = calls.call(&mut guest.store, (row.depth, 1)).map_err(told)?;
        check(found, answer(row.depth, 1))?;
        Ok(guest.store.data().nanos)
    }))
}

fn spin(row: Row, n: u32, metering: Metering) -> Result<Sample> {
    let guest = Guest::new(Setup { metering, ..Setup::DEFAULT })?;
    whole_loop(guest, "spin", row, n)
}

fn host_call(row: Row, n: u32) -> Result<Sample> {
    whole_loop(Guest::new(Setup::DEFAULT)?, "calls", row, n)
}

/// Samples of one iteration of a loop that is called once.
fn whole_loop(mut guest: Guest, name: &str, row: Row, n: u32) -> Result<Sample> {
    let function = guest.loop_named(name)?;
    Ok(Box::new(move || {
        let mut found = 0;
        let nanos = time(1, row.frames, || {
            found = function.call(&mut guest.store, (row.depth, n)).map_err(told)?;
            Ok(())
        })?;
        check(found, answer(row.depth, n))?;
        Ok(nanos / f64::from(n))
    }))
}

const YIELDS: Setup = Setup { metering: Metering::Epochs, step: Step::Adds, stop_when_ready: true };

fn async_yield(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(YIELDS)?;
    let spin = guest.loop_named("spin")?;
    // The deadline stays passed: each loop header yields.
    guest.store.epoch_deadline_async_yield_and_update(0);
    Ok(Box::new(move || {
        guest.store.set_epoch_deadline(1);
        let call = pin!(spin.call_async(&mut guest.store, (row.depth, n)));
        let (found, nanos) = time_yields(n, row.frames, call)?;
        check(found.map_err(told)?, answer(row.depth, n))?;
        Ok(nanos)
    }))
}

/// Resident bytes of a call that has yielded. A store runs one call at a time, so each has a store;
/// the stores are made before.
pub(super) fn suspend_many(depth: u32, calls: u32) -> Result<f64> {
    let engine = engine(Metering::Epochs)?;
    let module = Module::new(&engine, guest::MODULE).map_err(told)?;
    let mut futures = Vec::new();
    // The first one of all is not counted.
    for _ in 0..=calls {
        let mut guest = Guest::of(&engine, &module, YIELDS)?;
        guest.store.epoch_deadline_async_yield_and_update(0);
        let spin = guest.loop_named("spin")?;
        futures.push(Box::pin(async move {
            guest.store.set_epoch_deadline(1);
            spin.call_async(&mut guest.store, (depth, 10)).await
        }));
    }
    let mut context = Context::from_waker(Waker::noop());
    memory::resident_bytes_of_each(calls, || {
        let mut future = futures.pop().ok_or_else(|| anyhow!("no call is left"))?;
        match future.as_mut().poll(&mut context) {
            Poll::Pending => Ok(future),
            Poll::Ready(_) => Err(ended_early()),
        }
    })
}
