//! Frames of all sizes: as many locals, parameters and results as there can be, and frames that are
//! larger than the stack.

use super::common::{self, LITTLE_AND_MUCH, Way, call, trap, ways};
use std::fmt::Write as _;
use stillframe::{Engine, FrameState, FrozenTrace, Instance, Module, Trap, Val};
use stillframe_tests::child;

/// The limit for locals, parameters included.
const LOCALS: usize = 50_000;

/// A function with as many locals as can be, of these types in turn; it sets some, calls a
/// function, and adds up what is in them.
fn many_locals(types: &[&str]) -> Vec<u8> {
    let each = (LOCALS - 1) / types.len();
    let mut text = String::from(r#"(module (func $f (export "f") (param i32) (result i32) "#);
    for ty in types {
        let _ = write!(text, "(local {})", format!("{ty} ").repeat(each));
    }
    // The first and the last of each type.
    let mut reads = String::from("(i32.const 0)");
    for (i, ty) in types.iter().enumerate() {
        let (first, last) = (1 + i * each, (i + 1) * each);
        for (at, value) in [(first, 3 + i), (last, 40 + i)] {
            let (write, read) = match *ty {
                "v128" => (format!("(v128.const i32x4 {value} 0 0 0)"), "i32x4.extract_lane 0"),
                "externref" => ("(ref.null extern)".into(), "ref.is_null"),
                "funcref" => ("(ref.null func)".into(), "ref.is_null"),
                "i64" => (format!("(i64.const {value})"), "i32.wrap_i64"),
                "i32" => (format!("(i32.const {value})"), ""),
                ty => (
                    format!("({ty}.const {value})"),
                    if *ty == *"f32" { "i32.trunc_f32_s" } else { "i32.trunc_f64_s" },
                ),
            };
            let _ = writeln!(text, "(local.set {at} {write})");
            let _ = writeln!(reads, "local.get {at} {read} i32.add");
        }
    }
    let _ = write!(
        text,
        r#"(local.set 0 (call $other (local.get 0))) {reads} local.get 0 i32.add)
        (func $other (param i32) (result i32) loop end local.get 0 i32.const 1 i32.add)
        (func (export "fine") (param i32) (result i32) local.get 0))"#
    );
    wat::parse_str(text).unwrap()
}

/// What it computes for 5.
fn expected(types: &[&str]) -> i32 {
    let of_type = |(i, ty): (usize, &&str)| if ty.ends_with("ref") { 2 } else { 43 + 2 * i as i32 };
    types.iter().enumerate().map(of_type).sum::<i32>() + 6
}

const ALL_TYPES: [&str; 7] = ["i32", "i64", "f32", "f64", "v128", "externref", "funcref"];

#[test]
fn fifty_thousand_locals_are_there_and_one_more_is_refused() {
    if !child::limited("hostile::frames::fifty_thousand_locals_are_there_and_one_more_is_refused") {
        return;
    }
    let of_one_type = ALL_TYPES.iter().map(std::slice::from_ref);
    for types in of_one_type.chain([&ALL_TYPES[..]]) {
        let wasm = many_locals(types);
        for way in LITTLE_AND_MUCH.into_iter().chain([Way { plain: true, ..LITTLE_AND_MUCH[1] }]) {
            let mut config = way.config();
            config.max_wasm_stack(4 << 20);
            let (mut store, instance) = common::instance(&config, &way, &wasm);
            let f = instance.get_func(&mut store, "f").unwrap();
            let result = call(&mut store, f, &[Val::I32(5)]).unwrap();
            assert_eq!(result.unwrap_i32(), expected(types), "{types:?}, {way:?}");
        }
    }
    for (params, locals, valid) in
        [(0, LOCALS, true), (1, LOCALS - 1, true), (1, LOCALS, false), (0, LOCALS + 1, false)]
    {
        let text = format!(
            "(module (func (param {}) (local {})))",
            "i32 ".repeat(params),
            "i64 ".repeat(locals)
        );
        let module = Module::new(&Engine::default(), text);
        assert_eq!(module.is_ok(), valid, "{params} and {locals}");
    }
    // Not a list of 2^32 - 1.
    let all = [0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0, 1, 4, 1, 0x60, 0, 0, 3, 2, 1, 0]
        .into_iter()
        .chain([10, 10, 1, 8, 1, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x7f, 0x0b]);
    let error = Module::new(&Engine::default(), all.collect::<Vec<u8>>()).unwrap_err();
    assert!(format!("{error:#}").contains("too many locals"), "{error:#}");
}

#[test]
fn a_frame_that_does_not_fit_overflows_where_it_is_entered() {
    let wasm = many_locals(&["v128"]);
    for way in ways().filter(|way| !way.epochs && (way.plain || way.frame_state == FrameState::All))
    {
        // The frame takes 800,000 bytes.
        for (stack, fits) in [(64 << 10, false), (780 << 10, false), (2 << 20, true)] {
            let mut config = way.config();
            config.max_wasm_stack(stack);
            let (mut store, instance) = common::instance(&config, &way, &wasm);
            let f = instance.get_func(&mut store, "f").unwrap();
            for _ in 0..2 {
                let before = store.get_fuel().ok();
                let result = call(&mut store, f, &[Val::I32(5)]);
                assert_eq!(result.is_ok(), fits, "{stack}, {way:?}");
                let Err(error) = result else { continue };
                assert_eq!(trap(&error), Trap::StackOverflow, "{stack}, {way:?}");
                let frames = FrozenTrace::of(&error).unwrap().frames();
                assert_eq!(frames.len(), 1, "{stack}, {way:?}");
                assert_eq!(frames[0].func_name(), Some("f"));
                assert!(frames[0].local(0).is_err(), "the frame is not there");
                assert_eq!(store.get_fuel().ok(), before, "nothing was executed");
                let fine = instance.get_func(&mut store, "fine").unwrap();
                assert_eq!(call(&mut store, fine, &[Val::I32(9)]).unwrap().unwrap_i32(), 9);
            }
        }
    }
}

#[test]
fn a_thousand_parameters_and_results_and_no_more() {
    let (types, gets) = (
        "i64 i32 f64 v128 ".repeat(250),
        (0..1000).fold(String::new(), |mut gets, i| {
            let _ = write!(gets, "local.get {i} ");
            gets
        }),
    );
    let text = format!(
        r#"(module (type $t (func (param {types}) (result {types})))
        (table 1 1 funcref) (elem (i32.const 0) $same)
        (func $same (export "same") (type $t) {gets})
        (func (export "thrice") (type $t) {gets} call $same i32.const 0 call_indirect (type $t)
            return_call $same))"#
    );
    let values = |i: usize| match i % 4 {
        0 => Val::I64(i as i64),
        1 => Val::I32(i as i32),
        2 => Val::F64((i as f64).to_bits()),
        _ => Val::V128((i as u128).into()),
    };
    let params: Vec<Val> = (0..1000).map(values).collect();
    // With all that is metered, or nothing.
    for way in ways().filter(|way| way.fuel == way.epochs) {
        let engine = Engine::new(&way.config()).unwrap();
        let module = Module::new(&engine, &text).unwrap();
        let mut store = way.store(&engine);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        for name in ["same", "thrice"] {
            let func = instance.get_func(&mut store, name).unwrap();
            let mut results = vec![Val::I32(0); 1000];
            func.call(&mut store, &params, &mut results).unwrap();
            assert_eq!(format!("{results:?}"), format!("{params:?}"), "{name}, {way:?}");
        }
    }
    for (params, results) in [(1001, 0), (0, 1001)] {
        let (params, results) = ("i32 ".repeat(params), "i32 ".repeat(results));
        let text = format!("(module (func (param {params}) (result {results}) unreachable))");
        assert!(Module::new(&Engine::default(), text).is_err());
    }
}
