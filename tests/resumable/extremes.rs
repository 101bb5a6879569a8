//! Suspensions where there is hardly room for them: at the end of a wasm stack, with a thousand
//! parameters, in store after store, and while signals come in.

use super::common::{PLENTY, ended, engine, finished, host_trap, out_of_fuel, trap_of};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use stillframe::{
    Config, Engine, Func, FuncType, Instance, Module, ResumableCall, Store, Trap,
    TypedResumableCall, V128, Val, ValType, bail,
};
use stillframe_tests::child;

/// Goes down until its stack ends, through a checkpoint at each level and a host function near the
/// end; suspended at each of them it must come as far as without.
#[test]
fn at_each_depth_down_to_the_end_of_the_stack() {
    let engine = engine(|config| {
        config.max_wasm_stack(0);
    });
    let module = Module::new(
        &engine,
        r#"(module
            (import "" "" (func $h (param i64) (result i64)))
            (global $depth (export "depth") (mut i64) (i64.const 0))
            (func $f (export "f") (param f64 v128 i64) (result f64)
                (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
                (local.set 2 (call $h (global.get $depth)))
                (f64.add (local.get 0) (call $f (f64.mul (local.get 0) (f64.const 0.5))
                    (i64x2.add (local.get 1) (local.get 1)) (local.get 2)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let fails = std::sync::Arc::new(AtomicBool::new(false));
    let fail = fails.clone();
    let h = Func::wrap(&mut store, move |x: i64| match fail.load(Relaxed) {
        true => bail!("wait"),
        false => Ok(x),
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let depth = instance.get_global(&mut store, "depth").unwrap();
    let args = [Val::from(1.0), Val::V128(V128::from(1)), Val::I64(0)];
    let mut results = [Val::F64(0)];
    store.set_fuel(PLENTY).unwrap();
    let error = f.call(&mut store, &args, &mut results).unwrap_err();
    assert_eq!(trap_of(&error), Trap::StackOverflow);
    let consumed = PLENTY - store.get_fuel().unwrap();
    let deepest = depth.get(&mut store).unwrap_i64();
    assert!((50..10_000).contains(&deepest), "{deepest}");

    for fail in [false, true] {
        fails.store(fail, Relaxed);
        depth.set(&mut store, Val::I64(0)).unwrap();
        store.set_fuel(0).unwrap();
        let (mut stops, mut given) = (0, 0);
        let mut call = f.call_resumable(&mut store, &args, &mut results).unwrap();
        let error = loop {
            stops += 1;
            let resumed = match call {
                ResumableCall::OutOfFuel(call) => {
                    given += call.required_fuel();
                    store.set_fuel(call.required_fuel()).unwrap();
                    call.resume(&mut store, &mut results).map_err(|error| error.into_error())
                }
                ResumableCall::HostTrap(call) => {
                    let answer = depth.get(&mut store);
                    let resumed = call.resume(&mut store, &[answer], &mut results);
                    resumed.map_err(|error| error.into_error())
                }
                other => panic!("{other:?}"),
            };
            call = match resumed {
                Ok(call) => call,
                Err(error) => break error,
            };
        };
        assert_eq!(trap_of(&error), Trap::StackOverflow);
        // Resumable calls have their parameters on the stack too, so they can come less far, but
        // for no more than that.
        let reached = depth.get(&mut store).unwrap_i64();
        assert!((deepest - 1..=deepest).contains(&reached), "{reached} of {deepest}");
        assert!(stops >= reached * if fail { 3 } else { 2 }, "{stops}");
        if reached == deepest {
            let overdraft = store.runtime_limits().fuel_consumed.max(0);
            assert_eq!(given - store.get_fuel().unwrap() + overdraft as u64, consumed);
        }
    }
}

#[test]
fn a_thousand_parameters_and_results_on_the_smallest_stack() {
    let types = "v128 ".repeat(1000);
    let gets: String = (0..1000).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (import "" "" (func $h))
            (func $small (loop))
            (func (export "f") (param {types}) (result {types})
                (call $small) (call $h) {gets}))"#
    );
    let values: Vec<Val> = (0..1000).map(|i| Val::V128(V128::from(u128::MAX / (i + 2)))).collect();
    // Whether there is room for the function's frame, its stack is never left.
    let mut done = 0;
    for bytes in [0, 64 << 10, 96 << 10, 128 << 10, 1 << 20] {
        let engine = engine(|config| {
            config.max_wasm_stack(bytes);
        });
        let module = Module::new(&engine, &wat).unwrap();
        let mut store = Store::new(&engine, ());
        let h = Func::wrap(&mut store, || -> stillframe::Result<()> { bail!("wait") });
        let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let mut results = values.clone();
        results.reverse();
        store.set_fuel(0).unwrap();
        let call = match f.call_resumable(&mut store, &values, &mut results) {
            Ok(call) => out_of_fuel(call),
            Err(error) => {
                assert_eq!(trap_of(&error), Trap::StackOverflow);
                continue;
            }
        };
        store.set_fuel(PLENTY).unwrap();
        let call = host_trap(call.resume(&mut store, &mut results).unwrap());
        finished(call.resume(&mut store, &[], &mut results).unwrap());
        assert_eq!(format!("{results:?}"), format!("{values:?}"));
        done += 1;
    }
    assert!(done >= 1);
}

/// The cells of the host function's call are a thousand too, and results go into them.
#[test]
fn a_host_function_with_a_thousand_results() {
    let types = "i64 ".repeat(1000);
    let wat = format!(
        r#"(module
            (import "" "" (func $h (result {types})))
            (func (export "f") (result {types}) (call $h)))"#
    );
    let engine = Engine::default();
    let module = Module::new(&engine, &wat).unwrap();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new([], [ValType::I64; 1000]);
    let h = Func::new(&mut store, ty, |_, _, _| bail!("wait"));
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = vec![Val::I64(0); 1000];
    let call = host_trap(f.call_resumable(&mut store, &[], &mut results).unwrap());
    let values: Vec<Val> = (0..1000).map(|i| Val::I64(i * i)).collect();
    finished(call.resume(&mut store, &values, &mut results).unwrap());
    assert_eq!(format!("{results:?}"), format!("{values:?}"));
}

/// A stack that is given back comes to another store, and back, call after call, each of them
/// suspended, so that all stores have seen it.
#[test]
fn stacks_go_from_store_to_store() {
    let engine = engine(|config| {
        config.pooled_stacks(3);
    });
    let module = Module::new(
        &engine,
        "(module (func $f (export \"f\") (param i64 i32) (result i64)
            (if (result i64) (local.get 1)
                (then (i64.add (local.get 0)
                    (call $f (local.get 0) (i32.sub (local.get 1) (i32.const 1)))))
                (else (i64.const 0)))))",
    )
    .unwrap();
    let mut stores: Vec<_> = (0..40)
        .map(|_| {
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &module, &[]).unwrap();
            let f = instance.get_typed_func::<(i64, i32), i64>(&mut store, "f").unwrap();
            (store, f, None)
        })
        .collect();
    for round in 0..4000_usize {
        let (store, f, kept) = &mut stores[round * 17 % 40];
        store.set_fuel(1 + round as u64 % 60).unwrap();
        let depth = (round % 9) as i32;
        *kept = match kept.take() {
            None => match f.call_resumable(&mut *store, (round as i64, depth)).unwrap() {
                TypedResumableCall::OutOfFuel(call) => Some((call, round as i64 * depth as i64)),
                call => {
                    assert!(matches!(call, TypedResumableCall::Finished(sum) if
                        sum == round as i64 * depth as i64));
                    None
                }
            },
            // One in three is given up.
            Some(_) if round.is_multiple_of(3) => None,
            Some((call, expected)) => {
                assert_eq!(store.suspended_backtraces().len(), 1);
                store.set_fuel(PLENTY).unwrap();
                let call = call.resume(&mut *store).unwrap();
                assert!(matches!(call, TypedResumableCall::Finished(sum) if sum == expected));
                None
            }
        };
        assert_eq!(store.suspended_backtraces().len(), usize::from(kept.is_some()));
    }
}

/// The system has no room for another stack.
#[test]
fn when_there_is_no_memory_for_another_call() {
    if !child::alone("resumable::extremes::when_there_is_no_memory_for_another_call") {
        return;
    }
    let engine = engine(|config| {
        config.max_wasm_stack(8 << 20).pooled_stacks(0);
    });
    let module = Module::new(&engine, "(module (func (export \"f\") (loop (br 0))))").unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    // The allocator of another thread may reserve a part of what is left, 64 MiB or so.
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mapped: u64 = statm.split(' ').next().unwrap().parse::<u64>().unwrap() * 4096;
    let limit = libc::rlimit { rlim_cur: mapped + (400 << 20), rlim_max: libc::RLIM_INFINITY };
    // SAFETY: plain data; the limit is this child's alone.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
    for _ in 0..3 {
        let mut calls = Vec::new();
        let error = loop {
            store.set_fuel(5).unwrap();
            match f.call_resumable(&mut store, &[], &mut []) {
                Ok(call) => calls.push(out_of_fuel(call)),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().starts_with("mapping a wasm stack"), "{error:?}");
        assert!((10..60).contains(&calls.len()), "{}", calls.len());
        // Those that stand go on, and give room for others when they are dropped.
        for _ in 0..3 {
            store.set_fuel(50).unwrap();
            let call = out_of_fuel(calls.pop().unwrap().resume(&mut store, &mut []).unwrap());
            drop(call);
            let call = out_of_fuel(f.call_resumable(&mut store, &[], &mut []).unwrap());
            calls.insert(0, call);
        }
        assert_eq!(store.suspended_backtraces().len(), calls.len());
    }
}

static HANDLED: AtomicU64 = AtomicU64::new(0);

/// Uses a good deal of whatever stack it runs on.
extern "C" fn on_signal(_: libc::c_int) {
    let mut block = [1_u8; 8 << 10];
    std::hint::black_box(&mut block);
    HANDLED.fetch_add(u64::from(block[4096]), Relaxed);
}

/// The handler runs on the stack that is current, wherever the thread is between host and wasm.
#[test]
fn while_a_handler_without_an_alternate_stack_comes_in_between() {
    // SAFETY: a valid action; the handler is async-signal-safe. No other test here uses the signal.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_RESTART;
        assert_eq!(libc::sigaction(libc::SIGUSR2, &action, std::ptr::null_mut()), 0);
    }
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $h (param i64) (result i64)))
            (func (export "f") (param i64 f64) (result i64 f64)
                (loop $again
                    (local.set 1 (f64.add (local.get 1) (f64.const 0.5)))
                    (drop (call $h (local.get 0)))
                    (br_if $again (i32.wrap_i64
                        (local.tee 0 (i64.sub (local.get 0) (i64.const 1))))))
                (local.get 0) (local.get 1)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let h = Func::wrap(&mut store, |x: i64| match x % 3 {
        0 => bail!("wait"),
        _ => Ok(x),
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_typed_func::<(i64, f64), (i64, f64)>(&mut store, "f").unwrap();
    // SAFETY: the calling thread's own id.
    let this_thread = unsafe { libc::pthread_self() };
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                // SAFETY: the thread lives: it joins this one at the end of the scope.
                unsafe { libc::pthread_kill(this_thread, libc::SIGUSR2) };
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        });
        while HANDLED.load(Relaxed) < 2000 {
            store.set_fuel(1).unwrap();
            let mut call = f.call_resumable(&mut store, (300, 0.0)).unwrap();
            loop {
                call = match call {
                    TypedResumableCall::Finished(results) => {
                        assert_eq!(results, (0, 150.0));
                        break;
                    }
                    TypedResumableCall::OutOfFuel(call) => {
                        store.set_fuel(call.required_fuel()).unwrap();
                        call.resume(&mut store).unwrap()
                    }
                    TypedResumableCall::HostTrap(call) => {
                        call.resume(&mut store, &[Val::I64(1)]).unwrap()
                    }
                    other => panic!("{other:?}"),
                };
            }
        }
        done.store(true, Relaxed);
    });
}

/// The yield interval of asynchronous calls means nothing to resumable ones.
#[test]
fn a_yield_interval_changes_nothing() {
    let wat = "(module (memory (export \"memory\") 1) (func (export \"f\") (param i32) (result i32)
        (loop $again
            (memory.fill (i32.const 0) (local.get 0) (i32.mul (local.get 0) (i32.const 7)))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (i32.div_u (i32.const 1) (local.get 0))))";
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    let run = |interval: Option<u64>, pieces: u64| {
        let mut store = Store::new(&engine, ());
        store.fuel_async_yield_interval(interval).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let mut results = [Val::I32(0)];
        let (mut given, mut stops) = (pieces, Vec::new());
        store.set_fuel(pieces).unwrap();
        let mut call = f.call_resumable(&mut store, &[Val::I32(20)], &mut results).unwrap();
        loop {
            let mut waiting = out_of_fuel(call);
            let left = store.get_fuel().unwrap();
            stops.push((waiting.required_fuel(), waiting.overdraft(), left));
            let resumed = loop {
                given += pieces;
                store.add_fuel(pieces).unwrap();
                let resumed = waiting.resume(&mut store, &mut results);
                match resumed {
                    Err(error) if error.reason().is_some() => waiting = error.into_call().unwrap(),
                    resumed => break resumed,
                }
            };
            call = match resumed {
                Ok(call) => call,
                resumed => {
                    assert_eq!(trap_of(&ended(resumed)), Trap::IntegerDivisionByZero);
                    // What was executed on credit is paid by what is added.
                    store.add_fuel(1000).unwrap();
                    return (given + 1000 - store.get_fuel().unwrap(), stops);
                }
            };
        }
    };
    // entry 1; each round const get get const mul fill, get const sub tee br_if 11, and 7n bytes;
    // const get div 3.
    let consumed = 1 + 20 * 11 + 7 * (20 * 21 / 2) + 3;
    for pieces in [1, 13, 100, 500] {
        let without = run(None, pieces);
        assert_eq!(without.0, consumed);
        for interval in [1, 2, 10, 100, 10_000] {
            assert_eq!(run(Some(interval), pieces), without, "{interval}");
        }
    }
}
