//! An object file in memory that describes code to a debugger.
//!
//! ```text
//!   .text                        without contents: the code is where its address says
//!   .symtab .strtab              a symbol for each function
//!   .debug_frame                 how to unwind
//!   .debug_info _abbrev _line    source lines, if there are any
//! ```
//!
//! It is not to be loaded, so it has no segments; addresses are final, so it is "executable" to
//! ELF, and nothing in it is to be relocated.

use super::{NativeCode, cfi, dwarf_out};
use anyhow::{Context, Result};
use gimli::LittleEndian;
use gimli::write::{DebugFrame, EndianVec};
use object::elf;
use object::write::elf::{FileHeader, SectionHeader, Sym, Writer};

/// The object file for this code.
///
/// # Errors
///
/// If the code is too large for the file format.
pub fn elf_image(code: &NativeCode<'_>) -> Result<Vec<u8>> {
    let mut sections = dwarf_out::sections(code)?;
    let mut frames = DebugFrame(EndianVec::new(LittleEndian));
    cfi::frame_table(code).write_debug_frame(&mut frames).context("writing call frames")?;
    sections.push((".debug_frame", frames.0.into_vec()));

    let mut image = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, true, &mut image);
    // All places first, in the order in which they are written.
    writer.reserve_file_header();
    writer.reserve_null_section_index();
    let text_name = writer.add_section_name(b".text");
    let text = writer.reserve_section_index();
    let mut placed = Vec::new();
    for (name, bytes) in &sections {
        let name = writer.add_section_name(name.as_bytes());
        writer.reserve_section_index();
        placed.push((name, writer.reserve(bytes.len(), 1)));
    }
    writer.reserve_null_symbol_index();
    let mut names = Vec::new();
    for function in &code.functions {
        names.push(writer.add_string(function.name.as_bytes()));
        writer.reserve_symbol_index(Some(text));
    }
    writer.reserve_symtab_section_index();
    writer.reserve_symtab();
    writer.reserve_strtab_section_index();
    writer.reserve_strtab();
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab();
    writer.reserve_section_headers();

    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_X86_64,
        e_entry: 0,
        e_flags: 0,
    };
    writer.write_file_header(&header).context("writing an object file")?;
    for (_, bytes) in &sections {
        writer.write(bytes);
    }
    writer.write_null_symbol();
    for (function, name) in code.functions.iter().zip(names) {
        writer.write_symbol(&Sym {
            name: Some(name),
            section: Some(text),
            st_info: (elf::STB_GLOBAL << 4) | elf::STT_FUNC,
            st_other: elf::STV_DEFAULT,
            st_shndx: 0,
            st_value: code.address_of(function),
            st_size: function.code.len() as u64,
        });
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    writer.write_section_header(&SectionHeader {
        name: Some(text_name),
        sh_type: elf::SHT_NOBITS,
        sh_flags: u64::from(elf::SHF_ALLOC | elf::SHF_EXECINSTR),
        sh_addr: code.address,
        sh_offset: 0,
        sh_size: code.text.len() as u64,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 16,
        sh_entsize: 0,
    });
    for ((name, offset), (_, bytes)) in placed.into_iter().zip(&sections) {
        writer.write_section_header(&SectionHeader {
            name: Some(name),
            sh_type: elf::SHT_PROGBITS,
            sh_flags: 0,
            sh_addr: 0,
            sh_offset: offset as u64,
            sh_size: bytes.len() as u64,
            sh_link: 0,
            sh_info: 0,
            sh_addralign: 1,
            sh_entsize: 0,
        });
    }
    // The null symbol is the only local one.
    writer.write_symtab_section_header(1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sample, sample_text};
    use super::*;
    use gimli::{Dwarf, EndianSlice};
    use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

    #[test]
    fn functions_are_symbols_of_a_section_that_is_elsewhere() {
        let text = sample_text();
        let image = elf_image(&sample(&text)).unwrap();
        let file = object::File::parse(&*image).unwrap();
        assert_eq!(file.architecture(), object::Architecture::X86_64);
        assert_eq!(file.kind(), object::ObjectKind::Executable);
        let section = file.section_by_name(".text").unwrap();
        assert_eq!((section.address(), section.size()), (0x10000, 80));
        assert_eq!(section.file_range(), None);
        let symbols: Vec<_> = file
            .symbols()
            .map(|symbol| {
                assert_eq!(symbol.kind(), SymbolKind::Text);
                assert_eq!(symbol.section_index(), Some(section.index()));
                (symbol.name().unwrap(), symbol.address(), symbol.size())
            })
            .collect();
        assert_eq!(symbols, [("main::run", 0x10010, 32), ("entry", 0x10040, 16)]);
        let frames = file.section_by_name(".debug_frame").unwrap();
        assert!(frames.size() > 0);
    }

    #[test]
    fn lines_are_found_by_address_and_statements_only_where_instructions_start() {
        let text = sample_text();
        let image = elf_image(&sample(&text)).unwrap();
        let file = object::File::parse(&*image).unwrap();
        let load = |id: gimli::SectionId| {
            let section = file.section_by_name(id.name());
            let bytes = section.map_or(&[][..], |section| section.data().unwrap());
            Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
        };
        let dwarf = Dwarf::load(load).unwrap();
        let header = dwarf.units().next().unwrap().unwrap();
        let unit = dwarf.unit(header).unwrap();
        assert_eq!(unit.name.unwrap().to_string_lossy(), "guest");
        let mut rows = unit.line_program.clone().unwrap().rows();
        let mut seen = Vec::new();
        while let Some((header, row)) = rows.next_row().unwrap() {
            if row.end_sequence() {
                seen.push((row.address(), 0, false));
                continue;
            }
            let file = row.file(header).unwrap();
            assert_eq!(
                file.path_name(),
                gimli::AttributeValue::String(EndianSlice::new(b"/src/main.c", LittleEndian))
            );
            let line = row.line().map_or(0, |line| line.get());
            seen.push((row.address(), line, row.is_stmt()));
        }
        assert_eq!(
            seen,
            [
                (0x10010, 10, true),
                (0x10014, 11, true),
                (0x10019, 3, false),
                (0x10024, 0, true),
                (0x10028, 9000, true),
                (0x10030, 0, false),
            ]
        );
        // The functions, with the lines where they start.
        let mut functions = Vec::new();
        let mut entries = unit.entries();
        while let Some(entry) = entries.next_dfs().unwrap() {
            if entry.tag() == gimli::DW_TAG_subprogram {
                let name = dwarf.attr_string(&unit, entry.attr_value(gimli::DW_AT_name).unwrap());
                let line = entry.attr_value(gimli::DW_AT_decl_line).and_then(|v| v.udata_value());
                functions.push((name.unwrap().to_string_lossy().into_owned(), line));
            }
        }
        assert_eq!(functions, [("main::run".to_string(), Some(10)), ("entry".to_string(), None)]);
    }

    #[test]
    fn code_without_lines_has_no_dwarf_but_for_the_frames() {
        let text = sample_text();
        let mut code = sample(&text);
        code.functions[0].lines.clear();
        let image = elf_image(&code).unwrap();
        let file = object::File::parse(&*image).unwrap();
        let names: Vec<_> =
            file.sections().map(|section| section.name().unwrap().to_string()).collect();
        assert_eq!(names, [".text", ".debug_frame", ".symtab", ".strtab", ".shstrtab"]);
    }

    #[test]
    fn a_module_without_functions_has_an_image() {
        let code = NativeCode { functions: vec![], text: &[], ..sample(&[]) };
        let image = elf_image(&code).unwrap();
        let file = object::File::parse(&*image).unwrap();
        assert_eq!(file.symbols().count(), 0);
        assert_eq!(file.section_by_name(".text").unwrap().size(), 0);
    }
}
