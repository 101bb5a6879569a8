//! What each engine can do with a module.

use super::guest::Program;
use super::{stillframe, wasmi, wasmtime};
use anyhow::Result;
use stillframe_bench_report::configuration::{Configuration, Engine};

/// A compiled module.
pub(super) trait Compiled {
    /// Bytes of it; an error if there is nothing of the kind.
    fn sizes(&self) -> Result<Sizes>;

    /// The seconds that it takes to load what [`Compiled::sizes`] has serialized.
    fn load(&self, artifact: &[u8]) -> Result<f64>;

    /// Runs a program whose module this is; the seconds that its function took.
    fn run(&self, program: &Program) -> Result<f64>;
}

/// How large a compiled module is.
pub(super) struct Sizes {
    pub(super) code: usize,
    /// If there is a table of frames by itself.
    pub(super) frame_table: Option<usize>,
    /// The serialized module.
    pub(super) artifact: Vec<u8>,
}

/// Compiles, with one thread or with all.
pub(super) fn compile(
    configuration: Configuration,
    wasm: &[u8],
    parallel: bool,
) -> Result<Box<dyn Compiled>> {
    Ok(match configuration.engine {
        Engine::Stillframe => Box::new(stillframe::compile(configuration, wasm, parallel)?),
        Engine::Wasmtime => Box::new(wasmtime::compile(configuration, wasm, parallel)?),
        Engine::Wasmi => Box::new(wasmi::compile(configuration, wasm)?),
    })
}

/// What the host function of our own guests does.
pub(super) fn step(value: i64) -> i64 {
    value.wrapping_mul(3).wrapping_add(1)
}
