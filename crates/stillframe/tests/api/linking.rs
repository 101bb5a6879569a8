//! `Linker`, `Instance::new` and `InstancePre`.

use crate::{panic_of, text};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use stillframe::{
    Caller, Engine, ExternType, Func, Instance, Linker, Memory, MemoryType, Module, Store,
    UnknownImportError,
};

#[test]
fn a_missing_import_is_named_with_the_type_that_is_wanted() {
    let engine = Engine::default();
    let linker = Linker::<()>::new(&engine);
    let mut store = Store::new(&engine, ());
    let mut missing = |wat: &str| {
        let module = Module::new(&engine, wat).unwrap();
        linker.instantiate(&mut store, &module).unwrap_err()
    };
    let error = missing(r#"(module (import "env" "f" (func (param i32) (result i64))))"#);
    assert_eq!(
        error.to_string(),
        "unknown import: `env::f` is not defined; \
         the module wants a function of type `(i32) -> (i64)`"
    );
    let error = error.downcast::<UnknownImportError>().unwrap();
    assert_eq!((error.module(), error.name()), ("env", "f"));
    assert!(matches!(error.ty(), ExternType::Func(_)));
    let error = missing(r#"(module (import "a" "b" (global (mut f32))))"#).to_string();
    assert!(error.ends_with("wants a mutable global of type `f32`"), "{error}");
}

#[test]
fn an_import_of_another_type_is_named_with_both() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap("env", "f", |_: i32| ()).unwrap();
    let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
    linker.define(&store, "env", "memory", memory).unwrap();
    let mut error = |import: &str| {
        let wat = format!("(module (import {import}))");
        text(linker.instantiate(&mut store, &Module::new(&engine, wat).unwrap()))
    };
    let shown = error(r#""env" "f" (func (param i64))"#);
    assert!(shown.contains("`env::f`") && shown.contains("`(i64) -> ()`"), "{shown}");
    assert!(shown.contains("`(i32) -> ()`"), "{shown}");
    let shown = error(r#""env" "f" (memory 1)"#);
    assert!(shown.contains("`env::f`") && shown.contains("memory"), "{shown}");
    let shown = error(r#""env" "memory" (memory 2)"#);
    assert!(shown.contains("`env::memory`: at least 2 pages are needed, it has 1"), "{shown}");
    let shown = error(r#""env" "memory" (memory 1 5)"#);
    assert!(shown.contains("at most 5 pages are allowed, it has no maximum"), "{shown}");
}

#[test]
fn the_number_of_imports_of_an_instance_is_checked() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (import "" "" (func)))"#).unwrap();
    let mut store = Store::new(&engine, ());
    let error = text(Instance::new(&mut store, &module, &[]));
    assert_eq!(error, "expected 1 imports, found 0");
    let func = Func::wrap(&mut store, || ());
    Instance::new(&mut store, &module, &[func.into()]).unwrap();
}

#[test]
fn a_name_is_defined_once_unless_shadowing_is_allowed() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap("m", "f", || 1).unwrap();
    let error = text(linker.func_wrap("m", "f", || 2).map(|_| ()));
    assert_eq!(error, "`m::f` is defined already");
    let mut value = |linker: &Linker<()>, module: &str, name: &str| {
        let func = linker.get(&mut store, module, name).unwrap().into_func().unwrap();
        func.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap()
    };
    assert_eq!(value(&linker, "m", "f"), 1);
    linker.allow_shadowing(true).func_wrap("m", "f", || 2).unwrap();
    assert_eq!(value(&linker, "m", "f"), 2);

    linker.alias("m", "f", "n", "g").unwrap();
    linker.alias_module("m", "copy").unwrap();
    assert_eq!((value(&linker, "n", "g"), value(&linker, "copy", "f")), (2, 2));
    assert_eq!(text(linker.alias("m", "x", "n", "x").map(|_| ())), "`m::x` is not defined");
    assert_eq!(text(linker.alias_module("x", "y")), "nothing is defined in `x`");
}

#[test]
fn modules_import_each_others_exports() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    let library = Module::new(
        &engine,
        r#"(module
            (memory (export "memory") 1)
            (global (export "counter") (mut i32) (i32.const 5))
            (table (export "table") 1 funcref)
            (elem (i32.const 0) $f)
            (func $f (result i32) (i32.const 77))
            (func (export "count") (result i32)
                (global.set 0 (i32.add (global.get 0) (i32.const 1)))
                (global.get 0)))"#,
    );
    let library = linker.instantiate(&mut store, &library.unwrap()).unwrap();
    linker.instance(&store, "library", library).unwrap();
    let program = Module::new(
        &engine,
        r#"(module
            (import "library" "memory" (memory 1))
            (import "library" "counter" (global $counter (mut i32)))
            (import "library" "table" (table 1 funcref))
            (import "library" "count" (func $count (result i32)))
            (type $get (func (result i32)))
            (func (export "run") (result i32 i32 i32)
                (i32.store8 (i32.const 3) (i32.const 42))
                (call $count)
                (global.get $counter)
                (call_indirect (type $get) (i32.const 0))))"#,
    );
    let program = linker.instantiate(&mut store, &program.unwrap()).unwrap();
    let run = program.get_typed_func::<(), (i32, i32, i32)>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, ()).unwrap(), (6, 6, 77));
    let memory = library.get_memory(&mut store, "memory").unwrap();
    assert_eq!(memory.data(&store)[3], 42);
    let names: Vec<_> = library.exports(&store).map(|e| e.name().to_string()).collect();
    assert_eq!(names, ["memory", "counter", "table", "count"]);
}

#[test]
fn unknown_imports_can_be_defined_as_functions_that_fail_when_called() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);
    linker.func_wrap("env", "known", || 1).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
            (import "env" "known" (func $known (result i32)))
            (import "env" "unknown" (func $unknown (result i32)))
            (func (export "known") (result i32) (call $known))
            (func (export "unknown") (result i32) (call $unknown)))"#,
    );
    let module = module.unwrap();
    linker.define_unknown_imports_as_traps(&module).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let mut call = |name| {
        let func = instance.get_typed_func::<(), i32>(&mut store, name).unwrap();
        func.call(&mut store, ())
    };
    assert_eq!(call("known").unwrap(), 1);
    let error = call("unknown").unwrap_err();
    assert_eq!(error.downcast_ref::<UnknownImportError>().unwrap().name(), "unknown");

    let module = Module::new(&engine, r#"(module (import "env" "memory" (memory 1)))"#).unwrap();
    assert!(text(linker.define_unknown_imports_as_traps(&module)).contains("env::memory"));
}

#[test]
fn one_linker_serves_many_stores_and_makes_host_functions_once_per_store() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    linker
        .func_wrap("env", "f", move |caller: Caller<'_, usize>| {
            counter.fetch_add(*caller.data(), Ordering::Relaxed);
        })
        .unwrap();
    let wat = r#"(module (import "env" "f" (func $f)) (start $f) (export "f" (func $f)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let pre = linker.instantiate_pre(&module).unwrap();
    let mut funcs = Vec::new();
    for data in [1, 10] {
        let mut store = Store::new(&engine, data);
        for _ in 0..2 {
            let instance = pre.clone().instantiate(&mut store).unwrap();
            funcs.push(instance.get_func(&mut store, "f").unwrap());
        }
        assert_eq!(linker.get(&mut store, "env", "f").unwrap().into_func(), funcs.last().copied());
    }
    assert_eq!(calls.load(Ordering::Relaxed), 22);
    assert!(funcs[0] == funcs[1] && funcs[2] == funcs[3] && funcs[0] != funcs[2]);
}

#[test]
fn a_trap_in_the_start_function_is_the_error_of_instantiation() {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (func $start unreachable) (start $start))").unwrap();
    let mut store = Store::new(&engine, ());
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&stillframe::Trap::UnreachableCodeReached));
    assert!(error.to_string().contains("start"), "{error}");
    let wat = r#"(module (memory 1) (data (i32.const 65535) "ab"))"#;
    let error = Instance::new(&mut store, &Module::new(&engine, wat).unwrap(), &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&stillframe::Trap::MemoryOutOfBounds));
}

#[test]
fn modules_of_another_engine_are_refused() {
    let (one, other) = (Engine::default(), Engine::default());
    let module = Module::new(&one, "(module)").unwrap();
    let mut store = Store::new(&other, ());
    let panic = panic_of(|| Instance::new(&mut store, &module, &[]));
    assert!(panic.contains("another engine"), "{panic}");
    let linker = Linker::<()>::new(&other);
    let panic = panic_of(|| linker.instantiate(&mut store, &module));
    assert!(panic.contains("another engine"), "{panic}");
}
