//! The store: all objects of a guest, its limits, its metering, and what is running in it.
//!
//! `StoreCore` is what the public `Store<T>` wraps, without the type of its data. Objects are
//! named by handles that carry the store's id; a handle of another store is a panic, as it is a
//! bug of the embedder that no value could report better. Handles are checked at every use, so
//! everything here is safe to call with any handle.

use crate::activation::Activations;
use crate::engine::{EngineShared, Trampolines};
use crate::exceptions::Exceptions;
use crate::frames::{Faulted, FrameStore};
use crate::host::HostFunction;
use crate::instance::Instance;
use crate::limiter::LimiterFn;
use crate::memory::LinearMemory;
use crate::metering::EpochAction;
use crate::stack::WasmStack;
use crate::table::TableElements;
use crate::value::RawValue;
use anyhow::Result;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomPinned;
use std::num::NonZeroU64;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use stillframe_abi::VMRuntimeLimits;
use stillframe_abi::types::{FuncType, GlobalType};
use stillframe_abi::vmctx::{VMFuncRef, VMGlobalDefinition, VMMemoryDefinition, VMTableDefinition};

/// The number of a store: unique in the process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct StoreId(u64);

impl StoreId {
    fn next() -> StoreId {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        StoreId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The number itself; never 0.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

macro_rules! handles {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name {
            pub(crate) store: StoreId,
            pub(crate) index: u32,
        }

        impl $name {
            /// The store that the object lives in.
            pub fn store(&self) -> StoreId {
                self.store
            }
        }
    )*};
}

handles! {
    /// Names an instance of a store.
    InstanceHandle
    /// Names a linear memory of a store.
    MemoryHandle
    /// Names a table of a store.
    TableHandle
    /// Names a global of a store.
    GlobalHandle
    /// Names an object of the host that wasm holds as `externref`.
    ExternHandle
    /// Names an exception that wasm holds as `exnref`.
    ExnHandle
}

/// Names a function of a store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FuncHandle {
    pub(crate) store: StoreId,
    /// Points into the store with that id; followed only after the id was compared.
    pub(crate) func_ref: NonNull<VMFuncRef>,
}

// SAFETY: store's contexts: the pointer is followed only with the store in hand, by
// `StoreCore::func_ref`.
unsafe impl Send for FuncHandle {}
// SAFETY: store's contexts: as above.
unsafe impl Sync for FuncHandle {}

impl FuncHandle {
    /// The store that the function lives in.
    pub fn store(&self) -> StoreId {
        self.store
    }
}

/// Something that can be imported and exported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternalHandle {
    /// A function.
    Func(FuncHandle),
    /// A table.
    Table(TableHandle),
    /// A memory.
    Memory(MemoryHandle),
    /// A global.
    Global(GlobalHandle),
}

/// A memory and where generated code sees it: in the context of the instance that defines it, or
/// in a box of its own if the host made it.
pub(crate) struct StoreMemory {
    pub(crate) memory: LinearMemory,
    pub(crate) definition: NonNull<VMMemoryDefinition>,
    _own: Option<Own<VMMemoryDefinition>>,
}

/// A table and where generated code sees it.
pub(crate) struct StoreTable {
    pub(crate) elements: TableElements,
    pub(crate) definition: NonNull<VMTableDefinition>,
    _own: Option<Own<VMTableDefinition>>,
}

/// A global and where generated code sees it.
pub(crate) struct StoreGlobal {
    pub(crate) ty: GlobalType,
    pub(crate) definition: NonNull<VMGlobalDefinition>,
    _own: Option<Own<VMGlobalDefinition>>,
}

impl StoreMemory {
    /// Tells generated code where the memory is now.
    pub(crate) fn publish(&self) {
        // SAFETY: store's contexts: the definition lives in a context or box that the store owns
        // and never frees before this memory; its fields are `Cell`s, and generated code of this
        // store is not running while the host has the store.
        let definition = unsafe { self.definition.as_ref() };
        definition.base.set(self.memory.base());
        definition.length.set(self.memory.byte_len());
    }
}

impl StoreTable {
    /// Tells generated code where the table is now.
    pub(crate) fn publish(&mut self) {
        // SAFETY: store's contexts: as for memories.
        let definition = unsafe { self.definition.as_ref() };
        definition.base.set(self.elements.base());
        definition.length.set(self.elements.len());
    }
}

/// A store without the type of its data. Lives at an address that does not change, because
/// contexts point to it.
pub struct StoreCore {
    id: StoreId,
    engine: Arc<EngineShared>,
    pub(crate) limits: Box<VMRuntimeLimits>,
    pub(crate) data: Box<dyn Any>,
    #[expect(clippy::vec_box, reason = "contexts point to instances: they must not move")]
    pub(crate) instances: Vec<Box<Instance>>,
    #[expect(clippy::vec_box, reason = "references point to host functions: they must not move")]
    pub(crate) host_functions: Vec<Box<HostFunction>>,
    pub(crate) memories: Vec<StoreMemory>,
    pub(crate) tables: Vec<StoreTable>,
    pub(crate) globals: Vec<StoreGlobal>,
    externs: Vec<Arc<dyn Any + Send + Sync>>,
    pub(crate) exceptions: Exceptions,
    /// The function types that were used in calls, by id.
    used_types: Vec<Option<(Trampolines, Arc<FuncType>)>>,
    /// What is running, outermost first.
    pub(crate) activations: Activations,
    /// Why wasm was left, between a builtin's answer and the return of `enter`.
    pub(crate) pending: Option<crate::activation::Pending>,
    /// While a hardware trap is being handled: the frame that has faulted.
    pub(crate) faulted: Option<Faulted>,
    /// For looking at frames.
    pub(crate) frames: FrameStore,
    /// A wasm stack in hand, so that most calls do not ask the pool.
    pub(crate) spare_stack: Option<Arc<WasmStack>>,
    /// How many stacks the store holds: those of its activations and its suspended calls, and the one
    /// in hand. Stacks that go back to the pool without the store count themselves out.
    pub(crate) held_stacks: Arc<AtomicUsize>,
    /// The stacks of suspended calls, and of some that are not suspended any more; for looking at.
    pub(crate) suspended: Vec<Weak<WasmStack>>,
    /// Fuel that is not in hand: beyond an `i64`, or beyond the slice (`metering.rs`).
    pub(crate) fuel_reserve: u64,
    /// Units that wasm has executed in the store and those that are left, together; modulo 2^64.
    pub(crate) fuel_account: u64,
    /// The most that is taken from the reserve before an asynchronous call yields.
    pub(crate) fuel_slice: Option<NonZeroU64>,
    /// How much of that may still be taken. Not zero if there is no slice.
    pub(crate) fuel_until_yield: u64,
    /// The most that is taken from the reserve at once; the epoch is looked at between.
    pub(crate) epoch_slice: Option<NonZeroU64>,
    pub(crate) limiter: Option<LimiterFn>,
    pub(crate) epoch_action: EpochAction,
    /// Contexts point to the store, and host code that wasm calls reaches it through them while
    /// the `&mut` of the call into wasm exists. The compiler must not take that one for the only
    /// way to the store; of a type that is not `Unpin` it does not.
    _reached_through_contexts: PhantomPinned,
}

impl StoreCore {
    /// A store with no objects in it, no fuel, and an epoch deadline of 0 ticks from now.
    pub fn new(engine: &Arc<EngineShared>, data: Box<dyn Any>) -> Box<StoreCore> {
        let mut store = Box::new(StoreCore {
            id: StoreId::next(),
            engine: engine.clone(),
            limits: Box::default(),
            data,
            instances: Vec::new(),
            host_functions: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            externs: Vec::new(),
            exceptions: Exceptions::default(),
            used_types: Vec::new(),
            activations: Activations::default(),
            pending: None,
            faulted: None,
            frames: FrameStore::new(engine.config().frame_cache_size),
            spare_stack: None,
            held_stacks: Arc::default(),
            suspended: Vec::new(),
            fuel_reserve: 0,
            fuel_account: 0,
            fuel_slice: None,
            fuel_until_yield: u64::MAX,
            epoch_slice: engine.config().epoch_slice,
            limiter: None,
            epoch_action: EpochAction::Trap,
            _reached_through_contexts: PhantomPinned,
        });
        store.set_epoch_deadline(0);
        store
    }

    /// The store's number.
    #[inline]
    pub fn id(&self) -> StoreId {
        self.id
    }

    /// The engine.
    #[inline]
    pub fn engine(&self) -> &Arc<EngineShared> {
        &self.engine
    }

    /// The embedder's data.
    pub fn data(&self) -> &dyn Any {
        &*self.data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut dyn Any {
        &mut *self.data
    }

    /// Takes the embedder's data out, leaving `()`: for consuming the store.
    pub fn take_data(&mut self) -> Box<dyn Any> {
        std::mem::replace(&mut self.data, Box::new(()))
    }

    /// The limits, for looking at.
    pub fn limits(&self) -> &VMRuntimeLimits {
        &self.limits
    }

    /// Sets who is asked before memories and tables grow.
    pub fn set_limiter(&mut self, limiter: LimiterFn) {
        self.limiter = Some(limiter);
    }

    // ---- objects --------------------------------------------------------------------------

    /// Panics if an object of store `of` is used with this one.
    #[inline]
    #[track_caller]
    pub(crate) fn check(&self, of: StoreId, what: &str) {
        assert!(of == self.id, "{what} used with another store than its own");
    }

    /// The function that a handle names.
    #[inline]
    #[track_caller]
    pub(crate) fn func_ref(&self, func: FuncHandle) -> VMFuncRef {
        self.check(func.store, "function");
        // SAFETY: store's contexts: handles with this store's id are made from `VMFuncRef`s in
        // contexts and host functions, which the store keeps until it is dropped.
        unsafe { *func.func_ref.as_ptr() }
    }

    /// The type of a function.
    ///
    /// # Panics
    ///
    /// If the function is of another store.
    #[track_caller]
    pub fn func_type(&self, func: FuncHandle) -> Arc<FuncType> {
        let id = self.func_ref(func).type_id;
        match self.used_types.get(id as usize) {
            Some(Some((_, ty))) => ty.clone(),
            _ => self.engine.types().get(id),
        }
    }

    /// The engine-wide id of a function's type.
    ///
    /// # Panics
    ///
    /// If the function is of another store.
    #[track_caller]
    pub fn func_type_id(&self, func: FuncHandle) -> u32 {
        self.func_ref(func).type_id
    }

    /// The function that a raw `funcref` names; `None` is null.
    ///
    /// # Safety
    ///
    /// The value came out of this store as a `funcref`.
    pub unsafe fn func_from_raw(&self, value: RawValue) -> Option<FuncHandle> {
        let func_ref = NonNull::new(value.as_reference() as *mut VMFuncRef)?;
        Some(FuncHandle { store: self.id, func_ref })
    }

    /// A function, or null, as a raw `funcref`.
    ///
    /// # Panics
    ///
    /// If the function is of another store.
    #[track_caller]
    pub fn func_to_raw(&self, func: Option<FuncHandle>) -> RawValue {
        RawValue::reference(func.map_or(0, |func| {
            self.check(func.store, "function");
            func.func_ref.as_ptr() as u64
        }))
    }

    /// The trampolines of a function type.
    #[inline]
    pub(crate) fn trampolines(&mut self, type_id: u32) -> Result<Trampolines> {
        match self.used_types.get(type_id as usize) {
            Some(Some((trampolines, _))) => Ok(*trampolines),
            _ => self.use_type(type_id),
        }
    }

    /// Asks the engine for a type and its trampolines, and remembers them.
    #[cold]
    fn use_type(&mut self, type_id: u32) -> Result<Trampolines> {
        let at = type_id as usize;
        let types = self.engine.types();
        let made = self.engine.trampolines(type_id)?;
        let ty = types.get(type_id);
        types.retain(type_id);
        if self.used_types.len() <= at {
            self.used_types.resize(at + 1, None);
        }
        self.used_types[at] = Some((made, ty));
        Ok(made)
    }

    /// Gives an object of the host to wasm. It lives as long as the store.
    pub fn add_extern(&mut self, object: Arc<dyn Any + Send + Sync>) -> ExternHandle {
        self.externs.push(object);
        ExternHandle { store: self.id, index: self.externs.len() as u32 - 1 }
    }

    /// The object that a handle names.
    ///
    /// # Panics
    ///
    /// If the object is of another store.
    #[track_caller]
    pub fn extern_object(&self, handle: ExternHandle) -> &Arc<dyn Any + Send + Sync> {
        self.check(handle.store, "externref");
        &self.externs[handle.index as usize]
    }

    /// An object of the host, or null, as a raw `externref`.
    ///
    /// # Panics
    ///
    /// If the object is of another store.
    #[track_caller]
    pub fn extern_to_raw(&self, handle: Option<ExternHandle>) -> RawValue {
        RawValue::reference(handle.map_or(0, |handle| {
            self.check(handle.store, "externref");
            u64::from(handle.index) + 1
        }))
    }

    /// The object that a raw `externref` names; `None` is null, or nothing of this store.
    pub fn extern_from_raw(&self, value: RawValue) -> Option<ExternHandle> {
        let index = u32::try_from(value.as_reference().checked_sub(1)?).ok()?;
        ((index as usize) < self.externs.len()).then_some(ExternHandle { store: self.id, index })
    }

    /// Adds a memory; `definition` is its place in a context, or `None` to make one.
    pub(crate) fn add_memory(
        &mut self,
        memory: LinearMemory,
        definition: Option<NonNull<VMMemoryDefinition>>,
    ) -> MemoryHandle {
        let (definition, own) = place(definition, || VMMemoryDefinition {
            base: Cell::new(std::ptr::null_mut()),
            length: Cell::new(0),
        });
        let memory = StoreMemory { memory, definition, _own: own };
        memory.publish();
        self.memories.push(memory);
        MemoryHandle { store: self.id, index: self.memories.len() as u32 - 1 }
    }

    /// Adds a table.
    pub(crate) fn add_table(
        &mut self,
        elements: TableElements,
        definition: Option<NonNull<VMTableDefinition>>,
    ) -> TableHandle {
        let (definition, own) = place(definition, || VMTableDefinition {
            base: Cell::new(std::ptr::null_mut()),
            length: Cell::new(0),
        });
        let mut table = StoreTable { elements, definition, _own: own };
        table.publish();
        self.tables.push(table);
        TableHandle { store: self.id, index: self.tables.len() as u32 - 1 }
    }

    /// Adds a global, whose value the caller sets.
    pub(crate) fn add_global(
        &mut self,
        ty: GlobalType,
        definition: Option<NonNull<VMGlobalDefinition>>,
    ) -> GlobalHandle {
        let (definition, own) =
            place(definition, || VMGlobalDefinition { bytes: UnsafeCell::new([0; 16]) });
        self.globals.push(StoreGlobal { ty, definition, _own: own });
        GlobalHandle { store: self.id, index: self.globals.len() as u32 - 1 }
    }
}

/// A definition that is in no context. Instances point to it: a box of a type that is not `Unpin`
/// is not taken for the only way to what is in it.
type Own<T> = Box<(T, PhantomPinned)>;

/// A definition's place: the given one, or a new box, which is returned too.
fn place<T>(given: Option<NonNull<T>>, make: impl FnOnce() -> T) -> (NonNull<T>, Option<Own<T>>) {
    match given {
        Some(place) => (place, None),
        None => {
            let mut own = Box::new((make(), PhantomPinned));
            (NonNull::from(&mut own.0), Some(own))
        }
    }
}

impl Drop for StoreCore {
    fn drop(&mut self) {
        if let Some(stack) = self.spare_stack.take() {
            self.engine.stacks().put(stack);
        }
        // While the instances keep their modules, and these the images.
        for memory in self.memories.drain(..) {
            self.engine.memories().put(memory.memory);
        }
        let used = (0..).zip(&self.used_types).filter(|(_, used)| used.is_some());
        self.engine.types().release(used.map(|(id, _)| id));
    }
}

impl std::fmt::Debug for StoreCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreCore")
            .field("id", &self.id)
            .field("instances", &self.instances.len())
            .finish_non_exhaustive()
    }
}
