//! Suspended calls on many threads: they go on, trap and are dropped on other threads than those that
//! suspended them, alone and with their stores, while yet others look.
//!
//! A binary of its own that needs no other engine, so that it can be run under ThreadSanitizer:
//!
//! ```text
//! RUSTFLAGS=-Zsanitizer=thread cargo +nightly test -Zbuild-std \
//!     --target x86_64-unknown-linux-gnu -p stillframe --test threads
//! ```

#![allow(missing_docs)]

mod threads {
    mod crowd;
}

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, RwLock, mpsc};
use std::thread;
use stillframe::{
    Caller, Config, Engine, Error, FrameHandle, Func, Instance, Linker, Module, ResumableCall,
    Store, Trap, TypedFunc, TypedResumableCall, Val, bail,
};

const THREADS: usize = 8;

/// `walk` goes through all kinds of suspensions and ends as its first parameter says; `down` waits
/// some frames down.
const WAT: &str = r#"
(module
  (import "host" "wait" (func $wait (param i32) (result i32)))
  (table 1 funcref)
  (func $fail (param $how i32) (result i32)
    (block $overflow (block $null (block $divide (block $load (block $unreachable
      (br_table $unreachable $load $divide $null $overflow (local.get $how)))
      (unreachable))
      (return (i32.load (i32.const -1))))
      (return (i32.div_u (local.get $how) (i32.const 0))))
      (return (call_indirect (result i32) (i32.const 0))))
    (call $overflow (local.get $how)))
  (func $overflow (param i32) (result i32)
    (i32.add (call $overflow (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (memory 1)
  (func (export "walk") (param $how i32) (param $n i32) (param $x i64) (result i64 f64)
    (local $f f64)
    (loop $again
      (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 5)) (i64.extend_i32_u
        (call $wait (local.get $n)))))
      (local.set $f (f64.add (f64.mul (local.get $f) (f64.const 0.5))
        (f64.convert_i64_s (local.get $x))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (if (i32.lt_u (local.get $how) (i32.const 5)) (then (drop (call $fail (local.get $how)))))
    (local.get $x) (local.get $f))
  (func $down (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (call $wait (i32.const 0)))))
  (func $bottom (export "down") (param i32) (result i32) (call $down (local.get 0))))
"#;

/// How `walk` ends, by its first parameter; above these it returns.
const ENDINGS: [Trap; 5] = [
    Trap::UnreachableCodeReached,
    Trap::MemoryOutOfBounds,
    Trap::IntegerDivisionByZero,
    Trap::IndirectCallToNull,
    Trap::StackOverflow,
];

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }
}

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).max_wasm_stack(64 << 10);
    configure(&mut config);
    Engine::new(&config).unwrap()
}

/// A store whose host function fails each time.
fn instantiate(module: &Module) -> (Store<()>, Instance) {
    let mut linker = Linker::new(module.engine());
    linker
        .func_wrap("host", "wait", |_: Caller<'_, ()>, x: i32| -> stillframe::Result<i32> {
            bail!("wait {x}")
        })
        .unwrap();
    let mut store = Store::new(module.engine(), ());
    store.epoch_deadline_suspend();
    store.set_epoch_deadline(1);
    store.set_fuel(1 << 40).unwrap();
    let instance = linker.instantiate(&mut store, module).unwrap();
    (store, instance)
}

/// A call of `walk`, and what becomes of it.
struct Walk {
    call: TypedResumableCall<(i64, f64)>,
    how: i32,
    n: i32,
    x: i64,
}

impl Walk {
    fn start(store: &mut Store<()>, walk: TypedFunc<(i32, i32, i64), (i64, f64)>, i: i32) -> Walk {
        let (how, n, x) = (i % 9, 2 + i % 5, i64::from(i) * 77_777);
        Walk { call: walk.call_resumable(store, (how, n, x)).unwrap(), how, n, x }
    }

    /// What `walk` returns if `wait` was answered with its parameter.
    fn expected(&self) -> (i64, f64) {
        let (mut x, mut f) = (self.x, 0.0_f64);
        for n in (1..=self.n).rev() {
            x = x.wrapping_mul(5).wrapping_add(n.into());
            f = f * 0.5 + x as f64;
        }
        (x, f)
    }

    /// Goes on to the next suspension; `None` if it has ended, as it should.
    fn step(mut self, store: &mut Store<()>, fuel: u64) -> Option<Walk> {
        self.call = match self.call {
            TypedResumableCall::Finished(results) => {
                let call = TypedResumableCall::Finished(results);
                assert_eq!(results, Walk { call, ..self }.expected());
                return None;
            }
            TypedResumableCall::HostTrap(call) => {
                let error = call.host_error().to_string();
                let answer: i32 = error.strip_prefix("wait ").unwrap().parse().unwrap();
                store.set_fuel(fuel).unwrap();
                match call.resume(&mut *store, &[Val::I32(answer)]) {
                    Ok(call) => call,
                    Err(error) => return self_ended(self.how, error.into_error()),
                }
            }
            TypedResumableCall::OutOfFuel(call) => {
                store.set_fuel(call.required_fuel() + fuel).unwrap();
                match call.resume(&mut *store) {
                    Ok(call) => call,
                    Err(error) => return self_ended(self.how, error.into_error()),
                }
            }
            TypedResumableCall::Interrupted(call) => {
                store.set_fuel(fuel + 1).unwrap();
                match call.resume(&mut *store) {
                    Ok(call) => call,
                    Err(error) => return self_ended(self.how, error.into_error()),
                }
            }
        };
        Some(self)
    }
}

fn self_ended(how: i32, error: Error) -> Option<Walk> {
    let expected = ENDINGS.get(how as usize);
    assert_eq!(error.downcast_ref(), expected, "{error:?}");
    None
}

/// 10,000 calls of 64 stores; in each round every store, with its calls, is on another thread than
/// in the round before, and its calls go on in random order.
#[test]
fn ten_thousand_calls_wander_with_their_stores_between_eight_threads() {
    const STORES: usize = 64;
    const CALLS: i32 = 160;
    let engine = engine(|_| ());
    let module = Module::new(&engine, WAT).unwrap();
    let mut stores: Vec<(Store<()>, Vec<Walk>)> = (0..STORES)
        .map(|_| {
            let (mut store, instance) = instantiate(&module);
            let walk = instance.get_typed_func(&mut store, "walk").unwrap();
            let calls = (0..CALLS).map(|i| Walk::start(&mut store, walk, i)).collect();
            (store, calls)
        })
        .collect();
    assert!(stores.iter().all(|(store, _)| store.suspended_backtraces().len() == CALLS as usize));

    let (ended, switched) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut senders = Vec::new();
    let mut receivers = Vec::new();
    for _ in 0..THREADS {
        let (sender, receiver) = mpsc::channel();
        senders.push(sender);
        receivers.push(receiver);
    }
    // Each thread hands its stores to the next one.
    senders.rotate_left(1);
    let rounds = Barrier::new(THREADS);
    thread::scope(|scope| {
        for (thread, (sender, receiver)) in senders.into_iter().zip(receivers).enumerate() {
            let mut mine: Vec<_> = stores.split_off(stores.len() - STORES / THREADS);
            let (engine, rounds, ended, switched) = (&engine, &rounds, &ended, &switched);
            scope.spawn(move || {
                let mut random = Random(0x9e37_79b9 + thread as u64);
                // More than the longest call has suspensions.
                for _ in 0..40 {
                    for (store, calls) in &mut mine {
                        for _ in 0..calls.len() {
                            let call = calls.swap_remove(random.below(calls.len()));
                            // Some go on to the next host call; some on little fuel.
                            let fuel = [0, 3, 20, 1000][random.below(4)];
                            match call.step(store, fuel) {
                                Some(call) => calls.push(call),
                                None => drop(ended.fetch_add(1, Relaxed)),
                            }
                            switched.fetch_add(1, Relaxed);
                        }
                        store.set_epoch_deadline(random.below(3) as u64);
                    }
                    engine.increment_epoch();
                    for store in mine.drain(..) {
                        sender.send(store).unwrap();
                    }
                    // So that no thread gets its own stores of this round.
                    rounds.wait();
                    mine.extend(receiver.try_iter());
                    rounds.wait();
                }
                // What has not ended is dropped here, the store before its calls.
                for (store, calls) in mine {
                    drop(store);
                    drop(calls);
                }
            });
        }
    });
    println!("{switched:?} steps, {ended:?} calls ended");
    assert!(ended.into_inner() > STORES * CALLS as usize * 3 / 4);
}

/// The calls are resumed by threads that hold the store by turns, each in an order of its own.
#[test]
fn calls_of_one_store_are_resumed_by_whoever_has_the_store() {
    let engine = engine(|_| ());
    let module = Module::new(&engine, WAT).unwrap();
    let (mut store, instance) = instantiate(&module);
    let walk = instance.get_typed_func(&mut store, "walk").unwrap();
    let calls: Vec<_> = (0..800).map(|i| Walk::start(&mut store, walk, i)).collect();
    // The calls stay with their threads, only the store goes around.
    let store = Mutex::new(store);
    let mut shares: Vec<Vec<Walk>> = (0..THREADS).map(|_| Vec::new()).collect();
    for (i, call) in calls.into_iter().enumerate() {
        shares[i % THREADS].push(call);
    }
    thread::scope(|scope| {
        for (thread, mut calls) in shares.into_iter().enumerate() {
            let store = &store;
            scope.spawn(move || {
                let mut random = Random(77 + thread as u64);
                while !calls.is_empty() {
                    let call = calls.swap_remove(random.below(calls.len()));
                    let mut store = store.lock().unwrap();
                    store.set_epoch_deadline(1);
                    calls.extend(call.step(&mut store, random.below(50) as u64));
                }
            });
        }
    });
    assert!(store.lock().unwrap().suspended_backtraces().is_empty());
}

/// Threads that have never run wasm before: each hardware trap finds its call.
#[test]
fn hardware_traps_after_resuming_on_a_new_thread() {
    let engine = engine(|_| ());
    let module = Module::new(&engine, WAT).unwrap();
    for how in 0..ENDINGS.len() as i32 + 1 {
        let (mut store, instance) = instantiate(&module);
        let walk = instance.get_typed_func(&mut store, "walk").unwrap();
        let call = Walk::start(&mut store, walk, how);
        assert_eq!(call.how, how);
        let mut call = Some(call);
        while let Some(next) = call {
            (store, call) = thread::spawn(move || {
                let call = next.step(&mut store, 1 << 30);
                (store, call)
            })
            .join()
            .unwrap();
        }
        assert!(store.suspended_backtraces().is_empty());
    }
}

/// Calls are dropped by some threads while others read the frames of all of them through the store,
/// and while the stacks that come back are written to by yet others.
#[test]
fn dropping_on_some_threads_while_others_look() {
    const CALLS: usize = 12;
    const ROUNDS: usize = 200;
    // The stack that came back last is the next to be used.
    let engine = engine(|config| {
        config.pooled_stacks(2);
    });
    let module = Module::new(&engine, WAT).unwrap();
    let (mut store, instance) = instantiate(&module);
    let down = instance.get_typed_func::<i32, i32>(&mut store, "down").unwrap();
    let wait = |store: &mut Store<()>, depth: i32| {
        let call = down.call_resumable(store, depth).unwrap();
        let TypedResumableCall::HostTrap(call) = call else { panic!("the host fails") };
        call
    };
    // One call that nobody drops.
    let kept = wait(&mut store, 7);
    let store = RwLock::new(store);
    let (done, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Ends the others also when it panics.
        let dropper = scope.spawn(|| {
            let _done = Done(&done);
            for round in 0..ROUNDS {
                let calls: Vec<_> = {
                    let mut store = store.write().unwrap();
                    (0..CALLS).map(|i| wait(&mut store, 60 + i as i32)).collect()
                };
                // Some are dropped when somebody has begun to look, some are dropped at once.
                let seen = looks.load(Relaxed);
                while round % 2 == 0 && looks.load(Relaxed) == seen && !done.load(Relaxed) {
                    thread::yield_now();
                }
                calls.into_iter().for_each(drop);
            }
        });
        for _ in 0..2 {
            scope.spawn(|| {
                let _done = Done(&done);
                while !done.load(Relaxed) {
                    looks.fetch_add(1, Relaxed);
                    let store = store.read().unwrap();
                    let traces = store.suspended_backtraces();
                    for trace in &traces {
                        let names: Vec<_> =
                            trace.frames().iter().map(|frame| frame.func_name().unwrap()).collect();
                        let (last, rest) = names.split_last().unwrap();
                        assert_eq!(*last, "bottom");
                        assert!(rest.iter().all(|name| *name == "down"), "{names:?}");
                        assert!(rest.len() == 8 || (61..=80).contains(&rest.len()));
                    }
                    assert!((1..=CALLS + 1).contains(&traces.len()), "{}", traces.len());
                    assert_eq!(kept.backtrace(&*store).unwrap().frames().len(), 9);
                }
            });
        }
        // A store of another module, with other names, on the stacks that come back.
        scope.spawn(|| {
            let _done = Done(&done);
            let wat = WAT.replace("$down", "$other").replace("$bottom", "$top");
            let (mut store, instance) = instantiate(&Module::new(&engine, wat).unwrap());
            let down = instance.get_typed_func::<i32, i32>(&mut store, "down").unwrap();
            let mut calls = Vec::new();
            while !done.load(Relaxed) {
                calls.push(down.call_resumable(&mut store, 150).unwrap());
                if calls.len() == 3 {
                    for call in calls.drain(..).skip(1) {
                        let TypedResumableCall::HostTrap(call) = call else { panic!("{call:?}") };
                        let call = call.resume(&mut store, &[Val::I32(1)]).unwrap();
                        assert!(matches!(call, TypedResumableCall::Finished(151)));
                    }
                }
            }
        });
        dropper.join().unwrap();
    });
    let mut store = store.into_inner().unwrap();
    assert_eq!(store.suspended_backtraces().len(), 1);
    let call = kept.resume(&mut store, &[Val::I32(1)]).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(8)));
}

/// Handles are read by some threads, all through one store, while others drop the calls and use the
/// stacks that come back: what is read is right, or the handle is stale.
#[test]
fn handles_are_used_by_some_threads_while_others_drop_their_calls() {
    const CALLS: usize = 6;
    const ROUNDS: usize = 150;
    let engine = engine(|config| {
        config.pooled_stacks(2).frame_cache_size(2);
    });
    let module = Module::new(&engine, WAT).unwrap();
    let (mut store, instance) = instantiate(&module);
    let down = instance.get_typed_func::<i32, i32>(&mut store, "down").unwrap();
    let store = RwLock::new(store);
    let handles = Mutex::new(Vec::new());
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let _done = Done(&done);
                while !done.load(Relaxed) {
                    let held: Vec<FrameHandle> = handles.lock().unwrap().clone();
                    let store = store.read().unwrap();
                    for frame in &held {
                        let Ok(name) = frame.func_name(&*store) else { continue };
                        assert!(["down", "bottom"].contains(&name.unwrap()));
                        // The parameter counts down from the outermost frame's 10.
                        if let Ok(value) = frame.local(&*store, 0) {
                            assert!((0..=10).contains(&value.unwrap_i32()));
                        }
                        if let Ok(Some(parent)) = frame.parent(&*store) {
                            assert_eq!(parent.activation(), frame.activation());
                        }
                    }
                }
            });
        }
        scope.spawn(|| {
            let _done = Done(&done);
            for _ in 0..ROUNDS {
                let calls: Vec<_> = {
                    let mut store = store.write().unwrap();
                    (0..CALLS).map(|_| down.call_resumable(&mut *store, 10).unwrap()).collect()
                };
                let (first, rest) = calls.split_at(CALLS / 2);
                let frames = |calls: &[TypedResumableCall<i32>]| -> Vec<FrameHandle> {
                    let store = store.read().unwrap();
                    calls.iter().flat_map(|call| call.frames(&*store).unwrap()).collect()
                };
                // Two threads ask first for some.
                let (ours, theirs) = thread::scope(|scope| {
                    let theirs = scope.spawn(|| frames(first));
                    (frames(first), theirs.join().unwrap())
                });
                assert_eq!(ours, theirs);
                *handles.lock().unwrap() = [ours, frames(rest)].concat();
                thread::scope(|scope| scope.spawn(|| drop(calls)).join().unwrap());
                let store = store.read().unwrap();
                assert!(theirs.iter().all(|frame| !frame.is_valid(&*store)));
            }
        });
    });
}

/// Says so when a thread ends, also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Store, engine and calls are dropped at the same time, each by another thread.
#[test]
fn everything_is_dropped_at_once() {
    for round in 0..50 {
        let engine = engine(|config| {
            config.pooled_stacks(round);
        });
        let module = Module::new(&engine, WAT).unwrap();
        let (mut store, instance) = instantiate(&module);
        let down = instance.get_func(&mut store, "down").unwrap();
        let mut calls = Vec::new();
        for i in 0..THREADS as i32 {
            let args = [Val::I32(i)];
            calls.push(down.call_resumable(&mut store, &args, &mut [Val::I32(0)]).unwrap());
        }
        let start = Barrier::new(THREADS + 3);
        thread::scope(|scope| {
            for call in calls {
                let start = &start;
                scope.spawn(move || {
                    let ResumableCall::HostTrap(call) = call else { panic!("{call:?}") };
                    start.wait();
                    assert_eq!(call.into_host_error().to_string(), "wait 0");
                });
            }
            for what in [Box::new(store) as Box<dyn Send>, Box::new(engine), Box::new(module)] {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    drop(what);
                });
            }
        });
    }
}

/// When a thread's last destructors run, some of what the runtime keeps for the thread is gone
/// already.
#[test]
fn calls_go_on_and_trap_while_their_thread_ends() {
    struct AtTheEnd(Option<(Store<()>, Walk)>, Option<mpsc::Sender<usize>>);
    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            let Some((mut store, walk)) = self.0.take() else { return };
            let (mut walk, mut steps) = (Some(walk), 0);
            while let Some(next) = walk {
                walk = next.step(&mut store, 1 << 30);
                steps += 1;
            }
            self.1.take().unwrap().send(steps).unwrap();
        }
    }
    thread_local! {
        static EARLY: std::cell::RefCell<AtTheEnd> =
            const { std::cell::RefCell::new(AtTheEnd(None, None)) };
        static LATE: std::cell::RefCell<AtTheEnd> =
            const { std::cell::RefCell::new(AtTheEnd(None, None)) };
    }

    let engine = engine(|_| ());
    let module = Module::new(&engine, WAT).unwrap();
    for how in 0..ENDINGS.len() as i32 + 1 {
        let (sender, receiver) = mpsc::channel();
        let module = module.clone();
        thread::spawn(move || {
            let wait = || {
                let (mut store, instance) = instantiate(&module);
                let walk = instance.get_typed_func(&mut store, "walk").unwrap();
                let call = Walk::start(&mut store, walk, how);
                Some((store, call))
            };
            // One is first used before what the runtime keeps for the thread, one after: whichever
            // order destructors run in, one of them finds it gone.
            EARLY.with_borrow_mut(|early| early.1 = Some(sender.clone()));
            EARLY.with_borrow_mut(|early| early.0 = wait());
            LATE.with_borrow_mut(|late| *late = AtTheEnd(wait(), Some(sender)));
        })
        .join()
        .unwrap();
        let steps: Vec<usize> = receiver.iter().collect();
        assert_eq!(steps.len(), 2);
        assert!(steps.iter().all(|steps| *steps >= 2), "{steps:?}");
    }
}

/// A call is suspended inside of a host function that another thread runs with the caller's store,
/// and resumed back on the first.
#[test]
fn a_host_function_lends_its_store_to_another_thread() {
    let engine = engine(|_| ());
    let module = Module::new(&engine, WAT).unwrap();
    let (mut store, instance) = instantiate(&module);
    let lends = Func::wrap(&mut store, move |mut caller: Caller<'_, ()>, _: i32| {
        let down = instance.get_typed_func::<i32, i32>(&mut caller, "down")?;
        let mut context = stillframe::AsContextMut::as_context_mut(&mut caller);
        let call = thread::scope(|scope| {
            scope.spawn(move || down.call_resumable(&mut context, 11).unwrap()).join().unwrap()
        });
        let TypedResumableCall::HostTrap(call) = call else { panic!("the host fails") };
        assert_eq!(call.backtrace(&caller)?.frames().len(), 13);
        match call.resume(&mut caller, &[Val::I32(100)])? {
            TypedResumableCall::Finished(result) => Ok(result),
            other => panic!("{other:?}"),
        }
    });
    let outer = Instance::new(&mut store, &module, &[lends.into()]).unwrap();
    let down = outer.get_typed_func::<i32, i32>(&mut store, "down").unwrap();
    let call = down.call_resumable(&mut store, 3).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(114)), "{call:?}");
}

/// Epochs come from another thread while calls are suspended and resumed by two.
#[test]
fn epochs_from_another_thread() {
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        r#"(module (func (export "count") (param i32) (result i32) (local i32)
            (loop $again
                (local.set 1 (i32.add (local.get 1) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get 1) (local.get 0))))
            (local.get 1)))"#,
    )
    .unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                engine.increment_epoch();
                thread::yield_now();
            }
        });
        let mut store = Store::new(&engine, ());
        store.epoch_deadline_suspend();
        store.set_epoch_deadline(1);
        store.set_fuel(1 << 40).unwrap();
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let count = instance.get_typed_func::<i32, i32>(&mut store, "count").unwrap();
        let mut stops = 0;
        while stops < 200 {
            let mut call = count.call_resumable(&mut store, 100_000).unwrap();
            while let TypedResumableCall::Interrupted(stopped) = call {
                stops += 1;
                store.set_epoch_deadline(1);
                (store, call) = thread::scope(|scope| {
                    let resumed = scope.spawn(move || {
                        let call = stopped.resume(&mut store).unwrap();
                        (store, call)
                    });
                    resumed.join().unwrap()
                });
            }
            assert!(matches!(call, TypedResumableCall::Finished(100_000)), "{call:?}");
        }
        done.store(true, Relaxed);
    });
}
