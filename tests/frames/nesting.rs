//! Calls nested through host functions: outer frames stay frozen while inner ones run, whatever
//! becomes of those.

use super::common::{Data, good, host_trap, run, run_in, store, take, taken_are_stale, then, trap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use stillframe::{Caller, FrameHandle, Func, Result, ResumableCall, Trap, Val, bail};

/// Frames of each activation, by `run` with this depth.
const fn frames_of(depth: usize) -> usize {
    depth + 3
}

/// The handles that were taken are good in a host function.
fn taken_are_good(caller: &Caller<'_, Data>) {
    assert!(!caller.data().taken.is_empty());
    caller.data().taken.iter().for_each(|frame| good(frame, caller));
}

#[test]
fn three_deep_all_frames_are_seen_and_stay_while_inner_calls_run() {
    let mut store = store();
    let go_on = |caller: &mut Caller<'_, Data>| -> Result<i32> {
        let before = caller.data().taken.clone();
        let frames = take(caller);
        assert!(frames.ends_with(&before));
        caller.data_mut().taken = frames;
        let result = run_in(caller).call(&mut *caller, (1, 1))?;
        // Whatever was frozen when it was called is so still; what was called is gone.
        let gone = std::mem::take(&mut caller.data_mut().taken);
        let still: Vec<_> = caller.frames().collect();
        for frame in &gone {
            assert_eq!(frame.is_valid(&*caller), still.contains(frame));
        }
        assert!(gone.ends_with(&still));
        caller.data_mut().taken = still;
        Ok(result + 1)
    };
    then(&mut store, go_on);
    then(&mut store, go_on);
    then(&mut store, |caller| {
        let frames = take(caller);
        let mut ids: Vec<_> = frames.iter().map(FrameHandle::activation).collect();
        ids.dedup();
        assert_eq!(ids.len(), 3);
        assert_eq!(frames.len(), 3 * frames_of(1));
        Ok(40)
    });
    assert_eq!(run(&mut store).call(&mut store, (1, 1)).unwrap(), 42);
    taken_are_stale(&mut store);
}

#[test]
fn parents_cross_from_one_call_to_the_one_around_it() {
    let mut store = store();
    then(&mut store, |caller| run_in(caller).call(caller, (5, 1)));
    then(&mut store, |caller| run_in(caller).call(caller, (0, 1)));
    then(&mut store, |caller| {
        let frames = take(caller);
        let mut chain = vec![frames[0].clone()];
        while let Some(parent) = chain.last().unwrap().parent(&*caller)? {
            chain.push(parent);
        }
        assert_eq!(chain, frames);
        let sizes: Vec<_> =
            chain.chunk_by(|a, b| a.activation() == b.activation()).map(<[_]>::len).collect();
        assert_eq!(sizes, [frames_of(0), frames_of(5), frames_of(2)]);
        Ok(0)
    });
    run(&mut store).call(&mut store, (2, 1)).unwrap();
}

#[test]
fn outer_frames_outlive_a_call_that_traps() {
    let mut store = store();
    then(&mut store, |caller| {
        take(caller);
        let ends = caller.data().instance.unwrap();
        let ends = ends.get_typed_func::<(i32, i32), i32>(&mut *caller, "ends")?;
        let outer = caller.data().taken.len();
        assert_eq!(trap(ends.call(&mut *caller, (1, 1))), Trap::UnreachableCodeReached);
        let inner = caller.data_mut().taken.split_off(outer);
        // All frames were taken in there: those of the inner call are gone.
        assert_eq!(inner.iter().filter(|frame| frame.is_valid(&*caller)).count(), outer);
        taken_are_good(caller);
        Ok(0)
    });
    then(&mut store, |caller| Ok(take(caller).len() as i32));
    run(&mut store).call(&mut store, (2, 1)).unwrap();
    taken_are_stale(&mut store);
}

#[test]
fn outer_frames_outlive_a_call_in_which_a_host_function_panics() {
    let mut store = store();
    then(&mut store, |caller| {
        take(caller);
        let run = run_in(caller);
        let call = || run.call(&mut *caller, (1, 1));
        catch_unwind(AssertUnwindSafe(call)).unwrap_err();
        taken_are_good(caller);
        Ok(0)
    });
    then(&mut store, |_| std::panic::resume_unwind(Box::new("on purpose")));
    run(&mut store).call(&mut store, (2, 1)).unwrap();
    taken_are_stale(&mut store);
}

/// A suspended inner call has frames of its own, outside of the store's.
#[test]
fn outer_frames_outlive_a_call_that_is_suspended_resumed_and_dropped() {
    let mut store = store();
    then(&mut store, |caller| {
        let outer = take(caller);
        let func = caller.data().instance.unwrap().get_func(&mut *caller, "run").unwrap();
        let mut results = [Val::I32(0)];
        let call = func.call_resumable(&mut *caller, &[1.into(), 2.into()], &mut results)?;
        taken_are_good(caller);
        assert_eq!(caller.frames().collect::<Vec<_>>(), outer);
        let inner: Vec<_> = call.frames(&*caller)?.collect();
        assert_eq!(inner.len(), frames_of(1));
        inner.iter().for_each(|frame| good(frame, &*caller));
        assert_eq!(inner[frames_of(1) - 1].parent(&*caller)?, None);

        let call = host_trap(call).resume(&mut *caller, &[Val::I32(1)], &mut results).unwrap();
        taken_are_good(caller);
        assert!(inner.iter().all(|frame| !frame.is_valid(&*caller)));
        let again: Vec<_> = call.frames(&*caller)?.collect();
        again.iter().for_each(|frame| good(frame, &*caller));
        drop(call);
        taken_are_good(caller);
        assert!(again.iter().all(|frame| !frame.is_valid(&*caller)));
        Ok(7)
    });
    then(&mut store, |_| bail!("wait"));
    then(&mut store, |_| bail!("wait again"));
    assert_eq!(run(&mut store).call(&mut store, (2, 1)).unwrap(), 7);
    taken_are_stale(&mut store);
}

/// What is suspended inside of a host function and outlives it.
#[test]
fn frames_of_a_suspended_inner_call_outlive_the_outer_one() {
    let mut store = store();
    let (send, receive) = std::sync::mpsc::channel();
    then(&mut store, move |caller| {
        let func = caller.data().instance.unwrap().get_func(&mut *caller, "run").unwrap();
        let call = func.call_resumable(&mut *caller, &[1.into(), 1.into()], &mut [Val::I32(0)])?;
        let frames: Vec<_> = call.frames(&*caller)?.collect();
        send.send((call, frames)).unwrap();
        Ok(0)
    });
    then(&mut store, |caller| {
        // Those of the inner call survive, since that fails and is suspended.
        take(caller);
        bail!("wait")
    });
    run(&mut store).call(&mut store, (2, 1)).unwrap();
    let (call, frames) = receive.recv().unwrap();
    frames.iter().for_each(|frame| good(frame, &store));
    let taken = std::mem::take(&mut store.data_mut().taken);
    let (inner, outer) = taken.split_at(frames_of(1));
    assert_eq!(inner, frames, "the handles of the host function are those of the suspended call");
    inner.iter().for_each(|frame| good(frame, &store));
    assert!(outer.iter().all(|frame| !frame.is_valid(&store)));
    let mut results = [Val::I32(0)];
    let finished = host_trap(call).resume(&mut store, &[Val::I32(3)], &mut results).unwrap();
    assert!(matches!(finished, ResumableCall::Finished));
    assert!(frames.iter().all(|frame| !frame.is_valid(&store)));
}

#[test]
fn a_host_function_that_the_host_calls_sees_the_frames_around_it() {
    let mut store = store();
    let direct = Func::wrap(&mut store, |caller: Caller<'_, Data>| {
        caller.data().taken.iter().for_each(|frame| good(frame, &caller));
        caller.frames().count() as i32
    });
    let direct = direct.typed::<(), i32>(&store).unwrap();
    assert_eq!(direct.call(&mut store, ()).unwrap(), 0);
    then(&mut store, move |caller| {
        take(caller);
        let seen = direct.call(&mut *caller, ())?;
        taken_are_good(caller);
        assert_eq!(seen as usize, caller.data().taken.len());
        Ok(seen)
    });
    assert_eq!(run(&mut store).call(&mut store, (1, 1)).unwrap(), frames_of(1) as i32);
    taken_are_stale(&mut store);
}
