//! References: used after they were freed, freed twice, never freed.

use super::common::{call, engine, guest, module, panic_of, trap_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use stillframe::{
    Caller, Engine, ExternRef, FrameError, FrameState, Func, FuncType, Global, GlobalType,
    Instance, Mutability, Ref, ResumableCall, Store, StoreLimitsBuilder, Table, TableType, Trap,
    UpdateDeadline, Val, ValType, bail,
};

/// Counts how many there are.
struct Counted(u32, Arc<AtomicUsize>);

impl Counted {
    fn new(number: u32, there: &Arc<AtomicUsize>) -> Counted {
        there.fetch_add(1, Relaxed);
        Counted(number, there.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Relaxed);
    }
}

fn number(store: &Store<()>, object: Option<ExternRef>) -> u32 {
    object.unwrap().data(store).downcast_ref::<Counted>().unwrap().0
}

/// wasmtime, GHSA-v4cp-h94r-m7xf: when several objects were passed to wasm at once, making room for
/// the second could collect the first. Here 16 at once, in either direction, while thousands of others are
/// made.
#[test]
fn objects_that_are_passed_together_are_all_there() {
    let types = [ValType::ExternRef; 16];
    let refs = "externref ".repeat(16);
    let sets: String =
        (0..16).map(|i| format!("(table.set (i32.const {i}) (local.get {i}))")).collect();
    let gets: String = (0..16).map(|i| format!("(local.get {i})")).collect();
    let wat = format!(
        r#"(module
            (import "" "h" (func $h (param {refs}) (result {refs})))
            (table (export "t") 16 externref)
            (func $keep (param {refs}) {sets})
            (func (export "f") (param {refs}) (result {refs})
                (call $keep (call $h {gets})) {gets}))"#
    );
    let there = Arc::new(AtomicUsize::new(0));
    let made = there.clone();
    let (mut store, instance) = guest(&Engine::default(), &wat, |store| {
        let ty = FuncType::new(types, types);
        let h = Func::new(store, ty, move |mut caller, params, results| {
            for (i, (param, result)) in params.iter().zip(results).enumerate() {
                // Each a new one, with a thousand between.
                for _ in 0..1000 {
                    ExternRef::new(&mut caller, Counted::new(999_999, &made))?;
                }
                let object = param.unwrap_externref().unwrap().data(&caller);
                assert_eq!(object.downcast_ref::<Counted>().unwrap().0, i as u32);
                let object = Counted::new(100 + i as u32, &made);
                *result = ExternRef::new(&mut caller, object)?.into();
            }
            Ok(())
        });
        vec![h.into()]
    });
    let args: Vec<Val> = (0..16)
        .map(|i| ExternRef::new(&mut store, Counted::new(i, &there)).unwrap().into())
        .collect();
    for _ in 0..3 {
        let results = call(&mut store, instance, "f", &args).unwrap();
        for (i, result) in (0..).zip(&results) {
            assert_eq!(number(&store, result.unwrap_externref()), i);
        }
        let table = instance.get_table(&mut store, "t").unwrap();
        for i in 0..16 {
            let object = table.get(&mut store, i).unwrap().as_extern().unwrap();
            assert_eq!(number(&store, object), 100 + i as u32);
        }
    }
    drop(store);
    assert_eq!(there.load(Relaxed), 0, "each is dropped once");
}

/// wasmtime, GHSA-4873-36h9-wv49, GHSA-gwc9-348x-qwv2, GHSA-5fhj-g3p3-pq9g: an object that only a frame
/// held was freed when the host ran at a place without live references in the frame, or at an epoch
/// check, which was no such place. Here the frame's only copy lives across all kinds of stops.
#[test]
fn an_object_that_only_a_frame_holds_is_there_after_every_kind_of_stop() {
    const WAT: &str = r#"(module
        (import "" "make" (func $make (param i32) (result externref)))
        (import "" "churn" (func $churn))
        (func (export "f") (param $n i32) (result externref externref) (local $o externref)
            (call $churn)
            (call $make (local.get $n))
            (local.set $o (call $make (i32.const 7)))
            (loop $again
                (call $churn)
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $o)))"#;
    for state in [FrameState::Off, FrameState::Live, FrameState::All] {
        let engine = engine(|config| {
            config.frame_state(state).epoch_interruption(true).consume_fuel(true);
        });
        let there = Arc::new(AtomicUsize::new(0));
        let made = there.clone();
        let churned = Arc::new(AtomicUsize::new(0));
        let churns = churned.clone();
        let (mut store, instance) = guest(&engine, WAT, |store| {
            let there = made.clone();
            let make = Func::wrap(&mut *store, move |mut caller: Caller<'_, ()>, n: i32| {
                ExternRef::new(&mut caller, Counted::new(n as u32, &there)).map(Some)
            });
            let churn = Func::wrap(&mut *store, move |caller: Caller<'_, ()>| {
                caller.engine().increment_epoch();
                // Every third call is suspended here.
                match churns.fetch_add(1, Relaxed) % 3 {
                    2 => bail!("wait"),
                    _ => stillframe::Result::Ok(()),
                }
            });
            vec![make.into(), churn.into()]
        });
        store.epoch_deadline_callback(move |mut store| {
            for _ in 0..10 {
                ExternRef::new(&mut store, Counted::new(999_999, &made))?;
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let f = instance.get_func(&mut store, "f").unwrap();
        let mut results = [Val::I32(0), Val::I32(0)];
        store.set_fuel(5).unwrap();
        let mut kinds = [0; 3];
        let mut call = f.call_resumable(&mut store, &[Val::I32(60)], &mut results).unwrap();
        loop {
            // Somebody else's objects.
            ExternRef::new(&mut store, Counted::new(888_888, &there)).unwrap();
            call = match call {
                ResumableCall::Finished => break,
                ResumableCall::HostTrap(call) => {
                    kinds[0] += 1;
                    call.resume(&mut store, &[], &mut results).unwrap()
                }
                ResumableCall::OutOfFuel(call) => {
                    kinds[1] += 1;
                    store.add_fuel(call.required_fuel() + 5).unwrap();
                    call.resume(&mut store, &mut results).unwrap()
                }
                ResumableCall::Interrupted(call) => {
                    kinds[2] += 1;
                    call.resume(&mut store, &mut results).unwrap()
                }
            };
        }
        assert!(kinds.iter().all(|kind| *kind > 10), "{kinds:?}");
        let objects = results.map(|result| number(&store, result.unwrap_externref()));
        assert_eq!(objects, [60, 7]);
        drop(store);
        assert_eq!(there.load(Relaxed), 0);
    }
}

/// A handle to a frame that is gone read a reference out of it that had been freed, or was another's.
#[test]
fn a_stale_handle_reads_no_reference() {
    const WAT: &str = r#"(module
        (import "" "h" (func $h))
        (func (export "f") (param externref funcref) (result externref)
            (call $h) (drop (ref.is_null (local.get 1))) (local.get 0)))"#;
    let engine = Engine::default();
    let (mut store, instance) = guest(&engine, WAT, |store| {
        vec![Func::wrap(store, || -> stillframe::Result<()> { bail!("wait") }).into()]
    });
    let f = instance.get_func(&mut store, "f").unwrap();
    let there = Arc::new(AtomicUsize::new(0));
    let mut stale = Vec::new();
    for round in 0..20 {
        let object = ExternRef::new(&mut store, Counted::new(round, &there)).unwrap();
        let args = [object.into(), f.into()];
        let mut results = [Val::I32(0)];
        let waits = f.call_resumable(&mut store, &args, &mut results).unwrap();
        let ResumableCall::HostTrap(waits) = waits else { panic!("{waits:?}") };
        let frame = waits.frames(&store).unwrap().next().unwrap();
        let Val::ExternRef(read) = frame.local(&store, 0).unwrap() else { panic!() };
        assert_eq!(number(&store, read), round);
        // The same place on the same stack, in another period.
        for old in &stale {
            let old: &stillframe::FrameHandle = old;
            assert_eq!(old.local(&store, 0).unwrap_err(), FrameError::Stale);
            assert_eq!(old.local(&store, 1).unwrap_err(), FrameError::Stale);
            assert_eq!(old.locals(&store).unwrap_err(), FrameError::Stale);
        }
        match round % 2 {
            0 => drop(waits),
            _ => drop(waits.resume(&mut store, &[], &mut results).unwrap()),
        }
        assert_eq!(frame.local(&store, 0).unwrap_err(), FrameError::Stale);
        stale.push(frame);
    }
    drop(store);
    let next = Store::new(&engine, ());
    for old in &stale {
        assert_eq!(old.local(&next, 0).unwrap_err(), FrameError::WrongStore);
    }
}

/// The same with the object itself: its store is gone, and another has an object of that number.
#[test]
fn an_object_of_a_store_that_is_gone_is_not_one_of_the_next() {
    let engine = Engine::default();
    let mut first = Store::new(&engine, ());
    let object = ExternRef::new(&mut first, String::from("of the first")).unwrap();
    drop(first);
    let mut next = Store::new(&engine, ());
    ExternRef::new(&mut next, String::from("of the next")).unwrap();
    let ty = TableType::new(ValType::ExternRef, 1, None);
    let table = Table::new(&mut next, ty, Ref::Extern(None)).unwrap();
    let ty = GlobalType::new(ValType::ExternRef, Mutability::Var);
    let global = Global::new(&mut next, ty, Val::ExternRef(None)).unwrap();
    assert!(panic_of(|| object.data(&next).type_id()).contains("another store"));
    table.set(&mut next, 0, object.into()).unwrap_err();
    table.fill(&mut next, 0, object.into(), 1).unwrap_err();
    table.grow(&mut next, 1, object.into()).unwrap_err();
    Table::new(&mut next, ty_of(ValType::ExternRef), object.into()).unwrap_err();
    global.set(&mut next, object.into()).unwrap_err();
    Global::new(&mut next, ty, object.into()).unwrap_err();
    assert!(table.get(&mut next, 0).unwrap().as_extern().unwrap().is_none());
    assert!(global.get(&mut next).unwrap_externref().is_none());
}

fn ty_of(element: ValType) -> TableType {
    TableType::new(element, 1, None)
}

/// wasmtime, GHSA-88xq-w8cq-xfg7: instantiation failed after a memory was refused, and what was
/// dropped then had globals of references that had not been written.
#[test]
fn an_instantiation_that_fails_drops_nothing_that_was_not_made() {
    let there = Arc::new(AtomicUsize::new(0));
    let engine = Engine::default();
    let wats = [
        // Refused: the memory; the table; a segment that does not fit; the start function.
        r#"(memory 30)"#,
        r#"(memory 1) (table 3000 externref)"#,
        r#"(memory 1) (table 1 externref) (elem (i32.const 1) externref (global.get $i))"#,
        r#"(memory 1) (data (i32.const 65530) "longer than that")"#,
        r#"(memory 1) (func $s (global.set $m (global.get $i)) (unreachable)) (start $s)"#,
    ];
    let modules: Vec<_> = wats
        .iter()
        .map(|rest| {
            module(
                &engine,
                &format!(
                    r#"(module (import "" "i" (global $i externref)) (global $g externref (global.get $i))
                        (global $m (mut externref) (ref.null extern)) {rest})"#
                ),
            )
        })
        .collect();
    for round in 0..50 {
        let limits = StoreLimitsBuilder::new().memory_size(20 << 16).table_elements(1000).build();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        let object = ExternRef::new(&mut store, Counted::new(round, &there)).unwrap();
        let ty = GlobalType::new(ValType::ExternRef, Mutability::Const);
        let global = Global::new(&mut store, ty, object.into()).unwrap();
        for module in &modules {
            Instance::new(&mut store, module, &[global.into()]).unwrap_err();
        }
        let kept = global.get(&mut store).unwrap_externref().unwrap();
        assert_eq!(kept.data(&store).downcast_ref::<Counted>().unwrap().0, round);
        assert_eq!(there.load(Relaxed), 1);
        drop(store);
        assert_eq!(there.load(Relaxed), 0);
    }
}

/// wasmtime, GHSA-75hq-h6g9-h4q5: using an element segment of `externref`s that had been dropped was
/// a panic of the host. WAMR, issue 4014: active and declared segments count as dropped, and did not.
#[test]
fn segments_that_are_dropped_active_or_declared_have_no_elements() {
    let (mut store, instance) = guest(
        &Engine::default(),
        r#"(module
            (table $t 10 externref) (table $f 10 funcref)
            (elem $passive externref (ref.null extern) (ref.null extern))
            (elem $active (table $t) (i32.const 0) externref (ref.null extern) (ref.null extern))
            (elem $declared declare func $drop)
            (elem $funcs func $drop $drop)
            (func $drop (export "drop") (elem.drop $passive) (elem.drop $funcs))
            (func (export "passive") (param i32) (table.init $t $passive (i32.const 0) (i32.const 0) (local.get 0)))
            (func (export "active") (param i32) (table.init $t $active (i32.const 0) (i32.const 0) (local.get 0)))
            (func (export "declared") (param i32) (table.init $f $declared (i32.const 0) (i32.const 0) (local.get 0)))
            (func (export "funcs") (param i32) (table.init $f $funcs (i32.const 0) (i32.const 0) (local.get 0))))"#,
        |_| vec![],
    );
    let mut init = |name: &str, len: i32| call(&mut store, instance, name, &[Val::I32(len)]);
    for name in ["passive", "funcs"] {
        init(name, 2).unwrap();
        assert_eq!(trap_of(init(name, 3)), Trap::TableOutOfBounds);
    }
    for _ in 0..2 {
        for name in ["active", "declared"] {
            init(name, 0).unwrap();
            for len in [1, 2, -1] {
                assert_eq!(trap_of(init(name, len)), Trap::TableOutOfBounds, "{name} {len}");
            }
        }
    }
    for _ in 0..2 {
        call(&mut store, instance, "drop", &[]).unwrap();
        for name in ["passive", "funcs"] {
            let mut init = |len: i32| call(&mut store, instance, name, &[Val::I32(len)]);
            init(0).unwrap();
            assert_eq!(trap_of(init(1)), Trap::TableOutOfBounds, "{name}");
        }
    }
}

/// wasmtime, issue 2802: a store lived for ever once a host function had returned an error in it; its
/// memories with it.
#[test]
fn nothing_outlives_a_store_in_which_a_host_function_failed() {
    let engine = Engine::default();
    let module = module(
        &engine,
        r#"(module (import "" "h" (func $h (param i32))) (memory (export "m") 10)
            (func (export "f") (param i32) (call $h (local.get 0))))"#,
    );
    let there = Arc::new(AtomicUsize::new(0));
    for round in 0..20 {
        let mut store = Store::new(&engine, Counted::new(0, &there));
        let held = Counted::new(1, &there);
        let h = Func::wrap(&mut store, move |mut caller: Caller<'_, Counted>, how: i32| {
            ExternRef::new(&mut caller, Counted::new(2, &held.1))?;
            if how == 0 {
                bail!("it fails")
            }
            if how == 1 {
                panic!("it panics")
            }
            Ok(())
        });
        let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        f.call(&mut store, &[Val::I32(0)], &mut []).unwrap_err();
        panic_of(|| f.call(&mut store, &[Val::I32(1)], &mut []));
        let suspended = f.call_resumable(&mut store, &[Val::I32(0)], &mut []).unwrap();
        assert_eq!(there.load(Relaxed), 5);
        // The call before the store, or after it.
        match round % 2 {
            0 => drop((suspended, store)),
            _ => {
                drop(store);
                drop(suspended);
            }
        }
        assert_eq!((there.load(Relaxed), engine.free_memories()), (0, 1), "round {round}");
    }
    assert!(engine.free_stacks() <= 3, "{} stacks", engine.free_stacks());
}
