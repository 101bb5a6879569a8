//! From a module and what it imports to an instance.

use crate::machine::{
    Extern, Func, FuncId, FuncKind, GlobalId, Instance, InstanceId, Machine, TableId, TagId,
};
use crate::module::{self, ElemItem, ImportType, Module, SegmentMode};
use crate::ops::{memory, table};
use crate::value::{FuncType, GlobalType, HeapType, Limits, RefType, TableType, ValType, Value};
use anyhow::{Result, bail, ensure};
use std::sync::Arc;

impl Machine {
    /// Makes an instance: links the imports, makes what the module defines, copies the active
    /// segments. The start function is not called: see [`Machine::start_func`].
    ///
    /// # Errors
    ///
    /// If the imports are not what the module wants; a [`TrapKind`](crate::TrapKind) if a segment does not fit. Then
    /// the segments before it have been copied.
    pub fn instantiate(&mut self, module: &Arc<Module>, imports: &[Extern]) -> Result<InstanceId> {
        let id = InstanceId(self.instances.len() as u32);
        let mut instance = Instance {
            module: module.clone(),
            types: Vec::new(),
            funcs: Vec::new(),
            tables: Vec::new(),
            memories: Vec::new(),
            globals: Vec::new(),
            tags: Vec::new(),
            elems: Vec::new(),
            data: Vec::new(),
        };
        for ty in &module.types {
            let ty = func_type(ty, &instance.types)?;
            let number = self.intern(ty);
            instance.types.push(number);
        }
        ensure!(imports.len() == module.imports.len(), "a wrong number of imports");
        for (import, given) in module.imports.iter().zip(imports) {
            if !self.link(&mut instance, import.ty, *given)? {
                let (module, name) = (&import.module, &import.name);
                bail!("incompatible import type for {module:?} {name:?}: {given:?}");
            }
        }
        for (position, function) in module.functions.iter().enumerate() {
            let ty = instance.types[function.type_index as usize];
            self.funcs.push(Func { ty, kind: FuncKind::Wasm { instance: id, position } });
            instance.funcs.push(FuncId(self.funcs.len() as u32 - 1));
        }
        for &memory in &module.memories {
            instance.memories.push(self.new_memory(memory)?);
        }
        for &tag in &module.tags {
            self.tags.push(instance.types[tag as usize]);
            instance.tags.push(TagId(self.tags.len() as u32 - 1));
        }
        // Constant expressions can name the globals before them, and all functions.
        for (ty, init) in &module.globals {
            let value = self.evaluate(&instance, init)?;
            let content = val_type(ty.content, &instance.types)?;
            instance.globals.push(self.new_global(GlobalType { content, ..*ty }, value));
        }
        for (ty, init) in &module.tables {
            let ty = table_type(*ty, &instance.types)?;
            ensure!(ty.limits.min <= self.max_table, "a table is too large");
            let value = match init {
                Some(init) => self.evaluate(&instance, init)?,
                None => Value::null(ty.element.heap),
            };
            instance.tables.push(self.new_table(ty, value));
        }
        for segment in &module.elems {
            let items = segment.items.iter().map(|item| match item {
                ElemItem::Func(index) => Ok(Value::FuncRef(Some(instance.funcs[*index as usize]))),
                ElemItem::Expr(expr) => self.evaluate(&instance, expr),
            });
            let items = items.collect::<Result<Vec<_>>>()?;
            instance.elems.push(items);
        }
        instance.data = module.data.iter().map(|segment| segment.bytes.clone()).collect();
        self.instances.push(instance);
        self.copy_segments(id, module)?;
        Ok(id)
    }

    /// The start function of an instance: to be called once, right after [`Machine::instantiate`].
    pub fn start_func(&self, instance: InstanceId) -> Option<FuncId> {
        let of = &self.instances[instance.at()];
        of.module.start.map(|index| of.funcs[index as usize])
    }

    fn evaluate(&self, instance: &Instance, expr: &module::ConstExpr) -> Result<Value> {
        module::evaluate(
            expr,
            |index| self.global(instance.globals[index as usize]),
            |index| instance.funcs[index as usize],
        )
    }

    fn copy_segments(&mut self, id: InstanceId, module: &Module) -> Result<()> {
        for (index, segment) in module.elems.iter().enumerate() {
            if let SegmentMode::Active { target, offset } = &segment.mode {
                let offset = self.evaluate(&self.instances[id.at()], offset)?.index();
                let count = self.instances[id.at()].elems[index].len() as u64;
                let target = self.instances[id.at()].tables[*target as usize];
                table::init(self, id, index, target, offset, 0, count)?;
            }
            if !matches!(segment.mode, SegmentMode::Passive) {
                self.instances[id.at()].elems[index].clear();
            }
        }
        for (index, segment) in module.data.iter().enumerate() {
            if let SegmentMode::Active { target, offset } = &segment.mode {
                let offset = self.evaluate(&self.instances[id.at()], offset)?.index();
                let count = self.instances[id.at()].data[index].len() as u64;
                let target = self.instances[id.at()].memories[*target as usize];
                memory::init(self, id, index, target, offset, 0, count)?;
                self.instances[id.at()].data[index].clear();
            }
        }
        Ok(())
    }

    /// Takes over an import, if it is what the module wants.
    fn link(&self, instance: &mut Instance, wanted: ImportType, given: Extern) -> Result<bool> {
        Ok(match (wanted, given) {
            (ImportType::Func(ty), Extern::Func(func)) => {
                instance.funcs.push(func);
                self.funcs[func.at()].ty == instance.types[ty as usize]
            }
            (ImportType::Table(wanted), Extern::Table(table)) => {
                instance.tables.push(table);
                let wanted = table_type(wanted, &instance.types)?;
                self.table_fits(wanted, table)
            }
            (ImportType::Memory(wanted), Extern::Memory(memory)) => {
                instance.memories.push(memory);
                let memory = &self.memories[memory.at()];
                let size = memory.bytes.len() as u64 / crate::PAGE;
                limits_fit(wanted, memory.ty, size)
            }
            (ImportType::Global(wanted), Extern::Global(global)) => {
                instance.globals.push(global);
                self.global_fits(wanted, global, &instance.types)?
            }
            (ImportType::Tag(ty), Extern::Tag(tag)) => {
                instance.tags.push(tag);
                self.tags[tag.at()] == instance.types[ty as usize]
            }
            _ => false,
        })
    }

    fn table_fits(&self, wanted: TableType, table: TableId) -> bool {
        let table = &self.tables[table.at()];
        wanted.element == table.ty.element
            && limits_fit(wanted.limits, table.ty.limits, table.elements.len() as u64)
    }

    fn global_fits(&self, wanted: GlobalType, global: GlobalId, types: &[u32]) -> Result<bool> {
        let ty = self.globals[global.at()].ty;
        let content = val_type(wanted.content, types)?;
        let content_fits = match wanted.mutable {
            true => ty.content == content,
            false => self.is_subtype(ty.content, content),
        };
        Ok(ty.mutable == wanted.mutable && content_fits)
    }
}

/// Whether something of this type and size is what an import wants.
fn limits_fit(wanted: Limits, ty: Limits, size: u64) -> bool {
    let max_fits = match (wanted.max, ty.max) {
        (None, _) => true,
        (Some(wanted), Some(max)) => max <= wanted,
        (Some(_), None) => false,
    };
    wanted.is_64 == ty.is_64 && size >= wanted.min && max_fits
}

/// The type with the machine's numbers in place of the module's indices: `types` has them.
fn func_type(ty: &FuncType, types: &[u32]) -> Result<FuncType> {
    let all =
        |all: &[ValType]| all.iter().map(|ty| val_type(*ty, types)).collect::<Result<Vec<_>>>();
    Ok(FuncType { params: all(&ty.params)?, results: all(&ty.results)? })
}

fn val_type(ty: ValType, types: &[u32]) -> Result<ValType> {
    Ok(match ty {
        ValType::Ref(ty) => ValType::Ref(ref_type(ty, types)?),
        ty => ty,
    })
}

fn ref_type(ty: RefType, types: &[u32]) -> Result<RefType> {
    let heap = match ty.heap {
        HeapType::Type(index) => match types.get(index as usize) {
            Some(number) => HeapType::Type(*number),
            None => bail!("recursive function types are not supported"),
        },
        heap => heap,
    };
    Ok(RefType { heap, ..ty })
}

fn table_type(ty: TableType, types: &[u32]) -> Result<TableType> {
    Ok(TableType { element: ref_type(ty.element, types)?, ..ty })
}
