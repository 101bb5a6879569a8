//! Calls suspended inside of host functions: an inner call outlives the host function that made it,
//! inner and outer are resumed in any order, at any depth.

use super::common::refused;
use stillframe::{
    Caller, Config, Engine, Func, Instance, Linker, Module, ResumeRefused, Store,
    TypedResumableCall, TypedResumableCallHostTrap, Val, bail,
};

/// `outer` goes through the host function `h`, which does what it is told; `inner` waits in `wait`,
/// which fails. Who has passed by is in `trail`, a digit for each place.
const WAT: &str = r#"
(module
  (import "host" "h" (func $h (param i32) (result i32)))
  (import "host" "wait" (func $wait (param i32) (result i32)))
  (global $trail (export "trail") (mut i64) (i64.const 0))
  (func $pass (param i64)
    (global.set $trail (i64.add (i64.mul (global.get $trail) (i64.const 10)) (local.get 0))))
  (func (export "outer") (param i32) (result i32) (local i32)
    (call $pass (i64.const 1))
    (local.set 1 (call $h (local.get 0)))
    (call $pass (i64.const 2))
    (i32.add (local.get 1) (i32.mul (local.get 0) (i32.const 1000))))
  (func (export "inner") (param i32) (result i32) (local i32)
    (call $pass (i64.const 3))
    (local.set 1 (call $wait (local.get 0)))
    (call $pass (i64.const 4))
    (i32.add (local.get 1) (i32.mul (local.get 0) (i32.const 100)))))
"#;

/// `h` enters `inner`, keeps the call and returns.
const KEEP: i32 = 1;
/// The same, and fails.
const KEEP_AND_FAIL: i32 = 2;
/// It resumes the call that was kept last, and returns its result.
const RESUME: i32 = 3;
/// It enters `outer` with `KEEP_AND_FAIL`, keeps that call too, and fails.
const DEEPER: i32 = 4;
/// The same once more.
const DEEPEST: i32 = 5;

#[derive(Default)]
struct Data {
    instance: Option<Instance>,
    kept: Vec<TypedResumableCallHostTrap<i32>>,
}

fn suspended(call: TypedResumableCall<i32>) -> TypedResumableCallHostTrap<i32> {
    match call {
        TypedResumableCall::HostTrap(call) => call,
        other => panic!("expected HostTrap, found {other:?}"),
    }
}

fn finished(call: TypedResumableCall<i32>) -> i32 {
    match call {
        TypedResumableCall::Finished(result) => result,
        other => panic!("expected Finished, found {other:?}"),
    }
}

fn h(mut caller: Caller<'_, Data>, action: i32) -> stillframe::Result<i32> {
    let instance = caller.data().instance.unwrap();
    let keep = |caller: &mut Caller<'_, Data>, name: &str, arg: i32| {
        let func = instance.get_typed_func::<i32, i32>(&mut *caller, name).unwrap();
        let call = suspended(func.call_resumable(&mut *caller, arg).unwrap());
        caller.data_mut().kept.push(call);
    };
    let frames = stillframe::WasmBacktrace::capture(&caller).frames().len();
    match action {
        KEEP => keep(&mut caller, "inner", 6),
        KEEP_AND_FAIL => keep(&mut caller, "inner", 5),
        DEEPER => keep(&mut caller, "outer", KEEP_AND_FAIL),
        DEEPEST => keep(&mut caller, "outer", DEEPER),
        RESUME => {
            let call = caller.data_mut().kept.pop().unwrap();
            return Ok(finished(call.resume(&mut caller, &[Val::I32(9)])?));
        }
        other => panic!("action {other}"),
    }
    // What was entered and left again is not among the frames that run.
    assert_eq!(stillframe::WasmBacktrace::capture(&caller).frames().len(), frames);
    if action != KEEP {
        bail!("failed with {action}");
    }
    Ok(7)
}

fn setup(config: &Config) -> (Store<Data>, Instance) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, WAT).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "h", h).unwrap();
    linker
        .func_wrap("host", "wait", |_: Caller<'_, Data>, x: i32| -> stillframe::Result<i32> {
            bail!("waiting with {x}")
        })
        .unwrap();
    let mut store = Store::new(&engine, Data::default());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.data_mut().instance = Some(instance);
    (store, instance)
}

fn call(store: &mut Store<Data>, instance: Instance, action: i32) -> TypedResumableCall<i32> {
    let outer = instance.get_typed_func::<i32, i32>(&mut *store, "outer").unwrap();
    outer.call_resumable(store, action).unwrap()
}

fn trail(store: &mut Store<Data>, instance: Instance) -> i64 {
    let trail = instance.get_global(&mut *store, "trail").unwrap();
    trail.get(store).unwrap_i64()
}

/// The functions of a call's frames, innermost first.
fn frames(store: &Store<Data>, call: &TypedResumableCallHostTrap<i32>) -> Vec<u32> {
    let trace = call.backtrace(store).unwrap();
    assert!(trace.frames().iter().all(|frame| frame.activation() == 0));
    trace.frames().iter().map(|frame| frame.func_index()).collect()
}

#[test]
fn an_inner_call_outlives_the_host_function_and_the_outer_call() {
    let (mut store, instance) = setup(&Config::new());
    assert_eq!(finished(call(&mut store, instance, KEEP)), 7 + 1000);
    assert_eq!(trail(&mut store, instance), 132);
    let inner = store.data_mut().kept.pop().unwrap();
    assert_eq!(inner.host_error().to_string(), "waiting with 6");
    assert_eq!(frames(&store, &inner), [4]);
    assert_eq!(finished(inner.resume(&mut store, &[Val::I32(9)]).unwrap()), 609);
    assert_eq!(trail(&mut store, instance), 1324);
    // Also when the outer call is a plain one.
    let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer").unwrap();
    assert_eq!(outer.call(&mut store, KEEP).unwrap(), 7 + 1000);
    let inner = store.data_mut().kept.pop().unwrap();
    assert_eq!(finished(inner.resume(&mut store, &[Val::I32(9)]).unwrap()), 609);
    assert_eq!(trail(&mut store, instance), 13241324);
}

#[test]
fn inner_and_outer_are_resumed_in_either_order() {
    for inner_first in [true, false] {
        let (mut store, instance) = setup(&Config::new());
        let outer = suspended(call(&mut store, instance, KEEP_AND_FAIL));
        assert_eq!(outer.host_error().to_string(), "failed with 2");
        let inner = store.data_mut().kept.pop().unwrap();
        assert_eq!((frames(&store, &inner), frames(&store, &outer)), (vec![4], vec![3]));
        assert_eq!(store.suspended_backtraces().len(), 2);
        let mut resume = |call: TypedResumableCallHostTrap<i32>, input: i32| {
            finished(call.resume(&mut store, &[Val::I32(input)]).unwrap())
        };
        if inner_first {
            assert_eq!(resume(inner, 1), 501);
            assert_eq!(resume(outer, 3), 2003);
        } else {
            assert_eq!(resume(outer, 3), 2003);
            assert_eq!(resume(inner, 1), 501);
        }
        let expected = if inner_first { 1342 } else { 1324 };
        assert_eq!(trail(&mut store, instance), expected);
        assert!(store.suspended_backtraces().is_empty());
    }
}

#[test]
fn four_nested_calls_are_resumed_in_every_order() {
    let mut orders: Vec<Vec<usize>> = vec![vec![]];
    for _ in 0..4 {
        let longer = |order: &Vec<usize>| {
            let free: Vec<_> = (0..4).filter(|i| !order.contains(i)).collect();
            let order = order.clone();
            free.into_iter().map(move |i| [order.clone(), vec![i]].concat())
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    assert_eq!(orders.len(), 24);
    let (mut store, instance) = setup(&Config::new());
    for order in orders {
        let trail_before = trail(&mut store, instance);
        let outermost = suspended(call(&mut store, instance, DEEPEST));
        // Kept from the inside out: inner, outer(2), outer(4), outer(5).
        let mut calls: Vec<_> = std::mem::take(&mut store.data_mut().kept);
        calls.push(outermost);
        let errors: Vec<_> = calls.iter().map(|call| call.host_error().to_string()).collect();
        assert_eq!(errors, ["waiting with 5", "failed with 2", "failed with 4", "failed with 5"]);
        let mut calls: Vec<_> = calls.into_iter().map(Some).collect();
        let mut expected_trail = trail_before;
        for passed in [1, 1, 1, 3] {
            expected_trail = expected_trail.wrapping_mul(10).wrapping_add(passed);
        }
        for i in order {
            let call = calls[i].take().unwrap();
            let result = finished(call.resume(&mut store, &[Val::I32(i as i32)]).unwrap());
            assert_eq!(result, [500, 2001, 4002, 5003][i]);
            expected_trail =
                expected_trail.wrapping_mul(10).wrapping_add(if i == 0 { 4 } else { 2 });
        }
        assert_eq!(trail(&mut store, instance), expected_trail);
    }
}

#[test]
fn a_call_is_resumed_inside_of_another_host_function() {
    let (mut store, instance) = setup(&Config::new());
    finished(call(&mut store, instance, KEEP));
    // Inside of a plain call, of a resumable one, and of a resumed one.
    let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer").unwrap();
    assert_eq!(outer.call(&mut store, RESUME).unwrap(), 609 + 3000);
    assert_eq!(trail(&mut store, instance), 132142);
    finished(call(&mut store, instance, KEEP));
    assert_eq!(finished(call(&mut store, instance, RESUME)), 609 + 3000);

    // The outer call itself was suspended in the meantime, after the inner.
    let waiting = suspended(call(&mut store, instance, KEEP_AND_FAIL));
    assert_eq!(finished(call(&mut store, instance, RESUME)), 509 + 3000);
    assert_eq!(finished(waiting.resume(&mut store, &[Val::I32(0)]).unwrap()), 2000);

    // In a host function that is called straight.
    finished(call(&mut store, instance, KEEP));
    let direct = Func::wrap(&mut store, h).typed::<i32, i32>(&store).unwrap();
    assert_eq!(direct.call(&mut store, RESUME).unwrap(), 609);
    let suspended = suspended(direct.call_resumable(&mut store, KEEP_AND_FAIL).unwrap());
    assert_eq!(suspended.backtrace(&store).unwrap().frames().len(), 0);
    assert_eq!(finished(direct.call_resumable(&mut store, RESUME).unwrap()), 509);
    assert_eq!(finished(suspended.resume(&mut store, &[Val::I32(1)]).unwrap()), 1);
}

#[test]
fn a_resume_that_nests_too_deep_is_refused_and_works_further_out() {
    let (mut store, instance) = setup(Config::new().max_nested_calls(1));
    let inner = instance.get_typed_func::<i32, i32>(&mut store, "inner").unwrap();
    let waiting = suspended(inner.call_resumable(&mut store, 6).unwrap());
    store.data_mut().kept.push(waiting);
    let probe = Func::wrap(&mut store, |mut caller: Caller<'_, Data>| {
        let call = caller.data_mut().kept.pop().unwrap();
        let before = caller.runtime_limits();
        // Wrong inputs are seen first.
        let (call, reason) = refused(call.resume(&mut caller, &[]));
        assert_eq!(reason, ResumeRefused::InputCount { expected: 1, found: 0 });
        let (call, reason) = refused(call.resume(&mut caller, &[Val::I32(9)]));
        assert_eq!(reason, ResumeRefused::NestedTooDeep);
        assert_eq!(caller.runtime_limits(), before);
        caller.data_mut().kept.push(call);
    });
    probe.call(&mut store, &[], &mut []).unwrap();
    assert_eq!(trail(&mut store, instance), 3, "it has not moved");
    let waiting = store.data_mut().kept.pop().unwrap();
    assert_eq!(finished(waiting.resume(&mut store, &[Val::I32(9)]).unwrap()), 609);
}

#[test]
fn a_resume_far_down_the_hosts_stack_is_refused_and_works_further_up() {
    /// Resumes with `bytes` less of the host's stack.
    fn deeper(
        bytes: usize,
        store: &mut Store<Data>,
        call: TypedResumableCallHostTrap<i32>,
    ) -> Result<i32, TypedResumableCallHostTrap<i32>> {
        let block = std::hint::black_box([0_u8; 16 << 10]);
        let result = match bytes.checked_sub(block.len()) {
            Some(bytes) => deeper(bytes, store, call),
            None => match call.resume(store, &[Val::I32(9)]) {
                Ok(call) => Ok(finished(call)),
                Err(error) => {
                    assert_eq!(error.reason(), Some(&ResumeRefused::NestedTooDeep));
                    Err(error.into_call().unwrap())
                }
            },
        };
        std::hint::black_box(&block);
        result
    }
    let thread = std::thread::Builder::new().stack_size(4 << 20).spawn(|| {
        let (mut store, instance) = setup(Config::new().host_stack_reserve(2 << 20));
        let inner = instance.get_typed_func::<i32, i32>(&mut store, "inner").unwrap();
        let waiting = suspended(inner.call_resumable(&mut store, 6).unwrap());
        let Err(waiting) = deeper(3 << 20, &mut store, waiting) else { panic!("too deep") };
        assert_eq!(trail(&mut store, instance), 3, "it has not moved");
        assert_eq!(deeper(1 << 20, &mut store, waiting).ok(), Some(609));
    });
    thread.unwrap().join().unwrap();
}

#[test]
fn a_store_is_dropped_with_its_own_suspended_calls_in_its_data() {
    let (mut store, instance) = setup(&Config::new());
    let engine = store.engine().clone();
    let outermost = suspended(call(&mut store, instance, DEEPEST));
    assert_eq!(store.data().kept.len(), 3);
    store.data_mut().kept.push(outermost);
    let data = store.into_data();
    assert_eq!(data.kept.len(), 4);
    let before = engine.free_stacks();
    drop(data);
    assert_eq!(engine.free_stacks(), before + 4);

    let (mut store, instance) = setup(&Config::new());
    let engine = store.engine().clone();
    let outermost = suspended(call(&mut store, instance, DEEPEST));
    store.data_mut().kept.push(outermost);
    drop(store);
    assert!(engine.free_stacks() >= 4);
}
