//! What changes while a call is suspended: it goes on with memories, tables, globals and limits as
//! they are then, also if they have moved. Each guest waits in a loop until it sees the change; what
//! the compiler had in registers or moved out of the loop would make it wait for ever.

use super::common::{engine, out_of_fuel};
use stillframe::{
    Extern, Func, Global, GlobalType, Instance, Memory, MemoryType, Module, Mutability, Ref,
    ResumableCall, Store, Table, TableType, Val, ValType,
};

/// Runs `body`, an expression that is 0 until something changes, in a loop; after `change` was done
/// in the middle of it, the loop must end soon, with the value.
fn waits_for(module: &str, body: &str, change: impl Fn(&mut Store<()>, Instance)) -> i32 {
    let wat = format!(
        r#"(module {module}
            (func (export "f") (param $zero i32) (result i32) (local $seen i32)
                (loop $again (br_if $again (i32.eqz (local.tee $seen {body}))))
                (local.get $seen)))"#
    );
    let engine = engine(|_| ());
    let module = Module::new(&engine, &wat).unwrap_or_else(|error| panic!("{error:?}\n{wat}"));
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, MemoryType::new(1, Some(100))).unwrap();
    let ty = GlobalType::new(ValType::I32, Mutability::Var);
    let global = Global::new(&mut store, ty, Val::I32(0)).unwrap();
    let ty = TableType::new(ValType::FuncRef, 1, None);
    let table = Table::new(&mut store, ty, Ref::Func(None)).unwrap();
    let imports: Vec<Extern> = module
        .imports()
        .map(|import| match import.name() {
            "memory" => memory.into(),
            "global" => global.into(),
            _ => table.into(),
        })
        .collect();
    let instance = Instance::new(&mut store, &module, &imports).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let mut results = [Val::I32(0)];
    store.set_fuel(500).unwrap();
    let call = func.call_resumable(&mut store, &[Val::I32(0)], &mut results).unwrap();
    let call = out_of_fuel(call);
    // Nothing has changed yet.
    store.add_fuel(500).unwrap();
    let call = out_of_fuel(call.resume(&mut store, &mut results).unwrap());
    change(&mut store, instance);
    store.add_fuel(500).unwrap();
    let call = call.resume(&mut store, &mut results).unwrap();
    assert!(matches!(call, ResumableCall::Finished), "it waits for ever: {body}");
    results[0].unwrap_i32()
}

#[test]
fn bytes_of_memories() {
    for (module, load) in [
        (r#"(memory (export "m") 1)"#, "(i32.load (i32.const 100))"),
        (r#"(memory (export "m") 1)"#, "(i32.load (local.get $zero))"),
        (r#"(memory (export "m") i64 1)"#, "(i32.load (i64.const 100))"),
        (r#"(memory (import "" "memory") 1) (export "m" (memory 0))"#, "(i32.load (i32.const 8))"),
    ] {
        let seen = waits_for(module, load, |store, instance| {
            instance.get_memory(&mut *store, "m").unwrap().data_mut(store).fill(9);
        });
        assert_eq!(seen, 0x0909_0909);
    }
}

#[test]
fn sizes_and_pages_that_were_not_there() {
    for (module, size, load) in [
        (
            r#"(memory (export "m") 1)"#,
            "(i32.sub (memory.size) (i32.const 1))",
            "(i32.const 65536)",
        ),
        (
            r#"(memory (export "m") i64 1)"#,
            "(i32.sub (i32.wrap_i64 (memory.size)) (i32.const 1))",
            "(i64.const 65536)",
        ),
        (
            r#"(memory (import "" "memory") 1) (export "m" (memory 0))"#,
            "(i32.sub (memory.size) (i32.const 1))",
            "(i32.const 65536)",
        ),
    ] {
        // The old bounds are in use in the loop as well.
        let first = if load.contains("i64") { "(i64.const 65532)" } else { "(i32.const 65532)" };
        let body =
            format!("(if (result i32) {size} (then (i32.load {load})) (else (i32.load {first})))");
        let seen = waits_for(module, &body, |store, instance| {
            let memory = instance.get_memory(&mut *store, "m").unwrap();
            memory.grow(&mut *store, 60).unwrap();
            memory.data_mut(store)[65536..].fill(3);
        });
        assert_eq!(seen, 0x0303_0303);
    }
}

/// A 64-bit memory has address space for 4 GiB at first; beyond that it moves.
#[test]
fn a_memory_that_has_moved() {
    // Its pages are never touched, but for the first and the last.
    const PAGES: u64 = (4 << 30 >> 16) + 10;
    let module = r#"(memory (export "m") i64 1)"#;
    for address in ["(i64.const 8)", "(i64.extend_i32_u (local.get $zero))"] {
        let body = format!("(i32.load {address})");
        let seen = waits_for(module, &body, |store, instance| {
            let memory = instance.get_memory(&mut *store, "m").unwrap();
            let before = memory.data(&*store).as_ptr();
            memory.grow(&mut *store, PAGES).unwrap();
            assert_ne!(memory.data(&*store).as_ptr(), before, "it has not moved");
            memory.data_mut(&mut *store)[..16].fill(6);
            *memory.data_mut(store).last_mut().unwrap() = 1;
        });
        assert_eq!(seen, 0x0606_0606);
    }
}

#[test]
fn tables_that_have_grown_and_moved() {
    for module in [
        r#"(table (export "t") 1 funcref)"#,
        r#"(table (import "" "table") 1 funcref) (export "t" (table 0))"#,
    ] {
        let grow = |store: &mut Store<()>, instance: Instance| {
            let answer = Func::wrap(&mut *store, || 42);
            let table = instance.get_table(&mut *store, "t").unwrap();
            // Large enough that it cannot stay where it is.
            table.grow(&mut *store, 1 << 20, Ref::Func(None)).unwrap();
            table.set(&mut *store, 1 << 20, answer.into()).unwrap();
            table.set(&mut *store, 0, answer.into()).unwrap();
        };
        let body = "(i32.eqz (ref.is_null (table.get (i32.const 0))))";
        assert_eq!(waits_for(module, body, grow), 1);
        let body = "(i32.sub (table.size) (i32.const 1))";
        assert_eq!(waits_for(module, body, grow), 1 << 20);
        let body = "(if (result i32) (i32.eq (table.size) (i32.const 1))
            (then (i32.eqz (ref.is_null (table.get (local.get $zero)))))
            (else (call_indirect (result i32) (i32.const 0x100000))))";
        assert_eq!(waits_for(module, body, grow), 42);
    }
}

#[test]
fn globals() {
    for module in [
        r#"(global (export "g") (mut i32) (i32.const 0))"#,
        r#"(global (import "" "global") (mut i32)) (export "g" (global 0))"#,
    ] {
        let seen = waits_for(module, "(global.get 0)", |store, instance| {
            instance.get_global(&mut *store, "g").unwrap().set(store, Val::I32(5)).unwrap();
        });
        assert_eq!(seen, 5);
    }
}

/// Other calls of the same instance run while one is suspended.
#[test]
fn what_other_calls_of_the_instance_do() {
    let module = r#"
        (memory (export "m") 1) (global $g (mut i32) (i32.const 0))
        (table $t 1 funcref) (elem declare func $answer)
        (func $answer (result i32) (i32.const 11))
        (func (export "change") (param $n i32)
            (local.set $n (memory.grow (local.get $n)))
            (global.set $g (i32.const 100))
            (i32.store (i32.const 70000) (i32.const 1000))
            (table.set $t (table.grow $t (ref.func $answer) (i32.const 9)) (ref.func $answer)))"#;
    let body = "(if (result i32) (global.get $g)
        (then (i32.add (i32.add (global.get $g) (i32.load (i32.const 70000)))
            (call_indirect $t (result i32) (i32.const 9))))
        (else (i32.load (i32.const 0))))";
    let seen = waits_for(module, body, |store, instance| {
        let change = instance.get_typed_func::<i32, ()>(&mut *store, "change").unwrap();
        store.add_fuel(1000).unwrap();
        change.call(&mut *store, 3).unwrap();
        store.set_fuel(0).unwrap();
    });
    assert_eq!(seen, 1111);
}

/// A hundred calls of one function take turns, in an order that changes.
#[test]
fn many_calls_of_one_instance_take_turns() {
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        r#"(module (global $turns (export "turns") (mut i32) (i32.const 0))
            (func (export "f") (param $n i32) (param $x i64) (result i64 f64) (local $f f64)
                (loop $again
                    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
                    (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 3)) (i64.const 1)))
                    (local.set $f (f64.add (local.get $f) (f64.convert_i64_s (local.get $x))))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $x) (local.get $f)))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let func = instance.get_func(&mut store, "f").unwrap();
    let expected = |rounds: i32, mut x: i64| {
        let mut f = 0.0_f64;
        for _ in 0..rounds {
            x = x.wrapping_mul(3).wrapping_add(1);
            f += x as f64;
        }
        (x, f)
    };
    let mut results = [Val::I64(0), Val::F64(0)];
    let mut waiting = Vec::new();
    let mut all_rounds = 0;
    for i in 0..100 {
        let rounds = 20 + i % 7;
        all_rounds += rounds;
        let args = [Val::I32(rounds), Val::I64(i.into())];
        store.set_fuel(0).unwrap();
        let call = func.call_resumable(&mut store, &args, &mut results).unwrap();
        waiting.push((rounds, i64::from(i), out_of_fuel(call)));
    }
    let mut next = 0;
    while !waiting.is_empty() {
        next = (next + 37) % waiting.len();
        let (rounds, x, call) = waiting.swap_remove(next);
        store.set_fuel(call.required_fuel() + 20).unwrap();
        match call.resume(&mut store, &mut results).unwrap() {
            ResumableCall::OutOfFuel(call) => waiting.push((rounds, x, call)),
            ResumableCall::Finished => {
                let found = (results[0].unwrap_i64(), results[1].unwrap_f64());
                assert_eq!(found, expected(rounds, x));
            }
            other => panic!("{other:?}"),
        }
    }
    let turns = instance.get_global(&mut store, "turns").unwrap().get(&mut store);
    assert_eq!(turns.unwrap_i32(), all_rounds);
}
