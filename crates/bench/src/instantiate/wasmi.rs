//! Instantiating in wasmi.

use super::subject::{ANSWER, Subject, step};
use super::{hold, sample};
use crate::engines::Sample;
use crate::guest::check;
use anyhow::Result;
use wasmi::{Engine, Error, ExternType, Instance, Linker, Module, Store};

fn linker(engine: &Engine, subject: Subject) -> Result<(Module, Linker<()>)> {
    let module = Module::new(engine, subject.wasm()?)?;
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        match import.ty() {
            _ if import.module() == "host" => linker.func_wrap("host", "step", step)?,
            ExternType::Func(ty) => {
                linker.func_new(import.module(), import.name(), ty.clone(), |_, _, _| {
                    Err(Error::new("an import that only traps"))
                })?
            }
            _ => continue,
        };
    }
    Ok((module, linker))
}

fn call(store: &mut Store<()>, instance: Instance) -> Result<()> {
    check(instance.get_typed_func::<(), i32>(&*store, "run")?.call(store, ())?, ANSWER)
}

/// What makes a store with an instance.
fn new(subject: Subject) -> Result<impl Fn() -> Result<(Store<()>, Instance)>> {
    let engine = Engine::default();
    let (module, linker) = linker(&engine, subject)?;
    Ok(move || {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate_and_start(&mut store, &module)?;
        Ok((store, instance))
    })
}

pub(super) fn prepare(subject: Subject, n: u32) -> Result<Sample> {
    Ok(sample(subject, n, new(subject)?, call))
}

pub(super) fn hold_many(subject: Subject, instances: u32) -> Result<f64> {
    hold(subject, instances, new(subject)?, call)
}
