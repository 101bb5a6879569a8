//! Calls that go on and trap on other threads than before, with their store or without.

use super::common::{ENDINGS, Random, THREADS, WAT, Walk, engine, instantiate};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex, mpsc};
use std::thread;
use stillframe::{Module, Store};

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
