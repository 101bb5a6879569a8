//! Inlining: which calls are inlined, how much, and what the frame table says of it.

mod common;

use common::{compiler, position, rows, wasm};
use stillframe_abi::Trap;
use stillframe_abi::artifact::{Artifact, FrameState};
use stillframe_abi::frame_table::{Cell, FrameTable, InlineSite, RowKind, WasmPc};
use stillframe_abi::types::ValType;
use stillframe_translate::{Compiler, CompilerOptions};

/// How many calls there are in the code of a defined function.
fn calls(artifact: &Artifact, defined: usize) -> usize {
    rows(artifact, defined).iter().filter(|row| row.kind.is_call()).count()
}

fn compile_with(wat: &str, options: CompilerOptions) -> Artifact {
    Compiler::new(options).unwrap().compile(&wasm(wat), &()).unwrap()
}

/// Whether the last function's call of the first one that the module defines is inlined.
fn is_inlined(callee: &str) -> bool {
    let wat = format!(
        r#"(module
            (import "host" "f" (func $host))
            (memory 1) (table 1 funcref) (global $g (mut i32) (i32.const 0)) (tag $tag)
            (func $callee {callee})
            (func $other (export "other") (loop))
            (elem declare func $other)
            (func (call $callee)))"#
    );
    calls(&compile_with(&wat, CompilerOptions::default()), 2) == 0
}

#[test]
fn small_functions_that_cannot_be_stopped_are_inlined() {
    let many = "(drop (i32.const 1)) ".repeat(19);
    for callee in [
        "",
        "(drop (i32.load (i32.const 1)))",
        "(if (global.get $g) (then (return)) (else (unreachable)))",
        "(block (br_table 0 1 (global.get $g)))",
        "(local v128 f64) (local.set 0 (i32x4.splat (global.get $g)))",
        "(drop (ref.is_null (ref.func $other)))",
        "(drop (i64.trunc_sat_f32_s (f32.const 1)))",
        "(v128.store (i32.const 0) (v128.const i64x2 0 0))",
        &many,
    ] {
        assert!(is_inlined(callee), "{callee}");
    }
}

#[test]
fn functions_that_can_be_stopped_or_are_large_are_called() {
    let many = "(drop (i32.const 1)) ".repeat(20);
    for callee in [
        "(loop)",
        "(call $host)",
        "(call $other)",
        "(call $callee)",
        "(call_indirect (global.get $g))",
        "(return_call $host)",
        "(if (i32.const 0) (then (loop)))",
        "(drop (memory.grow (i32.const 1)))",
        "(memory.fill (i32.const 1) (i32.const 1) (i32.const 1))",
        "(drop (table.get (i32.const 0)))",
        "(throw $tag)",
        "(block (try_table (catch $tag 0)))",
        "(local i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i64)",
        &many,
    ] {
        assert!(!is_inlined(callee), "{callee}");
    }
}

#[test]
fn nothing_is_inlined_if_it_is_off_or_frames_can_be_written() {
    let wat = "(module (func $f) (func (call $f)))";
    let default = CompilerOptions::default;
    for (options, inlining) in [
        (default(), true),
        (CompilerOptions { inlining: false, ..default() }, false),
        (CompilerOptions { frame_writes: true, ..default() }, false),
    ] {
        let artifact = compile_with(wat, options);
        assert_eq!(artifact.settings.inlining, inlining);
        assert_eq!(calls(&artifact, 1), usize::from(!inlining));
    }
}

#[test]
fn without_frame_state_callers_with_references_still_show_them_when_they_have_called() {
    let wat = r#"(module (memory 1)
        (func $traps (drop (i32.load (i32.const -1))))
        (func $does_not (drop (i32.const -1)))
        (func (export "f") (param externref) (call $traps) (drop (local.get 0)))
        (func (export "g") (param externref) (call $does_not) (drop (local.get 0)))
        (func (export "h") (call $traps)))"#;
    let off = CompilerOptions { frame_state: FrameState::Off, ..CompilerOptions::default() };
    let artifact = compile_with(wat, off);
    assert_eq!([2, 3, 4].map(|defined| calls(&artifact, defined)), [1, 0, 0]);
    let artifact = compile_with(wat, CompilerOptions::default());
    assert_eq!([2, 3, 4].map(|defined| calls(&artifact, defined)), [0, 0, 0]);
}

#[test]
fn a_function_grows_by_what_it_has_itself_at_most() {
    let body = "(local.get 0) (i32.const 7) (i32.xor) (local.set 0) ".repeat(7);
    let many = "(drop (call $f (i32.const 1)))".repeat(1000);
    let wat = format!(
        "(module (func $f (param i32) (result i32) {body} (local.get 0)) (func {many}) (func {}))",
        &many[..many.len() / 100]
    );
    let artifact = compile_with(&wat, CompilerOptions::default());
    // Each call is 5 bytes, and one inlined body 30 operators and a local.
    let inlined = 1000 - calls(&artifact, 1);
    assert_eq!(inlined, 5003 / 2 / 31);
    // So much is inlined in any function.
    assert_eq!(calls(&artifact, 2), 10 - 300 / 31);
}

#[test]
fn a_function_whose_calls_are_all_inlined_tests_no_stack() {
    let wat = "(module (func $f) (func (call $f)) (func $g (loop)) (func (call $f) (call $g)))";
    let artifact = compile_with(wat, CompilerOptions::default());
    let tests_stack = |defined| {
        let is_test = |kind| matches!(kind, RowKind::Trap { trap: Trap::StackOverflow, .. });
        rows(&artifact, defined).iter().any(|row| is_test(row.kind))
    };
    assert_eq!([0, 1, 2, 3].map(tests_stack), [false, false, false, true]);
}

#[test]
fn rows_of_inlined_bodies_have_their_site_and_those_around_have_none() {
    let module = wasm(
        r#"(module (memory 1)
            (func $f (param v128 i32) (result i32) (local f32)
                (if (i32.load offset=77 (local.get 1)) (then (unreachable)))
                (local.get 1))
            (func $g (param i32) (result i32) (local i32)
                (i32.load offset=50 (local.get 0))
                (i32.const 9)
                (call $f (v128.const i64x2 0 0) (i32.const 5))
                (i32.store offset=51)
                (i32.load offset=52)
                (call $f (v128.const i64x2 0 0) (local.get 0))
                (i32.const 3)
                (i32.div_u)
                (i32.add)))"#,
    );
    let at = |opcode, offset| position(&module, &[opcode, 2, offset]);
    let [load, unreachable] = [at(0x28, 77), WasmPc(position(&module, &[0x40, 0, 0x0b]).0 + 1)];
    let [first, store, second] = [at(0x28, 50), at(0x36, 51), at(0x28, 52)];
    let calls = [WasmPc(store.0 - 2), WasmPc(position(&module, &[0x41, 3, 0x6e]).0 - 2)];
    assert!(calls.iter().all(|call| module[call.0 as usize..][..2] == [0x10, 0]));
    for fuel in [false, true] {
        let artifact = compiler(fuel, false).compile(&module, &()).unwrap();
        let table = FrameTable::parse(&artifact.frame_table, 2).unwrap();
        let function = table.function(1, WasmPc(artifact.info.bodies[1].start));
        let mut found: Vec<_> = function
            .rows()
            .filter(
                |row| matches!(row.kind, RowKind::Trap { trap, .. } if trap != Trap::StackOverflow),
            )
            .map(|row| (row.site, row.wasm_pc))
            .collect();
        found.sort_by_key(|&(site, pc)| (site, pc.0));
        let own = [first, store, second].map(|pc| (None, pc));
        let inlined = [0, 1].map(|site| [(Some(site), load), (Some(site), unreachable)]);
        assert_eq!(found, [&own[..], inlined.as_flattened()].concat());
        let layout = function.layout().unwrap();
        assert_eq!(layout.declared, [(1, ValType::I32)], "only the function's own");
        let site = |call, first_local, first_operand| InlineSite {
            call,
            callee: 0,
            first_local,
            first_operand,
        };
        assert_eq!(layout.sites, [site(calls[0], 2, 2), site(calls[1], 5, 1)]);
        let locals = |cell: &&Cell| matches!(cell, Cell::Local(2..));
        assert_eq!(layout.cells.iter().filter(locals).count(), 0, "none is read behind its trap");
    }
}

#[test]
fn the_error_of_a_function_that_is_not_valid_names_it_and_not_its_callers() {
    let text = "(module
        (func (drop (call 1 (i32.const 1))))
        (func (param i32) (result i32) (i32.add (local.get 0) (i32.const 99))))";
    // `i32.const 99` becomes three times `nop`: an operand is missing, in a function that would be
    // inlined in one before it.
    let mut module = wasm(text);
    let at = position(&module, &[0x41, 0xe3, 0]).0 as usize;
    module[at..at + 3].fill(1);
    let error = compiler(false, false).compile(&module, &()).unwrap_err();
    assert!(format!("{error:#}").contains("function 1"), "{error:#}");
}
