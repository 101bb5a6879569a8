//! Host functions that fail, and calls that go on as if they had returned: in every place from which
//! a host function is called, with results of every number and type.

use super::common::{ended, finished, host_trap, trap_of};
use stillframe::{
    Caller, Engine, ExternRef, Func, FuncType, Instance, Linker, Module, ResumableCall, Store,
    Trap, TypedResumableCall, V128, Val, ValType, bail,
};

/// Asks the host twice, and does something with both answers.
const TWICE: &str = r#"
(module
  (import "host" "ask" (func $ask (param i32) (result i32)))
  (global $asked (export "asked") (mut i32) (i32.const 0))
  (func $count (global.set $asked (i32.add (global.get $asked) (i32.const 1))))
  (func (export "finishes") (param i32) (result i32) (local i32)
    (local.set 1 (call $ask (local.get 0)))
    (call $count)
    (i32.sub (i32.mul (local.get 1) (i32.const 100))
      (call $ask (i32.add (local.get 0) (local.get 1)))))
  (func (export "traps") (param i32) (result i32)
    (drop (call $ask (call $ask (local.get 0))))
    (call $count)
    unreachable)
  ;; In tail position the host function's results are the caller's.
  (func $tail (export "tail") (param i32) (result i32)
    (call $count)
    (return_call $ask (call $ask (local.get 0))))
  (func (export "tail of a tail") (param i32) (result i32)
    (return_call $tail (i32.add (local.get 0) (i32.const 1))))
  (table funcref (elem $ask))
  (func (export "indirect") (param i32) (result i32)
    (return_call_indirect (param i32) (result i32)
      (call_indirect (param i32) (result i32) (local.get 0) (i32.const 0)) (i32.const 0))))
"#;

/// A store whose data is what the host was asked, and the instance of `TWICE`. The host says "no"
/// each time.
fn twice() -> (Store<Vec<i32>>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, TWICE).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "ask", |mut caller: Caller<'_, Vec<i32>>, x: i32| {
            caller.data_mut().push(x);
            if caller.data().len() > 2 {
                return Ok(x);
            }
            bail!("no {x}")
        })
        .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn asked(store: &mut Store<Vec<i32>>, instance: Instance) -> i32 {
    let asked = instance.get_global(&mut *store, "asked").unwrap();
    asked.get(store).unwrap_i32()
}

#[test]
fn two_errors_then_it_finishes() {
    // Name, what the second question is after the first was answered with 7, and the result after
    // the second was answered with 9.
    for (name, second, result) in [
        ("finishes", 3 + 7, 7 * 100 - 9),
        ("tail", 7, 9),
        ("tail of a tail", 7, 9),
        ("indirect", 7, 9),
    ] {
        let first = if name == "tail of a tail" { 4 } else { 3 };
        let (mut store, instance) = twice();
        let func = instance.get_func(&mut store, name).unwrap();
        let mut results = [Val::I64(-1)];
        let call = func.call_resumable(&mut store, &[Val::I32(3)], &mut results).unwrap();
        let call = host_trap(call);
        assert_eq!(call.host_error().to_string(), format!("no {first}"));
        assert_eq!(call.func(), func);
        assert_eq!(call.host_func().ty(&store), FuncType::new([ValType::I32], [ValType::I32]));
        let call = call.resume(&mut store, &[Val::I32(7)], &mut results).unwrap();
        let call = host_trap(call);
        assert_eq!(call.host_error().to_string(), format!("no {second}"));
        // Not written before it finishes.
        assert_eq!(results[0].i64(), Some(-1));
        let call = call.resume(&mut store, &[Val::I32(9)], &mut results).unwrap();
        assert!(matches!(call, ResumableCall::Finished), "{name}");
        assert_eq!(results[0].unwrap_i32(), result, "{name}");
        assert_eq!(*store.data(), [first, second], "{name}: asked once each");
        assert_eq!(asked(&mut store, instance), i32::from(name != "indirect"));
    }
}

#[test]
fn two_errors_then_it_traps() {
    let (mut store, instance) = twice();
    let func = instance.get_func(&mut store, "traps").unwrap();
    let mut results = [Val::I64(-1)];
    let call = func.call_resumable(&mut store, &[Val::I32(3)], &mut results).unwrap();
    let call = host_trap(call).resume(&mut store, &[Val::I32(7)], &mut results).unwrap();
    let error = ended(host_trap(call).resume(&mut store, &[Val::I32(9)], &mut results));
    assert_eq!(trap_of(&error), Trap::UnreachableCodeReached);
    let trace = error.downcast_ref::<stillframe::WasmBacktrace>().unwrap();
    assert_eq!(trace.frames().len(), 1);
    assert_eq!(asked(&mut store, instance), 1);
    assert_eq!(results[0].i64(), Some(-1));
    // The store goes on.
    let func = instance.get_typed_func::<i32, i32>(&mut store, "finishes").unwrap();
    assert_eq!(func.call(&mut store, 5).unwrap(), 5 * 100 - 10);
}

#[test]
fn typed_calls_give_typed_results() {
    let (mut store, instance) = twice();
    let func = instance.get_typed_func::<i32, i32>(&mut store, "finishes").unwrap();
    let TypedResumableCall::HostTrap(call) = func.call_resumable(&mut store, 3).unwrap() else {
        panic!("the host fails")
    };
    // Through `Deref`: what the untyped call says.
    assert_eq!(call.host_error().to_string(), "no 3");
    assert_eq!(call.func(), func.func());
    let TypedResumableCall::HostTrap(call) = call.resume(&mut store, &[Val::I32(7)]).unwrap()
    else {
        panic!("the host fails again")
    };
    let TypedResumableCall::Finished(result) = call.resume(&mut store, &[Val::I32(9)]).unwrap()
    else {
        panic!("the host was answered for")
    };
    assert_eq!(result, 691);

    store.data_mut().clear();
    let func = instance.get_typed_func::<i32, i32>(&mut store, "traps").unwrap();
    let TypedResumableCall::HostTrap(call) = func.call_resumable(&mut store, 3).unwrap() else {
        panic!("the host fails")
    };
    // Without its type it is the same call.
    let call = call.into_untyped();
    let mut results = [Val::I32(0)];
    let call = call.resume(&mut store, &[Val::I32(1)], &mut results).unwrap();
    let error = ended(host_trap(call).resume(&mut store, &[Val::I32(1)], &mut results));
    assert_eq!(trap_of(&error), Trap::UnreachableCodeReached);
}

#[test]
fn the_error_can_be_taken_and_the_call_is_given_up() {
    #[derive(Debug, PartialEq)]
    struct Mine(i32);
    impl std::fmt::Display for Mine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "mine {}", self.0)
        }
    }
    impl std::error::Error for Mine {}

    let engine = Engine::default();
    let module = Module::new(&engine, TWICE).unwrap();
    let mut store = Store::new(&engine, ());
    let ask = Func::wrap(&mut store, |x: i32| -> stillframe::Result<i32> { Err(Mine(x).into()) });
    let instance = Instance::new(&mut store, &module, &[ask.into()]).unwrap();
    let func = instance.get_func(&mut store, "finishes").unwrap();
    let mut results = [Val::I32(0)];
    let call = func.call_resumable(&mut store, &[Val::I32(3)], &mut results).unwrap();
    let call = host_trap(call);
    assert_eq!(call.host_func(), ask);
    assert_eq!(store.suspended_backtraces().len(), 1);
    let error = call.into_host_error();
    // As the host function made it: no backtrace around it.
    assert_eq!(error.downcast::<Mine>().unwrap(), Mine(3));
    assert!(store.suspended_backtraces().is_empty());

    let func = func.typed::<i32, i32>(&store).unwrap();
    let TypedResumableCall::HostTrap(call) = func.call_resumable(&mut store, 4).unwrap() else {
        panic!("the host fails")
    };
    assert_eq!(call.into_host_error().downcast_ref(), Some(&Mine(4)));
}

/// A host function that always fails, between two of wasm that pass its parameters and results on.
fn passing(results: &[ValType]) -> (Store<()>, Func, Func) {
    let types: Vec<_> = results.iter().map(ToString::to_string).collect();
    let wat = format!(
        r#"(module
            (import "" "" (func $h (param i32) (result {0})))
            (func $inner (param i32) (result {0}) (call $h (local.get 0)))
            (func (export "f") (param i32) (result {0}) (call $inner (local.get 0))))"#,
        types.join(" ")
    );
    let engine = Engine::default();
    let module = Module::new(&engine, &wat).unwrap();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new([ValType::I32], results.iter().copied());
    let host = Func::new(&mut store, ty, |_, _, results| {
        // What it stores before it fails counts for nothing.
        for result in results {
            if let Val::I32(value) = result {
                *value = 0x0bad;
            }
        }
        bail!("fails")
    });
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    (store, host, func)
}

#[test]
fn results_of_every_number_and_type() {
    use ValType::{ExternRef as ExternTy, F32, F64, FuncRef, I32, I64, V128 as VecTy};
    let many: Vec<ValType> =
        (0..40).map(|i| [I32, I64, F32, F64, VecTy, FuncRef, ExternTy][i % 7]).collect();
    let lists: [&[ValType]; 11] = [
        &[],
        &[I32],
        &[I64],
        &[F32],
        &[F64],
        &[VecTy],
        &[FuncRef],
        &[ExternTy],
        &[I32, I64, F32, F64, VecTy, FuncRef, ExternTy],
        &[VecTy, I32, VecTy, I32, VecTy],
        &many,
    ];
    for types in lists {
        let (mut store, host, func) = passing(types);
        let object = ExternRef::new(&mut store, String::from("an object")).unwrap();
        let value = |(i, ty): (usize, &ValType)| match ty {
            I32 => Val::I32(-5 - i as i32),
            I64 => Val::I64(i64::MIN + i as i64),
            // Signalling NaNs keep their bits.
            F32 => Val::F32(0x7fa0_0000 + i as u32),
            F64 => Val::F64(0xfff4_0000_0000_0000 + i as u64),
            VecTy => Val::V128(V128::from(u128::MAX / (i as u128 + 3))),
            FuncRef => Val::FuncRef(if i % 2 == 0 { None } else { Some(func) }),
            _ => Val::ExternRef(if i % 4 == 0 { None } else { Some(object) }),
        };
        let values: Vec<Val> = types.iter().enumerate().map(value).collect();
        // Called from wasm, and straight from the host.
        for called in [func, host] {
            let mut results = vec![Val::I32(0); types.len()];
            let call = called.call_resumable(&mut store, &[Val::I32(1)], &mut results).unwrap();
            let call = host_trap(call);
            assert_eq!(call.host_func(), host);
            let frames = call.backtrace(&store).unwrap().frames().len();
            assert_eq!(frames, if called == func { 2 } else { 0 });
            let call = call.resume(&mut store, &values, &mut results).unwrap();
            assert!(matches!(call, ResumableCall::Finished));
            assert_eq!(format!("{results:?}"), format!("{values:?}"));
        }
    }
}

#[test]
fn references_that_are_given_are_real() {
    let (mut store, _, func) = passing(&[ValType::FuncRef, ValType::ExternRef]);
    let object = ExternRef::new(&mut store, 77_u64).unwrap();
    let answer = Func::wrap(&mut store, || 42);
    let mut results = [Val::I32(0), Val::I32(0)];
    let call = func.call_resumable(&mut store, &[Val::I32(1)], &mut results).unwrap();
    let inputs = [answer.into(), object.into()];
    finished(host_trap(call).resume(&mut store, &inputs, &mut results).unwrap());
    let (called, object) = (results[0].unwrap_funcref(), results[1].unwrap_externref());
    assert_eq!(object.unwrap().data(&store).downcast_ref(), Some(&77_u64));
    let mut result = [Val::I32(0)];
    called.unwrap().call(&mut store, &[], &mut result).unwrap();
    assert_eq!(result[0].unwrap_i32(), 42);
}

#[test]
fn references_stay_in_frames_that_are_suspended() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $h))
            (func (export "f") (param externref funcref) (result externref funcref)
                (call $h) (local.get 0) (call $h) (local.get 1) (call $h)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, || -> stillframe::Result<()> { bail!("wait") });
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let object = ExternRef::new(&mut store, String::from("kept")).unwrap();
    let mut results = [Val::I32(0), Val::I32(0)];
    let args = [object.into(), func.into()];
    let mut call = func.call_resumable(&mut store, &args, &mut results).unwrap();
    while let ResumableCall::HostTrap(waiting) = call {
        // Other objects come meanwhile.
        for i in 0..1000 {
            ExternRef::new(&mut store, i).unwrap();
        }
        call = waiting.resume(&mut store, &[], &mut results).unwrap();
    }
    let (kept, same) = (results[0].unwrap_externref(), results[1].unwrap_funcref());
    assert_eq!(kept.unwrap().data(&store).downcast_ref::<String>().unwrap(), "kept");
    assert_eq!(same, Some(func));
}

#[test]
fn a_host_function_called_straight_goes_on_with_what_it_should_have_returned() {
    let mut store = Store::new(&Engine::default(), 0);
    let host = Func::wrap(&mut store, |mut caller: Caller<'_, i32>, x: i64, y: f64| {
        *caller.data_mut() += 1;
        match x {
            0 => Ok((y, x, 1)),
            _ => bail!("no {x}"),
        }
    });
    let mut results = [Val::I32(0), Val::I32(0), Val::I32(0)];
    let args = [Val::I64(0), Val::from(2.5)];
    let call = host.call_resumable(&mut store, &args, &mut results).unwrap();
    assert!(matches!(call, ResumableCall::Finished));
    assert_eq!(results[0].unwrap_f64(), 2.5);

    let args = [Val::I64(5), Val::from(2.5)];
    let call = host_trap(host.call_resumable(&mut store, &args, &mut results).unwrap());
    assert_eq!(call.host_error().to_string(), "no 5");
    assert_eq!((call.host_func(), call.func()), (host, host));
    let inputs = [Val::from(-1.0), Val::I64(8), Val::I32(9)];
    let call = call.resume(&mut store, &inputs, &mut results).unwrap();
    assert!(matches!(call, ResumableCall::Finished));
    assert_eq!(format!("{results:?}"), format!("{inputs:?}"));
    assert_eq!(*store.data(), 2, "not called again");
}

/// A tail call to the host with more parameters than its caller has room for: the frame is moved.
#[test]
fn a_tail_call_to_the_host_with_many_parameters() {
    let types = "i32 i64 f32 f64 v128 ".repeat(4);
    let args: String = (0..4)
        .map(|i| {
            format!(
                "(i32.add (local.get 0) (i32.const {i})) (i64.const {i}) (f32.const {i}.5)
                 (f64.const {i}.25) (i64x2.splat (i64.const {i}))"
            )
        })
        .collect();
    let wat = format!(
        r#"(module
            (import "" "" (func $h (param {types}) (result i64 f64)))
            (func $tail (param i32) (result i64 f64) (return_call $h {args}))
            (func (export "f") (param i32 i64) (result i64 i64 f64)
                (local.get 1) (call $tail (local.get 0))))"#
    );
    let engine = Engine::default();
    let module = Module::new(&engine, &wat).unwrap();
    let ty = module.imports().next().unwrap().ty().func().unwrap().clone();
    let mut store = Store::new(&engine, String::new());
    let h = Func::new(&mut store, ty, |mut caller: Caller<'_, String>, params, _| {
        *caller.data_mut() = format!("{params:?}");
        bail!("wait")
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0); 3];
    let args = [Val::I32(70), Val::I64(-9)];
    let call = host_trap(f.call_resumable(&mut store, &args, &mut results).unwrap());
    let expected: Vec<Val> = (0..4)
        .flat_map(|i| {
            let (wide, f) = (i as u128, i as f32);
            let v128 = Val::V128(V128::from(wide << 64 | wide));
            [
                (70 + i).into(),
                i64::from(i).into(),
                (f + 0.5).into(),
                (f64::from(i) + 0.25).into(),
                v128,
            ]
        })
        .collect();
    assert_eq!(*store.data(), format!("{expected:?}"));
    assert_eq!(call.backtrace(&store).unwrap().frames().len(), 1, "the tail caller is gone");
    let inputs = [Val::I64(1 << 40), Val::from(0.5)];
    let call = call.resume(&mut store, &inputs, &mut results).unwrap();
    assert!(matches!(call, ResumableCall::Finished));
    assert_eq!(format!("{results:?}"), format!("{:?}", [Val::I64(-9), inputs[0], inputs[1]]));
}

#[test]
fn errors_of_limiters_and_of_wasm_end_the_call() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $h)) (memory 1)
            (func (export "grow") (call $h) (drop (memory.grow (i32.const 5))))
            (tag $t) (func (export "throw") (call $h) (throw $t)))"#,
    )
    .unwrap();
    let limits = stillframe::StoreLimitsBuilder::new().memory_size(1 << 16);
    let mut store = Store::new(&engine, limits.trap_on_grow_failure(true).build());
    store.limiter(|limits| limits);
    let host = Func::wrap(&mut store, || -> stillframe::Result<()> { bail!("wait") });
    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
    for (name, what) in [("grow", "may not grow"), ("throw", "uncaught exception")] {
        let func = instance.get_func(&mut store, name).unwrap();
        let call = host_trap(func.call_resumable(&mut store, &[], &mut []).unwrap());
        let error = ended(call.resume(&mut store, &[], &mut []));
        assert!(format!("{error:#}").contains(what), "{error:#}");
    }
}

#[test]
fn a_panic_of_a_host_function_passes_through_a_resumed_call() {
    let (mut store, _) = twice();
    let engine = store.engine().clone();
    let module = Module::new(&engine, TWICE).unwrap();
    let panics = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<i32>>, x: i32| {
        caller.data_mut().push(x);
        match caller.data().len() {
            1 => bail!("wait"),
            2 => std::panic::panic_any(x),
            _ => Ok(x),
        }
    });
    let instance = Instance::new(&mut store, &module, &[panics.into()]).unwrap();
    let func = instance.get_func(&mut store, "finishes").unwrap();
    let mut results = [Val::I32(0)];
    let free = engine.free_stacks();
    let call = host_trap(func.call_resumable(&mut store, &[Val::I32(3)], &mut results).unwrap());
    let resumed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        call.resume(&mut store, &[Val::I32(7)], &mut results)
    }));
    assert_eq!(resumed.unwrap_err().downcast_ref::<i32>(), Some(&10));
    assert!(store.suspended_backtraces().is_empty());
    func.call(&mut store, &[Val::I32(3)], &mut results).unwrap();
    assert_eq!(results[0].unwrap_i32(), 300 - 6);
    assert!(engine.free_stacks() >= free);
}

#[test]
fn the_element_that_was_called_can_be_replaced_while_its_function_is_suspended() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (table (export "table") 1 funcref)
            (func (export "f") (result i32 i32)
                (call_indirect (result i32) (i32.const 0))
                (call_indirect (result i32) (i32.const 0))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let table = instance.get_table(&mut store, "table").unwrap();
    let fails = Func::wrap(&mut store, || -> stillframe::Result<i32> { bail!("wait") });
    table.set(&mut store, 0, fails.into()).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0), Val::I32(0)];
    let call = host_trap(func.call_resumable(&mut store, &[], &mut results).unwrap());
    let other = Func::wrap(&mut store, || 2);
    table.set(&mut store, 0, other.into()).unwrap();
    // The first is still the one that was called.
    assert_eq!(call.host_func(), fails);
    finished(call.resume(&mut store, &[Val::I32(1)], &mut results).unwrap());
    assert_eq!(results.map(|val| val.unwrap_i32()), [1, 2]);
}
