//! Frame table rows: the operator of every call and trap, and what a trap gives back.

mod common;

use common::{METERINGS, calling_compiler, compiler, position, rows, trap, wasm};
use std::fmt::Write as _;
use stillframe_abi::Trap;
use stillframe_abi::frame_table::{Row, RowKind, WasmPc};

#[test]
fn rows_give_the_wasm_pc_and_the_refund() {
    let module = wasm(
        r#"(module (memory 1) (func $f (param i32) (result i32)
            i32.const 5             ;; run 1: entry 1, then 1 each
            local.get 0
            i32.load offset=42      ;; prefix 4
            i32.add
            call $f                 ;; prefix 6: the end of run 1
            i32.load offset=43      ;; run 2, prefix 1
            local.get 0
            i32.div_u               ;; prefix 3
            if (result i32)         ;; prefix 4: the end of run 2
                i32.const 1
                unreachable         ;; run 3: costs nothing itself
            else
                i32.const 9
                i32.const 8
                i32.store offset=44 ;; run 4, prefix 3
                i32.const 7
            end))"#,
    );
    // `call $f` is 10 00, `i32.div_u` 6e, `unreachable` 00; neighbours make them unique.
    let load_1 = position(&module, &[0x28, 2, 42]);
    let call = WasmPc(load_1.0 + 4);
    let load_2 = position(&module, &[0x28, 2, 43]);
    assert_eq!(&module[call.0 as usize..load_2.0 as usize], [0x10, 0]);
    let div = position(&module, &[0x6e, 4, 0x7f]);
    let unreachable = WasmPc(position(&module, &[0x41, 1, 0, 5]).0 + 2);
    let store = position(&module, &[0x36, 2, 44]);

    for (fuel, epochs) in METERINGS {
        let artifact = compiler(fuel, epochs).compile(&module, &()).unwrap();
        let mut rows = rows(&artifact, 0);
        assert!(rows.is_sorted_by_key(|row| row.native));
        rows.sort_by_key(|row| (row.wasm_pc.0, row.native));
        let found: Vec<_> = rows.into_iter().map(|row| (row.wasm_pc, row.kind)).collect();
        let refund = |refund| if fuel { refund } else { 0 };
        let start = WasmPc(artifact.info.bodies[0].start);
        let entry = WasmPc(start.0 + 1);
        let mut expected = vec![
            (start, trap(Trap::StackOverflow, 0)),
            (entry, RowKind::Call),
            (load_1, trap(Trap::MemoryOutOfBounds, refund(2))),
            (call, RowKind::Call),
            // And 1 for whichever arm is taken: the cheaper one costs as much.
            (load_2, trap(Trap::MemoryOutOfBounds, refund(3 + 1))),
            (div, trap(Trap::IntegerDivisionByZero, refund(1 + 1))),
            (unreachable, trap(Trap::UnreachableCodeReached, 0)),
            (store, trap(Trap::MemoryOutOfBounds, refund(1))),
        ];
        if !fuel && !epochs {
            expected.remove(1);
        }
        assert_eq!(found, expected, "fuel {fuel}, epochs {epochs}");
    }
}

#[test]
fn an_indirect_call_has_a_row_for_each_way_to_fail() {
    let module = wasm(
        r#"(module (table 10 funcref) (func (param i32)
            (call_indirect (param i32) (local.get 0) (local.get 0))
            (call_indirect (param i32) (local.get 0) (local.get 0))))"#,
    );
    let artifact = compiler(true, false).compile(&module, &()).unwrap();
    let first = position(&module, &[0x11, 0, 0, 0x20]);
    let second = position(&module, &[0x11, 0, 0, 0x0b]);
    for pc in [first, second] {
        let mut kinds: Vec<_> =
            rows(&artifact, 0).iter().filter(|row| row.wasm_pc == pc).map(|row| row.kind).collect();
        kinds.sort_by_key(|kind| match kind {
            RowKind::Call | RowKind::CallWithHandler(_) => 0,
            RowKind::Trap { trap, .. } => trap.code(),
        });
        let expected = [
            RowKind::Call,
            trap(Trap::UndefinedElement, 0),
            trap(Trap::IndirectCallToNull, 0),
            trap(Trap::BadSignature, 0),
        ];
        assert_eq!(kinds, expected, "at {pc:?}");
    }
}

/// All loads come first and all uses later, in the same order: Cranelift sinks each load past those
/// behind it, up to the next checkpoint.
#[test]
fn loads_that_sink_far_keep_their_operator() {
    const LOADS: u32 = 1000;
    let mut wat = String::from("(module (memory 1) (func (param i32) (result i32)");
    wat.push_str(&"(local i32)".repeat(LOADS as usize));
    for i in 0..LOADS {
        write!(wat, "(local.set {} (i32.load offset={} (local.get 0)))", i + 1, 5000 + i).unwrap();
    }
    wat.push_str("(local.get 0)");
    for i in 0..LOADS {
        write!(wat, "(i32.add (local.get {}))", i + 1).unwrap();
    }
    wat.push_str("))");
    let module = wasm(&wat);
    let artifact = compiler(true, false).compile(&module, &()).unwrap();
    // The operators that cost something, 1 each. A checkpoint ends the run before each thousandth.
    let operators = 3 * u64::from(LOADS) + 1 + 2 * u64::from(LOADS);
    let expected: Vec<_> = (0..LOADS)
        .map(|i| {
            let offset = 5000 + i;
            let leb = [(offset & 0x7f) as u8 | 0x80, (offset >> 7) as u8];
            let load = position(&module, &[0x28, 2, leb[0], leb[1]]);
            // Executed up to it: three for each load before, `local.get` and itself.
            let executed = 3 * u64::from(i) + 2;
            let run_ends_at = executed.next_multiple_of(1000).min(operators);
            (load, trap(Trap::MemoryOutOfBounds, run_ends_at - executed))
        })
        .collect();
    let overflow = |row: &Row| matches!(row.kind, RowKind::Trap { trap: Trap::StackOverflow, .. });
    let rows = rows(&artifact, 0).into_iter().filter(|row| !overflow(row));
    let mut rows: Vec<_> = rows.map(|row| (row.wasm_pc, row.kind)).collect();
    rows.sort_by_key(|(pc, _)| pc.0);
    let (checkpoints, found): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|(_, kind)| matches!(kind, RowKind::Call));
    assert_eq!(checkpoints.len() as u64, operators / 1000);
    assert_eq!(found, expected);
}

/// `a + (0 - load)` becomes `a - load`: the subtraction is the optimiser's, the load sinks into it.
#[test]
fn a_load_in_an_instruction_of_the_optimiser_keeps_its_operator() {
    let module = wasm(
        r#"(module (memory 1) (func (param i32 i32) (result i32)
            (i32.add (local.get 0)
                (i32.sub (i32.const 0) (i32.load offset=77 (local.get 1))))))"#,
    );
    let artifact = compiler(true, false).compile(&module, &()).unwrap();
    let found: Vec<_> = rows(&artifact, 0).iter().map(|row| (row.wasm_pc, row.kind)).collect();
    let load = position(&module, &[0x28, 2, 77]);
    assert_eq!(found, [(load, trap(Trap::MemoryOutOfBounds, 2))]);
}

/// Entry, if there is a loop or a call anywhere; and every loop that can be reached.
#[test]
fn checkpoints_are_at_entries_and_loops() {
    let module = wasm(
        r#"(module
            (func (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
            (func (param i32) (block (loop (br_if 1 (local.get 0)) (loop (br 1)))))
            (func (return) (loop (br 0)))
            (func (param i32) (if (local.get 0) (then (call 4))))
            (func))"#,
    );
    let loops = position(&module, &[0x03, 0x40, 0x20, 0]);
    let inner = position(&module, &[0x03, 0x40, 0x0c, 1]);
    let call = position(&module, &[0x10, 4]);
    for (fuel, epochs) in METERINGS {
        let artifact = calling_compiler(fuel, epochs).compile(&module, &()).unwrap();
        let calls: Vec<Vec<WasmPc>> = (0..5)
            .map(|defined| {
                let rows = rows(&artifact, defined).into_iter();
                let mut calls: Vec<_> =
                    rows.filter(|row| row.kind == RowKind::Call).map(|row| row.wasm_pc).collect();
                calls.sort_by_key(|pc| pc.0);
                calls
            })
            .collect();
        let entry = |defined: usize| WasmPc(artifact.info.bodies[defined].start + 1);
        let expected = match fuel || epochs {
            true => {
                [vec![], vec![entry(1), loops, inner], vec![entry(2)], vec![entry(3), call], vec![]]
            }
            false => [vec![], vec![], vec![], vec![call], vec![]],
        };
        assert_eq!(calls, expected, "fuel {fuel}, epochs {epochs}");
    }
}
