//! The rows in Stillframe: calls. Suspended ones are in `suspend.rs`.

mod suspend;

use super::Sample;
use crate::guest::{self, Metering, Setup, Step, Stop, answer, check};
use crate::measure::{Frames, time};
use crate::row::{Kind, Row};
use anyhow::{Context as _, Result};
use stillframe::{Caller, Config, Engine, Instance, Linker, Module, Store, TypedFunc, Val};
pub(super) use suspend::suspend_many;

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
        let mut config = Config::new();
        config.consume_fuel(setup.metering == Metering::Fuel);
        config.epoch_interruption(setup.metering == Metering::Epochs);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, guest::MODULE)?;
        let mut linker = Linker::new(&engine);
        match setup.step {
            Step::Adds => linker.func_wrap("host", "step", |count: u32| count + 1)?,
            Step::Fails => {
                linker.func_wrap("host", "step", |_: u32| -> Result<u32> { Err(Stop.into()) })?
            }
            Step::Calls => linker.func_wrap("host", "step", step_that_calls)?,
        };
        linker.func_wrap("host", "ready", move |mut caller: Caller<'_, Host>| -> Result<()> {
            match (setup.stop_when_ready, setup.metering) {
                (true, Metering::Fuel) => caller.set_fuel(0)?,
                (true, Metering::Epochs) => caller.engine().increment_epoch(),
                _ => {}
            }
            Ok(())
        })?;
        let mut store = Store::new(&engine, Host::default());
        match setup.metering {
            Metering::None => {}
            Metering::Fuel => store.set_fuel(u64::MAX)?,
            Metering::Epochs => store.set_epoch_deadline(1),
        }
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Guest { store, instance })
    }

    fn empty(&mut self) -> Result<TypedFunc<(), ()>> {
        self.instance.get_typed_func(&mut self.store, "empty")
    }

    fn loop_named(&mut self, name: &str) -> Result<Loop> {
        self.instance.get_typed_func(&mut self.store, name)
    }
}

fn step_that_calls(mut caller: Caller<'_, Host>, count: u32) -> Result<u32> {
    let (empty, n, frames) = caller.data().nested.context("nothing to call")?;
    caller.data_mut().nanos = time(n, frames, || empty.call(&mut caller, ()))?;
    Ok(count + 1)
}

pub(super) fn prepare(row: Row, n: u32) -> Result<Option<Sample>> {
    Ok(Some(match row.kind {
        Kind::Enter => enter(row, n)?,
        Kind::Untyped => untyped(row, n)?,
        Kind::Finishes => suspend::finishes(row, n)?,
        Kind::Nested => nested(row, n)?,
        Kind::Loop(metering) => spin(row, n, metering)?,
        Kind::HostCall => host_call(row, n)?,
        Kind::Fuel => suspend::fuel(row, n)?,
        Kind::HostError => suspend::host_error(row, n)?,
        Kind::Epoch => suspend::epoch(row, n)?,
        Kind::AsyncYield => suspend::async_yield(row, n)?,
        Kind::HandOver => suspend::hand_over(row, n)?,
        Kind::Memory => return Ok(None),
    }))
}

fn enter(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let empty = guest.empty()?;
    Ok(Box::new(move || time(n, row.frames, || empty.call(&mut guest.store, ()))))
}

fn untyped(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let add = guest.instance.get_func(&mut guest.store, "add").context("no function `add`")?;
    Ok(Box::new(move || {
        let mut sum = 0;
        let nanos = time(n, row.frames, || {
            let mut results = [Val::I32(0)];
            add.call(&mut guest.store, &[Val::I32(sum), Val::I32(1)], &mut results)?;
            sum = results[0].unwrap_i32();
            Ok(())
        })?;
        check(sum as u32, n)?;
        Ok(nanos)
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
