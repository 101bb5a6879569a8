//! Memory that is used again: what one guest left is not for the next.

use super::common::{call, engine, module};
use stillframe::{Engine, Instance, Memory, MemoryType, Module, Store, Val};

/// The bytes of `m` that are not 0, after it has grown by so many pages.
fn remains(engine: &Engine, module: &Module, grow: u64) -> Vec<(usize, u8)> {
    let mut store = Store::new(engine, ());
    let instance = Instance::new(&mut store, module, &[]).unwrap();
    let memory = instance.get_memory(&mut store, "m").unwrap();
    memory.grow(&mut store, grow).unwrap();
    let bytes = memory.data(&store).iter().enumerate();
    bytes.filter(|(_, byte)| **byte != 0).map(|(at, byte)| (at, *byte)).collect()
}

/// wasmtime, GHSA-wh6w-3828-g9qf and GHSA-6wgr-89rj-399p: a pooled memory that was used by another module kept the
/// initial contents of the one before; or what a guest had written to pages that it had grown.
#[test]
fn a_memory_of_the_pool_shows_nothing_of_the_guests_before() {
    for keep in [1, 100, 0] {
        let engine = engine(|config| {
            config.pooled_memories(keep);
        });
        // Of one size: an image, another one, none, one that the segments are copied for; and others.
        let wats = [
            r#"(memory (export "m") 1 40) (data (i32.const 1000) "abc")"#,
            r#"(memory (export "m") 1 40) (data (i32.const 5000) "de") (data (i32.const 60000) "f")"#,
            r#"(memory (export "m") 1 40)"#,
            r#"(memory (export "m") 1 40) (data (i32.add (i32.const 3) (i32.const 4)) "g")"#,
            r#"(memory (export "m") 3 40) (data (i32.const 131072) "hi")"#,
            r#"(memory (export "m") 3 40)"#,
            r#"(memory (export "m") 0 40)"#,
            r#"(memory (export "m") i64 1 40) (data (i64.const 9) "j")"#,
        ];
        let modules: Vec<Module> =
            wats.iter().map(|wat| module(&engine, &format!("(module {wat})"))).collect();
        let expected: Vec<_> = modules.iter().map(|module| remains(&engine, module, 0)).collect();
        assert_eq!(expected[0], [(1000, b'a'), (1001, b'b'), (1002, b'c')]);
        assert_eq!(expected[3], [(7, b'g')]);
        assert_eq!(expected.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 0, 1, 2, 0, 0, 1]);
        for round in 0..40 {
            // One that leaves much behind, in what it has at first and in what it has grown.
            let first = round % modules.len();
            let mut store = Store::new(&engine, ());
            let instance = Instance::new(&mut store, &modules[first], &[]).unwrap();
            let memory = instance.get_memory(&mut store, "m").unwrap();
            memory.grow(&mut store, [0, 1, 2, 20][round % 4]).unwrap();
            let bytes = memory.data_mut(&mut store);
            // Everything, or a byte here and there.
            match round % 3 {
                0 => bytes.fill(0xee),
                1 => bytes.iter_mut().step_by(4099).for_each(|byte| *byte = 0xee),
                _ => bytes.iter_mut().rev().take(1).for_each(|byte| *byte = 0xee),
            }
            drop(store);
            let next = (round * 5 + 3) % modules.len();
            for at in [first, next] {
                let grow = [20, 0, 1, 30][round % 4];
                assert_eq!(remains(&engine, &modules[at], grow), expected[at], "round {round}");
            }
            // And as one of the host's own.
            let mut store = Store::new(&engine, ());
            let memory = Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
            memory.grow(&mut store, 3).unwrap();
            assert!(memory.data(&store).iter().all(|byte| *byte == 0));
        }
    }
}

/// Lucet, RUSTSEC-2020-0004, and others: stacks that are used again, and cells of arguments, showed
/// what had been there. Locals start as zero, results that nobody has written too.
#[test]
fn a_stack_of_the_pool_shows_nothing_of_the_guests_before() {
    let engine = Engine::default();
    let locals = "i64 ".repeat(200);
    let fill: String = (0..200).map(|i| format!("(local.set {i} (i64.const -1))")).collect();
    let sum: String = (0..200).map(|i| format!("(i64.or (local.get {i}))")).collect();
    let results = "i64 v128 ".repeat(20);
    let zeros = "(i64.const -1) (v128.const i64x2 -1 -1)".repeat(20);
    let wat = format!(
        r#"(module
            (import "" "h" (func $h (result {results})))
            (func $use (param i64))
            (func $spill (export "spill") (local {locals}) {fill}
                (call $use (local.get 3)) (call $many) {drops})
            (func $many (result {results}) {zeros})
            (func (export "locals") (result i64) (local {locals})
                (call $use (i64.const 0)) (i64.const 0) {sum})
            (func (export "host") (result {results}) (call $h)))"#,
        drops = "(drop)".repeat(40),
    );
    let module = module(&engine, &wat);
    for _ in 0..20 {
        let mut store = Store::new(&engine, ());
        let ty = stillframe::FuncType::new(
            [],
            [stillframe::ValType::I64, stillframe::ValType::V128].repeat(20),
        );
        // It writes no results.
        let h = stillframe::Func::new(&mut store, ty, |_, _, results| {
            assert!(results.iter().all(is_zero));
            Ok(())
        });
        let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
        call(&mut store, instance, "spill", &[]).unwrap();
        assert_eq!(call(&mut store, instance, "locals", &[]).unwrap()[0].unwrap_i64(), 0);
        assert!(call(&mut store, instance, "host", &[]).unwrap().iter().all(is_zero));
    }
}

fn is_zero(val: &Val) -> bool {
    match val {
        Val::I64(n) => *n == 0,
        Val::V128(n) => n.as_u128() == 0,
        _ => false,
    }
}
