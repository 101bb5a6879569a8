//! Guests that use WASI: what they see of the world, and how they end.

use anyhow::{Context as _, Result};
use std::fs;
use std::time::Duration;
use stillframe::{Engine, Linker, Module, Store};
use stillframe_wasi::{I32Exit, ReadPipe, WasiCtx, WasiCtxBuilder, WritePipe};

/// What a guest that ran `_start` left behind.
struct Ended {
    error: Option<anyhow::Error>,
    stdout: String,
}

impl Ended {
    fn exit_code(&self) -> Option<i32> {
        self.error.as_ref()?.downcast_ref::<I32Exit>().map(|exit| exit.0)
    }

    fn error(&self) -> String {
        format!("{:#}", self.error.as_ref().expect("the guest ended well"))
    }
}

/// Runs `_start`, or `_initialize` and `run`, of a module with the imports and helpers of
/// [`PRELUDE`].
fn run(body: &str, wasi: &mut WasiCtxBuilder) -> Ended {
    run_module(&format!("(module {PRELUDE} {body})"), wasi)
}

fn run_module(wat: &str, wasi: &mut WasiCtxBuilder) -> Ended {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    let stdout = WritePipe::new_in_memory();
    let mut store = Store::new(&engine, wasi.stdout(Box::new(stdout.clone())).build());
    let ended = start(&mut store, &module);
    drop(store);
    let stdout = stdout.try_into_inner().unwrap().into_inner();
    Ended { error: ended.err(), stdout: String::from_utf8(stdout).unwrap() }
}

fn start(store: &mut Store<WasiCtx>, module: &Module) -> Result<()> {
    let mut linker = Linker::new(module.engine());
    stillframe_wasi::add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
    let instance = linker.instantiate(&mut *store, module)?;
    if let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
        initialize.typed::<(), ()>(&*store)?.call(&mut *store, ())?;
        return instance.get_typed_func::<(), ()>(&mut *store, "run")?.call(store, ());
    }
    instance.get_typed_func::<(), ()>(&mut *store, "_start")?.call(store, ())
}

/// Imports, a memory of two pages, and `$print`, which writes bytes to the standard output.
/// Addresses below 64 are the helpers'.
const PRELUDE: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write"
      (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read"
      (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get"
      (func $args_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_sizes_get"
      (func $environ_sizes_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "environ_get"
      (func $environ_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "clock_time_get"
      (func $clock_time_get (param i32 i64 i32) (result i32)))
    (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "path_open"
      (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (memory (export "memory") 2)

    ;; Ends the guest with an error number, unless it is 0.
    (func $must (param $errno i32)
      (if (local.get $errno) (then (call $proc_exit (local.get $errno)))))

    (func $print (param $at i32) (param $len i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (local.get $len))
      (call $must (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

    ;; Reads at most 1000 bytes of a file to $at; answers how many.
    (func $read (param $fd i32) (param $at i32) (result i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (i32.const 1000))
      (call $must (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.load (i32.const 8)))

    ;; Opens a path below the first preopened folder, with these rights.
    (func $open (param $at i32) (param $len i32) (param $oflags i32) (param $rights i64)
      (result i32)
      (call $must (call $path_open (i32.const 3) (i32.const 1) (local.get $at) (local.get $len)
        (local.get $oflags) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 12)))
      (i32.load (i32.const 12)))
"#;

#[test]
fn start_that_returns_is_no_error() {
    let ended = run(
        r#"(data (i32.const 64) "hello\n")
           (func (export "_start") (call $print (i32.const 64) (i32.const 6)))"#,
        &mut WasiCtxBuilder::new(),
    );
    assert!(ended.error.is_none());
    assert_eq!(ended.stdout, "hello\n");
}

#[test]
fn exit_codes_come_back_whole() {
    for code in [0, 1, 125, 126, 255, -1] {
        let start = format!(r#"(func (export "_start") (call $proc_exit (i32.const {code})))"#);
        assert_eq!(run(&start, &mut WasiCtxBuilder::new()).exit_code(), Some(code));
    }
}

#[test]
fn arguments_and_environment_arrive() {
    let ended = run(
        r#"(func (export "_start")
             (call $must (call $args_sizes_get (i32.const 16) (i32.const 20)))
             (call $must (call $args_get (i32.const 64) (i32.const 1024)))
             (call $print (i32.const 1024) (i32.load (i32.const 20)))
             (call $must (call $environ_sizes_get (i32.const 16) (i32.const 20)))
             (call $must (call $environ_get (i32.const 64) (i32.const 1024)))
             (call $print (i32.const 1024) (i32.load (i32.const 20))))"#,
        WasiCtxBuilder::new().args(["prog", "a b", "é"]).unwrap().env("KEY", "v=1").unwrap(),
    );
    assert!(ended.error.is_none());
    assert_eq!(ended.stdout, "prog\0a b\0é\0KEY=v=1\0");
}

#[test]
fn arguments_that_would_arrive_as_others_are_refused() {
    let mut wasi = WasiCtxBuilder::new();
    assert!(wasi.arg("a\0b").is_err());
    assert!(wasi.env("a=b", "c").is_err());
    assert!(wasi.env("", "c").is_err());
    assert!(wasi.env("a", "\0").is_err());
}

#[test]
fn standard_input_is_read() {
    let ended = run(
        r#"(func (export "_start")
             (call $print (i32.const 1024) (call $read (i32.const 0) (i32.const 1024))))"#,
        WasiCtxBuilder::new().stdin(Box::new(ReadPipe::from("from the host"))),
    );
    assert!(ended.error.is_none());
    assert_eq!(ended.stdout, "from the host");
}

#[test]
fn files_of_a_preopened_folder_are_read_and_written() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("in.txt"), "contents").unwrap();
    // Rights: fd_read is 2, fd_write is 64. Flags: create is 1.
    let ended = run(
        r#"(data (i32.const 64) "in.txt")
           (data (i32.const 80) "out.txt")
           (func (export "_start") (local $len i32)
             (local.set $len (call $read
               (call $open (i32.const 64) (i32.const 6) (i32.const 0) (i64.const 2))
               (i32.const 1024)))
             (i32.store (i32.const 0) (i32.const 1024))
             (i32.store (i32.const 4) (local.get $len))
             (call $must (call $fd_write
               (call $open (i32.const 80) (i32.const 7) (i32.const 1) (i64.const 64))
               (i32.const 0) (i32.const 1) (i32.const 8))))"#,
        WasiCtxBuilder::new().preopened_dir(dir.path(), "/").unwrap(),
    );
    assert!(ended.error.is_none(), "{}", ended.error());
    assert_eq!(fs::read_to_string(dir.path().join("out.txt")).unwrap(), "contents");
}

#[test]
fn files_outside_of_the_folder_are_out_of_reach() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("inner");
    fs::create_dir(&inner).unwrap();
    fs::write(dir.path().join("secret"), "contents").unwrap();
    let ended = run(
        r#"(data (i32.const 64) "../secret")
           (func (export "_start")
             (drop (call $open (i32.const 64) (i32.const 9) (i32.const 0) (i64.const 2))))"#,
        WasiCtxBuilder::new().preopened_dir(inner, "/").unwrap(),
    );
    let perm = 63;
    assert_eq!(ended.exit_code(), Some(perm));
}

#[test]
fn folder_that_is_not_there_is_named() {
    let error = WasiCtxBuilder::new().preopened_dir("no/such/folder", "/").unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn clock_and_random_numbers_can_be_the_embedders() {
    let mut wasi = WasiCtxBuilder::with_clock(|| Duration::from_nanos(0x4142_4344));
    wasi.random(wasi_common::random::Deterministic::new(b"xyz".to_vec()));
    let ended = run(
        r#"(func (export "_start")
             (call $must (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 64)))
             (call $print (i32.const 64) (i32.const 4))
             (call $must (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 64)))
             (call $print (i32.const 64) (i32.const 4))
             (call $must (call $random_get (i32.const 64) (i32.const 5)))
             (call $print (i32.const 64) (i32.const 5)))"#,
        &mut wasi,
    );
    assert!(ended.error.is_none());
    assert_eq!(ended.stdout, "DCBADCBAxyzxy");
}

#[test]
fn reactor_is_initialized_and_called() {
    let ended = run(
        r#"(global $greeting (mut i32) (i32.const 0))
           (data (i32.const 64) "ready")
           (func (export "_initialize") (global.set $greeting (i32.const 64)))
           (func (export "run") (call $print (global.get $greeting) (i32.const 5)))"#,
        &mut WasiCtxBuilder::new(),
    );
    assert!(ended.error.is_none());
    assert_eq!(ended.stdout, "ready");
}

#[test]
fn guest_without_a_memory_is_told_so() {
    let ended = run_module(
        r#"(module
             (import "wasi_snapshot_preview1" "args_sizes_get" (func $f (param i32 i32) (result i32)))
             (func (export "_start") (drop (call $f (i32.const 0) (i32.const 0)))))"#,
        &mut WasiCtxBuilder::new(),
    );
    assert!(
        ended.error().contains("WASI function args_sizes_get needs a memory"),
        "{}",
        ended.error()
    );
}

#[test]
fn address_outside_of_the_memory_is_an_error_that_names_the_function() {
    let ended = run(
        r#"(func (export "_start")
             (drop (call $random_get (i32.const -16) (i32.const 100))))"#,
        &mut WasiCtxBuilder::new(),
    );
    assert!(ended.error().contains("WASI function random_get"), "{}", ended.error());
}

#[test]
fn functions_are_found_in_larger_data() {
    struct Data {
        wasi: WasiCtx,
        calls: u32,
    }
    fn run() -> Result<u32> {
        let engine = Engine::default();
        let module = Module::new(
            &engine,
            r#"(module
                 (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
                 (import "host" "count" (func $count))
                 (memory (export "memory") 1)
                 (func (export "run") (drop (call $yield)) (call $count)))"#,
        )?;
        let mut linker = Linker::<Data>::new(&engine);
        stillframe_wasi::add_to_linker(&mut linker, |data| &mut data.wasi)?;
        linker.func_wrap("host", "count", |mut caller: stillframe::Caller<'_, Data>| {
            caller.data_mut().calls += 1;
        })?;
        let data = Data { wasi: WasiCtxBuilder::new().build(), calls: 0 };
        let mut store = Store::new(&engine, data);
        let instance = linker.instantiate(&mut store, &module)?;
        instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
        Ok(store.data().calls)
    }
    assert_eq!(run().context("the guest").unwrap(), 1);
}
