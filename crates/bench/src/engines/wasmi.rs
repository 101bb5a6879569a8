//! The rows in wasmi: calls, and resumable calls.

use super::Sample;
use crate::guest::{self, Metering, Setup, Step, Stop, answer, check};
use crate::handover;
use crate::measure::{Frames, ended_early, ended_late, time};
use crate::memory;
use crate::row::{Kind, Row};
use anyhow::{Context as _, Result};
use wasmi::{
    Caller, Config, Engine, Error, Instance, Linker, Module, Store, TypedFunc, TypedResumableCall,
    TypedResumableCallHostTrap, TypedResumableCallOutOfFuel, Val,
};

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
        let mut config = Config::default();
        config.consume_fuel(setup.metering == Metering::Fuel);
        let engine = Engine::new(&config);
        let module = Module::new(&engine, guest::MODULE)?;
        let mut linker = Linker::new(&engine);
        match setup.step {
            Step::Adds => linker.func_wrap("host", "step", |count: u32| count + 1)?,
            Step::Fails => linker.func_wrap("host", "step", |_: u32| -> Result<u32, Error> {
                Err(Error::host(Stop))
            })?,
            Step::Calls => linker.func_wrap("host", "step", step_that_calls)?,
        };
        linker.func_wrap("host", "ready", move |mut caller: Caller<'_, Host>| {
            match setup.stop_when_ready {
                true => caller.set_fuel(0),
                false => Ok(()),
            }
        })?;
        let mut store = Store::new(&engine, Host::default());
        if setup.metering == Metering::Fuel {
            store.set_fuel(u64::MAX)?;
        }
        let instance = linker.instantiate_and_start(&mut store, &module)?;
        Ok(Guest { store, instance })
    }

    fn empty(&self) -> Result<TypedFunc<(), ()>> {
        Ok(self.instance.get_typed_func(&self.store, "empty")?)
    }

    fn loop_named(&self, name: &str) -> Result<Loop> {
        Ok(self.instance.get_typed_func(&self.store, name)?)
    }
}

fn step_that_calls(mut caller: Caller<'_, Host>, count: u32) -> Result<u32, Error> {
    let Some((empty, n, frames)) = caller.data().nested else {
        return Err(Error::new("nothing to call"));
    };
    let nanos = time(n, frames, || Ok(empty.call(&mut caller, ())?));
    caller.data_mut().nanos = nanos.map_err(|error| Error::new(format!("{error:#}")))?;
    Ok(count + 1)
}

pub(super) fn prepare(row: Row, n: u32) -> Result<Option<Sample>> {
    Ok(Some(match row.kind {
        Kind::Enter => enter(row, n)?,
        Kind::Untyped => untyped(row, n)?,
        Kind::Finishes => finishes(row, n)?,
        Kind::Nested => nested(row, n)?,
        Kind::Loop(Metering::Epochs) => return Ok(None),
        Kind::Loop(metering) => spin(row, n, metering)?,
        Kind::HostCall => host_call(row, n)?,
        Kind::Fuel => fuel(row, n)?,
        Kind::HostError => host_error(row, n)?,
        Kind::HandOver => hand_over(row, n)?,
        Kind::Epoch | Kind::AsyncYield | Kind::Memory => return Ok(None),
    }))
}

fn enter(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let empty = guest.empty()?;
    Ok(Box::new(move || time(n, row.frames, || Ok(empty.call(&mut guest.store, ())?))))
}

fn untyped(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let add = guest.instance.get_func(&guest.store, "add").context("no function `add`")?;
    Ok(Box::new(move || {
        let mut sum = 0;
        let nanos = time(n, row.frames, || {
            let mut results = [Val::I32(0)];
            add.call(&mut guest.store, &[Val::I32(sum), Val::I32(1)], &mut results)?;
            sum = results[0].i32().context("the sum is no i32")?;
            Ok(())
        })?;
        check(sum as u32, n)?;
        Ok(nanos)
    }))
}

fn finishes(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let empty = guest.empty()?;
    Ok(Box::new(move || {
        time(n, row.frames, || match empty.call_resumable(&mut guest.store, ())? {
            TypedResumableCall::Finished(()) => Ok(()),
            _ => Err(ended_late()),
        })
    }))
}

fn nested(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup { step: Step::Calls, ..Setup::DEFAULT })?;
    guest.store.data_mut().nested = Some((guest.empty()?, n, row.frames));
    let calls = guest.loop_named("calls")?;
    Ok(Box::new(move || {
        let found = calls.call(&mut guest.store, (row.depth, 1))?;
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
            found = function.call(&mut guest.store, (row.depth, n))?;
            Ok(())
        })?;
        check(found, answer(row.depth, n))?;
        Ok(nanos / f64::from(n))
    }))
}

/// A call that has just been suspended in its loop: for want of fuel, or by a host error.
type Suspended = TypedResumableCallOutOfFuel<u32>;
type Failed = TypedResumableCallHostTrap<u32>;

const RUNS_OUT: Setup = Setup { metering: Metering::Fuel, step: Step::Adds, stop_when_ready: true };

/// Calls a loop that runs out of fuel at each of its `n` headers; it stands at the first.
fn run_out(store: &mut Store<Host>, spin: Loop, depth: u32, n: u32) -> Result<Suspended> {
    store.set_fuel(u64::MAX)?;
    match spin.call_resumable(store, (depth, n))? {
        TypedResumableCall::OutOfFuel(call) => Ok(call),
        _ => Err(ended_early()),
    }
}

/// One iteration more.
#[inline(always)]
fn once_more(store: &mut Store<Host>, call: Suspended) -> Result<Suspended> {
    store.set_fuel(call.required_fuel())?;
    match call.resume(store)? {
        TypedResumableCall::OutOfFuel(call) => Ok(call),
        _ => Err(ended_early()),
    }
}

/// The last iteration, and the end of the call.
fn end(store: &mut Store<Host>, call: Suspended, expected: u32) -> Result<()> {
    store.set_fuel(u64::MAX)?;
    match call.resume(store)? {
        TypedResumableCall::Finished(found) => check(found, expected),
        _ => Err(ended_late()),
    }
}

fn fuel(row: Row, n: u32) -> Result<Sample> {
    let Guest { mut store, instance } = Guest::new(RUNS_OUT)?;
    let spin = instance.get_typed_func(&store, "spin")?;
    Ok(Box::new(move || {
        let mut call = Some(run_out(&mut store, spin, row.depth, n)?);
        let nanos = time(n - 1, row.frames, || {
            let suspended = call.take().context("no suspended call")?;
            call = Some(once_more(&mut store, suspended)?);
            Ok(())
        })?;
        end(&mut store, call.context("no suspended call")?, answer(row.depth, n))?;
        Ok(nanos)
    }))
}

fn host_error(row: Row, n: u32) -> Result<Sample> {
    let Guest { mut store, instance } = Guest::new(Setup { step: Step::Fails, ..Setup::DEFAULT })?;
    let calls: Loop = instance.get_typed_func(&store, "calls")?;
    Ok(Box::new(move || {
        let mut call: Option<Failed> = match calls.call_resumable(&mut store, (row.depth, n))? {
            TypedResumableCall::HostTrap(call) => Some(call),
            _ => return Err(ended_early()),
        };
        let mut count = 0;
        let nanos = time(n - 1, row.frames, || {
            let failed = call.take().context("no suspended call")?;
            count += 1;
            match failed.resume(&mut store, &[Val::I32(count)])? {
                TypedResumableCall::HostTrap(failed) => call = Some(failed),
                _ => return Err(ended_early()),
            }
            Ok(())
        })?;
        let failed = call.context("no suspended call")?;
        check(failed.host_error().downcast_ref::<Stop>().is_some(), true)?;
        match failed.resume(&mut store, &[Val::I32(n as i32)])? {
            TypedResumableCall::Finished(found) => check(found, answer(row.depth, n))?,
            _ => return Err(ended_late()),
        }
        Ok(nanos)
    }))
}

fn hand_over(row: Row, n: u32) -> Result<Sample> {
    let Guest { store, instance } = Guest::new(RUNS_OUT)?;
    let spin = instance.get_typed_func(&store, "spin")?;
    // Boxed, as any program would hand over a store.
    let mut kept = Some(Box::new(store));
    Ok(Box::new(move || {
        let mut store = kept.take().context("the store was lost in an earlier round")?;
        let iterations = handover::steps(n) + 1;
        let call = run_out(&mut store, spin, row.depth, iterations)?;
        let ((mut store, call), nanos) =
            handover::hand_over((store, call), n, |(mut store, call)| {
                let call = once_more(&mut store, call)?;
                Ok((store, call))
            })?;
        end(&mut store, call, answer(row.depth, iterations))?;
        kept = Some(store);
        Ok(nanos)
    }))
}

/// Resident bytes of a call that is suspended for fuel.
pub(super) fn suspend_many(depth: u32, calls: u32) -> Result<f64> {
    let Guest { mut store, instance } = Guest::new(RUNS_OUT)?;
    let spin = instance.get_typed_func(&store, "spin")?;
    memory::resident_bytes_of_each(calls, || run_out(&mut store, spin, depth, 10))
}
