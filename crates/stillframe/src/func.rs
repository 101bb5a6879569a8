//! `Func`: functions, of wasm and of the host.

use crate::caller::Caller;
use crate::context::{AsContext, AsContextMut};
use crate::instance::Instance;
use crate::into_func::{IntoFunc, WasmParams, WasmResults, WasmRet};
use crate::raw::{self, HostFunc};
use crate::resumable::ResumableCall;
use crate::typed::TypedFunc;
use crate::val::Val;
use anyhow::Result;
use stillframe_abi::types::FuncType;
use stillframe_runtime::FuncHandle;

/// A function of a store: an exported one of an instance, or one of the host's.
///
/// All methods panic when used with another store than the function's own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Func(pub(crate) FuncHandle);

impl Func {
    /// A function of the host's whose type is known only at run time. `func` gets the parameters,
    /// and as many results, which are zero or null, to replace.
    ///
    /// A result of another type than `ty` says, or of another store, is an error that ends the
    /// call. [`Func::wrap`] is faster and checks types when it is compiled.
    ///
    /// ```
    /// use stillframe::{Engine, Func, FuncType, Store, Val, ValType};
    ///
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, ());
    /// let ty = FuncType::new([ValType::I32], [ValType::I64]);
    /// let double = Func::new(&mut store, ty, |_caller, params, results| {
    ///     results[0] = Val::I64(2 * i64::from(params[0].unwrap_i32()));
    ///     Ok(())
    /// });
    /// let mut results = [Val::I64(0)];
    /// double.call(&mut store, &[Val::I32(21)], &mut results)?;
    /// assert_eq!(results[0].unwrap_i64(), 42);
    /// # stillframe::Result::<()>::Ok(())
    /// ```
    ///
    /// # Panics
    ///
    /// If trampolines for the type cannot be compiled.
    pub fn new<T: 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl Fn(Caller<'_, T>, &[Val], &mut [Val]) -> Result<()> + Send + Sync + 'static,
    ) -> Func {
        let func = HostFunc::dynamic(ty, func);
        Func(func.add_to(store.as_context_mut().core).expect(TRAMPOLINES))
    }

    /// A function of the host's whose type follows from the closure's; see [`IntoFunc`].
    ///
    /// A panic in it goes on in whoever called wasm. The store stays usable.
    ///
    /// # Panics
    ///
    /// If trampolines for the type cannot be compiled.
    pub fn wrap<T: 'static, Params, Results>(
        mut store: impl AsContextMut<Data = T>,
        func: impl IntoFunc<T, Params, Results>,
    ) -> Func {
        Func(func.into_func().add_to(store.as_context_mut().core).expect(TRAMPOLINES))
    }

    /// An asynchronous host function whose type follows from the closure's. It gets its parameters
    /// as one value or a tuple, and returns a future; a call made with `call_async` waits for it.
    /// Any other call that calls it fails.
    ///
    /// ```
    /// use stillframe::{Caller, Engine, Func, Store};
    ///
    /// let engine = Engine::default();
    /// let mut store = Store::new(&engine, 10);
    /// let add = Func::wrap_async(&mut store, |caller: Caller<'_, i32>, (n,): (i32,)| {
    ///     Box::new(async move {
    ///         std::future::ready(()).await;
    ///         n + *caller.data()
    ///     })
    /// });
    /// let add = add.typed::<i32, i32>(&store)?;
    /// # fn block_on<F: Future>(future: F) -> F::Output {
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     let mut future = std::pin::pin!(future);
    /// #     loop {
    /// #         if let std::task::Poll::Ready(it) = future.as_mut().poll(&mut context) {
    /// #             return it;
    /// #         }
    /// #     }
    /// # }
    /// assert_eq!(block_on(add.call_async(&mut store, 32))?, 42);
    /// # stillframe::Result::<()>::Ok(())
    /// ```
    ///
    /// # Panics
    ///
    /// If trampolines for the type cannot be compiled.
    pub fn wrap_async<T: Send + 'static, P: WasmParams, R: WasmRet + 'static>(
        mut store: impl AsContextMut<Data = T>,
        func: impl for<'a> Fn(Caller<'a, T>, P) -> Box<dyn Future<Output = R> + Send + 'a>
        + Send
        + Sync
        + 'static,
    ) -> Func {
        let func = HostFunc::typed_async(func);
        Func(func.add_to(store.as_context_mut().core).expect(TRAMPOLINES))
    }

    /// An asynchronous host function whose type is known only at run time; see [`Func::new`] and
    /// [`Func::wrap_async`].
    ///
    /// # Panics
    ///
    /// If trampolines for the type cannot be compiled.
    pub fn new_async<T: Send + 'static>(
        mut store: impl AsContextMut<Data = T>,
        ty: FuncType,
        func: impl for<'a> Fn(
            Caller<'a, T>,
            &'a [Val],
            &'a mut [Val],
        ) -> Box<dyn Future<Output = Result<()>> + Send + 'a>
        + Send
        + Sync
        + 'static,
    ) -> Func {
        let func = HostFunc::dynamic_async(ty, func);
        Func(func.add_to(store.as_context_mut().core).expect(TRAMPOLINES))
    }

    /// Its type.
    pub fn ty(&self, store: impl AsContext) -> FuncType {
        (*store.as_context().core.func_type(self.0)).clone()
    }

    /// Where it comes from: the instance whose module defines it, and its index in that module.
    /// `None` if it is a function of the host's.
    ///
    /// ```
    /// use stillframe::{Engine, Func, Instance, Module, Store};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, r#"(module (func) (func (export "f")))"#)?;
    /// let mut store = Store::new(&engine, ());
    /// let instance = Instance::new(&mut store, &module, &[])?;
    /// let f = instance.get_func(&mut store, "f").unwrap();
    /// assert_eq!(f.definition(&store), Some((instance, 1)));
    /// let host = Func::wrap(&mut store, || {});
    /// assert_eq!(host.definition(&store), None);
    /// # stillframe::Result::<()>::Ok(())
    /// ```
    pub fn definition(&self, store: impl AsContext) -> Option<(Instance, u32)> {
        let (instance, index) = store.as_context().core.definition_of(self.0)?;
        Some((Instance(instance), index))
    }

    /// Calls it. `results` must have as many elements as the function has results, of whatever
    /// values.
    ///
    /// # Errors
    ///
    /// If number or types of the parameters, or the number of results, are not the function's, or
    /// a parameter is of another store: nothing happened. If wasm traps: an error that
    /// can be downcast to [`Trap`](crate::Trap). If a host function fails: its error. The latter
    /// two can also be downcast to [`WasmBacktrace`](crate::WasmBacktrace).
    ///
    /// # Panics
    ///
    /// If a host function panics: with its panic.
    pub fn call(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        raw::call(store.as_context_mut().core, self.0, params, results)
    }

    /// Calls it so that it can be stopped and carried on: when it runs out of fuel, passes the epoch
    /// deadline ([`Store::epoch_deadline_suspend`](crate::Store::epoch_deadline_suspend)) or gets
    /// an error from a host function, it comes back as a [`ResumableCall`] that can be resumed.
    ///
    /// # Errors
    ///
    /// As [`Func::call`], but for these three.
    ///
    /// # Panics
    ///
    /// If a host function panics: with its panic.
    pub fn call_resumable(
        &self,
        mut store: impl AsContextMut,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<ResumableCall> {
        let called = raw::call_resumable(store.as_context_mut().core, self.0, params, results);
        called.map(ResumableCall::new)
    }

    /// Calls it as a future. It waits for asynchronous host functions, and yields to the executor
    /// where the store says so: at epoch deadlines
    /// ([`Store::epoch_deadline_async_yield_and_update`](crate::Store::epoch_deadline_async_yield_and_update))
    /// and after so much fuel
    /// ([`Store::fuel_async_yield_interval`](crate::Store::fuel_async_yield_interval)). It can be
    /// polled on any thread, by any executor. Dropping it gives the call up.
    ///
    /// # Errors
    ///
    /// As [`Func::call`].
    ///
    /// # Panics
    ///
    /// As [`Func::call`].
    pub async fn call_async(
        &self,
        mut store: impl AsContextMut<Data: Send>,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        raw::call_async(store.as_context_mut(), self.0, params, results).await
    }

    /// The function with its type known to Rust: faster to call.
    ///
    /// # Errors
    ///
    /// If it has another type.
    pub fn typed<P: WasmParams, R: WasmResults>(
        &self,
        store: impl AsContext,
    ) -> Result<TypedFunc<P, R>> {
        TypedFunc::new(store.as_context().core, *self)
    }
}

const TRAMPOLINES: &str = "trampolines for the function's type";
