//! Every frame of every stop is the interpreter's, and handles are good exactly as long as their
//! frames are frozen.
//!
//! ```text
//!   step.rs    a module here and in the reference interpreter, in step
//!   world.rs   calls that are nested, suspended, resumed, dropped; and handles of their frames
//!   model.rs   which frozen periods last
//! ```

mod model;
mod step;
mod world;

use crate::Input;
use crate::counters::counters;
use anyhow::Result;

counters! {
    /// What inputs came to.
    Outcome {
        /// Modules that were run in step.
        modules,
        /// Places where frames were compared.
        stops,
        /// Calls of host functions among them.
        host_calls,
        /// Epoch deadlines among them.
        interrupts,
        /// Traps, and exceptions that were not caught.
        failed,
        /// Locals and operands that were the same.
        values,
        /// Locals and operands that were written in step.
        writes,
        /// Worlds of calls and handles.
        worlds,
        /// Handles of frames that were frozen, and good.
        good,
        /// Handles of frames that had gone on or were gone, and stale.
        stale,
        /// Calls made by host functions.
        nested,
        /// Host functions that were called with four calls around theirs, or more.
        deep,
        /// Calls that were suspended.
        suspended,
        /// Suspended calls that were resumed.
        resumed,
        /// Suspended calls that were dropped.
        dropped,
        /// Calls that ended in a trap.
        trapped,
        /// Calls that ended in a host function's panic.
        panicked,
        /// Handles that were used with another store.
        strange,
        /// Values that were written by handles in a world.
        changed,
        /// Handles held at once, at most, added up over all worlds.
        held,
    }
}

/// Runs the input.
///
/// # Errors
///
/// If a frame is not the interpreter's, or a handle not what the model says.
pub fn run(data: &[u8]) -> Result<Outcome> {
    let Some(mut input) = Input::new(data) else { return Ok(Outcome::default()) };
    match input.given().is_none() && input.choices.one_in(4) {
        true => world::run(input.choices, 400),
        false => step::run(input),
    }
}

/// Runs a world of so many operations.
///
/// # Errors
///
/// If a handle is not what the model says.
pub fn run_world(seed: u64, operations: usize) -> Result<Outcome> {
    world::run(crate::Choices::new(&seed.to_le_bytes()), operations)
}
