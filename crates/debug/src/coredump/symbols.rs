//! What a module adds to its dump: names of functions, locals and globals, and source positions.
//!
//! The module is only parsed, not validated: it ran already, maybe in a runtime that can more than
//! ours.

use super::{CoreDump, Frame};
use crate::dwarf::{FrameSymbol, SourceMap};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::HashMap;
use std::ops::Range;
use wasmparser::{
    CustomSectionReader, Encoding, ExternalKind, IndirectNameMap, KnownCustom, Name, NameMap,
    NameSectionReader, Parser, Payload, TypeRef, WasmFeatures,
};

/// Names and source positions of a module, for [`Printer::module`](super::Printer::module).
pub struct ModuleSymbols {
    name: Option<String>,
    functions: HashMap<u32, String>,
    /// By function and local.
    locals: HashMap<(u32, u32), String>,
    globals: HashMap<u32, String>,
    imported_functions: u32,
    /// For every defined function, where its body lies in the file.
    bodies: Vec<Range<u64>>,
    /// Where the contents of the code section begin; DWARF counts from there.
    code_start: u64,
    sources: SourceMap,
}

impl ModuleSymbols {
    /// Reads them from a module, in the binary format.
    ///
    /// # Errors
    ///
    /// If the module is malformed. Damaged names or debug information are not an error: there are
    /// fewer then.
    pub fn parse(wasm: &[u8]) -> Result<ModuleSymbols> {
        let mut symbols = ModuleSymbols {
            name: None,
            functions: HashMap::new(),
            locals: HashMap::new(),
            globals: HashMap::new(),
            imported_functions: 0,
            bodies: Vec::new(),
            code_start: 0,
            sources: SourceMap::new(&[]),
        };
        let mut dwarf = Vec::new();
        let mut exports = Vec::new();
        let mut parser = Parser::new(0);
        parser.set_features(WasmFeatures::all());
        for payload in parser.parse_all(wasm) {
            match payload? {
                Payload::Version { encoding: Encoding::Component, .. } => {
                    bail!("it is a component, not a module")
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports_with_offsets() {
                        if let TypeRef::Func(_) | TypeRef::FuncExact(_) = import?.1.ty {
                            symbols.imported_functions += 1;
                        }
                    }
                }
                Payload::ExportSection(section) => {
                    exports = section.into_iter().collect::<wasmparser::Result<_>>()?;
                }
                Payload::CodeSectionStart { unchecked_range, .. } => {
                    symbols.code_start = unchecked_range.start;
                }
                Payload::CodeSectionEntry(body) => symbols.bodies.push(body.range()),
                Payload::CustomSection(section) => {
                    symbols.custom_section(&section);
                    if section.name().starts_with(".debug_") {
                        dwarf.push((section.name().to_string(), section.data().into()));
                    }
                }
                _ => {}
            }
        }
        // What has no name is known by that of its export.
        for export in exports {
            let names = match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => &mut symbols.functions,
                ExternalKind::Global => &mut symbols.globals,
                _ => continue,
            };
            names.entry(export.index).or_insert_with(|| export.name.into());
        }
        symbols.sources = SourceMap::new(&dwarf);
        Ok(symbols)
    }

    fn custom_section(&mut self, section: &CustomSectionReader<'_>) {
        let KnownCustom::Name(names) = section.as_known() else { return };
        // Damage ends the section, and what came before it is good.
        let _ = self.name_section(names);
    }

    fn name_section(&mut self, section: NameSectionReader<'_>) -> wasmparser::Result<()> {
        for subsection in section {
            match subsection? {
                Name::Module { name, .. } => self.name = Some(name.into()),
                Name::Function(names) => add_names(&mut self.functions, names, |index| index)?,
                Name::Global(names) => add_names(&mut self.globals, names, |index| index)?,
                Name::Local(names) => self.add_local_names(names)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn add_local_names(&mut self, functions: IndirectNameMap<'_>) -> wasmparser::Result<()> {
        for function in functions {
            let function = function?;
            add_names(&mut self.locals, function.names, |local| (function.index, local))?;
        }
        Ok(())
    }

    /// The module's name, from its name section.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The name of a function: that of the name section, as it stands there, or that of an export.
    pub fn func_name(&self, index: u32) -> Option<&str> {
        self.functions.get(&index).map(String::as_str)
    }

    /// The name of a global, from the name section or of an export.
    pub fn global_name(&self, index: u32) -> Option<&str> {
        self.globals.get(&index).map(String::as_str)
    }

    /// What the module's DWARF says of the place where a frame stood: functions that were inlined
    /// there, innermost first, and last the function itself.
    pub fn symbols(&self, frame: &Frame) -> Vec<FrameSymbol> {
        self.address(frame).map_or_else(Vec::new, |address| self.sources.symbols_at(address))
    }

    /// The names of a frame's locals, where they have one: those of the name section and, of the
    /// others, those of the DWARF. Variables that are kept elsewhere have no local.
    pub fn local_names(&self, frame: &Frame) -> HashMap<u32, String> {
        let mut names = HashMap::new();
        if let Some(address) = self.address(frame) {
            for (local, name) in self.sources.local_names_at(address) {
                // Those of inner scopes come first.
                names.entry(local).or_insert(name);
            }
        }
        for local in 0..frame.locals.len() as u32 {
            if let Some(name) = self.locals.get(&(frame.func_index, local)) {
                names.insert(local, name.clone());
            }
        }
        names
    }

    fn body(&self, func_index: u32) -> Option<&Range<u64>> {
        self.bodies.get(func_index.checked_sub(self.imported_functions)? as usize)
    }

    /// Where a frame stood, as DWARF counts, if that is known.
    fn address(&self, frame: &Frame) -> Option<u64> {
        let body = self.body(frame.func_index)?;
        let known = frame.code_offset != 0;
        let at = body.start + u64::from(frame.code_offset);
        if known && at < body.end { at.checked_sub(self.code_start) } else { None }
    }

    /// That `dump` can be of a program in which this was module `index`.
    pub(super) fn check(&self, dump: &CoreDump<'_>, index: u32) -> Result<()> {
        let module_of = |frame: &Frame| {
            dump.instances.get(frame.instance as usize).map(|instance| instance.module)
        };
        let frames = dump.threads.iter().flat_map(|thread| &thread.frames);
        for frame in frames.filter(|&frame| module_of(frame) == Some(index)) {
            let (function, offset) = (frame.func_index, frame.code_offset);
            let body = self.body(function).with_context(|| {
                format!("a frame is in function {function}, and the module has no such body")
            })?;
            ensure!(
                u64::from(offset) < body.end - body.start,
                "a frame stands at offset {offset:#x} in function {function}, whose body has \
                 {:#x} bytes",
                body.end - body.start
            );
        }
        Ok(())
    }
}

fn add_names<K: std::hash::Hash + Eq>(
    to: &mut HashMap<K, String>,
    names: NameMap<'_>,
    key: impl Fn(u32) -> K,
) -> wasmparser::Result<()> {
    for naming in names {
        let naming = naming?;
        to.insert(key(naming.index), naming.name.into());
    }
    Ok(())
}
