//! The JIT and the reference interpreter, in step.
//!
//! A [`Lockstep`] runs a module's exported functions here in pieces of fuel, and the same functions
//! in the interpreter of `stillframe-oracle` operator by operator. Wherever the JIT is frozen (out of
//! fuel, in a host function, suspended by one that failed, trapped) the interpreter is moved to the
//! same place, and every frame is compared: function, wasm pc, locals, operands, and the fuel.
//!
//! ```text
//!   settings.rs   how to run                        smith.rs    random modules
//!   drive.rs      both sides, from stop to stop     programs.rs our own, body.rs, expr.rs, types.rs
//!   twin.rs       the interpreter's side            faults.rs   a fault at any operator of them
//!   compare.rs    frames against frames             values.rs   values of one side as the other's
//!   report.rs     what was compared                 rng.rs      deterministic choices
//! ```
//!
//! What is promised must be there: with [`FrameState::All`](stillframe::FrameState::All) every
//! local, with `Live` those that the interpreter's own liveness analysis calls live. What is there
//! beyond that must be right too.

#![forbid(unsafe_code)]

mod body;
mod compare;
mod drive;
mod expr;
mod faults;
mod programs;
mod report;
mod rng;
mod settings;
mod smith;
mod twin;
mod types;
mod values;

pub use drive::{Lockstep, Pair};
pub use faults::{Fault, Variant};
pub use programs::Program;
pub use report::Report;
pub use settings::Settings;
pub use smith::{Shape, module_of};
pub use twin::TOO_LONG;
