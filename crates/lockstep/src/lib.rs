//! The JIT and the reference interpreter, in step.
//!
//! A [`Lockstep`] runs a module's exported functions here in pieces of fuel, and the same functions
//! in the interpreter of `stillframe-oracle` operator by operator. Wherever the JIT is frozen (out of
//! fuel, in a host function, suspended by one that failed, trapped) the interpreter is moved to the
//! same place, and every frame is compared: function, wasm pc, locals, operands, and the fuel.
//!
//! ```text
//!   settings.rs   how to run                        smith.rs    random modules
//!   drive.rs      both sides, from stop to stop     compare.rs  frames against frames
//!   values.rs     values of one side as the other's
//! ```
//!
//! What is promised must be there: with [`FrameState::All`](stillframe::FrameState::All) every
//! local, with `Live` those that the interpreter's own liveness analysis calls live. What is there
//! beyond that must be right too.

#![forbid(unsafe_code)]

mod compare;
mod drive;
mod settings;
mod smith;
mod values;

pub use drive::{Lockstep, Report};
pub use settings::Settings;
pub use smith::{Shape, module_of};
