//! Frames of suspended calls: handles stay good while nothing of the call has run, wherever the call
//! goes meanwhile.

use super::common::{
    Data, WAT, engine, good, host_trap, out_of_fuel, run, store, store_of, suspended, take, then,
};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use stillframe::{
    AsContext, Caller, FrameError, FrameHandle, Linker, Module, ResumableCall, Store,
    UpdateDeadline, Val, bail,
};

#[test]
fn handles_taken_in_the_host_function_that_fails_are_those_of_the_suspended_call() {
    let mut store = store();
    then(&mut store, |caller| {
        take(caller);
        bail!("wait")
    });
    let func = store.data().instance.unwrap().get_func(&mut store, "run").unwrap();
    let params = [Val::I32(2), Val::I32(1)];
    let call = host_trap(func.call_resumable(&mut store, &params, &mut [Val::I32(0)]).unwrap());
    let taken = std::mem::take(&mut store.data_mut().taken);
    taken.iter().for_each(|frame| good(frame, &store));
    assert_eq!(call.frames(&store).unwrap().collect::<Vec<_>>(), taken);
    assert_eq!(taken.last().unwrap().parent(&store), Ok(None));
    let chain: Vec<_> =
        std::iter::successors(Some(taken[0].clone()), |frame| frame.parent(&store).unwrap())
            .collect();
    assert_eq!(chain, taken);
    // They are not frames of calls that run.
    assert_eq!(store.frames().count(), 0);
    drop(call);
    assert!(taken.iter().all(|frame| !frame.is_valid(&store)));
}

#[test]
fn each_of_many_has_its_own_and_other_calls_do_not_end_them() {
    let mut store = store();
    let calls: Vec<_> = (0..40).map(|depth| suspended(&mut store, depth % 7)).collect();
    let frames: Vec<Vec<FrameHandle>> =
        calls.iter().map(|call| call.frames(&store).unwrap().collect()).collect();
    let run = run(&mut store);
    for (i, (call, frames)) in calls.into_iter().zip(&frames).enumerate() {
        assert_eq!(frames.len(), i % 7 + 3);
        then(&mut store, |caller| Ok(take(caller).len() as i32));
        run.call(&mut store, (1, 1)).unwrap();
        frames.iter().for_each(|frame| good(frame, &store));
        match i % 3 {
            0 => drop(call),
            1 => std::thread::spawn(move || drop(call)).join().unwrap(),
            _ => {
                let mut results = [Val::I32(0)];
                let _ = call.resume(&mut store, &[Val::I32(0)], &mut results).unwrap();
            }
        }
        assert!(frames.iter().all(|frame| !frame.is_valid(&store)));
    }
    #[expect(clippy::mutable_key_type, reason = "hashes are of what does not change")]
    let all: std::collections::HashSet<_> = frames.iter().flatten().cloned().collect();
    assert_eq!(all.len(), frames.iter().map(Vec::len).sum::<usize>());
}

#[test]
fn a_resume_that_is_refused_ends_nothing() {
    let mut store = store_of(&engine(|config| {
        config.consume_fuel(true);
    }));
    let spin = store.data().instance.unwrap().get_func(&mut store, "spin").unwrap();
    store.set_fuel(100).unwrap();
    let call = out_of_fuel(spin.call_resumable(&mut store, &[], &mut []).unwrap());
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    let refused = call.resume(&mut store, &mut []).unwrap_err();
    frames.iter().for_each(|frame| good(frame, &store));
    let call = refused.into_call().unwrap();
    assert_eq!(call.frames(&store).unwrap().collect::<Vec<_>>(), frames);
}

/// Where a call stands that waits for fuel, an epoch callback is asked before anything runs.
#[test]
fn an_epoch_callback_that_keeps_the_call_suspended_ends_nothing() {
    let mut store = store_of(&engine(|config| {
        config.consume_fuel(true).epoch_interruption(true);
    }));
    let spin = store.data().instance.unwrap().get_func(&mut store, "spin").unwrap();
    store.set_fuel(100).unwrap();
    let call = out_of_fuel(spin.call_resumable(&mut store, &[], &mut []).unwrap());
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    let expected = frames.clone();
    let asked = Arc::new(Mutex::new(false));
    let was_asked = asked.clone();
    store.epoch_deadline_callback(move |store| {
        // The call runs, as far as the store knows.
        assert_eq!(store.frames().collect::<Vec<_>>(), expected);
        expected.iter().for_each(|frame| good(frame, store.as_context()));
        *was_asked.lock().unwrap() = true;
        Ok(UpdateDeadline::Yield(0))
    });
    store.set_epoch_deadline(0);
    store.set_fuel(1000).unwrap();
    let ResumableCall::Interrupted(call) = call.resume(&mut store, &mut []).unwrap() else {
        panic!("the callback keeps it suspended");
    };
    assert!(*asked.lock().unwrap());
    frames.iter().for_each(|frame| good(frame, &store));
    assert_eq!(call.frames(&store).unwrap().collect::<Vec<_>>(), frames);
    store.epoch_deadline_trap();
    store.set_epoch_deadline(1 << 40);
    let call = call.resume(&mut store, &mut []).unwrap();
    assert!(frames.iter().all(|frame| !frame.is_valid(&store)));
    assert_eq!(call.frames(&store).unwrap().count(), frames.len());
}

/// Handles that an epoch callback takes, which then suspends the call.
#[test]
fn handles_of_an_epoch_callback_are_those_of_the_call_that_it_suspends() {
    let mut store = store_of(&engine(|config| {
        config.epoch_interruption(true);
    }));
    store.epoch_deadline_callback(|mut store| {
        let frames = store.frames().collect();
        store.data_mut().taken = frames;
        Ok(UpdateDeadline::Yield(0))
    });
    store.set_epoch_deadline(0);
    let func = store.data().instance.unwrap().get_func(&mut store, "spin").unwrap();
    let call = func.call_resumable(&mut store, &[], &mut []).unwrap();
    let taken = std::mem::take(&mut store.data_mut().taken);
    assert_eq!(call.frames(&store).unwrap().collect::<Vec<_>>(), taken);
    taken.iter().for_each(|frame| good(frame, &store));
    drop(call);
    assert!(taken.iter().all(|frame| !frame.is_valid(&store)));
}

/// An asynchronous host function sees the frames of its callers whenever it is polled.
#[test]
fn handles_last_from_one_poll_of_a_host_function_to_the_next() {
    let engine = engine(|_| ());
    let mut store = Store::new(&engine, Data::default());
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("host", "h", |mut caller: Caller<'_, Data>, (): ()| {
            Box::new(async move {
                let before = std::mem::take(&mut caller.data_mut().taken);
                assert!(before.iter().all(|frame| !frame.is_valid(&caller)));
                let mut polls = 0;
                let first = take(&mut caller);
                poll_fn(|_| {
                    first.iter().for_each(|frame| good(frame, &caller));
                    assert_eq!(caller.frames().collect::<Vec<_>>(), first);
                    polls += 1;
                    if polls < 5 { Poll::Pending } else { Poll::Ready(()) }
                })
                .await;
                1
            })
        })
        .unwrap();
    let module = Module::new(&engine, WAT).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "run").unwrap();
    let mut pending = 0;
    let result = {
        let mut call = pin!(run.call_async(&mut store, (3, 2)));
        loop {
            match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => break result.unwrap(),
                Poll::Pending => pending += 1,
            }
        }
    };
    assert_eq!((result, pending), (2, 8));
    let taken = std::mem::take(&mut store.data_mut().taken);
    assert!(!taken.is_empty() && taken.iter().all(|frame| !frame.is_valid(&store)));
}

#[test]
fn handles_and_their_store_can_be_on_other_threads() {
    let mut store = store();
    let call = suspended(&mut store, 20);
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    let names = |frames: &[FrameHandle], store: &Store<Data>| -> Vec<_> {
        frames.iter().map(|frame| frame.wasm_pc(store).unwrap()).collect()
    };
    let expected = names(&frames, &store);
    // Shared: several threads look at once, some for the first time.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    assert_eq!(names(&frames, &store), expected);
                    frames.iter().for_each(|frame| assert!(frame.is_valid(&store)));
                    assert_eq!(call.frames(&store).unwrap().count(), frames.len());
                }
            });
        }
    });
    // Moved.
    let there = std::thread::spawn(move || {
        frames.iter().for_each(|frame| good(frame, &store));
        let _ = call.resume(&mut store, &[Val::I32(0)], &mut [Val::I32(0)]).unwrap();
        (store, frames)
    });
    let (mut store, frames) = there.join().unwrap();
    super::common::all_are(&frames, FrameError::Stale, &mut store);
}

/// Several threads ask for the frames of one call that nobody has asked for before: they get the
/// same handles.
#[test]
fn threads_that_ask_first_at_the_same_time_get_the_same_handles() {
    let mut store = store();
    for _ in 0..50 {
        let call = suspended(&mut store, 2);
        let barrier = std::sync::Barrier::new(3);
        let found = std::thread::scope(|scope| {
            let look = || {
                barrier.wait();
                let frames: Vec<_> = call.frames(&store).unwrap().collect();
                assert!(frames.iter().all(|frame| frame.is_valid(&store)));
                frames
            };
            let threads: Vec<_> = (0..3).map(|_| scope.spawn(look)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(found.iter().all(|frames| *frames == found[0]));
    }
}

/// Calls are dropped by one thread while another reads their frames: it reads what it should, or
/// that they are stale.
#[test]
fn calls_are_dropped_while_others_look() {
    let engine = engine(|_| ());
    let mut store = store_of(&engine);
    let calls: Vec<_> = (0..300).map(|_| suspended(&mut store, 5)).collect();
    let frames: Vec<_> = calls.iter().flat_map(|call| call.frames(&store).unwrap()).collect();
    let expected: Vec<_> = frames.iter().map(|frame| frame.func_name(&store).unwrap()).collect();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            loop {
                let last = done.load(Relaxed);
                let mut stale = 0;
                for (frame, name) in frames.iter().zip(&expected) {
                    match frame.func_name(&store) {
                        Ok(found) => assert_eq!(found, *name),
                        Err(error) => {
                            assert_eq!(error, FrameError::Stale);
                            stale += 1;
                        }
                    }
                    let _ = frame.parent(&store);
                    let _ = frame.locals(&store);
                    let _ = frame.instance(&store);
                }
                if last {
                    assert_eq!(stale, frames.len());
                    break;
                }
            }
        });
        let all_dropped = Done(&done);
        // Another store uses the stacks meanwhile.
        let mut other = store_of(&engine);
        let mut others = Vec::new();
        for call in calls {
            drop(call);
            others.push(suspended(&mut other, 5));
            let other_frames: Vec<_> = others.last().unwrap().frames(&other).unwrap().collect();
            other_frames.iter().for_each(|frame| good(frame, &other));
        }
        drop(all_dropped);
        looking.join().unwrap();
    });
}

/// Says so when it is dropped, also by a panic.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
