//! What generated code and the runtime agree on.
//!
//! The translator (`stillframe-translate`) emits machine code that reads and writes the structures
//! in this crate by offset; the runtime (`stillframe-runtime`) owns them. Neither depends on the
//! other: whatever both must know stands here, once.
//!
//! ```text
//!   limits       VMRuntimeLimits: all that is needed to stop a store and to look at it
//!   vmctx        VMContext: what a wasm function finds through its first argument
//!   builtins     the functions of the runtime that generated code calls
//!   trap         why wasm can stop for good
//!   frame_table  code address -> (wasm function, wasm pc, locals and operands, trap, fuel to give back)
//!   types        value, function, memory, table and global types
//!   module       what a compiled module says of itself
//!   artifact     the compiled module as an ELF file
//! ```
//!
//! There is no Cranelift here, no `unsafe`, and no policy.

#![forbid(unsafe_code)]

pub mod artifact;
pub mod builtins;
pub mod frame_table;
pub mod limits;
pub mod module;
pub mod trap;
pub mod types;
pub mod vmctx;

pub use limits::VMRuntimeLimits;
pub use trap::Trap;
