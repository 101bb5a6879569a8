//! A small, plain interpreter for WebAssembly, which tests run in step with the JIT.
//!
//! It shares nothing with the JIT but wasmparser, and is written to be obviously right, never to be
//! fast. It knows at each operator what a frozen frame must say: wasm pc, locals, operands, and the
//! fuel that was consumed ([`Machine::fuel_consumed`], by the default costs of `docs/fuel.md`).
//!
//! ```text
//!   module.rs       Module: validated, and decoded            function.rs   a body's operators
//!   machine.rs      Machine: what the JIT calls a store       instantiate.rs
//!   activation.rs   Activation: the frames of a call, stepped operator by operator
//!   ops/            what operators do                         fuel.rs       what they cost
//!   liveness.rs     which locals may still be read
//!   value.rs  trap.rs
//! ```
//!
//! ```
//! use stillframe_oracle::{Extern, Machine, Module, Step, Value};
//!
//! let wasm = wat::parse_str(
//!     r#"(module (func (export "add") (param i32 i32) (result i32)
//!         (i32.add (local.get 0) (local.get 1))))"#,
//! )?;
//! let mut machine = Machine::new();
//! let instance = machine.instantiate(&Module::shared(&wasm)?, &[])?;
//! let Some(Extern::Func(add)) = machine.export(instance, "add") else { panic!() };
//! let mut call = machine.start(add, vec![Value::I32(1), Value::I32(2)])?;
//! for _ in 0..3 {
//!     assert_eq!(call.step(&mut machine), Step::Running); // the entry, and two operators
//! }
//! let frame = call.innermost().unwrap();
//! assert_eq!(frame.operands, [Value::I32(1), Value::I32(2)]);
//! assert_eq!(machine.fuel_consumed(), 3);
//! assert_eq!(call.step(&mut machine), Step::Running);
//! assert_eq!(call.step(&mut machine), Step::Finished(vec![Value::I32(3)]));
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! # What is deterministic here and is not in WebAssembly
//!
//! - Arithmetic that gives a NaN gives the canonical one: positive and quiet. Loads, stores,
//!   constants, `neg`, `abs`, `copysign`, `select`, `reinterpret`, `pmin` and `pmax` keep all bits.
//! - Relaxed vector operators do what the JIT does on an x86-64 processor with SSSE3 and FMA
//!   (`ops/relaxed.rs`).
//! - `grow` fails beyond [`Machine::max_memory`] and [`Machine::max_table`], and nowhere else.
//! - The stack overflows at [`Machine::max_depth`] frames.

#![forbid(unsafe_code)]

mod activation;
mod fuel;
mod function;
mod instantiate;
pub mod liveness;
mod machine;
mod module;
mod ops;
mod trap;
mod value;

pub use activation::{Activation, FrameView, Outcome, Step};
pub use function::{Block, Code, Function, Op};
pub use liveness::{LocalSet, live_after_call, live_locals};
pub use machine::{
    ExnId, Extern, FuncId, GlobalId, InstanceId, Machine, MemoryId, PAGE, TableId, TagId,
};
pub use module::{Export, ExportKind, Import, ImportType, Module, features};
pub use trap::TrapKind;
pub use value::{FuncType, GlobalType, HeapType, Limits, RefType, TableType, ValType, Value};
