//! Errors: what a call that failed says of itself.

use anyhow::Error;
use stillframe_debug::WasmBacktrace;
use stillframe_runtime::{CallError, InstantiateError};

/// The error of a call: what the runtime gave, with the backtrace as context. An error that has
/// one already, because it came through a nested call, keeps that: it spans all activations.
#[cold]
pub(crate) fn of_call(CallError { error, trace }: CallError) -> Error {
    match trace {
        Some(trace) if !trace.frames.is_empty() && !error.is::<WasmBacktrace>() => {
            let reason = error.to_string();
            error.context(WasmBacktrace::new(*trace, Some(reason)))
        }
        _ => error,
    }
}

/// The error of an instantiation.
#[cold]
pub(crate) fn of_instantiation(error: InstantiateError) -> Error {
    match error {
        InstantiateError::Link(error) => error,
        InstantiateError::Trap(error) => of_call(error),
    }
}

#[cold]
pub(crate) fn not_metered() -> Error {
    anyhow::anyhow!("this store's engine does not count fuel; `Config::consume_fuel` is off")
}
