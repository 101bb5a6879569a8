//! Frames in wasmtime: `guest_debug`, and backtraces without it.

use super::Sample;
use super::guest::{self, Kind, New, Row};
use crate::engines::wasmtime::told;
use crate::guest::check;
use crate::measure::nanos_per;
use anyhow::{Context as _, Result};
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::time::Instant;
use wasmtime::{
    Caller, Config, Engine, FrameHandle, Linker, Module, Store, TypedFunc, WasmBacktrace,
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
        let look = |mut caller: Caller<'_, Host>| -> wasmtime::Result<()> {
            let Host { row, times, .. } = *caller.data();
            let nanos = look(&mut caller, row, times);
            caller.data_mut().nanos = nanos.map_err(|error| wasmtime::format_err!("{error:#}"))?;
            Ok(())
        };
        linker.func_wrap("host", "look", look).map_err(told)?;
        let mut store = Store::new(module.engine(), Host { row, times, nanos: 0.0 });
        let instance = linker.instantiate(&mut store, module).map_err(told)?;
        let run = instance.get_typed_func(&mut store, "run").map_err(told)?;
        Ok(Guest { store, run })
    }

    fn sample(&mut self) -> Result<f64> {
        let answer = self.run.call(&mut self.store, 0).map_err(told)?;
        check(answer, self.store.data().row.guest.sum())?;
        Ok(self.store.data().nanos)
    }
}

pub(super) fn prepare(row: Row, times: u32) -> Result<Option<Sample>> {
    let text = row.guest.module();
    let mut config = Config::new();
    match row.kind {
        // Backtraces are what they cost without debugging.
        Kind::Backtrace | Kind::FirstBacktrace => {
            config.wasm_backtrace_max_frames(NonZeroUsize::new(guest::BACKTRACE_FRAMES as usize));
        }
        Kind::Suspended => return Ok(None),
        _ => drop(config.guest_debug(true)),
    }
    let engine = Engine::new(&config).map_err(told)?;
    let compile = move || Module::new(&engine, &text).map_err(told);
    let several = move |new: &dyn Fn() -> Result<Guest>| -> Result<f64> {
        let mut sum = 0.0;
        for _ in 0..times {
            sum += new()?.sample()?;
        }
        Ok(sum / f64::from(times))
    };
    Ok(Some(match row.kind {
        Kind::First(New::Module) => Box::new(move || several(&|| Guest::new(&compile()?, row, 1))),
        Kind::First(New::Store) | Kind::FirstBacktrace => {
            let module = compile()?;
            Box::new(move || several(&|| Guest::new(&module, row, 1)))
        }
        _ => {
            let mut guest = Guest::new(&compile()?, row, times)?;
            Box::new(move || guest.sample())
        }
    }))
}

/// Does something with each frame, innermost first; the number of frames.
#[inline(always)]
fn walk(
    caller: &mut Caller<'_, Host>,
    mut with: impl FnMut(&mut Caller<'_, Host>, FrameHandle) -> Result<()>,
) -> Result<u32> {
    let mut count = 0;
    for innermost in caller.debug_exit_frames().collect::<Vec<_>>() {
        let mut next = Some(innermost);
        while let Some(frame) = next {
            next = frame.parent(&mut *caller).map_err(told)?;
            with(caller, frame)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Finds frames, and reads one local of each.
#[inline(never)]
fn sum(caller: &mut Caller<'_, Host>) -> Result<(u32, u32)> {
    let mut sum = 0;
    let count = walk(caller, |caller, frame| {
        let number = frame.local(caller, 0).ok().and_then(|value| value.i32());
        sum += number.unwrap_or(-1).cast_unsigned();
        Ok(())
    })?;
    Ok((count, sum))
}

/// Finds frames.
#[inline(never)]
fn count(caller: &mut Caller<'_, Host>) -> Result<u32> {
    walk(caller, |_, frame| {
        black_box(&frame);
        Ok(())
    })
}

/// What `look` does: measures.
fn look(caller: &mut Caller<'_, Host>, row: Row, times: u32) -> Result<f64> {
    let Row { kind, guest } = row;
    let each = times * guest.depth();
    let start = Instant::now();
    match kind {
        Kind::First(_) => {
            let found = sum(caller)?;
            let nanos = nanos_per(start, each);
            guest.check(found)?;
            return Ok(nanos);
        }
        Kind::FirstBacktrace => {
            drop(black_box(WasmBacktrace::capture(&*caller)));
            return Ok(nanos_per(start, each));
        }
        Kind::Backtrace => {
            let (start, mut wrong) = (Instant::now(), false);
            for _ in 0..times {
                let trace = black_box(WasmBacktrace::capture(&*caller));
                let kept = guest.depth().min(guest::BACKTRACE_FRAMES);
                wrong |= trace.frames().len() as u32 != kept;
            }
            let nanos = nanos_per(start, each);
            check(wrong, false)?;
            return Ok(nanos);
        }
        _ => {}
    }
    // Again: what was not known is looked up before the clock starts.
    guest.check(sum(caller)?)?;
    let mut handles = Vec::new();
    walk(caller, |_, frame| {
        handles.push(frame);
        Ok(())
    })?;
    let innermost = handles.first().context("no frames")?;
    let (start, mut wrong) = (Instant::now(), false);
    let operations = match kind {
        Kind::Again => {
            for _ in 0..times {
                black_box(sum(caller)?);
            }
            each
        }
        // Its only way to walk.
        Kind::Walk | Kind::Parents => {
            for _ in 0..times {
                wrong |= count(caller)? != guest.depth();
            }
            each
        }
        Kind::OneLocal { in_turn: false } => {
            let last = guest.depth() - 1;
            for _ in 0..times {
                let value = black_box(innermost).local(&mut *caller, black_box(0));
                wrong |= value.map_err(told)?.i32() != Some(last as i32);
            }
            times
        }
        Kind::OneLocal { in_turn: true } => {
            let turns = times / guest.depth();
            for _ in 0..turns {
                for (count, handle) in handles.iter().enumerate() {
                    let value = black_box(handle).local(&mut *caller, black_box(0));
                    let expected = guest.depth() as i32 - 1 - count as i32;
                    wrong |= value.map_err(told)?.i32() != Some(expected);
                }
            }
            turns * guest.depth()
        }
        Kind::First(_) | Kind::FirstBacktrace | Kind::Backtrace | Kind::Suspended => {
            unreachable!("done above, or not at all")
        }
    };
    let nanos = nanos_per(start, operations);
    check(wrong, false)?;
    Ok(nanos)
}
