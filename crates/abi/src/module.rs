//! What a compiled module says of itself: all that instantiating and linking it needs.
//!
//! Written by the translator, serialised into the artifact, read by the runtime. Index spaces are
//! WebAssembly's: imports come first, so "defined" index = index − number imported.

use crate::types::{FuncType, GlobalType, MemoryType, TableType, ValType};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Description of a compiled module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleInfo {
    /// The module's name from the name section.
    pub name: Option<String>,
    /// Function types by type index.
    pub types: Vec<FuncType>,
    /// Imports in order.
    pub imports: Vec<Import>,
    /// Exports in order; names are unique.
    pub exports: Vec<Export>,
    /// Type index of every function, imported ones first.
    pub functions: Vec<u32>,
    /// How many of `functions` are imported.
    pub num_imported_functions: usize,
    /// Types of all memories, imported ones first.
    pub memories: Vec<MemoryType>,
    /// How many of `memories` are imported.
    pub num_imported_memories: usize,
    /// Types of all tables, imported ones first.
    pub tables: Vec<TableType>,
    /// How many of `tables` are imported.
    pub num_imported_tables: usize,
    /// Types of all globals, imported ones first.
    pub globals: Vec<GlobalType>,
    /// How many of `globals` are imported.
    pub num_imported_globals: usize,
    /// Type index of every exception tag; all are defined here.
    pub tags: Vec<u32>,
    /// First values of the defined globals.
    pub global_inits: Vec<ConstExpr>,
    /// First values of the elements of the defined tables; `None` is null.
    pub table_inits: Vec<Option<ConstExpr>>,
    /// Element segments in order.
    pub elems: Vec<ElemSegment>,
    /// Data segments in order.
    pub data: Vec<DataSegment>,
    /// The start function.
    pub start: Option<u32>,
    /// For every function, the slot of its `VMFuncRef` in the context, if it is defined here and
    /// escapes (exported, the start function, in an element segment, in a global's first value, or
    /// `ref.func`);
    /// [`NO_SLOT`] otherwise. Imported functions have theirs at the import.
    pub func_ref_slots: Vec<u32>,
    /// Number of slots handed out in `func_ref_slots`.
    pub num_escaping_functions: usize,
    /// For every defined function, where its code lies in the text section, in ascending order.
    pub code: Vec<Range<u32>>,
    /// For every defined function, where its body lies in the wasm file, in bytes.
    pub bodies: Vec<Range<u32>>,
    /// Names of functions from the name section: `(function index, name)`, ascending.
    pub func_names: Vec<(u32, String)>,
    /// Names of locals from the name section: `(function index, local index, name)`, ascending.
    pub local_names: Vec<(u32, u32, String)>,
    /// Offset of the code section's contents in the wasm file; DWARF addresses count from there.
    pub code_section_start: u32,
}

/// The mark of a function without a `VMFuncRef` slot.
pub const NO_SLOT: u32 = u32::MAX;

impl ModuleInfo {
    /// Number of functions with a body.
    pub fn num_defined_functions(&self) -> usize {
        self.functions.len() - self.num_imported_functions
    }

    /// Number of memories defined here.
    pub fn num_defined_memories(&self) -> usize {
        self.memories.len() - self.num_imported_memories
    }

    /// Number of tables defined here.
    pub fn num_defined_tables(&self) -> usize {
        self.tables.len() - self.num_imported_tables
    }

    /// Number of globals defined here.
    pub fn num_defined_globals(&self) -> usize {
        self.globals.len() - self.num_imported_globals
    }

    /// The type of function `index`.
    ///
    /// # Panics
    ///
    /// If there is no such function.
    pub fn func_type(&self, index: u32) -> &FuncType {
        &self.types[self.functions[index as usize] as usize]
    }

    /// The name section's name for function `index`.
    pub fn func_name(&self, index: u32) -> Option<&str> {
        let at = self.func_names.binary_search_by_key(&index, |(i, _)| *i).ok()?;
        Some(&self.func_names[at].1)
    }

    /// The name section's name for local `local` of function `func`; parameters are the first
    /// locals.
    pub fn local_name(&self, func: u32, local: u32) -> Option<&str> {
        let key = |(func, local, _): &(u32, u32, String)| (*func, *local);
        let at = self.local_names.binary_search_by_key(&(func, local), key).ok()?;
        Some(&self.local_names[at].2)
    }

    /// The type of what `index` names.
    ///
    /// # Panics
    ///
    /// If there is no such entity.
    pub fn type_of(&self, index: EntityIndex) -> EntityType {
        match index {
            EntityIndex::Func(i) => EntityType::Func(self.func_type(i).clone()),
            EntityIndex::Table(i) => EntityType::Table(self.tables[i as usize]),
            EntityIndex::Memory(i) => EntityType::Memory(self.memories[i as usize]),
            EntityIndex::Global(i) => EntityType::Global(self.globals[i as usize]),
        }
    }
}

/// The type of an import or export.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntityType {
    /// A function.
    Func(FuncType),
    /// A table.
    Table(TableType),
    /// A linear memory.
    Memory(MemoryType),
    /// A global.
    Global(GlobalType),
}

/// An index into one of the module's index spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EntityIndex {
    /// A function index.
    Func(u32),
    /// A table index.
    Table(u32),
    /// A memory index.
    Memory(u32),
    /// A global index.
    Global(u32),
}

/// An import: where it is looked for, and which index it becomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// First part of the name.
    pub module: String,
    /// Second part of the name.
    pub name: String,
    /// The index that the import becomes; its type is that entity's.
    pub index: EntityIndex,
}

/// An export.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Export {
    /// The name.
    pub name: String,
    /// What is exported.
    pub index: EntityIndex,
}

/// A constant expression: a stack program. The validator has checked it, so that evaluating it
/// leaves exactly one value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConstExpr {
    /// The operators in order, without the final `end`.
    pub ops: Vec<ConstOp>,
}

/// An operator of a constant expression.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum ConstOp {
    /// `i32.const`
    I32Const(i32),
    /// `i64.const`
    I64Const(i64),
    /// `f32.const`, as bits.
    F32Const(u32),
    /// `f64.const`, as bits.
    F64Const(u64),
    /// `v128.const`, little-endian.
    V128Const(u128),
    /// `global.get`
    GlobalGet(u32),
    /// `ref.null`
    RefNull(ValType),
    /// `ref.func`
    RefFunc(u32),
    /// `i32.add`
    I32Add,
    /// `i32.sub`
    I32Sub,
    /// `i32.mul`
    I32Mul,
    /// `i64.add`
    I64Add,
    /// `i64.sub`
    I64Sub,
    /// `i64.mul`
    I64Mul,
}

/// When a segment is applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum SegmentMode {
    /// At instantiation, into memory or table `target` at `offset`; dropped afterwards.
    Active {
        /// Memory or table index.
        target: u32,
        /// Where it goes.
        offset: ConstExpr,
    },
    /// By `memory.init` or `table.init`.
    Passive,
    /// Never (element segments only): it declares functions for `ref.func`. Dropped at
    /// instantiation.
    Declared,
}

/// An element segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ElemSegment {
    /// When it is applied.
    pub mode: SegmentMode,
    /// The type of its elements.
    pub ty: ValType,
    /// Its elements.
    pub items: ElemItems,
}

/// The elements of an element segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ElemItems {
    /// Function indices.
    Funcs(Vec<u32>),
    /// Constant expressions.
    Exprs(Vec<ConstExpr>),
}

impl ElemItems {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            ElemItems::Funcs(items) => items.len(),
            ElemItems::Exprs(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A data segment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSegment {
    /// When it is applied; never [`SegmentMode::Declared`].
    pub mode: SegmentMode,
    /// Its bytes, as a range of the artifact's data section.
    pub bytes: Range<u32>,
}
