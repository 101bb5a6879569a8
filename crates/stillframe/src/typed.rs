//! `TypedFunc`: functions whose type Rust knows.

use crate::context::AsContextMut;
use crate::func::Func;
use crate::into_func::{WasmParams, WasmResults};
use crate::raw::TypedHandle;
use crate::resumable::TypedResumableCall;
use anyhow::Result;
use stillframe_runtime::StoreCore;

/// A function of a store whose parameters are `P` and whose results are `R`.
///
/// Made by [`Func::typed`] and
/// [`Instance::get_typed_func`](crate::Instance::get_typed_func).
///
/// ```
/// use stillframe::{Engine, Instance, Module, Store, TypedFunc};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module (func (export "divide") (param i32 i32) (result i32 i32)
///         (i32.div_u (local.get 0) (local.get 1))
///         (i32.rem_u (local.get 0) (local.get 1))))
/// "#)?;
/// let mut store = Store::new(&engine, ());
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let divide: TypedFunc<(u32, u32), (u32, u32)> =
///     instance.get_typed_func(&mut store, "divide")?;
/// assert_eq!(divide.call(&mut store, (17, 5))?, (3, 2));
/// assert!(divide.call(&mut store, (17, 0)).is_err());
/// # stillframe::Result::<()>::Ok(())
/// ```
pub struct TypedFunc<P, R> {
    handle: TypedHandle<P, R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    pub(crate) fn new(core: &StoreCore, func: Func) -> Result<TypedFunc<P, R>> {
        Ok(TypedFunc { handle: TypedHandle::new(core, func.0)? })
    }

    /// Calls it.
    ///
    /// # Errors
    ///
    /// If wasm traps: an error that can be downcast to [`Trap`](crate::Trap). If a host function
    /// fails: its error. Both can also be downcast to [`WasmBacktrace`](crate::WasmBacktrace). If
    /// a parameter is of another store.
    ///
    /// # Panics
    ///
    /// If used with another store than the function's own. If a host function panics: with its
    /// panic.
    #[inline]
    pub fn call(&self, mut store: impl AsContextMut, params: P) -> Result<R> {
        self.handle.call(store.as_context_mut().core, params)
    }

    /// Calls it so that it can be stopped and carried on; see [`Func::call_resumable`].
    ///
    /// # Errors
    ///
    /// As [`TypedFunc::call`], but for what suspends it.
    ///
    /// # Panics
    ///
    /// As [`TypedFunc::call`].
    #[inline]
    pub fn call_resumable(
        &self,
        mut store: impl AsContextMut,
        params: P,
    ) -> Result<TypedResumableCall<R>> {
        let called = self.handle.call_resumable(store.as_context_mut().core, params);
        called.map(TypedResumableCall::new)
    }

    /// Calls it as a future; see [`Func::call_async`].
    ///
    /// # Errors
    ///
    /// As [`TypedFunc::call`].
    ///
    /// # Panics
    ///
    /// As [`TypedFunc::call`].
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: P,
    ) -> Result<R> {
        self.handle.call_async(store.as_context_mut(), params).await
    }

    /// The function without its type.
    pub fn func(&self) -> Func {
        Func(self.handle.func())
    }
}

impl<P, R> std::fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TypedFunc").finish_non_exhaustive()
    }
}
