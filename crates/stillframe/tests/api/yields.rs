//! When asynchronous calls yield: at intervals of fuel, and at epoch deadlines.

use crate::asynchronous::block_on;
use crate::text;
use stillframe::{
    Caller, Config, Engine, Instance, Linker, Module, OperatorCosts, Store, Trap, TypedFunc,
    TypedResumableCall, UpdateDeadline, WasmBacktrace,
};

/// Counts up to its parameter.
const COUNT: &str = r#"
    (module (func (export "count") (param i32) (result i32) (local i32)
        (loop $again
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get 1) (local.get 0))))
        (local.get 1)))
"#;
/// Entering; four operators of the addition and four of the branch in each turn; `local.get`.
const COUNT_FUEL: fn(u64) -> u64 = |turns| 1 + 8 * turns + 1;

pub(crate) fn counting(config: &mut Config) -> (Store<u64>, TypedFunc<i32, i32>) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, COUNT).unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let count = instance.get_typed_func(&mut store, "count").unwrap();
    (store, count)
}

#[test]
fn fuel_yields_at_each_interval_and_costs_the_same() {
    // With epochs too, fuel is given out in pieces of its own.
    let intervals = [1, 7, 8, 9, 100, 1000, 1_000_000];
    for (interval, epochs) in intervals.map(|i| [(i, false), (i, true)]).concat() {
        let (mut store, count) =
            counting(Config::new().consume_fuel(true).epoch_interruption(epochs));
        store.set_epoch_deadline(1);
        store.fuel_async_yield_interval(Some(interval)).unwrap();
        store.set_fuel(10_000).unwrap();
        assert_eq!(store.get_fuel().unwrap(), 10_000);
        let (counted, pending) = block_on(count.call_async(&mut store, 500));
        assert_eq!(counted.unwrap(), 500);
        assert_eq!(10_000 - store.get_fuel().unwrap(), COUNT_FUEL(500));
        // By hand: a checkpoint at the function's entry and one in each turn. It goes on if a unit
        // is in hand; else it yields, and an interval is in hand.
        let (mut in_hand, mut yields) = (interval as i64, 0);
        for cost in std::iter::once(1).chain([8; 500]) {
            if in_hand < 1 {
                (in_hand, yields) = (interval as i64, yields + 1);
            }
            in_hand -= cost;
        }
        assert_eq!(pending, yields, "an interval of {interval}");
    }
}

/// How often a guest yields at each 200,000 units, where fuel is given out in smaller slices, to see
/// epochs, and where it is not.
fn yields_with_and_without_epochs(
    costs: &OperatorCosts,
    name: &str,
    argument: i32,
    leaves: usize,
) -> [usize; 2] {
    const GUEST: &str = r#"(module
        (memory 16)
        (func (export "leaf") (param i32) (drop (i32.add (local.get 0) (i32.const 1))))
        (func $count (export "count") (param i32)
            (loop $again
                (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                (br_if $again (local.get 0))))
        (func (export "fill") (param i32)
            (call $count (local.get 0))
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 180000))))"#;
    [false, true].map(|epochs| {
        let mut config = Config::new();
        config.consume_fuel(true).epoch_interruption(epochs).operator_costs(costs.clone());
        let engine = Engine::new(&config).unwrap();
        let module = Module::new(&engine, GUEST).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let mut func = |name| instance.get_typed_func::<i32, ()>(&mut store, name).unwrap();
        let (leaf, run) = (func("leaf"), func(name));
        store.set_fuel(1 << 40).unwrap();
        // Past the deadline, these take what they consume from a slice that is empty.
        (0..leaves).for_each(|i| leaf.call(&mut store, i as i32).unwrap());
        store.set_epoch_deadline(1);
        store.fuel_async_yield_interval(Some(200_000)).unwrap();
        let (done, pending) = block_on(run.call_async(&mut store, argument));
        done.unwrap();
        pending as usize
    })
}

#[test]
fn yields_are_where_they_are_without_epochs() {
    let costs = OperatorCosts::default();
    // 6 units a round: at 200,000 and 400,000; the end is at 600,001, the last checkpoint before.
    assert_eq!(yields_with_and_without_epochs(&costs, "count", 100_000, 0), [2, 2]);
    assert_eq!(yields_with_and_without_epochs(&costs, "count", 100_000, 1000), [2, 2]);
    // 60,000 and the bytes are less than 200,000 by themselves, and more together.
    assert_eq!(yields_with_and_without_epochs(&costs, "fill", 10_000, 0), [1, 1]);
    // Three rounds of 70,000 pass an interval: each leaves a slice overdrawn.
    let mut costs = OperatorCosts::default();
    costs.set("i32.sub", 70_000 - 5).unwrap();
    assert_eq!(yields_with_and_without_epochs(&costs, "count", 1000, 0), [333, 333]);
}

#[test]
fn running_out_of_fuel_is_an_error_after_the_last_yield() {
    let (mut store, count) = counting(Config::new().consume_fuel(true));
    store.fuel_async_yield_interval(Some(100)).unwrap();
    store.set_fuel(1000).unwrap();
    let (counted, pending) = block_on(count.call_async(&mut store, 500));
    let error = counted.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
    assert!(error.is::<WasmBacktrace>());
    assert!((8..=9).contains(&pending), "{pending}");
    assert_eq!(store.get_fuel().unwrap(), 0);
    assert!(text(store.fuel_async_yield_interval(Some(0))).contains("0 units"));
    // Without the interval it does not yield; nor do other calls with one.
    store.set_fuel(10_000).unwrap();
    assert_eq!(count.call(&mut store, 500).unwrap(), 500);
    store.fuel_async_yield_interval(None).unwrap();
    let (counted, pending) = block_on(count.call_async(&mut store, 500));
    assert_eq!((counted.unwrap(), pending), (500, 0));
    assert_eq!(store.get_fuel().unwrap(), 10_000 - 2 * COUNT_FUEL(500));
}

#[test]
fn epochs_yield() {
    let (mut store, count) = counting(Config::new().epoch_interruption(true));
    // The deadline has passed and stays: each checkpoint yields, one at each turn.
    store.epoch_deadline_suspend();
    let (counted, pending) = block_on(count.call_async(&mut store, 10));
    // The function's entry is a checkpoint too.
    assert_eq!((counted.unwrap(), pending), (10, 11));
    // With a new deadline each time it yields once.
    store.epoch_deadline_async_yield_and_update(1);
    let (counted, pending) = block_on(count.call_async(&mut store, 10));
    assert_eq!((counted.unwrap(), pending), (10, 1));
    // The callback can say so too.
    store.set_epoch_deadline(0);
    store.epoch_deadline_callback(|mut store| {
        *store.data_mut() += 1;
        Ok(match *store.data() {
            1..=3 => UpdateDeadline::Yield(0),
            4 => UpdateDeadline::Continue(0),
            _ => UpdateDeadline::Yield(1),
        })
    });
    let (counted, pending) = block_on(count.call_async(&mut store, 10));
    assert_eq!((counted.unwrap(), pending, *store.data()), (10, 4, 5));
    // A plain call cannot yield.
    store.set_epoch_deadline(0);
    let error = count.call(&mut store, 10).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
    // A trap stays one.
    store.set_epoch_deadline(0);
    store.epoch_deadline_trap();
    let error = block_on(count.call_async(&mut store, 10)).0.unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
}

#[test]
fn a_host_function_that_sets_or_adds_fuel_does_not_put_off_the_yields() {
    let set = |store: &mut Caller<'_, ()>| store.set_fuel(1000).unwrap();
    let add = |store: &mut Caller<'_, ()>| store.add_fuel(7).unwrap();
    let top_ups: [fn(&mut Caller<'_, ()>); 2] = [set, add];
    for top_up in top_ups {
        let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
        let wat = r#"(module
            (import "host" "top_up" (func $top_up))
            (func (export "run") (param i32)
                (loop $again
                    (call $top_up)
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br_if $again (local.get 0)))))"#;
        let module = Module::new(&engine, wat).unwrap();
        let mut linker = Linker::new(&engine);
        let host = move |mut caller: Caller<'_, ()>| top_up(&mut caller);
        linker.func_wrap("host", "top_up", host).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
        store.fuel_async_yield_interval(Some(70)).unwrap();
        store.set_fuel(1000).unwrap();
        let (done, pending) = block_on(run.call_async(&mut store, 1000));
        done.unwrap();
        // 7 operators a turn: 7000 units, and a yield at each 70 of them but for the last.
        assert!((99..=100).contains(&pending), "{pending}");
    }
}

/// `count`, and `line`, which has no checkpoint and consumes 601 units.
fn counting_and_a_line(epochs: bool) -> (Store<()>, TypedFunc<i32, i32>, TypedFunc<(), ()>) {
    let line = "i32.eqz ".repeat(599);
    let count = COUNT.trim().strip_suffix(')').unwrap();
    let wat = format!("{count} (func (export \"line\") i32.const 0 {line} drop))");
    let mut config = Config::new();
    let engine = Engine::new(config.consume_fuel(true).epoch_interruption(epochs)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let count = instance.get_typed_func(&mut store, "count").unwrap();
    let line = instance.get_typed_func(&mut store, "line").unwrap();
    (store, count, line)
}

#[test]
fn what_was_overdrawn_counts_for_the_yields_whoever_pays_it() {
    /// Pays what was overdrawn by 501.
    type Pay = fn(&mut Store<()>, &TypedFunc<i32, i32>);
    let pays: [Pay; 4] = [
        |store, _| store.add_fuel(501).unwrap(),
        |store, _| {
            store.add_fuel(400).unwrap();
            store.add_fuel(101).unwrap();
        },
        |store, _| store.set_fuel(0).unwrap(),
        // Taken over by a call that is suspended at its first checkpoint, and dropped with it.
        |store, count| {
            let call = count.call_resumable(&mut *store, 1).unwrap();
            assert!(matches!(call, TypedResumableCall::OutOfFuel(call) if call.overdraft() == 501));
        },
    ];
    for (way, pay) in pays.into_iter().enumerate() {
        let (mut store, count, line) = counting_and_a_line(false);
        store.fuel_async_yield_interval(Some(1000)).unwrap();
        store.set_fuel(100).unwrap();
        line.call(&mut store, ()).unwrap();
        assert_eq!((store.get_fuel().unwrap(), store.fuel_consumed().unwrap()), (0, 601));
        pay(&mut store, &count);
        store.set_fuel(10_000).unwrap();
        // 399 units are left until the first yield, at a checkpoint at 1, 9, ... of this call.
        let (counted, pending) = block_on(count.call_async(&mut store, 49));
        assert_eq!((counted.unwrap(), pending, COUNT_FUEL(49)), (49, 0, 394), "{way}");
        let (counted, pending) = block_on(count.call_async(&mut store, 2));
        assert_eq!((counted.unwrap(), pending), (2, 1), "{way}");
    }
}

#[test]
fn what_the_reserve_pays_of_an_overdraft_counts_for_the_yields() {
    for paid in [0, 100, 502, 503, 504] {
        let (mut store, count, line) = counting_and_a_line(true);
        store.fuel_async_yield_interval(Some(3 * 601 + 399)).unwrap();
        store.set_fuel(1300).unwrap();
        // Past the deadline all of it is in the reserve while they run.
        store.set_epoch_deadline(0);
        (0..3).for_each(|_| line.call(&mut store, ()).unwrap());
        assert_eq!((store.get_fuel().unwrap(), store.fuel_consumed().unwrap()), (0, 1803));
        store.set_epoch_deadline(1);
        store.add_fuel(paid).unwrap();
        store.set_fuel(10_000).unwrap();
        // 399 units are left until the first yield, as above.
        let (counted, pending) = block_on(count.call_async(&mut store, 49));
        assert_eq!((counted.unwrap(), pending), (49, 0), "{paid}");
        let (counted, pending) = block_on(count.call_async(&mut store, 2));
        assert_eq!((counted.unwrap(), pending), (2, 1), "{paid}");
    }
}

#[test]
fn what_is_overdrawn_beyond_all_limits_counts_for_the_yields() {
    let mut costs = OperatorCosts::default();
    costs.set("i64.clz", u32::MAX).unwrap();
    // Without a checkpoint: what a store can owe is reached in a million calls.
    let line = "i64.clz ".repeat(900);
    let wat = format!(
        r#"(module
            (func (export "line") i64.const 0 {line} drop)
            (func (export "stop") (loop)))"#
    );
    let engine = Engine::new(Config::new().consume_fuel(true).operator_costs(costs)).unwrap();
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let line = instance.get_typed_func::<(), ()>(&mut store, "line").unwrap();
    let stop = instance.get_typed_func::<(), ()>(&mut store, "stop").unwrap();
    let each = 900 * u64::from(u32::MAX) + 2;
    let most = 1 << 62;
    let calls = most / each + 2;
    let interval = calls * each + 10;
    store.fuel_async_yield_interval(Some(interval)).unwrap();
    (0..calls).for_each(|_| line.call(&mut store, ()).unwrap());
    assert_eq!(store.fuel_consumed().unwrap(), calls * each);
    // The limit is looked at when wasm is entered.
    store.add_fuel(most + each + 1000).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 1000);
    // 1 for the entry, and a checkpoint there and at the loop: 10 units are left of the interval.
    for round in 0..20 {
        let (done, pending) = block_on(stop.call_async(&mut store, ()));
        done.unwrap();
        assert_eq!(pending, u32::from(round == 9), "{round}");
    }
}
