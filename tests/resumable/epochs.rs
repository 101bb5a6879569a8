//! Epochs: a deadline that suspends, traps, or asks a callback, in calls that can be suspended and in
//! calls that cannot.

use super::common::{ended, interrupted, out_of_fuel, refused, trap_of};
use stillframe::{
    AsContextMut, Caller, Config, Engine, Func, Instance, Module, ResumableCall, ResumeRefused,
    Store, Trap, TypedResumableCall, TypedResumableCallInterrupted, UpdateDeadline, Val, bail,
};

/// Counts to its parameter; each round has one checkpoint.
const COUNT: &str = r#"
(module
  (global $n (export "n") (mut i32) (i32.const 0))
  (func (export "count") (param i32) (result i32)
    (loop $again
      (global.set $n (i32.add (global.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (global.get $n) (local.get 0))))
    (global.get $n)))
"#;

fn setup(fuel: bool) -> (Engine, Store<u32>, Instance) {
    let engine = Engine::new(Config::new().epoch_interruption(true).consume_fuel(fuel)).unwrap();
    let module = Module::new(&engine, COUNT).unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    store.set_epoch_deadline(1);
    (engine, store, instance)
}

fn count(
    store: &mut Store<u32>,
    instance: Instance,
    to: i32,
) -> stillframe::Result<TypedResumableCall<i32>> {
    let count = instance.get_typed_func::<i32, i32>(&mut *store, "count").unwrap();
    count.call_resumable(store, to)
}

/// How far it has counted.
fn counted(store: &mut Store<u32>, instance: Instance) -> i32 {
    instance.get_global(&mut *store, "n").unwrap().get(store).unwrap_i32()
}

fn stopped(call: TypedResumableCall<i32>) -> TypedResumableCallInterrupted<i32> {
    match call {
        TypedResumableCall::Interrupted(call) => call,
        other => panic!("expected Interrupted, found {other:?}"),
    }
}

#[test]
fn a_deadline_that_is_left_as_it_is_suspends_at_each_checkpoint() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_suspend();
    // Not reached yet.
    let call = count(&mut store, instance, 3).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(3)));
    engine.increment_epoch();
    let global = instance.get_global(&mut store, "n").unwrap();
    global.set(&mut store, Val::I32(0)).unwrap();
    // At the function's entry.
    let mut call = stopped(count(&mut store, instance, 3).unwrap());
    // At the loop's header, in front of each round.
    for round in 0..3 {
        call = stopped(call.resume(&mut store).unwrap());
        assert_eq!(counted(&mut store, instance), round);
    }
    let call = call.resume(&mut store).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(3)), "{call:?}");
}

#[test]
fn a_new_deadline_lets_it_run_until_then() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_suspend();
    engine.increment_epoch();
    let call = stopped(count(&mut store, instance, 1000).unwrap());
    store.set_epoch_deadline(2);
    engine.increment_epoch();
    let call = call.resume(&mut store).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(1000)), "{call:?}");
}

#[test]
fn calls_that_cannot_be_suspended_trap() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_suspend();
    engine.increment_epoch();
    let plain = instance.get_typed_func::<i32, i32>(&mut store, "count").unwrap();
    assert_eq!(trap_of(&plain.call(&mut store, 5).unwrap_err()), Trap::Interrupt);
    // Also inside of one that can.
    let inner = Func::wrap(&mut store, move |mut caller: Caller<'_, u32>| {
        let error = plain.call(&mut caller, 5).unwrap_err();
        assert_eq!(trap_of(&error), Trap::Interrupt);
        Err::<(), _>(error)
    });
    let TypedResumableCall::HostTrap(call) =
        inner.typed::<(), ()>(&store).unwrap().call_resumable(&mut store, ()).unwrap()
    else {
        panic!("the host function fails")
    };
    assert_eq!(trap_of(call.host_error()), Trap::Interrupt);
    assert_eq!(counted(&mut store, instance), 0);
}

#[test]
fn a_deadline_that_traps_ends_resumable_calls_too() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_suspend();
    engine.increment_epoch();
    let call = stopped(count(&mut store, instance, 5).unwrap());
    store.epoch_deadline_trap();
    let error = ended(call.resume(&mut store));
    assert_eq!(trap_of(&error), Trap::Interrupt);
    let error = count(&mut store, instance, 5).unwrap_err();
    assert_eq!(trap_of(&error), Trap::Interrupt);
    assert!(store.suspended_backtraces().is_empty());
}

#[test]
fn a_deadline_that_moves_on_with_each_suspension() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_async_yield_and_update(2);
    engine.increment_epoch();
    let call = stopped(count(&mut store, instance, 100).unwrap());
    assert_eq!(store.runtime_limits().epoch_deadline, 3);
    engine.increment_epoch();
    engine.increment_epoch();
    let call = stopped(call.resume(&mut store).unwrap());
    assert_eq!(store.runtime_limits().epoch_deadline, 5);
    assert!(matches!(call.resume(&mut store).unwrap(), TypedResumableCall::Finished(100)));
}

#[test]
fn the_callback_decides_each_time() {
    let (_, mut store, instance) = setup(false);
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(|mut store| {
        *store.data_mut() += 1;
        match *store.data() {
            // The deadline has passed again at once.
            1 | 3 => Ok(UpdateDeadline::Continue(0)),
            2 | 4 => Ok(UpdateDeadline::Yield(0)),
            5 => Ok(UpdateDeadline::Interrupt),
            n => bail!("asked {n} times"),
        }
    });
    // The entry 1, the first round 2.
    let call = stopped(count(&mut store, instance, 1000).unwrap());
    assert_eq!((*store.data(), counted(&mut store, instance)), (2, 0));
    let call = stopped(call.resume(&mut store).unwrap());
    assert_eq!((*store.data(), counted(&mut store, instance)), (4, 2));
    let error = ended(call.resume(&mut store));
    assert_eq!(trap_of(&error), Trap::Interrupt);
    let error = count(&mut store, instance, 1000).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "asked 6 times");
    // In a plain call, what would suspend traps.
    *store.data_mut() = 1;
    let plain = instance.get_typed_func::<i32, i32>(&mut store, "count").unwrap();
    assert_eq!(trap_of(&plain.call(&mut store, 5).unwrap_err()), Trap::Interrupt);
}

/// The callback gets the store, and may do what a host function may.
#[test]
fn the_callback_resumes_another_call() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_suspend();
    engine.increment_epoch();
    let first = stopped(count(&mut store, instance, 3).unwrap());
    let mut first = Some(first);
    store.epoch_deadline_callback(move |mut store| {
        let Some(call) = first.take() else { return Ok(UpdateDeadline::Continue(1000)) };
        // While the callback runs, a deadline that has passed traps; so there must be a new one.
        store.set_epoch_deadline(100);
        let call = call.resume(store.as_context_mut()).map_err(stillframe::Error::from)?;
        assert!(matches!(call, TypedResumableCall::Finished(3)), "{call:?}");
        // And enters others.
        let engine = store.engine().clone();
        let module = Module::new(&engine, COUNT)?;
        let host = Func::wrap(&mut store, || -> stillframe::Result<i32> { bail!("wait") });
        let second = host.call_resumable(&mut store, &[], &mut [Val::I32(0)])?;
        let other = Instance::new(&mut store, &module, &[])?;
        let plain = other.get_typed_func::<i32, i32>(&mut store, "count")?;
        assert_eq!(plain.call(&mut store, 50)?, 50);
        assert!(matches!(second, ResumableCall::HostTrap(_)));
        Ok(UpdateDeadline::Yield(1000))
    });
    // The entry's checkpoint asks; the first call counts to 3 meanwhile.
    let call = stopped(count(&mut store, instance, 10).unwrap());
    assert_eq!(counted(&mut store, instance), 3);
    let trace = call.backtrace(&store).unwrap();
    assert_eq!(trace.frames().len(), 1);
    assert!(matches!(call.resume(&mut store).unwrap(), TypedResumableCall::Finished(10)));
}

#[test]
fn a_panic_in_the_callback_passes_through_a_resumed_call() {
    let (engine, mut store, instance) = setup(false);
    store.epoch_deadline_suspend();
    engine.increment_epoch();
    let call = stopped(count(&mut store, instance, 3).unwrap());
    store.epoch_deadline_callback(|_| panic!("in the callback"));
    let resumed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        call.resume(&mut store).map(drop).map_err(drop)
    }));
    assert_eq!(resumed.unwrap_err().downcast_ref(), Some(&"in the callback"));
    store.set_epoch_deadline(10);
    assert!(matches!(count(&mut store, instance, 3).unwrap(), TypedResumableCall::Finished(3)));
}

#[test]
fn an_interrupted_call_without_fuel_comes_back_as_out_of_fuel() {
    let (engine, mut store, instance) = setup(true);
    let func = instance.get_func(&mut store, "count").unwrap();
    let mut results = [Val::I32(0)];
    store.epoch_deadline_suspend();
    engine.increment_epoch();
    // Of both reasons, fuel comes first.
    store.set_fuel(0).unwrap();
    let call = func.call_resumable(&mut store, &[Val::I32(2)], &mut results).unwrap();
    drop(out_of_fuel(call));
    store.set_fuel(100).unwrap();
    let call = func.call_resumable(&mut store, &[Val::I32(2)], &mut results).unwrap();
    let call = interrupted(call);
    store.set_fuel(0).unwrap();
    let call = out_of_fuel(call.resume(&mut store, &mut results).unwrap());
    assert_eq!((call.required_fuel(), call.overdraft()), (1, 0));
    let (call, reason) = refused(call.resume(&mut store, &mut results));
    assert_eq!(reason, ResumeRefused::NotEnoughFuel { required: 1, available: 0 });
    // With the fuel that it needs, it is what it was; and then it goes on to the next checkpoint.
    store.set_fuel(30).unwrap();
    let call = interrupted(call.resume(&mut store, &mut results).unwrap());
    assert_eq!(store.get_fuel().unwrap(), 30);
    let call = interrupted(call.resume(&mut store, &mut results).unwrap());
    assert_eq!(counted(&mut store, instance), 0);
    // entry 1.
    assert_eq!(store.get_fuel().unwrap(), 29);
    store.set_epoch_deadline(1);
    let call = call.resume(&mut store, &mut results).unwrap();
    assert!(matches!(call, ResumableCall::Finished));
    // Two rounds of get const add set, get get lt br_if; get 1.
    assert_eq!(store.get_fuel().unwrap(), 29 - 2 * 8 - 1);
}

#[test]
fn a_bulk_operation_is_interrupted_before_it_starts_and_needs_its_fuel_still() {
    let engine = Engine::new(Config::new().epoch_interruption(true).consume_fuel(true)).unwrap();
    let module = Module::new(
        &engine,
        "(module (memory (export \"memory\") 1)
            (func (export \"f\") (param i32)
                (memory.fill (i32.const 0) (i32.const 7) (local.get 0))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    store.epoch_deadline_suspend();
    store.set_fuel(1000).unwrap();
    let call = interrupted(f.call_resumable(&mut store, &[Val::I32(500)], &mut []).unwrap());
    assert_eq!(store.get_fuel().unwrap(), 996);
    store.set_fuel(499).unwrap();
    let call = out_of_fuel(call.resume(&mut store, &mut []).unwrap());
    assert_eq!((call.required_fuel(), call.overdraft()), (500, 0));
    assert_eq!(memory.data(&store)[0], 0);
    store.set_fuel(501).unwrap();
    let call = interrupted(call.resume(&mut store, &mut []).unwrap());
    assert_eq!(memory.data(&store)[0], 0);
    let call = call.resume(&mut store, &mut []).unwrap();
    assert!(matches!(call, ResumableCall::Finished), "{call:?}");
    assert_eq!(memory.data(&store)[499..501], [7, 0]);
    assert_eq!(store.get_fuel().unwrap(), 0);
}

#[test]
fn another_thread_interrupts_again_and_again() {
    const ROUNDS: i32 = 1_000_000;
    let (engine, mut store, instance) = setup(true);
    store.epoch_deadline_suspend();
    store.set_fuel(1 << 60).unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    let (mut calls, mut stops) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                engine.increment_epoch();
                std::thread::sleep(std::time::Duration::from_micros(20));
            }
        });
        // However late that thread comes to run.
        while stops < 50 {
            instance.get_global(&mut store, "n").unwrap().set(&mut store, Val::I32(0)).unwrap();
            calls += 1;
            let mut call = count(&mut store, instance, ROUNDS).unwrap();
            while let TypedResumableCall::Interrupted(stopped) = call {
                stops += 1;
                store.set_epoch_deadline(1);
                call = stopped.resume(&mut store).unwrap();
            }
            assert!(matches!(call, TypedResumableCall::Finished(ROUNDS)), "{call:?}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // entry 1, each round 8, get 1.
    assert_eq!((1 << 60) - store.get_fuel().unwrap(), calls * (2 + 8 * ROUNDS as u64));
}
