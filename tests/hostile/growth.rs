//! Memories and tables that grow as far as they can and then some: by one, by all, by more than there is.

use super::common::{self, LITTLE_AND_MUCH, Way, trap};
use stillframe::{Engine, Instance, Module, Store, StoreLimits, StoreLimitsBuilder, Trap};
use stillframe_tests::child;

struct Guest {
    store: Store<StoreLimits>,
    instance: Instance,
}

impl Guest {
    fn new(way: &Way, text: &str, limits: StoreLimits) -> Guest {
        let engine = Engine::new(&way.config()).unwrap();
        let module = Module::new(&engine, text).unwrap();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        store.set_epoch_deadline(1_000);
        if way.fuel {
            store.set_fuel(common::FUEL).unwrap();
        }
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        Guest { store, instance }
    }

    /// Grows by so much, and says what `grow` says, and what the size is then.
    fn grow(&mut self, delta: u64) -> (i64, u64) {
        let grow = self.instance.get_typed_func::<i64, i64>(&mut self.store, "grow").unwrap();
        let size = self.instance.get_typed_func::<(), i64>(&mut self.store, "size").unwrap();
        let old = grow.call(&mut self.store, delta.cast_signed()).unwrap();
        (old, size.call(&mut self.store, ()).unwrap().cast_unsigned())
    }

    /// Writes at the last place there is, and reads at the first one.
    fn last_is_there(&mut self) {
        let last = self.instance.get_typed_func::<(), i64>(&mut self.store, "last").unwrap();
        assert_eq!(last.call(&mut self.store, ()).unwrap(), 7);
    }
}

/// A memory with these limits and this index type; what grows it, as a number of 64 bits.
fn memory(index: &str, limits: &str) -> String {
    let (to, from) = match index {
        "i32" => ("i32.wrap_i64", "i64.extend_i32_s"),
        _ => ("", ""),
    };
    let size = if index == "i32" { "i64.extend_i32_u" } else { "" };
    format!(
        r#"(module (memory {index} {limits})
        (func (export "grow") (param i64) (result i64) local.get 0 {to} memory.grow {from})
        (func (export "size") (result i64) memory.size {size})
        (func (export "last") (result i64)
            memory.size {index}.const 65536 {index}.mul {index}.const 1 {index}.sub i64.const 7 i64.store8
            memory.size {index}.const 65536 {index}.mul {index}.const 1 {index}.sub i64.load8_u
            {index}.const 0 i64.load8_u i64.add))"#
    )
}

/// The same of a table.
fn table(index: &str, limits: &str) -> String {
    let (to, from) = match index {
        "i32" => ("i32.wrap_i64", "i64.extend_i32_s"),
        _ => ("", ""),
    };
    let size = if index == "i32" { "i64.extend_i32_u" } else { "" };
    format!(
        r#"(module (table {index} {limits} funcref) (elem declare func $f)
        (func $f (export "grow") (param i64) (result i64)
            ref.null func local.get 0 {to} table.grow {from})
        (func (export "size") (result i64) table.size {size})
        (func (export "last") (result i64)
            table.size {index}.const 1 {index}.sub ref.func $f table.set
            table.size {index}.const 1 {index}.sub table.get ref.is_null
            {index}.const 0 table.get ref.is_null i32.add i64.extend_i32_u i64.const 6 i64.add))"#
    )
}

const HUGE: [u64; 8] =
    [1 << 31, (1 << 32) - 1, 1 << 32, 1 << 47, 1 << 48, 1 << 63, u64::MAX - 1, u64::MAX];

#[test]
fn memories_grow_to_their_maximum_and_not_beyond() {
    if !child::limited("hostile::growth::memories_grow_to_their_maximum_and_not_beyond") {
        return;
    }
    for way in LITTLE_AND_MUCH {
        for index in ["i32", "i64"] {
            let mut guest = Guest::new(&way, &memory(index, "1 100"), StoreLimits::default());
            for pages in 1..100 {
                assert_eq!(guest.grow(1), (pages, pages as u64 + 1), "{index}, {way:?}");
                guest.last_is_there();
            }
            for delta in [1, 2, 65536].into_iter().chain(HUGE) {
                let delta = if index == "i32" { delta as u32 as u64 } else { delta };
                let old = if delta == 0 { 100 } else { -1 };
                assert_eq!(guest.grow(delta), (old, 100), "by {delta}, {index}, {way:?}");
                guest.last_is_there();
            }
            assert_eq!(guest.grow(0), (100, 100));
            // At once.
            let mut guest = Guest::new(&way, &memory(index, "1 100"), StoreLimits::default());
            assert_eq!(guest.grow(100), (-1, 1));
            assert_eq!(guest.grow(99), (1, 100));
            guest.last_is_there();
        }
        // Without a declared maximum: 4 GiB, of which next to nothing is touched.
        let mut guest = Guest::new(&way, &memory("i32", "1"), StoreLimits::default());
        for delta in [65536, (1 << 32) - 1] {
            assert_eq!(guest.grow(delta), (-1, 1), "by {delta}, {way:?}");
        }
        let mut guest = Guest::new(&way, &memory("i64", "1"), StoreLimits::default());
        for delta in HUGE {
            assert_eq!(guest.grow(delta).0, -1, "by {delta}, {way:?}");
        }
        guest.last_is_there();
        assert_eq!(guest.grow(1000), (1, 1001));
        guest.last_is_there();
    }
}

/// Not in a child: there 4 GiB is what it has.
#[test]
fn a_memory_of_32_bits_grows_to_all_that_they_can_address() {
    let mut guest = Guest::new(&LITTLE_AND_MUCH[1], &memory("i32", "1"), StoreLimits::default());
    if guest.grow(65535) != (1, 65536) {
        // The system does not have it. Then nothing has changed.
        assert_eq!(guest.grow(0), (1, 1));
        return;
    }
    let last = guest.instance.get_typed_func::<(), i64>(&mut guest.store, "last").unwrap();
    // 65536 × 65536 is 0 in 32 bits, so this is the last byte all the same.
    assert_eq!(last.call(&mut guest.store, ()).unwrap(), 7);
    assert_eq!(guest.grow(1), (-1, 65536));
}

/// What grows a table costs a unit for each element, whether it is refused or not: these have no
/// fuel to pay.
const UNPAID: [Way; 2] = [LITTLE_AND_MUCH[0], Way { fuel: false, ..LITTLE_AND_MUCH[1] }];

#[test]
fn a_table_that_grows_by_more_than_the_fuel_is_left_as_it_was() {
    for index in ["i32", "i64"] {
        let limits = StoreLimits::default();
        let mut guest = Guest::new(&LITTLE_AND_MUCH[1], &table(index, "1 100"), limits);
        let grow = guest.instance.get_typed_func::<i64, i64>(&mut guest.store, "grow").unwrap();
        for fuel in [1_000, (1 << 32) - 1] {
            guest.store.set_fuel(fuel).unwrap();
            let error = grow.call(&mut guest.store, -1).unwrap_err();
            assert_eq!(trap(&error), Trap::OutOfFuel, "{index}, {fuel}");
            guest.store.set_fuel(common::FUEL).unwrap();
            assert_eq!(guest.grow(0), (1, 1));
        }
        assert_eq!(guest.grow(99), (1, 100));
        guest.last_is_there();
    }
}

#[test]
fn tables_grow_to_their_maximum_and_not_beyond() {
    if !child::limited("hostile::growth::tables_grow_to_their_maximum_and_not_beyond") {
        return;
    }
    for way in UNPAID {
        for index in ["i32", "i64"] {
            let mut guest = Guest::new(&way, &table(index, "1 100"), StoreLimits::default());
            for elements in 1..100 {
                assert_eq!(guest.grow(1), (elements, elements as u64 + 1), "{index}, {way:?}");
            }
            for delta in [1, 2].into_iter().chain(HUGE) {
                let delta = if index == "i32" { delta as u32 as u64 } else { delta };
                let old = if delta == 0 { 100 } else { -1 };
                assert_eq!(guest.grow(delta), (old, 100), "by {delta}, {index}, {way:?}");
            }
            guest.last_is_there();
            let mut guest = Guest::new(&way, &table(index, "1"), StoreLimits::default());
            assert_eq!(guest.grow(999_999), (1, 1_000_000), "{index}, {way:?}");
            guest.last_is_there();
            for delta in [(1 << 32) - 1, u64::MAX] {
                assert_eq!(guest.grow(delta), (-1, 1_000_000), "by {delta}, {index}, {way:?}");
            }
        }
    }
}

#[test]
fn the_limiter_has_the_last_word() {
    let limits = || StoreLimitsBuilder::new().memory_size(3 << 16).table_elements(3);
    for way in UNPAID {
        for index in ["i32", "i64"] {
            for text in [
                memory(index, "1 100"),
                memory(index, "1"),
                table(index, "1 100"),
                table(index, "1"),
            ] {
                let mut guest = Guest::new(&way, &text, limits().build());
                assert_eq!(guest.grow(3), (-1, 1), "{way:?}, {text}");
                assert_eq!(guest.grow(1), (1, 2), "{way:?}, {text}");
                assert_eq!(guest.grow(1), (2, 3), "{way:?}, {text}");
                assert_eq!(guest.grow(1), (-1, 3), "{way:?}, {text}");
                let huge = if index == "i32" { (1 << 32) - 1 } else { u64::MAX };
                assert_eq!(guest.grow(huge), (-1, 3), "{way:?}, {text}");
                guest.last_is_there();

                let strict = limits().trap_on_grow_failure(true).build();
                let mut guest = Guest::new(&way, &text, strict);
                let grow =
                    guest.instance.get_typed_func::<i64, i64>(&mut guest.store, "grow").unwrap();
                let error = grow.call(&mut guest.store, 3).unwrap_err();
                assert!(format!("{error:#}").contains("the limit is"), "{error:#}");
                assert_eq!(guest.grow(2), (1, 3), "{way:?}, {text}");
                guest.last_is_there();
            }
        }
    }
}

#[test]
fn what_begins_too_large_is_refused() {
    if !child::limited("hostile::growth::what_begins_too_large_is_refused") {
        return;
    }
    let engine = Engine::default();
    for text in [
        "(memory 65537)",
        "(memory 1 65537)",
        "(memory i64 281474976710657)",
        "(memory 2 1)",
        "(table 2 1 funcref)",
    ] {
        let wasm = wat::parse_str(format!("(module {text})"));
        assert!(wasm.is_err() || Module::new(&engine, wasm.unwrap()).is_err(), "{text}");
    }
    // What is valid, but nobody has.
    for text in [
        "(memory i64 281474976710656)",
        "(memory i64 4294967296)",
        "(table i64 2305843009213693951 funcref)",
        "(table i64 18446744073709551615 funcref)",
        "(table 4294967295 funcref)",
    ] {
        let Ok(module) = Module::new(&engine, format!("(module {text})")) else { continue };
        let mut store = Store::new(&engine, ());
        for _ in 0..3 {
            assert!(Instance::new(&mut store, &module, &[]).is_err(), "{text}");
        }
        let fine = Module::new(&engine, "(module (memory 1) (table 1 funcref))").unwrap();
        Instance::new(&mut store, &fine, &[]).unwrap();
    }
}
