//! Native debuggers, profilers and unwinders among wasm.
//!
//! The debugger's side is played by the `object` and `gimli` readers and by a walk through the list
//! that debuggers walk; the profiler's by a reader of its files. `docs/native-tools.md` says what
//! GDB and perf themselves made of it.

#![allow(missing_docs)]

mod image;
mod list;
mod profiling;
mod unwinding;

use gimli::write::{
    Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Sections,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use object::{Object as _, ObjectSymbol as _};
use std::process::Command;
use stillframe::{Engine, Linker};

const GUEST: &str = r#"
    (module $guest
        (import "host" "f" (func $f (param i32) (result i32)))
        (memory (export "memory") 1 10)
        (func $_ZN5guest4loadEi (param i32) (result i32)
            (i32.add (i32.load (local.get 0)) (i32.load offset=8 (local.get 0))))
        (func (param i32) (result i32)
            (i32.add (call $f (local.get 0)) (i32.div_u (i32.const 9) (local.get 0))))
        (func $grow (export "grow") (result i32) (memory.grow (i32.const 1)))
        (func $spin (export "spin") (loop $l (br_if $l (call $f (i32.const 0)))))
        (func $outer (export "run") (param i32) (result i32)
            (i32.add (call 1 (local.get 0)) (call 2 (local.get 0)))))
"#;

/// The functions that `GUEST` defines, as tools name them.
const NAMES: [&str; 5] = ["guest::load(int)", "<wasm function 2>", "grow", "spin", "outer"];

/// The line of the code section's first byte in the guest's DWARF; each byte has a line.
const FIRST_LINE: u64 = 100;

/// `GUEST` with DWARF in which all of the code section is of `/src/guest.c`.
fn guest() -> Vec<u8> {
    let mut wasm = wat::parse_str(GUEST).unwrap();
    let (encoding, size) = (Encoding { format: Format::Dwarf32, version: 4, address_size: 4 }, 500);
    let text = |text: &str| LineString::String(text.into());
    let (dir, name) = (text("/src"), text("guest.c"));
    let mut program =
        LineProgram::new(encoding, LineEncoding::default(), dir, None, name.clone(), None);
    let directory = program.default_directory();
    let file = program.add_file(name, directory, None);
    program.begin_sequence(Some(Address::Constant(0)));
    for offset in 0..size {
        let row = program.row();
        (row.address_offset, row.file, row.line) = (offset, file, FIRST_LINE + offset);
        program.generate_row();
    }
    program.end_sequence(size);
    let mut dwarf = DwarfUnit::new(encoding);
    dwarf.unit.line_program = program;
    let unit = dwarf.unit.get_mut(dwarf.unit.root());
    unit.set(gimli::DW_AT_comp_dir, AttributeValue::String("/src".into()));
    unit.set(gimli::DW_AT_low_pc, AttributeValue::Address(Address::Constant(0)));
    unit.set(gimli::DW_AT_high_pc, AttributeValue::Udata(size));
    unit.set(gimli::DW_AT_stmt_list, AttributeValue::LineProgramRef);
    let mut sections = Sections::new(EndianVec::new(LittleEndian));
    dwarf.write(&mut sections).unwrap();
    let add = |id: gimli::SectionId, bytes: &EndianVec<LittleEndian>| {
        // A custom section, with its sizes in three bytes each.
        let size = |n: usize| [n as u8 | 0x80, (n >> 7) as u8 | 0x80, (n >> 14) as u8];
        wasm.push(0);
        wasm.extend(size(3 + id.name().len() + bytes.slice().len()));
        wasm.extend(size(id.name().len()));
        wasm.extend(id.name().bytes().chain(bytes.slice().iter().copied()));
        Ok::<(), gimli::write::Error>(())
    };
    sections.for_each(add).unwrap();
    wasm
}

fn linker(engine: &Engine) -> Linker<()> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "f", |x: i32| x).unwrap();
    linker
}

/// The symbols of an image: name, address, size.
fn symbols(image: &[u8]) -> Vec<(String, u64, u64)> {
    let file = object::File::parse(image).unwrap();
    let symbol = |symbol: object::Symbol<'_, '_>| {
        (symbol.name().unwrap().to_string(), symbol.address(), symbol.size())
    };
    file.symbols().map(symbol).collect()
}

/// Set in processes that `child` starts.
const CHILD: &str = "STILLFRAME_NATIVE_TOOLS_CHILD";

/// A command that runs the test `name` of this binary in a process of its own.
fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "");
    command
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}
