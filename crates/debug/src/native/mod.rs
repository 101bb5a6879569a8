//! Machine code, as native debuggers and profilers are told of it.
//!
//! ```text
//!   this file    what there is to tell: functions, their names, their source lines
//!   lines        from the frame table's rows to source lines of machine code
//!   cfi          how to step from a frame to its caller's
//!   dwarf_out    a unit of DWARF with the lines
//!   elf          all of that as an object file in memory, for debuggers
//!   jitdump      a jitdump file, for `perf inject --jit`
//!   perf_map     a perf map, for `perf report`
//! ```

mod cfi;
mod dwarf_out;
mod elf;
mod jitdump;
mod lines;
mod perf_map;

pub use elf::elf_image;
pub use jitdump::JitDump;
pub use perf_map::PerfMap;

use crate::frame::source_map;
use crate::names::demangle;
use lines::{Files, Line};
use std::borrow::Cow;
use std::ops::Range;
use stillframe_abi::types::FuncType;
use stillframe_runtime::{CompiledModule, TrampolineCode};

/// Machine code of which native tools are told: a module's, or a pair of trampolines.
#[derive(Debug)]
pub struct NativeCode<'a> {
    name: String,
    /// Where `text` is run.
    address: u64,
    text: &'a [u8],
    /// In ascending order.
    functions: Vec<NativeFunction>,
    files: Files,
}

/// A function in machine code.
#[derive(Debug)]
struct NativeFunction {
    name: String,
    /// A range of the text.
    code: Range<u32>,
    /// In ascending order. Empty if nothing is known.
    lines: Vec<Line>,
    /// Whether an unwinder must stop here: what is behind the return address is on another stack.
    outermost: bool,
}

impl<'a> NativeCode<'a> {
    /// The code of a module. Functions have the names that backtraces give them, and lines where
    /// the guest's DWARF has them.
    pub fn of_module(module: &'a CompiledModule) -> NativeCode<'a> {
        let info = module.info();
        let text = module.text();
        let sources = source_map(module);
        let mut files = Files::default();
        let functions = info.code.iter().zip(&info.bodies).enumerate();
        let functions = functions.map(|(defined, (code, body))| {
            let index = (info.num_imported_functions + defined) as u32;
            let name = match info.func_name(index) {
                Some(name) => demangle(name),
                None => Cow::Owned(format!("<wasm function {index}>")),
            };
            let lines = sources.map_or_else(Vec::new, |sources| {
                let place = |pcs: Range<u32>| {
                    // DWARF counts from the start of the code section.
                    let address = |pc: u32| pc.checked_sub(info.code_section_start).map(u64::from);
                    files.place(&sources.first_location(address(pcs.start)?..address(pcs.end)?)?)
                };
                let code = &text[code.start as usize..code.end as usize];
                lines::of_function(code, body, module.rows(defined), place)
            });
            NativeFunction { name: printable(&name), code: code.clone(), lines, outermost: false }
        });
        let functions = functions.collect();
        let name = printable(info.name.as_deref().unwrap_or("wasm module"));
        NativeCode { name, address: text.as_ptr() as u64, text, functions, files }
    }

    /// The trampolines of a function type, which are at `address`.
    pub fn of_trampolines(
        ty: &FuncType,
        code: &'a TrampolineCode,
        address: usize,
    ) -> NativeCode<'a> {
        let TrampolineCode { text, entry, host } = code;
        let end = text.len() as u32;
        let trampoline = |way: &str, start: u32, other: u32, outermost| NativeFunction {
            name: format!("stillframe trampoline {way} {ty}"),
            code: start..if other > start { other } else { end },
            lines: Vec::new(),
            outermost,
        };
        let mut functions = vec![
            trampoline("host-to-wasm", *entry, *host, true),
            trampoline("wasm-to-host", *host, *entry, false),
        ];
        functions.sort_by_key(|function| function.code.start);
        let name = "stillframe trampolines".to_string();
        NativeCode { name, address: address as u64, text, functions, files: Files::default() }
    }

    fn code_of(&self, function: &NativeFunction) -> &'a [u8] {
        &self.text[function.code.start as usize..function.code.end as usize]
    }

    fn address_of(&self, function: &NativeFunction) -> u64 {
        self.address + u64::from(function.code.start)
    }
}

/// The name on one line and without a zero, which ends a name in all of these formats.
fn printable(name: &str) -> String {
    let visible = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    match name {
        "" => "<no name>".into(),
        _ => name.chars().map(visible).collect(),
    }
}

/// `push rbp; mov rbp, rsp`: how every function starts, since frame pointers are kept.
const PROLOGUE: [u8; 4] = [0x55, 0x48, 0x89, 0xe5];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dwarf::SourceLocation;

    /// A module at 0x10000 of two functions, from byte 16 and from byte 64 on; the first has lines.
    pub(super) fn sample(text: &[u8]) -> NativeCode<'_> {
        let mut files = Files::default();
        let mut line = |offset, line, is_statement| {
            let location =
                SourceLocation { file: "/src/main.c".into(), line: Some(line), column: Some(7) };
            let place = (line != 0).then(|| files.place(&location).unwrap());
            Line { offset, place, is_statement }
        };
        let lines = vec![
            line(0, 10, true),
            line(4, 11, true),
            line(9, 3, false),
            line(20, 0, true),
            line(24, 9000, true),
        ];
        let function = |name: &str, code, lines| NativeFunction {
            name: name.into(),
            code,
            lines,
            outermost: name == "entry",
        };
        let functions =
            vec![function("main::run", 16..48, lines), function("entry", 64..80, vec![])];
        NativeCode { name: "guest".into(), address: 0x10000, text, functions, files }
    }

    /// Two functions with the usual prologue and epilogue.
    pub(super) fn sample_text() -> Vec<u8> {
        let mut text = vec![0xcc; 80];
        for (start, end) in [(16, 48), (64, 80)] {
            text[start..end].fill(0x90);
            text[start..start + 4].copy_from_slice(&PROLOGUE);
            // mov rsp, rbp; pop rbp; ret
            text[end - 5..end].copy_from_slice(&[0x48, 0x89, 0xec, 0x5d, 0xc3]);
        }
        text
    }

    #[test]
    fn names_are_on_one_line() {
        assert_eq!(printable("a\nb\0c\u{7f} \u{e9}"), "a\u{fffd}b\u{fffd}c\u{fffd} \u{e9}");
        assert_eq!(printable(""), "<no name>");
    }

    #[test]
    fn trampolines_are_named_by_their_type_in_the_order_of_their_code() {
        let ty = FuncType::new([stillframe_abi::types::ValType::I32], []);
        for (entry, host) in [(0, 32), (32, 0)] {
            let code = TrampolineCode { text: vec![0; 50], entry, host };
            let native = NativeCode::of_trampolines(&ty, &code, 4096);
            let mut seen = Vec::new();
            for function in &native.functions {
                seen.push((&*function.name, function.code.clone(), function.outermost));
            }
            let mut expected = [
                ("stillframe trampoline host-to-wasm (i32) -> ()", 0..32, true),
                ("stillframe trampoline wasm-to-host (i32) -> ()", 32..50, false),
            ];
            if entry > host {
                expected[0].1 = 32..50;
                expected[1].1 = 0..32;
                expected.swap(0, 1);
            }
            assert_eq!(seen, expected);
            assert_eq!(native.address, 4096);
        }
    }
}
