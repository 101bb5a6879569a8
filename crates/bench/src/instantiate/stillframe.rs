//! Instantiating in Stillframe.

use super::subject::{ANSWER, Subject, step};
use super::{hold, sample};
use crate::engines::Sample;
use crate::guest::check;
use anyhow::Result;
use stillframe::{Engine, Instance, Linker, Module, Store};

fn linker(subject: Subject) -> Result<(Module, Linker<()>)> {
    let engine = Engine::default();
    let module = Module::new(&engine, subject.wasm()?)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "step", step)?;
    linker.define_unknown_imports_as_traps(&module)?;
    Ok((module, linker))
}

fn call(store: &mut Store<()>, instance: Instance) -> Result<()> {
    check(instance.get_typed_func::<(), i32>(&mut *store, "run")?.call(store, ())?, ANSWER)
}

/// What makes a store with an instance.
fn new(subject: Subject, pre: bool) -> Result<impl Fn() -> Result<(Store<()>, Instance)>> {
    let (module, linker) = linker(subject)?;
    let pre = pre.then(|| linker.instantiate_pre(&module)).transpose()?;
    Ok(move || {
        let mut store = Store::new(module.engine(), ());
        let instance = match &pre {
            Some(pre) => pre.instantiate(&mut store)?,
            None => linker.instantiate(&mut store, &module)?,
        };
        Ok((store, instance))
    })
}

pub(super) fn prepare(subject: Subject, pre: bool, n: u32) -> Result<Sample> {
    Ok(sample(subject, n, new(subject, pre)?, call))
}

pub(super) fn hold_many(subject: Subject, instances: u32) -> Result<f64> {
    hold(subject, instances, new(subject, false)?, call)
}
