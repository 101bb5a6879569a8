//! Calls that are dropped by some threads while others look at them.

use super::common::{Done, WAT, engine, instantiate};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, RwLock};
use std::thread;
use stillframe::{FrameHandle, Module, Store, TypedResumableCall, Val};

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
