//! `Caller`: what a host function learns of who called it.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut, reading, writing};
use crate::engine::Engine;
use crate::error::not_metered;
use crate::externs::Extern;
use crate::frame::Frames;
use crate::instance::Instance;
use crate::limits::RuntimeLimits;
use crate::store::StoreData;
use anyhow::Result;
use stillframe_debug::WasmBacktrace;
use stillframe_runtime::{EpochAction, FrameCacheStats, HostCaller, StoreCore};

/// The store that a host function was called in, and the instance that called it.
///
/// ```
/// use stillframe::{Caller, Engine, Extern, Linker, Module, Store};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module
///         (import "env" "print" (func $print (param i32 i32)))
///         (memory (export "memory") 1)
///         (data (i32.const 8) "hello")
///         (func (export "run") (call $print (i32.const 8) (i32.const 5))))
/// "#)?;
/// let mut linker = Linker::new(&engine);
/// linker.func_wrap("env", "print", |mut caller: Caller<'_, String>, ptr: u32, len: u32| {
///     let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
///         stillframe::bail!("the guest exports no memory");
///     };
///     let (bytes, printed) = memory.data_and_store_mut(&mut caller);
///     let text = bytes.get(ptr as usize..).and_then(|bytes| bytes.get(..len as usize));
///     printed.push_str(std::str::from_utf8(text.unwrap_or_default())?);
///     Ok(())
/// })?;
/// let mut store = Store::new(&engine, String::new());
/// let instance = linker.instantiate(&mut store, &module)?;
/// instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
/// assert_eq!(store.data(), "hello");
/// # stillframe::Result::<()>::Ok(())
/// ```
pub struct Caller<'a, T: 'static> {
    store: StoreContextMut<'a, T>,
    caller: HostCaller,
}

impl<'a, T: 'static> Caller<'a, T> {
    /// `core` is that of a `Store<T>`.
    #[inline]
    pub(crate) fn new(core: &'a mut StoreCore, caller: HostCaller) -> Caller<'a, T> {
        Caller { store: StoreContextMut::new(core), caller }
    }
}

impl<T: 'static> Caller<'_, T> {
    /// What the calling instance exports under this name; `None` if it exports nothing so named,
    /// or if the host itself called.
    pub fn get_export(&mut self, name: &str) -> Option<Extern> {
        let caller = self.caller.instance(self.store.core)?;
        self.store.core.export(caller, name).map(Extern::from_handle)
    }

    /// The calling instance; `None` if the host itself called.
    pub fn instance(&self) -> Option<Instance> {
        self.caller.instance(self.store.core).map(Instance)
    }

    /// The store's data.
    #[inline]
    pub fn data(&self) -> &T {
        &StoreData::of(self.store.core).user
    }

    reading!(@methods T, self, self.store.core);
    writing!(@methods T, self, self.store.core);
}

impl<T: 'static> AsContext for Caller<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext::new(self.store.core)
    }
}

impl<T: 'static> AsContextMut for Caller<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut::new(self.store.core)
    }
}

impl<T: 'static> std::fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caller").field("instance", &self.instance()).finish_non_exhaustive()
    }
}
