//! A guest that is stopped anywhere and carried on does what it does when it is not.
//!
//! A module's exported functions are called in order, with chosen arguments, in a *straight* run:
//! plain calls, enough fuel, host functions that succeed. Then again in a run that is *cut*: little
//! fuel, epoch deadlines, host functions that fail and are answered later, threads that change,
//! other calls in between. Results, traps, the calls of host functions with their arguments, fuel,
//! memories, globals and tables must be the same.
//!
//! ```text
//!   guest.rs     what is run: a module, two engines                values.rs   arguments, answers
//!   straight.rs  the run that says what is right                   state.rs    what a run leaves
//!   cut.rs       the run that is cut, of several instances         later.rs    the same, as futures
//!   task.rs      one call, with those that its host functions made
//!   host.rs      host functions, and the store's data              books.rs    what fuel is where
//!   stir.rs      what happens meanwhile
//!   linear.rs    what costs a and b take, costs a + b take together
//! ```

pub(crate) mod books;
mod cut;
mod guest;
mod host;
mod later;
mod linear;
mod state;
mod stir;
mod straight;
mod task;
mod values;

use crate::counters::counters;
use crate::{Choices, Input, modules, threads};
use anyhow::{Context as _, Result};
use guest::Guest;

counters! {
    /// What inputs came to.
    Outcome {
        /// Guests that were run both ways.
        guests,
        /// Runs of an instance that were compared.
        runs,
        /// Calls in them.
        calls,
        /// Calls that ended in traps or exceptions.
        failed,
        /// Stops without fuel.
        out_of_fuel,
        /// Stops at epoch deadlines.
        interrupted,
        /// Stops in host functions that failed.
        host_traps,
        /// Resumptions that were refused.
        refused,
        /// Calls made by host functions, of the instance that called them.
        nested,
        /// Those of them that were carried on when the host function had failed.
        escaped,
        /// Steps of another instance's calls, made by host functions and epoch callbacks.
        beside,
        /// Suspended calls that were dropped.
        dropped,
        /// Epoch callbacks.
        callbacks,
        /// Polls of asynchronous calls that were not ready.
        pending,
        /// Asynchronous calls that were dropped before they were done.
        cancelled,
        /// How often a store, with all that runs in it, went to another thread.
        moves,
        /// Frames of suspended calls that were held, and found stale behind.
        frames,
        /// Calls whose fuel was compared under three tables of costs.
        linear,
    }
}

/// Runs the input.
///
/// # Errors
///
/// If the two runs differ.
pub fn run(data: &[u8]) -> Result<Outcome> {
    let Some(mut input) = Input::new(data) else { return Ok(Outcome::default()) };
    if input.choices.one_in(16) {
        return linear::run(input);
    }
    let Some(mut guest) = Guest::choose(&mut input)? else { return Ok(Outcome::default()) };
    let wasm = std::mem::take(&mut guest.wasm);
    let compared = compare(guest, input.choices.into_owned());
    if compared.is_err() {
        modules::keep(&wasm);
    }
    compared
}

/// Runs a guest both ways.
fn compare(mut guest: Guest, choices: Choices<'static>) -> Result<Outcome> {
    let Some(straight) = straight::run(&mut guest)? else { return Ok(Outcome::default()) };
    let described = format!("{guest:?}");
    let is_later = guest.is_later;
    let executor = guest::choices_of(choices.clone().number());
    let (cut, moves) = match is_later {
        true => threads::run(executor, later::run(guest, choices)),
        false => threads::run(executor, cut::run(guest, choices)),
    };
    let (runs, mut outcome) = cut.with_context(|| described.clone())?;
    outcome.moves += moves;
    // Nothing is compared where only one run has used up its stack, or was given up.
    outcome.guests += u64::from(!runs.is_empty());
    for (lane, run) in runs.iter().enumerate() {
        outcome.runs += 1;
        outcome.calls += run.calls.len() as u64;
        outcome.failed += run.calls.iter().filter(|call| call.ended.is_err()).count() as u64;
        let compared = straight.compare(run);
        compared.with_context(|| format!("instance {lane} of {described}"))?;
    }
    Ok(outcome)
}
