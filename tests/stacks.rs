//! Wasm stacks: overflow is a trap, recursion through the host is bounded, panics pass through, and
//! none of it depends on how deep the host is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use stillframe::{
    AsContextMut, Caller, Config, Engine, Func, Instance, Linker, Module, Store, Trap,
};

const RECURSION: &str = r#"
(module
  (func $sum (export "sum") (param i32) (result i64)
    (if (result i64) (i32.eqz (local.get 0))
      (then (i64.const 0))
      (else (i64.add (i64.extend_i32_u (local.get 0))
        (call $sum (i32.sub (local.get 0) (i32.const 1)))))))
  (func $forever (export "forever") call $forever)
  (table 1 funcref) (elem (i32.const 0) $indirect)
  (func $indirect (export "indirect") (call_indirect (i32.const 0)))
  (func $tail (export "tail") (param i32) (result i32)
    (if (i32.eqz (local.get 0)) (then (return (i32.const 42))))
    (return_call $tail (i32.sub (local.get 0) (i32.const 1)))))
"#;

/// wasm → host → wasm, until something stops it.
const THROUGH_HOST: &str = r#"
(module (import "" "again" (func $again (param i32)))
  (func (export "f") (param i32) (call $again (i32.add (local.get 0) (i32.const 1)))))
"#;

fn trap_of(error: &stillframe::Error) -> Trap {
    *error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("not a trap: {error:?}"))
}

fn recursion(config: &Config) -> (Store<()>, Instance) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, RECURSION).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

#[test]
fn unbounded_recursion_traps_and_the_store_goes_on() {
    let (mut store, instance) = recursion(&Config::new());
    for name in ["forever", "indirect"] {
        let f = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        for _ in 0..3 {
            assert_eq!(trap_of(&f.call(&mut store, ()).unwrap_err()), Trap::StackOverflow);
        }
    }
    let sum = instance.get_typed_func::<i32, i64>(&mut store, "sum").unwrap();
    assert_eq!(sum.call(&mut store, 1000).unwrap(), 500_500);
}

#[test]
fn depth_follows_the_configured_stack() {
    // 100,000 frames of at least 32 bytes need more than the 1 MiB of the default.
    let (mut store, instance) = recursion(&Config::new());
    let sum = instance.get_typed_func::<i32, i64>(&mut store, "sum").unwrap();
    assert_eq!(trap_of(&sum.call(&mut store, 100_000).unwrap_err()), Trap::StackOverflow);
    let (mut store, instance) = recursion(Config::new().max_wasm_stack(64 << 20));
    let sum = instance.get_typed_func::<i32, i64>(&mut store, "sum").unwrap();
    assert_eq!(sum.call(&mut store, 100_000).unwrap(), 5_000_050_000);
}

#[test]
fn a_small_host_stack_is_enough_for_deep_wasm() {
    let config = Config::new().max_wasm_stack(64 << 20).clone();
    std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(move || {
            let (mut store, instance) = recursion(&config);
            let sum = instance.get_typed_func::<i32, i64>(&mut store, "sum").unwrap();
            assert_eq!(sum.call(&mut store, 100_000).unwrap(), 5_000_050_000);
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn tail_calls_take_no_stack() {
    let (mut store, instance) = recursion(&Config::new());
    let tail = instance.get_typed_func::<i32, i32>(&mut store, "tail").unwrap();
    assert_eq!(tail.call(&mut store, 10_000_000).unwrap(), 42);
}

/// How deep a store's calls nest before they are stopped.
fn nesting(config: &Config) -> usize {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, THROUGH_HOST).unwrap();
    let mut store = Store::new(&engine, (None::<Instance>, 0));
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "again", |mut caller: Caller<'_, (Option<Instance>, usize)>, depth: i32| {
            caller.data_mut().1 = depth as usize;
            let instance = caller.data().0.unwrap();
            let f = instance.get_typed_func::<i32, ()>(caller.as_context_mut(), "f")?;
            f.call(caller.as_context_mut(), depth)
        })
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.data_mut().0 = Some(instance);
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    for _ in 0..2 {
        let error = f.call(&mut store, 0).unwrap_err();
        assert_eq!(trap_of(&error), Trap::StackOverflow);
    }
    store.data().1
}

#[test]
fn recursion_through_host_functions_is_bounded_by_the_number_of_nested_calls() {
    assert_eq!(nesting(Config::new().max_nested_calls(7)), 7);
}

#[test]
fn recursion_through_host_functions_is_bounded_by_the_hosts_stack() {
    let depth = std::thread::Builder::new()
        .stack_size(512 << 10)
        .spawn(|| nesting(Config::new().max_nested_calls(1_000_000)))
        .unwrap()
        .join()
        .unwrap();
    assert!((2..10_000).contains(&depth), "{depth}");
}

#[test]
fn a_panic_passes_through_every_level_and_leaves_the_store_usable() {
    let engine = Engine::default();
    let module = Module::new(&engine, THROUGH_HOST).unwrap();
    let mut store = Store::new(&engine, None::<Instance>);
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "again", |mut caller: Caller<'_, Option<Instance>>, depth: i32| {
            if depth == 5 {
                std::panic::panic_any(depth);
            }
            if depth > 100 {
                return Ok(());
            }
            let f = caller.data().unwrap();
            let f = f.get_typed_func::<i32, ()>(caller.as_context_mut(), "f")?;
            f.call(caller.as_context_mut(), depth)
        })
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    *store.data_mut() = Some(instance);
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    for _ in 0..100 {
        let panic = catch_unwind(AssertUnwindSafe(|| f.call(&mut store, 0))).unwrap_err();
        assert_eq!(panic.downcast_ref::<i32>(), Some(&5));
        f.call(&mut store, 100).unwrap();
    }
}

#[test]
fn an_error_of_a_host_function_comes_out_as_it_went_in() {
    #[derive(Debug)]
    struct Mine(u32);
    impl std::fmt::Display for Mine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "mine {}", self.0)
        }
    }
    impl std::error::Error for Mine {}

    let engine = Engine::default();
    let module = Module::new(
        &engine,
        "(module (import \"\" \"h\" (func $h)) (func $caller (export \"f\") call $h))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let h = Func::wrap(&mut store, || -> stillframe::Result<()> { Err(Mine(7).into()) });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Mine>().unwrap().0, 7);
    let backtrace = error.downcast_ref::<stillframe::WasmBacktrace>().unwrap();
    assert_eq!(backtrace.frames().len(), 1);
    assert_eq!(backtrace.frames()[0].func_name(), Some("caller"));
}

#[test]
fn stores_on_many_threads_do_not_disturb_each_other() {
    let engine = Engine::default();
    let module = Module::new(&engine, RECURSION).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (engine, module) = (&engine, &module);
            scope.spawn(move || {
                for round in 0..50 {
                    let mut store = Store::new(engine, ());
                    let instance = Instance::new(&mut store, module, &[]).unwrap();
                    let sum = instance.get_typed_func::<i32, i64>(&mut store, "sum").unwrap();
                    let n = thread * 50 + round;
                    let expected = i64::from(n) * i64::from(n + 1) / 2;
                    assert_eq!(sum.call(&mut store, n).unwrap(), expected);
                    let f = instance.get_typed_func::<(), ()>(&mut store, "forever").unwrap();
                    assert_eq!(trap_of(&f.call(&mut store, ()).unwrap_err()), Trap::StackOverflow);
                }
            });
        }
    });
}

#[test]
fn a_store_can_move_to_another_thread_between_calls() {
    let (mut store, instance) = recursion(&Config::new());
    for _ in 0..20 {
        store = std::thread::spawn(move || {
            let f = instance.get_typed_func::<(), ()>(&mut store, "forever").unwrap();
            assert_eq!(trap_of(&f.call(&mut store, ()).unwrap_err()), Trap::StackOverflow);
            store
        })
        .join()
        .unwrap();
    }
}

#[test]
fn a_host_call_with_very_many_parameters_tests_the_stack_limit() {
    // 900 parameters: the cells of the wasm-to-host trampoline take 14 KiB, more than the reserve
    // should lend. The recursion stops near the limit, at each depth in turn.
    let params = "i64 ".repeat(900);
    let args = "(i64.const 1) ".repeat(900);
    let wat = format!(
        "(module (import \"\" \"h\" (func $h (param {params})))
            (func $f (export \"f\") (param i32)
                (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1))) (return)))
                (call $h {args})))"
    );
    let engine = Engine::new(Config::new().max_wasm_stack(128 << 10)).unwrap();
    let module = Module::new(&engine, &wat).unwrap();
    let ty = module.imports().next().unwrap().ty().func().unwrap().clone();
    let mut store = Store::new(&engine, 0usize);
    let h = Func::new(&mut store, ty, |mut caller: Caller<'_, usize>, params, _| {
        assert_eq!(params.len(), 900);
        *caller.data_mut() += 1;
        Ok(())
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_typed_func::<i32, ()>(&mut store, "f").unwrap();
    let mut overflows = 0;
    for depth in 0..400 {
        if let Err(error) = f.call(&mut store, depth) {
            assert_eq!(trap_of(&error), Trap::StackOverflow);
            overflows += 1;
        }
    }
    assert_eq!(*store.data() + overflows, 400);
    assert!(overflows > 0 && *store.data() > 0, "{overflows} overflows");
}
