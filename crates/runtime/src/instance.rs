//! Instances: a module's context in a store, and how it comes to be.

mod initialize;

use crate::activation::CallError;
use crate::engine::builtin_table;
use crate::exceptions::Tag;
use crate::memory::LinearMemory;
use crate::module::CompiledModule;
use crate::resumable::Outcome;
use crate::store::{
    ExternalHandle, FuncHandle, GlobalHandle, InstanceHandle, MemoryHandle, StoreCore, TableHandle,
};
use crate::table::TableElements;
use anyhow::{Error, Result, bail, ensure};
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomPinned;
use std::ptr::NonNull;
use std::sync::Arc;
use stillframe_abi::module::{EntityIndex, EntityType, NO_SLOT};
use stillframe_abi::types::{MemoryType, TableType};
use stillframe_abi::vmctx::{VMCONTEXT_MAGIC, VMContextHeader, VMFuncRef, VMFunctionImport};

/// An instance of a module in a store. Boxed, at an address that does not change.
pub(crate) struct Instance {
    pub(crate) handle: InstanceHandle,
    /// Its position in the store.
    pub(crate) index: usize,
    /// The store that owns it.
    pub(crate) store: NonNull<StoreCore>,
    pub(crate) module: Arc<CompiledModule>,
    context: Context,
    /// By index, imported ones first.
    memories: Vec<MemoryHandle>,
    tables: Vec<TableHandle>,
    globals: Vec<GlobalHandle>,
    imported_functions: Vec<FuncHandle>,
    /// The references of each element segment that has not been dropped.
    elems: Vec<Box<[u64]>>,
    dropped_data: Vec<bool>,
    /// The identities of its exception tags.
    tags: Vec<Tag>,
    /// Its context points to it; see `StoreCore`.
    _reached_through_contexts: PhantomPinned,
}

/// The allocation of a `VMContext`.
struct Context {
    base: NonNull<u8>,
    layout: Layout,
}

impl Context {
    fn new(size: usize) -> Context {
        let layout = Layout::from_size_align(size, 16).expect("a context is smaller than 2 GiB");
        // SAFETY: own allocation: the size is not 0: a context starts with its header.
        let base = unsafe { alloc_zeroed(layout) };
        let base = NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout));
        Context { base, layout }
    }

    /// The place of a `T` at `offset`.
    fn at<T>(&self, offset: usize) -> NonNull<T> {
        assert!(offset + size_of::<T>() <= self.layout.size());
        // SAFETY: own allocation: inside of the allocation, as asserted.
        let place = unsafe { self.base.add(offset).cast::<T>() };
        assert!(place.is_aligned());
        place
    }

    fn write<T>(&self, offset: usize, value: T) {
        // SAFETY: own allocation: the place is inside of the allocation and aligned; no code that
        // uses the context runs yet, or the value is one that only the runtime writes.
        unsafe { self.at::<T>(offset).write(value) };
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: own allocation: allocated with this layout in `new`.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

impl Instance {
    /// Where generated code finds its context.
    pub(crate) fn context_address(&self) -> usize {
        self.context.base.as_ptr() as usize
    }

    /// By index, imported ones first.
    pub(crate) fn memories(&self) -> &[MemoryHandle] {
        &self.memories
    }

    /// By index, imported ones first.
    pub(crate) fn globals(&self) -> &[GlobalHandle] {
        &self.globals
    }

    pub(crate) fn memory(&self, index: u32) -> MemoryHandle {
        self.memories[index as usize]
    }

    pub(crate) fn table(&self, index: u32) -> TableHandle {
        self.tables[index as usize]
    }

    pub(crate) fn tag(&self, index: u32) -> Tag {
        self.tags[index as usize]
    }

    pub(crate) fn data_is_dropped(&self, segment: u32) -> bool {
        self.dropped_data[segment as usize]
    }

    pub(crate) fn drop_data(&mut self, segment: u32) {
        self.dropped_data[segment as usize] = true;
    }

    /// The references of an element segment; none once it was dropped.
    pub(crate) fn elem_values(&self, segment: u32) -> &[u64] {
        &self.elems[segment as usize]
    }

    pub(crate) fn drop_elem(&mut self, segment: u32) {
        self.elems[segment as usize] = Box::default();
    }

    /// The function at `index`, which is imported or escapes.
    fn function(&self, index: u32) -> FuncHandle {
        if let Some(imported) = self.imported_functions.get(index as usize) {
            return *imported;
        }
        let slot = self.module.info().func_ref_slots[index as usize];
        assert_ne!(slot, NO_SLOT, "function {index} does not escape");
        let func_ref = self.context.at::<VMFuncRef>(self.module.offsets().func_ref(slot));
        FuncHandle { store: self.handle.store, func_ref }
    }

    fn external(&self, index: EntityIndex) -> ExternalHandle {
        match index {
            EntityIndex::Func(i) => ExternalHandle::Func(self.function(i)),
            EntityIndex::Table(i) => ExternalHandle::Table(self.tables[i as usize]),
            EntityIndex::Memory(i) => ExternalHandle::Memory(self.memories[i as usize]),
            EntityIndex::Global(i) => ExternalHandle::Global(self.globals[i as usize]),
        }
    }
}

/// An instantiation that failed.
#[derive(Debug)]
pub enum InstantiateError {
    /// It could not be started: imports do not fit, or resources are lacking. Nothing happened.
    Link(Error),
    /// A segment did not fit. What was done before stays done.
    Trap(CallError),
}

impl From<Error> for InstantiateError {
    fn from(error: Error) -> InstantiateError {
        InstantiateError::Link(error)
    }
}

impl StoreCore {
    /// Instantiates a module, but does not run its start function. `imports` are in the order of
    /// the module's imports.
    ///
    /// # Errors
    ///
    /// If the imports do not fit in number or type, the limiter refuses, memory is lacking, or a
    /// segment does not fit.
    ///
    /// # Panics
    ///
    /// If an import is of another store, or the module of another engine.
    pub fn instantiate(
        &mut self,
        module: &Arc<CompiledModule>,
        imports: &[ExternalHandle],
    ) -> Result<InstanceHandle, InstantiateError> {
        assert!(
            Arc::ptr_eq(module.engine(), self.engine()),
            "module used with a store of another engine"
        );
        self.check_imports(module, imports)?;
        let limit = self.ask_limiter(|limiter| limiter.instances());
        if let Some(limit) = limit
            && self.instances.len() >= limit
        {
            let error = anyhow::anyhow!("the store's limit of {limit} instances is reached");
            return Err(error.into());
        }
        let (memories, tables) = self.allocate(module)?;
        let info = module.info();
        let index = self.instances.len();
        let handle = InstanceHandle { store: self.id(), index: index as u32 };
        let mut instance = Box::new(Instance {
            handle,
            index,
            store: NonNull::from(&mut *self),
            module: module.clone(),
            context: Context::new(module.offsets().size()),
            memories: Vec::with_capacity(info.memories.len()),
            tables: Vec::with_capacity(info.tables.len()),
            globals: Vec::with_capacity(info.globals.len()),
            imported_functions: Vec::with_capacity(info.num_imported_functions),
            elems: Vec::with_capacity(info.elems.len()),
            dropped_data: vec![false; info.data.len()],
            tags: self.new_tags(info.tags.len()),
            _reached_through_contexts: PhantomPinned,
        });
        self.write_header(&mut instance);
        self.write_imports(&mut instance, imports);
        self.write_functions(&instance);
        let offsets = module.offsets();
        for (i, memory) in (0..).zip(memories) {
            let definition = instance.context.at(offsets.memory(i));
            instance.memories.push(self.add_memory(memory, Some(definition)));
        }
        for (i, table) in (0..).zip(tables) {
            let definition = instance.context.at(offsets.table(i));
            instance.tables.push(self.add_table(table, Some(definition)));
        }
        self.instances.push(instance);
        // From here on the instance stays: others may hold its functions, whatever fails.
        self.initialize(index).map_err(|trap| InstantiateError::Trap(trap.into()))?;
        Ok(handle)
    }

    /// Runs an instance's start function, if it has one.
    ///
    /// # Errors
    ///
    /// If it fails.
    ///
    /// # Panics
    ///
    /// If the instance is of another store.
    pub fn start(&mut self, instance: InstanceHandle) -> Result<(), CallError> {
        let Some(func) = self.start_function(instance) else { return Ok(()) };
        // SAFETY: checked values: the function is of this store, and a start function has neither
        // parameters nor results.
        unsafe { self.call_unchecked(func, &mut []) }
    }

    /// As [`StoreCore::start`], as [`StoreCore::call_async`] calls.
    ///
    /// # Errors
    ///
    /// As for [`StoreCore::start`].
    ///
    /// # Panics
    ///
    /// As for [`StoreCore::start`].
    pub fn start_async(&mut self, instance: InstanceHandle) -> Result<Outcome<()>, CallError> {
        let Some(func) = self.start_function(instance) else { return Ok(Outcome::Finished(())) };
        // SAFETY: checked values: as in `start`.
        unsafe { self.call_async(func, 0, |_, _| (), |_, _| ()) }
    }

    /// Makes the memories and tables that the module defines, so that failing leaves nothing.
    fn allocate(
        &mut self,
        module: &CompiledModule,
    ) -> Result<(Vec<LinearMemory>, Vec<TableElements>)> {
        let info = module.info();
        let mut memories = Vec::with_capacity(info.num_defined_memories());
        let mut tables = Vec::with_capacity(info.num_defined_tables());
        for (i, ty) in info.memories[info.num_imported_memories..].iter().enumerate() {
            self.allow_memory(ty, memories.len())?;
            memories.push(self.engine().memories().make(ty, module.image(i))?);
        }
        for ty in &info.tables[info.num_imported_tables..] {
            self.allow_table(ty, tables.len())?;
            tables.push(TableElements::new(ty, 0)?);
        }
        Ok((memories, tables))
    }

    fn write_header(&self, instance: &mut Box<Instance>) {
        let header = VMContextHeader {
            magic: VMCONTEXT_MAGIC,
            limits: &*self.limits,
            builtins: builtin_table(),
            epoch: self.engine().epoch_cell(),
            type_ids: instance.module.type_ids().as_ptr(),
            instance: std::ptr::from_mut::<Instance>(instance).cast(),
        };
        instance.context.write(0, header);
    }

    fn write_imports(&self, instance: &mut Instance, imports: &[ExternalHandle]) {
        let module = instance.module.clone();
        let offsets = module.offsets();
        let (mut funcs, mut memories, mut tables, mut globals) = (0, 0, 0, 0);
        for import in imports {
            match *import {
                ExternalHandle::Func(func) => {
                    let VMFuncRef { wasm_call, vmctx, .. } = self.func_ref(func);
                    let func_ref = func.func_ref.as_ptr();
                    let import = VMFunctionImport { wasm_call, vmctx, func_ref };
                    instance.context.write(offsets.function_import(funcs), import);
                    instance.imported_functions.push(func);
                    funcs += 1;
                }
                ExternalHandle::Memory(memory) => {
                    let definition = self.memories[memory.index as usize].definition;
                    instance.context.write(offsets.memory_import(memories), definition);
                    instance.memories.push(memory);
                    memories += 1;
                }
                ExternalHandle::Table(table) => {
                    let definition = self.tables[table.index as usize].definition;
                    instance.context.write(offsets.table_import(tables), definition);
                    instance.tables.push(table);
                    tables += 1;
                }
                ExternalHandle::Global(global) => {
                    let definition = self.globals[global.index as usize].definition;
                    instance.context.write(offsets.global_import(globals), definition);
                    instance.globals.push(global);
                    globals += 1;
                }
            }
        }
    }

    fn write_functions(&self, instance: &Instance) {
        let module = &instance.module;
        for (func, &slot) in (0..).zip(&module.info().func_ref_slots) {
            if slot != NO_SLOT {
                let func_ref = VMFuncRef {
                    wasm_call: module.function_code(func),
                    vmctx: instance.context.base.as_ptr().cast(),
                    type_id: module.type_id_of(func),
                };
                instance.context.write(module.offsets().func_ref(slot), func_ref);
            }
        }
    }

    /// An instance's start function.
    fn start_function(&self, instance: InstanceHandle) -> Option<FuncHandle> {
        self.check(instance.store, "instance");
        let instance = &self.instances[instance.index as usize];
        instance.module.info().start.map(|index| instance.function(index))
    }

    /// What an instance exports under this name.
    ///
    /// # Panics
    ///
    /// If the instance is of another store.
    #[track_caller]
    pub fn export(&self, instance: InstanceHandle, name: &str) -> Option<ExternalHandle> {
        self.check(instance.store, "instance");
        let instance = &self.instances[instance.index as usize];
        let exports = &instance.module.info().exports;
        let export = exports.iter().find(|export| export.name == name)?;
        Some(instance.external(export.index))
    }

    /// What an instance exports at this position of its module's exports.
    ///
    /// # Panics
    ///
    /// If the instance is of another store, or there is no such position.
    #[track_caller]
    pub fn export_at(&self, instance: InstanceHandle, position: usize) -> ExternalHandle {
        self.check(instance.store, "instance");
        let instance = &self.instances[instance.index as usize];
        instance.external(instance.module.info().exports[position].index)
    }

    /// The module of an instance.
    ///
    /// # Panics
    ///
    /// If the instance is of another store.
    #[track_caller]
    pub fn module_of(&self, instance: InstanceHandle) -> &Arc<CompiledModule> {
        self.check(instance.store, "instance");
        &self.instances[instance.index as usize].module
    }

    /// Checks number and types of imports.
    fn check_imports(&self, module: &CompiledModule, imports: &[ExternalHandle]) -> Result<()> {
        let wanted = &module.info().imports;
        ensure!(
            wanted.len() == imports.len(),
            "expected {} imports, found {}",
            wanted.len(),
            imports.len()
        );
        for (import, &given) in wanted.iter().zip(imports) {
            // Most imports are functions that fit.
            if let (EntityIndex::Func(index), ExternalHandle::Func(func)) = (import.index, given)
                && self.func_type_id(func) == module.type_id_of(index)
            {
                continue;
            }
            let ty = module.info().type_of(import.index);
            if let Some(why) = self.import_mismatch(&ty, given) {
                bail!("incompatible import type for `{}::{}`: {why}", import.module, import.name);
            }
        }
        Ok(())
    }

    /// Why `given` cannot be imported as `wanted`, or `None` if it can.
    ///
    /// # Panics
    ///
    /// If it is of another store.
    #[track_caller]
    pub fn import_mismatch(&self, wanted: &EntityType, given: ExternalHandle) -> Option<String> {
        match (wanted, given) {
            (EntityType::Func(wanted), ExternalHandle::Func(func)) => {
                let given = self.func_type(func);
                (given.as_ref() != wanted)
                    .then(|| format!("the function should have type `{wanted}`, it has `{given}`"))
            }
            (EntityType::Global(wanted), ExternalHandle::Global(global)) => {
                let given = self.global_type(global);
                (given != *wanted)
                    .then(|| format!("the global should have type {wanted:?}, it has {given:?}"))
            }
            (EntityType::Memory(wanted), ExternalHandle::Memory(memory)) => {
                memory_mismatch(wanted, &self.memory_type(memory), self.memory_pages(memory))
            }
            (EntityType::Table(wanted), ExternalHandle::Table(table)) => {
                table_mismatch(wanted, &self.table_type(table), self.table_size(table))
            }
            (wanted, given) => {
                let wanted = match wanted {
                    EntityType::Func(_) => "function",
                    EntityType::Table(_) => "table",
                    EntityType::Memory(_) => "memory",
                    EntityType::Global(_) => "global",
                };
                let given = match given {
                    ExternalHandle::Func(_) => "function",
                    ExternalHandle::Table(_) => "table",
                    ExternalHandle::Memory(_) => "memory",
                    ExternalHandle::Global(_) => "global",
                };
                Some(format!("expected a {wanted}, found a {given}"))
            }
        }
    }
}

fn memory_mismatch(wanted: &MemoryType, given: &MemoryType, pages: u64) -> Option<String> {
    if wanted.is_64() != given.is_64() {
        return Some("one is a 32-bit memory, the other a 64-bit memory".into());
    }
    limits_mismatch("pages", (wanted.minimum(), wanted.maximum()), (pages, given.maximum()))
}

fn table_mismatch(wanted: &TableType, given: &TableType, size: u64) -> Option<String> {
    if wanted.is_64() != given.is_64() {
        return Some("one is a 32-bit table, the other a 64-bit table".into());
    }
    if wanted.element() != given.element() {
        let (wanted, given) = (wanted.element(), given.element());
        return Some(format!("the elements should be {wanted}, they are {given}"));
    }
    limits_mismatch("elements", (wanted.minimum(), wanted.maximum()), (size, given.maximum()))
}

/// The specification's matching of limits: the current size counts as the minimum.
fn limits_mismatch(
    unit: &str,
    wanted: (u64, Option<u64>),
    given: (u64, Option<u64>),
) -> Option<String> {
    if given.0 < wanted.0 {
        return Some(format!("at least {} {unit} are needed, it has {}", wanted.0, given.0));
    }
    match (wanted.1, given.1) {
        (Some(wanted), Some(given)) if given > wanted => {
            Some(format!("at most {wanted} {unit} are allowed, its maximum is {given}"))
        }
        (Some(wanted), None) => {
            Some(format!("at most {wanted} {unit} are allowed, it has no maximum"))
        }
        _ => None,
    }
}
