//! Real programs: each runs here and in wasmtime on the same input, with and without fuel, and must
//! leave the same behind: exit code, output, files, and where WASI plays no part in it, fuel. Then it
//! runs again, suspended and resumed some thousand times, and leaves the same behind as when it ran
//! through.
//!
//! A harness of its own, because a program that has not been fetched is *skipped*, which is neither
//! passing nor failing. Arguments are parts of program names to run; `--slow` adds those that take
//! minutes to compile.

use anyhow::{Context as _, Result, ensure};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use stillframe::{Config, Engine, Error, FrameState, Module, Store, TypedFunc, TypedResumableCall};
use stillframe_tests::programs::stillframe::{State, exit_code, linker, system};
use stillframe_tests::programs::{
    BUDGET, HostCall, Program, RunOutcome, Workspace, programs, run_micropython_with_wasmtime,
    run_with_wasmtime, script_host,
};

/// How a program's test ended.
enum Verdict {
    Passed(String),
    Skipped(String),
}

/// How a program is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Unmetered,
    Fuel,
    /// Suspended each time that so many units are used up.
    Pieces(u64),
    /// Suspended each time that the epoch has moved on, which happens all the time; with fuel, and
    /// with frames that keep everything and load it again.
    Epochs,
}

/// Those that are also interrupted by epochs, for which they are compiled once more.
const INTERRUPTED: [&str; 3] = ["micropython", "boolector sat", "boolector unsat"];

/// A module's file, and whether its code tests fuel and epochs.
type Compiled = (PathBuf, bool, bool);

thread_local! {
    /// Compiled modules: several programs share one.
    static MODULES: RefCell<BTreeMap<Compiled, Module>> = RefCell::default();
}

fn compiled(wasm: &Path, mode: Mode) -> Result<Module> {
    let (fuel, epochs) = (mode != Mode::Unmetered, mode == Mode::Epochs);
    let key = (wasm.to_path_buf(), fuel, epochs);
    if let Some(module) = MODULES.with_borrow(|modules| modules.get(&key).cloned()) {
        return Ok(module);
    }
    let mut config = Config::new();
    config.consume_fuel(fuel).epoch_interruption(epochs);
    if epochs {
        config.frame_state(FrameState::All).frame_writes(true);
    }
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, wasm)?;
    let (code, frames) = (module.code_size(), module.frame_table_size());
    ensure!(frames * 10 <= code * 3, "{frames} bytes of frame table for {code} bytes of code");
    MODULES.with_borrow_mut(|modules| modules.insert(key, module.clone()));
    Ok(module)
}

/// The twin of `run_with_wasmtime`.
fn run(program: &Program, base: &Path, mode: Mode, host: Option<HostCall>) -> Result<RunOutcome> {
    let fuel = mode != Mode::Unmetered;
    let module = compiled(&program.wasm, mode)?;
    let workspace = Workspace::prepare(program, base)?;
    let (state, console) = system(program, &workspace, host)?;
    let mut store = Store::new(module.engine(), state);
    if fuel {
        store.set_fuel(BUDGET)?;
    }
    let instance = linker(module.engine(), program)?.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    let (ended, consumed) = match mode {
        Mode::Unmetered => (start.call(&mut store, ()), None),
        Mode::Fuel => {
            store.set_fuel(BUDGET)?;
            let ended = start.call(&mut store, ());
            (ended, Some(BUDGET - store.get_fuel()?))
        }
        Mode::Pieces(piece) => carry_on(&mut store, start, piece)?,
        Mode::Epochs => ticking(module.engine(), || carry_on(&mut store, start, BUDGET))?,
    };
    let exit_code = exit_code(ended).context(program.name)?;
    drop(store);
    let (stdout, stderr) = console.contents()?;
    workspace.outcome(program, exit_code, stdout, stderr, consumed)
}

/// Runs a call with so much fuel at a time, and on from each epoch to the next: how it ended, and
/// what it consumed.
fn carry_on(
    store: &mut Store<State>,
    start: TypedFunc<(), ()>,
    piece: u64,
) -> Result<(Result<(), Error>, Option<u64>)> {
    let mut given = piece;
    store.set_fuel(piece)?;
    store.epoch_deadline_suspend();
    store.set_epoch_deadline(1);
    let mut stops = 0_u64;
    let mut call = start.call_resumable(&mut *store, ())?;
    let ended = loop {
        stops += 1;
        call = match call {
            TypedResumableCall::Finished(()) => break Ok(()),
            // `proc_exit`.
            TypedResumableCall::HostTrap(call) => break Err(call.into_host_error()),
            TypedResumableCall::Interrupted(call) => {
                store.set_epoch_deadline(1);
                call.resume(&mut *store)?
            }
            TypedResumableCall::OutOfFuel(call) => {
                // A single step can need more than a piece: a large `memory.copy`.
                let more = piece.max(call.required_fuel() - store.get_fuel()?);
                given += more;
                store.set_fuel(store.get_fuel()? + more)?;
                call.resume(&mut *store)?
            }
        };
    };
    ensure!(stops > 10, "stopped only {stops} times");
    // What was executed on credit after the last checkpoint counts too.
    let overdraft = store.runtime_limits().fuel_consumed.max(0).unsigned_abs();
    Ok((ended, Some(given - store.get_fuel()? + overdraft)))
}

/// Runs `body` while another thread moves the engine's epoch on.
fn ticking<B>(engine: &Engine, body: impl FnOnce() -> B) -> B {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_micros(50));
            }
        });
        let result = body();
        done.store(true, Ordering::Relaxed);
        result
    })
}

/// Shortens what may be a whole picture.
fn shown(outcome: &RunOutcome) -> String {
    let text = |bytes: &[u8]| {
        let start = &bytes[..bytes.len().min(2000)];
        format!("{} bytes: {}", bytes.len(), String::from_utf8_lossy(start))
    };
    let files: Vec<_> = outcome.outputs.iter().map(|(k, v)| (k, v.len())).collect();
    format!(
        "exit code {}, stdout {}, stderr {}, files {files:?}, fuel {:?}",
        outcome.exit_code,
        text(&outcome.stdout),
        text(&outcome.stderr),
        outcome.fuel_consumed
    )
}

/// Runs a program here and in wasmtime. Returns what it left here, the fuel too, and the times.
fn compare(program: &Program, base: &Path, fuel: bool) -> Result<(RunOutcome, f64, f64)> {
    let mode = if fuel { Mode::Fuel } else { Mode::Unmetered };
    let (ours_dir, theirs_dir) = (base.join("ours"), base.join("theirs"));
    let started = Instant::now();
    let (mut ours, mut theirs, mut said) = (None, None, Vec::new());
    let mut times = (0.0, 0.0);
    for engine in 0..2 {
        let (host, transcript) = script_host();
        let host = program.scripted.then_some(host);
        if engine == 0 {
            ours = Some(run(program, &ours_dir, mode, host).context("in Stillframe")?);
            times.0 = started.elapsed().as_secs_f64();
        } else {
            let outcome = match host {
                Some(host) => run_micropython_with_wasmtime(program, &theirs_dir, fuel, host),
                None => run_with_wasmtime(program, &theirs_dir, fuel),
            };
            theirs = Some(outcome.context("in wasmtime")?);
            times.1 = started.elapsed().as_secs_f64() - times.0;
        }
        said.push(transcript);
    }
    let (mut ours, mut theirs) = (ours.context("ran")?, theirs.context("ran")?);
    ensure!(ours.exit_code == program.exit_code, "ended with {}", shown(&ours));
    let whole = ours.clone();
    if program.fuel_varies {
        (ours.fuel_consumed, theirs.fuel_consumed) = (None, None);
    }
    ensure!(
        ours == theirs,
        "the engines differ\n  Stillframe: {}\n  wasmtime:   {}",
        shown(&ours),
        shown(&theirs)
    );
    let [ours, theirs] = [&said[0], &said[1]].map(|t| t.lock().unwrap().clone());
    ensure!(ours == theirs, "host calls differ: {ours:?} and {theirs:?}");
    Ok((whole, times.0, times.1))
}

/// Runs a program cut in pieces, which must leave behind what it does when it runs through.
fn compare_cut(program: &Program, base: &Path, whole: &RunOutcome, mode: Mode) -> Result<f64> {
    let started = Instant::now();
    let host = program.scripted.then(|| script_host().0);
    let cut = run(program, &base.join("cut"), mode, host)?;
    ensure!(cut == *whole, "cut, it left {}\n  instead of {}", shown(&cut), shown(whole));
    Ok(started.elapsed().as_secs_f64())
}

fn test(program: &Program, base: &Path) -> Result<Verdict> {
    if !program.is_available() {
        let how = "it has not been fetched: see tests/programs/fetch.sh";
        return Ok(Verdict::Skipped(how.into()));
    }
    let mut told = String::new();
    for fuel in [false, true] {
        let (whole, ours, theirs) = compare(program, base, fuel)
            .with_context(|| format!("{} fuel", if fuel { "with" } else { "without" }))?;
        let with = if fuel { ", with fuel" } else { "" };
        told += &format!("{with} {ours:.1} s (wasmtime {theirs:.1} s)");
        if !fuel || program.slow {
            continue;
        }
        let mut modes = vec![Mode::Pieces(100_003), Mode::Pieces(1_000_000)];
        modes.extend(INTERRUPTED.contains(&program.name).then_some(Mode::Epochs));
        told += ", cut";
        for mode in modes {
            let took = compare_cut(program, base, &whole, mode)
                .with_context(|| format!("suspended and resumed: {mode:?}"))?;
            told += &format!(" {took:.1} s");
        }
    }
    Ok(Verdict::Passed(told))
}

fn main() -> ExitCode {
    let (flags, wanted): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|arg| arg.starts_with('-'));
    let slow = flags.iter().any(|flag| flag == "--slow");
    if flags.iter().any(|flag| flag == "--list") {
        programs().iter().for_each(|program| println!("{}: test", program.name));
        return ExitCode::SUCCESS;
    }
    let base = std::env::temp_dir().join(format!("stillframe-programs-{}", std::process::id()));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for program in programs() {
        let named = |part: &String| program.name.contains(part.as_str());
        if !wanted.is_empty() && !wanted.iter().any(named) {
            continue;
        }
        let verdict = match program.slow && !slow {
            true => Ok(Verdict::Skipped("it takes minutes to compile: --slow runs it".into())),
            false => test(&program, &base),
        };
        match verdict {
            Ok(Verdict::Passed(told)) => {
                passed += 1;
                println!("{:<18} ok      {told}", program.name);
            }
            Ok(Verdict::Skipped(why)) => {
                skipped += 1;
                println!("{:<18} skipped {why}", program.name);
            }
            Err(error) => {
                failed += 1;
                println!("{:<18} FAILED  {error:#}", program.name);
            }
        }
    }
    let _ = std::fs::remove_dir_all(&base);
    println!("\nprograms: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
