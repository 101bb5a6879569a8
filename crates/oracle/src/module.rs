//! A module: validated by wasmparser, and decoded whole.

use crate::function::{self, Function, Op};
use crate::value::{FuncType, GlobalType, HeapType, Limits, RefType, TableType, ValType};
use anyhow::{Context as _, Result, bail, ensure};
use std::sync::Arc;
use wasmparser::{
    AbstractHeapType, CompositeInnerType, DataKind, ElementItems, ElementKind, ExternalKind,
    FunctionBody, Operator, Parser, Payload, TableInit, TypeRef, UnpackedIndex, ValidPayload,
    Validator, WasmFeatures,
};

/// A module, ready to be instantiated.
#[derive(Debug, Default)]
pub struct Module {
    /// Its function types.
    pub types: Vec<FuncType>,
    /// Its imports, in order.
    pub imports: Vec<Import>,
    /// The type of each function, by index: imported ones first.
    pub funcs: Vec<u32>,
    /// The functions that it defines, in order.
    pub functions: Vec<Function>,
    /// The tables that it defines, each with the expression for its elements, if it has one.
    pub(crate) tables: Vec<(TableType, Option<ConstExpr>)>,
    /// The memories that it defines.
    pub(crate) memories: Vec<Limits>,
    /// The globals that it defines.
    pub(crate) globals: Vec<(GlobalType, ConstExpr)>,
    /// The tags that it defines: their types.
    pub(crate) tags: Vec<u32>,
    /// What it exports.
    pub exports: Vec<Export>,
    /// Its start function.
    pub start: Option<u32>,
    pub(crate) elems: Vec<ElemSegment>,
    pub(crate) data: Vec<DataSegment>,
}

/// An import.
#[derive(Clone, Debug)]
pub struct Import {
    /// The first name.
    pub module: String,
    /// The second name.
    pub name: String,
    /// What it must be.
    pub ty: ImportType,
}

/// What an import must be.
#[derive(Clone, Copy, Debug)]
pub enum ImportType {
    /// A function with the type of this index.
    Func(u32),
    /// A table.
    Table(TableType),
    /// A memory.
    Memory(Limits),
    /// A global.
    Global(GlobalType),
    /// A tag with the type of this index.
    Tag(u32),
}

/// An export.
#[derive(Clone, Debug)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ExportKind,
    /// Its index among those of its kind.
    pub index: u32,
}

/// What an export is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExportKind {
    /// A function.
    Func,
    /// A table.
    Table,
    /// A memory.
    Memory,
    /// A global.
    Global,
    /// A tag.
    Tag,
}

/// The operators of a constant expression, with the final `end`.
pub(crate) type ConstExpr = Vec<Op>;

/// When a segment is copied.
#[derive(Debug)]
pub(crate) enum SegmentMode {
    Passive,
    Declared,
    Active { target: u32, offset: ConstExpr },
}

#[derive(Debug)]
pub(crate) struct ElemSegment {
    pub(crate) mode: SegmentMode,
    pub(crate) items: Vec<ElemItem>,
}

#[derive(Debug)]
pub(crate) enum ElemItem {
    Func(u32),
    Expr(ConstExpr),
}

#[derive(Debug)]
pub(crate) struct DataSegment {
    pub(crate) mode: SegmentMode,
    pub(crate) bytes: Vec<u8>,
}

/// The proposals that modules may use.
pub fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::EXCEPTIONS
        | WasmFeatures::FUNCTION_REFERENCES
}

impl Module {
    /// Validates and decodes a module in the binary format.
    ///
    /// # Errors
    ///
    /// If it is malformed, not valid, or has a shared memory.
    pub fn new(wasm: &[u8]) -> Result<Module> {
        let mut module = Module::default();
        let mut validator = Validator::new_with_features(features());
        let mut parser = Parser::new(0);
        parser.set_features(features());
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            match validator.payload(&payload)? {
                ValidPayload::Func(func, body) => {
                    func.into_validator(Default::default()).validate(&body)?;
                    module.body(&body)?;
                }
                _ => module.section(payload)?,
            }
        }
        Ok(module)
    }

    /// The defined function with this index, if it is not an imported one.
    pub fn function(&self, index: u32) -> Option<&Function> {
        let imported = self.funcs.len() - self.functions.len();
        self.functions.get((index as usize).checked_sub(imported)?)
    }

    /// The export with this name.
    pub fn export(&self, name: &str) -> Option<&Export> {
        self.exports.iter().find(|export| export.name == name)
    }

    /// In an [`Arc`], as [`Machine::instantiate`](crate::Machine::instantiate) takes it.
    ///
    /// # Errors
    ///
    /// As [`Module::new`].
    pub fn shared(wasm: &[u8]) -> Result<Arc<Module>> {
        Ok(Arc::new(Module::new(wasm)?))
    }

    fn body(&mut self, body: &FunctionBody<'_>) -> Result<()> {
        // The functions of the module come in order, behind the imported ones.
        let imports = self.imports.iter().filter(|i| matches!(i.ty, ImportType::Func(_))).count();
        let index = (imports + self.functions.len()) as u32;
        let type_index = self.funcs[index as usize];
        let mut locals = self.types[type_index as usize].params.clone();
        for group in body.get_locals_reader()? {
            let (count, ty) = group?;
            locals.extend(std::iter::repeat_n(val_type(ty)?, count as usize));
        }
        let ops = function::decode(body.get_operators_reader()?, &self.types)?;
        self.functions.push(Function { index, type_index, locals, ops });
        Ok(())
    }

    fn section(&mut self, payload: Payload<'_>) -> Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    for ty in group?.into_types() {
                        let CompositeInnerType::Func(ty) = ty.composite_type.inner else {
                            bail!("{ty} is not supported");
                        };
                        self.types.push(func_type(&ty)?);
                    }
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    self.import(import?)?;
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.funcs.push(ty?);
                }
            }
            Payload::TableSection(section) => {
                for table in section {
                    let table = table?;
                    let init = match table.init {
                        TableInit::RefNull => None,
                        TableInit::Expr(expr) => Some(self.const_expr(&expr)?),
                    };
                    self.tables.push((table_type(table.ty)?, init));
                }
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    self.memories.push(memory_type(memory?)?);
                }
            }
            Payload::TagSection(section) => {
                for tag in section {
                    self.tags.push(tag?.func_type_idx);
                }
            }
            Payload::GlobalSection(section) => {
                for global in section {
                    let global = global?;
                    let init = self.const_expr(&global.init_expr)?;
                    self.globals.push((global_type(global.ty)?, init));
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let kind = match export.kind {
                        ExternalKind::Func | ExternalKind::FuncExact => ExportKind::Func,
                        ExternalKind::Table => ExportKind::Table,
                        ExternalKind::Memory => ExportKind::Memory,
                        ExternalKind::Global => ExportKind::Global,
                        ExternalKind::Tag => ExportKind::Tag,
                    };
                    let (name, index) = (export.name.into(), export.index);
                    self.exports.push(Export { name, kind, index });
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => {
                for element in section {
                    let segment = self.elem_segment(element?)?;
                    self.elems.push(segment);
                }
            }
            Payload::DataSection(section) => {
                for data in section {
                    let data = data?;
                    let mode = match data.kind {
                        DataKind::Passive => SegmentMode::Passive,
                        DataKind::Active { memory_index, offset_expr } => SegmentMode::Active {
                            target: memory_index,
                            offset: self.const_expr(&offset_expr)?,
                        },
                    };
                    self.data.push(DataSegment { mode, bytes: data.data.to_vec() });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, import: wasmparser::Import<'_>) -> Result<()> {
        let ty = match import.ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.funcs.push(ty);
                ImportType::Func(ty)
            }
            TypeRef::Table(ty) => ImportType::Table(table_type(ty)?),
            TypeRef::Memory(ty) => ImportType::Memory(memory_type(ty)?),
            TypeRef::Global(ty) => ImportType::Global(global_type(ty)?),
            TypeRef::Tag(ty) => ImportType::Tag(ty.func_type_idx),
        };
        let (module, name) = (import.module.into(), import.name.into());
        self.imports.push(Import { module, name, ty });
        Ok(())
    }

    fn elem_segment(&self, element: wasmparser::Element<'_>) -> Result<ElemSegment> {
        let mode = match element.kind {
            ElementKind::Passive => SegmentMode::Passive,
            ElementKind::Declared => SegmentMode::Declared,
            ElementKind::Active { table_index, offset_expr } => SegmentMode::Active {
                target: table_index.unwrap_or(0),
                offset: self.const_expr(&offset_expr)?,
            },
        };
        let mut items = Vec::new();
        match element.items {
            ElementItems::Functions(funcs) => {
                for func in funcs {
                    items.push(ElemItem::Func(func?));
                }
            }
            ElementItems::Expressions(_, exprs) => {
                for expr in exprs {
                    items.push(ElemItem::Expr(self.const_expr(&expr?)?));
                }
            }
        }
        Ok(ElemSegment { mode, items })
    }

    fn const_expr(&self, expr: &wasmparser::ConstExpr<'_>) -> Result<ConstExpr> {
        function::decode(expr.get_operators_reader(), &self.types)
    }
}

fn func_type(ty: &wasmparser::FuncType) -> Result<FuncType> {
    let types = |types: &[wasmparser::ValType]| {
        types.iter().copied().map(val_type).collect::<Result<Vec<_>>>()
    };
    Ok(FuncType { params: types(ty.params())?, results: types(ty.results())? })
}

fn val_type(ty: wasmparser::ValType) -> Result<ValType> {
    Ok(match ty {
        wasmparser::ValType::I32 => ValType::I32,
        wasmparser::ValType::I64 => ValType::I64,
        wasmparser::ValType::F32 => ValType::F32,
        wasmparser::ValType::F64 => ValType::F64,
        wasmparser::ValType::V128 => ValType::V128,
        wasmparser::ValType::Ref(ty) => ValType::Ref(ref_type(ty)?),
    })
}

fn ref_type(ty: wasmparser::RefType) -> Result<RefType> {
    Ok(RefType { nullable: ty.is_nullable(), heap: heap_type(ty.heap_type())? })
}

pub(crate) fn heap_type(ty: wasmparser::HeapType) -> Result<HeapType> {
    use AbstractHeapType as Abstract;
    Ok(match ty {
        wasmparser::HeapType::Abstract { shared: false, ty } => match ty {
            Abstract::Func => HeapType::Func,
            Abstract::NoFunc => HeapType::NoFunc,
            Abstract::Extern => HeapType::Extern,
            Abstract::NoExtern => HeapType::NoExtern,
            Abstract::Exn => HeapType::Exn,
            Abstract::NoExn => HeapType::NoExn,
            other => bail!("the heap type {other:?} is not supported"),
        },
        wasmparser::HeapType::Concrete(UnpackedIndex::Module(index)) => HeapType::Type(index),
        other => bail!("the heap type {other:?} is not supported"),
    })
}

fn table_type(ty: wasmparser::TableType) -> Result<TableType> {
    let limits = Limits { is_64: ty.table64, min: ty.initial, max: ty.maximum };
    ensure!(!ty.shared, "shared tables are not supported");
    Ok(TableType { element: ref_type(ty.element_type)?, limits })
}

fn memory_type(ty: wasmparser::MemoryType) -> Result<Limits> {
    ensure!(!ty.shared, "shared memories are not supported");
    Ok(Limits { is_64: ty.memory64, min: ty.initial, max: ty.maximum })
}

fn global_type(ty: wasmparser::GlobalType) -> Result<GlobalType> {
    Ok(GlobalType { content: val_type(ty.content_type)?, mutable: ty.mutable })
}

/// The value that a constant expression gives. `global` and `func` say what globals and functions
/// of the module are.
pub(crate) fn evaluate(
    expr: &ConstExpr,
    global: impl Fn(u32) -> crate::Value,
    func: impl Fn(u32) -> crate::FuncId,
) -> Result<crate::Value> {
    use crate::Value;
    let mut stack: Vec<Value> = Vec::new();
    for op in expr {
        let function::Code::Plain(op) = &op.code else { bail!("{op:?} is not constant") };
        let value = match op {
            Operator::End => break,
            Operator::I32Const { value } => Value::I32(*value as u32),
            Operator::I64Const { value } => Value::I64(*value as u64),
            Operator::F32Const { value } => Value::F32(value.bits()),
            Operator::F64Const { value } => Value::F64(value.bits()),
            Operator::V128Const { value } => Value::V128(value.i128() as u128),
            Operator::GlobalGet { global_index } => global(*global_index),
            Operator::RefNull { hty } => Value::null(heap_type(*hty)?),
            Operator::RefFunc { function_index } => Value::FuncRef(Some(func(*function_index))),
            _ => match (op, stack.pop(), stack.pop()) {
                (Operator::I32Add, Some(Value::I32(b)), Some(Value::I32(a))) => {
                    Value::I32(a.wrapping_add(b))
                }
                (Operator::I32Sub, Some(Value::I32(b)), Some(Value::I32(a))) => {
                    Value::I32(a.wrapping_sub(b))
                }
                (Operator::I32Mul, Some(Value::I32(b)), Some(Value::I32(a))) => {
                    Value::I32(a.wrapping_mul(b))
                }
                (Operator::I64Add, Some(Value::I64(b)), Some(Value::I64(a))) => {
                    Value::I64(a.wrapping_add(b))
                }
                (Operator::I64Sub, Some(Value::I64(b)), Some(Value::I64(a))) => {
                    Value::I64(a.wrapping_sub(b))
                }
                (Operator::I64Mul, Some(Value::I64(b)), Some(Value::I64(a))) => {
                    Value::I64(a.wrapping_mul(b))
                }
                _ => bail!("{op:?} is not constant"),
            },
        };
        stack.push(value);
    }
    stack.pop().context("a constant expression without a value")
}
