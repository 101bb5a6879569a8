//! Frames in Stillframe, in its default configuration.

use super::Sample;
use super::guest::{self, Kind, New, Row};
use crate::guest::{Stop, check};
use crate::measure::nanos_per;
use anyhow::{Context as _, Result, bail};
use std::hint::black_box;
use std::time::Instant;
use stillframe::{
    AsContext, Caller, Engine, FrameHandle, Linker, Module, Store, TypedFunc, TypedResumableCall,
    WasmBacktrace,
};

/// The store's data: what `look` does, and what it has found.
struct Host {
    row: Row,
    times: u32,
    nanos: f64,
}

struct Guest {
    store: Store<Host>,
    run: TypedFunc<u32, u32>,
}

impl Guest {
    fn new(module: &Module, row: Row, times: u32) -> Result<Guest> {
        let mut linker = Linker::new(module.engine());
        linker.func_wrap("host", "look", |mut caller: Caller<'_, Host>| -> Result<()> {
            let Host { row, times, .. } = *caller.data();
            let nanos = look(&caller, row, times)?;
            caller.data_mut().nanos = nanos;
            Ok(())
        })?;
        let mut store = Store::new(module.engine(), Host { row, times, nanos: 0.0 });
        let instance = linker.instantiate(&mut store, module)?;
        let run = instance.get_typed_func(&mut store, "run")?;
        Ok(Guest { store, run })
    }

    fn sample(&mut self) -> Result<f64> {
        let Guest { store, run } = self;
        let Host { row, times, .. } = *store.data();
        if row.kind != Kind::Suspended {
            check(run.call(&mut *store, 0)?, row.guest.sum())?;
            return Ok(store.data().nanos);
        }
        let TypedResumableCall::HostTrap(call) = run.call_resumable(&mut *store, 0)? else {
            bail!("the call is not suspended");
        };
        row.guest.check(sum(&*store, call.frames(&*store)?))?;
        let start = Instant::now();
        for _ in 0..times {
            black_box(sum(&*store, call.frames(&*store)?));
        }
        let nanos = nanos_per(start, times * row.guest.depth());
        match call.resume(store, &[])? {
            TypedResumableCall::Finished(answer) => check(answer, row.guest.sum())?,
            _ => bail!("the call did not end"),
        }
        Ok(nanos)
    }
}

pub(super) fn prepare(row: Row, times: u32) -> Result<Option<Sample>> {
    let text = row.guest.module();
    let engine = Engine::default();
    let several = move |new: &dyn Fn() -> Result<Guest>| -> Result<f64> {
        let mut sum = 0.0;
        for _ in 0..times {
            sum += new()?.sample()?;
        }
        Ok(sum / f64::from(times))
    };
    Ok(Some(match row.kind {
        Kind::First(New::Module) => {
            Box::new(move || several(&|| Guest::new(&Module::new(&engine, &text)?, row, 1)))
        }
        Kind::First(New::Store) | Kind::FirstBacktrace => {
            let module = Module::new(&engine, &text)?;
            Box::new(move || several(&|| Guest::new(&module, row, 1)))
        }
        _ => {
            let mut guest = Guest::new(&Module::new(&engine, &text)?, row, times)?;
            Box::new(move || guest.sample())
        }
    }))
}

/// Finds frames, and reads one local of each.
#[inline(never)]
fn sum(store: impl AsContext, frames: impl Iterator<Item = FrameHandle>) -> (u32, u32) {
    frames.fold((0, 0), |(count, sum), frame| {
        let number = frame.local(&store, 0).ok().and_then(|value| value.i32());
        (count + 1, sum + number.unwrap_or(-1).cast_unsigned())
    })
}

/// Finds frames.
#[inline(never)]
fn count(frames: impl Iterator<Item = FrameHandle>) -> u32 {
    frames.fold(0, |count, frame| {
        black_box(frame.activation());
        count + 1
    })
}

/// Finds frames from handle to handle.
#[inline(never)]
fn parents(caller: &Caller<'_, Host>, innermost: &FrameHandle) -> Result<u32> {
    let (mut count, mut frame) = (1, innermost.parent(caller)?);
    while let Some(handle) = frame {
        (count, frame) = (count + 1, handle.parent(caller)?);
    }
    Ok(count)
}

/// What `look` does: measures.
fn look(caller: &Caller<'_, Host>, row: Row, times: u32) -> Result<f64> {
    let Row { kind, guest } = row;
    let each = times * guest.depth();
    let start = Instant::now();
    match kind {
        Kind::First(_) => {
            let found = sum(caller, caller.frames());
            let nanos = nanos_per(start, each);
            guest.check(found)?;
            return Ok(nanos);
        }
        Kind::FirstBacktrace => {
            drop(black_box(WasmBacktrace::capture(caller)));
            return Ok(nanos_per(start, each));
        }
        Kind::Suspended => return Err(Stop.into()),
        _ => {}
    }
    // Again: what was not known is looked up before the clock starts.
    guest.check(sum(caller, caller.frames()))?;
    let handles: Vec<_> = caller.frames().collect();
    let innermost = handles.first().context("no frames")?;
    let (start, mut wrong) = (Instant::now(), false);
    let operations = match kind {
        Kind::Again => {
            for _ in 0..times {
                black_box(sum(caller, caller.frames()));
            }
            each
        }
        Kind::Walk => {
            for _ in 0..times {
                wrong |= count(caller.frames()) != guest.depth();
            }
            each
        }
        Kind::Parents => {
            for _ in 0..times {
                wrong |= parents(caller, innermost)? != guest.depth();
            }
            each
        }
        Kind::OneLocal { in_turn: false } => {
            let last = guest.depth() - 1;
            for _ in 0..times {
                let value = black_box(innermost).local(caller, black_box(0))?;
                wrong |= value.i32() != Some(last as i32);
            }
            times
        }
        Kind::OneLocal { in_turn: true } => {
            let turns = times / guest.depth();
            for _ in 0..turns {
                for (count, handle) in handles.iter().enumerate() {
                    let value = black_box(handle).local(caller, black_box(0))?;
                    wrong |= value.i32() != Some(guest.depth() as i32 - 1 - count as i32);
                }
            }
            turns * guest.depth()
        }
        Kind::Backtrace => {
            for _ in 0..times {
                let trace = black_box(WasmBacktrace::capture(caller));
                let kept = guest.depth().min(guest::BACKTRACE_FRAMES);
                wrong |= trace.frames().len() as u32 != kept;
            }
            each
        }
        Kind::First(_) | Kind::FirstBacktrace | Kind::Suspended => unreachable!("done above"),
    };
    let nanos = nanos_per(start, operations);
    check(wrong, false)?;
    Ok(nanos)
}
