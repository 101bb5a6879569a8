//! Stillframe: a WebAssembly JIT runtime for programs that must be stopped, looked at and carried
//! on.
//!
//! A plugin host, a metered sandbox, a game or a debugger links this crate, gives it modules and
//! host functions, and calls what the modules export. Code runs at the speed of optimised
//! Cranelift code, metered by fuel or interrupted by epochs if wished. Who knows wasmtime or wasmi
//! knows the names here.
//!
//! ```
//! use stillframe::{Caller, Engine, Linker, Module, Store};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, r#"
//!     (module
//!         (import "host" "double" (func $double (param i32) (result i32)))
//!         (func (export "run") (result i32) (call $double (i32.const 21))))
//! "#)?;
//! let mut linker = Linker::new(&engine);
//! linker.func_wrap("host", "double", |_: Caller<'_, ()>, x: i32| x * 2)?;
//! let mut store = Store::new(&engine, ());
//! let instance = linker.instantiate(&mut store, &module)?;
//! let run = instance.get_typed_func::<(), i32>(&mut store, "run")?;
//! assert_eq!(run.call(&mut store, ())?, 42);
//! # stillframe::Result::<()>::Ok(())
//! ```
//!
//! # Calls that stop and go on
//!
//! A call made with [`Func::call_resumable`] or [`TypedFunc::call_resumable`] comes back as a value
//! when it is out of fuel, at an epoch deadline, or when a host function fails: [`ResumableCall`].
//! The value is `Send`, and any thread may keep or drop it. To resume it takes its store, on
//! whatever thread that is: a [`Store`] is `Send` if its data is. Calls made with
//! [`Func::call_async`] do the same for an executor.
//!
//! # Frames
//!
//! Wherever wasm stands still, in a host function or in a call that came back unfinished, its frames
//! can be looked at: [`Store::frames`], [`Caller::frames`] and [`ResumableCall::frames`] give
//! [`FrameHandle`]s, with functions, source positions, locals and operands. The error of a call that
//! failed owns a copy of them: [`FrozenTrace`]. Either can be kept as a [core dump](coredump).
//!
//! # Errors and traps
//!
//! Errors are [`anyhow::Error`]s. That of a call can be downcast: to [`Trap`] if wasm trapped, to
//! whatever error a host function returned, and to [`WasmBacktrace`], which says where wasm stood.
//! Printed with `{}` it shows what went wrong and the backtrace, with `{:?}` the causes as well.
//!
//! An object used with another store than its own is a bug of the program, and panics.
//!
//! # Stacks
//!
//! Host code runs on the host's stack and wasm on stacks of its own
//! ([`Config::max_wasm_stack`]): how deep a guest may call does not depend on how deep the host
//! is.

#![deny(unsafe_code)]

mod caller;
mod config;
mod context;
pub mod coredump;
mod engine;
mod error;
mod externs;
mod frame;
mod frozen_trace;
mod func;
mod global;
mod instance;
mod into_func;
mod limits;
mod linker;
mod memory;
mod module;
mod native_tools;
mod raw;
mod resumable;
mod resume_error;
mod store;
mod table;
mod typed;
mod val;

pub use anyhow::{Error, Result, bail};
pub use caller::Caller;
pub use config::{Config, ProfilingStrategy};
pub use context::{AsContext, AsContextMut, StoreContext, StoreContextMut};
pub use coredump::{CoreDump, CoreDumpBuilder};
pub use engine::{Engine, EngineWeak};
pub use externs::{Export, ExportType, Extern, ExternType, ImportType};
pub use frame::{FrameHandle, FrameLocal, FrameOperand, Frames};
pub use frozen_trace::{FrozenFrame, FrozenTrace};
pub use func::Func;
pub use global::Global;
pub use instance::{Instance, InstancePre};
pub use into_func::{IntoFunc, WasmParams, WasmResults, WasmRet, WasmTy};
pub use limits::{ResourceLimiter, RuntimeLimits, StoreLimits, StoreLimitsBuilder};
pub use linker::{Linker, UnknownImportError};
pub use memory::{Memory, MemoryAccessError};
pub use module::Module;
pub use resumable::{
    ResumableCall, ResumableCallHostTrap, ResumableCallInterrupted, ResumableCallOutOfFuel,
    TypedResumableCall, TypedResumableCallHostTrap, TypedResumableCallInterrupted,
    TypedResumableCallOutOfFuel,
};
pub use resume_error::{ResumeError, ResumeRefused};
pub use stillframe_abi::Trap;
pub use stillframe_abi::artifact::FrameState;
pub use stillframe_abi::types::{FuncType, GlobalType, MemoryType, Mutability, TableType, ValType};
pub use stillframe_debug::{FrameInfo, FrameSymbol, WasmBacktrace, demangle};
pub use stillframe_runtime::{ActivationId, FrameCacheStats, FrameError, UncaughtException};
pub use stillframe_translate::{OperatorCosts, OptLevel, Progress, UnknownOperator};
pub use store::{Store, UpdateDeadline};
pub use table::Table;
pub use typed::TypedFunc;
pub use val::{ExnRef, ExternRef, Ref, V128, Val};

/// The code of `docs/frames.md`, as tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/frames.md")]
struct FramesPage;
