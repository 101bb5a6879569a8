//! Instantiating in wasmtime, with its default allocator and with the one that pools.

use super::subject::{ANSWER, Subject, step};
use super::{hold, sample};
use crate::engines::Sample;
use crate::engines::wasmtime::told;
use crate::guest::check;
use anyhow::Result;
use wasmtime::{
    Config, Engine, Instance, InstanceAllocationStrategy, Linker, Module, PoolingAllocationConfig,
    Store,
};

fn engine(pooled: Option<PoolingAllocationConfig>) -> Result<Engine> {
    let mut config = Config::new();
    if let Some(pool) = pooled {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    Engine::new(&config).map_err(told)
}

fn linker(engine: &Engine, subject: Subject) -> Result<(Module, Linker<()>)> {
    let module = Module::new(engine, subject.wasm()?).map_err(told)?;
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "step", step).map_err(told)?;
    linker.define_unknown_imports_as_traps(&module).map_err(told)?;
    Ok((module, linker))
}

fn call(store: &mut Store<()>, instance: Instance) -> Result<()> {
    let run = instance.get_typed_func::<(), i32>(&mut *store, "run").map_err(told)?;
    check(run.call(store, ()).map_err(told)?, ANSWER)
}

/// What makes a store with an instance.
fn new(
    subject: Subject,
    pool: Option<PoolingAllocationConfig>,
    pre: bool,
) -> Result<impl Fn() -> Result<(Store<()>, Instance)>> {
    let engine = engine(pool)?;
    let (module, linker) = linker(&engine, subject)?;
    let pre = pre.then(|| linker.instantiate_pre(&module)).transpose().map_err(told)?;
    Ok(move || {
        let mut store = Store::new(&engine, ());
        let instance = match &pre {
            Some(pre) => pre.instantiate(&mut store),
            None => linker.instantiate(&mut store, &module),
        };
        Ok((store, instance.map_err(told)?))
    })
}

pub(super) fn prepare(subject: Subject, pooled: bool, pre: bool, n: u32) -> Result<Sample> {
    let pool = pooled.then(PoolingAllocationConfig::default);
    Ok(sample(subject, n, new(subject, pool, pre)?, call))
}

pub(super) fn hold_many(subject: Subject, pooled: bool, instances: u32) -> Result<f64> {
    let pool = pooled.then(|| {
        let mut pool = PoolingAllocationConfig::default();
        // The first one is not counted.
        let count = instances + 1;
        pool.total_core_instances(count).total_memories(count).total_tables(count);
        pool
    });
    hold(subject, instances, new(subject, pool, false)?, call)
}
