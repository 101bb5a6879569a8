//! Compiling and running in Stillframe.

use super::compiled::{Compiled, Sizes, step};
use super::guest::{Program, Real};
use super::load;
use crate::guest::check;
use crate::measure::thread_seconds;
use anyhow::Result;
use stillframe::{Config, Engine, FrameState, Linker, Module, Store};
use stillframe_bench_report::configuration::{Configuration, Frames};
use stillframe_bench_report::guests::Guest;
use stillframe_tests::programs::stillframe::{exit_code, linker, system};
use stillframe_tests::programs::{BUDGET, script_host};

struct Code {
    module: Module,
    configuration: Configuration,
}

/// An engine with its default settings but for what the configuration says.
fn engine(configuration: Configuration, parallel: bool) -> Result<Engine> {
    let mut config = Config::new();
    config.parallel_compilation(parallel);
    config.consume_fuel(configuration.fuel).epoch_interruption(configuration.epoch);
    match configuration.frames {
        Frames::Off => config.frame_state(FrameState::Off),
        Frames::Live => config.frame_state(FrameState::Live),
        Frames::All => config.frame_state(FrameState::All),
        Frames::LiveWrites => config.frame_state(FrameState::Live).frame_writes(true),
    };
    Engine::new(&config)
}

pub(super) fn compile(
    configuration: Configuration,
    wasm: &[u8],
    parallel: bool,
) -> Result<impl Compiled + use<>> {
    let module = Module::new(&engine(configuration, parallel)?, wasm)?;
    Ok(Code { module, configuration })
}

impl Compiled for Code {
    fn sizes(&self) -> Result<Sizes> {
        let artifact = self.module.serialize()?;
        let (code, frame_table) = (self.module.code_size(), self.module.frame_table_size());
        Ok(Sizes { code, frame_table: Some(frame_table), artifact })
    }

    fn load(&self, artifact: &[u8]) -> Result<f64> {
        load::stillframe(self.module.engine(), artifact)
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
        let mut store = Store::new(self.module.engine(), data);
        if self.configuration.fuel {
            store.set_fuel(BUDGET)?;
        }
        if self.configuration.epoch {
            store.set_epoch_deadline(1);
        }
        Ok(store)
    }

    fn run_own(&self, guest: &Guest) -> Result<f64> {
        let mut linker = Linker::new(self.module.engine());
        linker.func_wrap("host", "step", step)?;
        let mut store = self.store(())?;
        let instance = linker.instantiate(&mut store, &self.module)?;
        let run = instance.get_typed_func::<i32, i64>(&mut store, "run")?;
        let start = thread_seconds();
        let answer = run.call(&mut store, guest.parameter)?;
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
        let instance = linker.instantiate(&mut store, &self.module)?;
        let run = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
        let start = thread_seconds();
        let ended = run.call(&mut store, ());
        let seconds = thread_seconds() - start;
        let exit_code = exit_code(ended)?;
        drop(store);
        real.check(&workspace, exit_code, console.contents()?)?;
        Ok(seconds)
    }
}
