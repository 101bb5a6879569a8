//! Any sequence of calls of the public interface: no crash, no panic that is not documented, the
//! errors that are promised, and nothing left behind.
//!
//! ```text
//!   world.rs     engines, modules and stores, made, used, mixed up and dropped in any order
//!   data.rs      a store's data: what its objects must be          guests.rs   what guests do
//!   objects.rs   memories, tables and globals, with edge values    misuse.rs   what is refused
//!   calls.rs     calls plain, resumable, asynchronous; nested, kept, resumed, dropped
//!   instances.rs instances, and host functions, which do any of this
//!   metering.rs  fuel, epochs, limits                              looks.rs    frames, handles, dumps
//! ```
//!
//! Operations within a store are made outside of calls, in host functions and in epoch callbacks
//! alike.

mod calls;
mod data;
mod guests;
mod instances;
mod looks;
mod metering;
mod misuse;
mod objects;
mod world;

use crate::Input;
use crate::counters::counters;
use anyhow::Result;

counters! {
    /// What inputs came to.
    Outcome {
        /// Worlds.
        worlds,
        /// Engines that were made.
        engines,
        /// Stores that were made.
        stores,
        /// Modules that went through bytes.
        reloaded,
        /// Instances that were made.
        instances,
        /// Operations on memories, tables and globals that were done.
        done,
        /// Those that were refused.
        refused,
        /// Calls that returned.
        returned,
        /// Calls that ended in traps, exceptions or errors.
        failed,
        /// Calls that came back unfinished.
        suspended,
        /// Suspended calls that were resumed.
        resumed,
        /// Resumptions that were refused.
        not_resumed,
        /// Suspended calls that were dropped on purpose.
        dropped,
        /// Suspended calls that outlived their store.
        orphans,
        /// Calls whose host function panicked.
        panicked,
        /// Asynchronous calls that were done, or failed.
        awaited,
        /// Asynchronous calls that were dropped before.
        cancelled,
        /// Calls and operations made in host functions.
        nested,
        /// Epoch callbacks.
        callbacks,
        /// Handles that were good.
        good,
        /// Handles that were stale.
        stale,
        /// Core dumps.
        dumps,
        /// Documented panics.
        panics,
        /// Misuses that were refused with an error.
        misuses,
        /// How often a store went to another thread.
        moves,
    }
}

/// Runs the input.
///
/// # Errors
///
/// If something is not as it is documented.
pub fn run(data: &[u8]) -> Result<Outcome> {
    // The rest of the input is choices too.
    match Input::new(data) {
        Some(_) => world::run(crate::Choices::new(data)),
        None => Ok(Outcome::default()),
    }
}
