//! Loading serialized modules: the one thing here that needs unsafe code.

#![allow(unsafe_code)]

use crate::engines::wasmtime::told;
use crate::measure::thread_seconds;
use anyhow::Result;

/// The seconds that Stillframe takes to load what it has serialized in this process.
pub(super) fn stillframe(engine: &::stillframe::Engine, artifact: &[u8]) -> Result<f64> {
    let start = thread_seconds();
    // SAFETY: trusted code: who calls this hands over, unchanged, what `Module::serialize` made in
    // this process.
    let module = unsafe { ::stillframe::Module::deserialize(engine, artifact)? };
    let seconds = thread_seconds() - start;
    drop(module);
    Ok(seconds)
}

/// The same of wasmtime.
pub(super) fn wasmtime(engine: &::wasmtime::Engine, artifact: &[u8]) -> Result<f64> {
    let start = thread_seconds();
    // SAFETY: trusted code: as above.
    let module = unsafe { ::wasmtime::Module::deserialize(engine, artifact).map_err(told)? };
    let seconds = thread_seconds() - start;
    drop(module);
    Ok(seconds)
}
