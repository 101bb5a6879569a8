//! Fuel and epochs, as the API gives them.

use crate::text;
use stillframe::{
    Caller, Config, Engine, Instance, Linker, Module, OperatorCosts, Store, Trap, UpdateDeadline,
    bail,
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
