//! Looking at frozen Stillframe stacks, and telling native tools of machine code.
//!
//! ```text
//!   backtrace   which wasm functions were running, and where in them
//!   frame       a frame's place -> names, by the module's name section and the guest's DWARF
//!   dwarf       wasm pc -> source file, line and inlined functions, by the guest's DWARF
//!   variables   wasm pc -> names of wasm locals, by the same
//!   names       mangled names made readable
//!   coredump    a stopped program as a file, and such files made readable
//!   native      what native debuggers and profilers are told: object files, jitdump
//! ```
//!
//! What looks at stacks works on copies: a [`runtime::Trace`](stillframe_runtime::Trace) taken
//! while the store was frozen, and a module's description. Nothing here can read a stack, and
//! damaged debug information gives fewer answers, never a panic.

#![forbid(unsafe_code)]

mod backtrace;
pub mod coredump;
mod dwarf;
mod frame;
mod names;
mod native;
mod variables;

pub use backtrace::{FrameInfo, Traced, WasmBacktrace};
pub use dwarf::FrameSymbol;
pub use frame::{LocalNames, local_names_of, symbols_of};
pub use names::demangle;
pub use native::{JitDump, NativeCode, PerfMap, elf_image};
