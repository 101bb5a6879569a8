//! One call that two threads have to do with: one lends it the store, or stops it by epochs.

use super::common::{WAT, engine, instantiate};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use stillframe::{Caller, Func, Instance, Module, Store, TypedResumableCall, Val};

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
