//! Every way in which a frozen period ends makes the handles of it stale, and they stay so.

use super::common::{
    all_are, engine, good, out_of_fuel, run, store, store_of, suspended, take, taken_are_stale,
    then, trap,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use stillframe::{AsContext, Engine, FrameError, Trap, UpdateDeadline, Val, bail};

#[test]
fn after_the_host_function_has_returned() {
    let mut store = store();
    then(&mut store, |caller| Ok(take(caller).len() as i32));
    // The same frames, at the same places, but another time.
    then(&mut store, |caller| {
        let before = std::mem::take(&mut caller.data_mut().taken);
        let frames = take(caller);
        assert_eq!(before.len(), frames.len());
        for (old, new) in before.iter().zip(&frames) {
            assert!(!old.is_valid(&*caller) && new.is_valid(&*caller));
            assert_eq!(old.func_index(&*caller), Err(FrameError::Stale));
            assert_ne!(old, new);
            assert_ne!(old.activation(), new.activation());
        }
        caller.data_mut().taken.extend(before);
        Ok(0)
    });
    assert_eq!(run(&mut store).call(&mut store, (2, 2)).unwrap(), 5);
    taken_are_stale(&mut store);
}

#[test]
fn after_the_call_has_returned() {
    let mut store = store();
    then(&mut store, |caller| Ok(take(caller).len() as i32));
    run(&mut store).call(&mut store, (2, 1)).unwrap();
    taken_are_stale(&mut store);
    assert_eq!(store.frames().count(), 0);
}

#[test]
fn also_for_a_call_that_stands_at_the_same_place_on_the_same_stack() {
    let mut store = store();
    let run = run(&mut store);
    then(&mut store, |caller| Ok(take(caller).len() as i32));
    run.call(&mut store, (2, 1)).unwrap();
    then(&mut store, |caller| {
        let before = std::mem::take(&mut caller.data_mut().taken);
        let now = take(caller);
        assert!(before.iter().all(|old| !old.is_valid(&*caller) && !now.contains(old)));
        Ok(0)
    });
    run.call(&mut store, (2, 1)).unwrap();
}

#[test]
fn after_the_call_has_trapped() {
    let mut store = store();
    let ends = store.data().instance.unwrap();
    let ends = ends.get_typed_func::<(i32, i32), i32>(&mut store, "ends").unwrap();
    then(&mut store, |caller| Ok(take(caller).len() as i32));
    assert_eq!(trap(ends.call(&mut store, (2, 1))), Trap::UnreachableCodeReached);
    taken_are_stale(&mut store);
}

#[test]
fn after_the_host_function_has_failed() {
    let mut store = store();
    then(&mut store, |caller| {
        take(caller);
        bail!("no")
    });
    run(&mut store).call(&mut store, (2, 1)).unwrap_err();
    taken_are_stale(&mut store);
}

#[test]
fn after_the_host_function_has_panicked() {
    let mut store = store();
    let run = run(&mut store);
    then(&mut store, |caller| {
        take(caller);
        std::panic::resume_unwind(Box::new("on purpose"))
    });
    catch_unwind(AssertUnwindSafe(|| run.call(&mut store, (2, 1)))).unwrap_err();
    taken_are_stale(&mut store);
    assert_eq!(run.call(&mut store, (2, 1)).unwrap(), 1);
}

#[test]
fn after_an_exception_was_caught() {
    let mut store = store();
    let instance = store.data().instance.unwrap();
    let catch = instance.get_typed_func::<(), i32>(&mut store, "catch").unwrap();
    then(&mut store, |caller| Ok(take(caller).len() as i32));
    then(&mut store, |caller| {
        let before = std::mem::take(&mut caller.data_mut().taken);
        assert!(before.iter().all(|frame| !frame.is_valid(&*caller)));
        assert_eq!(take(caller).len(), 1);
        Ok(3)
    });
    assert_eq!(catch.call(&mut store, ()).unwrap(), 3);
    taken_are_stale(&mut store);
}

#[test]
fn after_the_checkpoint_at_which_the_epoch_callback_was_asked() {
    let mut store = store_of(&engine(|config| {
        config.epoch_interruption(true);
    }));
    let run = run(&mut store);
    store.set_epoch_deadline(0);
    let asked = Arc::new(Mutex::new(0));
    let counted = asked.clone();
    store.epoch_deadline_callback(move |mut store| {
        let before = std::mem::take(&mut store.data_mut().taken);
        assert!(before.iter().all(|frame| !frame.is_valid(&store)));
        let frames: Vec<_> = store.frames().collect();
        for frame in &frames {
            good(frame, store.as_context());
        }
        store.data_mut().taken = frames;
        *counted.lock().unwrap() += 1;
        Ok(UpdateDeadline::Continue(0))
    });
    then(&mut store, |caller| {
        let before = std::mem::take(&mut caller.data_mut().taken);
        assert!(!before.is_empty() && before.iter().all(|frame| !frame.is_valid(&*caller)));
        Ok(0)
    });
    assert_eq!(run.call(&mut store, (2, 1)).unwrap(), 0);
    assert!(*asked.lock().unwrap() > 5);
    store.data_mut().taken.clear();
    let taken = Arc::new(Mutex::new(Vec::new()));
    let given = taken.clone();
    store.epoch_deadline_callback(move |store| {
        given.lock().unwrap().extend(store.frames());
        Ok(UpdateDeadline::Continue(0))
    });
    run.call(&mut store, (2, 1)).unwrap();
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    all_are(&taken, FrameError::Stale, &mut store);
}

#[test]
fn after_a_checkpoint_out_of_fuel_was_carried_on() {
    let mut store = store_of(&engine(|config| {
        config.consume_fuel(true);
    }));
    let spin = store.data().instance.unwrap().get_func(&mut store, "spin").unwrap();
    store.set_fuel(100).unwrap();
    let call = out_of_fuel(spin.call_resumable(&mut store, &[], &mut []).unwrap());
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    good(&frames[0], &store);
    store.set_fuel(100).unwrap();
    let again = out_of_fuel(call.resume(&mut store, &mut []).unwrap());
    let others: Vec<_> = again.frames(&store).unwrap().collect();
    all_are(&frames, FrameError::Stale, &mut store);
    good(&others[0], &store);
    assert_ne!(frames[0], others[0]);
}

#[test]
fn after_a_suspended_call_was_resumed() {
    let mut store = store();
    let call = suspended(&mut store, 3);
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    assert_eq!(frames.len(), 6);
    frames.iter().for_each(|frame| good(frame, &store));
    let inside = frames.clone();
    let mut results = [Val::I32(0)];
    let finished = call.resume(&mut store, &[Val::I32(40)], &mut results).unwrap();
    assert!(matches!(finished, stillframe::ResumableCall::Finished));
    all_are(&inside, FrameError::Stale, &mut store);
}

#[test]
fn in_host_functions_of_a_suspended_call_that_goes_on() {
    let mut store = store();
    then(&mut store, |_| bail!("wait"));
    let func = store.data().instance.unwrap().get_func(&mut store, "run").unwrap();
    let params = [Val::I32(1), Val::I32(2)];
    let mut results = [Val::I32(0)];
    let call = func.call_resumable(&mut store, &params, &mut results).unwrap();
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    let before = frames.clone();
    then(&mut store, move |caller| {
        assert!(before.iter().all(|frame| !frame.is_valid(&*caller)));
        assert_eq!(take(caller).len(), before.len());
        Ok(2)
    });
    let call = super::common::host_trap(call);
    let _ = call.resume(&mut store, &[Val::I32(40)], &mut results).unwrap();
    assert_eq!(results[0].unwrap_i32(), 42);
    all_are(&frames, FrameError::Stale, &mut store);
    taken_are_stale(&mut store);
}

#[test]
fn after_a_suspended_call_was_dropped() {
    let mut store = store();
    let call = suspended(&mut store, 3);
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    drop(call);
    all_are(&frames, FrameError::Stale, &mut store);
    // Another call gets its stack.
    let call = suspended(&mut store, 3);
    let others: Vec<_> = call.frames(&store).unwrap().collect();
    all_are(&frames, FrameError::Stale, &mut store);
    others.iter().for_each(|frame| good(frame, &store));
}

#[test]
fn after_a_suspended_call_was_dropped_on_another_thread() {
    let mut store = store();
    let call = suspended(&mut store, 3);
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    std::thread::spawn(move || drop(call)).join().unwrap();
    all_are(&frames, FrameError::Stale, &mut store);
}

#[test]
fn after_the_host_error_was_taken_out_of_a_suspended_call() {
    let mut store = store();
    let call = suspended(&mut store, 3);
    let frames: Vec<_> = call.frames(&store).unwrap().collect();
    assert_eq!(call.into_host_error().to_string(), "wait");
    all_are(&frames, FrameError::Stale, &mut store);
}

#[test]
fn when_the_store_is_gone_every_other_one_is_wrong() {
    let engine = Engine::default();
    let (mut first, mut second) = (store_of(&engine), store_of(&engine));
    then(&mut first, |caller| Ok(take(caller).len() as i32));
    run(&mut first).call(&mut first, (2, 1)).unwrap();
    let mut frames = std::mem::take(&mut first.data_mut().taken);
    let call = suspended(&mut first, 1);
    frames.extend(call.frames(&first).unwrap());
    drop(first);
    all_are(&frames, FrameError::WrongStore, &mut second);
    assert_eq!(call.frames(&second).map(|_| ()).unwrap_err(), FrameError::WrongStore);
    drop(call);
    all_are(&frames, FrameError::WrongStore, &mut second);
}

#[test]
fn frames_of_another_store_that_are_frozen_are_of_the_wrong_store_nonetheless() {
    let engine = Engine::default();
    let (mut first, mut second) = (store_of(&engine), store_of(&engine));
    let call = suspended(&mut first, 1);
    let frames: Vec<_> = call.frames(&first).unwrap().collect();
    all_are(&frames, FrameError::WrongStore, &mut second);
    assert_eq!(call.frames(&second).map(|_| ()).unwrap_err(), FrameError::WrongStore);
    let own = suspended(&mut second, 1);
    let others: Vec<_> = own.frames(&second).unwrap().collect();
    all_are(&others, FrameError::WrongStore, &mut first);
    frames.iter().for_each(|frame| good(frame, &first));
    others.iter().for_each(|frame| good(frame, &second));
}
