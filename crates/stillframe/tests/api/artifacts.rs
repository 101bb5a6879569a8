//! Compiled modules as bytes and files.

use crate::text;
use stillframe::{Config, Engine, Instance, Linker, Module, Store, Trap, WasmBacktrace};

const GUEST: &str = r#"
    (module $guest
        (import "host" "f" (func $f (param i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "data")
        (func $inner (param i32) (result i32)
            (i32.div_u (call $f (local.get 0)) (local.get 0)))
        (func (export "run") (param i32) (result i32) (call $inner (local.get 0))))
"#;

/// Calls `run` of a module made of `bytes`, with 6, then with 0.
fn check(engine: &Engine, bytes: &[u8]) {
    // SAFETY: the bytes were made by this test.
    let module = unsafe { Module::deserialize(engine, bytes) }.unwrap();
    assert_eq!(module.name(), Some("guest"));
    assert_eq!((module.imports().len(), module.exports().len()), (1, 2));
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "f", |x: i32| x * 7).unwrap();
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, 6).unwrap(), 7);
    let error = run.call(&mut store, 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IntegerDivisionByZero));
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    assert_eq!(frames[0].func_name(), Some("inner"));
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(&memory.data(&store)[..4], b"data");
}

#[test]
fn a_serialized_module_runs_in_another_engine_with_the_same_settings() {
    let bytes = Module::new(&Engine::default(), GUEST).unwrap().serialize().unwrap();
    let engine = Engine::default();
    check(&engine, &bytes);
    assert_eq!(engine.precompile_module(GUEST.as_bytes()).unwrap(), bytes);
    // And it serializes to the same bytes again.
    // SAFETY: the bytes were made just now.
    let again = unsafe { Module::deserialize(&engine, &bytes) }.unwrap();
    assert_eq!(again.serialize().unwrap(), bytes);
}

#[test]
fn a_serialized_module_is_loaded_from_a_file() {
    let engine = Engine::default();
    let bytes = engine.precompile_module(GUEST.as_bytes()).unwrap();
    let path = std::env::temp_dir().join(format!("stillframe-artifact-{}", std::process::id()));
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    // SAFETY: the file was written just now.
    let cut = unsafe { Module::deserialize_file(&engine, &path) };
    let error = text(cut);
    assert!(error.contains("stillframe-artifact") && error.contains("cut off"), "{error}");
    std::fs::write(&path, &bytes).unwrap();
    // SAFETY: as above.
    let module = unsafe { Module::deserialize_file(&engine, &path) }.unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(module.name(), Some("guest"));
    // SAFETY: there is no such file.
    let error = text(unsafe { Module::deserialize_file(&engine, &path) });
    assert!(error.contains("stillframe-artifact"), "{error}");
}

#[test]
fn artifacts_of_other_settings_and_damaged_ones_are_refused_with_the_reason() {
    let bytes = Engine::default().precompile_module(GUEST.as_bytes()).unwrap();
    // SAFETY: whatever is accepted would be the bytes made above.
    let load = |config: &Config, bytes: &[u8]| unsafe {
        text(Module::deserialize(&Engine::new(config).unwrap(), bytes))
    };
    let error = load(Config::new().consume_fuel(true), &bytes);
    assert!(error.contains("compiled with fuel false, this engine has true"), "{error}");
    let error = load(Config::new().epoch_interruption(true), &bytes);
    assert!(error.contains("compiled with epochs false, this engine has true"), "{error}");
    let mut damaged = bytes.clone();
    damaged[bytes.len() / 2] ^= 1;
    assert!(load(&Config::new(), &damaged).contains("damaged"));
    assert!(load(&Config::new(), &bytes[..bytes.len() - 1]).contains("cut off"));
    assert!(load(&Config::new(), b"").contains("not a Stillframe artifact"));
    assert!(load(&Config::new(), b"\0asm\x01\0\0\0").contains("not a Stillframe artifact"));
}

#[test]
fn metered_artifacts_run_in_metered_engines() {
    let config = Config::new().consume_fuel(true).clone();
    let bytes = Engine::new(&config).unwrap().precompile_module(b"(module (func) (start 0))");
    let engine = Engine::new(&config).unwrap();
    // SAFETY: the bytes were made just now.
    let module = unsafe { Module::deserialize(&engine, bytes.unwrap()) }.unwrap();
    let mut store = Store::new(&engine, ());
    store.set_fuel(10).unwrap();
    Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 9);
}

#[test]
fn compiling_tells_how_far_it_is() {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    #[derive(Default)]
    struct Count(AtomicUsize, AtomicUsize);
    impl stillframe::Progress for Count {
        fn functions(&self, total: usize) {
            self.0.store(total, Relaxed);
        }

        fn function_done(&self) {
            self.1.fetch_add(1, Relaxed);
        }
    }
    let count = Count::default();
    let module = Module::new_with_progress(&Engine::default(), GUEST, &count).unwrap();
    assert_eq!((count.0.load(Relaxed), count.1.load(Relaxed)), (2, 2));
    assert!(module.code_size() > 0 && module.frame_table_size() > 0);
}
