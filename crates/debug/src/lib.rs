//! Looking at frozen Stillframe stacks.
//!
//! ```text
//!   backtrace   which wasm functions were running, and where in them
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
mod names;

pub use backtrace::{FrameInfo, Traced, WasmBacktrace};
pub use dwarf::FrameSymbol;
pub use names::demangle;
