//! `VMRuntimeLimits` around suspensions: a store whose calls are all suspended is at rest, an outer
//! call has its own fields back, and a resumed call has those of its new entry.

use stillframe::{
    Caller, Config, Engine, Func, Instance, Linker, Module, RuntimeLimits, Store,
    TypedResumableCall, TypedResumableCallHostTrap, Val, bail,
};

const WAT: &str = r#"
(module
  (import "host" "look" (func $look))
  (import "host" "wait" (func $wait))
  (import "host" "enter" (func $enter))
  (import "host" "resume" (func $resume))
  (func (export "f") (call $look) (call $wait) (call $look) (call $deeper))
  (func $deeper (call $look) (call $wait) (call $look))
  (func (export "enters") (call $look) (call $enter) (call $look))
  (func (export "resumes") (call $look) (call $resume) (call $look))
  (func (export "spins") (call $look) (loop (br 0))))
"#;

#[derive(Default)]
struct Data {
    instance: Option<Instance>,
    /// What each `look` saw, and an address in its frame.
    seen: Vec<(RuntimeLimits, usize)>,
    kept: Vec<TypedResumableCallHostTrap<()>>,
}

#[inline(never)]
fn look(caller: &mut Caller<'_, Data>) {
    let here = 0_u8;
    let limits = caller.runtime_limits();
    caller.data_mut().seen.push((limits, &raw const here as usize));
}

fn setup() -> (Store<Data>, Instance) {
    let engine = Engine::new(Config::new().consume_fuel(true).epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, WAT).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "look", |mut caller: Caller<'_, Data>| look(&mut caller)).unwrap();
    let wait = |_: Caller<'_, Data>| -> stillframe::Result<()> { bail!("wait") };
    linker.func_wrap("host", "wait", wait).unwrap();
    linker
        .func_wrap("host", "enter", |mut caller: Caller<'_, Data>| {
            look(&mut caller);
            let call = f(&mut caller);
            look(&mut caller);
            caller.data_mut().kept.push(call);
        })
        .unwrap();
    linker
        .func_wrap("host", "resume", |mut caller: Caller<'_, Data>| {
            look(&mut caller);
            let call = caller.data_mut().kept.pop().unwrap();
            let call = waiting(call.resume(&mut caller, &[]).unwrap());
            look(&mut caller);
            assert!(call.resume(&mut caller, &[Val::I32(0)]).is_err(), "refused");
            look(&mut caller);
        })
        .unwrap();
    let mut store = Store::new(&engine, Data::default());
    store.set_fuel(1_000_000).unwrap();
    store.set_epoch_deadline(100);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.data_mut().instance = Some(instance);
    (store, instance)
}

fn waiting(call: TypedResumableCall<()>) -> TypedResumableCallHostTrap<()> {
    match call {
        TypedResumableCall::HostTrap(call) => call,
        other => panic!("expected HostTrap, found {other:?}"),
    }
}

/// Calls `f` up to its first `wait`.
fn f(caller: &mut Caller<'_, Data>) -> TypedResumableCallHostTrap<()> {
    let instance = caller.data().instance.unwrap();
    let f = instance.get_typed_func::<(), ()>(&mut *caller, "f").unwrap();
    waiting(f.call_resumable(caller, ()).unwrap())
}

fn assert_at_rest(store: &Store<Data>) {
    let limits = store.runtime_limits();
    assert_eq!(limits.last_wasm_entry_sp, 0);
    assert_eq!((limits.last_wasm_exit_fp, limits.last_wasm_exit_pc), (0, 0));
}

/// In a host function that wasm called: the exit on the wasm stack, the entry on the host's.
fn assert_frozen((limits, host_sp): (RuntimeLimits, usize)) {
    assert_ne!(limits.last_wasm_exit_pc, 0);
    assert!(limits.last_wasm_exit_fp > limits.stack_limit);
    assert!(limits.last_wasm_exit_fp - limits.stack_limit <= 2 << 20);
    assert!(limits.last_wasm_exit_sp < limits.last_wasm_exit_fp);
    assert!(limits.last_wasm_entry_sp > host_sp);
    assert!(limits.last_wasm_entry_sp - host_sp < 1 << 20);
}

/// Resumes `bytes` further down the host's stack.
fn resume_deeper(
    store: &mut Store<Data>,
    call: TypedResumableCallHostTrap<()>,
    bytes: usize,
) -> TypedResumableCall<()> {
    let block = std::hint::black_box([0_u8; 4096]);
    let call = match bytes.checked_sub(block.len()) {
        Some(bytes) => resume_deeper(store, call, bytes),
        None => call.resume(store, &[]).unwrap(),
    };
    std::hint::black_box(&block);
    call
}

#[test]
fn a_store_with_suspended_calls_is_at_rest() {
    let (mut store, instance) = setup();
    let func = instance.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let call = waiting(func.call_resumable(&mut store, ()).unwrap());
    assert_at_rest(&store);
    let call = waiting(resume_deeper(&mut store, call, 100_000));
    assert_at_rest(&store);
    assert!(matches!(call.resume(&mut store, &[]).unwrap(), TypedResumableCall::Finished(())));
    assert_at_rest(&store);
    let seen = store.data().seen.clone();
    let [first, second, third, fourth] = seen[..] else { panic!("{seen:?}") };
    seen.iter().for_each(|seen| assert_frozen(*seen));
    // One wasm stack, and another entry each time.
    assert!(seen.iter().all(|(limits, _)| limits.stack_limit == first.0.stack_limit));
    assert_eq!(second.0.last_wasm_exit_fp, first.0.last_wasm_exit_fp, "the same frame");
    assert_ne!(second.0.last_wasm_exit_pc, first.0.last_wasm_exit_pc, "further on");
    assert!(first.0.last_wasm_entry_sp - second.0.last_wasm_entry_sp >= 100_000);
    assert_eq!(third.0.last_wasm_entry_sp, second.0.last_wasm_entry_sp, "the same entry");
    assert!(third.0.last_wasm_exit_fp < second.0.last_wasm_exit_fp, "a frame deeper");
    assert!(fourth.0.last_wasm_entry_sp > second.0.last_wasm_entry_sp);
    assert_eq!(fourth.0.last_wasm_exit_fp, third.0.last_wasm_exit_fp);
    assert_eq!(fourth.0.epoch_deadline, 100);
}

#[test]
fn a_checkpoint_suspends_to_rest_too() {
    for epoch in [false, true] {
        let (mut store, instance) = setup();
        let func = instance.get_typed_func::<(), ()>(&mut store, "spins").unwrap();
        store.epoch_deadline_suspend();
        store.set_epoch_deadline(u64::from(!epoch));
        store.set_fuel(1000).unwrap();
        let mut call = func.call_resumable(&mut store, ()).unwrap();
        for _ in 0..5 {
            assert_at_rest(&store);
            store.set_fuel(1000).unwrap();
            call = match call {
                TypedResumableCall::OutOfFuel(call) if !epoch => call.resume(&mut store).unwrap(),
                TypedResumableCall::Interrupted(call) if epoch => call.resume(&mut store).unwrap(),
                other => panic!("{other:?}"),
            };
        }
        drop(call);
        assert_at_rest(&store);
        assert_frozen(store.data().seen[0]);
    }
}

#[test]
fn an_outer_call_has_its_own_fields_back() {
    let (mut store, instance) = setup();
    let enters = instance.get_typed_func::<(), ()>(&mut store, "enters").unwrap();
    enters.call(&mut store, ()).unwrap();
    assert_at_rest(&store);
    let seen = std::mem::take(&mut store.data_mut().seen);
    // In `enters`; in the host function before it enters; in `f`; after `f` was suspended; and
    // further on in `enters`.
    let [_, before, inner, after, last] = seen[..] else { panic!("{seen:?}") };
    seen.iter().for_each(|seen| assert_frozen(*seen));
    let without_fuel = |limits: RuntimeLimits| {
        format!("{limits:?}").replace(&format!("fuel_consumed: {}", limits.fuel_consumed), "")
    };
    assert_eq!(without_fuel(after.0), without_fuel(before.0));
    assert_ne!(inner.0.stack_limit, before.0.stack_limit);
    assert!(inner.0.last_wasm_entry_sp < before.1, "below the host function that entered");
    assert_eq!(last.0.last_wasm_entry_sp, before.0.last_wasm_entry_sp);

    // Resumed inside of another one; what comes after a refusal is what was before.
    let resumes = instance.get_typed_func::<(), ()>(&mut store, "resumes").unwrap();
    resumes.call(&mut store, ()).unwrap();
    assert_at_rest(&store);
    let seen = std::mem::take(&mut store.data_mut().seen);
    let [_, before, inner, deeper, after, refused, last] = seen[..] else { panic!("{seen:?}") };
    seen.iter().for_each(|seen| assert_frozen(*seen));
    assert_eq!(without_fuel(after.0), without_fuel(before.0));
    assert_eq!(without_fuel(refused.0), without_fuel(before.0));
    assert_ne!(inner.0.stack_limit, before.0.stack_limit);
    assert_eq!(inner.0.stack_limit, deeper.0.stack_limit);
    assert!(inner.0.last_wasm_entry_sp < before.1, "the entry is the one that resumed it");
    assert_eq!(last.0.last_wasm_entry_sp, before.0.last_wasm_entry_sp);
}

#[test]
fn a_host_function_that_the_host_calls_straight() {
    let (mut store, _) = setup();
    let direct = Func::wrap(&mut store, |mut caller: Caller<'_, Data>| {
        look(&mut caller);
        let call = f(&mut caller);
        look(&mut caller);
        let call = waiting(call.resume(&mut caller, &[]).unwrap());
        look(&mut caller);
        caller.data_mut().kept.push(call);
        bail!("and waits itself") as stillframe::Result<()>
    });
    let direct = direct.typed::<(), ()>(&store).unwrap();
    let call = waiting(direct.call_resumable(&mut store, ()).unwrap());
    assert_at_rest(&store);
    let seen = std::mem::take(&mut store.data_mut().seen);
    let [before, first, between, second, third, after] = seen[..] else { panic!("{seen:?}") };
    for (limits, _) in [before, between, after] {
        assert_eq!(limits.last_wasm_entry_sp, usize::MAX);
        assert_eq!((limits.last_wasm_exit_fp, limits.last_wasm_exit_pc), (0, 0));
    }
    [first, second, third].into_iter().for_each(assert_frozen);
    let resumed = call.resume(&mut store, &[]).unwrap();
    assert!(matches!(resumed, TypedResumableCall::Finished(_)), "{resumed:?}");
    assert_at_rest(&store);
    let inner = store.data_mut().kept.pop().unwrap();
    let resumed = inner.resume(&mut store, &[]).unwrap();
    assert!(matches!(resumed, TypedResumableCall::Finished(_)), "{resumed:?}");
    assert_at_rest(&store);
}

#[test]
fn traps_errors_and_panics_of_resumed_calls_leave_the_store_at_rest() {
    let (mut store, _) = setup();
    let engine = store.engine().clone();
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $h)) (memory 1)
            (func (export "unreachable") (call $h) unreachable)
            (func (export "load") (call $h) (drop (i32.load (i32.const -4))))
            (func (export "bulk") (call $h) (memory.fill (i32.const -1) (i32.const 0) (i32.const 9)))
            (func $forever (export "overflow") (call $h) (call $over))
            (func $over (call $over))
            (func (export "panic") (call $h) (call $h)))"#,
    )
    .unwrap();
    let h = Func::wrap(&mut store, |mut caller: Caller<'_, Data>| {
        look(&mut caller);
        if caller.data().seen.len() == 2 {
            panic!("the second time");
        }
        bail!("wait") as stillframe::Result<()>
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    for name in ["unreachable", "load", "bulk", "overflow", "panic"] {
        store.data_mut().seen.clear();
        let func = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        let call = waiting(func.call_resumable(&mut store, ()).unwrap());
        let resumed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            call.resume(&mut store, &[]).map(drop).map_err(|error| error.reason().copied())
        }));
        match resumed {
            Ok(ended) => assert_eq!(ended, Err(None), "{name}"),
            Err(panic) => assert_eq!(panic.downcast_ref(), Some(&"the second time")),
        }
        assert_at_rest(&store);
        assert!(store.suspended_backtraces().is_empty());
    }
}
