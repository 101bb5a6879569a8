//! Stores, instances, memories, wasm stacks and traps: what generated code runs in.
//!
//! ```text
//!   engine      what stores share            stack       wasm stacks and their pool
//!   module      mapped code                  code        code memory; address -> module
//!   store       a guest's objects            traps       signals, thread state
//!   instance    contexts, instantiation      activation  what is running in a store
//!   objects     memory, table, global ops    call        entering wasm, and all its endings
//!   host        host functions               resumable   calls that stopped and can go on
//!   metering    fuel and epochs              builtins    what generated code calls
//!   exceptions  who catches what             frames      frozen stacks: walks, handles, traces
//!   gdb_jit     telling debuggers of code    perf        what profilers' files need
//!   memory image table types value limiter   mapping     owned address space
//!   memory_pool memories that can be used again
//!   pagemap     which pages were touched   reclaim     all pools give back when room is lacking
//!                                            arch        everything that knows the processor
//! ```
//!
//! Host code runs on the host's stack, wasm code on wasm stacks; a wasm stack never holds a host
//! frame. Objects are named by handles, which are checked; functions that take raw values or code
//! are `unsafe`, because types are checked where they are known, in the facade. This is the crate
//! with the `unsafe` code, but for one folder of the facade; `docs/unsafe.md` lists what each part
//! relies on.

mod activation;
mod arch;
mod builtins;
mod call;
mod code;
mod engine;
mod exceptions;
mod frames;
mod gdb_jit;
mod host;
mod image;
mod inspect;
mod instance;
mod limiter;
mod mapping;
mod memory;
mod memory_pool;
mod metering;
mod module;
mod objects;
mod pagemap;
mod perf;
mod reclaim;
mod resumable;
mod stack;
mod store;
mod table;
mod traps;
mod types;
mod value;

pub use activation::CallError;
pub use engine::{EngineShared, RuntimeConfig, TrampolineCode, TrampolineProvider};
pub use exceptions::UncaughtException;
pub use frames::{
    ActivationId, FrameCacheStats, FrameError, FrameHandle, FrameRow, FrameValue, Frames, Trace,
    TraceFrame,
};
pub use gdb_jit::Registration;
pub use host::{HostCall, HostCaller, HostCode};
pub use instance::InstantiateError;
pub use limiter::{LimiterFn, ResourceLimiter};
pub use metering::{EpochAction, EpochAnswer, EpochCallback};
pub use module::{CodePosition, CompiledModule};
pub use perf::{PerfMarker, monotonic_nanos, thread_id};
pub use resumable::{Cause, HostFuture, HostSite, NotResumed, Outcome, Refusal, SuspendedCall};
pub use store::{
    ExnHandle, ExternHandle, ExternalHandle, FuncHandle, GlobalHandle, InstanceHandle,
    MemoryHandle, StoreCore, StoreId, TableHandle,
};
pub use value::RawValue;
