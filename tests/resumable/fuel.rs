//! Out of fuel in places that matter, with the numbers counted by hand: where a call stands, what it
//! requires, and that with one unit less nothing runs.

use super::common::{PLENTY, ended, engine, finished, guest, out_of_fuel, refused, trap_of};
use stillframe::{
    Caller, Func, Instance, Linker, Module, OperatorCosts, Ref, ResumableCall, ResumeRefused,
    Store, Trap, TypedResumableCall, Val,
};

/// With one unit less than it requires, the call is refused and the store is as it was.
#[track_caller]
fn assert_least<T>(
    store: &mut Store<T>,
    call: stillframe::ResumableCallOutOfFuel,
    outputs: &mut [Val],
) -> stillframe::ResumableCallOutOfFuel {
    let required = call.required_fuel();
    store.set_fuel(required - 1).unwrap();
    let before = store.runtime_limits();
    let trace = call.backtrace(&*store).unwrap().to_string();
    let (call, reason) = refused(call.resume(&mut *store, outputs));
    assert_eq!(reason, ResumeRefused::NotEnoughFuel { required, available: required - 1 });
    assert_eq!(store.runtime_limits(), before);
    assert_eq!(call.backtrace(&*store).unwrap().to_string(), trace);
    store.set_fuel(required).unwrap();
    call
}

#[test]
fn at_a_functions_entry() {
    let (mut store, instance) = guest(
        "(module (global (export \"g\") (mut i32) (i32.const 0))
            (func $g) (func (export \"f\") (call $g) (global.set 0 (i32.const 1))))",
    );
    let f = instance.get_func(&mut store, "f").unwrap();
    let g = instance.get_global(&mut store, "g").unwrap();
    store.set_fuel(0).unwrap();
    let call = out_of_fuel(f.call_resumable(&mut store, &[], &mut []).unwrap());
    assert_eq!((call.required_fuel(), call.overdraft()), (1, 0));
    let call = assert_least(&mut store, call, &mut []);
    assert_eq!(g.get(&mut store).unwrap_i32(), 0);
    // entry 1, call 1; $g: entry 1, and it has no checkpoint; const set 2. On credit, but 1.
    assert!(matches!(call.resume(&mut store, &mut []).unwrap(), ResumableCall::Finished));
    assert_eq!(g.get(&mut store).unwrap_i32(), 1);
    assert_eq!((store.get_fuel().unwrap(), store.runtime_limits().fuel_consumed), (0, 4));
    // The debt of a call that has ended is the store's.
    store.add_fuel(10).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 6);
}

#[test]
fn in_front_of_a_host_function() {
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        "(module (import \"\" \"\" (func $h (param i32)))
            (func (export \"f\") (call $h (i32.const 7)) (call $h (i32.const 8))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let h = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<(i32, u64)>>, x: i32| {
        let left = caller.get_fuel().unwrap();
        caller.data_mut().push((x, left));
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    // entry const call 3.
    store.set_fuel(3).unwrap();
    let call = out_of_fuel(f.call_resumable(&mut store, &[], &mut []).unwrap());
    assert_eq!((call.required_fuel(), call.overdraft()), (1, 0));
    let call = assert_least(&mut store, call, &mut []);
    assert!(store.data().is_empty());
    // With that one the host function is called; const call 2 more: the second is not.
    let call = out_of_fuel(call.resume(&mut store, &mut []).unwrap());
    assert_eq!(*store.data(), [(7, 1)]);
    assert_eq!((call.required_fuel(), call.overdraft()), (2, 1));
    let call = assert_least(&mut store, call, &mut []);
    finished(call.resume(&mut store, &mut []).unwrap());
    assert_eq!(*store.data(), [(7, 1), (8, 1)]);
    assert_eq!(store.get_fuel().unwrap(), 1);
}

#[test]
fn inside_of_operations_on_tables_and_memories() {
    // Before the operation: entry 1, and its three operands.
    let wat = "(module
        (memory (export \"memory\") 1) (table (export \"table\") 1 500 funcref)
        (data $d \"0123456789\")
        (func $f (export \"one\")) (elem declare func $f)
        (func (export \"table.grow\") (param i32) (result i32)
            nop (drop (i32.const 0)) (table.grow (ref.func $f) (local.get 0)))
        (func (export \"table.fill\") (param i32) (result i32)
            (table.fill (i32.const 0) (ref.func $f) (local.get 0)) (i32.const 1))
        (func (export \"memory.copy\") (param i32) (result i32)
            (memory.copy (i32.const 1) (i32.const 0) (local.get 0)) (i32.const 1))
        (func (export \"memory.fill\") (param i32) (result i32)
            (memory.fill (i32.const 1) (i32.const 7) (local.get 0)) (i32.const 1))
        (func (export \"memory.init\") (param i32) (result i32)
            (memory.init $d (i32.const 1) (i32.const 0) (local.get 0)) (i32.const 1)))";
    for (name, len) in [
        ("table.grow", 400),
        ("table.fill", 1),
        ("memory.copy", 5000),
        ("memory.fill", 129),
        ("memory.init", 10),
    ] {
        let (mut store, instance) = guest(wat);
        let memory = instance.get_memory(&mut store, "memory").unwrap();
        let table = instance.get_table(&mut store, "table").unwrap();
        memory.data_mut(&mut store)[..6].copy_from_slice(b"abcdef");
        let f = instance.get_func(&mut store, name).unwrap();
        let mut results = [Val::I32(-1)];
        // What is left at the checkpoint is not enough by 1; by all of it; by more than that.
        let need = len as u64;
        for (budget, left, overdraft) in [(4 + need - 1, need - 1, 0), (4, 0, 0), (1, 0, 3)] {
            store.set_fuel(budget).unwrap();
            let args = [Val::I32(len)];
            let call = f.call_resumable(&mut store, &args, &mut results).unwrap();
            let call = out_of_fuel(call);
            assert_eq!(store.get_fuel().unwrap(), left, "{name}");
            assert_eq!((call.required_fuel(), call.overdraft()), (need + overdraft, overdraft));
            let call = assert_least(&mut store, call, &mut results);
            assert_eq!(memory.data(&store)[..6], *b"abcdef", "{name}: nothing was done");
            assert_eq!(table.size(&store), 1);
            assert_eq!(table.get(&mut store, 0), Some(Ref::Func(None)));
            assert_eq!(results[0].unwrap_i32(), -1);
            if budget != 1 {
                // Given up.
                continue;
            }
            finished(call.resume(&mut store, &mut results).unwrap());
            // Its operands are paid, its length; then 1 for itself, and the constant behind it.
            let constant = i64::from(name != "table.grow");
            assert_eq!(store.runtime_limits().fuel_consumed, 1 + constant);
            match name {
                "table.grow" => assert_eq!(table.size(&store), 401),
                "table.fill" => assert_ne!(table.get(&mut store, 0), Some(Ref::Func(None))),
                "memory.copy" => assert_eq!(memory.data(&store)[..6], *b"aabcde"),
                "memory.fill" => assert_eq!(memory.data(&store)[128..131], [7, 7, 0]),
                _ => assert_eq!(memory.data(&store)[..11], *b"a0123456789"),
            }
        }
    }
}

#[test]
fn pages_that_cost_something_are_paid_once() {
    let mut costs = OperatorCosts::default();
    costs.set("memory.grow per page", 1000).unwrap();
    let engine = engine(|config| {
        config.operator_costs(costs);
    });
    let module = Module::new(
        &engine,
        "(module (memory (export \"memory\") 1 9)
            (func (export \"f\") (param i32) (result i32) (memory.grow (local.get 0))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0)];
    // entry get 2.
    store.set_fuel(2 + 2999).unwrap();
    let call = f.call_resumable(&mut store, &[Val::I32(3)], &mut results).unwrap();
    let call = assert_least(&mut store, out_of_fuel(call), &mut results);
    assert_eq!((call.required_fuel(), call.overdraft()), (3000, 0));
    assert_eq!(memory.size(&store), 1);
    store.set_fuel(10_000).unwrap();
    finished(call.resume(&mut store, &mut results).unwrap());
    assert_eq!((results[0].unwrap_i32(), memory.size(&store)), (1, 4));
    assert_eq!(store.get_fuel().unwrap(), 10_000 - 3000 - 1);
}

#[test]
fn more_than_can_ever_be_paid_is_required_and_refused() {
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        "(module (memory i64 1) (func (export \"f\") (param i64) (result i64)
            (i64.const 5) (memory.fill (i64.const 0) (i32.const 0) (local.get 0))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0)];
    for len in [-1, i64::MIN, i64::MAX] {
        store.set_fuel(1).unwrap();
        let call = f.call_resumable(&mut store, &[Val::I64(len)], &mut results).unwrap();
        let call = out_of_fuel(call);
        // entry const const const get: 5, of which 4 on credit; the length, saturated.
        assert_eq!((call.required_fuel(), call.overdraft()), (i64::MAX as u64 + 4, 4));
        let call = assert_least(&mut store, call, &mut results);
        // It is there: the operation is paid for, and traps.
        store.set_fuel(u64::MAX).unwrap();
        let error = ended(call.resume(&mut store, &mut results));
        assert_eq!(trap_of(&error), Trap::MemoryOutOfBounds);
        assert_eq!(store.get_fuel().unwrap(), u64::MAX - i64::MAX as u64 - 4 - 1);
    }
}

#[test]
fn ten_thousand_calls_deep() {
    const DEEP: u64 = 10_000;
    let engine = engine(|config| {
        config.max_wasm_stack(16 << 20);
    });
    let module = Module::new(
        &engine,
        "(module (func $f (export \"f\") (param i32 f64) (result f64)
            (if (result f64) (local.get 0)
                (then (f64.add (local.get 1)
                    (call $f (i32.sub (local.get 0) (i32.const 1))
                        (f64.mul (local.get 1) (f64.const 1.5)))))
                (else (local.get 1)))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let f = instance.get_typed_func::<(i32, f64), f64>(&mut store, "f").unwrap();
    store.set_fuel(PLENTY).unwrap();
    let whole = f.call(&mut store, (DEEP as i32, 1e-300)).unwrap();
    let consumed = PLENTY - store.get_fuel().unwrap();
    // Each level: entry, get if 3; get get const sub get const mul call add 9. The last: 3, get 1.
    assert_eq!(consumed, 12 * DEEP + 4);

    // Each level's first run and arguments: 11 units to the next entry. The last one finds none.
    store.set_fuel(11 * DEEP).unwrap();
    let call = f.call_resumable(&mut store, (DEEP as i32, 1e-300)).unwrap();
    let TypedResumableCall::OutOfFuel(call) = call else { panic!("{call:?}") };
    assert_eq!((call.required_fuel(), call.overdraft()), (1, 0));
    let trace = call.backtrace(&store).unwrap();
    assert_eq!(trace.frames().len() + trace.omitted(), DEEP as usize + 1);
    store.set_fuel(1).unwrap();
    let call = call.resume(&mut store).unwrap();
    // All the way up there is no checkpoint: on credit, but for one unit.
    let TypedResumableCall::Finished(result) = call else { panic!("{call:?}") };
    assert_eq!(result.to_bits(), whole.to_bits());
    assert_eq!(store.runtime_limits().fuel_consumed, 4 + DEEP as i64 - 1);

    // Suspended at each level on the way down.
    store.set_fuel(0).unwrap();
    let mut call = f.call_resumable(&mut store, (DEEP as i32, 1e-300)).unwrap();
    let mut stops = 0;
    let result = loop {
        call = match call {
            TypedResumableCall::Finished(result) => break result,
            TypedResumableCall::OutOfFuel(call) => {
                stops += 1;
                store.set_fuel(call.required_fuel()).unwrap();
                call.resume(&mut store).unwrap()
            }
            other => panic!("{other:?}"),
        };
    };
    assert_eq!((result.to_bits(), stops), (whole.to_bits(), DEEP + 1));
}

/// The debt is the call's, not the store's: other calls do not pay for it.
#[test]
fn an_overdraft_is_charged_to_the_call_that_made_it() {
    // The entry's checkpoint, 1 + 9 units, the loop's; 1 + 1 in each round.
    let (mut store, instance) = guest(
        "(module (func (export \"f\") (param i32) (result i32)
            (drop (i32.add (i32.add (i32.const 1) (i32.const 2))
                (i32.add (i32.add (i32.const 1) (i32.const 2)) (i32.const 3))))
            (loop (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get 0))
          (func (export \"g\") (loop)))",
    );
    let f = instance.get_func(&mut store, "f").unwrap();
    let g = instance.get_func(&mut store, "g").unwrap();
    let mut results = [Val::I32(0)];
    store.set_fuel(1).unwrap();
    let mut call = || {
        let call = f.call_resumable(&mut store, &[Val::I32(1)], &mut results).unwrap();
        out_of_fuel(call)
    };
    let (first, second) = (call(), call());
    // entry 1, nine operators 9: at the loop's header 9 are on credit.
    assert_eq!((first.required_fuel(), first.overdraft()), (10, 9));
    assert_eq!(store.get_fuel().unwrap(), 0);
    // The second found nothing at its entry, and no debt.
    assert_eq!((second.required_fuel(), second.overdraft()), (1, 0));
    store.set_fuel(100).unwrap();
    g.call(&mut store, &[], &mut []).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 99);
    // get const sub tee br_if get 6.
    finished(first.resume(&mut store, &mut results).unwrap());
    assert_eq!(store.get_fuel().unwrap(), 99 - 9 - 6);
    finished(second.resume(&mut store, &mut results).unwrap());
    assert_eq!(store.get_fuel().unwrap(), 99 - 9 - 6 - 10 - 6);
    // One that is dropped takes its debt along.
    store.set_fuel(1).unwrap();
    drop(out_of_fuel(f.call_resumable(&mut store, &[Val::I32(1)], &mut results).unwrap()));
    assert_eq!(store.get_fuel().unwrap(), 0);
    store.add_fuel(2).unwrap();
    g.call(&mut store, &[], &mut []).unwrap();
    assert_eq!(store.get_fuel().unwrap(), 1);
}

#[test]
fn an_inner_call_that_runs_out_is_an_error_to_the_host_function_that_made_it() {
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        r#"(module (import "" "h" (func $h (param i32) (result i32)))
            (func (export "outer") (param i32) (result i32)
                (i32.add (call $h (local.get 0)) (i32.const 1)))
            (func (export "spin") (loop (br 0))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, None::<Instance>);
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "h", |mut caller: Caller<'_, Option<Instance>>, pass_on: i32| {
            let spin = caller.data().unwrap().get_typed_func::<(), ()>(&mut caller, "spin")?;
            let error = spin.call(&mut caller, ()).unwrap_err();
            assert_eq!(trap_of(&error), Trap::OutOfFuel);
            assert_eq!(caller.get_fuel().unwrap(), 0);
            if pass_on == 1 {
                return Err(error);
            }
            caller.set_fuel(50)?;
            Ok(7)
        })
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    *store.data_mut() = Some(instance);
    let outer = instance.get_typed_func::<i32, i32>(&mut store, "outer").unwrap();
    // The host function copes with it.
    store.set_fuel(1000).unwrap();
    let call = outer.call_resumable(&mut store, 0).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(8)), "{call:?}");
    assert_eq!(store.get_fuel().unwrap(), 48);
    // It passes it on: an error like any other of a host function.
    store.set_fuel(1000).unwrap();
    let TypedResumableCall::HostTrap(call) = outer.call_resumable(&mut store, 1).unwrap() else {
        panic!("the host function fails")
    };
    assert_eq!(trap_of(call.host_error()), Trap::OutOfFuel);
    assert_eq!(call.backtrace(&store).unwrap().frames().len(), 1);
    let call = call.resume(&mut store, &[Val::I32(41)]).unwrap();
    assert!(matches!(call, TypedResumableCall::Finished(42)), "{call:?}");
}

#[test]
fn a_plain_call_still_traps() {
    let (mut store, instance) = guest("(module (func (export \"f\") (loop (br 0))))");
    let f = instance.get_func(&mut store, "f").unwrap();
    store.set_fuel(10).unwrap();
    assert_eq!(trap_of(&f.call(&mut store, &[], &mut []).unwrap_err()), Trap::OutOfFuel);
    assert!(store.suspended_backtraces().is_empty());
}

/// A function that is compiled into its caller takes the way of a call to a handler with it. Code that
/// can be reached by that way alone counts for where checkpoints stand all the same.
#[test]
fn a_call_is_interrupted_at_the_same_places_whatever_is_inlined() {
    let places = |inlining, plain| {
        let engine = engine(|config| {
            config.inlining(inlining).plain_code(plain);
        });
        let nops = |n: usize| "nop ".repeat(n);
        let wat = format!(
            r#"(module (func $leaf)
            (func (export "f")
                (block $done
                    (block $caught
                        (try_table (catch_all $caught) (call $leaf))
                        (br $done))
                    {})
                {} (i32.eqz (i32.const 1)) (drop) {}))"#,
            nops(700),
            "(drop (i32.const 1)) ".repeat(250),
            "(drop (i32.const 1)) ".repeat(600),
        );
        let module = Module::new(&engine, &wat).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        store.set_fuel(0).unwrap();
        let mut places = Vec::new();
        let mut state = f.call_resumable(&mut store, &[], &mut []).unwrap();
        loop {
            let ResumableCall::OutOfFuel(call) = state else { break };
            places.push(store.runtime_limits().fuel_consumed);
            store.set_fuel(call.required_fuel()).unwrap();
            state = call.resume(&mut store, &mut []).unwrap();
        }
        places
    };
    let usual = places(true, false);
    assert!(usual.len() > 2, "{usual:?}");
    assert_eq!(usual, places(false, false));
    assert_eq!(usual, places(false, true));
}
