//! `Global`: global variables.

use crate::context::{AsContext, AsContextMut};
use crate::raw;
use crate::val::Val;
use anyhow::{Result, ensure};
use stillframe_abi::types::{GlobalType, Mutability};
use stillframe_runtime::GlobalHandle;

/// A global of a store.
///
/// All methods panic when used with another store than the global's own.
///
/// ```
/// use stillframe::{Engine, Global, GlobalType, Mutability, Store, Val, ValType};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, ());
/// let ty = GlobalType::new(ValType::I32, Mutability::Var);
/// let global = Global::new(&mut store, ty, Val::I32(1))?;
/// global.set(&mut store, Val::I32(2))?;
/// assert_eq!(global.get(&mut store).unwrap_i32(), 2);
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Global(pub(crate) GlobalHandle);

impl Global {
    /// A new global with this value.
    ///
    /// # Errors
    ///
    /// If the value is not of the type, or of another store.
    pub fn new(mut store: impl AsContextMut, ty: GlobalType, value: Val) -> Result<Global> {
        let core = store.as_context_mut().core;
        Ok(Global(raw::new_global(core, ty, &value)?))
    }

    /// Its type.
    pub fn ty(&self, store: impl AsContext) -> GlobalType {
        store.as_context().core.global_type(self.0)
    }

    /// Its value.
    pub fn get(&self, mut store: impl AsContextMut) -> Val {
        raw::get_global(store.as_context_mut().core, self.0)
    }

    /// Sets its value.
    ///
    /// # Errors
    ///
    /// If the global is immutable, or the value is not of its type, or of another store.
    pub fn set(&self, mut store: impl AsContextMut, value: Val) -> Result<()> {
        let core = store.as_context_mut().core;
        let ty = core.global_type(self.0);
        ensure!(ty.mutability() == Mutability::Var, "the global is immutable");
        raw::set_global(core, self.0, &value)
    }
}
