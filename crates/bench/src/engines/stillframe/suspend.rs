//! The rows in Stillframe that suspend calls and resume them.

use super::{Guest, Host, Loop};
use crate::engines::Sample;
use crate::guest::{Metering, Setup, Step, Stop, answer, check};
use crate::handover;
use crate::measure::{ended_early, ended_late, time, time_yields};
use crate::memory;
use crate::row::Row;
use anyhow::{Context as _, Result};
use std::pin::pin;
use stillframe::{
    Store, TypedResumableCall, TypedResumableCallHostTrap, TypedResumableCallInterrupted,
    TypedResumableCallOutOfFuel, Val,
};

pub(super) fn finishes(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup::DEFAULT)?;
    let empty = guest.empty()?;
    Ok(Box::new(move || {
        time(n, row.frames, || match empty.call_resumable(&mut guest.store, ())? {
            TypedResumableCall::Finished(()) => Ok(()),
            _ => Err(ended_late()),
        })
    }))
}

/// A call that has just been suspended in its loop: for want of fuel, by a host error, or by the
/// epoch deadline.
type Suspended = TypedResumableCallOutOfFuel<u32>;
type Failed = TypedResumableCallHostTrap<u32>;
type Interrupted = TypedResumableCallInterrupted<u32>;

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

pub(super) fn fuel(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(RUNS_OUT)?;
    let spin = guest.loop_named("spin")?;
    let mut store = guest.store;
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

pub(super) fn host_error(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(Setup { step: Step::Fails, ..Setup::DEFAULT })?;
    let calls = guest.loop_named("calls")?;
    let mut store = guest.store;
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
        check(failed.host_error().is::<Stop>(), true)?;
        match failed.resume(&mut store, &[Val::I32(n as i32)])? {
            TypedResumableCall::Finished(found) => check(found, answer(row.depth, n))?,
            _ => return Err(ended_late()),
        }
        Ok(nanos)
    }))
}

const IS_INTERRUPTED: Setup =
    Setup { metering: Metering::Epochs, step: Step::Adds, stop_when_ready: true };

pub(super) fn epoch(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(IS_INTERRUPTED)?;
    let spin = guest.loop_named("spin")?;
    let mut store = guest.store;
    // The deadline stays passed: each loop header suspends.
    store.epoch_deadline_suspend();
    Ok(Box::new(move || {
        store.set_epoch_deadline(1);
        let mut call: Option<Interrupted> = match spin.call_resumable(&mut store, (row.depth, n))? {
            TypedResumableCall::Interrupted(call) => Some(call),
            _ => return Err(ended_early()),
        };
        let nanos = time(n - 1, row.frames, || {
            let interrupted = call.take().context("no suspended call")?;
            match interrupted.resume(&mut store)? {
                TypedResumableCall::Interrupted(next) => call = Some(next),
                _ => return Err(ended_early()),
            }
            Ok(())
        })?;
        match call.context("no suspended call")?.resume(&mut store)? {
            TypedResumableCall::Finished(found) => check(found, answer(row.depth, n))?,
            _ => return Err(ended_late()),
        }
        Ok(nanos)
    }))
}

pub(super) fn async_yield(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(IS_INTERRUPTED)?;
    let spin = guest.loop_named("spin")?;
    let mut store = guest.store;
    // The deadline stays passed: each loop header yields.
    store.epoch_deadline_async_yield_and_update(0);
    Ok(Box::new(move || {
        store.set_epoch_deadline(1);
        let call = pin!(spin.call_async(&mut store, (row.depth, n)));
        let (found, nanos) = time_yields(n, row.frames, call)?;
        check(found?, answer(row.depth, n))?;
        Ok(nanos)
    }))
}

pub(super) fn hand_over(row: Row, n: u32) -> Result<Sample> {
    let mut guest = Guest::new(RUNS_OUT)?;
    let spin = guest.loop_named("spin")?;
    // Boxed, as any program would hand over a store.
    let mut kept = Some(Box::new(guest.store));
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
pub(in crate::engines) fn suspend_many(depth: u32, calls: u32) -> Result<f64> {
    let mut guest = Guest::new(RUNS_OUT)?;
    let spin = guest.loop_named("spin")?;
    memory::resident_bytes_of_each(calls, || run_out(&mut guest.store, spin, depth, 10))
}
