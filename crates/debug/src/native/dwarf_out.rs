//! The lines as DWARF: one unit, with a line program and an entry for each function.

use super::NativeCode;
use anyhow::{Context, Result};
use gimli::constants as dw;
use gimli::write::{
    Address, AttributeValue, DwarfUnit, EndianVec, FileId, LineProgram, LineString, Sections,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};

/// DWARF 4 is read by all debuggers in use.
const ENCODING: Encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 8 };

/// Sections with their names, none of them empty; no sections if no function has lines.
pub(super) fn sections(code: &NativeCode<'_>) -> Result<Vec<(&'static str, Vec<u8>)>> {
    if code.functions.iter().all(|function| function.lines.is_empty()) {
        return Ok(Vec::new());
    }
    let mut unit = DwarfUnit::new(ENCODING);
    let (program, files) = line_program(code);
    unit.unit.line_program = program;
    let root = unit.unit.root();
    let string = |text: &str| AttributeValue::String(text.into());
    let address = |address| AttributeValue::Address(Address::Constant(address));
    let entry = unit.unit.get_mut(root);
    entry.set(dw::DW_AT_producer, string("Stillframe"));
    // Names are printed and looked up as they are.
    entry.set(dw::DW_AT_language, AttributeValue::Language(dw::DW_LANG_C99));
    entry.set(dw::DW_AT_name, string(&code.name));
    entry.set(dw::DW_AT_low_pc, address(code.address));
    entry.set(dw::DW_AT_high_pc, AttributeValue::Udata(code.text.len() as u64));
    entry.set(dw::DW_AT_stmt_list, AttributeValue::LineProgramRef);
    for function in &code.functions {
        let id = unit.unit.add(root, dw::DW_TAG_subprogram);
        let entry = unit.unit.get_mut(id);
        entry.set(dw::DW_AT_name, string(&function.name));
        entry.set(dw::DW_AT_external, AttributeValue::Flag(true));
        entry.set(dw::DW_AT_low_pc, address(code.address_of(function)));
        entry.set(dw::DW_AT_high_pc, AttributeValue::Udata(function.code.len() as u64));
        // A function's first line is that of its body's start.
        if let Some(place) = function.lines.first().and_then(|line| line.place) {
            entry.set(dw::DW_AT_decl_file, AttributeValue::FileIndex(Some(files[place.file])));
            entry.set(dw::DW_AT_decl_line, AttributeValue::Udata(u64::from(place.line)));
        }
    }
    let mut written = Sections::new(EndianVec::new(LittleEndian));
    unit.write(&mut written).context("writing DWARF")?;
    let mut sections = Vec::new();
    let keep = |id: gimli::SectionId, bytes: &mut EndianVec<LittleEndian>| {
        if !bytes.slice().is_empty() {
            sections.push((id.name(), bytes.take()));
        }
        Ok::<(), gimli::write::Error>(())
    };
    written.for_each_mut(keep).context("writing DWARF")?;
    Ok(sections)
}

/// The line program, and its ids of the files.
fn line_program(code: &NativeCode<'_>) -> (LineProgram, Vec<FileId>) {
    let string = |text: &str| LineString::String(text.into());
    let mut program = LineProgram::new(
        ENCODING,
        LineEncoding::default(),
        string("."),
        None,
        string(&code.name),
        None,
    );
    let directory = program.default_directory();
    let files: Vec<FileId> = code
        .files
        .names()
        .iter()
        .map(|name| program.add_file(string(name), directory, None))
        .collect();
    for function in code.functions.iter().filter(|function| !function.lines.is_empty()) {
        program.begin_sequence(Some(Address::Constant(code.address_of(function))));
        for line in &function.lines {
            let row = program.row();
            row.address_offset = u64::from(line.offset);
            row.is_statement = line.is_statement;
            // Line 0 says that there is none.
            (row.line, row.column) = (0, 0);
            if let Some(place) = line.place {
                row.file = files[place.file];
                (row.line, row.column) = (u64::from(place.line), u64::from(place.column));
            }
            program.generate_row();
        }
        program.end_sequence(function.code.len() as u64);
    }
    (program, files)
}
