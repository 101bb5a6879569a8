//! Looking at frozen Stillframe stacks.
//!
//! ```text
//!   backtrace   which wasm functions were running, and where in them
//!   frame       a frame's place -> names, by the module's name section and the guest's DWARF
//!   dwarf       wasm pc -> source file, line and inlined functions, by the guest's DWARF
//!   names       mangled names made readable
//! ```
//!
//! Everything here works on copies: a [`runtime::Trace`](stillframe_runtime::Trace) taken while
//! the store was frozen, and a module's description. Nothing here can read a stack, and damaged
//! debug information gives fewer answers, never a panic.

#![forbid(unsafe_code)]

mod backtrace;
mod dwarf;
mod frame;
mod names;

pub use backtrace::{FrameInfo, Traced, WasmBacktrace};
pub use dwarf::FrameSymbol;
pub use frame::{LocalNames, local_names_of, symbols_of};
pub use names::demangle;
