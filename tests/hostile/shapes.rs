//! Functions with shapes in which something in a compiler takes the square of its time: each is compiled
//! in a child process with a minute, as little and as much metered and watched as can be, and computes
//! what it should.
//!
//! At these sizes most of them took minutes or gigabytes before functions were weighed
//! (`translate/effort.rs`).

use super::common::{self, LITTLE_AND_MUCH, call, computes, repeat};
use std::fmt::Write as _;
use stillframe::{Config, Engine, Module, Val};
use stillframe_tests::child;

/// A module with `f`, a function from `i32` to `i32` with these locals and this body, a function `$inc`
/// that is not inlined, a table that has it, a memory of a page, and what else is declared.
fn module(declarations: &str, locals: &str, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(module (memory 1) (table 1 1 funcref) (elem (i32.const 0) $inc) (global $g (mut i32) (i32.const 0))
        (type $t (func (param i32) (result i32))) {declarations}
        (func $f (export "f") (param i32) (result i32) {locals}
        {body})
        (func $inc (param i32) (result i32) loop end local.get 0 i32.const 1 i32.add))"#
    );
    wat::parse_str(text).unwrap()
}

macro_rules! shapes {
    ($($(#[$doc:meta])* fn $name:ident() $body:block)*) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            if child::limited(concat!("hostile::shapes::", stringify!($name))) $body
        }
    )*};
}

shapes! {
    /// Cold blocks that want its latest value made Cranelift compute all of it again in each.
    fn a_long_chain_of_computations() {
        let body = repeat(120_000, |body, i| {
            let _ = writeln!(body, "i32.const {} {}", i % 64, ["i32.add", "i32.rotl"][i % 2]);
        });
        let chain = |x: i32, i: i32| match i % 2 {
            0 => x.wrapping_add(i % 64),
            _ => x.rotate_left(i as u32 % 64 % 32),
        };
        computes(&module("", "", &format!("local.get 0\n{body}")), (0..120_000).fold(5, chain));
    }

    /// The same with what is seen where something traps.
    fn a_long_chain_between_tests_that_trap() {
        let body = repeat(15_000, |body, i| {
            let _ = writeln!(body, "i32.const {i} i32.xor i32.const 0 table.get 0 drop i32.const 1 i32.rotl");
        });
        let chain = |x: i32, i: i32| (x ^ i).rotate_left(1);
        computes(&module("", "", &format!("local.get 0\n{body}")), (0..15_000).fold(5, chain));
    }

    fn one_giant_expression() {
        let body = "local.get 0\n".repeat(50_001) + &"i32.add\n".repeat(50_000);
        computes(&module("", "", &body), 5 * 50_001);
    }

    fn operands_that_live_across_calls() {
        let body = "local.get 0 call $inc\n".repeat(30_001) + &"i32.add\n".repeat(30_000);
        computes(&module("", "", &body), 6 * 30_001);
    }

    fn operands_that_live_across_branches() {
        let body = "local.get 0 i32.const 1 i32.add local.tee 0\n".repeat(5_000)
            + &"local.get 0 if i32.const 1 global.set $g end\n".repeat(20_000)
            + &"i32.add\n".repeat(4_999);
        computes(&module("", "", &body), (1..=5_000).map(|i| 5 + i).sum());
    }

    fn many_ifs_in_a_row() {
        let body = repeat(40_000, |body, i| {
            let _ = writeln!(body, "local.get 0 if i32.const {} local.set 0 end", i % 64 + 1);
        });
        computes(&module("", "", &format!("{body} local.get 0")), 39_999 % 64 + 1);
    }

    fn many_branches_to_one_far_label() {
        let body = "local.get 0 i32.eqz br_if 0 local.get 0 i32.const 3 i32.add local.set 0\n";
        let body = format!("block {} end local.get 0", body.repeat(40_000));
        computes(&module("", "", &body), 5 + 3 * 40_000);
    }

    fn branches_to_each_of_many_far_labels() {
        let branches = repeat(15_000, |body, i| {
            let _ = writeln!(body, "local.get 0 i32.const {} i32.eq br_if {}", 100 + i, i % 3_000);
        });
        let ends = "end local.get 0 i32.const 1 i32.add local.set 0\n".repeat(3_000);
        let body = "block\n".repeat(3_000) + &branches + &ends + "local.get 0";
        computes(&module("", "", &body), 5 + 3_000);
    }

    fn branches_that_return() {
        let body = repeat(20_000, |body, i| {
            let _ = writeln!(body, "i32.const 7 local.get 0 i32.const {} i32.eq br_if 0 drop", i + 6);
        });
        computes(&module("", "", &format!("{body} local.get 0")), 5);
    }

    fn many_locals_in_nested_loops() {
        const DEPTH: usize = 400;
        let rounds = repeat(DEPTH, |body, i| {
            let i = i + 1;
            let _ = writeln!(body, "local.get {i} i32.const 1 i32.add local.tee {i} i32.const 2 i32.lt_u br_if 0 end");
        });
        let sum = repeat(DEPTH, |body, i| {
            let _ = writeln!(body, "local.get {} i32.add", i + 1);
        });
        let locals = format!("(local {})", "i32 ".repeat(DEPTH));
        let body = format!("{} {rounds} i32.const 0 {sum}", "loop\n".repeat(DEPTH));
        // Each loop goes round twice where it is entered first, and once more for each loop around it.
        let expected = (0..DEPTH as i32).map(|depth| 2 + depth).sum();
        computes(&module("", &locals, &body), expected);
    }

    fn many_locals_across_many_loops() {
        const LOCALS: usize = 20_000;
        let set = repeat(LOCALS, |body, i| {
            let _ = writeln!(body, "i32.const {i} local.set {}", i + 1);
        });
        let loops = repeat(LOCALS, |body, i| {
            let i = i + 1;
            let _ = writeln!(body, "loop local.get {i} i32.const 1 i32.add local.tee {i} i32.eqz br_if 0 end");
        });
        let sum = repeat(LOCALS, |body, i| {
            let _ = writeln!(body, "local.get {} i32.add", i + 1);
        });
        let locals = format!("(local {})", "i32 ".repeat(LOCALS));
        let expected = (1..=LOCALS as i32).sum();
        computes(&module("", &locals, &format!("{set} {loops} i32.const 0 {sum}")), expected);
    }

    fn many_locals_at_a_label_with_many_branches() {
        const LOCALS: usize = 10_000;
        let set = repeat(LOCALS, |body, i| {
            let _ = writeln!(body, "local.get 0 i32.eqz br_if 0 i32.const {i} local.set {}", i + 1);
        });
        let sum = repeat(LOCALS, |body, i| {
            let _ = writeln!(body, "local.get {} i32.add", i + 1);
        });
        let locals = format!("(local {})", "i32 ".repeat(LOCALS));
        let expected = (0..LOCALS as i32).sum();
        computes(&module("", &locals, &format!("block {set} end i32.const 0 {sum}")), expected);
    }

    fn many_locals_at_a_loop_with_many_branches() {
        const LOCALS: usize = 10_000;
        let set = repeat(LOCALS, |body, i| {
            let _ = writeln!(body, "local.get 0 i32.eqz br_if 0 i32.const {i} local.set {}", i + 1);
        });
        let sum = repeat(LOCALS, |body, i| {
            let _ = writeln!(body, "local.get {} i32.add", i + 1);
        });
        let locals = format!("(local {})", "i32 ".repeat(LOCALS));
        let expected = (0..LOCALS as i32).sum();
        computes(&module("", &locals, &format!("loop {set} end i32.const 0 {sum}")), expected);
    }

    fn calls_with_a_thousand_parameters_and_results() {
        let (params, gets) = ("i32 ".repeat(1000), repeat(1000, |gets, i| {
            let _ = write!(gets, "local.get {i} ");
        }));
        let wide = format!("(func $wide (param {params}) (result {params}) {gets} i32.const 1 i32.add)");
        let body = "local.get 0\n".repeat(1000) + &"call $wide\n".repeat(60) + &"i32.add ".repeat(999);
        computes(&module(&wide, "", &body), 5 * 1000 + 60);
    }

    fn branches_that_pass_a_thousand_values() {
        let params = "i32 ".repeat(1000);
        let branches = "local.get 0 br_if 0\n".repeat(20_000);
        let block = format!("block (param {params}) (result {params}) {branches} end ");
        let body = "local.get 0\n".repeat(1000) + &block + &"i32.add ".repeat(999);
        computes(&module("", "", &body), 5 * 1000);
    }

    fn calls_and_branches_that_pass_more_than_can_be_compiled_are_refused() {
        let (params, gets) = ("i32 ".repeat(1000), repeat(1000, |gets, i| {
            let _ = write!(gets, "local.get {i} ");
        }));
        let wide = format!("(func $wide (param {params}) (result {params}) {gets})");
        let thousand = "local.get 0\n".repeat(1000);
        let adds = "i32.add ".repeat(999);
        let calls = format!("{thousand} {} {adds}", "call $wide\n".repeat(100_000));
        let branches = "local.get 0 br_if 0\n".repeat(100_000);
        // From one depth of the stack to another.
        let block = format!("block (result {params}) i32.const 7 {thousand} {branches} br 0 end");
        let branches = format!("{block} {adds}");
        for body in [calls, branches] {
            let wasm = module(&wide, "", &body);
            for way in LITTLE_AND_MUCH {
                let engine = Engine::new(&way.config()).unwrap();
                let error = Module::new(&engine, &wasm).unwrap_err();
                let expected = "compiling function 1 (`f`): the function is too large for the code generator";
                assert_eq!(format!("{error:#}"), expected);
            }
        }
    }

    fn indirect_calls() {
        let body = "i32.const 0 call_indirect (type $t)\n".repeat(8_000);
        computes(&module("", "", &format!("local.get 0 {body}")), 5 + 8_000);
    }

    fn calls_in_one_try_table() {
        let body = "local.get 0 call $inc local.set 0\n".repeat(10_000);
        let body = format!("block try_table (catch_all 0) {body} end end local.get 0");
        computes(&module("", "", &body), 5 + 10_000);
    }

    /// A dispatch over many blocks, each of which throws, or calls, in one `try_table`.
    fn many_arms_that_throw_to_one_handler() {
        const ARMS: usize = 20_000;
        for arm in ["throw $e", "local.get 0 call $inc drop"] {
            let arms = format!("end {arm} br $out\n").repeat(ARMS);
            let body = format!(
                "block $out block $caught try_table (catch_all $caught) {} local.get 0 br_table {} {arms}
                end end end local.get 0",
                "block\n".repeat(ARMS),
                (0..ARMS).map(|arm| format!("{arm} ")).collect::<String>(),
            );
            computes(&module("(tag $e)", "", &body), 5);
        }
    }

    fn try_tables_in_a_row() {
        let body = "block try_table (catch_all 0) local.get 0 call $inc local.set 0 end end\n";
        computes(&module("", "", &format!("{} local.get 0", body.repeat(10_000))), 5 + 10_000);
    }

    /// The innermost `try_table` is not looked for from the inside out.
    fn calls_inside_of_many_blocks() {
        let calls = "local.get 0 call $inc local.set 0\n".repeat(20_000);
        let body = "block\n".repeat(60_000) + &calls + &"end\n".repeat(60_000) + "local.get 0";
        computes(&module("", "", &body), 5 + 20_000);
    }

    fn chains_of_selects() {
        let body = repeat(40_000, |body, i| {
            let _ = writeln!(body, "i32.const {i} local.get 0 select");
        });
        computes(&module("", "", &format!("local.get 0 {body}")), 5);
        let body = "local.get 0 local.get 0\n".repeat(20_000) + "local.get 0\n" + &"select\n".repeat(20_000);
        computes(&module("", "", &body), 5);
    }

    fn accesses_in_a_row() {
        let body = "local.get 0 i32.load local.set 0  local.get 0 i32.const 9 i32.store8 offset=60000
            local.get 0 local.get 0 i32.const 1 i32.or i32.div_u local.set 0
            global.get $g i32.const 1 i32.add global.set $g\n";
        let body = body.repeat(10_000) + "global.get $g local.get 0 i32.add";
        computes(&module("", "", &body), 10_000);
    }

    fn bulk_operations_in_a_row() {
        let body = "local.get 0 i32.const 0 local.get 0 memory.fill  i32.const 0 memory.grow local.set 0\n";
        computes(&module("", "", &format!("{} local.get 0", body.repeat(5_000))), 1);
    }

    fn different_constants() {
        let constant = |i: usize| (i as u32).wrapping_mul(0x9e37_79b1) as i32;
        let body = repeat(25_000, |body, i| {
            let _ = writeln!(body, "i32.const {} i32.xor", constant(i));
        });
        let expected = (0..25_000).fold(5, |x, i| x ^ constant(i));
        computes(&module("", "", &format!("local.get 0 {body}")), expected);
    }
}

/// A table of 100,000 targets, to two labels and to thousands, and where it leads.
#[test]
fn br_tables_with_a_hundred_thousand_targets() {
    if !child::limited("hostile::shapes::br_tables_with_a_hundred_thousand_targets") {
        return;
    }
    for labels in [2, 4_000] {
        let targets = repeat(100_001, |targets, i| {
            let _ = write!(targets, "{} ", i % labels);
        });
        // Behind label `i` comes what counts the labels from there on.
        let counts = "end local.get 1 i32.const 1 i32.add local.set 1\n".repeat(labels);
        let body = format!(
            "{} local.get 0 br_table {targets} {counts} local.get 1",
            "block\n".repeat(labels)
        );
        let wasm = module("", "(local i32)", &body);
        for way in LITTLE_AND_MUCH {
            let (mut store, instance) = common::instance(&way.config(), &way, &wasm);
            let f = instance.get_func(&mut store, "f").unwrap();
            for index in [0_i32, 1, 77_777, 99_999, 100_000, 100_001, -1] {
                let index_of_label = index.cast_unsigned().min(100_000) as usize % labels;
                let result = call(&mut store, f, &[Val::I32(index)]).unwrap().unwrap_i32();
                assert_eq!(
                    result as usize,
                    labels - index_of_label,
                    "{index} of {labels}, {way:?}"
                );
            }
        }
    }
}

/// A module whose only function takes its parameter through so many `i32.clz`. Not by way of a text of
/// fifty megabytes.
fn of_clzs(count: usize) -> Vec<u8> {
    // As LEB128, in five bytes.
    let size = |size: usize| {
        let byte = |i: usize| (size >> (7 * i)) as u8 & 0x7f | if i < 4 { 0x80 } else { 0 };
        [0, 1, 2, 3, 4].map(byte)
    };
    let body = 1 + 2 + count + 1;
    let mut wasm = b"\0asm\x01\0\0\0".to_vec();
    // A type, `(func (param i32) (result i32))`, and a function of it.
    wasm.extend([1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f]);
    wasm.extend([3, 2, 1, 0]);
    wasm.push(10);
    wasm.extend(size(1 + 5 + body));
    wasm.push(1);
    wasm.extend(size(body));
    // No locals, `local.get 0`, ..., `end`.
    wasm.extend([0, 0x20, 0]);
    wasm.resize(wasm.len() + count, 0x67);
    wasm.push(0x0b);
    wasm
}

/// At the validator's limit of 7,654,321 bytes a function is refused for its size, and beyond that for
/// not being valid.
#[test]
fn functions_of_megabytes_are_compiled_or_refused() {
    if !child::limited("hostile::shapes::functions_of_megabytes_are_compiled_or_refused") {
        return;
    }
    let engine = Engine::new(&Config::new()).unwrap();
    let error = |wasm: &[u8]| format!("{:#}", Module::new(&engine, wasm).unwrap_err());
    assert!(Module::new(&engine, of_clzs(500_000)).is_ok());
    assert!(error(&of_clzs(7_000_000)).contains("too large for the code generator"));
    let error = error(&of_clzs(7_700_000));
    assert!(error.contains("invalid module") && error.contains("size"), "{error}");
}
