//! Fuel that was lost, forgotten or taken twice.

use super::common::{PLENTY, alone, call, guest, metered, module, trap_of};
use std::sync::Arc;
use std::sync::Mutex;
use stillframe::{
    Caller, Config, Engine, Extern, Func, Instance, OperatorCosts, ResumableCall, Store, Trap, Val,
};

/// Does each operation once that shows in the guest or the host if it is done twice: growth counts,
/// a copy onto itself shifts, the host counts its calls. No length is a constant: each is tested.
const ONCE: &str = r#"
(module
  (import "" "h" (func $h))
  (table $t (export "t") 40 1000 externref)
  (memory (export "m") 1 100)
  (data $d "abcdefghijklmnop")
  (elem $e externref (ref.null extern) (ref.null extern))
  (func (export "f") (param $null externref) (param $zero i32) (result i32 i32)
    (memory.init $d (i32.const 8) (i32.const 0) (i32.or (i32.const 16) (local.get $zero)))
    (memory.copy (i32.const 9) (i32.const 8) (i32.or (i32.const 200) (local.get $zero)))
    (drop (memory.grow (i32.or (i32.const 3) (local.get $zero))))
    (call $h)
    (drop (table.grow $t (local.get $null) (i32.or (i32.const 7) (local.get $zero))))
    (table.copy $t $t (i32.const 1) (i32.const 0) (i32.or (i32.const 30) (local.get $zero)))
    (table.init $t $e (i32.const 0) (i32.const 0) (i32.or (i32.const 2) (local.get $zero)))
    (memory.fill (i32.const 100) (i32.const 1) (i32.or (i32.const 150) (local.get $zero)))
    (memory.copy (i32.const 90) (i32.const 91) (i32.or (i32.const 140) (local.get $zero)))
    (call $h)
    (table.fill $t (i32.const 20) (local.get $null) (i32.or (i32.const 9) (local.get $zero)))
    (table.size $t) (memory.size)))
"#;

/// What there is after `ONCE`: its results, how often the host was called, the memory, the objects
/// in the table, and what was consumed. `pieces` is how much fuel there is at first; then as
/// little as is asked for.
fn after_once(engine: &Engine, first: u64) -> (Vec<i32>, u32, Vec<u8>, Vec<Option<u32>>, u64) {
    let calls = Arc::new(Mutex::new(0));
    let seen = calls.clone();
    let module = module(engine, ONCE);
    let mut store = Store::new(engine, ());
    let h = Func::wrap(&mut store, move || *seen.lock().unwrap() += 1);
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let table = instance.get_table(&mut store, "t").unwrap();
    for i in 0..40 {
        let object = stillframe::ExternRef::new(&mut store, i as u32).unwrap();
        table.set(&mut store, i, object.into()).unwrap();
    }
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0), Val::I32(0)];
    store.set_fuel(first).unwrap();
    let mut stops = 0;
    let args = [Val::ExternRef(None), Val::I32(0)];
    let mut state = f.call_resumable(&mut store, &args, &mut results).unwrap();
    while let ResumableCall::OutOfFuel(call) = state {
        stops += 1;
        store.set_fuel(call.required_fuel()).unwrap();
        state = call.resume(&mut store, &mut results).unwrap();
    }
    assert!(matches!(state, ResumableCall::Finished), "{state:?}");
    // The entry, 11 operations on many, and two calls.
    assert!(stops >= 10 || first > 100, "{stops} stops after {first} units");
    let objects = (0..table.size(&store)).map(|i| {
        let object = table.get(&mut store, i).unwrap().as_extern().flatten()?;
        object.data(&store).downcast_ref::<u32>().copied()
    });
    let objects = objects.collect();
    let memory = instance.get_memory(&mut store, "m").unwrap().data(&store)[..400].to_vec();
    let calls = *calls.lock().unwrap();
    let results = results.map(|result| result.unwrap_i32()).to_vec();
    (results, calls, memory, objects, store.fuel_consumed().unwrap())
}

/// An interpreter that can be resumed charged `table.grow` inside of the operation: out of fuel
/// there, it had grown the table already, and resuming did it again. So with every operation that
/// charges for its size.
#[test]
fn an_operation_that_had_to_wait_for_fuel_is_done_once() {
    let mut costs = OperatorCosts::default();
    costs.set("memory.grow per page", 10).unwrap();
    let mut config = Config::new();
    let engine = Engine::new(config.consume_fuel(true).operator_costs(costs)).unwrap();
    let straight = after_once(&engine, PLENTY);
    let (results, calls, memory, objects, _) = &straight;
    assert_eq!((&results[..], *calls), (&[47, 4][..], 2));
    // By hand: written at 8, moved on by one; ones from 100 on, moved back by one.
    assert_eq!(&memory[7..26], b"\0aabcdefghijklmnop\0");
    assert_eq!(memory[98..250].iter().map(|b| usize::from(*b)).sum::<usize>(), 151);
    assert_eq!(memory[99], 1);
    let expected = |i| match i {
        0 | 1 | 20..29 | 40.. => None,
        2..31 => Some(i - 1),
        _ => Some(i),
    };
    assert_eq!(*objects, (0..47).map(expected).collect::<Vec<_>>());
    for first in (0..120).chain([200, 250, 400, 500]) {
        assert_eq!(after_once(&engine, first), straight, "with {first} units at first");
    }
}

/// wasmtime, issue 13802: what a call had consumed since it was entered was in a register, and a
/// trap lost it. A guest that ends each call with a division by zero ran for nothing.
#[test]
fn a_trap_keeps_what_was_consumed_before_it() {
    for (end, ends_in, cost) in [
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", Trap::IntegerDivisionByZero, 3),
        ("(drop (i32.load (i32.const 65533)))", Trap::MemoryOutOfBounds, 2),
        ("(i32.store8 (i32.const -1) (i32.const 0))", Trap::MemoryOutOfBounds, 3),
        ("(unreachable)", Trap::UnreachableCodeReached, 0),
        ("(call_indirect (i32.const 9))", Trap::UndefinedElement, 2),
        ("(call_indirect (i32.const 0))", Trap::IndirectCallToNull, 2),
        ("(drop (i32.trunc_f32_s (f32.const nan)))", Trap::BadConversionToInteger, 2),
        ("(drop (table.get (i32.const 1)))", Trap::TableOutOfBounds, 2),
    ] {
        let wat = format!(
            "(module (memory 1) (table 1 funcref) (func (export \"f\") (param i32)
                (block $done (loop $again
                    (br_if $done (i32.eqz (local.get 0)))
                    (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
                    (br $again)))
                {end}))"
        );
        let (mut store, instance) = alone(&metered(), &wat);
        for rounds in [0, 1, 100_000] {
            let before = store.fuel_consumed().unwrap();
            let called = call(&mut store, instance, "f", &[Val::I32(rounds)]);
            assert_eq!(trap_of(called), ends_in, "{end}");
            let consumed = store.fuel_consumed().unwrap() - before;
            assert_eq!(consumed, 1 + 8 * rounds as u64 + 3 + cost, "{rounds} rounds, {end}");
            assert_eq!(store.get_fuel().unwrap(), PLENTY - store.fuel_consumed().unwrap());
        }
    }
}

/// wasmtime, issue 2712 and pull request 8837: only a function that ended at its last `end` stored
/// what it had consumed; other ways out did so by accident or not at all.
#[test]
fn every_way_out_of_a_function_is_charged() {
    // Each leaves 7; the units of its own operators, without its entry.
    let ways = [
        ("(i32.const 7)", 1),
        ("(return (i32.const 7))", 1),
        ("(br 0 (i32.const 7))", 2),
        ("(drop (br_if 0 (i32.const 7) (i32.const 1))) (i32.const 8)", 3),
        ("(br_table 0 0 (i32.const 7) (i32.const 5))", 3),
        ("(block (result i32) (return (i32.const 7)))", 1),
        ("(loop (result i32) (br 1 (i32.const 7)))", 2),
        ("(if (result i32) (i32.const 1) (then (return (i32.const 7))) (else (i32.const 1)))", 3),
        // With the entry of the function that it ends in, and its operator.
        ("(return_call $seven)", 1 + 2),
        ("(return_call_indirect (type $r) (i32.const 0))", 2 + 2),
        ("(call $seven)", 1 + 2),
        ("(call_indirect (type $r) (i32.const 0))", 2 + 2),
        ("(block $caught (try_table (catch $e $caught) (throw $e))) (i32.const 7)", 1 + 1 + 1),
        ("(block $c (try_table (catch $e $c) (drop (call $throws)))) (i32.const 7)", 1 + 1 + 2 + 1),
    ];
    for (body, cost) in ways {
        let wat = format!(
            r#"(module
                (type $r (func (result i32)))
                (tag $e)
                (table funcref (elem $seven))
                (func $seven (result i32) (i32.const 7))
                (func $throws (result i32) (throw $e))
                (func $way (export "way") (result i32) {body})
                (func (export "twice") (result i32) (i32.add (call $way) (call $way))))"#
        );
        let (mut store, instance) = alone(&metered(), &wat);
        for (name, result, consumed) in [("way", 7, 1 + cost), ("twice", 14, 4 + 2 * (1 + cost))] {
            let before = store.fuel_consumed().unwrap();
            let results = call(&mut store, instance, name, &[]).unwrap();
            assert_eq!(results[0].unwrap_i32(), result, "{body}");
            let after = store.fuel_consumed().unwrap();
            assert_eq!(after - before, consumed, "{name}: {body}");
        }
    }
}

/// wasmtime's `call_ref` did not store the count before the call, nor load it after: what the
/// callee consumed, or was given, was lost. Here for every kind of call, to a host function that looks at
/// the count and takes of it, and to wasm.
#[test]
fn every_kind_of_call_takes_the_count_along_and_brings_it_back() {
    let calls = [
        ("(call $h)", 1),
        ("(call_indirect (type $v) (i32.const 0))", 2),
        ("(return_call $h)", 1),
        ("(return_call_indirect (type $v) (i32.const 0))", 2),
        ("(call $other)", 1),
        ("(call_indirect (type $v) (i32.const 1))", 2),
        ("(return_call $other)", 1),
        ("(return_call_indirect (type $v) (i32.const 1))", 2),
        ("(call $through)", 1 + 1 + 1),
    ];
    for (what, cost) in calls {
        let wat = format!(
            r#"(module
                (type $v (func))
                (import "" "h" (func $h))
                (import "" "other" (func $other))
                (table funcref (elem $h $other))
                (func $through (call $h))
                (func $f (loop) (drop (i32.const 1)) {what})
                (func (export "g") (call $f) (drop (i32.const 2)) (drop (i32.const 3))))"#
        );
        let engine = metered();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let (mut store, instance) = guest(&engine, &wat, |store| {
            let h = Func::wrap(&mut *store, move |mut caller: Caller<'_, ()>| {
                let left = caller.get_fuel().unwrap();
                log.lock().unwrap().push(left);
                // A price of the host's own.
                caller.set_fuel(left - 1000).unwrap();
            });
            // Another instance's function, which calls the host.
            let other = module(
                &engine,
                r#"(module (import "" "h" (func $h)) (func (export "f") (loop) (call $h)))"#,
            );
            let other = Instance::new(&mut *store, &other, &[h.into()]).unwrap();
            let other = other.get_func(store, "f").unwrap();
            vec![h.into(), other.into()]
        });
        call(&mut store, instance, "g", &[]).unwrap();
        let other = if what.contains("other") || what.contains("const 1))") { 2 } else { 0 };
        // `g`, its call, `f`, its constant, the call; and what `other` has.
        let before = 1 + 1 + 1 + 1 + cost + other;
        assert_eq!(*seen.lock().unwrap(), [PLENTY - before], "{what}");
        assert_eq!(store.get_fuel().unwrap(), PLENTY - before - 1000 - 2, "{what}");
    }
}

/// Runtimes that hand a budget to an interpreter's or a fiber's entry have begun there with the whole
/// of it again: what an outer call, or an earlier one, had consumed was forgotten.
#[test]
fn a_nested_call_starts_with_what_the_outer_one_has_left() {
    const WAT: &str = r#"(module
        (import "" "h" (func $h (param i32)))
        (func (export "f") (param i32) (loop)
            (if (local.get 0) (then (call $h (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "spin") (loop $again (br $again))))"#;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let (mut store, instance) = guest(&metered(), WAT, |store| {
        let h = Func::wrap(store, move |mut caller: Caller<'_, ()>, n: i32| {
            log.lock().unwrap().push(caller.get_fuel().unwrap());
            let Some(Extern::Func(f)) = caller.get_export("f") else { panic!() };
            // By each way in.
            match n % 3 {
                0 => f.call(&mut caller, &[Val::I32(n)], &mut [])?,
                1 => f.typed::<i32, ()>(&caller)?.call(&mut caller, n)?,
                _ => match f.call_resumable(&mut caller, &[Val::I32(n)], &mut [])? {
                    ResumableCall::Finished => {}
                    // It is not for us to pay.
                    ResumableCall::OutOfFuel(_) => return Err(Trap::OutOfFuel.into()),
                    ResumableCall::HostTrap(call) => return Err(call.into_host_error()),
                    other => panic!("{other:?}"),
                },
            }
            log.lock().unwrap().push(caller.get_fuel().unwrap());
            stillframe::Result::Ok(())
        });
        vec![h.into()]
    });
    store.set_fuel(1000).unwrap();
    call(&mut store, instance, "f", &[Val::I32(9)]).unwrap();
    // A level: entry, `local.get`, `if`, `local.get`, constant, `sub`, `call`. The last: three.
    let down = (1..=9).map(|level| 1000 - 7 * level);
    let expected: Vec<u64> = down.chain(std::iter::repeat_n(1000 - 7 * 9 - 3, 9)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
    assert_eq!(store.get_fuel().unwrap(), 1000 - 7 * 9 - 3);
    // Used up further in, it is used up further out, and for whoever comes next.
    seen.lock().unwrap().clear();
    store.set_fuel(40).unwrap();
    assert_eq!(trap_of(call(&mut store, instance, "f", &[Val::I32(7)])), Trap::OutOfFuel);
    assert_eq!(seen.lock().unwrap().len(), 5, "five levels are paid for");
    assert_eq!(store.get_fuel().unwrap(), 0);
    for _ in 0..3 {
        let before = store.fuel_consumed().unwrap();
        assert_eq!(trap_of(call(&mut store, instance, "spin", &[])), Trap::OutOfFuel);
        assert_eq!(store.fuel_consumed().unwrap(), before, "nothing was run on credit");
    }
}

/// wasmtime, issue 14161: with a budget near the largest number, the cost of an operation that
/// could never be done wrapped around or drained the store.
#[test]
fn the_largest_budget_and_the_largest_operation_do_not_wrap_around() {
    let (mut store, instance) = alone(
        &metered(),
        r#"(module
            (memory i64 1 1) (table i64 1 1 externref)
            (func (export "fill") (param i64 i64)
                (memory.fill (local.get 0) (i32.const 0) (local.get 1)))
            (func (export "copy") (param i64 i64)
                (memory.copy (local.get 0) (i64.const 0) (local.get 1)))
            (func (export "table") (param i64 i64)
                (table.fill (local.get 0) (ref.null extern) (local.get 1)))
            (func (export "grow") (param i64 i64)
                (drop (table.grow (ref.null extern) (local.get 1)))))"#,
    );
    for name in ["fill", "copy", "table", "grow"] {
        for len in [-1, i64::MIN, i64::MAX, -1000, i64::MIN + 1] {
            for dst in [0, -1, 1 << 40] {
                store.set_fuel(u64::MAX).unwrap();
                let before = store.fuel_consumed().unwrap();
                let called = call(&mut store, instance, name, &[Val::I64(dst), Val::I64(len)]);
                let consumed = store.fuel_consumed().unwrap().wrapping_sub(before);
                // Paid and refused, or not to be paid: but never paid with less than it costs.
                match (name, called) {
                    ("grow", Ok(_)) => assert!(consumed >= (len as u64).min(i64::MAX as u64)),
                    (_, Ok(_)) => panic!("{name} {dst} {len} went through"),
                    (_, Err(error)) => match error.downcast_ref() {
                        Some(Trap::OutOfFuel) => assert!(consumed < 10, "{name} {consumed}"),
                        Some(Trap::MemoryOutOfBounds | Trap::TableOutOfBounds) => {
                            // A cost that no number of units can pay counts as the largest.
                            let cost = (len as u64).min(i64::MAX as u64);
                            assert!(consumed >= cost, "{name} {len} {consumed}");
                        }
                        other => panic!("{name}: {other:?}"),
                    },
                }
                assert_eq!(store.get_fuel().unwrap(), u64::MAX - consumed, "{name} {dst} {len}");
            }
        }
    }
}
