//! Start functions that fail in every way there is: the instantiation ends with the reason, and the
//! store goes on.

use super::common::{FUEL, trap, ways};
use stillframe::{
    Engine, Extern, FrozenTrace, Func, Instance, Module, Store, Trap, UncaughtException, bail,
};

/// Bodies of start functions, and how they trap.
const TRAPS: [(&str, Trap); 16] = [
    ("call $start", Trap::StackOverflow),
    ("i32.const -4 i32.load drop", Trap::MemoryOutOfBounds),
    ("i32.const 65535 i32.const 1 i32.const 2 memory.fill", Trap::MemoryOutOfBounds),
    ("i32.const 1 table.get $t drop", Trap::TableOutOfBounds),
    ("i32.const 9 call_indirect $t", Trap::UndefinedElement),
    ("i32.const 0 call_indirect $t", Trap::IndirectCallToNull),
    ("i32.const 0 call_indirect $u (result i32) drop", Trap::BadSignature),
    ("i32.const 0x80000000 i32.const -1 i32.div_s drop", Trap::IntegerOverflow),
    ("f64.const 1e300 i32.trunc_f64_s drop", Trap::IntegerOverflow),
    ("i64.const 1 i64.const 0 i64.rem_u drop", Trap::IntegerDivisionByZero),
    ("f32.const nan i64.trunc_f32_u drop", Trap::BadConversionToInteger),
    ("unreachable", Trap::UnreachableCodeReached),
    ("ref.null exn throw_ref", Trap::NullReference),
    ("i32.const 1 i32.atomic.load drop", Trap::UnalignedAtomic),
    (
        "i32.const 0 i32.const 0 i64.const 0 memory.atomic.wait32 drop",
        Trap::AtomicWaitNonSharedMemory,
    ),
    ("loop br 0 end", Trap::OutOfFuel),
];

fn module(body: &str) -> String {
    format!(
        r#"(module (import "" "host" (func $host)) (tag $e (param i32))
        (memory 1) (table $t 1 funcref) (table $u 1 1 funcref) (elem (table $u) (i32.const 0) func $start)
        (global $done (mut i32) (i32.const 0))
        (func $start (global.set $done (i32.const 1)) {body})
        (start $start))"#
    )
}

#[test]
fn every_trap_of_a_start_function_is_the_instantiations() {
    for way in ways() {
        let engine = Engine::new(&way.config()).unwrap();
        let mut store = way.store(&engine);
        let host: Extern = Func::wrap(&mut store, || ()).into();
        let fine = Module::new(&engine, module("")).unwrap();
        for (body, expected) in TRAPS {
            let expected = match expected {
                Trap::OutOfFuel if way.fuel => Trap::OutOfFuel,
                Trap::OutOfFuel if way.epochs => Trap::Interrupt,
                Trap::OutOfFuel => continue,
                expected => expected,
            };
            let module = Module::new(&engine, module(body)).unwrap();
            for _ in 0..2 {
                if expected == Trap::OutOfFuel {
                    store.set_fuel(10_000).unwrap();
                }
                store.set_epoch_deadline(if expected == Trap::Interrupt { 0 } else { 1_000 });
                let error =
                    Instance::new(&mut store, &module, std::slice::from_ref(&host)).unwrap_err();
                assert_eq!(trap(&error), expected, "{body}, {way:?}");
                let frames = FrozenTrace::of(&error).unwrap().frames();
                assert_eq!(frames[0].func_name(), Some("start"), "{body}, {way:?}");
                if way.fuel {
                    store.set_fuel(FUEL).unwrap();
                }
                store.set_epoch_deadline(1_000);
                Instance::new(&mut store, &fine, std::slice::from_ref(&host)).unwrap();
            }
        }
    }
}

#[test]
fn an_exception_of_a_start_function_and_an_error_of_its_host_function_are_the_instantiations() {
    for way in ways() {
        let engine = Engine::new(&way.config()).unwrap();
        let mut store = way.store(&engine);
        let fail: Extern =
            Func::wrap(&mut store, || -> stillframe::Result<()> { bail!("the host says no") })
                .into();
        let host = std::slice::from_ref(&fail);
        let throws = Module::new(&engine, module("i32.const 7 throw $e")).unwrap();
        let error = Instance::new(&mut store, &throws, host).unwrap_err();
        assert!(error.is::<UncaughtException>(), "{error:?}, {way:?}");
        let calls = Module::new(&engine, module("call $host")).unwrap();
        let error = Instance::new(&mut store, &calls, host).unwrap_err();
        assert!(format!("{error:#}").contains("the host says no"), "{error:?}, {way:?}");
        // A start function can be an import.
        let import = r#"(module (import "" "host" (func $host)) (start $host))"#;
        let import = Module::new(&engine, import).unwrap();
        let error = Instance::new(&mut store, &import, host).unwrap_err();
        assert!(format!("{error:#}").contains("the host says no"), "{error:?}, {way:?}");
        Instance::new(&mut store, &Module::new(&engine, module("")).unwrap(), host).unwrap();
    }
}

/// What comes before the start function can fail too, and then it does not run.
#[test]
fn segments_that_do_not_fit_fail_before_the_start_function() {
    let engine = Engine::default();
    let called = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut store = Store::new(&engine, ());
    let calls = called.clone();
    let host: Extern =
        Func::wrap(&mut store, move || calls.store(true, std::sync::atomic::Ordering::Relaxed))
            .into();
    for (segment, expected) in [
        (r#"(data (i32.const 65535) "ab")"#, Trap::MemoryOutOfBounds),
        (r#"(data (i32.const -1) "a")"#, Trap::MemoryOutOfBounds),
        ("(elem (i32.const 1) func $f)", Trap::TableOutOfBounds),
        ("(elem (i32.const -1) func $f)", Trap::TableOutOfBounds),
    ] {
        let text = format!(
            r#"(module (import "" "host" (func $host)) (memory 1) (table 1 funcref)
            (func $f call $host) (start $f) {segment})"#
        );
        let module = Module::new(&engine, text).unwrap();
        let error = Instance::new(&mut store, &module, std::slice::from_ref(&host)).unwrap_err();
        assert_eq!(trap(&error), expected, "{segment}");
        assert!(!called.load(std::sync::atomic::Ordering::Relaxed), "{segment}");
    }
}
