//! What the tests of compiling modules share.

// Each of them uses some of it.
#![allow(dead_code)]

use stillframe_abi::Trap;
use stillframe_abi::artifact::Artifact;
use stillframe_abi::frame_table::{FrameTable, Row, RowKind, WasmPc};
use stillframe_translate::{Compiler, CompilerOptions};

pub fn wasm(wat: &str) -> Vec<u8> {
    wat::parse_str(wat).unwrap()
}

pub fn compiler(fuel: bool, epochs: bool) -> Compiler {
    Compiler::new(CompilerOptions { fuel, epochs, ..CompilerOptions::default() }).unwrap()
}

/// One that inlines nothing.
pub fn calling_compiler(fuel: bool, epochs: bool) -> Compiler {
    let options = CompilerOptions { fuel, epochs, inlining: false, ..CompilerOptions::default() };
    Compiler::new(options).unwrap()
}

pub const METERINGS: [(bool, bool); 4] =
    [(false, false), (true, false), (false, true), (true, true)];

/// The frame table rows of a defined function.
pub fn rows(artifact: &Artifact, defined: usize) -> Vec<Row> {
    let table = FrameTable::parse(&artifact.frame_table, artifact.info.code.len()).unwrap();
    table.function(defined, WasmPc(artifact.info.bodies[defined].start)).rows().collect()
}

pub fn trap(trap: Trap, refund: u64) -> RowKind {
    RowKind::Trap { trap, refund }
}

/// Where these bytes are in the file. They must occur once.
pub fn position(wasm: &[u8], bytes: &[u8]) -> WasmPc {
    let mut found = wasm.windows(bytes.len()).enumerate().filter(|(_, at)| *at == bytes);
    let (at, _) = found.next().expect("the bytes occur");
    assert!(found.next().is_none(), "{bytes:02x?} occurs twice");
    WasmPc(at as u32)
}
