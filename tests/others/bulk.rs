//! Operations on many bytes or elements, and growth.

use super::common::{alone, call, engine, engines, trap_of};
use stillframe::{
    Engine, Instance, Memory, MemoryType, Module, Ref, ResourceLimiter, Store, Table, TableType,
    Trap, Val, ValType,
};

/// WAMR, issues 2096, 3021, 2797 and others: no bounds were checked if the length was 0, or sums of 32
/// bits wrapped around; wasmtime's first `table.copy` and `table.init` too.
#[test]
fn all_lengths_at_all_ends_are_checked_as_the_specification_says() {
    for ty in ["i32", "i64"] {
        let is_64 = if ty == "i64" { "i64" } else { "" };
        let wat = format!(
            r#"(module
                (memory (export "m") {is_64} 1)
                (table $t (export "t") {is_64} 20 externref)
                (data $d "0123456789")
                (elem $e externref (ref.null extern) (ref.null extern) (ref.null extern))
                (func (export "memory.fill") (param {ty} {ty} {ty})
                    (memory.fill (local.get 0) (i32.const 0) (local.get 2)))
                (func (export "memory.copy") (param {ty} {ty} {ty})
                    (memory.copy (local.get 0) (local.get 1) (local.get 2)))
                (func (export "memory.init") (param {ty} i32 i32)
                    (memory.init $d (local.get 0) (local.get 1) (local.get 2)))
                (func (export "table.fill") (param {ty} {ty} {ty})
                    (table.fill $t (local.get 0) (ref.null extern) (local.get 2)))
                (func (export "table.copy") (param {ty} {ty} {ty})
                    (table.copy $t $t (local.get 0) (local.get 1) (local.get 2)))
                (func (export "table.init") (param {ty} i32 i32)
                    (table.init $t $e (local.get 0) (local.get 1) (local.get 2))))"#
        );
        // Name, sizes of the destination and the source.
        for (name, to, from) in [
            ("memory.fill", 65_536, u64::MAX),
            ("memory.copy", 65_536, 65_536),
            ("memory.init", 65_536, 10),
            ("table.fill", 20, u64::MAX),
            ("table.copy", 20, 20),
            ("table.init", 20, 3),
        ] {
            let narrow_source = name.ends_with("init") || ty == "i32";
            let (mut store, instance) = alone(&Engine::default(), &wat);
            let ends = |size: u64| {
                let small = [0, 1, 2, size.wrapping_sub(1), size, size.wrapping_add(1)];
                let large = [
                    1 << 31,
                    u64::from(u32::MAX),
                    u64::from(u32::MAX).wrapping_sub(size),
                    1 << 32,
                    u64::MAX,
                    u64::MAX - size,
                    1 << 63,
                ];
                small.into_iter().chain(large)
            };
            let cut = |n: u64, narrow: bool| if narrow { u64::from(n as u32) } else { n };
            for dst in ends(to) {
                for src in ends(from) {
                    for len in [
                        0,
                        1,
                        2,
                        to,
                        to + 1,
                        u64::from(u32::MAX),
                        1 << 31,
                        u64::MAX,
                        u64::MAX - to + 1,
                    ] {
                        let (dst, src) = (cut(dst, ty == "i32"), cut(src, narrow_source));
                        let len = cut(len, narrow_source);
                        let narrow = [ty == "i32", narrow_source, narrow_source];
                        let args: Vec<Val> = [dst, src, len]
                            .iter()
                            .zip(narrow)
                            .map(
                                |(&n, narrow)| {
                                    if narrow { Val::I32(n as i32) } else { Val::I64(n as i64) }
                                },
                            )
                            .collect();
                        let called = call(&mut store, instance, name, &args);
                        let fits = |start: u64, size: u64| {
                            u128::from(start) + u128::from(len) <= u128::from(size)
                        };
                        let src_fits = name.ends_with("fill") || fits(src, from);
                        let what = format!("{name} {dst:#x} {src:#x} {len:#x}");
                        match called {
                            Ok(_) => assert!(fits(dst, to) && src_fits, "{what}"),
                            failed => {
                                let expected = if name.starts_with("m") {
                                    Trap::MemoryOutOfBounds
                                } else {
                                    Trap::TableOutOfBounds
                                };
                                assert_eq!(trap_of(failed), expected, "{what}");
                                assert!(!(fits(dst, to) && src_fits), "{what}");
                            }
                        }
                    }
                }
            }
        }
    }
}

/// wasmtime, GHSA-f984-pcp8-v2p7 and GHSA-m9w2-8782-2946: what `table.grow` returned had 64 bits where the
/// guest took it for 32, and an index of a 64-bit table was cut off.
#[test]
fn results_of_growing_and_indices_have_the_width_of_their_type() {
    const WAT: &str = r#"(module
        (table $a 3 10 funcref) (table $b i64 3 10 funcref)
        (memory $m 3 10) (memory $n i64 3 10)
        (func (export "table32") (param i32) (result i64)
            (i64.extend_i32_u (table.grow $a (ref.null func) (local.get 0))))
        (func (export "table64") (param i64) (result i64)
            (table.grow $b (ref.null func) (local.get 0)))
        (func (export "memory32") (param i32) (result i64)
            (i64.extend_i32_u (memory.grow $m (local.get 0))))
        (func (export "memory64") (param i64) (result i64) (memory.grow $n (local.get 0)))
        (func (export "index32") (param i32) (result i32)
            (i32.load8_u $m (table.grow $a (ref.null func) (local.get 0))))
        (func (export "get64") (param i64) (result i32) (ref.is_null (table.get $b (local.get 0))))
        (func (export "call64") (param i64) (call_indirect $b (local.get 0))))"#;
    for engine in engines() {
        let (mut store, instance) = alone(&engine, WAT);
        for (name, narrow) in
            [("table32", true), ("table64", false), ("memory32", true), ("memory64", false)]
        {
            let mut grow = |by: i64| {
                let by = if narrow { Val::I32(by as i32) } else { Val::I64(by) };
                call(&mut store, instance, name, &[by]).map(|results| results[0].unwrap_i64())
            };
            let refused = if narrow { 0xffff_ffff } else { -1 };
            assert_eq!(grow(0).unwrap(), 3);
            assert_eq!(grow(2).unwrap(), 3);
            for by in [6, 100, 0x7fff_ffff, 0x8000_0000, 0xffff_fffb, 0xffff_ffff] {
                assert_eq!(grow(by).unwrap(), refused, "{name} by {by:#x}");
            }
            assert_eq!(grow(5).unwrap(), 5);
            assert_eq!(grow(0).unwrap(), 10);
        }
        // -1 as an address is 4 GiB - 1.
        let called = call(&mut store, instance, "index32", &[Val::I32(5)]);
        assert_eq!(trap_of(called), Trap::MemoryOutOfBounds);
        for index in [10, 1 << 32, 1 << 32 | 1, -1, i64::MIN, i64::MIN | 1, 1 << 61, 1 << 61 | 2] {
            let args = [Val::I64(index)];
            assert_eq!(trap_of(call(&mut store, instance, "get64", &args)), Trap::TableOutOfBounds);
            assert_eq!(
                trap_of(call(&mut store, instance, "call64", &args)),
                Trap::UndefinedElement
            );
        }
        assert_eq!(call(&mut store, instance, "get64", &[Val::I64(9)]).unwrap()[0].unwrap_i32(), 1);
    }
}

/// wasmtime, GHSA-p8xm-42r7-89xg: a table or memory larger than the address space was a panic of the host, not
/// an error.
#[test]
fn what_is_larger_than_the_address_space_is_an_error() {
    let engine = Engine::default();
    for what in [
        "(table i64 0xffffffffffffffff externref)",
        "(table i64 0x2000000000000000 externref)",
        "(table i64 0x1fffffffffffffff externref)",
        "(table i64 0x0fffffffffffffff funcref)",
        "(memory i64 0x1000000000000)",
        "(memory i64 0xffffffffffff)",
        "(memory i64 0x800000000000)",
    ] {
        let mut store = Store::new(&engine, ());
        if let Ok(module) = Module::new(&engine, format!("(module {what})")) {
            Instance::new(&mut store, &module, &[]).unwrap_err();
        }
    }
    for minimum in [1 << 40, 1 << 60, 1 << 61, u64::MAX / 8, u64::MAX] {
        let mut store = Store::new(&engine, ());
        let ty = TableType::new64(ValType::FuncRef, minimum, None);
        Table::new(&mut store, ty, Ref::Func(None)).unwrap_err();
        let table = TableType::new64(ValType::FuncRef, 1, None);
        let table = Table::new(&mut store, table, Ref::Func(None)).unwrap();
        table.grow(&mut store, minimum, Ref::Func(None)).unwrap_err();
        table.grow(&mut store, u64::MAX, Ref::Func(None)).unwrap_err();
        assert_eq!(table.size(&store), 1);
        let memory = Memory::new(&mut store, MemoryType::new64(1, None)).unwrap();
        memory.grow(&mut store, minimum).unwrap_err();
        assert_eq!(memory.size(&store), 1);
    }
}

/// Allows everything, and notes what it was asked.
#[derive(Default)]
struct Notes(Vec<(usize, usize)>);

impl ResourceLimiter for Notes {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> stillframe::Result<bool> {
        self.0.push((current, desired));
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _: Option<usize>,
    ) -> stillframe::Result<bool> {
        self.0.push((current, desired));
        Ok(true)
    }
}

/// Several runtimes were off by one page at the largest memory: 65,536 pages are allowed, and their size in
/// bytes does not fit 32 bits.
#[test]
fn a_memory_grows_to_exactly_the_largest_size() {
    const WAT: &str = r#"(module (memory (export "m") 1)
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "size") (result i32) (memory.size))
        (func (export "last") (param i32) (result i32)
            (i32.store8 (i32.const -1) (local.get 0)) (i32.load8_u (i32.const -1)))
        (func (export "beyond") (result i32) (i32.load8_u offset=1 (i32.const -1)))
        (func (export "fill") (param i32) (memory.fill (local.get 0) (i32.const 1) (i32.const 1))))"#;
    let engine = engine(|_| ());
    let module = super::common::module(&engine, WAT);
    for _ in 0..2 {
        let mut store = Store::new(&engine, Notes::default());
        store.limiter(|notes| notes);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let mut ask = |name: &str, args: &[i32]| {
            let args: Vec<Val> = args.iter().map(|n| Val::I32(*n)).collect();
            call(&mut store, instance, name, &args)
                .map(|results| results.first().map(|r| r.unwrap_i32()))
        };
        assert_eq!(trap_of(ask("last", &[1])), Trap::MemoryOutOfBounds);
        assert_eq!(ask("grow", &[65_536]).unwrap(), Some(-1));
        assert_eq!(ask("grow", &[-1]).unwrap(), Some(-1));
        assert_eq!(ask("grow", &[65_535]).unwrap(), Some(1));
        assert_eq!(ask("size", &[]).unwrap(), Some(65_536));
        assert_eq!(ask("last", &[77]).unwrap(), Some(77));
        assert_eq!(trap_of(ask("beyond", &[])), Trap::MemoryOutOfBounds);
        ask("fill", &[-1]).unwrap();
        assert_eq!(ask("grow", &[1]).unwrap(), Some(-1));
        assert_eq!(ask("grow", &[0]).unwrap(), Some(65_536));
        assert!(
            store.data().0.iter().all(|(_, desired)| *desired <= 4 << 30),
            "asked for too much"
        );
        assert_eq!(store.data().0.last(), Some(&(4 << 30, 4 << 30)));
    }
}
