//! Frame tables, whole and damaged.

use super::*;
use crate::types::ValType;

fn row(native: u32, pc: u32, kind: RowKind) -> Row {
    Row { native: NativeOffset(native), wasm_pc: WasmPc(pc), site: None, kind }
}

fn state(cells: &[u32], operands: &[Option<ValType>]) -> Readable {
    let mut set = CellSet::default();
    cells.iter().for_each(|&cell| set.set(cell, true));
    Readable { cells: set.into(), operands: operands.to_vec() }
}

fn oob(refund: u64) -> RowKind {
    RowKind::Trap { trap: Trap::MemoryOutOfBounds, refund }
}

fn table(functions: &[Vec<u8>]) -> Vec<u8> {
    let mut builder = FrameTableBuilder::new();
    functions.iter().for_each(|function| builder.push_function(function));
    builder.finish().unwrap()
}

fn all(function: FunctionFrames<'_>) -> Vec<(Row, Readable)> {
    let mut rows = function.rows();
    std::iter::from_fn(|| rows.next().map(|row| (row, rows.state().clone()))).collect()
}

#[test]
fn rows_round_trip_and_are_found_by_address_and_kind() {
    let handler = Handler { landing: NativeOffset(299), frame_size: 512 };
    let states = [
        state(&[0, 3], &[Some(ValType::I32), None]),
        state(&[3], &[Some(ValType::I32), Some(ValType::V128)]),
        state(&[3, 500], &[]),
    ];
    let first = [
        (row(7, 110, RowKind::Call), &states[0]),
        (row(7, 112, oob(0)), &states[1]),
        (row(200, 113, RowKind::CallWithHandler(handler)), &states[1]),
        (row(300, 105, oob(1 << 40)), &states[2]),
    ];
    let overflow = RowKind::Trap { trap: Trap::StackOverflow, refund: u64::MAX };
    let nothing = Readable::default();
    let layout = FrameLayout {
        declared: vec![(2, ValType::F64)],
        base: 96,
        sites: vec![InlineSite { call: WasmPc(103), callee: 2, first_local: 5, first_operand: 0 }],
        cells: vec![Cell::Context, Cell::Local(1)],
    };
    let bytes = table(&[
        encode_function(&layout, &first, WasmPc(100)),
        encode_function(&FrameLayout::default(), &[], WasmPc(150)),
        encode_function(
            &FrameLayout::default(),
            &[(row(0, 999, overflow), &nothing)],
            WasmPc(1000),
        ),
    ]);
    let table = FrameTable::parse(&bytes, 3).unwrap();
    let function = table.function(0, WasmPc(100));
    let owned: Vec<_> = first.iter().map(|&(row, state)| (row, state.clone())).collect();
    assert_eq!(all(function), owned);
    assert_eq!(function.layout(), Some(layout));
    assert_eq!(table.function(1, WasmPc(150)).rows().count(), 0);
    let rows = all(table.function(2, WasmPc(1000)));
    assert_eq!(rows, [(row(0, 999, overflow), nothing)]);
    assert_eq!(function.call_at(NativeOffset(7)), Some(owned[0].clone()));
    assert_eq!(function.call_at(NativeOffset(200)), Some(owned[2].clone()));
    assert_eq!(function.call_at(NativeOffset(8)), None);
    assert_eq!(function.traps_at(NativeOffset(7)), owned[1..2]);
    assert_eq!(table.function(3, WasmPc(0)).rows().count(), 0);
}

#[test]
fn every_row_of_many_blocks_is_found() {
    let states: Vec<_> = (0..7).map(|i| state(&[i, 2 * i], &[Some(ValType::I64)])).collect();
    // At each address a call and a trap, so that pairs lie across the ends of blocks; some are in
    // inlined bodies.
    let mut rows = vec![(row(3, 1000, RowKind::Call), &states[0])];
    for i in 1..500u32 {
        let state = &states[i as usize % 7];
        let site = (i % 5 == 0).then_some(i);
        rows.push((Row { site, ..row(i * 10, 1000 + i, RowKind::Call) }, state));
        let site = (i % 3 < 2).then_some(i / 16 * 1000);
        rows.push((Row { site, ..row(i * 10, 990 + i, oob(u64::from(i))) }, state));
    }
    let bytes = table(&[encode_function(&FrameLayout::default(), &rows, WasmPc(990))]);
    let table = FrameTable::parse(&bytes, 1).unwrap();
    let function = table.function(0, WasmPc(990));
    let owned: Vec<_> = rows.iter().map(|&(row, state)| (row, state.clone())).collect();
    assert_eq!(all(function), owned);
    for found in &owned {
        match found.0.kind.is_call() {
            true => assert_eq!(function.call_at(found.0.native).as_ref(), Some(found)),
            false => {
                assert_eq!(function.traps_at(found.0.native), std::slice::from_ref(found));
            }
        }
        assert_eq!(function.call_at(NativeOffset(found.0.native.0 + 1)), None);
    }
}

#[test]
fn damaged_tables_are_refused_or_end_early() {
    let state = state(&[1, 70], &[Some(ValType::I32), None]);
    let layout = FrameLayout {
        declared: vec![(2, ValType::F64)],
        base: 96,
        sites: vec![InlineSite { call: WasmPc(105), callee: 1, first_local: 2, first_operand: 1 }],
        cells: vec![Cell::Context, Cell::Local(1), Cell::Operand { depth: 0, wide: false }],
    };
    let site = |i| (i % 3 == 0).then_some(0);
    let rows = (0..40).map(|i| (Row { site: site(i), ..row(7 + i, 110, oob(0)) }, &state));
    let rows: Vec<_> = rows.collect();
    let bytes = table(&[encode_function(&layout, &rows, WasmPc(100))]);
    assert!(FrameTable::parse(&bytes, 2).is_err());
    assert!(FrameTable::parse(&bytes[..9], 1).is_err());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            if let Ok(table) = FrameTable::parse(&damaged, 1) {
                let function = table.function(0, WasmPc(100));
                let _ = (function.rows().count(), function.layout());
                for native in 0..60 {
                    let _ = function.call_at(NativeOffset(native));
                    let _ = function.traps_at(NativeOffset(native));
                }
            }
        }
    }
}
