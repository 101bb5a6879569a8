//! From the bytes of a wasm file to [`ModuleInfo`] and the function bodies.
//!
//! Everything but the bodies is validated here, section by section; a body comes with the validator
//! that [`translate_function`](crate::func::translate_function) drives operator by operator.
//! Positions count from the start of the file and are 32 bits wide, so a file is at most 4 GiB.

use crate::env::val_type;
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::ops::Range;
use stillframe_abi::module::{
    ConstExpr, ConstOp, DataSegment, ElemItems, ElemSegment, EntityIndex, Export, Import,
    ModuleInfo, NO_SLOT, SegmentMode,
};
use stillframe_abi::types::{FuncType, GlobalType, MemoryType, Mutability, TableType, ValType};
use wasmparser::{
    CustomSectionReader, DataKind, ElementItems, ElementKind, ExternalKind, FuncToValidate,
    FunctionBody, IndirectNameMap, KnownCustom, Name, NameSectionReader, Operator, Parser, Payload,
    TableInit, TypeRef, ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

/// A module whose bodies are still to be validated.
pub(crate) struct ParsedModule<'a> {
    /// All of it but `code`, which linking fills.
    pub(crate) info: ModuleInfo,
    /// The bodies of the defined functions, in order, each with what validates it.
    pub(crate) bodies: Vec<(FuncToValidate<ValidatorResources>, FunctionBody<'a>)>,
    /// The bytes of all data segments; `info.data` has the ranges.
    pub(crate) data: Vec<u8>,
    /// The custom sections with DWARF: name with its dot, and bytes.
    pub(crate) dwarf: Vec<(String, Vec<u8>)>,
}

/// The proposals that modules may use.
pub(crate) fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::EXCEPTIONS
}

/// Parses and validates a module, except for the function bodies.
///
/// # Errors
///
/// If it is malformed, not valid, or uses a proposal that is not supported: says where in the file.
pub(crate) fn parse(wasm: &[u8]) -> Result<ParsedModule<'_>> {
    parse_sections(wasm).map_err(invalid)
}

/// The error for a module in which validation found `error`.
pub(crate) fn invalid(error: anyhow::Error) -> anyhow::Error {
    anyhow!("invalid module: {error:#}")
}

fn parse_sections(wasm: &[u8]) -> Result<ParsedModule<'_>> {
    ensure!(u32::try_from(wasm.len()).is_ok(), "the file is larger than 4 GiB");
    let mut module = ParsedModule {
        info: ModuleInfo::default(),
        bodies: Vec::new(),
        data: Vec::new(),
        dwarf: Vec::new(),
    };
    let mut validator = Validator::new_with_features(features());
    let mut parser = Parser::new(0);
    parser.set_features(features());
    for payload in parser.parse_all(wasm) {
        let payload = payload?;
        match validator.payload(&payload)? {
            ValidPayload::Func(validator, body) => {
                let Range { start, end } = body.range();
                module.info.bodies.push(narrow(start)..narrow(end));
                module.bodies.push((validator, body));
            }
            _ => module.section(payload)?,
        }
    }
    // Names can come before the functions that they name.
    let functions = module.info.functions.len();
    module.info.func_names.retain(|(index, _)| (*index as usize) < functions);
    module.info.local_names.retain(|(index, _, _)| (*index as usize) < functions);
    assign_func_ref_slots(&mut module.info);
    Ok(module)
}

impl<'a> ParsedModule<'a> {
    /// Takes over a section that the validator has seen.
    fn section(&mut self, payload: Payload<'a>) -> Result<()> {
        let info = &mut self.info;
        match payload {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    info.types.push(func_type(&ty?));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports_with_offsets() {
                    let (at, import) = import?;
                    add_import(info, import, at)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    info.functions.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    info.tables.push(table_type(table.ty));
                    info.table_inits.push(match table.init {
                        TableInit::RefNull => None,
                        TableInit::Expr(expr) => Some(const_expr(&expr)?),
                    });
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.into_iter_with_offsets() {
                    let (at, memory) = memory?;
                    info.memories.push(memory_type(memory, at)?);
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    info.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    info.globals.push(global_type(global.ty));
                    info.global_inits.push(const_expr(&global.init_expr)?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let index = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => {
                            EntityIndex::Func(export.index)
                        }
                        ExternalKind::Table => EntityIndex::Table(export.index),
                        ExternalKind::Memory => EntityIndex::Memory(export.index),
                        ExternalKind::Global => EntityIndex::Global(export.index),
                        ExternalKind::Tag => bail!("exported tags are not supported"),
                    };
                    info.exports.push(Export { name: export.name.into(), index });
                }
            }
            Payload::StartSection { func, .. } => info.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    info.elems.push(elem_segment(element?)?);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    self.add_data(data?)?;
                }
            }
            Payload::CodeSectionStart { unchecked_range, .. } => {
                info.code_section_start = narrow(unchecked_range.start);
            }
            Payload::CustomSection(section) => self.custom_section(&section),
            _ => {}
        }
        Ok(())
    }

    fn add_data(&mut self, segment: wasmparser::Data<'_>) -> Result<()> {
        let mode = match segment.kind {
            DataKind::Passive => SegmentMode::Passive,
            DataKind::Active { memory_index, offset_expr } => {
                SegmentMode::Active { target: memory_index, offset: const_expr(&offset_expr)? }
            }
        };
        let start = self.data.len() as u32;
        self.data.extend_from_slice(segment.data);
        let bytes = start..self.data.len() as u32;
        self.info.data.push(DataSegment { mode, bytes });
        Ok(())
    }

    fn custom_section(&mut self, section: &CustomSectionReader<'_>) {
        if section.name().starts_with(".debug_") {
            self.dwarf.push((section.name().into(), section.data().to_vec()));
        } else if let KnownCustom::Name(names) = section.as_known() {
            // The specification: an error in a custom section does not make the module invalid.
            if let Ok(names) = read_names(names) {
                self.info.name = names.module;
                self.info.func_names = names.functions;
                self.info.local_names = names.locals;
            }
        }
    }
}

#[derive(Default)]
struct Names {
    module: Option<String>,
    /// Ascending by index.
    functions: Vec<(u32, String)>,
    /// Ascending by function, then by local.
    locals: Vec<(u32, u32, String)>,
}

fn read_names(section: NameSectionReader<'_>) -> wasmparser::Result<Names> {
    let mut names = Names::default();
    for subsection in section {
        match subsection? {
            Name::Module { name, .. } => names.module = Some(name.into()),
            Name::Function(functions) => {
                names.functions = functions
                    .map(|naming| naming.map(|naming| (naming.index, naming.name.into())))
                    .collect::<wasmparser::Result<_>>()?;
            }
            // Damage here must not cost the functions their names.
            Name::Local(locals) => names.locals = read_local_names(locals).unwrap_or_default(),
            _ => {}
        }
    }
    Ok(names)
}

fn read_local_names(functions: IndirectNameMap<'_>) -> wasmparser::Result<Vec<(u32, u32, String)>> {
    let mut locals = Vec::new();
    for function in functions {
        let function = function?;
        for naming in function.names {
            let naming = naming?;
            locals.push((function.index, naming.index, naming.name.into()));
        }
    }
    Ok(locals)
}

/// Takes over the import at position `at`.
fn add_import(info: &mut ModuleInfo, import: wasmparser::Import<'_>, at: u64) -> Result<()> {
    let index = match import.ty {
        TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
            info.functions.push(ty);
            info.num_imported_functions += 1;
            EntityIndex::Func(info.functions.len() as u32 - 1)
        }
        TypeRef::Table(ty) => {
            info.tables.push(table_type(ty));
            info.num_imported_tables += 1;
            EntityIndex::Table(info.tables.len() as u32 - 1)
        }
        TypeRef::Memory(ty) => {
            info.memories.push(memory_type(ty, at)?);
            info.num_imported_memories += 1;
            EntityIndex::Memory(info.memories.len() as u32 - 1)
        }
        TypeRef::Global(ty) => {
            info.globals.push(global_type(ty));
            info.num_imported_globals += 1;
            EntityIndex::Global(info.globals.len() as u32 - 1)
        }
        TypeRef::Tag(_) => bail!("imported tags are not supported"),
    };
    info.imports.push(Import { module: import.module.into(), name: import.name.into(), index });
    Ok(())
}

fn elem_segment(element: wasmparser::Element<'_>) -> Result<ElemSegment> {
    let mode = match element.kind {
        ElementKind::Passive => SegmentMode::Passive,
        ElementKind::Declared => SegmentMode::Declared,
        ElementKind::Active { table_index, offset_expr } => SegmentMode::Active {
            target: table_index.unwrap_or(0),
            offset: const_expr(&offset_expr)?,
        },
    };
    let (ty, items) = match element.items {
        ElementItems::Functions(items) => {
            let items = items.into_iter().collect::<wasmparser::Result<_>>()?;
            (ValType::FuncRef, ElemItems::Funcs(items))
        }
        ElementItems::Expressions(ty, items) => {
            let items = items.into_iter().map(|expr| const_expr(&expr?)).collect::<Result<_>>()?;
            (val_type(wasmparser::ValType::Ref(ty)), ElemItems::Exprs(items))
        }
    };
    Ok(ElemSegment { mode, ty, items })
}

fn const_expr(expr: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr> {
    let mut reader = expr.get_operators_reader();
    let mut ops = Vec::new();
    loop {
        let at = reader.original_position();
        ops.push(match reader.read()? {
            Operator::End => return Ok(ConstExpr { ops }),
            Operator::I32Const { value } => ConstOp::I32Const(value),
            Operator::I64Const { value } => ConstOp::I64Const(value),
            Operator::F32Const { value } => ConstOp::F32Const(value.bits()),
            Operator::F64Const { value } => ConstOp::F64Const(value.bits()),
            Operator::V128Const { value } => ConstOp::V128Const(value.i128() as u128),
            Operator::GlobalGet { global_index } => ConstOp::GlobalGet(global_index),
            Operator::RefNull { hty } => ConstOp::RefNull(val_type(
                wasmparser::RefType::new(true, hty).context("reference type")?.into(),
            )),
            Operator::RefFunc { function_index } => ConstOp::RefFunc(function_index),
            Operator::I32Add => ConstOp::I32Add,
            Operator::I32Sub => ConstOp::I32Sub,
            Operator::I32Mul => ConstOp::I32Mul,
            Operator::I64Add => ConstOp::I64Add,
            Operator::I64Sub => ConstOp::I64Sub,
            Operator::I64Mul => ConstOp::I64Mul,
            op => bail!("{op:?} in a constant expression is not supported (at offset {at:#x})"),
        });
    }
}

fn func_type(ty: &wasmparser::FuncType) -> FuncType {
    let types = |types: &[wasmparser::ValType]| -> Vec<ValType> {
        types.iter().copied().map(val_type).collect()
    };
    FuncType::new(types(ty.params()), types(ty.results()))
}

fn table_type(ty: wasmparser::TableType) -> TableType {
    let element = val_type(wasmparser::ValType::Ref(ty.element_type));
    match ty.table64 {
        true => TableType::new64(element, ty.initial, ty.maximum),
        false => TableType::new(element, ty.initial as u32, ty.maximum.map(|max| max as u32)),
    }
}

/// The type of the memory that is declared at position `at`.
fn memory_type(ty: wasmparser::MemoryType, at: u64) -> Result<MemoryType> {
    // With the threads proposal come atomic accesses, which any memory can have.
    ensure!(!ty.shared, "shared memories are not supported (at offset {at:#x})");
    Ok(match ty.memory64 {
        true => MemoryType::new64(ty.initial, ty.maximum),
        false => MemoryType::new(ty.initial as u32, ty.maximum.map(|max| max as u32)),
    })
}

fn global_type(ty: wasmparser::GlobalType) -> GlobalType {
    let mutability = if ty.mutable { Mutability::Var } else { Mutability::Const };
    GlobalType::new(val_type(ty.content_type), mutability)
}

/// Gives a slot to every defined function of which a reference can be made. `ref.func` in code can
/// name only functions that occur in one of these places too.
fn assign_func_ref_slots(info: &mut ModuleInfo) {
    let mut escapes = vec![false; info.functions.len()];
    let mut escape = |index: u32| escapes[index as usize] = true;
    info.start.iter().copied().for_each(&mut escape);
    for export in &info.exports {
        if let EntityIndex::Func(index) = export.index {
            escape(index);
        }
    }
    let exprs = info.global_inits.iter().chain(info.table_inits.iter().flatten());
    let elem_exprs = info.elems.iter().flat_map(|segment| match &segment.items {
        ElemItems::Exprs(exprs) => exprs.as_slice(),
        ElemItems::Funcs(_) => &[],
    });
    for op in exprs.chain(elem_exprs).flat_map(|expr| &expr.ops) {
        if let ConstOp::RefFunc(index) = *op {
            escape(index);
        }
    }
    for segment in &info.elems {
        if let ElemItems::Funcs(funcs) = &segment.items {
            funcs.iter().copied().for_each(&mut escape);
        }
    }

    let mut slots = 0;
    let imported = info.num_imported_functions;
    let slot = |(index, &escapes): (usize, &bool)| {
        if !escapes || index < imported {
            return NO_SLOT;
        }
        slots += 1;
        slots - 1
    };
    info.func_ref_slots = escapes.iter().enumerate().map(slot).collect();
    info.num_escaping_functions = slots as usize;
}

/// A position in a file that is known to be at most 4 GiB.
fn narrow(position: u64) -> u32 {
    u32::try_from(position).expect("the file's size was checked")
}

#[cfg(test)]
mod tests;
