//! Every operator of the threads proposal compiles, on both kinds of memory, and can trap where it
//! should.

mod common;

use common::{METERINGS, compiler, position, rows, trap, wasm};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use stillframe_abi::Trap;
use stillframe_abi::frame_table::RowKind;
use stillframe_translate::{Compiler, CompilerOptions, OptLevel};

/// All operators that access memory: name, types of the operands after the index, result, bytes.
fn operators() -> Vec<(String, Vec<&'static str>, &'static str, u32)> {
    let mut all = vec![
        ("memory.atomic.notify".into(), vec!["i32"], "i32", 4),
        ("memory.atomic.wait32".into(), vec!["i32", "i64"], "i32", 4),
        ("memory.atomic.wait64".into(), vec!["i64", "i64"], "i32", 8),
    ];
    for (ty, width) in
        [("i32", 8), ("i32", 16), ("i32", 32), ("i64", 8), ("i64", 16), ("i64", 32), ("i64", 64)]
    {
        let full = ty == format!("i{width}");
        let (bits, u) = if full { (String::new(), "") } else { (width.to_string(), "_u") };
        let bytes = width / 8;
        all.push((format!("{ty}.atomic.load{bits}{u}"), vec![], ty, bytes));
        all.push((format!("{ty}.atomic.store{bits}"), vec![ty], "", bytes));
        for op in ["add", "sub", "and", "or", "xor", "xchg"] {
            all.push((format!("{ty}.atomic.rmw{bits}.{op}{u}"), vec![ty], ty, bytes));
        }
        all.push((format!("{ty}.atomic.rmw{bits}.cmpxchg{u}"), vec![ty, ty], ty, bytes));
    }
    all
}

/// A module with two functions for every operator: one uses the result and one does not.
fn module(index: &str, offset: u32) -> Vec<u8> {
    let mut text = format!("(module (memory {index} 1) (func atomic.fence)\n");
    for (name, operands, result, bytes) in operators() {
        let params = format!("{index} {}", operands.join(" "));
        let gets: String = (0..=operands.len()).map(|i| format!("local.get {i} ")).collect();
        let code = format!("{gets} {name} offset={}", offset * bytes);
        writeln!(text, "(func (param {params}) (result {result}) {code})").unwrap();
        let drop = if result.is_empty() { "" } else { "drop" };
        writeln!(text, "(func (param {params}) {code} {drop})").unwrap();
    }
    wasm(&(text + ")"))
}

#[test]
fn every_operator_compiles_and_traps_where_it_should() {
    for (opt_level, fuel) in [(OptLevel::None, false), (OptLevel::Speed, true)] {
        let options = CompilerOptions { opt_level, fuel, ..CompilerOptions::default() };
        let compiler = Compiler::new(options).unwrap();
        for (index, offset) in [("i32", 0), ("i32", 3), ("i32", 0x1fff_ffff), ("i64", 3)] {
            let artifact = compiler.compile(&module(index, offset), &()).unwrap();
            for (i, (name, _, _, bytes)) in operators().into_iter().enumerate() {
                for defined in [2 * i + 1, 2 * i + 2] {
                    let traps: BTreeSet<u8> = rows(&artifact, defined)
                        .into_iter()
                        .filter_map(|row| match row.kind {
                            RowKind::Trap { trap, .. } if trap != Trap::StackOverflow => {
                                Some(trap.code())
                            }
                            _ => None,
                        })
                        .collect();
                    let mut expected = BTreeSet::from([Trap::MemoryOutOfBounds.code()]);
                    if bytes > 1 {
                        expected.insert(Trap::UnalignedAtomic.code());
                    }
                    if name.contains("wait") {
                        expected.insert(Trap::AtomicWaitNonSharedMemory.code());
                    }
                    assert_eq!(traps, expected, "{name}, {index} {offset:#x} {opt_level:?}");
                }
            }
        }
    }
}

#[test]
fn a_trap_is_found_at_its_operator_and_gives_back_the_rest_of_the_run() {
    let module = wasm(
        "(module (memory 1) (func (param i32) (result i32)
            local.get 0                             ;; entry 1, then 1 each
            local.get 0
            i32.load offset=77                      ;; prefix 4
            i32.const 5
            i32.atomic.rmw.or offset=44             ;; prefix 6
            local.get 0
            i32.const 6
            i32.atomic.rmw16.cmpxchg_u offset=46    ;; prefix 9
            i32.add))",
    );
    let load = position(&module, &[0x28, 2, 77]);
    let or = position(&module, &[0xfe, 0x33, 2, 44]);
    let cmpxchg = position(&module, &[0xfe, 0x4b, 1, 46]);
    for (fuel, epochs) in METERINGS {
        let artifact = compiler(fuel, epochs).compile(&module, &()).unwrap();
        let mut found: Vec<_> = rows(&artifact, 0)
            .into_iter()
            .filter(|row| matches!(row.kind, RowKind::Trap { .. }))
            .map(|row| (row.wasm_pc, row.kind))
            .filter(|(_, kind)| *kind != trap(Trap::StackOverflow, 0))
            .collect();
        found.sort_by_key(|(pc, kind)| (pc.0, format!("{kind:?}")));
        // An access can be several instructions.
        found.dedup();
        let refund = |refund| if fuel { refund } else { 0 };
        let expected = [
            (load, trap(Trap::MemoryOutOfBounds, refund(6))),
            (or, trap(Trap::MemoryOutOfBounds, refund(4))),
            (or, trap(Trap::UnalignedAtomic, refund(4))),
            (cmpxchg, trap(Trap::MemoryOutOfBounds, refund(1))),
            (cmpxchg, trap(Trap::UnalignedAtomic, refund(1))),
        ];
        assert_eq!(found, expected);
    }
}

#[test]
fn no_operator_of_the_proposal_is_missing_from_the_test() {
    macro_rules! names {
        ($(@$proposal:ident $op:ident $({ $($field:tt)* })? => $visit:ident ($($ann:tt)*))*) => {
            [$((stringify!($proposal), stringify!($op))),*]
        };
    }
    let mut missing: BTreeSet<&str> = wasmparser::for_each_operator!(names)
        .into_iter()
        .filter_map(|(proposal, name)| (proposal == "threads").then_some(name))
        .collect();
    assert!(missing.len() > 60, "wasmparser's list has only {} operators", missing.len());
    for payload in wasmparser::Parser::new(0).parse_all(&module("i32", 0)) {
        if let wasmparser::Payload::CodeSectionEntry(body) = payload.unwrap() {
            for operator in body.get_operators_reader().unwrap() {
                let debug = format!("{:?}", operator.unwrap());
                missing.remove(debug.split([' ', '(']).next().unwrap());
            }
        }
    }
    assert!(missing.is_empty(), "no function has {missing:?}");
}
