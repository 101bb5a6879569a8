//! Compiling and running in wasmtime.

use super::compiled::{Compiled, Sizes, step};
use super::guest::{Program, Real};
use super::load;
use crate::engines::wasmtime::told;
use crate::guest::check;
use crate::measure::thread_seconds;
use anyhow::{Context as _, Result};
use object::{Object as _, ObjectSection as _};
use stillframe_bench_report::configuration::{Configuration, Frames};
use stillframe_bench_report::guests::Guest;
use stillframe_tests::programs::wasmtime::{exit_code, linker, system};
use stillframe_tests::programs::{BUDGET, script_host};
use wasmtime::{Config, Engine, Inlining, Linker, Module, Store};

struct Code {
    module: Module,
    configuration: Configuration,
}

/// An engine with its default settings but for what the configuration says.
fn engine(configuration: Configuration, parallel: bool) -> Result<Engine> {
    let mut config = Config::new();
    config.parallel_compilation(parallel);
    config.consume_fuel(configuration.fuel).epoch_interruption(configuration.epoch);
    if configuration.inlining {
        config.compiler_inlining(Inlining::Yes);
    }
    if configuration.frames != Frames::Off {
        config.guest_debug(true);
    }
    Engine::new(&config).map_err(told)
}

pub(super) fn compile(
    configuration: Configuration,
    wasm: &[u8],
    parallel: bool,
) -> Result<impl Compiled + use<>> {
    let module = Module::new(&engine(configuration, parallel)?, wasm).map_err(told)?;
    Ok(Code { module, configuration })
}

impl Compiled for Code {
    fn sizes(&self) -> Result<Sizes> {
        let artifact = self.module.serialize().map_err(told)?;
        let elf = object::File::parse(&*artifact).context("wasmtime's artifact")?;
        let section = elf.section_by_name(".wasmtime.frames");
        let frame_table = section.map(|section| section.size() as usize);
        Ok(Sizes { code: self.module.text().len(), frame_table, artifact })
    }

    fn load(&self, artifact: &[u8]) -> Result<f64> {
        load::wasmtime(self.module.engine(), artifact)
    }

    fn run(&self, program: &Program) -> Result<f64> {
        match program {
            Program::Own(guest) => self.run_own(guest),
            Program::Real(real) => self.run_real(real),
        }
    }
}

impl Code {
    fn store<T: 'static>(&self, data: T) -> Result<Store<T>> {
        let mut store = Store::new(self.module.engine(), data);
        if self.configuration.fuel {
            store.set_fuel(BUDGET).map_err(told)?;
        }
        if self.configuration.epoch {
            store.set_epoch_deadline(1);
        }
        Ok(store)
    }

    fn run_own(&self, guest: &Guest) -> Result<f64> {
        let mut linker = Linker::new(self.module.engine());
        linker.func_wrap("host", "step", step).map_err(told)?;
        let mut store = self.store(())?;
        let instance = linker.instantiate(&mut store, &self.module).map_err(told)?;
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run").map_err(told)?;
        let start = thread_seconds();
        let answer = run.call(&mut store, guest.parameter).map_err(told)?;
        let seconds = thread_seconds() - start;
        check(answer, guest.answer)?;
        Ok(seconds)
    }

    fn run_real(&self, real: &Real) -> Result<f64> {
        let workspace = real.workspace()?;
        let host = real.wasi.scripted.then(|| script_host().0);
        let (state, console) = system(&real.wasi, &workspace, host)?;
        let mut store = self.store(state)?;
        let linker = linker(self.module.engine(), &real.wasi)?;
        let instance = linker.instantiate(&mut store, &self.module).map_err(told)?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "_start").map_err(told)?;
        let start = thread_seconds();
        let ended = run.call(&mut store, ());
        let seconds = thread_seconds() - start;
        real.check(&workspace, exit_code(ended)?, console.contents())?;
        Ok(seconds)
    }
}
