//! WebAssembly to machine code: validation, translation to Cranelift IR, compilation, artifact.
//!
//! ```text
//!   wasm bytes ── module.rs ──► ModuleInfo, function bodies
//!                                   │  (one task per function, in parallel)
//!                 func.rs + ops/ ◄──┘  validates and translates operators, one by one
//!                   metering.rs        where fuel and epochs are tested
//!                   charges.rs         how much fuel is charged where
//!                   points.rs          which operator each instruction belongs to
//!                 compile.rs           Cranelift; frame table rows
//!                 link.rs          ──► Artifact
//! ```
//!
//! `trampoline.rs` makes the two pieces of code per function type by which host and wasm call each
//! other. [`Compiler`] is the entry point. There is no `unsafe` here, and nothing runs the code.

#![forbid(unsafe_code)]

mod charges;
mod compile;
mod compiler;
mod costs;
mod effort;
mod env;
mod frame_state;
mod func;
mod inline;
mod link;
mod liveness;
mod metering;
mod module;
mod operands;
mod ops;
mod points;
mod regions;
mod trampoline;

pub use compiler::{Compiler, CompilerOptions, OptLevel, Progress};
pub use costs::{OperatorCosts, UnknownOperator};
pub use trampoline::TrampolineText;
