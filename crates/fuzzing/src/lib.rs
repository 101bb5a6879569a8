//! What must hold for any input, each as one function from bytes to an outcome.
//!
//! ```text
//!   input.rs      bytes -> choices and a module       modules.rs    modules at random, rewritten
//!   configs.rs    choices -> an engine's settings     threads.rs    futures that change threads
//!   counters.rs   how outcomes are declared           resuming.rs   resuming calls of any kind
//!   panics.rs     panics that are documented, caught
//!
//!   translate/      any bytes, any module: an error or code
//!   differential/   the same results as the reference interpreter, wasmi and wasmtime
//!   suspend/        stopped anywhere and carried on: as if it had not been
//!   frames/         every frame is the interpreter's; handles never lie
//!   artifact/       damaged artifacts are refused, or do no harm
//!   api/            any sequence of calls of the public interface
//!
//!   ../examples/    seeds.rs    seeds for the fuzzer      replay.rs    what it found, again
//! ```
//!
//! Each oracle has a `run(data: &[u8]) -> Result<Outcome>`. An error is a bug that was found;
//! `Outcome` says what the input came to, so that tests can ask whether enough has happened. The
//! targets in `fuzz/` call `run` and panic at errors; the tests of this crate call it with fixed
//! seeds.

#![deny(unsafe_code)]

pub mod api;
pub mod artifact;
pub mod configs;
pub(crate) mod counters;
pub mod differential;
pub mod frames;
pub mod input;
pub mod modules;
pub mod panics;
pub(crate) mod resuming;
pub mod suspend;
pub mod threads;
pub mod translate;

pub use input::{Choices, Input};
