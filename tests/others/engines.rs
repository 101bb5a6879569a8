//! Engines: types and code that are shared, mixed up, or gone too early.

use super::common::{call, engine, metered, module, panic_of, trap_of};
use std::sync::Arc;
use stillframe::{
    Caller, Engine, Extern, Func, FuncType, Instance, Linker, Module, Store, Trap, Val, ValType,
};

/// Asks through a table for a function of the type that takes `T`; another type must trap.
const BY_TYPE: &str = r#"(module
    (type $i (func (param i32) (result i32))) (type $l (func (param i64) (result i64)))
    (type $f (func (param f64) (result f64))) (type $none (func))
    (import "" "i" (func $ii (type $i))) (import "" "l" (func $ll (type $l)))
    (table 4 funcref) (elem (i32.const 0) $ii $ll $ff $own)
    (func $ff (type $f) (f64.neg (local.get 0)))
    (func $own (type $none))
    (func (export "i") (param i32) (result i32) (call_indirect (type $i) (i32.const 5) (local.get 0)))
    (func (export "l") (param i32) (result i32)
        (i32.wrap_i64 (call_indirect (type $l) (i64.const 5) (local.get 0))))
    (func (export "f") (param i32) (result i32)
        (i32.trunc_f64_s (call_indirect (type $f) (f64.const 5) (local.get 0))))
    (func (export "none") (param i32) (result i32)
        (call_indirect (type $none) (local.get 0)) (i32.const 9)))"#;

/// Each of `BY_TYPE`'s calls reaches the function of its type, and no other.
#[track_caller]
fn types_are_told_apart<T: 'static>(store: &mut Store<T>, instance: Instance) {
    for (at, name, result) in [(0, "i", 15), (1, "l", 25), (2, "f", -5), (3, "none", 9)] {
        for index in 0..4 {
            let called = call(store, instance, name, &[Val::I32(index)]);
            match index == at {
                true => assert_eq!(called.unwrap()[0].unwrap_i32(), result, "{name}"),
                false => assert_eq!(trap_of(called), Trap::BadSignature, "{name} at {index}"),
            }
        }
    }
}

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("", "i", |n: i32| n + 10).unwrap();
    linker.func_wrap("", "l", |n: i64| n + 20).unwrap();
    linker
}

/// An engine that has seen other types before: its numbers for types are others.
fn engine_after(others: usize) -> Engine {
    let engine = Engine::default();
    for n in 0..others {
        let params = vec![ValType::I64; n];
        let mut store = Store::new(&engine, ());
        Func::new(&mut store, FuncType::new(params, [ValType::F32]), |_, _, _| Ok(()));
    }
    engine
}

/// wasmtime, GHSA-q879-9g95-56mx and GHSA-hgjw-h833-99q9: a function kept the number that its type has in
/// the engine where it was defined, and was used in another one, where that number is another type.
#[test]
fn types_of_one_engine_are_not_taken_for_those_of_another() {
    let engines: Vec<Engine> = [0, 1, 2, 3, 50].map(engine_after).into();
    let modules: Vec<Module> = engines.iter().map(|engine| module(engine, BY_TYPE)).collect();
    // Defined once, of no engine; each engine has its own number for it.
    for (engine, module) in engines.iter().zip(&modules) {
        let mut store = Store::new(engine, ());
        let instance = linker(engine).instantiate(&mut store, module).unwrap();
        types_are_told_apart(&mut store, instance);
    }
    // Whatever is of another engine is refused, and not looked up.
    for (i, one) in engines.iter().enumerate() {
        for (j, module) in modules.iter().enumerate().filter(|(j, _)| *j != i) {
            let linker = linker(one);
            let mut store = Store::new(one, ());
            let mut other = Store::new(&engines[j], ());
            let refused = |what: &str, body: &mut dyn FnMut() -> bool| {
                let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
                assert!(!done.is_ok_and(|went_through| went_through), "{what} of another engine");
            };
            refused("a module", &mut || linker.instantiate(&mut store, module).is_ok());
            refused("a store", &mut || linker.instantiate(&mut other, module).is_ok());
            refused("a module", &mut || linker.instantiate_pre(module).is_ok());
            let i = Func::wrap(&mut store, |n: i32| n + 10);
            let l = Func::wrap(&mut store, |n: i64| n + 20);
            refused("functions", &mut || {
                Instance::new(&mut other, module, &[i.into(), l.into()]).is_ok()
            });
            refused("a function", &mut || i.typed::<i32, i32>(&other).is_ok());
            // What is of no engine yet gets the type of the engine whose store it goes to.
            let i = linker.get(&mut other, "", "i").unwrap().into_func().unwrap();
            assert_eq!(i.typed::<i32, i32>(&other).unwrap().call(&mut other, 1).unwrap(), 11);
        }
    }
}

/// wasmtime, GHSA-hfr4-7c6c-48w2: a linker that was cloned shared host functions with the first, which
/// freed them.
#[test]
fn a_clone_of_a_linker_outlives_it() {
    let engine = metered();
    let module = module(
        &engine,
        r#"(module (import "a" "f" (func $f (result i32))) (import "a" "g" (func $g (result i32)))
            (func (export "sum") (result i32) (i32.add (call $f) (call $g))))"#,
    );
    let counted = Arc::new(());
    for round in 0..10 {
        let held = counted.clone();
        let mut first = Linker::<i32>::new(&engine);
        first
            .func_wrap("a", "f", move |caller: Caller<'_, i32>| {
                *caller.data() + Arc::strong_count(&held).min(1) as i32
            })
            .unwrap();
        let mut clone = first.clone();
        clone.func_wrap("a", "g", || 100).unwrap();
        let pre = clone.instantiate_pre(&module).unwrap();
        assert!(first.instantiate_pre(&module).is_err(), "the first does not have it");
        drop(first);
        let again = clone.clone();
        let mut stores: Vec<_> = [10, 20].map(|data| Store::new(&engine, data)).into();
        for store in &mut stores {
            store.set_fuel(1000).unwrap();
        }
        let mut instances = vec![clone.instantiate(&mut stores[0], &module).unwrap()];
        drop(clone);
        instances.push(pre.instantiate(&mut stores[1]).unwrap());
        drop(pre);
        instances.push(again.instantiate(&mut stores[1], &module).unwrap());
        drop(again);
        for (at, store, sum) in [(0, 0, 111), (1, 1, 121), (2, 1, 121)] {
            let results = call(&mut stores[store], instances[at], "sum", &[]).unwrap();
            assert_eq!(results[0].unwrap_i32(), sum, "round {round}");
        }
        assert_eq!(Arc::strong_count(&counted), 2, "the stores have it still");
        drop(stores);
        assert_eq!(Arc::strong_count(&counted), 1);
    }
}

/// wasmtime, GHSA-7qmx-3fpx-r45m: while one thread dropped the last function of a type, another registered the
/// type: two types had one number.
#[test]
fn types_that_threads_make_and_drop_at_once_are_told_apart() {
    let engine = Engine::default();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let engine = &engine;
            scope.spawn(move || {
                for round in 0..8 {
                    // Types that others have too, in another order, and some that nobody has.
                    for n in 0..3 {
                        let params = vec![ValType::I32; (thread * 7 + round * 3 + n) % 11];
                        let mut store = Store::new(engine, ());
                        let ty = FuncType::new(params, [ValType::I64]);
                        Func::new(&mut store, ty, |_, _, _| Ok(()));
                    }
                    let module = module(engine, BY_TYPE);
                    let mut store = Store::new(engine, ());
                    let instance = linker(engine).instantiate(&mut store, &module).unwrap();
                    types_are_told_apart(&mut store, instance);
                }
            });
        }
    });
}

/// Runtimes that found trampolines by address used those of code that was unmapped: a function whose module, or
/// whose linker and engine, nobody has any more but the store.
#[test]
fn a_store_keeps_alive_all_that_its_functions_need() {
    let (mut store, imported) = {
        let engine = engine(|_| ());
        let mut store = Store::new(&engine, ());
        let exporter = module(
            &engine,
            "(module (func (export \"f\") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1))))",
        );
        let exporter = Instance::new(&mut store, &exporter, &[]).unwrap();
        let f = exporter.get_func(&mut store, "f").unwrap();
        let h = Func::wrap(&mut store, |n: i32| n * 2);
        let importer = module(
            &engine,
            r#"(module (import "" "f" (func $f (param i32) (result i32))) (import "" "h" (func $h (param i32) (result i32)))
                (table (export "t") funcref (elem $f $h))
                (func (export "g") (param i32) (result i32)
                    (call_indirect (param i32) (result i32) (call $h (call $f (local.get 0))) (i32.const 1))))"#,
        );
        let imports: [Extern; 2] = [f.into(), h.into()];
        let imported = Instance::new(&mut store, &importer, &imports).unwrap();
        (store, imported)
    };
    // Other code takes the addresses of what is gone.
    let other = engine(|_| ());
    for _ in 0..5 {
        let module = module(&other, "(module (func (export \"f\") (unreachable)))");
        let mut store = Store::new(&other, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        call(&mut store, instance, "f", &[]).unwrap_err();
    }
    for n in 0..3 {
        let results = call(&mut store, imported, "g", &[Val::I32(n)]).unwrap();
        assert_eq!(results[0].unwrap_i32(), (n + 1) * 4);
    }
    let f = imported.get_table(&mut store, "t").unwrap().get(&mut store, 0).unwrap();
    let f = f.as_func().unwrap().unwrap();
    drop(other);
    assert_eq!(f.typed::<i32, i32>(&store).unwrap().call(&mut store, 6).unwrap(), 7);
    assert!(panic_of(|| f.ty(Store::new(&Engine::default(), ()))).contains("another store"));
}
