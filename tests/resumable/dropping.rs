//! Suspended calls that are dropped: their stacks go back to the pool, and memory and mappings of the
//! process are what they were, by what the system says of it.
//!
//! Tests that look at the process run in a child of their own.

use super::common::{finished, host_trap, out_of_fuel};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use stillframe::{
    Caller, Config, Engine, Func, Instance, Module, ResumableCall, ResumableCallHostTrap,
    ResumableCallOutOfFuel, Store, TypedResumableCall, Val, bail,
};
use stillframe_tests::child;

const WAT: &str = r#"
(module
  (import "" "wait" (func $wait (result i32)))
  (func $down (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (call $wait))))
  (func (export "waits") (param i32) (result i32) (call $down (local.get 0)))
  (func (export "spins") (param i32) (result i32)
    (loop $again (local.set 0 (i32.add (local.get 0) (i32.const 1))) (br $again))
    (local.get 0)))
"#;

fn setup(engine: &Engine) -> (Store<()>, Instance) {
    let module = Module::new(engine, WAT).unwrap();
    let mut store = Store::new(engine, ());
    let wait = Func::wrap(&mut store, || -> stillframe::Result<i32> { bail!("wait") });
    let instance = Instance::new(&mut store, &module, &[wait.into()]).unwrap();
    (store, instance)
}

fn engine() -> Engine {
    super::common::engine(|_| ())
}

/// A call that stands in the host function, `depth` frames down.
fn waiting(store: &mut Store<()>, instance: Instance, depth: i32) -> ResumableCallHostTrap {
    let func = instance.get_func(&mut *store, "waits").unwrap();
    store.set_fuel(1_000_000).unwrap();
    host_trap(func.call_resumable(store, &[Val::I32(depth)], &mut [Val::I32(0)]).unwrap())
}

/// A call that has run out of fuel.
fn spinning(store: &mut Store<()>, instance: Instance) -> ResumableCallOutOfFuel {
    let func = instance.get_func(&mut *store, "spins").unwrap();
    store.set_fuel(10).unwrap();
    out_of_fuel(func.call_resumable(store, &[Val::I32(0)], &mut [Val::I32(0)]).unwrap())
}

/// What the system says of this process.
#[derive(Clone, Copy, Debug)]
struct Usage {
    mappings: usize,
    files: usize,
    /// Bytes.
    mapped: usize,
    resident: usize,
}

impl Usage {
    fn now() -> Usage {
        let read = |path: &str| std::fs::read_to_string(path).unwrap();
        let statm: Vec<usize> = read("/proc/self/statm")
            .split_whitespace()
            .map(|pages| pages.parse::<usize>().unwrap() * 4096)
            .collect();
        Usage {
            mappings: read("/proc/self/maps").lines().count(),
            files: std::fs::read_dir("/proc/self/fd").unwrap().count(),
            mapped: statm[0],
            resident: statm[1],
        }
    }

    /// Not more than at `before`, but for what the allocator may keep.
    #[track_caller]
    fn assert_as(&self, before: &Usage) {
        let slack = 512 << 10;
        assert!(self.mappings <= before.mappings + 4, "{before:?}, now {self:?}");
        assert_eq!(self.files, before.files);
        assert!(self.mapped <= before.mapped + slack, "{before:?}, now {self:?}");
        assert!(self.resident <= before.resident + slack, "{before:?}, now {self:?}");
    }
}

#[test]
fn a_million_rounds_leave_everything_as_it_was() {
    if !child::alone("resumable::dropping::a_million_rounds_leave_everything_as_it_was") {
        return;
    }
    let engine = engine();
    let (mut store, instance) = setup(&engine);
    let waits = instance.get_typed_func::<i32, i32>(&mut store, "waits").unwrap();
    let spins = instance.get_typed_func::<i32, i32>(&mut store, "spins").unwrap();
    let mut rounds = |count: usize| {
        for round in 0..count {
            store.set_fuel(200).unwrap();
            match round % 4 {
                // In a host function, some frames down.
                0 => drop(waits.call_resumable(&mut store, 5).unwrap()),
                // Out of fuel.
                1 => drop(spins.call_resumable(&mut store, 0).unwrap()),
                // Resumed, and out of fuel once more.
                2 => {
                    let TypedResumableCall::OutOfFuel(call) =
                        spins.call_resumable(&mut store, 0).unwrap()
                    else {
                        panic!("it spins")
                    };
                    store.set_fuel(200).unwrap();
                    drop(call.resume(&mut store).unwrap());
                }
                // Given up by taking the error.
                _ => match waits.call_resumable(&mut store, 1).unwrap() {
                    TypedResumableCall::HostTrap(call) => drop(call.into_host_error()),
                    other => panic!("{other:?}"),
                },
            }
        }
    };
    rounds(1000);
    let (before, stacks) = (Usage::now(), engine.free_stacks());
    let started = std::time::Instant::now();
    rounds(1_000_000);
    println!("{:?} for a million rounds", started.elapsed());
    Usage::now().assert_as(&before);
    assert_eq!(engine.free_stacks(), stacks);
    assert!(store.suspended_backtraces().is_empty());
}

#[test]
fn ten_thousand_at_once_are_small_and_leave_nothing() {
    if !child::alone("resumable::dropping::ten_thousand_at_once_are_small_and_leave_nothing") {
        return;
    }
    const CALLS: usize = 10_000;
    // The pool keeps none, so that what comes back is unmapped.
    let engine = super::common::engine(|config| {
        config.pooled_stacks(0);
    });
    let (mut store, instance) = setup(&engine);
    drop(waiting(&mut store, instance, 0));
    let first = Usage::now();
    let mut round = || {
        let mut calls = Vec::with_capacity(CALLS);
        for i in 0..CALLS {
            calls.push(match i % 2 {
                0 => ResumableCall::HostTrap(waiting(&mut store, instance, i as i32 % 10)),
                _ => ResumableCall::OutOfFuel(spinning(&mut store, instance)),
            });
        }
        let during = Usage::now();
        assert_eq!(store.suspended_backtraces().len(), CALLS);
        // Half are dropped, half are resumed, here and there.
        let mut at = 0;
        while !calls.is_empty() {
            at = (at + 7919) % calls.len();
            match calls.swap_remove(at) {
                ResumableCall::HostTrap(call) if at % 2 == 0 => {
                    store.set_fuel(100).unwrap();
                    let mut results = [Val::I32(0)];
                    let call = call.resume(&mut store, &[Val::I32(100)], &mut results).unwrap();
                    assert!(matches!(call, ResumableCall::Finished));
                    assert!((100..110).contains(&results[0].unwrap_i32()));
                }
                call => drop(call),
            }
        }
        assert!(store.suspended_backtraces().is_empty());
        during
    };
    let during = round();
    let each = (during.resident - first.resident) / CALLS;
    println!("{each} bytes for each suspended call, {during:?}");
    // The page they touch, and what is known of them.
    assert!(each <= 8 << 10, "{each} bytes for each suspended call");
    let after = Usage::now();
    assert!(after.mappings <= first.mappings + 16, "{first:?}, {after:?}");
    // What the allocator, and the list in which the store finds suspended calls, keep does not
    // grow with more rounds.
    for _ in 0..2 {
        round();
    }
    let before = Usage::now();
    for _ in 0..4 {
        round();
    }
    let after = Usage::now();
    assert!(after.resident <= before.resident + (4 << 20), "{before:?}, {after:?}");
    assert!(after.mappings <= before.mappings + 4, "{before:?}, {after:?}");
}

#[test]
fn calls_outlive_their_store_and_their_engine() {
    if !child::alone("resumable::dropping::calls_outlive_their_store_and_their_engine") {
        return;
    }
    let round = |depth: i32| {
        let engine = engine();
        let (mut store, instance) = setup(&engine);
        let calls = [waiting(&mut store, instance, depth), waiting(&mut store, instance, 3)];
        let spinning = spinning(&mut store, instance);
        // The store is gone: what they hold of themselves is still there.
        drop(store);
        assert_eq!(calls[0].host_error().to_string(), "wait");
        assert_eq!(spinning.required_fuel(), spinning.overdraft() + 1);
        let free = engine.free_stacks();
        let [first, second] = calls;
        drop(first);
        assert_eq!(engine.free_stacks(), free + 1);
        // The engine is gone, and with it the pool.
        drop(engine);
        assert_eq!(second.into_host_error().to_string(), "wait");
        drop(spinning);
    };
    (0..20).for_each(&round);
    let before = Usage::now();
    (0..300).for_each(&round);
    Usage::now().assert_as(&before);
}

#[test]
fn a_suspended_call_keeps_nothing_of_its_store() {
    if !child::alone("resumable::dropping::a_suspended_call_keeps_nothing_of_its_store") {
        return;
    }
    let engine = engine();
    let module = Module::new(
        &engine,
        r#"(module (memory 100) (func (export "f") (loop
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 6553600)) (br 0))))"#,
    )
    .unwrap();
    let mut calls = Vec::new();
    let mut round = || {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        store.set_fuel(7_000_000).unwrap();
        calls.push(out_of_fuel(f.call_resumable(&mut store, &[], &mut []).unwrap()));
    };
    round();
    let before = Usage::now();
    (0..20).for_each(|_| round());
    let after = Usage::now();
    // Twenty memories would be 131 MB, twenty of their reservations 80 GiB.
    assert!(after.resident < before.resident + (1 << 20), "{before:?}, {after:?}");
    assert!(after.mapped < before.mapped + (64 << 20), "{before:?}, {after:?}");
}

/// An error that counts when it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

impl std::fmt::Display for Counted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("counted")
    }
}

impl std::error::Error for Counted {}

#[test]
fn the_error_of_a_host_function_is_dropped_once() {
    let engine = engine();
    let module = Module::new(&engine, WAT).unwrap();
    let mut store = Store::new(&engine, ());
    let dropped = Arc::new(AtomicUsize::new(0));
    let count = dropped.clone();
    let wait = Func::wrap(&mut store, move || -> stillframe::Result<i32> {
        Err(Counted(count.clone()).into())
    });
    let instance = Instance::new(&mut store, &module, &[wait.into()]).unwrap();
    let mut expected = 0;
    let mut check = |what: &str| {
        expected += 1;
        assert_eq!(dropped.load(Relaxed), expected, "{what}");
    };
    drop(waiting(&mut store, instance, 2));
    check("dropped");
    let error = waiting(&mut store, instance, 2).into_host_error();
    assert!(error.is::<Counted>());
    drop(error);
    check("taken");
    let call = waiting(&mut store, instance, 2);
    finished(call.resume(&mut store, &[Val::I32(0)], &mut [Val::I32(0)]).unwrap());
    check("resumed");
    let call = waiting(&mut store, instance, 2);
    let refused = call.resume(&mut store, &[], &mut [Val::I32(0)]).unwrap_err();
    drop(refused.into_error());
    check("refused, and given up");
    let call = waiting(&mut store, instance, 2);
    drop(store);
    drop(call);
    check("after the store");
}

/// A host function's error can own suspended calls, of the same store too.
#[test]
fn an_error_that_owns_a_suspended_call() {
    #[derive(Debug)]
    struct Owns(ResumableCallHostTrap);
    impl std::fmt::Display for Owns {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "owns a call that says {}", self.0.host_error())
        }
    }
    impl std::error::Error for Owns {}

    let engine = engine();
    let (mut store, instance) = setup(&engine);
    let nest = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| {
        let func = instance.get_func(&mut caller, "waits").unwrap();
        let args = [Val::I32(4)];
        let call = func.call_resumable(&mut caller, &args, &mut [Val::I32(0)])?;
        Err::<i32, _>(Owns(host_trap(call)).into())
    });
    let module = Module::new(&engine, WAT).unwrap();
    let outer = Instance::new(&mut store, &module, &[nest.into()]).unwrap();
    let call = waiting(&mut store, outer, 2);
    assert_eq!(call.host_error().to_string(), "owns a call that says wait");
    assert_eq!(store.suspended_backtraces().len(), 2);
    let free = engine.free_stacks();
    drop(call);
    assert_eq!(engine.free_stacks(), free + 2);
    assert!(store.suspended_backtraces().is_empty());

    // Taken out of it, the inner one goes on when the outer one is gone.
    let call = waiting(&mut store, outer, 2);
    let Owns(inner) = call.into_host_error().downcast::<Owns>().unwrap();
    let mut results = [Val::I32(0)];
    finished(inner.resume(&mut store, &[Val::I32(7)], &mut results).unwrap());
    assert_eq!(results[0].unwrap_i32(), 11);
}

/// The destructor of what the embedder put into an error panics: the stack is not lost for that.
#[test]
fn an_error_whose_destructor_panics() {
    #[derive(Debug)]
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            panic!("in the destructor");
        }
    }
    impl std::fmt::Display for Panics {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("panics")
        }
    }
    impl std::error::Error for Panics {}

    let engine = engine();
    let module = Module::new(&engine, WAT).unwrap();
    let mut store = Store::new(&engine, ());
    let wait = Func::wrap(&mut store, || -> stillframe::Result<i32> { Err(Panics.into()) });
    let instance = Instance::new(&mut store, &module, &[wait.into()]).unwrap();
    for _ in 0..10 {
        let call = waiting(&mut store, instance, 2);
        let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(call)));
        assert_eq!(dropped.unwrap_err().downcast_ref(), Some(&"in the destructor"));
        assert!(store.suspended_backtraces().is_empty());
        let call = waiting(&mut store, instance, 2);
        // While it is resumed.
        let mut results = [Val::I32(0)];
        let resumed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            call.resume(&mut store, &[Val::I32(1)], &mut results).map(drop).map_err(drop)
        }));
        assert!(resumed.is_err());
        assert!(store.suspended_backtraces().is_empty());
        let limits = store.runtime_limits();
        assert_eq!((limits.last_wasm_entry_sp, limits.last_wasm_exit_pc), (0, 0));
    }
    // The store works.
    let spinning = spinning(&mut store, instance);
    assert_eq!(spinning.backtrace(&store).unwrap().frames().len(), 1);
}

#[test]
fn calls_are_dropped_inside_of_host_functions_and_their_stacks_are_used_at_once() {
    let engine = engine();
    let (mut store, instance) = setup(&engine);
    let nest =
        Func::wrap(&mut store, move |mut caller: Caller<'_, ()>| -> stillframe::Result<i32> {
            let func = instance.get_func(&mut caller, "waits").unwrap();
            let mut calls = Vec::new();
            for round in 0..100 {
                let args = [Val::I32(round % 7)];
                let call = func.call_resumable(&mut caller, &args, &mut [Val::I32(0)])?;
                calls.push(host_trap(call));
                if round % 3 != 0 {
                    drop(calls.swap_remove(round as usize * 7 % calls.len()));
                }
                assert_eq!(caller.suspended_backtraces().len(), calls.len());
            }
            let mut results = [Val::I32(0)];
            for call in calls {
                let frames = call.backtrace(&caller)?.frames().len() as i32;
                finished(call.resume(&mut caller, &[Val::I32(1000)], &mut results)?);
                assert_eq!(results[0].unwrap_i32(), 1000 + frames - 2);
            }
            Ok(5)
        });
    let module = Module::new(&engine, WAT).unwrap();
    let outer = Instance::new(&mut store, &module, &[nest.into()]).unwrap();
    let func = outer.get_typed_func::<i32, i32>(&mut store, "waits").unwrap();
    store.set_fuel(1_000_000).unwrap();
    let call = func.call_resumable(&mut store, 3).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(8)), "{call:?}");
}

/// The pool keeps so many, and those it keeps are taken again.
#[test]
fn the_pool_keeps_as_many_stacks_as_it_should() {
    let mut config = Config::new();
    let engine = Engine::new(config.consume_fuel(true).pooled_stacks(10)).unwrap();
    let (mut store, instance) = setup(&engine);
    let calls: Vec<_> = (0..30).map(|_| waiting(&mut store, instance, 1)).collect();
    assert_eq!(engine.free_stacks(), 0);
    drop(calls);
    assert_eq!(engine.free_stacks(), 10);
    let calls: Vec<_> = (0..4).map(|_| waiting(&mut store, instance, 1)).collect();
    assert!(engine.free_stacks() <= 7, "{}", engine.free_stacks());
    drop(calls);
    assert_eq!(engine.free_stacks(), 10);
}
