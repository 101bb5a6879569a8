//! Traps: each is reported as what it is, with the frames that led to it, and in every metering.

use stillframe::{Config, Engine, Instance, Module, OptLevel, Store, Trap, Val, WasmBacktrace};

/// Every combination of metering, and unoptimised code.
fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for (fuel, epochs) in [(false, false), (true, false), (false, true), (true, true)] {
        for level in [OptLevel::Speed, OptLevel::None] {
            let mut config = Config::new();
            config.consume_fuel(fuel).epoch_interruption(epochs).cranelift_opt_level(level);
            engines.push(Engine::new(&config).unwrap());
        }
    }
    engines
}

fn instantiate(engine: &Engine, wat: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, wat).unwrap();
    let mut store = Store::new(engine, ());
    let _ = store.set_fuel(1 << 40);
    store.set_epoch_deadline(1 << 40);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[track_caller]
fn expect(wat: &str, cases: &[(&str, &[Val], Trap)]) {
    for engine in engines() {
        let (mut store, instance) = instantiate(&engine, wat);
        for (name, args, trap) in cases {
            let func = instance.get_func(&mut store, name).unwrap();
            let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
            let error = func.call(&mut store, args, &mut results).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(trap), "{name}{args:?}: {error:?}");
            let backtrace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
            assert_eq!(backtrace.frames()[0].func_name(), Some(*name));
        }
    }
}

#[test]
fn arithmetic() {
    use Trap::{BadConversionToInteger, IntegerDivisionByZero, IntegerOverflow};
    expect(
        r#"(module
            (func $div_s (export "div_s") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
            (func $rem_u (export "rem_u") (param i64 i64) (result i64) (i64.rem_u (local.get 0) (local.get 1)))
            (func $rem_s (export "rem_s") (param i32 i32) (result i32) (i32.rem_s (local.get 0) (local.get 1)))
            (func $div64 (export "div64") (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
            (func $trunc (export "trunc") (param f64) (result i32) (i32.trunc_f64_u (local.get 0))))"#,
        &[
            ("div_s", &[Val::I32(1), Val::I32(0)], IntegerDivisionByZero),
            ("div_s", &[Val::I32(i32::MIN), Val::I32(-1)], IntegerOverflow),
            ("rem_u", &[Val::I64(1), Val::I64(0)], IntegerDivisionByZero),
            ("rem_s", &[Val::I32(1), Val::I32(0)], IntegerDivisionByZero),
            ("div64", &[Val::I64(i64::MIN), Val::I64(-1)], IntegerOverflow),
            ("div64", &[Val::I64(7), Val::I64(0)], IntegerDivisionByZero),
            ("trunc", &[Val::F64(f64::NAN.to_bits())], BadConversionToInteger),
            ("trunc", &[Val::F64((-1.0f64).to_bits())], IntegerOverflow),
        ],
    );
}

#[test]
fn memory_accesses_of_every_width_and_offset() {
    let oob = Trap::MemoryOutOfBounds;
    expect(
        r#"(module (memory 1)
            (func $load8 (export "load8") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func $load64 (export "load64") (param i32) (result i64) (i64.load (local.get 0)))
            (func $far (export "far") (param i32) (result i32) (i32.load offset=0xffffffff (local.get 0)))
            (func $middle (export "middle") (param i32) (result i32) (i32.load offset=0x80000000 (local.get 0)))
            (func $store (export "store") (param i32) (i64.store (local.get 0) (i64.const 1)))
            (func $vector (export "vector") (param i32) (result i32)
                (i8x16.extract_lane_u 0 (v128.load offset=8 (local.get 0))))
            (func $lane (export "lane") (param i32)
                (v128.store32_lane 1 (local.get 0) (v128.const i32x4 1 2 3 4)))
            (func $unused (export "unused") (param i32) (drop (i32.load (local.get 0)))))"#,
        &[
            ("load8", &[Val::I32(65536)], oob),
            ("load8", &[Val::I32(-1)], oob),
            ("load64", &[Val::I32(65529)], oob),
            ("far", &[Val::I32(0)], oob),
            ("far", &[Val::I32(-1)], oob),
            ("middle", &[Val::I32(i32::MIN)], oob),
            ("store", &[Val::I32(65529)], oob),
            ("vector", &[Val::I32(65520)], oob),
            ("lane", &[Val::I32(65533)], oob),
            ("unused", &[Val::I32(65533)], oob),
        ],
    );
    expect(
        r#"(module (memory i64 1)
            (func $load (export "load") (param i64) (result i32) (i32.load (local.get 0)))
            (func $offset (export "offset") (param i64) (result i32)
                (i32.load offset=0xfffffffffffffff0 (local.get 0)))
            (func $store (export "store") (param i64) (i32.store8 offset=5 (local.get 0) (i32.const 1))))"#,
        &[
            ("load", &[Val::I64(65533)], oob),
            ("load", &[Val::I64(-1)], oob),
            ("load", &[Val::I64(1 << 33)], oob),
            ("offset", &[Val::I64(0)], oob),
            ("offset", &[Val::I64(0x20)], oob),
            ("store", &[Val::I64(65531)], oob),
            ("store", &[Val::I64(-5)], oob),
        ],
    );
}

#[test]
fn bulk_operations_and_tables() {
    expect(
        r#"(module (memory 1) (data $d "abc") (table $t 3 funcref) (elem $e func $fill)
            (func $fill (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 0) (i32.const 2)))
            (func $copy (export "copy") (param i32) (memory.copy (i32.const 0) (local.get 0) (i32.const 2)))
            (func $init (export "init") (param i32) (memory.init $d (i32.const 0) (local.get 0) (i32.const 2)))
            (func $tinit (export "tinit") (param i32) (table.init $t $e (local.get 0) (i32.const 0) (i32.const 1)))
            (func $tcopy (export "tcopy") (param i32) (table.copy $t $t (i32.const 0) (local.get 0) (i32.const 1)))
            (func $tfill (export "tfill") (param i32) (table.fill $t (local.get 0) (ref.null func) (i32.const 1)))
            (func $get (export "get") (param i32) (result funcref) (table.get $t (local.get 0)))
            (func $set (export "set") (param i32) (table.set $t (local.get 0) (ref.null func))))"#,
        &[
            ("fill", &[Val::I32(65535)], Trap::MemoryOutOfBounds),
            ("copy", &[Val::I32(-1)], Trap::MemoryOutOfBounds),
            ("init", &[Val::I32(2)], Trap::MemoryOutOfBounds),
            ("tinit", &[Val::I32(3)], Trap::TableOutOfBounds),
            ("tcopy", &[Val::I32(3)], Trap::TableOutOfBounds),
            ("tfill", &[Val::I32(-1)], Trap::TableOutOfBounds),
            ("get", &[Val::I32(3)], Trap::TableOutOfBounds),
            ("set", &[Val::I32(-1)], Trap::TableOutOfBounds),
        ],
    );
}

#[test]
fn indirect_calls() {
    expect(
        r#"(module (type $v (func)) (type $i (func (result i32)))
            (table 3 funcref) (elem (i32.const 1) $seven)
            (func $seven (type $i) i32.const 7)
            (func $call (export "call") (param i32) (call_indirect (type $v) (local.get 0)))
            (func $tail (export "tail") (param i32) (return_call_indirect (type $v) (local.get 0))))"#,
        &[
            ("call", &[Val::I32(0)], Trap::IndirectCallToNull),
            ("call", &[Val::I32(1)], Trap::BadSignature),
            ("call", &[Val::I32(3)], Trap::UndefinedElement),
            ("call", &[Val::I32(-1)], Trap::UndefinedElement),
            ("tail", &[Val::I32(0)], Trap::IndirectCallToNull),
            ("tail", &[Val::I32(1)], Trap::BadSignature),
        ],
    );
}

#[test]
fn a_backtrace_names_functions_and_offsets() {
    for engine in engines() {
        let wat = r#"(module $guest
            (func $inner (param i32) (result i32) local.get 0 i32.load8_u unreachable)
            (memory 1)
            (func $middle (param i32) (result i32) i32.const 1 drop local.get 0 call $inner)
            (func (export "outer") (param i32) (result i32) local.get 0 call $middle))"#;
        let wasm = wat::parse_str(wat).unwrap();
        let (mut store, instance) = instantiate(&engine, wat);
        let f = instance.get_typed_func::<i32, i32>(&mut store, "outer").unwrap();
        for (arg, trap, opcode) in
            [(0, Trap::UnreachableCodeReached, 0x00), (70_000, Trap::MemoryOutOfBounds, 0x2d)]
        {
            let error = f.call(&mut store, arg).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&trap));
            let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
            let frames: Vec<_> = backtrace
                .frames()
                .iter()
                .map(|f| (f.func_index(), f.func_name(), wasm[f.module_offset()]))
                .collect();
            // 0x10 is `call`.
            assert_eq!(
                frames,
                [(0, Some("inner"), opcode), (1, Some("middle"), 0x10), (2, None, 0x10)]
            );
            let text = format!("{error:?}");
            assert!(text.contains("inner") && text.contains(&trap.to_string()), "{text}");
        }
    }
}

#[test]
fn long_backtraces_keep_both_ends() {
    let (mut store, instance) = instantiate(
        &Engine::default(),
        r#"(module (func $deep (export "deep") (param i32)
            (if (i32.eqz (local.get 0)) (then unreachable))
            (call $deep (i32.sub (local.get 0) (i32.const 1)))))"#,
    );
    let f = instance.get_typed_func::<i32, ()>(&mut store, "deep").unwrap();
    let error = f.call(&mut store, 999).unwrap_err();
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len() + backtrace.omitted(), 1000);
    assert_eq!(backtrace.frames().len(), 80);
}

#[test]
fn a_trap_after_a_host_call_is_still_ours() {
    // The exit fields must be 0 again when wasm goes on, or the handler would not take the fault.
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "h" (func $h)) (memory 1)
            (func (export "f") (param i32) call $h (drop (i32.load (local.get 0))) call $h
                (drop (i32.load (local.get 0)))
                (drop (memory.grow (i32.const 1)))
                (drop (i32.load (i32.const -1)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let h = stillframe::Func::wrap(&mut store, || {});
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    for arg in [70_000, 0] {
        let error = f.call(&mut store, arg).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    }
}

#[test]
fn a_trap_after_a_caught_exception_is_still_ours() {
    // Who catches an exception goes on from inside of a builtin's stub. (`catch_all`: telling tags
    // apart is another builtin, behind which all would be well again.)
    expect(
        r#"(module (memory 1) (tag $tag)
            (func $throw (throw $tag))
            (func $f (export "f") (result i32)
                (block $caught
                    (try_table (catch_all $caught) (call $throw)))
                (i32.load (i32.const -4))))"#,
        &[("f", &[], Trap::MemoryOutOfBounds)],
    );
}

#[test]
fn faults_on_many_threads_at_once() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (memory 1) (func (export "f") (param i32) (result i32) (i32.load (local.get 0))))"#,
    )
    .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let f = instance.get_typed_func::<i32, i32>(&mut store, "f").unwrap();
                for i in 0..2000 {
                    let result = f.call(&mut store, i * 64);
                    assert_eq!(result.is_ok(), i * 64 <= 65532, "{i}");
                }
            });
        }
    });
}
