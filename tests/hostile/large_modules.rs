//! Modules with a hundred thousand of everything.

use super::common::{self, LITTLE_AND_MUCH, call, repeat};
use std::fmt::Write as _;
use stillframe::{Config, Engine, Extern, Func, Instance, Linker, Module, Store, Val};
use stillframe_tests::child;

const MANY: usize = 100_000;

#[test]
fn a_hundred_thousand_functions() {
    if !child::limited("hostile::large_modules::a_hundred_thousand_functions") {
        return;
    }
    // Each of the first thousand calls one of the others; these are inlined there, or not.
    let functions = repeat(MANY - 1_000, |text, i| {
        let _ = writeln!(text, "(func $g{i} (result i32) i32.const {i})");
    });
    let callers = repeat(1_000, |text, i| {
        let callee = i * 98;
        let _ = writeln!(text, r#"(func (export "f{i}") (result i32) call $g{callee})"#);
    });
    let wasm = wat::parse_str(format!("(module {callers} {functions})")).unwrap();
    let way = LITTLE_AND_MUCH[0];
    let (mut store, instance) = common::instance(&way.config(), &way, &wasm);
    for i in [0, 1, 500, 999] {
        let f = instance.get_func(&mut store, &format!("f{i}")).unwrap();
        assert_eq!(call(&mut store, f, &[]).unwrap().unwrap_i32(), i * 98);
    }
}

#[test]
fn a_hundred_thousand_types_and_the_last_one_is_called() {
    if !child::limited(
        "hostile::large_modules::a_hundred_thousand_types_and_the_last_one_is_called",
    ) {
        return;
    }
    // All different: the digits of a number, as types.
    let params = |i: usize| {
        (0..9)
            .map(|digit| ["i32 ", "i64 ", "f32 ", "f64 "][i >> (2 * digit) & 3])
            .collect::<String>()
    };
    let types = repeat(MANY, |text, i| {
        let _ = writeln!(text, "(type $t{i} (func (param {})))", params(i));
    });
    let last = MANY - 1;
    let zeros: String =
        params(last).split_whitespace().fold(String::new(), |text, ty| text + ty + ".const 0 ");
    let text = format!(
        r#"(module {types} (table 2 funcref) (elem (i32.const 0) $first $last)
        (func $first (type $t0)) (func $last (type $t{last}))
        (func (export "f") (param i32) (result i32)
            {zeros} local.get 0 call_indirect (type $t{last}) i32.const 9))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    for way in LITTLE_AND_MUCH {
        let (mut store, instance) = common::instance(&way.config(), &way, &wasm);
        let f = instance.get_func(&mut store, "f").unwrap();
        assert_eq!(call(&mut store, f, &[Val::I32(1)]).unwrap().unwrap_i32(), 9);
        assert!(call(&mut store, f, &[Val::I32(0)]).is_err());
    }
}

#[test]
fn a_hundred_thousand_globals_and_exports() {
    if !child::limited("hostile::large_modules::a_hundred_thousand_globals_and_exports") {
        return;
    }
    let globals = repeat(MANY, |text, i| {
        let _ = writeln!(text, r#"(global (export "g{i}") (mut i64) (i64.const {i}))"#);
    });
    let sum = repeat(1_000, |text, i| {
        let _ = writeln!(text, "global.get {} i64.add", i * 100);
    });
    let text = format!(r#"(module {globals} (func (export "f") (result i64) i64.const 0 {sum}))"#);
    let wasm = wat::parse_str(text).unwrap();
    for way in LITTLE_AND_MUCH {
        let (mut store, instance) = common::instance(&way.config(), &way, &wasm);
        let f = instance.get_func(&mut store, "f").unwrap();
        let expected = (0..1_000).map(|i| i * 100).sum();
        assert_eq!(call(&mut store, f, &[]).unwrap().unwrap_i64(), expected);
        let last = instance.get_global(&mut store, "g99999").unwrap();
        assert_eq!(last.get(&mut store).unwrap_i64(), 99_999);
        assert_eq!(instance.exports(&mut store).count(), MANY + 1);
    }
}

/// 50,000 segments of each kind is what the validator and this share: it takes 100,000.
#[test]
fn a_hundred_thousand_segments() {
    if !child::limited("hostile::large_modules::a_hundred_thousand_segments") {
        return;
    }
    let data = repeat(MANY, |text, i| {
        let _ = match i % 2 {
            0 => writeln!(text, r#"(data (i32.const {i}) "\{:02x}")"#, i / 2 % 256),
            _ => writeln!(text, r#"(data "{i}")"#),
        };
    });
    let elements = repeat(MANY, |text, i| {
        let _ = match i % 2 {
            0 => writeln!(text, "(elem (i32.const {}) func $f)", i / 2),
            _ => writeln!(text, "(elem funcref (ref.func $f) (ref.null func))"),
        };
    });
    let text = format!(
        r#"(module (memory 2) (table {MANY} funcref) {data} {elements}
        (func $f (export "f") (param i32) (result i32)
            i32.const 70000 i32.const 0 i32.const 5 memory.init 99999
            i32.const 60000 i32.const 0 i32.const 2 table.init 99999
            i32.const 60000 table.get ref.is_null i32.const 49999 table.get ref.is_null i32.or
            i32.const 70004 i32.load8_u i32.add local.get 0 i32.load8_u i32.add))"#
    );
    let wasm = wat::parse_str(text).unwrap();
    for way in LITTLE_AND_MUCH {
        let (mut store, instance) = common::instance(&way.config(), &way, &wasm);
        let f = instance.get_func(&mut store, "f").unwrap();
        let result = call(&mut store, f, &[Val::I32(99_998)]).unwrap().unwrap_i32();
        assert_eq!(result, i32::from(b'9') + 49_999 % 256);
    }
    let segments = |text: &str| format!("(module (memory 1) {})", text.repeat(MANY + 1));
    let error = Module::new(&Engine::default(), segments(r#"(data "")"#)).unwrap_err();
    assert!(format!("{error:#}").contains("limit"), "{error:#}");
}

#[test]
fn a_hundred_thousand_imports() {
    if !child::limited("hostile::large_modules::a_hundred_thousand_imports") {
        return;
    }
    let imports = repeat(MANY / 2, |text, i| {
        let _ = writeln!(text, r#"(import "m" "f" (func $f{i} (result i32)))"#);
        let _ = writeln!(text, r#"(import "m" "g" (global $g{i} i32))"#);
    });
    let sum = repeat(1_000, |text, i| {
        let i = i * 50;
        let _ = writeln!(text, "call $f{i} i32.add global.get $g{i} i32.add");
    });
    let text = format!(r#"(module {imports} (func (export "f") (result i32) i32.const 0 {sum}))"#);
    let wasm = wat::parse_str(text).unwrap();
    for way in LITTLE_AND_MUCH {
        let engine = Engine::new(&way.config()).unwrap();
        let module = Module::new(&engine, &wasm).unwrap();
        assert_eq!(module.imports().len(), MANY);
        let mut store = way.store(&engine);
        let host = Module::new(
            &engine,
            r#"(module (func (export "f") (result i32) i32.const 3) (global (export "g") i32 (i32.const 4)))"#,
        );
        let host = Instance::new(&mut store, &host.unwrap(), &[]).unwrap();
        let mut linker = Linker::new(&engine);
        linker.instance(&mut store, "m", host).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        assert_eq!(call(&mut store, f, &[]).unwrap().unwrap_i32(), 7_000);
        // One that is missing is found out.
        let imports: Vec<Extern> = vec![Func::wrap(&mut store, || 3).into(); MANY - 1];
        assert!(Instance::new(&mut store, &module, &imports).is_err());
    }
}

#[test]
fn names_are_as_long_as_the_validator_lets_them_be() {
    let engine = Engine::new(&Config::new()).unwrap();
    let longest = "n".repeat(100_000);
    let text =
        |name: &str| format!(r#"(module ${name} (func ${name} (export "{name}") unreachable))"#);
    let module = Module::new(&engine, text(&longest)).unwrap();
    assert_eq!(module.name(), Some(&longest[..]));
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let error = instance.get_func(&mut store, &longest).unwrap().call(&mut store, &[], &mut []);
    assert!(format!("{:?}", error.unwrap_err()).contains(&longest));
    // The export's is the one that is too long; a name in the name section that is too long names nothing.
    assert!(Module::new(&engine, text(&(longest.clone() + "n"))).is_err());
    let text = format!(r#"(module $m{longest}n (func (export "f") unreachable))"#);
    assert_eq!(Module::new(&engine, text).unwrap().name(), None);
}
