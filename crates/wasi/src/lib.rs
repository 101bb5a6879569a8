//! WASI preview 1: arguments, environment, standard streams, folders of the host, clocks, random
//! numbers and exit codes for guests of Stillframe.
//!
//! ```text
//!   builder.rs     WasiCtxBuilder: what one guest may see
//!   functions.rs   the host functions, as a table
//!   clock.rs       time that the embedder makes
//! ```
//!
//! The system interface itself is `wasi-common`, which knows no engine; this crate gives its
//! functions the guest's memory and hands their errors on.
//!
//! A program (a module that exports `_start`) ends by returning or by an error that can be
//! downcast to [`I32Exit`]:
//!
//! ```
//! use stillframe::{Engine, Linker, Module, Store};
//! use stillframe_wasi::{I32Exit, WasiCtx, WasiCtxBuilder, WritePipe};
//!
//! let engine = Engine::default();
//! let module = Module::new(&engine, r#"
//!     (module
//!       (import "wasi_snapshot_preview1" "fd_write"
//!         (func $fd_write (param i32 i32 i32 i32) (result i32)))
//!       (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
//!       (memory (export "memory") 1)
//!       (data (i32.const 0) "\10\00\00\00\05\00\00\00")
//!       (data (i32.const 16) "hello")
//!       (func (export "_start")
//!         (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
//!         (call $proc_exit (i32.const 3))))
//! "#)?;
//!
//! let stdout = WritePipe::new_in_memory();
//! let wasi = WasiCtxBuilder::new().arg("greeter")?.stdout(Box::new(stdout.clone())).build();
//! let mut store = Store::new(&engine, wasi);
//! let mut linker = Linker::new(&engine);
//! stillframe_wasi::add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
//!
//! let instance = linker.instantiate(&mut store, &module)?;
//! let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
//! let ended = start.call(&mut store, ()).unwrap_err();
//! assert_eq!(ended.downcast_ref::<I32Exit>().map(|exit| exit.0), Some(3));
//! drop(store);
//! assert_eq!(stdout.try_into_inner().unwrap().into_inner(), b"hello");
//! # Ok::<(), anyhow::Error>(())
//! ```
//!
//! A reactor (a module that exports `_initialize` and functions of its own) is instantiated the
//! same way; call `_initialize` once, before the others.
//!
//! Functions that wait (`poll_oneoff`, reading from a terminal) wait on the thread that called the
//! guest; neither fuel nor an epoch ends that.

#![forbid(unsafe_code)]

mod builder;
mod clock;
mod functions;

pub use builder::WasiCtxBuilder;
pub use functions::{MODULE, add_to_linker};
pub use wasi_common;
pub use wasi_common::pipe::{ReadPipe, WritePipe};
pub use wasi_common::{I32Exit, WasiCtx};
