//! What an object file says of a compiled module: names, lines, frames.

use crate::{FIRST_LINE, NAMES, guest, symbols};
use gimli::{
    BaseAddresses, CfaRule, DebugFrame, Dwarf, EndianSlice, LittleEndian, RegisterRule,
    UnwindContext, UnwindSection as _, X86_64,
};
use object::{Object as _, ObjectSection as _};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use stillframe::{FuncType, Result, bail};
use stillframe_abi::frame_table::RowKind;
use stillframe_debug::{NativeCode, elf_image};
use stillframe_runtime::{
    CompiledModule, EngineShared, RuntimeConfig, TrampolineCode, TrampolineProvider,
};
use stillframe_translate::{Compiler, CompilerOptions};

struct NoTrampolines;

// SAFETY: it gives none.
unsafe impl TrampolineProvider for NoTrampolines {
    fn trampolines(&self, _: &FuncType) -> Result<TrampolineCode> {
        bail!("nothing is called")
    }
}

fn compiled(wasm: &[u8]) -> Arc<CompiledModule> {
    let compiler = Compiler::new(CompilerOptions::default()).unwrap();
    let artifact = compiler.compile(wasm, &()).unwrap();
    let engine = EngineShared::new(RuntimeConfig::default(), Box::new(NoTrampolines), Box::new(()));
    // SAFETY: the artifact comes from the compiler.
    unsafe { CompiledModule::publish(&engine, artifact) }.unwrap()
}

#[test]
fn an_image_has_the_functions_where_their_code_is() {
    let module = compiled(&guest());
    let image = elf_image(&NativeCode::of_module(&module)).unwrap();
    let base = module.text().as_ptr() as u64;
    let mut expected = Vec::new();
    for (name, code) in NAMES.iter().zip(&module.info().code) {
        let size = u64::from(code.end - code.start);
        expected.push((name.to_string(), base + u64::from(code.start), size));
    }
    assert_eq!(symbols(&image), expected);
}

#[test]
fn lines_are_those_of_the_frame_tables_rows() {
    let module = compiled(&guest());
    let (info, base) = (module.info(), module.text().as_ptr() as u64);
    let image = elf_image(&NativeCode::of_module(&module)).unwrap();
    let file = object::File::parse(&*image).unwrap();
    let load = |id: gimli::SectionId| {
        let section = file.section_by_name(id.name());
        let bytes = section.map_or(&[][..], |section| section.data().unwrap());
        Ok::<_, gimli::Error>(EndianSlice::new(bytes, LittleEndian))
    };
    let dwarf = Dwarf::load(load).unwrap();
    let unit = dwarf.unit(dwarf.units().next().unwrap().unwrap()).unwrap();
    let mut rows = unit.line_program.clone().unwrap().rows();
    let (mut lines, mut statements) = (BTreeMap::new(), HashSet::new());
    while let Some((_, row)) = rows.next_row().unwrap() {
        let line = row.line().map(|line| line.get()).filter(|_| !row.end_sequence());
        lines.insert(row.address(), line);
        if row.is_stmt() && !row.end_sequence() {
            statements.insert(row.address());
        }
    }
    let line_at = |address: u64| *lines.range(..=address).next_back().unwrap().1;
    let line_of = |wasm_pc: u32| Some(FIRST_LINE + u64::from(wasm_pc - info.code_section_start));

    let (mut calls, mut traps, mut starts) = (0, 0, HashSet::new());
    for (defined, (code, body)) in info.code.iter().zip(&info.bodies).enumerate() {
        let start = base + u64::from(code.start);
        assert_eq!(line_at(start), line_of(body.start));
        starts.extend([start, start + 4]);
        for row in module.rows(defined) {
            let address = start + u64::from(row.native.0);
            starts.insert(address);
            // A debugger looks a caller up by the byte before the return address.
            let at = match row.kind {
                RowKind::Trap { .. } => address,
                _ => address - 1,
            };
            assert_eq!(line_at(at), line_of(row.wasm_pc.0), "{row:?} of function {defined}");
            match row.kind {
                RowKind::Trap { .. } => traps += 1,
                _ => calls += 1,
            }
        }
        assert_eq!(line_at(base + u64::from(code.end)), None);
    }
    assert!(calls >= 4 && traps >= 2, "{calls} calls, {traps} traps");
    // Breakpoints are set at statements, so these must be where instructions start.
    assert!(statements.is_subset(&starts), "{statements:x?} {starts:x?}");
    assert!(statements.len() > 10);
}

#[test]
fn unwinding_works_at_the_prologue_in_the_body_and_behind_the_epilogue() {
    let module = compiled(&guest());
    let image = elf_image(&NativeCode::of_module(&module)).unwrap();
    let file = object::File::parse(&*image).unwrap();
    let mut frames = DebugFrame::new(
        file.section_by_name(".debug_frame").unwrap().data().unwrap(),
        LittleEndian,
    );
    frames.set_address_size(8);
    let rules = |address: u64| {
        let (bases, mut context) = (BaseAddresses::default(), UnwindContext::new());
        let find = DebugFrame::cie_from_offset;
        let row = frames.unwind_info_for_address(&bases, &mut context, address, find).unwrap();
        let &CfaRule::RegisterAndOffset { register, offset } = row.cfa() else { panic!() };
        assert_eq!(row.register(X86_64::RA), Some(RegisterRule::Offset(-8)));
        (register, offset, row.register(X86_64::RBP))
    };
    let saved = Some(RegisterRule::Offset(-16));
    for (_, start, size) in symbols(&image) {
        let end = start + size;
        let from = (start - module.text().as_ptr() as u64) as usize;
        let code = &module.text()[from..][..size as usize];
        assert!(code.starts_with(&[0x55, 0x48, 0x89, 0xe5]), "{code:x?}");
        assert_eq!(rules(start), (X86_64::RSP, 8, None));
        assert_eq!(rules(start + 1), (X86_64::RSP, 16, saved.clone()));
        let epilogue = code.windows(5).position(|code| code == [0x48, 0x89, 0xec, 0x5d, 0xc3]);
        let ret = start + epilogue.unwrap() as u64 + 4;
        for address in start + 4..end {
            let expected = match address == ret {
                true => (X86_64::RSP, 8, None),
                false => (X86_64::RBP, 16, saved.clone()),
            };
            assert_eq!(rules(address), expected, "{:x}", address - start);
        }
    }
}
