//! `stillframe demo`: the main job, shown on a small guest that is built into the command.

use crate::report::{Ending, Frames, grouped};
use crate::stack::Stack;
use crate::style::Style;
use crate::timeout::Timeout;
use anyhow::{Context as _, Result, bail, ensure};
use std::io::{self, StdoutLock, Write as _};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};
use stillframe::{
    Caller, Config, Engine, Error, FrameHandle, Instance, Linker, Module, Store, Trap,
    TypedResumableCall, Val,
};

const GUEST: &str = include_str!("demo.wat");
const LOOKED_AT: &str = include_str!("demo_look.wat");
/// The picture's size, in characters.
const SIZE: (i32, i32) = (54, 18);
/// How long the runaway loop may run.
const LIMIT: Duration = Duration::from_millis(200);
/// More fuel than anything here uses.
const PLENTY: u64 = 1 << 40;

/// Shows everything, in order.
pub(crate) fn demo() -> Result<ExitCode> {
    let mut demo = Demo::new()?;
    demo.picture()?;
    demo.budget()?;
    demo.suspend()?;
    demo.runaway()?;
    demo.trap()?;
    demo.look()?;
    writeln!(demo.out, "\n'stillframe --help' says what you can do next.")?;
    Ok(ExitCode::SUCCESS)
}

struct Demo {
    out: StdoutLock<'static>,
    store: Store<()>,
    instance: Instance,
}

impl Demo {
    fn new() -> Result<Demo> {
        let mut out = io::stdout().lock();
        heading(&mut out, "Compile", "WebAssembly becomes machine code that counts what it does")?;
        let started = Instant::now();
        let mut config = Config::new();
        config.consume_fuel(true).epoch_interruption(true);
        let engine = Engine::new(&config)?;
        let module = Module::new(&engine, GUEST)?;
        writeln!(out, "  compiled in {}\n", time(started.elapsed()))?;

        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "each", each)?;
        let mut store = Store::new(&engine, ());
        store.set_epoch_deadline(1);
        store.set_fuel(PLENTY)?;
        let instance = linker.instantiate(&mut store, &module)?;
        Ok(Demo { out, store, instance })
    }

    /// A picture, and what each of its lines consumed.
    fn picture(&mut self) -> Result<()> {
        heading(&mut self.out, "Meter", "each call's fuel is known to the unit")?;
        let started = Instant::now();
        let (mut total, mut most) = (0, 0);
        let mut lines = Vec::new();
        for y in 0..SIZE.1 {
            let (line, fuel) = self.row(y)?;
            total += fuel;
            most = most.max(fuel);
            lines.push((line, fuel));
        }
        let elapsed = started.elapsed();
        for (line, fuel) in lines {
            let bar = "=".repeat((fuel * 8 / most) as usize);
            let line = format!("  {line} {:>11} {bar}", grouped(fuel));
            writeln!(self.out, "{}", line.trim_end())?;
        }
        let rate = total as f64 / elapsed.as_secs_f64() / 1e9;
        writeln!(
            self.out,
            "\n  {} units in {}: {rate:.1} billion operators per second, metered\n",
            grouped(total),
            time(elapsed),
        )?;
        Ok(())
    }

    /// One line of the picture, and the fuel it took.
    fn row(&mut self, y: i32) -> Result<(String, u64)> {
        let row = self.instance.get_typed_func::<(i32, i32, i32), ()>(&mut self.store, "row")?;
        self.store.set_fuel(PLENTY)?;
        row.call(&mut self.store, (y, SIZE.0, SIZE.1))?;
        let fuel = PLENTY - self.store.get_fuel()?;
        Ok((self.line()?, fuel))
    }

    /// What the guest has drawn of the line, so far.
    fn line(&mut self) -> Result<String> {
        let memory = self.instance.get_memory(&mut self.store, "memory").context("no memory")?;
        let line = &memory.data(&self.store)[..SIZE.0 as usize];
        let drawn = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
        Ok(String::from_utf8(line[..drawn].to_vec())?)
    }

    /// Forgets what was drawn.
    fn wipe(&mut self) -> Result<()> {
        let memory = self.instance.get_memory(&mut self.store, "memory").context("no memory")?;
        memory.data_mut(&mut self.store)[..SIZE.0 as usize].fill(0);
        Ok(())
    }

    /// The same line again: once for the same fuel, and once with too little.
    fn budget(&mut self) -> Result<()> {
        heading(&mut self.out, "Limit", "fuel is a number of operators, not a time: it repeats")?;
        let y = SIZE.1 / 2;
        let (_, first) = self.row(y)?;
        let (_, second) = self.row(y)?;
        writeln!(
            self.out,
            "  line {y}, twice:          {} and {} units",
            grouped(first),
            grouped(second)
        )?;
        let row = self.instance.get_typed_func::<(i32, i32, i32), ()>(&mut self.store, "row")?;
        self.store.set_fuel(first)?;
        row.call(&mut self.store, (y, SIZE.0, SIZE.1))?;
        writeln!(self.out, "  with exactly so much:   done, {} left", self.store.get_fuel()?)?;
        self.store.set_fuel(first / 2)?;
        let ended = row.call(&mut self.store, (y, SIZE.0, SIZE.1));
        writeln!(self.out, "  with half of it:        {}\n", trap_of(ended)?.name())?;
        Ok(())
    }

    /// The line once more: stopped in the middle by its budget, and carried on by another thread.
    fn suspend(&mut self) -> Result<()> {
        heading(&mut self.out, "Suspend", "out of fuel, a call stands still, and can go on")?;
        let y = SIZE.1 / 2;
        let (line, whole) = self.row(y)?;
        writeln!(self.out, "  line {y} in one go:       {} units", grouped(whole))?;

        self.wipe()?;
        let row = self.instance.get_typed_func::<(i32, i32, i32), ()>(&mut self.store, "row")?;
        let third = whole / 3;
        self.store.set_fuel(third)?;
        let called = row.call_resumable(&mut self.store, (y, SIZE.0, SIZE.1))?;
        let TypedResumableCall::OutOfFuel(call) = called else { bail!("it was not stopped") };
        let units = third + call.overdraft();
        let frames = Frames(&call.backtrace(&self.store)?).to_string();
        let drawn = self.line()?;
        writeln!(
            self.out,
            "  with a third of that:   it stops after {} units, at",
            grouped(units)
        )?;
        for frame in frames.trim_start().lines() {
            writeln!(self.out, "{:26}{}", "", frame.trim_start())?;
        }
        writeln!(self.out, "                          {drawn}")?;

        // The call is a value: it can be sent to another thread, with its store.
        let store = &mut self.store;
        let resumed = thread::scope(|scope| {
            let other = scope.spawn(move || {
                store.add_fuel(PLENTY)?;
                anyhow::Ok((call.resume(&mut *store)?, third + PLENTY - store.get_fuel()?))
            });
            other.join().map_err(|_| Error::msg("the other thread panicked"))?
        });
        let (TypedResumableCall::Finished(()), units) = resumed? else { bail!("it stopped again") };
        let drawn = self.line()?;
        writeln!(self.out, "  on another thread:      it goes on, to {} units", grouped(units))?;
        writeln!(self.out, "                          {drawn}\n")?;
        ensure!((&drawn, units) == (&line, whole), "that is not the same");
        Ok(())
    }

    /// A loop without end, and an epoch that comes.
    fn runaway(&mut self) -> Result<()> {
        heading(&mut self.out, "Interrupt", "a loop without end meets another thread's epoch")?;
        let spin = self.instance.get_typed_func::<(), ()>(&mut self.store, "spin")?;
        self.store.set_fuel(PLENTY)?;
        self.store.set_epoch_deadline(1);
        let started = Instant::now();
        let timeout = Timeout::start(self.store.engine(), LIMIT);
        let ended = spin.call(&mut self.store, ());
        let elapsed = started.elapsed();
        drop(timeout);
        let executed = PLENTY - self.store.get_fuel()?;
        self.store.set_epoch_deadline(u64::MAX / 2);
        writeln!(
            self.out,
            "  limit {}: {} after {}, {} operators on\n",
            time(LIMIT),
            trap_of(ended)?.name(),
            time(elapsed),
            grouped(executed),
        )?;
        Ok(())
    }

    /// A trap below a host function that was called by the guest.
    fn trap(&mut self) -> Result<()> {
        heading(&mut self.out, "Explain", "a trap says where, through guest and host")?;
        let report = self.instance.get_typed_func::<i32, ()>(&mut self.store, "report")?;
        self.store.set_fuel(PLENTY)?;
        let Err(error) = report.call(&mut self.store, 3) else { bail!("it did not trap") };
        for line in Ending::of(&error).message.lines() {
            writeln!(self.out, "  {line}")?;
        }
        writeln!(self.out)?;
        Ok(())
    }

    /// Another guest, whose variables a host function reads, and changes.
    fn look(&mut self) -> Result<()> {
        heading(
            &mut self.out,
            "Look",
            "a host function reads the guest's variables, or sets them",
        )?;
        // Code whose variables can be set does not keep them in registers over calls.
        let engine = Engine::new(Config::new().frame_writes(true))?;
        let module = Module::new(&engine, LOOKED_AT)?;
        let mut linker = Linker::new(&engine);
        linker.func_wrap("host", "look", look)?;
        let mut store = Store::new(&engine, Seen { set_total: false, stack: String::new() });
        let instance = linker.instantiate(&mut store, &module)?;
        let average = instance.get_typed_func::<i32, f64>(&mut store, "average")?;
        let left_alone = average.call(&mut store, 100)?;
        for line in store.data().stack.trim_start_matches('\n').lines() {
            writeln!(self.out, "{line}")?;
        }
        writeln!(self.out, "  it goes on:              the average is {left_alone}")?;
        store.data_mut().set_total = true;
        let changed = average.call(&mut store, 100)?;
        writeln!(self.out, "  again, with total = 0:   the average is {changed}")?;
        ensure!((left_alone, changed) == (50.5, 37.75), "that is wrong");
        Ok(())
    }
}

/// What the host function `look` is to do, and what it saw.
struct Seen {
    set_total: bool,
    stack: String,
}

/// The host function `look`.
fn look(mut caller: Caller<'_, Seen>) -> Result<()> {
    let stack = Stack::of_frames(&caller, caller.frames())?;
    caller.data_mut().stack = stack.render(Style::PLAIN, false);
    if caller.data().set_total {
        let frame = caller.frames().next().context("no frame")?;
        let total = local_named(&caller, &frame, "total")?;
        frame.set_local(&mut caller, total, Val::I32(0))?;
    }
    Ok(())
}

/// The index of a frame's local.
fn local_named(caller: &Caller<'_, Seen>, frame: &FrameHandle, name: &str) -> Result<usize> {
    let locals = frame.locals(caller)?;
    let local = locals.iter().find(|local| local.name.as_deref() == Some(name));
    Ok(local.with_context(|| format!("no local {name}"))?.index)
}

/// The host function `each`: calls the guest back, from `n - 1` down to 0.
fn each(mut caller: Caller<'_, ()>, n: i32) -> Result<()> {
    let export = caller.get_export("on_item").and_then(|export| export.into_func());
    let on_item = export.context("the guest has no on_item")?.typed::<i32, i32>(&caller)?;
    for i in (0..n).rev() {
        on_item.call(&mut caller, i)?;
    }
    Ok(())
}

fn trap_of(ended: Result<(), Error>) -> Result<Trap> {
    match ended {
        Err(error) => error.downcast_ref::<Trap>().copied().ok_or(error),
        Ok(()) => bail!("it was not stopped"),
    }
}

fn heading(out: &mut impl io::Write, title: &str, what: &str) -> io::Result<()> {
    writeln!(out, "{title}: {what}")
}

/// A duration in the unit that suits it.
fn time(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_runs_to_its_end() {
        demo().unwrap();
    }
}
