//! The machine: all functions, memories, tables, globals, tags and exceptions, in one arena each.
//!
//! What the JIT calls a store. Nothing is ever freed. Execution is elsewhere: [`Machine::start`]
//! makes an [`Activation`], which is stepped.

use crate::activation::Activation;
use crate::module::{ExportKind, Module};
use crate::value::{FuncType, GlobalType, HeapType, Limits, RefType, TableType, ValType, Value};
use crate::{Outcome, Step};
use anyhow::{Result, ensure};
use std::sync::Arc;

/// The size of a page of memory.
pub const PAGE: u64 = 65536;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl $name {
            pub(crate) fn at(self) -> usize {
                self.0 as usize
            }
        }
    )*};
}

ids! {
    /// A function of a machine.
    FuncId
    /// A table of a machine.
    TableId
    /// A memory of a machine.
    MemoryId
    /// A global of a machine.
    GlobalId
    /// A tag of a machine.
    TagId
    /// An exception of a machine.
    ExnId
    /// An instance of a machine.
    InstanceId
}

/// What is imported and exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extern {
    /// A function.
    Func(FuncId),
    /// A table.
    Table(TableId),
    /// A memory.
    Memory(MemoryId),
    /// A global.
    Global(GlobalId),
    /// A tag.
    Tag(TagId),
}

/// All there is.
#[derive(Debug)]
pub struct Machine {
    /// How many wasm frames an activation may have. The frame that is one too many traps when it
    /// is entered.
    pub max_depth: usize,
    /// How large a memory may become, in bytes; beyond it, `memory.grow` answers −1.
    pub max_memory: u64,
    /// How large a table may become, in elements; beyond it, `table.grow` answers −1.
    pub max_table: u64,
    pub(crate) fuel: u64,
    /// Function types by number; no two are the same.
    pub(crate) types: Vec<FuncType>,
    pub(crate) funcs: Vec<Func>,
    pub(crate) tables: Vec<Table>,
    pub(crate) memories: Vec<Memory>,
    pub(crate) globals: Vec<Global>,
    /// The type of each tag.
    pub(crate) tags: Vec<u32>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) instances: Vec<Instance>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Func {
    /// Its type, by number in the machine.
    pub(crate) ty: u32,
    pub(crate) kind: FuncKind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum FuncKind {
    Host,
    /// A function that the instance's module defines: its position in `Module::functions`.
    Wasm {
        instance: InstanceId,
        position: usize,
    },
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) ty: TableType,
    pub(crate) elements: Vec<Value>,
}

#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) ty: Limits,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Global {
    pub(crate) ty: GlobalType,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) tag: TagId,
    pub(crate) values: Vec<Value>,
}

/// An instance: what the indices of its module mean.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) module: Arc<Module>,
    pub(crate) types: Vec<u32>,
    pub(crate) funcs: Vec<FuncId>,
    pub(crate) tables: Vec<TableId>,
    pub(crate) memories: Vec<MemoryId>,
    pub(crate) globals: Vec<GlobalId>,
    pub(crate) tags: Vec<TagId>,
    /// The elements of each segment; empty when it was dropped.
    pub(crate) elems: Vec<Vec<Value>>,
    /// The bytes of each segment; empty when it was dropped.
    pub(crate) data: Vec<Vec<u8>>,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine::new()
    }
}

impl Machine {
    /// An empty machine. It allows 100,000 frames, memories of 4 GiB and tables of 10,000,000
    /// elements.
    pub fn new() -> Machine {
        Machine {
            max_depth: 100_000,
            max_memory: 1 << 32,
            max_table: 10_000_000,
            fuel: 0,
            types: Vec::new(),
            funcs: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals: Vec::new(),
            tags: Vec::new(),
            exceptions: Vec::new(),
            instances: Vec::new(),
        }
    }

    /// What all activations have consumed since the machine was made.
    pub fn fuel_consumed(&self) -> u64 {
        self.fuel
    }

    /// Makes a host function. Calling it is [`Step::HostCall`]. Its type must not name other types.
    pub fn host_func(&mut self, ty: FuncType) -> FuncId {
        let ty = self.intern(ty);
        self.funcs.push(Func { ty, kind: FuncKind::Host });
        FuncId(self.funcs.len() as u32 - 1)
    }

    /// Makes a table, full of `value`.
    pub fn new_table(&mut self, ty: TableType, value: Value) -> TableId {
        let elements = vec![value; ty.limits.min as usize];
        self.tables.push(Table { ty, elements });
        TableId(self.tables.len() as u32 - 1)
    }

    /// Makes a memory.
    ///
    /// # Errors
    ///
    /// If it is larger than [`Machine::max_memory`].
    pub fn new_memory(&mut self, ty: Limits) -> Result<MemoryId> {
        let bytes = ty.min.saturating_mul(PAGE);
        ensure!(bytes <= self.max_memory, "a memory of {bytes} bytes is too large");
        self.memories.push(Memory { ty, bytes: vec![0; bytes as usize] });
        Ok(MemoryId(self.memories.len() as u32 - 1))
    }

    /// Makes a global.
    pub fn new_global(&mut self, ty: GlobalType, value: Value) -> GlobalId {
        self.globals.push(Global { ty, value });
        GlobalId(self.globals.len() as u32 - 1)
    }

    /// Makes a tag.
    pub fn new_tag(&mut self, ty: FuncType) -> TagId {
        let ty = self.intern(ty);
        self.tags.push(ty);
        TagId(self.tags.len() as u32 - 1)
    }

    /// Makes an exception, for a host function that throws it.
    pub fn new_exception(&mut self, tag: TagId, values: Vec<Value>) -> ExnId {
        self.exceptions.push(Exception { tag, values });
        ExnId(self.exceptions.len() as u32 - 1)
    }

    /// The tag and the values of an exception.
    pub fn exception(&self, exn: ExnId) -> (TagId, &[Value]) {
        let exception = &self.exceptions[exn.at()];
        (exception.tag, &exception.values)
    }

    /// The type of a function. Types that it names are named by their number in the machine.
    pub fn func_type(&self, func: FuncId) -> &FuncType {
        &self.types[self.funcs[func.at()].ty as usize]
    }

    /// The instance of a wasm function, and the function's index in it.
    pub fn wasm_func(&self, func: FuncId) -> Option<(InstanceId, u32)> {
        match self.funcs[func.at()].kind {
            FuncKind::Host => None,
            FuncKind::Wasm { instance, position } => {
                let module = &self.instances[instance.at()].module;
                Some((instance, module.functions[position].index))
            }
        }
    }

    /// The bytes of a memory.
    pub fn memory(&self, memory: MemoryId) -> &[u8] {
        &self.memories[memory.at()].bytes
    }

    /// The bytes of a memory, to write to.
    pub fn memory_mut(&mut self, memory: MemoryId) -> &mut [u8] {
        &mut self.memories[memory.at()].bytes
    }

    /// The elements of a table.
    pub fn table(&self, table: TableId) -> &[Value] {
        &self.tables[table.at()].elements
    }

    /// The elements of a table, to write to.
    pub fn table_mut(&mut self, table: TableId) -> &mut [Value] {
        &mut self.tables[table.at()].elements
    }

    /// The value of a global.
    pub fn global(&self, global: GlobalId) -> Value {
        self.globals[global.at()].value
    }

    /// Sets a global, mutable or not.
    pub fn set_global(&mut self, global: GlobalId, value: Value) {
        self.globals[global.at()].value = value;
    }

    /// The module of an instance.
    pub fn module(&self, instance: InstanceId) -> &Arc<Module> {
        &self.instances[instance.at()].module
    }

    /// What an instance exports under this name.
    pub fn export(&self, instance: InstanceId, name: &str) -> Option<Extern> {
        let of = &self.instances[instance.at()];
        let export = of.module.export(name)?;
        Some(self.entity(instance, export.kind, export.index))
    }

    /// What an index means in an instance.
    pub fn entity(&self, instance: InstanceId, kind: ExportKind, index: u32) -> Extern {
        let of = &self.instances[instance.at()];
        let index = index as usize;
        match kind {
            ExportKind::Func => Extern::Func(of.funcs[index]),
            ExportKind::Table => Extern::Table(of.tables[index]),
            ExportKind::Memory => Extern::Memory(of.memories[index]),
            ExportKind::Global => Extern::Global(of.globals[index]),
            ExportKind::Tag => Extern::Tag(of.tags[index]),
        }
    }

    /// All globals of an instance, by index, imported ones first.
    pub fn globals(&self, instance: InstanceId) -> Vec<Value> {
        let of = &self.instances[instance.at()];
        of.globals.iter().map(|global| self.global(*global)).collect()
    }

    /// The memories of an instance, by index, imported ones first.
    pub fn memories(&self, instance: InstanceId) -> &[MemoryId] {
        &self.instances[instance.at()].memories
    }

    /// The tables of an instance, by index, imported ones first.
    pub fn tables(&self, instance: InstanceId) -> &[TableId] {
        &self.instances[instance.at()].tables
    }

    /// Begins a call of a function. Nothing is executed yet. Any number of activations can be
    /// there at once; they may be stepped in any order.
    ///
    /// # Errors
    ///
    /// If the arguments are of other types, or there are more or fewer than the function takes.
    pub fn start(&self, func: FuncId, args: Vec<Value>) -> Result<Activation> {
        self.check_values(&args, &self.func_type(func).params)?;
        Ok(Activation::new(self, func, args))
    }

    /// Calls a function and steps until it ends. `host` is what host functions do.
    ///
    /// # Errors
    ///
    /// If the arguments are not what the function takes, or results of `host` not what they should
    /// be.
    pub fn call(
        &mut self,
        func: FuncId,
        args: Vec<Value>,
        mut host: impl FnMut(&mut Machine, FuncId, &[Value]) -> Vec<Value>,
    ) -> Result<Outcome> {
        let mut activation = self.start(func, args)?;
        loop {
            match activation.step(self) {
                Step::Running => {}
                Step::HostCall { func, args } => {
                    let results = host(self, func, &args);
                    activation.host_returned(self, results)?;
                }
                Step::Finished(values) => return Ok(Outcome::Finished(values)),
                Step::Trapped(trap) => return Ok(Outcome::Trapped(trap)),
                Step::Threw(exn) => return Ok(Outcome::Threw(exn)),
            }
        }
    }

    pub(crate) fn check_values(&self, values: &[Value], types: &[ValType]) -> Result<()> {
        ensure!(values.len() == types.len(), "{values:?} are not {} values", types.len());
        for (value, ty) in values.iter().zip(types) {
            let fits = match (value, ty) {
                (Value::I32(_), ValType::I32)
                | (Value::I64(_), ValType::I64)
                | (Value::F32(_), ValType::F32)
                | (Value::F64(_), ValType::F64)
                | (Value::V128(_), ValType::V128) => true,
                (value, ValType::Ref(ty)) => {
                    let null = Value::null(ty.heap);
                    let same = std::mem::discriminant(&null) == std::mem::discriminant(value);
                    same && (ty.nullable || !value.is_null())
                }
                _ => false,
            };
            ensure!(fits, "{value:?} is not of type {ty:?}");
        }
        Ok(())
    }

    /// The number of a type, all of whose type names are numbers of the machine.
    pub(crate) fn intern(&mut self, ty: FuncType) -> u32 {
        let known = self.types.iter().position(|known| *known == ty);
        let number = known.unwrap_or_else(|| {
            self.types.push(ty);
            self.types.len() - 1
        });
        number as u32
    }

    /// Whether every value of type `sub` is one of type `sup`. Both are the machine's.
    pub(crate) fn is_subtype(&self, sub: ValType, sup: ValType) -> bool {
        match (sub, sup) {
            (ValType::Ref(sub), ValType::Ref(sup)) => self.is_ref_subtype(sub, sup),
            _ => sub == sup,
        }
    }

    pub(crate) fn is_ref_subtype(&self, sub: RefType, sup: RefType) -> bool {
        let heap = match (sub.heap, sup.heap) {
            (HeapType::NoFunc | HeapType::Type(_), HeapType::Func) => true,
            (HeapType::NoFunc, HeapType::Type(_)) => true,
            (HeapType::NoExtern, HeapType::Extern) => true,
            (HeapType::NoExn, HeapType::Exn) => true,
            (sub, sup) => sub == sup,
        };
        heap && (sup.nullable || !sub.nullable)
    }
}
