//! Host functions: errors and panics that cross frames, and results that are not what they said.

use super::common::{call, guest, metered, module, panic_of, trap_of};
use stillframe::{
    AsContextMut, Caller, Engine, Extern, Func, FuncType, Instance, Store, Trap, Val, ValType, bail,
};

const THROUGH: &str = r#"(module
    (import "" "h" (func $h (param i32) (result i32)))
    (memory (export "m") 1)
    (table funcref (elem $h))
    (func $down (param i32 i32) (result i32)
        (if (result i32) (local.get 0)
            (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
            (else (call_indirect (param i32) (result i32) (local.get 1) (i32.const 0)))))
    (func (export "f") (param i32) (result i32) (call $down (i32.const 20) (local.get 0)))
    (func (export "after") (param i32) (result i32)
        (i32.load (i32.sub (call $down (i32.const 20) (local.get 0)) (i32.const 1000))))
    (func (export "trap") (param i32) (result i32) (i32.load (i32.const -1))))"#;

/// Panics have crossed the frames of compiled code (wasmer before 1.0, wasmtime's first traps: undefined
/// behaviour), or left a thread in the middle of a call: the next trap was taken for one of the call that was
/// gone. Through two stores that call each other, on the way out of which each is used.
#[test]
fn panics_and_errors_through_two_stores_leave_both_at_rest() {
    let engine = Engine::default();
    let inner = guest(&engine, THROUGH, |store| {
        let h = Func::wrap(store, |how: i32| match how {
            0 => Ok(100),
            1 => bail!("an error of the inner host function"),
            2 => panic!("a panic of the inner host function"),
            _ => Err(Trap::StackOverflow.into()),
        });
        vec![h.into()]
    });
    let (inner_instance, inner) = (inner.1, std::sync::Mutex::new(inner.0));
    let (mut outer, outer_instance) = guest(&engine, THROUGH, |store| {
        let h = Func::wrap(store, move |how: i32| -> stillframe::Result<i32> {
            let inner = &mut *inner.lock().unwrap_or_else(|e| e.into_inner());
            // A trap before, and one after, each its own store's.
            assert_eq!(
                trap_of(call(inner, inner_instance, "trap", &[Val::I32(0)])),
                Trap::MemoryOutOfBounds
            );
            let results = call(inner, inner_instance, "f", &[Val::I32(how)]);
            assert_eq!(inner.runtime_limits().last_wasm_entry_sp, 0, "it is at rest");
            assert_eq!(
                trap_of(call(inner, inner_instance, "trap", &[Val::I32(0)])),
                Trap::MemoryOutOfBounds
            );
            Ok(results?[0].unwrap_i32())
        });
        vec![h.into()]
    });
    for round in 0..20 {
        let how = round % 4;
        let mut run = || call(&mut outer, outer_instance, "f", &[Val::I32(how)]);
        match how {
            0 => assert_eq!(run().unwrap()[0].unwrap_i32(), 140),
            1 => assert_eq!(
                run().unwrap_err().root_cause().to_string(),
                "an error of the inner host function"
            ),
            2 => assert_eq!(panic_of(run), "a panic of the inner host function"),
            _ => assert_eq!(trap_of(run()), Trap::StackOverflow),
        }
        // The outer call itself traps, after traps and errors of the inner ones.
        let called = call(&mut outer, outer_instance, "after", &[Val::I32(0)]);
        assert_eq!(trap_of(called), Trap::MemoryOutOfBounds);
        assert_eq!(outer.runtime_limits().last_wasm_entry_sp, 0, "it is at rest");
        assert_eq!(
            trap_of(call(&mut outer, outer_instance, "trap", &[Val::I32(0)])),
            Trap::MemoryOutOfBounds
        );
    }
}

/// wasmtime, GHSA-ch89-5g45-qwc7 and earlier ones: values that a host function gives back are taken for
/// what it said they are. All that is not so must be an error before wasm sees it.
#[test]
fn results_that_are_not_of_the_type_or_store_do_not_reach_wasm() {
    let engine = Engine::default();
    let mut other = Store::new(&engine, ());
    let foreign_func = Func::wrap(&mut other, || ());
    let foreign_object = stillframe::ExternRef::new(&mut other, 1).unwrap();
    let bad: [(ValType, Val); 8] = [
        (ValType::I32, Val::I64(1)),
        (ValType::I64, Val::I32(1)),
        (ValType::F32, Val::I32(1)),
        (ValType::FuncRef, Val::I64(0x4141_4141)),
        (ValType::FuncRef, Val::ExternRef(None)),
        (ValType::FuncRef, foreign_func.into()),
        (ValType::ExternRef, foreign_object.into()),
        (ValType::ExternRef, Val::FuncRef(None)),
    ];
    for (ty, result) in bad {
        let wat = format!(
            r#"(module (import "" "h" (func $h (result {ty}))) (global $reached (export "g") (mut i32) (i32.const 0))
                (func (export "f") (result {ty}) (call $h) (global.set $reached (i32.const 1)))
                (func (export "p") (param {ty})))"#
        );
        let (mut store, instance) = guest(&engine, &wat, |store| {
            let ty = FuncType::new([], [ty]);
            vec![
                Func::new(store, ty, move |_, _, results| {
                    results[0] = result;
                    Ok(())
                })
                .into(),
            ]
        });
        call(&mut store, instance, "f", &[]).unwrap_err();
        let global = instance.get_global(&mut store, "g").unwrap();
        assert_eq!(global.get(&mut store).unwrap_i32(), 0, "{result:?} for {ty}");
        // Nor as a parameter, nor as what a suspended call goes on with.
        call(&mut store, instance, "p", &[result]).unwrap_err();
        let waits = Func::new(&mut store, FuncType::new([], [ty]), |_, _, _| bail!("wait"));
        let importer = module(&engine, &wat);
        let instance = Instance::new(&mut store, &importer, &[waits.into()]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let mut results = [Val::I32(0)];
        let stillframe::ResumableCall::HostTrap(call) =
            f.call_resumable(&mut store, &[], &mut results).unwrap()
        else {
            panic!()
        };
        let refused = call.resume(&mut store, &[result], &mut results).unwrap_err();
        assert!(refused.reason().is_some());
    }
}

/// WAMR and wasm3: a host function that called the guest again used what it had looked up before: the
/// guest had grown its memory and tables, and replaced what was called. And the other way round.
#[test]
fn what_a_nested_call_changes_is_seen_by_the_frames_around_it() {
    const WAT: &str = r#"(module
        (import "" "h" (func $h (param i32)))
        (memory (export "m") 1) (global $g (mut i32) (i32.const 0))
        (table $t 1 funcref) (elem (i32.const 0) $one) (elem $later func $two)
        (func $one (result i32) (i32.const 1)) (func $two (result i32) (i32.const 2))
        (func (export "inner") (param i32)
            (drop (memory.grow (i32.const 1)))
            (i32.store (i32.const 65536) (i32.const 50))
            (i32.store (i32.const 0) (i32.const 3))
            (global.set $g (i32.const 40))
            (drop (table.grow $t (ref.null func) (i32.const 500)))
            (table.init $t $later (i32.const 0) (i32.const 0) (i32.const 1))
            (if (local.get 0) (then (call $h (i32.sub (local.get 0) (i32.const 1))))))
        (func (export "f") (result i32) (local i32)
            (local.set 0 (i32.add (call_indirect (result i32) (i32.const 0)) (global.get $g)))
            (i32.store (i32.const 0) (i32.const 9))
            (call $h (i32.const 3))
            (i32.add (local.get 0)
                (i32.add (i32.load (i32.const 0))
                    (i32.add (i32.load (i32.const 65536))
                        (i32.add (global.get $g) (call_indirect (result i32) (i32.const 0))))))))"#;
    for engine in super::common::engines() {
        let (mut store, instance) = guest(&engine, WAT, |store| {
            let h = Func::wrap(store, |mut caller: Caller<'_, ()>, n: i32| {
                let Some(Extern::Func(inner)) = caller.get_export("inner") else { panic!() };
                inner.call(caller.as_context_mut(), &[Val::I32(n)], &mut [])
            });
            vec![h.into()]
        });
        let results = call(&mut store, instance, "f", &[]).unwrap();
        assert_eq!(results[0].unwrap_i32(), 1 + 3 + 50 + 40 + 2);
    }
}

/// wasmer, issues 6775 and 6794: throwing and catching in one function and growing a table or calling
/// further in what follows worked with a stack pointer that was off.
#[test]
fn after_an_exception_was_caught_everything_goes_on_as_before() {
    const WAT: &str = r#"(module
        (type $f (func (param i32) (result i32)))
        (import "" "h" (func $h (param i32 i32 f64) (result i32)))
        (table $t 0 1000 funcref) (memory 1 3)
        (tag $empty) (tag $i (param i32)) (tag $two (param i32 i32)) (tag $f (param f64 v128 externref))
        (elem declare func $main)
        (func $throws (param i32)
            (if (i32.eq (local.get 0) (i32.const 1)) (then (throw $i (i32.const 10))))
            (if (i32.eq (local.get 0) (i32.const 2)) (then (throw $two (i32.const 3) (i32.const 4))))
            (if (i32.eq (local.get 0) (i32.const 3))
                (then (throw $f (f64.const 5) (v128.const i64x2 6 7) (ref.null extern))))
            (throw $empty))
        (func $deep (param i32 i32)
            (if (local.get 1)
                (then (call $deep (local.get 0) (i32.sub (local.get 1) (i32.const 1))))
                (else (call $throws (local.get 0)))))
        (func $caught (param i32) (result i32) (local $e exnref)
            (block $empty
                (block $i (result i32)
                    (block $two (result i32 i32)
                        (block $any (result exnref)
                            (try_table (catch $empty $empty) (catch $i $i) (catch $two $two) (catch_all_ref $any)
                                (call $deep (local.get 0) (i32.const 9)))
                            (unreachable))
                        (local.set $e)
                        ;; Thrown on, and caught further in.
                        (block $again (result exnref)
                            (try_table (catch_all_ref $again) (throw_ref (local.get $e)))
                            (unreachable))
                        (drop)
                        (return (i32.const 5)))
                    (return (i32.add)))
                (return))
            (i32.const 1))
        (func $main (export "main") (type $f) (local $x i32)
            (if (i32.eqz (local.get 0)) (then (return (call $h (i32.const 7) (i32.const 8) (f64.const 9)))))
            (local.set $x (call $caught (i32.rem_u (local.get 0) (i32.const 4))))
            (drop (table.grow $t (ref.func $main) (i32.const 1)))
            (drop (memory.grow (i32.const 1)))
            (i32.add (local.get $x)
                (call_indirect $t (type $f) (i32.sub (local.get 0) (i32.const 1))
                    (i32.sub (table.size $t) (i32.const 1))))))"#;
    for engine in super::common::engines() {
        let (mut store, instance) = guest(&engine, WAT, |store| {
            vec![Func::wrap(store, |a: i32, b: i32, c: f64| a * 100 + b * 10 + c as i32).into()]
        });
        let by_kind = [1, 10, 7, 5];
        for depth in [0, 1, 4, 100] {
            let expected: i32 = (1..=depth).map(|n| by_kind[n as usize % 4]).sum::<i32>() + 789;
            let results = call(&mut store, instance, "main", &[Val::I32(depth)]).unwrap();
            assert_eq!(results[0].unwrap_i32(), expected, "{depth}");
        }
    }
}

/// A start function that traps, waits or runs out of fuel has left an instance that was half made and was
/// then used (several runtimes): its exports in a table live on, and work.
#[test]
fn an_instance_whose_start_function_failed_can_be_called_through_what_it_left() {
    let engine = metered();
    let holder =
        module(&engine, r#"(module (table (export "t") 2 funcref) (memory (export "m") 1))"#);
    for (start, rest) in [
        ("(unreachable)", ""),
        ("(loop $again (br $again))", ""),
        ("(call $start)", ""),
        ("", "(elem (i32.const 5) func $get)"),
        ("", "(data (memory $own) (i32.const 65536) \"x\")"),
    ] {
        let wat = format!(
            r#"(module (import "" "t" (table 2 funcref)) (memory $own 1) (global $g (mut i32) (i32.const 5))
                (elem (i32.const 0) func $get)
                (data (memory $own) (i32.const 8) "\07")
                (func $get (result i32) (i32.add (global.get $g) (i32.load8_u (i32.const 8))))
                (func $start (i32.store8 (i32.const 8) (i32.const 9)) {start}) {rest} (start $start))"#
        );
        let failing = module(&engine, &wat);
        let mut store = Store::new(&engine, ());
        store.set_fuel(10_000).unwrap();
        let table = Instance::new(&mut store, &holder, &[]).unwrap();
        let table = table.get_table(&mut store, "t").unwrap();
        Instance::new(&mut store, &failing, &[table.into()]).unwrap_err();
        store.set_fuel(10_000).unwrap();
        let get = table.get(&mut store, 0).unwrap();
        let get = get.as_func().unwrap().expect("it was set before the failure");
        let get = get.typed::<(), i32>(&store).unwrap();
        let expected = match rest {
            "" => 14,
            // Elements come before data.
            rest if rest.contains("elem") => 5,
            _ => 12,
        };
        assert_eq!(get.call(&mut store, ()).unwrap(), expected, "{start}{rest}");
    }
}
