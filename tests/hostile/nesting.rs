//! Constructs that are nested as deep as their number of bytes allows.

use super::common::{self, LITTLE_AND_MUCH, Way, call};
use std::fmt::Write as _;
use stillframe::Val;
use stillframe_tests::child;

/// What `f` computes for 5, in both ways.
fn computes(locals: &str, body: &str, expected: i32) {
    in_ways(&LITTLE_AND_MUCH, locals, body, expected);
}

/// The same in these.
fn in_ways(ways: &[Way], locals: &str, body: &str, expected: i32) {
    let text = format!(
        r#"(module (tag $e) (func (export "f") (param i32) (result i32) {locals} {body})
        (func $throw (throw $e)))"#
    );
    common::computes_in(ways, &wat::parse_str(text).unwrap(), expected);
}

/// So many times `open`, then `inside`, then so many times `close`.
fn nested(depth: usize, open: &str, inside: &str, close: &str) -> String {
    let mut text = String::new();
    for _ in 0..depth {
        let _ = writeln!(text, "{open}");
    }
    let _ = writeln!(text, "{inside}");
    for _ in 0..depth {
        let _ = writeln!(text, "{close}");
    }
    text
}

#[test]
fn blocks_loops_and_ifs_nest_as_deep_as_they_like() {
    if !child::limited("hostile::nesting::blocks_loops_and_ifs_nest_as_deep_as_they_like") {
        return;
    }
    let (little, both) = (&LITTLE_AND_MUCH[..1], &LITTLE_AND_MUCH[..]);
    for (depth, ways) in [(4_096, both), (50_000, little)] {
        let computes = |body: String, expected| in_ways(ways, "", &body, expected);
        let leave = format!("local.get 0 br_if {}", depth - 1);
        computes(nested(depth, "block", &leave, "end") + "local.get 0", 5);
        let count = "local.get 0 i32.const 1 i32.add local.set 0 end";
        computes(nested(depth, "block", "", count) + "local.get 0", 5 + depth as i32);
        let body = nested(depth, "local.get 0 if", "i32.const 7 local.set 0", "end");
        computes(body + "local.get 0", 7);
    }
    for (depth, ways) in [(4_096, both), (10_000, little)] {
        let computes = |body: String, expected| in_ways(ways, "", &body, expected);
        let count = "local.get 0 i32.const 1 i32.add local.tee 0 i32.eqz br_if 0 end";
        computes(nested(depth, "loop", "", count) + "local.get 0", 5 + depth as i32);
        let open = "local.get 0 if (result i32)";
        computes(nested(depth, open, "i32.const 7", "else i32.const 8 end"), 7);
        // What an `if` takes is there for its `else`.
        let take = "local.get 0 i32.const 0 if (param i32) (result i32) drop i32.const 1 else";
        computes(nested(depth, take, "local.get 0", "i32.add end"), 5 * (1 + depth as i32));
    }
}

#[test]
fn try_tables_nest_and_the_innermost_catches() {
    if !child::limited("hostile::nesting::try_tables_nest_and_the_innermost_catches") {
        return;
    }
    for depth in [100, 2_000] {
        let open = "block try_table (catch_all 0)";
        // Each handler is inside of the next `try_table`, and throws again.
        let close = "end end local.get 0 i32.const 1 i32.add local.set 0 call $throw";
        let body = nested(depth, open, "call $throw", close);
        let body = format!("block try_table (catch_all 0) {body} end end local.get 0");
        computes("", &body, 5 + depth as i32);
    }
    // A row of `try_table`s whose clauses do not match: the exception goes through all of them.
    let body = nested(1_000, "block try_table (catch $other 0)", "call $throw", "end end");
    let body = format!("block try_table (catch_all 0) {body} end end local.get 0");
    let text = format!(
        r#"(module (tag $e) (tag $other) (func (export "f") (param i32) (result i32) {body})
        (func $throw (throw $e)))"#
    );
    for way in LITTLE_AND_MUCH {
        let wasm = wat::parse_str(&text).unwrap();
        let (mut store, instance) = common::instance(&way.config(), &way, &wasm);
        let f = instance.get_func(&mut store, "f").unwrap();
        assert_eq!(call(&mut store, f, &[Val::I32(5)]).unwrap().unwrap_i32(), 5);
    }
}

#[test]
fn what_is_not_reached_nests_too() {
    if !child::limited("hostile::nesting::what_is_not_reached_nests_too") {
        return;
    }
    let constructs = ["block", "loop", "i32.const 0 if", "try_table"];
    for construct in constructs {
        let body = nested(50_000, construct, "call $throw", "end");
        computes("", &format!("block local.get 0 return {body} end local.get 0"), 5);
    }
}
