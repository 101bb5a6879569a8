//! `Instance` and `InstancePre`: modules in a store.

use crate::context::{AsContext, AsContextMut, StoreContext};
use crate::engine::Engine;
use crate::error;
use crate::externs::{Export, Extern, ExternType};
use crate::func::Func;
use crate::global::Global;
use crate::into_func::{WasmParams, WasmResults};
use crate::memory::Memory;
use crate::module::Module;
use crate::raw::{self, HostFunc};
use crate::store::StoreData;
use crate::table::Table;
use crate::typed::TypedFunc;
use anyhow::{Context, Result, ensure};
use std::sync::Arc;
use stillframe_abi::module::EntityType;
use stillframe_runtime::{ExternalHandle, InstanceHandle, StoreCore};

/// An instance of a module in a store.
///
/// All methods panic when used with another store than the instance's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Instance(pub(crate) InstanceHandle);

impl Instance {
    /// Instantiates a module with these imports, in the order of [`Module::imports`]; runs its
    /// start function. [`Linker`](crate::Linker) does the same by name.
    ///
    /// # Errors
    ///
    /// If the imports do not fit in number or type, the store's limiter refuses a memory, a table
    /// or the instance, or the system has no memory: nothing happened. If a segment does not fit
    /// or the start function fails: as [`Func::call`]; what was done before stays done.
    ///
    /// # Panics
    ///
    /// If the module is of another engine or an import of another store.
    pub fn new(
        mut store: impl AsContextMut,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let core = store.as_context_mut().core;
        Instance::of(core, module, &handles(imports))?.start(core)
    }

    /// As [`Instance::new`], with a start function that is called as [`Func::call_async`] calls.
    ///
    /// # Errors
    ///
    /// As [`Instance::new`].
    ///
    /// # Panics
    ///
    /// As [`Instance::new`].
    pub async fn new_async(
        mut store: impl AsContextMut<Data: Send>,
        module: &Module,
        imports: &[Extern],
    ) -> Result<Instance> {
        let mut store = store.as_context_mut();
        let instance = Instance::of(store.core, module, &handles(imports))?;
        raw::start_async(store.as_context_mut(), instance.0).await?;
        Ok(instance)
    }

    /// An instance that has not been started.
    fn of(core: &mut StoreCore, module: &Module, imports: &[ExternalHandle]) -> Result<Instance> {
        let instance = core.instantiate(module.compiled(), imports);
        instance.map(Instance).map_err(error::of_instantiation)
    }

    /// Runs its start function.
    fn start(self, core: &mut StoreCore) -> Result<Instance> {
        core.start(self.0).map_err(error::of_call)?;
        Ok(self)
    }

    /// Its module.
    pub fn module<T: 'static>(&self, store: impl AsContext<Data = T>) -> Module {
        let module = store.as_context().core.module_of(self.0);
        Module::from_compiled(&Engine::of(module.engine()), module.clone())
    }

    /// What it exports, in order.
    pub fn exports<'a, T: 'static>(
        &self,
        store: impl Into<StoreContext<'a, T>>,
    ) -> impl ExactSizeIterator<Item = Export<'a>> {
        let (core, instance) = (store.into().core, self.0);
        let exports = core.module_of(instance).info().exports.iter().enumerate();
        exports.map(move |(i, export)| {
            Export::new(&export.name, Extern::from_handle(core.export_at(instance, i)))
        })
    }

    /// What it exports under this name.
    pub fn get_export(&self, mut store: impl AsContextMut, name: &str) -> Option<Extern> {
        store.as_context_mut().core.export(self.0, name).map(Extern::from_handle)
    }

    /// The function that it exports under this name, if there is one.
    pub fn get_func(&self, store: impl AsContextMut, name: &str) -> Option<Func> {
        self.get_export(store, name)?.into_func()
    }

    /// The function of this type that it exports under this name.
    ///
    /// # Errors
    ///
    /// If it exports no function so named, or one of another type.
    pub fn get_typed_func<P: WasmParams, R: WasmResults>(
        &self,
        mut store: impl AsContextMut,
        name: &str,
    ) -> Result<TypedFunc<P, R>> {
        let func = self.get_func(&mut store, name);
        let func = func.with_context(|| format!("no function is exported as `{name}`"))?;
        func.typed(&store).map_err(|error| anyhow::anyhow!("export `{name}`: {error}"))
    }

    /// The memory that it exports under this name, if there is one.
    pub fn get_memory(&self, store: impl AsContextMut, name: &str) -> Option<Memory> {
        self.get_export(store, name)?.into_memory()
    }

    /// The table that it exports under this name, if there is one.
    pub fn get_table(&self, store: impl AsContextMut, name: &str) -> Option<Table> {
        self.get_export(store, name)?.into_table()
    }

    /// The global that it exports under this name, if there is one.
    pub fn get_global(&self, store: impl AsContextMut, name: &str) -> Option<Global> {
        self.get_export(store, name)?.into_global()
    }
}

fn handles(imports: &[Extern]) -> Vec<ExternalHandle> {
    imports.iter().map(|import| import.handle()).collect()
}

/// What an import is, before there is a store, or in one.
pub(crate) enum Definition<T> {
    /// An object of a store.
    Extern(Extern),
    /// A host function; each store gets its own when it is first asked for.
    Host(Arc<HostFunc<T>>),
}

impl<T> Clone for Definition<T> {
    fn clone(&self) -> Definition<T> {
        match self {
            Definition::Extern(it) => Definition::Extern(*it),
            Definition::Host(func) => Definition::Host(func.clone()),
        }
    }
}

impl<T: 'static> Definition<T> {
    /// The definition in a store, with data of type `T`.
    pub(crate) fn in_store(&self, core: &mut StoreCore) -> Result<Extern> {
        let func = match self {
            Definition::Extern(it) => return Ok(*it),
            Definition::Host(func) => func,
        };
        if let Some(handle) = StoreData::<T>::of(core).host_functions.get(&func.id()) {
            return Ok(Func(*handle).into());
        }
        let handle = func.add_to(core)?;
        StoreData::<T>::of_mut(core).host_functions.insert(func.id(), handle);
        Ok(Func(handle).into())
    }
}

/// A module whose imports have been looked up, to be instantiated many times.
///
/// ```
/// use stillframe::{Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module (import "env" "f" (func)) (start 0))
/// "#)?;
/// let mut linker = Linker::<u32>::new(&engine);
/// linker.func_wrap("env", "f", |mut caller: stillframe::Caller<'_, u32>| {
///     *caller.data_mut() += 1;
/// })?;
/// let pre = linker.instantiate_pre(&module)?;
/// let mut store = Store::new(&engine, 0);
/// for _ in 0..3 {
///     pre.instantiate(&mut store)?;
/// }
/// assert_eq!(*store.data(), 3);
/// # stillframe::Result::<()>::Ok(())
/// ```
pub struct InstancePre<T: 'static> {
    module: Module,
    imports: Arc<[Definition<T>]>,
}

impl<T: 'static> InstancePre<T> {
    /// Host functions are checked here; the types of what is in a store can change until then.
    pub(crate) fn new(module: &Module, imports: Vec<Definition<T>>) -> Result<InstancePre<T>> {
        let info = module.compiled().info();
        for (import, definition) in info.imports.iter().zip(&imports) {
            let Definition::Host(func) = definition else { continue };
            let wanted = info.type_of(import.index);
            let found = EntityType::Func(func.ty().clone());
            ensure!(
                wanted == found,
                "incompatible import type for `{}::{}`: the module wants a {}, the host function \
                 has type `{}`",
                import.module,
                import.name,
                ExternType::from(wanted),
                func.ty()
            );
        }
        Ok(InstancePre { module: module.clone(), imports: imports.into() })
    }

    /// The module.
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Instantiates it; runs its start function. Host functions are made once per store.
    ///
    /// # Errors
    ///
    /// As [`Instance::new`].
    ///
    /// # Panics
    ///
    /// If the store is of another engine, or an import of another store.
    pub fn instantiate(&self, mut store: impl AsContextMut<Data = T>) -> Result<Instance> {
        let core = store.as_context_mut().core;
        self.unstarted(core)?.start(core)
    }

    /// As [`InstancePre::instantiate`], with a start function that is called as
    /// [`Func::call_async`] calls.
    ///
    /// # Errors
    ///
    /// As [`Instance::new`].
    ///
    /// # Panics
    ///
    /// As [`InstancePre::instantiate`].
    pub async fn instantiate_async(
        &self,
        mut store: impl AsContextMut<Data = T>,
    ) -> Result<Instance>
    where
        T: Send,
    {
        let mut store = store.as_context_mut();
        let instance = self.unstarted(store.core)?;
        raw::start_async(store.as_context_mut(), instance.0).await?;
        Ok(instance)
    }

    fn unstarted(&self, core: &mut StoreCore) -> Result<Instance> {
        let imports = self.imports.iter();
        let imports: Result<Vec<_>> =
            imports.map(|import| Ok(import.in_store(core)?.handle())).collect();
        Instance::of(core, &self.module, &imports?)
    }
}

impl<T: 'static> Clone for InstancePre<T> {
    fn clone(&self) -> InstancePre<T> {
        InstancePre { module: self.module.clone(), imports: self.imports.clone() }
    }
}

impl<T: 'static> std::fmt::Debug for InstancePre<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstancePre").field("module", &self.module).finish_non_exhaustive()
    }
}
