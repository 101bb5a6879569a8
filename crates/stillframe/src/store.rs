//! `Store<T>`: the objects of a guest, its metering, and the embedder's data.

use crate::context::{AsContext, AsContextMut, StoreContext, StoreContextMut, reading, writing};
use crate::engine::Engine;
use crate::error::not_metered;
use crate::frame::Frames;
use crate::limits::{ResourceLimiter, RuntimeLimits};
use crate::raw;
use anyhow::{Context, Result};
use std::any::Any;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use stillframe_abi::Trap;
use stillframe_debug::WasmBacktrace;
use stillframe_runtime::{EpochAction, EpochAnswer, FrameCacheStats, FuncHandle, StoreCore};

/// All objects of a guest: instances, memories, tables, globals and functions, together with data
/// of the embedder's. They live as long as the store does.
///
/// ```
/// use stillframe::{Caller, Engine, Func, Store};
///
/// let engine = Engine::default();
/// let mut store = Store::new(&engine, Vec::new());
/// let log = Func::wrap(&mut store, |mut caller: Caller<'_, Vec<i32>>, value: i32| {
///     caller.data_mut().push(value);
/// });
/// let log = log.typed::<i32, ()>(&store)?;
/// log.call(&mut store, 3)?;
/// log.call(&mut store, 4)?;
/// assert_eq!(store.into_data(), [3, 4]);
/// # stillframe::Result::<()>::Ok(())
/// ```
///
/// # Fuel
///
/// In an engine with [`Config::consume_fuel`](crate::Config::consume_fuel) a store has fuel: wasm
/// uses it up; when there is none left, the call traps, or is suspended if it was made resumably
/// ([`Func::call_resumable`](crate::Func::call_resumable)).
///
/// ```
/// use stillframe::{Config, Engine, Instance, Module, Store, Trap};
///
/// let engine = Engine::new(Config::new().consume_fuel(true))?;
/// let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#)?;
/// let mut store = Store::new(&engine, ());
/// store.set_fuel(10_000)?;
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
/// let error = spin.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.downcast_ref(), Some(&Trap::OutOfFuel));
/// assert_eq!(store.get_fuel()?, 0);
/// # stillframe::Result::<()>::Ok(())
/// ```
///
/// # Epochs
///
/// In an engine with [`Config::epoch_interruption`](crate::Config::epoch_interruption) a store has
/// a deadline, counted in increments of the engine's epoch, that any thread can make.
///
/// ```
/// use stillframe::{Config, Engine, Instance, Module, Store, Trap};
/// use std::time::Duration;
///
/// let engine = Engine::new(Config::new().epoch_interruption(true))?;
/// let module = Module::new(&engine, r#"(module (func (export "spin") (loop (br 0))))"#)?;
/// let mut store = Store::new(&engine, ());
/// store.set_epoch_deadline(1);
/// let instance = Instance::new(&mut store, &module, &[])?;
/// let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
/// let watchdog = std::thread::spawn(move || {
///     std::thread::sleep(Duration::from_millis(20));
///     engine.increment_epoch();
/// });
/// let error = spin.call(&mut store, ()).unwrap_err();
/// assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
/// # watchdog.join().unwrap();
/// # stillframe::Result::<()>::Ok(())
/// ```
pub struct Store<T: 'static> {
    core: Box<StoreCore>,
    _data: Invariant<T>,
}

/// Marks what is of stores with data of type `T` and of no sub- or supertype of it; see
/// [`raw::data_of`].
pub(crate) type Invariant<T> = PhantomData<fn(T) -> T>;

/// What the runtime's store holds as its data.
pub(crate) struct StoreData<T> {
    pub(crate) user: T,
    pub(crate) engine: Engine,
    /// The host functions of linkers that are in the store already, by `HostFunc::id`.
    pub(crate) host_functions: HashMap<u64, FuncHandle>,
}

impl<T: 'static> StoreData<T> {
    /// The data of the core of a `Store<T>`.
    #[inline]
    pub(crate) fn of(core: &StoreCore) -> &StoreData<T> {
        raw::data_of(core.data())
    }

    /// The data of the core of a `Store<T>`.
    #[inline]
    pub(crate) fn of_mut(core: &mut StoreCore) -> &mut StoreData<T> {
        StoreData::of_any(core.data_mut())
    }

    /// The same, once it has been taken out of the core.
    #[inline]
    pub(crate) fn of_any(data: &mut dyn Any) -> &mut StoreData<T> {
        raw::data_of_mut(data)
    }
}

/// What happens after an epoch deadline; the answer of
/// [`Store::epoch_deadline_callback`]'s callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UpdateDeadline {
    /// Wasm goes on; the next deadline is this many increments of the engine's epoch from now.
    Continue(u64),
    /// The call is suspended: a resumable one comes back as
    /// [`Interrupted`](crate::ResumableCall::Interrupted), an asynchronous one yields, and any other
    /// traps with [`Trap::Interrupt`]. The next deadline is this many increments of the engine's
    /// epoch from now.
    Yield(u64),
    /// Wasm traps with [`Trap::Interrupt`]; the deadline stays as it is.
    Interrupt,
}

/// The interval of `fuel_async_yield_interval`.
pub(crate) fn slice(interval: Option<u64>) -> Result<Option<NonZeroU64>> {
    let nonzero = |interval| NonZeroU64::new(interval).context("a yield interval of 0 units");
    interval.map(nonzero).transpose()
}

impl UpdateDeadline {
    /// What the runtime wants to hear from its epoch callback.
    pub(crate) fn answer(self) -> Result<EpochAnswer> {
        match self {
            UpdateDeadline::Continue(ticks) => Ok(EpochAnswer::Continue(ticks)),
            UpdateDeadline::Yield(ticks) => Ok(EpochAnswer::Suspend(ticks)),
            UpdateDeadline::Interrupt => Err(Trap::Interrupt.into()),
        }
    }
}

impl<T: 'static> Store<T> {
    /// An empty store, with no fuel, and an epoch deadline of 0 increments from now.
    pub fn new(engine: &Engine, data: T) -> Store<T> {
        let data = StoreData { user: data, engine: engine.clone(), host_functions: HashMap::new() };
        Store { core: StoreCore::new(engine.shared(), Box::new(data)), _data: PhantomData }
    }

    /// The store's data.
    #[inline]
    pub fn data(&self) -> &T {
        &StoreData::of(&self.core).user
    }

    /// Drops the store and gives its data back.
    pub fn into_data(mut self) -> T {
        self.core.take_data().downcast::<StoreData<T>>().expect("the store's data").user
    }

    reading!(@methods T, self, self.core);
    writing!(@methods T, self, self.core);

    /// Lets `callback` decide at the epoch deadline: it can set a new deadline, so that wasm goes
    /// on, interrupt it, or return an error, which the call into wasm then ends in. It gets the
    /// store and may do with it what a host function may.
    ///
    /// ```
    /// use stillframe::{Config, Engine, Store, UpdateDeadline};
    ///
    /// let engine = Engine::new(Config::new().epoch_interruption(true))?;
    /// let mut store = Store::new(&engine, 0);
    /// store.epoch_deadline_callback(|mut store| {
    ///     *store.data_mut() += 1;
    ///     // Goes on ten times, then ends with `Trap::Interrupt`.
    ///     Ok(if *store.data() <= 10 {
    ///         UpdateDeadline::Continue(1)
    ///     } else {
    ///         UpdateDeadline::Interrupt
    ///     })
    /// });
    /// # stillframe::Result::<()>::Ok(())
    /// ```
    pub fn epoch_deadline_callback(
        &mut self,
        callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline> + Send + Sync + 'static,
    ) {
        self.as_context_mut().epoch_deadline_callback(callback);
    }

    /// Lets a limiter, found in the store's data, decide whether memories and tables are made and
    /// grow, and how many instances, memories, tables and wasm stacks there may be.
    ///
    /// ```
    /// use stillframe::{Engine, Instance, Module, Store, StoreLimits, StoreLimitsBuilder};
    ///
    /// let engine = Engine::default();
    /// let module = Module::new(&engine, "(module (memory 3))")?;
    /// let limits = StoreLimitsBuilder::new().memory_size(2 << 16).build();
    /// let mut store = Store::new(&engine, limits);
    /// store.limiter(|limits| limits);
    /// assert!(Instance::new(&mut store, &module, &[]).is_err());
    /// # stillframe::Result::<()>::Ok(())
    /// ```
    pub fn limiter(
        &mut self,
        mut limiter: impl (FnMut(&mut T) -> &mut dyn ResourceLimiter) + Send + Sync + 'static,
    ) {
        self.core.set_limiter(Box::new(move |data| limiter(&mut StoreData::of_any(data).user)));
    }
}

impl<T: 'static> AsContext for Store<T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext::new(&self.core)
    }
}

impl<T: 'static> AsContextMut for Store<T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut::new(&mut self.core)
    }
}

impl<T: Default + 'static> Default for Store<T> {
    /// A store of an engine with the default settings.
    ///
    /// # Panics
    ///
    /// If code cannot be generated for this processor.
    fn default() -> Store<T> {
        Store::new(&Engine::default(), T::default())
    }
}

impl<T: std::fmt::Debug + 'static> std::fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.core.id())
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}
