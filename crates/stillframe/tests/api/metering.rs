//! Fuel and epochs, as the API gives them.

use crate::text;
use stillframe::{
    Caller, Config, Engine, Instance, Linker, Module, OperatorCosts, ResourceLimiter, Store, Trap,
    TypedResumableCall, UpdateDeadline, bail,
};

const SPIN: &str = r#"
    (module
        (import "host" "f" (func $f))
        (func (export "call") (call $f))
        (func (export "spin") (loop $again (br $again)))
        (func (export "count") (param i32)
            (loop $again
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $again (local.get 0)))))
"#;

fn metered(config: &mut Config, f: fn(Caller<'_, u64>)) -> (Store<u64>, Instance) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, SPIN).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "f", f).unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

fn call(store: &mut Store<u64>, instance: Instance, name: &str) -> stillframe::Result<()> {
    instance.get_typed_func::<(), ()>(&mut *store, name)?.call(store, ())
}

#[test]
fn a_store_without_fuel_traps_and_goes_on_when_it_has_some() {
    let (mut store, instance) = metered(Config::new().consume_fuel(true), |_| ());
    assert_eq!(store.get_fuel().unwrap(), 0);
    let count = instance.get_typed_func::<i32, ()>(&mut store, "count").unwrap();
    let error = count.call(&mut store, 10).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    store.set_fuel(1000).unwrap();
    count.call(&mut store, 10).unwrap();
    let consumed = 1000 - store.get_fuel().unwrap();
    // Entering, and 6 operators that cost 1 in each turn.
    assert_eq!(consumed, 1 + 10 * 6);
    // Exactly as much is enough to finish.
    store.set_fuel(consumed).unwrap();
    count.call(&mut store, 10).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 0);
}

#[test]
fn more_fuel_than_a_signed_number_holds_is_kept() {
    let (mut store, instance) = metered(Config::new().consume_fuel(true), |_| ());
    store.set_fuel(u64::MAX).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX);
    let count = instance.get_typed_func::<i32, ()>(&mut store, "count").unwrap();
    count.call(&mut store, 10).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 61);
}

#[test]
fn host_functions_see_and_set_the_fuel_of_the_running_call() {
    let (mut store, instance) = metered(Config::new().consume_fuel(true), |mut caller| {
        *caller.data_mut() = caller.get_fuel().unwrap();
        caller.set_fuel(7).unwrap();
    });
    store.set_fuel(100).unwrap();
    call(&mut store, instance, "call").unwrap();
    // Entering `call`, and the call.
    assert_eq!(*store.data(), 98);
    assert_eq!(store.get_fuel().unwrap(), 7);
}

#[test]
fn operator_costs_replace_the_default() {
    let mut costs = OperatorCosts::free();
    costs.set("i32.sub", 100).unwrap();
    let mut config = Config::new();
    let (mut store, instance) = metered(config.consume_fuel(true).operator_costs(costs), |_| ());
    store.set_fuel(1001).unwrap();
    let count = instance.get_typed_func::<i32, ()>(&mut store, "count").unwrap();
    count.call(&mut store, 10).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 1);
}

#[test]
fn fuel_of_an_engine_that_does_not_count_it_is_an_error() {
    let (mut store, _) = metered(&mut Config::new(), |_| ());
    assert!(text(store.set_fuel(1)).contains("Config::consume_fuel"));
    assert!(text(store.get_fuel()).contains("Config::consume_fuel"));
}

#[test]
fn the_epoch_deadline_interrupts_and_can_be_set_again() {
    let (mut store, instance) = metered(Config::new().epoch_interruption(true), |_| ());
    let engine = store.engine().clone();
    // A new store's deadline has passed.
    let error = call(&mut store, instance, "spin").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    store.set_epoch_deadline(2);
    call(&mut store, instance, "call").unwrap();
    engine.increment_epoch();
    call(&mut store, instance, "call").unwrap();
    engine.increment_epoch();
    let error = call(&mut store, instance, "call").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    store.set_epoch_deadline(1);
    call(&mut store, instance, "call").unwrap();
}

#[test]
fn a_host_function_can_move_the_epoch_on_and_set_the_deadline() {
    let (mut store, instance) = metered(Config::new().epoch_interruption(true), |mut caller| {
        caller.engine().increment_epoch();
        caller.set_epoch_deadline(1);
    });
    store.set_epoch_deadline(1);
    for _ in 0..3 {
        call(&mut store, instance, "call").unwrap();
    }
}

#[test]
fn the_epoch_callback_extends_interrupts_or_fails() {
    let (mut store, instance) = metered(Config::new().epoch_interruption(true), |_| ());
    store.epoch_deadline_callback(|mut store| {
        *store.data_mut() += 1;
        match *store.data() {
            // A deadline that has passed already: the next checkpoint asks again.
            1..10 => Ok(UpdateDeadline::Continue(0)),
            10 => Ok(UpdateDeadline::Interrupt),
            n => bail!("asked {n} times"),
        }
    });
    let error = call(&mut store, instance, "spin").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    assert_eq!(*store.data(), 10);
    let error = call(&mut store, instance, "spin").unwrap_err();
    assert_eq!(error.root_cause().to_string(), "asked 11 times");
    store.epoch_deadline_trap();
    let error = call(&mut store, instance, "spin").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    assert_eq!(*store.data(), 11);
}

#[test]
fn fuel_and_epochs_work_together() {
    let mut config = Config::new();
    let (mut store, instance) = metered(config.consume_fuel(true).epoch_interruption(true), |_| ());
    store.set_fuel(1000).unwrap();
    let error = call(&mut store, instance, "spin").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    store.set_epoch_deadline(1);
    let error = call(&mut store, instance, "spin").unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
}

#[test]
fn a_weak_engine_can_be_upgraded_while_the_engine_lives() {
    let engine = Engine::default();
    let weak = engine.weak();
    assert!(Engine::same(&weak.upgrade().unwrap(), &engine));
    drop(engine);
    assert!(weak.upgrade().is_none());
}

/// Runs `run` of this module with one unit of fuel; what it has consumed when it trapped.
fn consumed_on_one_unit(wat: &str) -> u64 {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat).unwrap(), &[]).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    store.set_fuel(1).unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    assert_eq!(store.get_fuel().unwrap(), 0);
    store.fuel_consumed().unwrap()
}

#[test]
fn code_without_loops_cannot_overdraw_without_end() {
    // Each costs a unit, and is a `const` and a `drop`.
    let units = |n: usize| "(drop (i32.const 1))".repeat(n);
    let calls = "(call $leaf)".repeat(1000);
    let of_leaf = |leaf: usize| {
        format!(r#"(module (func $leaf {}) (func (export "run") {calls}))"#, units(leaf))
    };
    // A function that is long: it stops in itself, every 1000 operators.
    let consumed = consumed_on_one_unit(&of_leaf(100_000));
    assert!(consumed <= 2 + 1000, "{consumed}");
    // One of 800 operators, without a checkpoint: it stops behind the eighth call or so.
    let consumed = consumed_on_one_unit(&of_leaf(400));
    assert!((7 * 400..10 * 402).contains(&(consumed as usize)), "{consumed}");
    // In constructs one of whose ways passes no checkpoint.
    let skipped = format!("(if (i32.const 0) (then {}))", units(600)).repeat(100);
    let wat = format!(r#"(module (func (export "run") {skipped} {}))"#, units(100));
    let consumed = consumed_on_one_unit(&wat);
    assert!(consumed <= 1000, "{consumed}");
    // On the way back of a recursion, which has stopped nobody on its way in.
    let wat = format!(
        r#"(module (func $f (export "run") (call $g (i32.const 100)))
            (func $g (param i32)
                (if (local.get 0) (then (call $g (i32.sub (local.get 0) (i32.const 1)))))
                {}))"#,
        units(50_000)
    );
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat).unwrap(), &[]).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    // Enough for the way in: entering, a test, a subtraction and a call at each level.
    store.set_fuel(1000).unwrap();
    run.call(&mut store, ()).unwrap_err();
    let consumed = store.fuel_consumed().unwrap();
    assert!(consumed <= 1000 + 1000, "{consumed}");
}

#[test]
fn what_was_consumed_is_known_whatever_was_set_and_added() {
    let (mut store, instance) = metered(Config::new().consume_fuel(true), |_| ());
    let count = instance.get_typed_func::<i32, ()>(&mut store, "count").unwrap();
    let mut expected = 0;
    // One for entering, 6 for each turn; a new turn is begun while a unit is left.
    for (fuel, turns, consumed) in [(1000, 10, 61), (61, 10, 61), (8, 10, 13), (0, 10, 0)] {
        store.set_fuel(fuel).unwrap();
        let ended = count.call(&mut store, turns);
        assert_eq!(ended.is_ok(), consumed == 61);
        expected += consumed;
        assert_eq!(store.fuel_consumed().unwrap(), expected);
        store.add_fuel(u64::MAX).unwrap();
        store.add_fuel(5).unwrap();
        store.set_fuel(u64::MAX).unwrap();
        store.set_fuel(3).unwrap();
        store.fuel_async_yield_interval(Some(2)).unwrap();
        store.fuel_async_yield_interval(None).unwrap();
        assert_eq!((store.get_fuel().unwrap(), store.fuel_consumed().unwrap()), (3, expected));
    }
    // An overdraft of 5 is paid by what is added.
    store.set_fuel(8).unwrap();
    count.call(&mut store, 10).unwrap_err();
    store.add_fuel(3).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 0);
    store.add_fuel(3).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 1);
    assert_eq!(store.fuel_consumed().unwrap(), expected + 13);
    assert!(text(metered(&mut Config::new(), |_| ()).0.fuel_consumed()).contains("consume_fuel"));
}

#[test]
fn calls_that_meet_no_checkpoint_cannot_make_fuel_of_their_debts() {
    let mut costs = OperatorCosts::default();
    costs.set("i32.add", u32::MAX).unwrap();
    let engine = Engine::new(Config::new().consume_fuel(true).operator_costs(costs)).unwrap();
    let adds = "(local.set 0 (i32.add (local.get 0) (i32.const 1)))".repeat(240);
    let wat = format!(
        r#"(module (func (export "leaf") (param i32) {adds}) (func (export "loop") (loop)))"#
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat).unwrap(), &[]).unwrap();
    let leaf = instance.get_typed_func::<i32, ()>(&mut store, "leaf").unwrap();
    let each = 1 + 240 * (u64::from(u32::MAX) + 3);
    // Twice what an `i64` can count.
    let calls = u64::MAX / each + 10;
    for _ in 0..calls {
        leaf.call(&mut store, 0).unwrap();
    }
    assert_eq!(store.get_fuel().unwrap(), 0);
    assert_eq!(store.fuel_consumed().unwrap(), each.wrapping_mul(calls));
    let error = instance.get_typed_func::<(), ()>(&mut store, "loop").unwrap();
    let error = error.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    // What a store can owe is less than what can be added.
    store.add_fuel(1 << 63).unwrap();
    assert!(store.get_fuel().unwrap() > 0);
}

#[test]
fn a_deadline_is_seen_however_small_the_pieces_of_fuel_are() {
    let mut config = Config::new();
    let (mut store, instance) = metered(config.consume_fuel(true).epoch_interruption(true), |_| ());
    let engine = store.engine().clone();
    let spin = instance.get_typed_func::<(), ()>(&mut store, "spin").unwrap();
    for action in 0..3 {
        store.set_epoch_deadline(1);
        match action {
            0 => store.epoch_deadline_trap(),
            1 => store.epoch_deadline_suspend(),
            _ => store.epoch_deadline_callback(|store| {
                // The callback sees where the call stands.
                assert_eq!(stillframe::WasmBacktrace::capture(&store).frames().len(), 1);
                Ok(UpdateDeadline::Yield(100))
            }),
        }
        store.set_fuel(0).unwrap();
        let mut call = spin.call_resumable(&mut store, ()).unwrap();
        for _ in 0..10 {
            let TypedResumableCall::OutOfFuel(stopped) = call else { panic!("{call:?}") };
            store.set_fuel(stopped.required_fuel()).unwrap();
            call = stopped.resume(&mut store).unwrap();
        }
        engine.increment_epoch();
        let TypedResumableCall::OutOfFuel(stopped) = call else { panic!("{call:?}") };
        store.set_fuel(stopped.required_fuel()).unwrap();
        match (stopped.resume(&mut store), action) {
            (Err(error), 0) => {
                let error = error.into_error();
                assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
                assert!(error.is::<stillframe::WasmBacktrace>());
            }
            (Ok(TypedResumableCall::Interrupted(stopped)), 1 | 2) => {
                // It had the fuel that it needs, and needs no more; it goes on.
                let next = stopped.resume(&mut store).unwrap();
                assert!(matches!(next, TypedResumableCall::OutOfFuel(_)), "{next:?}");
            }
            (other, _) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_callback_that_takes_the_fuel_away_is_not_outrun() {
    const FILL: &str = r#"(module (memory 16) (func (export "fill") (param i32)
        (memory.fill (i32.const 0) (i32.const 1) (local.get 0))))"#;
    let engine = Engine::new(Config::new().consume_fuel(true).epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, FILL).unwrap();
    let mut store = Store::new(&engine, ());
    store.epoch_deadline_callback(|mut store| {
        store.set_fuel(5)?;
        Ok(UpdateDeadline::Continue(1))
    });
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let fill = instance.get_typed_func::<i32, ()>(&mut store, "fill").unwrap();
    // The deadline has passed: the callback is asked where the bytes are about to be paid.
    store.set_fuel(1 << 20).unwrap();
    let error = fill.call(&mut store, 1_000_000).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    // Entering, and three operands.
    assert_eq!((store.get_fuel().unwrap(), store.fuel_consumed().unwrap()), (5, 4));
    // And the same where a call is resumed.
    store.set_epoch_deadline(1);
    store.set_fuel(4).unwrap();
    let call = fill.call_resumable(&mut store, 1_000_000).unwrap();
    let TypedResumableCall::OutOfFuel(call) = call else { panic!("{call:?}") };
    engine.increment_epoch();
    store.set_fuel(call.required_fuel()).unwrap();
    let call = call.resume(&mut store).unwrap();
    let TypedResumableCall::OutOfFuel(call) = call else { panic!("{call:?}") };
    assert_eq!((call.required_fuel(), call.overdraft()), (1_000_000, 0));
    assert_eq!((store.get_fuel().unwrap(), store.fuel_consumed().unwrap()), (5, 8));
}

/// Increments the epoch whenever a memory grows: where wasm does not look.
struct Ticker(Engine);

impl ResourceLimiter for Ticker {
    fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> stillframe::Result<bool> {
        self.0.increment_epoch();
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> stillframe::Result<bool> {
        Ok(true)
    }
}

/// What a loop executes that starts just when the deadline is reached.
fn consumed_beyond_the_deadline(costs: OperatorCosts) -> u64 {
    const GROW: &str = r#"(module (memory 1) (func (export "run")
        (drop (memory.grow (i32.const 1)))
        (loop $again (br $again))))"#;
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).operator_costs(costs);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(&engine, GROW).unwrap();
    let mut store = Store::new(&engine, Ticker(engine.clone()));
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    store.limiter(|ticker| ticker);
    store.set_fuel(u64::MAX).unwrap();
    store.set_epoch_deadline(1);
    let error = run.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - store.fuel_consumed().unwrap());
    store.fuel_consumed().unwrap()
}

#[test]
fn where_fuel_is_counted_a_deadline_is_seen_within_a_hundred_thousand_units() {
    // Entering, a constant and growing the memory were charged before.
    let consumed = consumed_beyond_the_deadline(OperatorCosts::default());
    assert!((100_000..100_010).contains(&consumed), "{consumed}");
    let mut costs = OperatorCosts::default();
    costs.set("br", 7).unwrap();
    let consumed = consumed_beyond_the_deadline(costs);
    assert!((100_000..100_010).contains(&consumed), "{consumed}");
}

#[test]
fn code_that_is_free_sees_the_deadline_at_once() {
    assert_eq!(consumed_beyond_the_deadline(OperatorCosts::free()), 0);
    for free in ["br", "throw_ref", "memory.fill per byte", "i32.div_u"] {
        let mut costs = OperatorCosts::default();
        costs.set(free, 0).unwrap();
        assert_eq!(consumed_beyond_the_deadline(costs), 3, "{free}");
    }
}

#[test]
fn a_deadline_in_the_past_is_seen_at_every_way_back_into_wasm() {
    const LOOK: &str = r#"(module
        (import "host" "f" (func $f))
        (func (export "run") (call $f) (loop)))"#;
    let engine = Engine::new(Config::new().consume_fuel(true).epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, LOOK).unwrap();
    let mut linker = Linker::new(&engine);
    let f = |mut caller: Caller<'_, u64>| {
        *caller.data_mut() += 1;
        caller.engine().increment_epoch();
    };
    linker.func_wrap("host", "f", f).unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    store.set_fuel(1000).unwrap();
    store.epoch_deadline_suspend();
    // At the entry; the host function is not called. Then at its own checkpoint, and at the loop
    // behind it.
    let mut call = run.call_resumable(&mut store, ()).unwrap();
    for (calls, consumed) in [(0, 0), (0, 2), (1, 2)] {
        let TypedResumableCall::Interrupted(stopped) = call else { panic!("{call:?}") };
        assert_eq!((*store.data(), store.fuel_consumed().unwrap()), (calls, consumed));
        assert_eq!(store.get_fuel().unwrap(), 1000 - consumed);
        call = stopped.resume(&mut store).unwrap();
    }
    assert!(matches!(call, TypedResumableCall::Finished(())), "{call:?}");
    // The host function's own increment: seen at the loop, not before.
    store.set_epoch_deadline(1);
    let call = run.call_resumable(&mut store, ()).unwrap();
    let TypedResumableCall::Interrupted(stopped) = call else { panic!("{call:?}") };
    assert_eq!((*store.data(), store.fuel_consumed().unwrap()), (2, 4));
    let call = stopped.resume(&mut store).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(())), "{call:?}");
}

#[test]
fn fuel_beyond_the_largest_number_is_not_lost_where_a_slice_is_overdrawn() {
    const LEAF: &str = r#"(module (func (export "leaf") (param i32) (result i32)
        (i32.add (local.get 0) (i32.const 1))))"#;
    let engine = Engine::new(Config::new().consume_fuel(true).epoch_interruption(true)).unwrap();
    let module = Module::new(&engine, LEAF).unwrap();
    // The deadline of a new store has passed: nothing is in hand, and a leaf does not stop.
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let leaf = instance.get_typed_func::<i32, i32>(&mut store, "leaf").unwrap();
    store.set_fuel(u64::MAX).unwrap();
    leaf.call(&mut store, 1).unwrap();
    // Entering, two operands, the sum.
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 4);
    assert_eq!(store.runtime_limits().fuel_consumed, i64::MIN);
    store.add_fuel(2).unwrap();
    assert_eq!(store.get_fuel().unwrap(), u64::MAX - 2);
    store.add_fuel(u64::MAX).unwrap();
    assert_eq!((store.get_fuel().unwrap(), store.fuel_consumed().unwrap()), (u64::MAX, 4));
}
