//! Host functions: what they get, what they may return, and what happens when they fail.

use crate::{panic_of, text};
use stillframe::{
    Caller, Engine, Error, Extern, Func, FuncType, Instance, Linker, Module, Result, Store, Trap,
    V128, Val, ValType, WasmBacktrace, bail,
};

/// A store with data `T` and an instance of the module with these definitions.
fn linked<T: 'static>(
    data: T,
    wat: &str,
    define: impl FnOnce(&mut Linker<T>) -> Result<()>,
) -> (Store<T>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::new(&engine);
    define(&mut linker).unwrap();
    let mut store = Store::new(&engine, data);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

const CALLS: &str = r#"
    (module
        (import "host" "f" (func $f (param i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "run") (param i32) (result i32)
            (i32.add (i32.const 1) (call $f (local.get 0)))))
"#;

fn run<T: 'static>(store: &mut Store<T>, instance: Instance, param: i32) -> Result<i32> {
    instance.get_typed_func::<i32, i32>(&mut *store, "run")?.call(store, param)
}

#[test]
fn closures_get_parameters_and_the_caller_and_return_results() {
    let (mut store, instance) = linked(10, CALLS, |linker| {
        linker.func_wrap("host", "f", |mut caller: Caller<'_, i32>, x: i32| {
            *caller.data_mut() += x;
            *caller.data()
        })?;
        Ok(())
    });
    assert_eq!(run(&mut store, instance, 5).unwrap(), 16);
    assert_eq!(run(&mut store, instance, 7).unwrap(), 23);
    assert_eq!(store.into_data(), 22);
}

#[test]
fn a_caller_names_its_instance_and_that_instances_exports() {
    let (mut store, instance) = linked(None, CALLS, |linker| {
        linker.func_wrap("host", "f", |mut caller: Caller<'_, Option<Instance>>, x: i32| {
            *caller.data_mut() = caller.instance();
            assert!(caller.get_export("nothing").is_none());
            let Some(Extern::Memory(memory)) = caller.get_export("memory") else { panic!() };
            memory.write(&mut caller, 0, b"seen").unwrap();
            x
        })?;
        Ok(())
    });
    run(&mut store, instance, 0).unwrap();
    assert_eq!(*store.data(), Some(instance));
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert_eq!(&memory.data(&store)[..4], b"seen");
    // Called straight there is no calling instance.
    let direct = Func::wrap(&mut store, |mut caller: Caller<'_, Option<Instance>>| {
        i32::from(caller.instance().is_none() && caller.get_export("memory").is_none())
    });
    let direct = direct.typed::<(), i32>(&store).unwrap();
    assert_eq!(direct.call(&mut store, ()).unwrap(), 1);
}

#[test]
fn sixteen_parameters_of_all_types_and_several_results_come_through() {
    let types = "i32 i64 f32 f64 v128 ".repeat(3) + "i32";
    let gets: String = (0..16).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (import "host" "f" (func $f (param {types}) (result v128 i32 f64)))
            (func (export "run") (param {types}) (result v128 i32 f64) (call $f {gets})))"#
    );
    type P = (i32, i64, f32, f64, V128);
    let (mut store, instance) = linked((), &wat, |linker| {
        linker.func_wrap(
            "host",
            "f",
            |a: i32,
             b: i64,
             c: f32,
             d: f64,
             e: V128,
             f: i32,
             g: i64,
             h: f32,
             i: f64,
             j: V128,
             k: i32,
             l: i64,
             m: f32,
             n: f64,
             o: V128,
             p: i32| {
                let first: P = (a, b, c, d, e);
                assert_eq!((first, (f, g, h, i, j)), (values(1), values(2)));
                assert_eq!((k, l, m, n, o), values(3));
                Ok((e, p, n))
            },
        )?;
        Ok(())
    });
    fn values(i: i32) -> P {
        (
            i,
            i64::from(i) << 40,
            i as f32 / 2.0,
            f64::from(i) / 4.0,
            V128::from(u128::MAX - i as u128),
        )
    }
    let vals = |i| {
        let (a, b, c, d, e) = values(i);
        [Val::from(a), b.into(), c.into(), d.into(), e.into()]
    };
    let params: Vec<_> =
        [vals(1), vals(2), vals(3)].into_iter().flatten().chain([Val::I32(99)]).collect();
    let mut results = [Val::I32(0); 3];
    let run = instance.get_func(&mut store, "run").unwrap();
    run.call(&mut store, &params, &mut results).unwrap();
    assert_eq!(results[0].unwrap_v128(), values(1).4);
    assert_eq!((results[1].unwrap_i32(), results[2].unwrap_f64()), (99, 0.75));
}

#[test]
fn an_untyped_host_function_with_many_values_works_and_its_results_start_as_zero() {
    let many = |n| "i64 ".repeat(n);
    let gets: String = (0..12).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (import "host" "f" (func $f (param {}) (result {})))
            (func (export "run") (param {}) (result {}) (call $f {gets})))"#,
        many(12),
        many(20),
        many(12),
        many(20)
    );
    let ty = FuncType::new([ValType::I64; 12], [ValType::I64; 20]);
    let (mut store, instance) = linked((), &wat, |linker| {
        linker.func_new("host", "f", ty, |_, params, results| {
            assert!(results.iter().all(|result| result.unwrap_i64() == 0));
            results[..12].copy_from_slice(params);
            Ok(())
        })?;
        Ok(())
    });
    let params: Vec<_> = (0..12).map(Val::I64).collect();
    let mut results = [Val::I32(0); 20];
    let run = instance.get_func(&mut store, "run").unwrap();
    run.call(&mut store, &params, &mut results).unwrap();
    let values: Vec<_> = results.iter().map(Val::unwrap_i64).collect();
    assert_eq!(values, (0..12).chain([0; 8]).collect::<Vec<_>>());
}

#[test]
fn results_of_an_untyped_host_function_are_checked() {
    let ty = FuncType::new([ValType::I32], [ValType::I32]);
    let (mut store, instance) = linked((), CALLS, |linker| {
        linker.func_new("host", "f", ty, |_, params, results| {
            results[0] = match params[0].unwrap_i32() {
                0 => Val::I64(0),
                x => Val::I32(x),
            };
            Ok(())
        })?;
        Ok(())
    });
    let error = text(run(&mut store, instance, 0));
    assert!(error.contains("host function result 0: expected `i32`, found `i64`"), "{error}");
    assert_eq!(run(&mut store, instance, 1).unwrap(), 2);
}

#[derive(Debug, PartialEq)]
struct Exit(i32);

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit with code {}", self.0)
    }
}

impl std::error::Error for Exit {}

#[test]
fn a_host_functions_error_ends_the_call_and_leaves_the_store_usable() {
    let (mut store, instance) = linked(0, CALLS, |linker| {
        linker.func_wrap("host", "f", |mut caller: Caller<'_, i32>, x: i32| -> Result<i32> {
            *caller.data_mut() += 1;
            match x {
                0 => Err(Exit(3).into()),
                1 => Err(Trap::UnreachableCodeReached.into()),
                2 => bail!("no such thing"),
                _ => Ok(x),
            }
        })?;
        Ok(())
    });
    let error = run(&mut store, instance, 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Exit(3)));
    assert_eq!(error.downcast_ref::<WasmBacktrace>().unwrap().frames().len(), 1);
    let error = run(&mut store, instance, 1).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::UnreachableCodeReached));
    let error = run(&mut store, instance, 2).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "no such thing");
    assert_eq!(run(&mut store, instance, 3).unwrap(), 4);
    assert_eq!(*store.data(), 4);
}

#[test]
fn a_host_functions_panic_passes_through_and_leaves_the_store_usable() {
    let (mut store, instance) = linked((), CALLS, |linker| {
        linker.func_wrap("host", "f", |x: i32| if x == 0 { panic!("ouch {x}") } else { x })?;
        Ok(())
    });
    for _ in 0..3 {
        assert_eq!(panic_of(|| run(&mut store, instance, 0)), "ouch 0");
        assert_eq!(run(&mut store, instance, 5).unwrap(), 6);
    }
    let direct = Func::wrap(&mut store, || -> () { panic!("straight") });
    assert_eq!(panic_of(|| direct.call(&mut store, &[], &mut [])), "straight");
    assert_eq!(run(&mut store, instance, 5).unwrap(), 6);
}

/// `run(n)` calls the host, which calls `run(n - 1)`, down to 0.
fn recursive() -> (Store<()>, Instance) {
    linked((), CALLS, |linker| {
        linker.func_wrap("host", "f", |mut caller: Caller<'_, ()>, x: i32| {
            if x == 0 {
                return Err(Error::new(Exit(7)));
            }
            if x == 1000 {
                return Ok(0);
            }
            let instance = caller.instance().unwrap();
            let run = instance.get_typed_func::<i32, i32>(&mut caller, "run")?;
            let inner = run.call(&mut caller, x - 1)?;
            Ok(inner + caller.get_export("memory").map_or(1000, |_| 0))
        })?;
        Ok(())
    })
}

#[test]
fn host_functions_can_call_wasm_again() {
    let (mut store, instance) = recursive();
    assert_eq!(run(&mut store, instance, 1020).unwrap(), 21);
}

#[test]
fn an_error_through_nested_calls_has_one_backtrace_that_spans_them() {
    let (mut store, instance) = recursive();
    let error = run(&mut store, instance, 4).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Exit(7)));
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    let activations: Vec<_> = backtrace.frames().iter().map(|frame| frame.activation()).collect();
    assert_eq!(activations, [0, 1, 2, 3, 4]);
    assert_eq!(format!("{error:?}").matches("wasm backtrace").count(), 1, "{error:?}");
}

#[test]
fn endless_recursion_through_the_host_is_a_stack_overflow() {
    let (mut store, instance) = recursive();
    let error = run(&mut store, instance, -1).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    assert_eq!(run(&mut store, instance, 1002).unwrap(), 3);
}

#[test]
fn a_function_type_that_wasm_cannot_have_is_refused() {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    let of = |params, results| {
        let many = |n| std::iter::repeat_n(ValType::I64, n);
        FuncType::new(many(params), many(results))
    };
    linker.func_new("", "fits", of(1000, 1000), |_, _, _| Ok(())).unwrap();
    linker.func_new("", "params", of(1001, 0), |_, _, _| Ok(())).unwrap();
    linker.func_new("", "results", of(0, 1001), |_, _, _| Ok(())).unwrap();
    let mut store = Store::new(&engine, ());
    let fits = linker.get(&mut store, "", "fits").and_then(Extern::into_func).unwrap();
    let (params, mut results) = ([Val::I64(1); 1000], [Val::I64(2); 1000]);
    fits.call(&mut store, &params, &mut results).unwrap();
    let called = fits.call_resumable(&mut store, &params, &mut results).unwrap();
    assert!(matches!(called, stillframe::ResumableCall::Finished));
    for name in ["params", "results"] {
        let message = panic_of(|| linker.get(&mut store, "", name));
        assert!(message.contains("there can be 1000 of each"), "{message}");
    }
}
