//! Calls that stop and go on: in the wrong store, and with a world that has changed meanwhile.

use super::common::{PLENTY, call, engine, guest, metered, module, panic_of, trap_of};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use stillframe::{
    AsContext, AsContextMut, Caller, Engine, Extern, FrameError, Func, Instance, Linker, Memory,
    ResumableCall, ResumeRefused, Store, Trap, Val, bail,
};

/// The call, which must have run out of fuel.
#[track_caller]
fn out_of_fuel(call: ResumableCall) -> stillframe::ResumableCallOutOfFuel {
    match call {
        ResumableCall::OutOfFuel(call) => call,
        other => panic!("{other:?}"),
    }
}

const COUNTS: &str = r#"(module
    (import "" "h" (func $h))
    (memory (export "m") 1)
    (global (export "g") (mut i32) (i32.const 0))
    (func (export "f") (param i32) (result i32)
        (call $h)
        (loop $again
            (global.set 0 (i32.add (global.get 0) (i32.const 1)))
            (i32.store (i32.const 0) (global.get 0))
            (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (global.get 0)))"#;

/// Interpreters that can be resumed did not ask whose call it is: resumed in another store, a call
/// used that store's instances by its own store's indices, and its fuel.
#[test]
fn a_call_goes_on_in_its_own_store_only() {
    let (one, two) = (metered(), metered());
    let host = |store: &mut Store<()>| {
        vec![Func::wrap(store, || -> stillframe::Result<()> { bail!("wait") }).into()]
    };
    // A store of the same engine, one of another, one in which all was made in the same way.
    let mut stores: Vec<_> = [&one, &one, &two].map(|engine| guest(engine, COUNTS, host)).into();
    let (mut empty, mut results) = (Store::new(&one, ()), [Val::I32(0)]);
    let (store, instance) = &mut stores[0];
    let f = instance.get_func(&mut *store, "f").unwrap();
    let waits = f.call_resumable(&mut *store, &[Val::I32(50)], &mut results).unwrap();
    let ResumableCall::HostTrap(mut waits) = waits else { panic!("{waits:?}") };
    let frame = waits.frames(&*store).unwrap().next().unwrap();
    // Refused by all others, in which nothing happens.
    let refuse = |store: &mut Store<()>, waits: stillframe::ResumableCallHostTrap| {
        let _ = store.set_fuel(77);
        let refused = waits.resume(&mut *store, &[], &mut [Val::I32(0)]).unwrap_err();
        assert_eq!(refused.reason(), Some(&ResumeRefused::WrongStore));
        assert_eq!(store.get_fuel().unwrap(), 77);
        refused.into_call().unwrap()
    };
    waits = refuse(&mut empty, waits);
    for (other, other_instance) in &mut stores[1..] {
        waits = refuse(other, waits);
        assert_eq!(frame.local(&*other, 0).unwrap_err(), FrameError::WrongStore);
        assert!(waits.backtrace(&*other).is_err());
        let g = other_instance.get_global(&mut *other, "g").unwrap();
        assert_eq!(g.get(&mut *other).unwrap_i32(), 0);
    }
    // Out of fuel, too; and inside of the other's host function, called by its wasm.
    let (store, _) = &mut stores[0];
    store.set_fuel(100).unwrap();
    let spent = waits.resume(&mut *store, &[], &mut results).unwrap();
    let spent = Arc::new(std::sync::Mutex::new(Some(out_of_fuel(spent))));
    let inside = spent.clone();
    let (mut other, other_instance) = guest(&one, COUNTS, |store| {
        let h = Func::wrap(store, move |mut caller: Caller<'_, ()>| {
            let call = inside.lock().unwrap().take().unwrap();
            let refused = call.resume(&mut caller, &mut [Val::I32(0)]).unwrap_err();
            assert_eq!(refused.reason(), Some(&ResumeRefused::WrongStore));
            *inside.lock().unwrap() = refused.into_call();
        });
        vec![h.into()]
    });
    assert_eq!(call(&mut other, other_instance, "f", &[Val::I32(1)]).unwrap()[0].unwrap_i32(), 1);
    // It is as it was.
    let (store, _) = &mut stores[0];
    store.set_fuel(PLENTY).unwrap();
    let call = spent.lock().unwrap().take().unwrap();
    let done = call.resume(&mut *store, &mut results).unwrap();
    assert!(matches!(done, ResumableCall::Finished));
    assert_eq!(results[0].unwrap_i32(), 50);
}

/// wasmtime, GHSA-2hw9-mc66-jc2q: operations on many elements became preemptible, and went on after
/// a stop with lengths and segments that they had looked at before it. Here they stop before they
/// begin; everything that they check must be checked when they go on.
#[test]
fn an_operation_that_waits_for_fuel_finds_the_world_as_it_is_then() {
    const WAT: &str = r#"(module
        (memory (export "m") 1 10) (memory $i (export "i") i64 1)
        (table $t (export "t") 100 1000 funcref)
        (data $d "0123456789") (elem $e func $drop $drop $drop $drop $drop)
        (func $drop (export "drop") (data.drop $d) (elem.drop $e))
        (func $grow (export "grow")
            (drop (memory.grow (i32.const 1)))
            (drop (table.grow $t (ref.null func) (i32.const 100))))
        (func (export "memory.init") (param i32)
            (memory.init $d (i32.const 65531) (i32.const 0) (local.get 0)))
        (func (export "memory.fill") (param i32)
            (memory.fill (i32.const 65531) (i32.const 7) (local.get 0)))
        (func (export "memory.copy") (param i32)
            (memory.copy (i32.const 65531) (i32.const 0) (local.get 0)))
        (func (export "table.init") (param i32)
            (table.init $t $e (i32.const 95) (i32.const 0) (local.get 0)))
        (func (export "table.fill") (param i32)
            (table.fill $t (i32.const 95) (ref.null func) (local.get 0)))
        (func (export "table.copy") (param i32)
            (table.copy (i32.const 95) (i32.const 0) (local.get 0)))
        (func (export "table.grow") (param i32)
            (drop (table.grow $t (ref.null func) (local.get 0)))))"#;
    let engine = metered();
    // Name, length, what happens meanwhile, how it ends.
    let cases = [
        ("memory.init", 5, "", None),
        ("memory.init", 6, "", Some(Trap::MemoryOutOfBounds)),
        ("memory.init", 6, "grow", None),
        ("memory.init", 5, "drop", Some(Trap::MemoryOutOfBounds)),
        ("memory.fill", 6, "", Some(Trap::MemoryOutOfBounds)),
        ("memory.fill", 60_000, "grow", None),
        ("memory.copy", 6, "", Some(Trap::MemoryOutOfBounds)),
        ("memory.copy", 60_000, "grow", None),
        ("table.init", 5, "", None),
        ("table.init", 5, "drop", Some(Trap::TableOutOfBounds)),
        ("table.init", 6, "grow", Some(Trap::TableOutOfBounds)),
        ("table.fill", 6, "", Some(Trap::TableOutOfBounds)),
        ("table.fill", 90, "grow", None),
        ("table.copy", 6, "", Some(Trap::TableOutOfBounds)),
        ("table.copy", 90, "grow", None),
        ("table.grow", 850, "", None),
        ("table.grow", 850, "grow", None),
    ];
    for (name, len, meanwhile, expected) in cases {
        let (mut store, instance) = guest(&engine, WAT, |_| vec![]);
        let func = instance.get_func(&mut store, name).unwrap();
        store.set_fuel(6).unwrap();
        let waits = func.call_resumable(&mut store, &[Val::I32(len)], &mut []).unwrap();
        let waits = out_of_fuel(waits);
        store.set_fuel(PLENTY).unwrap();
        if !meanwhile.is_empty() {
            call(&mut store, instance, meanwhile, &[]).unwrap();
        }
        let ended = waits.resume(&mut store, &mut []);
        let ended = ended.map(|_| ()).map_err(|error| error.into_error());
        let trap = ended.err().map(|error| *error.downcast_ref::<Trap>().unwrap());
        assert_eq!(trap, expected, "{name} {len} after {meanwhile:?}");
        // 850 more are there or not: with 100 more there is no room for them.
        let size = instance.get_table(&mut store, "t").unwrap().size(&store);
        let grown = (name == "table.grow" && meanwhile.is_empty()) as u64 * 850;
        assert_eq!(size, 100 + grown + (meanwhile == "grow") as u64 * 100, "{name}");
        let memory = instance.get_memory(&mut store, "m").unwrap();
        let byte = memory.data(&store)[65535];
        let expected = match (name, expected) {
            ("memory.init", None) => b'4',
            ("memory.fill", None) => 7,
            _ => 0,
        };
        assert_eq!(byte, expected, "{name} {len} after {meanwhile:?}");
    }
}

/// wasmi, pull request 1999: a host function that wasm called in tail position could grow the memory,
/// and the frame that got control back went on with the old one.
#[test]
fn a_host_function_called_in_tail_position_may_grow_what_its_callers_use() {
    // The 64-bit memory moves, since it has address space for 4 GiB at first.
    for (ty, memory, pages, at) in [
        ("i32", "(memory (export \"m\") 1)", 2, 2 << 16),
        ("i64", "(memory (export \"m\") i64 1)", 65537, 65537 << 16),
    ] {
        for (kind, index) in [("return_call $h", ""), ("return_call_indirect", "(i32.const 0)")] {
            let wat = format!(
                r#"(module
                    (import "" "h" (func $h))
                    {memory}
                    (table (export "t") 1 funcref) (elem (i32.const 0) $h)
                    (func $tail ({kind} {index}))
                    (func (export "f") (param $n i32) (result i32) ({ty}.store ({ty}.const 0) ({ty}.const 5))
                        (loop $again
                            (call $tail)
                            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                        (i32.add (i32.load ({ty}.const {at}))
                            (i32.add (i32.load ({ty}.const 0)) (table.size)))))"#
            );
            for resumable in [false, true] {
                let grow = move |mut caller: Caller<'_, ()>| {
                    let Some(Extern::Memory(memory)) = caller.get_export("m") else { panic!() };
                    memory.grow(&mut caller, pages)?;
                    memory.write(&mut caller, at, &9_u32.to_le_bytes())?;
                    let Some(Extern::Table(table)) = caller.get_export("t") else { panic!() };
                    table.grow(&mut caller, 1000, stillframe::Ref::Func(None))?;
                    if resumable {
                        bail!("wait")
                    }
                    Ok(())
                };
                let engine = engine(|_| ());
                let (mut store, instance) =
                    guest(&engine, &wat, |store| vec![Func::wrap(store, grow).into()]);
                let f = instance.get_func(&mut store, "f").unwrap();
                let mut results = [Val::I32(0)];
                let mut state = f.call_resumable(&mut store, &[Val::I32(2)], &mut results).unwrap();
                while let ResumableCall::HostTrap(call) = state {
                    assert!(resumable);
                    state = call.resume(&mut store, &[], &mut results).unwrap();
                }
                assert_eq!(results[0].unwrap_i32(), 9 + 5 + 2001, "{kind}, {memory}");
            }
        }
    }
}

/// Polls once; the waker does nothing.
fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// wasmtime, GHSA-xjhv-v822-pf94: dropping the future of an asynchronous call panicked if it had been
/// polled and not finished. Dropped here after each number of polls, with calls inside of calls.
#[test]
fn the_future_of_a_call_can_be_dropped_at_every_point() {
    let engine = engine(|config| {
        config.consume_fuel(true).epoch_interruption(true);
    });
    let module = module(
        &engine,
        r#"(module
            (import "" "wait" (func $wait (param i32)))
            (memory (export "m") 1)
            (func (export "f") (param i32)
                (loop $again
                    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1)))
                    (call $wait (local.get 0))
                    (br_if $again (i32.lt_u (i32.load (i32.const 0)) (i32.const 6))))))"#,
    );
    let mut linker = Linker::<Arc<()>>::new(&engine);
    linker
        .func_wrap_async("", "wait", |mut caller: Caller<'_, Arc<()>>, (depth,): (i32,)| {
            Box::new(async move {
                let _held = caller.data().clone();
                let mut pending = true;
                poll_fn(|_| match std::mem::take(&mut pending) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                })
                .await;
                if depth > 0 {
                    let Some(Extern::Func(f)) = caller.get_export("f") else { panic!() };
                    f.call_async(&mut caller, &[Val::I32(depth - 1)], &mut []).await?;
                }
                Ok(())
            })
        })
        .unwrap();
    let held = Arc::new(());
    let mut finished = false;
    for polls in 0..100 {
        let mut store = Store::new(&engine, held.clone());
        store.set_fuel(PLENTY).unwrap();
        store.fuel_async_yield_interval(Some(15)).unwrap();
        store.set_epoch_deadline(1000);
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let before = store.runtime_limits();
        let args = [Val::I32(2)];
        let mut future = Box::pin(f.call_async(&mut store, &args, &mut []));
        finished = (0..polls).any(|_| poll_once(future.as_mut()).is_ready());
        drop(future);
        assert_eq!(Arc::strong_count(&held), 2, "what host functions held is dropped");
        let after = store.runtime_limits();
        assert_eq!(
            (before.last_wasm_entry_sp, before.last_wasm_exit_pc),
            (after.last_wasm_entry_sp, after.last_wasm_exit_pc),
            "after {polls} polls"
        );
        // The store is usable.
        let memory = instance.get_memory(&mut store, "m").unwrap();
        memory.data_mut(&mut store)[..4].copy_from_slice(&5_u32.to_le_bytes());
        let again = [Val::I32(0)];
        let mut future = Box::pin(f.call_async(&mut store, &again, &mut []));
        while poll_once(future.as_mut()).map(|done| done.unwrap()).is_pending() {}
        drop(future);
        drop(store);
        if finished {
            break;
        }
    }
    assert!(finished, "the last round polls it to its end");
}

/// A handle, or a call, whose store is gone, and a new store that has its memory: what they name is
/// not looked for there.
#[test]
fn what_belonged_to_a_store_that_is_gone_names_nothing_in_the_next() {
    let engine = Engine::default();
    let make = |value: i32| -> (Store<()>, Instance, Func, Memory) {
        let wat = format!(
            r#"(module (memory (export "m") 1) (func (export "f") (result i32) (i32.const {value})))"#
        );
        let (mut store, instance) = guest(&engine, &wat, |_| vec![]);
        let f = instance.get_func(&mut store, "f").unwrap();
        let m = instance.get_memory(&mut store, "m").unwrap();
        (store, instance, f, m)
    };
    let (store, instance, f, m) = make(1);
    drop(store);
    let (mut store, ..) = make(2);
    let mut results = [Val::I32(0)];
    for text in [
        panic_of(|| f.call(&mut store, &[], &mut results).unwrap()),
        panic_of(|| f.ty(store.as_context())),
        panic_of(|| m.data_size(&store)),
        panic_of(|| m.grow(store.as_context_mut(), 1).unwrap()),
        panic_of(|| instance.get_export(&mut store, "f").unwrap()),
    ] {
        assert!(text.contains("another store"), "{text}");
    }
    assert_eq!(results[0].unwrap_i32(), 0);
    // As an import, too.
    let wat = r#"(module (import "" "f" (func (result i32))))"#;
    let importer = module(&engine, wat);
    panic_of(|| Instance::new(&mut store, &importer, &[f.into()]).unwrap());
    assert_eq!(trap_of::<()>(Err(Trap::OutOfFuel.into())), Trap::OutOfFuel);
}
