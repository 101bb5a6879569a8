//! Borrowed stores: what functions take that need a store.

use crate::caller::Caller;
use crate::engine::Engine;
use crate::error::not_metered;
use crate::frame::Frames;
use crate::limits::RuntimeLimits;
use crate::store::{Invariant, Store, StoreData, UpdateDeadline};
use anyhow::Result;
use std::marker::PhantomData;
use stillframe_debug::{Traced, WasmBacktrace};
use stillframe_runtime::{EpochAction, EpochAnswer, FrameCacheStats, StoreCore, Trace};

/// A store, borrowed for looking at: `&Store<T>`, also from inside of a host function.
pub struct StoreContext<'a, T: 'static> {
    pub(crate) core: &'a StoreCore,
    _data: Invariant<T>,
}

/// A store, borrowed for working with: `&mut Store<T>`, also from inside of a host function.
pub struct StoreContextMut<'a, T: 'static> {
    pub(crate) core: &'a mut StoreCore,
    _data: Invariant<T>,
}

/// Anything that a store can be borrowed from for looking at.
pub trait AsContext {
    /// The type of the store's data.
    type Data: 'static;

    /// Borrows the store.
    fn as_context(&self) -> StoreContext<'_, Self::Data>;
}

/// Anything that a store can be borrowed from for working with.
pub trait AsContextMut: AsContext {
    /// Borrows the store.
    fn as_context_mut(&mut self) -> StoreContextMut<'_, Self::Data>;
}

impl<'a, T: 'static> StoreContext<'a, T> {
    /// `core` is that of a `Store<T>`.
    #[inline]
    pub(crate) fn new(core: &'a StoreCore) -> StoreContext<'a, T> {
        StoreContext { core, _data: PhantomData }
    }

    /// The store's data.
    #[inline]
    pub fn data(&self) -> &'a T {
        &StoreData::of(self.core).user
    }
}

impl<'a, T: 'static> StoreContextMut<'a, T> {
    /// `core` is that of a `Store<T>`.
    #[inline]
    pub(crate) fn new(core: &'a mut StoreCore) -> StoreContextMut<'a, T> {
        StoreContextMut { core, _data: PhantomData }
    }

    /// The store's data.
    #[inline]
    pub fn data(&self) -> &T {
        &StoreData::of(self.core).user
    }
}

/// What every way to a store offers for looking at it; `$self.core` is the store's core.
macro_rules! reading {
    ($($ty:ident)*) => {$(
        impl<T: 'static> $ty<'_, T> {
            reading!(@methods T, self, self.core);
        }
    )*};
    (@methods $T:ident, $self:ident, $core:expr) => {
        /// The engine.
        pub fn engine(&$self) -> &Engine {
            &StoreData::<$T>::of(&$core).engine
        }

        /// The fuel that is left, in units; 0 if it is overdrawn.
        ///
        /// # Errors
        ///
        /// If the engine does not count fuel
        /// ([`Config::consume_fuel`](crate::Config::consume_fuel)).
        pub fn get_fuel(&$self) -> Result<u64> {
            match $core.engine().config().fuel {
                true => Ok($core.fuel()),
                false => Err(not_metered()),
            }
        }

        /// All units of fuel that wasm has executed in this store since it was made, those included
        /// that a call has overdrawn: what to bill. Counts modulo 2^64.
        ///
        /// # Errors
        ///
        /// If the engine does not count fuel
        /// ([`Config::consume_fuel`](crate::Config::consume_fuel)).
        pub fn fuel_consumed(&$self) -> Result<u64> {
            match $core.engine().config().fuel {
                true => Ok($core.fuel_consumed()),
                false => Err(not_metered()),
            }
        }

        /// Where the calls stand that are suspended in this store: those that were made resumably,
        /// came back unfinished, and have been neither resumed nor dropped since. Those without
        /// frames, which stand in a host function that the host called straight, are not among
        /// them. Other threads may drop some meanwhile.
        pub fn suspended_backtraces(&$self) -> Vec<WasmBacktrace> {
            let traces = $core.traces_of_suspended().into_iter();
            traces.map(|trace| WasmBacktrace::new(trace, None)).collect()
        }

        /// The frames of all wasm that is frozen in calls that are running, innermost first: in a
        /// host function, those that led to it. Frames of calls from the host into wasm that are
        /// nested have different [activations](crate::FrameHandle::activation). Those of suspended
        /// calls are found with [`ResumableCall::frames`](crate::ResumableCall::frames).
        pub fn frames(&$self) -> Frames<'_> {
            Frames::new($core.frames())
        }

        /// What the store's cache of places in code, where it has found frames, has done so far.
        pub fn frame_cache_stats(&$self) -> FrameCacheStats {
            $core.frame_cache_stats()
        }

        /// What generated code and the runtime know of how far wasm may go and where it left, as
        /// it is now.
        pub fn runtime_limits(&$self) -> RuntimeLimits {
            RuntimeLimits::of($core.limits(), $core.fuel_counter())
        }
    };
}
pub(crate) use reading;

/// What every way to a store offers for working with it.
macro_rules! writing {
    ($($ty:ident)*) => {$(
        impl<T: 'static> $ty<'_, T> {
            writing!(@methods T, self, self.core);
        }
    )*};
    (@methods $T:ident, $self:ident, $core:expr) => {
        /// The store's data.
        #[inline]
        pub fn data_mut(&mut $self) -> &mut $T {
            &mut StoreData::of_mut(&mut $core).user
        }

        /// Sets the fuel that is left to `fuel` units. What the store is overdrawn by is forgotten;
        /// `add_fuel` takes it from what is added.
        ///
        /// # Errors
        ///
        /// If the engine does not count fuel
        /// ([`Config::consume_fuel`](crate::Config::consume_fuel)).
        pub fn set_fuel(&mut $self, fuel: u64) -> Result<()> {
            if !$core.engine().config().fuel {
                return Err(not_metered());
            }
            $core.set_fuel(fuel);
            Ok(())
        }

        /// Adds `fuel` units to what is left, at most up to `u64::MAX`. If it is overdrawn, the
        /// overdraft is paid first.
        ///
        /// # Errors
        ///
        /// If the engine does not count fuel
        /// ([`Config::consume_fuel`](crate::Config::consume_fuel)).
        pub fn add_fuel(&mut $self, fuel: u64) -> Result<()> {
            if !$core.engine().config().fuel {
                return Err(not_metered());
            }
            $core.add_fuel(fuel);
            Ok(())
        }

        /// Lets calls made by `call_async` yield to the executor at the first checkpoint after each
        /// `interval` units; `None`, the default, does not. What they consume is the same. Other
        /// calls do not heed it.
        ///
        /// # Errors
        ///
        /// If the engine does not count fuel
        /// ([`Config::consume_fuel`](crate::Config::consume_fuel)), or the interval is 0.
        pub fn fuel_async_yield_interval(&mut $self, interval: Option<u64>) -> Result<()> {
            if !$core.engine().config().fuel {
                return Err(not_metered());
            }
            $core.set_fuel_slice(crate::store::slice(interval)?);
            Ok(())
        }

        /// Lets the epoch deadline be `ticks_beyond_current` increments of the engine's epoch from
        /// now. Without effect on code that does not test epochs
        /// ([`Config::epoch_interruption`](crate::Config::epoch_interruption)).
        pub fn set_epoch_deadline(&mut $self, ticks_beyond_current: u64) {
            $core.set_epoch_deadline(ticks_beyond_current);
        }

        /// Lets wasm trap with [`Trap::Interrupt`](crate::Trap::Interrupt) at the epoch deadline.
        /// This is the default.
        pub fn epoch_deadline_trap(&mut $self) {
            $core.set_epoch_action(EpochAction::Trap);
        }

        /// Lets calls be suspended at the epoch deadline: resumable ones come back as
        /// [`ResumableCall::Interrupted`](crate::ResumableCall::Interrupted), asynchronous ones
        /// yield; any other traps with [`Trap::Interrupt`](crate::Trap::Interrupt).
        ///
        /// The deadline stays where it is: a call that is resumed before a new one is set goes on
        /// to its next checkpoint, and is suspended there.
        pub fn epoch_deadline_suspend(&mut $self) {
            $core.set_epoch_action(EpochAction::Suspend(None));
        }

        /// As `epoch_deadline_suspend`, and sets the next deadline each time, to `ticks` increments
        /// of the engine's epoch from then.
        pub fn epoch_deadline_async_yield_and_update(&mut $self, ticks: u64) {
            $core.set_epoch_action(EpochAction::Suspend(Some(ticks)));
        }
    };
}
pub(crate) use writing;

reading!(StoreContext StoreContextMut);
writing!(StoreContextMut);

impl<T: 'static> StoreContextMut<'_, T> {
    /// Lets `callback` decide at the epoch deadline; see
    /// [`Store::epoch_deadline_callback`].
    pub fn epoch_deadline_callback(
        &mut self,
        mut callback: impl FnMut(StoreContextMut<'_, T>) -> Result<UpdateDeadline>
        + Send
        + Sync
        + 'static,
    ) {
        let callback = move |core: &mut StoreCore| -> Result<EpochAnswer> {
            callback(StoreContextMut::new(core))?.answer()
        };
        self.core.set_epoch_action(EpochAction::Callback(Box::new(callback)));
    }
}

impl<T: 'static> AsContext for StoreContext<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext::new(self.core)
    }
}

impl<T: 'static> AsContext for StoreContextMut<'_, T> {
    type Data = T;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, T> {
        StoreContext::new(self.core)
    }
}

impl<T: 'static> AsContextMut for StoreContextMut<'_, T> {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, T> {
        StoreContextMut::new(self.core)
    }
}

impl<S: AsContext + ?Sized> AsContext for &S {
    type Data = S::Data;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, S::Data> {
        (**self).as_context()
    }
}

impl<S: AsContext + ?Sized> AsContext for &mut S {
    type Data = S::Data;

    #[inline]
    fn as_context(&self) -> StoreContext<'_, S::Data> {
        (**self).as_context()
    }
}

impl<S: AsContextMut + ?Sized> AsContextMut for &mut S {
    #[inline]
    fn as_context_mut(&mut self) -> StoreContextMut<'_, S::Data> {
        (**self).as_context_mut()
    }
}

impl<'a, S: AsContext> From<&'a S> for StoreContext<'a, S::Data> {
    fn from(store: &'a S) -> StoreContext<'a, S::Data> {
        store.as_context()
    }
}

impl<'a, S: AsContext> From<&'a mut S> for StoreContext<'a, S::Data> {
    fn from(store: &'a mut S) -> StoreContext<'a, S::Data> {
        S::as_context(store)
    }
}

impl<'a, S: AsContextMut> From<&'a mut S> for StoreContextMut<'a, S::Data> {
    fn from(store: &'a mut S) -> StoreContextMut<'a, S::Data> {
        store.as_context_mut()
    }
}

impl<'a, T: 'static> From<StoreContextMut<'a, T>> for StoreContext<'a, T> {
    fn from(store: StoreContextMut<'a, T>) -> StoreContext<'a, T> {
        StoreContext::new(store.core)
    }
}

macro_rules! traced {
    ($($ty:ty)*) => {$(
        impl<T: 'static> Traced for $ty {
            fn trace(&self) -> Trace {
                self.as_context().core.trace()
            }
        }
    )*};
}
traced!(Store<T> StoreContext<'_, T> StoreContextMut<'_, T> Caller<'_, T>);

impl<T: 'static> Clone for StoreContext<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: 'static> Copy for StoreContext<'_, T> {}

impl<T: 'static> std::fmt::Debug for StoreContext<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoreContext").field(&self.core.id()).finish()
    }
}

impl<T: 'static> std::fmt::Debug for StoreContextMut<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("StoreContextMut").field(&self.core.id()).finish()
    }
}
