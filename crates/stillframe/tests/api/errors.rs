//! Errors of modules that cannot be compiled, and of calls.

use crate::{instantiate, text};
use stillframe::{Engine, Module, Trap, WasmBacktrace};

#[test]
fn a_trap_can_be_downcast_and_is_printed_with_its_backtrace() {
    let (mut store, instance) = instantiate(
        r#"(module $m
            (func $inner (param i32) (drop (i32.div_u (i32.const 1) (local.get 0))))
            (func (export "run") (param i32) (call $inner (local.get 0))))"#,
    );
    let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
    let error = run.call(&mut store, 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
    assert!(error.is::<WasmBacktrace>());
    assert_eq!(error.root_cause().to_string(), "integer divide by zero");
    for shown in [format!("{error}"), format!("{error:#}"), format!("{error:?}")] {
        assert!(shown.starts_with("integer divide by zero\nwasm backtrace:\n"), "{shown}");
        assert!(shown.contains(" - m!inner\n"), "{shown}");
        assert!(shown.contains(" - m!<wasm function 1>"), "{shown}");
    }
    run.call(&mut store, 1).unwrap();
}

#[test]
fn the_traps_are_what_the_program_did() {
    let (mut store, instance) = instantiate(
        r#"(module
            (memory 1)
            (table 2 funcref)
            (elem (i32.const 0) $other)
            (type $void (func))
            (func $other (param i32))
            (func $loop (export "stack") (call $loop))
            (func (export "unreachable") unreachable)
            (func (export "memory") (drop (i32.load (i32.const -1))))
            (func (export "table") (drop (table.get (i32.const 9))))
            (func (export "undefined") (call_indirect (type $void) (i32.const 9)))
            (func (export "null") (call_indirect (type $void) (i32.const 1)))
            (func (export "signature") (call_indirect (type $void) (i32.const 0)))
            (func (export "overflow")
                (drop (i32.div_s (i32.const 0x80000000) (i32.const -1))))
            (func (export "convert") (drop (i32.trunc_f32_s (f32.const nan)))))"#,
    );
    let expected = [
        ("stack", Trap::StackOverflow),
        ("unreachable", Trap::UnreachableCodeReached),
        ("memory", Trap::MemoryOutOfBounds),
        ("table", Trap::TableOutOfBounds),
        ("undefined", Trap::UndefinedElement),
        ("null", Trap::IndirectCallToNull),
        ("signature", Trap::BadSignature),
        ("overflow", Trap::IntegerOverflow),
        ("convert", Trap::BadConversionToInteger),
    ];
    for (name, trap) in expected {
        let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        let error = func.call(&mut store, ()).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&trap), "{name}: {error:?}");
    }
}

#[test]
fn a_long_backtrace_leaves_out_its_middle() {
    let (mut store, instance) = instantiate(
        r#"(module
            (func $down (param i32)
                (if (i32.eqz (local.get 0)) (then unreachable))
                (call $down (i32.sub (local.get 0) (i32.const 1))))
            (func (export "run") (call $down (i32.const 999))))"#,
    );
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!((backtrace.frames().len(), backtrace.omitted()), (80, 921));
    let shown = backtrace.to_string();
    assert!(shown.contains("... 921 frames omitted ..."), "{shown}");
    assert!(shown.lines().last().unwrap().trim_start().starts_with("1000: "), "{shown}");
}

#[test]
fn what_is_no_module_is_refused_with_the_place() {
    let engine = Engine::default();
    let error = |bytes: &[u8]| text(Module::new(&engine, bytes));

    let wat = "(module\n  (func (i32.const 1) (i32.ad)))";
    let shown = error(wat.as_bytes());
    assert!(shown.contains("i32.ad") && shown.contains("2:"), "{shown}");

    let invalid = wat::parse_str("(module (func $first) (func $bad (result i32) (i64.const 1)))");
    let shown = error(&invalid.unwrap());
    assert!(shown.contains("function 1 (`bad`)"), "{shown}");
    assert!(shown.contains("type mismatch") && shown.contains("offset 0x"), "{shown}");

    let shown = error(b"\0asm\x01\0\0\0\x01\x7f");
    assert!(shown.contains("offset 0x"), "{shown}");
    let shown = error(b"\0asm\xff\0\0\0");
    assert!(shown.contains("version") && shown.contains("0x4"), "{shown}");
    let shown = error(&[0x7f, b'E', b'L', b'F', 0xff]);
    assert!(shown.contains("not a WebAssembly module"), "{shown}");

    let artifact = engine.precompile_module(b"(module)").unwrap();
    assert!(error(&artifact).contains("use `Module::deserialize`"));
}

#[test]
fn validation_agrees_with_compilation() {
    let engine = Engine::default();
    Module::validate(&engine, b"(module (func (result i32) (i32.const 1)))").unwrap();
    let error = Module::validate(&engine, b"(module (func (result i32)))");
    assert!(text(error).contains("function 0"));
}

#[test]
fn errors_of_files_name_the_file() {
    let engine = Engine::default();
    let dir = std::env::temp_dir().join(format!("stillframe-errors-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let bad_text = file("bad.wat", b"(module\n (func (nonsense)))");
    let bad_wasm = file("bad.wasm", b"\0asm\x01\0\0\0\x01");
    let empty = file("empty.wasm", b"");
    let good = file("good.wat", b"(module $good)");
    let error = text(Module::from_file(&engine, bad_text));
    assert!(error.contains("bad.wat:2:"), "{error}");
    let error = text(Module::from_file(&engine, bad_wasm));
    assert!(error.contains("bad.wasm`"), "{error}");
    let error = text(Module::from_file(&engine, empty));
    assert!(error.contains("empty.wasm` is empty"), "{error}");
    let error = text(Module::from_file(&engine, dir.join("none.wasm")));
    assert!(error.contains("none.wasm`"), "{error}");
    assert_eq!(Module::from_file(&engine, good).unwrap().name(), Some("good"));
    std::fs::remove_dir_all(&dir).unwrap();
}
