//! `Linker`: imports by name.

use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::engine::Engine;
use crate::externs::{Extern, ExternType};
use crate::instance::{Definition, Instance, InstancePre};
use crate::into_func::{IntoFunc, WasmParams, WasmRet};
use crate::module::Module;
use crate::raw::HostFunc;
use crate::val::Val;
use anyhow::{Result, anyhow, ensure};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use stillframe_abi::module::Import;
use stillframe_abi::types::FuncType;

/// What imports are looked up in, by module and name.
///
/// Host functions are defined without a store, and one linker can serve many stores.
///
/// ```
/// use stillframe::{Engine, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("math", "add", |a: i32, b: i32| a.wrapping_add(b))?;
/// let module = Module::new(&engine, r#"
///     (module
///         (import "math" "add" (func $add (param i32 i32) (result i32)))
///         (func (export "triple") (param i32) (result i32)
///             (call $add (local.get 0) (call $add (local.get 0) (local.get 0)))))
/// "#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = linker.instantiate(&mut store, &module)?;
/// let triple = instance.get_typed_func::<i32, i32>(&mut store, "triple")?;
/// assert_eq!(triple.call(&mut store, 14)?, 42);
/// # stillframe::Result::<()>::Ok(())
/// ```
pub struct Linker<T: 'static> {
    engine: Engine,
    allow_shadowing: bool,
    definitions: HashMap<String, HashMap<String, Definition<T>>>,
}

/// An import that is not defined. Errors of [`Linker::instantiate`] and
/// [`Linker::instantiate_pre`] can be downcast to it.
#[derive(Clone, Debug)]
pub struct UnknownImportError {
    module: String,
    name: String,
    ty: ExternType,
}

impl UnknownImportError {
    fn new(import: &Import, ty: ExternType) -> UnknownImportError {
        UnknownImportError { module: import.module.clone(), name: import.name.clone(), ty }
    }

    /// The first part of its name.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The second part of its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The type that the module wants.
    pub fn ty(&self) -> ExternType {
        self.ty.clone()
    }
}

impl fmt::Display for UnknownImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UnknownImportError { module, name, ty } = self;
        write!(f, "unknown import: `{module}::{name}` is not defined; the module wants a {ty}")
    }
}

impl std::error::Error for UnknownImportError {}

impl<T: 'static> Linker<T> {
    /// A linker without definitions.
    pub fn new(engine: &Engine) -> Linker<T> {
        Linker { engine: engine.clone(), allow_shadowing: false, definitions: HashMap::new() }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Whether a definition may replace an earlier one of the same name. If not, which is the
    /// default, that is an error.
    pub fn allow_shadowing(&mut self, allow: bool) -> &mut Linker<T> {
        self.allow_shadowing = allow;
        self
    }

    /// Defines an object of a store. The linker is then of use with that store only.
    ///
    /// # Errors
    ///
    /// If the name is taken.
    ///
    /// # Panics
    ///
    /// If `item` is not of `store`.
    pub fn define(
        &mut self,
        store: impl AsContext<Data = T>,
        module: &str,
        name: &str,
        item: impl Into<Extern>,
    ) -> Result<&mut Linker<T>> {
        let item = item.into();
        // Looks at the object, and so at its store.
        let _ = item.ty(store);
        self.insert(module, name, Definition::Extern(item))
    }

    /// Defines a host function whose type follows from the closure's; see
    /// [`IntoFunc`] and [`Func::wrap`](crate::Func::wrap).
    ///
    /// # Errors
    ///
    /// If the name is taken.
    pub fn func_wrap<Params, Results>(
        &mut self,
        module: &str,
        name: &str,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Result<&mut Linker<T>> {
        self.insert(module, name, Definition::Host(Arc::new(func.into_func())))
    }

    /// Defines a host function whose type is known only at run time; see
    /// [`Func::new`](crate::Func::new).
    ///
    /// # Errors
    ///
    /// If the name is taken.
    pub fn func_new(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Result<&mut Linker<T>> {
        let func = HostFunc::dynamic(ty, func);
        self.insert(module, name, Definition::Host(Arc::new(func)))
    }

    /// Defines an asynchronous host function whose type follows from the closure's; see
    /// [`Func::wrap_async`](crate::Func::wrap_async).
    ///
    /// # Errors
    ///
    /// If the name is taken.
    pub fn func_wrap_async<P: WasmParams, R: WasmRet + 'static>(
        &mut self,
        module: &str,
        name: &str,
        func: impl for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
        + Send
        + Sync
        + 'static,
    ) -> Result<&mut Linker<T>>
    where
        T: Send,
    {
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::typed_async(func))))
    }

    /// Defines an asynchronous host function whose type is known only at run time; see
    /// [`Func::new_async`](crate::Func::new_async).
    ///
    /// # Errors
    ///
    /// If the name is taken.
    pub fn func_new_async(
        &mut self,
        module: &str,
        name: &str,
        ty: FuncType,
        func: impl for<'a> Fn(
            Caller<'a, T>,
            &'a [Val],
            &'a mut [Val],
        ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
        + Send
        + Sync
        + 'static,
    ) -> Result<&mut Linker<T>>
    where
        T: Send,
    {
        self.insert(module, name, Definition::Host(Arc::new(HostFunc::dynamic_async(ty, func))))
    }

    /// Defines everything that an instance exports, under the module name `module_name`.
    ///
    /// # Errors
    ///
    /// If a name is taken; those before it are defined then.
    ///
    /// # Panics
    ///
    /// If the instance is of another store.
    pub fn instance(
        &mut self,
        store: impl AsContext<Data = T>,
        module_name: &str,
        instance: Instance,
    ) -> Result<&mut Linker<T>> {
        let store = store.as_context();
        for export in instance.exports(&store) {
            let name = export.name();
            self.insert(module_name, name, Definition::Extern(export.into_extern()))?;
        }
        Ok(self)
    }

    /// Defines `as_module::as_name` as what `module::name` is now.
    ///
    /// # Errors
    ///
    /// If there is no definition of `module::name`, or the other name is taken.
    pub fn alias(
        &mut self,
        module: &str,
        name: &str,
        as_module: &str,
        as_name: &str,
    ) -> Result<&mut Linker<T>> {
        let definition = self.find(module, name).cloned();
        let definition = definition.ok_or_else(|| anyhow!("`{module}::{name}` is not defined"))?;
        self.insert(as_module, as_name, definition)
    }

    /// Defines under `as_module` everything that is defined under `module` now.
    ///
    /// # Errors
    ///
    /// If nothing is defined under `module`, or a name is taken; others are defined then.
    pub fn alias_module(&mut self, module: &str, as_module: &str) -> Result<()> {
        let names = self.definitions.get(module).cloned();
        for (name, definition) in
            names.ok_or_else(|| anyhow!("nothing is defined in `{module}`"))?
        {
            self.insert(as_module, &name, definition)?;
        }
        Ok(())
    }

    /// Defines every function that the module imports and that is not defined as one that fails
    /// when it is called.
    ///
    /// # Errors
    ///
    /// If something else than a function is not defined: an [`UnknownImportError`].
    pub fn define_unknown_imports_as_traps(&mut self, module: &Module) -> Result<()> {
        let info = module.compiled().info();
        for import in &info.imports {
            if self.find(&import.module, &import.name).is_some() {
                continue;
            }
            let error = UnknownImportError::new(import, info.type_of(import.index).into());
            let ExternType::Func(ty) = error.ty() else { return Err(error.into()) };
            self.func_new(&import.module, &import.name, ty, move |_, _, _| {
                Err(error.clone().into())
            })?;
        }
        Ok(())
    }

    /// What is defined as `module::name`, in this store.
    ///
    /// # Panics
    ///
    /// If trampolines for a host function's type cannot be compiled.
    pub fn get(
        &self,
        mut store: impl AsContextMut<Data = T>,
        module: &str,
        name: &str,
    ) -> Option<Extern> {
        let definition = self.find(module, name)?.in_store(store.as_context_mut().core);
        Some(definition.expect("trampolines for the function's type"))
    }

    /// Instantiates a module with imports from here; runs its start function.
    ///
    /// # Errors
    ///
    /// If an import is not defined: an [`UnknownImportError`]. Otherwise as [`Instance::new`].
    ///
    /// # Panics
    ///
    /// If module or store are of another engine, or a definition that is needed of another store.
    pub fn instantiate(
        &self,
        store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance> {
        self.instantiate_pre(module)?.instantiate(store)
    }

    /// As [`Linker::instantiate`], with a start function that is called as
    /// [`Func::call_async`](crate::Func::call_async) calls.
    ///
    /// # Errors
    ///
    /// As [`Linker::instantiate`].
    ///
    /// # Panics
    ///
    /// As [`Linker::instantiate`].
    pub async fn instantiate_async(
        &self,
        store: impl AsContextMut<Data = T>,
        module: &Module,
    ) -> Result<Instance>
    where
        T: Send,
    {
        self.instantiate_pre(module)?.instantiate_async(store).await
    }

    /// Looks up a module's imports, so that it can be instantiated many times, in many stores.
    ///
    /// # Errors
    ///
    /// If an import is not defined: an [`UnknownImportError`]. If a host function has another type
    /// than the module wants.
    ///
    /// # Panics
    ///
    /// If the module is of another engine.
    pub fn instantiate_pre(&self, module: &Module) -> Result<InstancePre<T>> {
        assert!(
            Engine::same(&self.engine, module.engine()),
            "module used with a linker of another engine"
        );
        let info = module.compiled().info();
        let imports = info.imports.iter().map(|import| {
            let found = self.find(&import.module, &import.name).cloned();
            found.ok_or_else(|| UnknownImportError::new(import, info.type_of(import.index).into()))
        });
        InstancePre::new(module, imports.collect::<Result<_, _>>()?)
    }

    fn find(&self, module: &str, name: &str) -> Option<&Definition<T>> {
        self.definitions.get(module)?.get(name)
    }

    fn insert(
        &mut self,
        module: &str,
        name: &str,
        definition: Definition<T>,
    ) -> Result<&mut Linker<T>> {
        ensure!(
            self.allow_shadowing || self.find(module, name).is_none(),
            "`{module}::{name}` is defined already"
        );
        self.definitions.entry(module.into()).or_default().insert(name.into(), definition);
        Ok(self)
    }
}

impl<T: 'static> Clone for Linker<T> {
    fn clone(&self) -> Linker<T> {
        Linker {
            engine: self.engine.clone(),
            allow_shadowing: self.allow_shadowing,
            definitions: self.definitions.clone(),
        }
    }
}

impl<T: 'static> fmt::Debug for Linker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Linker").field("modules", &self.definitions.len()).finish_non_exhaustive()
    }
}
