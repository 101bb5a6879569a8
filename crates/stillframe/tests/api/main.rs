//! The public API's behaviour, one file per feature.

#![allow(missing_docs)]

mod artifacts;
mod asynchronous;
mod backtraces;
mod calls;
mod coredumps;
mod errors;
mod frames;
mod hosts;
mod linking;
mod metering;
mod objects;
mod pooling;
mod references;
mod resources;
mod resumable;
mod stores;
mod yields;

use stillframe::{Engine, Instance, Module, Store};

/// A store with an instance of this module, without imports.
fn instantiate(wat: &str) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// The text of an error, with its causes.
fn text<T>(result: stillframe::Result<T>) -> String {
    match result {
        Ok(_) => panic!("expected an error"),
        Err(error) => format!("{error:#}"),
    }
}

/// The message of the panic that `body` ends in.
fn panic_of<T>(body: impl FnOnce() -> T) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    let Err(payload) = panic else { panic!("expected a panic") };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => payload.downcast_ref::<&str>().expect("a panic with a message").to_string(),
    }
}
