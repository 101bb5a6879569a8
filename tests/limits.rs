//! `VMRuntimeLimits`: every field keeps its contract (`abi/limits.rs`), read from inside host
//! functions, nested and not, and after every kind of ending.

use std::panic::{AssertUnwindSafe, catch_unwind};
use stillframe::{
    AsContextMut, Caller, Config, Engine, Func, Instance, Linker, Module, RuntimeLimits, Store,
    Trap,
};

const FUEL: u64 = 1_000_000;

/// Entry points for every ending; `$h` is the host's probe.
const WAT: &str = r#"
(module
  (import "" "h" (func $h (param i32)))
  (memory 1)
  (func (export "finish") (param i32) local.get 0 call $h)
  (func (export "deeper") (param i32) local.get 0 call $inner)
  (func $inner (param i32) local.get 0 call $h)
  (func (export "unreachable") (param i32) local.get 0 call $h unreachable)
  (func (export "fault") (param i32) local.get 0 call $h (drop (i32.load (i32.const -4))))
  (func (export "divide") (param i32)
    local.get 0 call $h (drop (i32.div_u (i32.const 1) (i32.const 0))))
  (func (export "builtin") (param i32)
    local.get 0 call $h (memory.fill (i32.const -1) (i32.const 0) (i32.const 9)))
  (func (export "overflow") (param i32) local.get 0 call $h local.get 0 call $forever)
  (func $forever (param i32) local.get 0 call $forever)
  (func (export "spin") (param i32) local.get 0 call $h (loop br 0)))
"#;

/// What the host function is asked to do.
const LOOK: i32 = 0;
const FAIL: i32 = 1;
const PANIC: i32 = 2;
const NEST: i32 = 3;
const NEST_AND_TRAP: i32 = 4;
const CALL_HOST: i32 = 5;

/// What was seen, in order; and what the host function needs to nest.
#[derive(Default)]
struct Seen {
    limits: Vec<RuntimeLimits>,
    /// An address in each probe's frame.
    host_sp: Vec<usize>,
    instance: Option<Instance>,
    direct: Option<Func>,
}

fn probe(mut caller: Caller<'_, Seen>, action: i32) -> stillframe::Result<()> {
    look(&mut caller);
    let instance = caller.data().instance;
    let call = |caller: &mut Caller<'_, Seen>, name: &str| {
        let func = instance.unwrap().get_typed_func::<i32, ()>(caller.as_context_mut(), name)?;
        func.call(caller.as_context_mut(), LOOK)
    };
    match action {
        FAIL => stillframe::bail!("the host says no"),
        PANIC => panic!("the host panics"),
        NEST => call(&mut caller, "deeper")?,
        NEST_AND_TRAP => {
            let error = call(&mut caller, "fault").unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
        }
        CALL_HOST => {
            let direct = caller.data().direct.unwrap();
            direct.call(caller.as_context_mut(), &[], &mut [])?;
        }
        _ => return Ok(()),
    }
    look(&mut caller);
    Ok(())
}

#[inline(never)]
fn look(caller: &mut Caller<'_, Seen>) {
    let here = 0u8;
    let limits = caller.runtime_limits();
    let seen = caller.data_mut();
    seen.limits.push(limits);
    seen.host_sp.push(&raw const here as usize);
}

fn setup() -> (Engine, Store<Seen>, Instance) {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, WAT).unwrap();
    let mut store = Store::new(&engine, Seen::default());
    store.set_fuel(FUEL).unwrap();
    store.set_epoch_deadline(1);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("", "h", probe).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let direct = Func::wrap(&mut store, |mut caller: Caller<'_, Seen>| look(&mut caller));
    store.data_mut().instance = Some(instance);
    store.data_mut().direct = Some(direct);
    (engine, store, instance)
}

fn call(store: &mut Store<Seen>, instance: Instance, name: &str, arg: i32) -> Option<Trap> {
    let func = instance.get_typed_func::<i32, ()>(&mut *store, name).unwrap();
    let error = func.call(store, arg).err()?;
    Some(*error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("{error:?}")))
}

/// The fields that say where wasm is; all 0 while no call is running.
fn assert_at_rest(limits: &RuntimeLimits) {
    assert_eq!(limits.last_wasm_entry_sp, 0);
    assert_eq!(limits.last_wasm_exit_fp, 0);
    assert_eq!(limits.last_wasm_exit_pc, 0);
}

/// The contract of a frozen activation, seen from a host function that wasm called.
fn assert_frozen(limits: &RuntimeLimits, host_sp: usize) {
    assert_ne!(limits.last_wasm_exit_pc, 0);
    // The exit frame lies on the wasm stack, above its limit; the stack is at most some MiB.
    assert!(limits.last_wasm_exit_fp > limits.stack_limit);
    assert!(limits.last_wasm_exit_fp - limits.stack_limit <= 4 << 20);
    // The stub's frame lies just below the wasm frames.
    assert!(limits.last_wasm_exit_sp < limits.last_wasm_exit_fp);
    // The entry is on the host's stack, above the host function's frames and not far.
    assert!(limits.last_wasm_entry_sp > host_sp);
    assert!(limits.last_wasm_entry_sp - host_sp < 1 << 20);
}

#[test]
fn a_new_store_is_at_rest() {
    let (engine, store, _) = setup();
    let limits = store.runtime_limits();
    assert_at_rest(&limits);
    assert_eq!(limits.fuel_consumed, -(FUEL as i64));
    assert_eq!(limits.epoch_deadline, 1);
    drop(engine);
}

#[test]
fn a_host_function_sees_its_own_activation_frozen() {
    let (_, mut store, instance) = setup();
    assert_eq!(call(&mut store, instance, "finish", LOOK), None);
    assert_eq!(call(&mut store, instance, "deeper", LOOK), None);
    let seen = store.data();
    for (limits, &host_sp) in seen.limits.iter().zip(&seen.host_sp) {
        assert_frozen(limits, host_sp);
    }
    // entry 1, get call 2.
    assert_eq!(seen.limits[0].fuel_consumed, 3 - FUEL as i64);
    // Through one more function: a frame deeper on the same stack.
    assert_eq!(seen.limits[1].fuel_consumed, seen.limits[0].fuel_consumed + 6);
    assert_eq!(seen.limits[0].stack_limit, seen.limits[1].stack_limit);
    assert!(seen.limits[1].last_wasm_exit_fp < seen.limits[0].last_wasm_exit_fp);
    assert_ne!(seen.limits[1].last_wasm_exit_pc, seen.limits[0].last_wasm_exit_pc);
    assert_at_rest(&store.runtime_limits());
}

#[test]
fn a_nested_call_has_its_own_stack_and_gives_the_outer_one_back() {
    for (action, looks) in [(NEST, 3), (NEST_AND_TRAP, 3)] {
        let (_, mut store, instance) = setup();
        assert_eq!(call(&mut store, instance, "finish", action), None);
        let seen = store.data();
        assert_eq!(seen.limits.len(), looks);
        let [outer, inner, after] = seen.limits[..] else { panic!() };
        assert_frozen(&outer, seen.host_sp[0]);
        assert_frozen(&inner, seen.host_sp[1]);
        assert_ne!(inner.stack_limit, outer.stack_limit);
        // The host's stack goes down: the inner entry is below the outer host function.
        assert!(inner.last_wasm_entry_sp < seen.host_sp[0]);
        assert!(inner.last_wasm_entry_sp < outer.last_wasm_entry_sp);
        // All is as before, but for the fuel that the inner call took.
        assert!(after.fuel_consumed > outer.fuel_consumed);
        let mut after = after;
        after.fuel_consumed = outer.fuel_consumed;
        assert_eq!(after, outer);
        assert_at_rest(&store.runtime_limits());
    }
}

#[test]
fn a_host_function_that_the_host_calls_is_an_empty_run_of_frames() {
    let (_, mut store, instance) = setup();
    let direct = store.data().direct.unwrap();
    direct.call(&mut store, &[], &mut []).unwrap();
    let limits = store.data().limits[0];
    assert_eq!(limits.last_wasm_entry_sp, usize::MAX);
    assert_eq!((limits.last_wasm_exit_fp, limits.last_wasm_exit_pc), (0, 0));
    assert_at_rest(&store.runtime_limits());
    // Also from inside of wasm.
    store.data_mut().limits.clear();
    assert_eq!(call(&mut store, instance, "finish", CALL_HOST), None);
    let [outer, direct, after] = store.data().limits[..] else { panic!() };
    assert_eq!(direct.last_wasm_entry_sp, usize::MAX);
    assert_eq!((direct.last_wasm_exit_fp, direct.last_wasm_exit_pc), (0, 0));
    assert_eq!(after, outer);
    assert_at_rest(&store.runtime_limits());
}

#[test]
fn every_ending_leaves_the_store_at_rest_and_usable() {
    let (engine, mut store, instance) = setup();
    let rest = store.runtime_limits();
    let check = |store: &mut Store<Seen>, what: &str| {
        let limits = store.runtime_limits();
        assert_at_rest(&limits);
        assert_eq!(limits.epoch_deadline, rest.epoch_deadline, "{what}");
        store.set_fuel(FUEL).unwrap();
        let before = store.data().limits.len();
        assert_eq!(call(store, instance, "finish", LOOK), None, "{what}");
        let seen = store.data();
        assert_frozen(&seen.limits[before], seen.host_sp[before]);
        assert_eq!(seen.limits[before].fuel_consumed, 3 - FUEL as i64, "{what}");
        store.set_fuel(FUEL).unwrap();
    };
    for (name, trap) in [
        ("unreachable", Trap::UnreachableCodeReached),
        ("fault", Trap::MemoryOutOfBounds),
        ("divide", Trap::IntegerDivisionByZero),
        ("builtin", Trap::MemoryOutOfBounds),
        ("overflow", Trap::StackOverflow),
        ("spin", Trap::OutOfFuel),
    ] {
        assert_eq!(call(&mut store, instance, name, LOOK), Some(trap));
        check(&mut store, name);
    }

    let finish = instance.get_typed_func::<i32, ()>(&mut store, "finish").unwrap();
    let error = finish.call(&mut store, FAIL).unwrap_err();
    assert!(format!("{error:?}").contains("the host says no"));
    check(&mut store, "host error");

    let panic = catch_unwind(AssertUnwindSafe(|| finish.call(&mut store, PANIC))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the host panics"));
    check(&mut store, "host panic");

    let direct = Func::wrap(&mut store, || -> () { panic!("straight") });
    let panic = catch_unwind(AssertUnwindSafe(|| direct.call(&mut store, &[], &mut [])));
    assert!(panic.is_err());
    check(&mut store, "panic of a host function that the host called");

    engine.increment_epoch();
    assert_eq!(call(&mut store, instance, "spin", LOOK), Some(Trap::Interrupt));
    store.set_epoch_deadline(1);
    let limits = store.runtime_limits();
    assert_at_rest(&limits);
    assert_eq!(limits.epoch_deadline, 2);
}

#[test]
fn the_deadline_and_the_fuel_that_a_host_function_sets_are_seen_by_wasm() {
    let (_, mut store, _) = setup();
    let spin = Func::wrap(&mut store, |mut caller: Caller<'_, Seen>| {
        caller.set_fuel(5).unwrap();
        let limits = caller.runtime_limits();
        assert_eq!(limits.fuel_consumed, -5);
    });
    let engine = store.engine().clone();
    let module = Module::new(
        &engine,
        "(module (import \"\" \"\" (func $h)) (func (export \"f\") call $h (loop br 0)))",
    )
    .unwrap();
    let other = Instance::new(&mut store, &module, &[spin.into()]).unwrap();
    let f = other.get_typed_func::<(), ()>(&mut store, "f").unwrap();
    let error = f.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::OutOfFuel));
    assert_eq!(store.runtime_limits().fuel_consumed, 0);
}
