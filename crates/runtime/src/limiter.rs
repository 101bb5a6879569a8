//! The resource limiter: whom the embedder lets decide about growth.

use crate::store::StoreCore;
use anyhow::Result;
use std::any::Any;

/// Decides whether memories and tables may be made and grow.
pub trait ResourceLimiter {
    /// Asked before a memory is made (`current` is 0) or grows; all in bytes. `maximum` is the
    /// memory's declared one. `Ok(false)` makes `memory.grow` return −1, and instantiation fail.
    ///
    /// # Errors
    ///
    /// An error is raised to the caller of the wasm function, as a trap is.
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Asked before a table is made or grows; all in elements.
    ///
    /// # Errors
    ///
    /// An error is raised to the caller of the wasm function, as a trap is.
    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool>;

    /// Told when a memory that was allowed to grow could not, for want of memory.
    ///
    /// # Errors
    ///
    /// An error is raised to the caller of the wasm function; `Ok` makes `memory.grow` return −1.
    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        drop(error);
        Ok(())
    }

    /// The most instances the store may have.
    fn instances(&self) -> usize {
        10_000
    }

    /// The most tables the store may have.
    fn tables(&self) -> usize {
        10_000
    }

    /// The most memories the store may have.
    fn memories(&self) -> usize {
        10_000
    }
}

/// Finds the limiter in the store's data.
pub type LimiterFn =
    Box<dyn Send + Sync + for<'a> FnMut(&'a mut dyn Any) -> &'a mut dyn ResourceLimiter>;

impl StoreCore {
    /// Asks the limiter, if there is one.
    pub(crate) fn ask_limiter<R>(
        &mut self,
        ask: impl FnOnce(&mut dyn ResourceLimiter) -> R,
    ) -> Option<R> {
        let find = self.limiter.as_mut()?;
        Some(ask(find(&mut *self.data)))
    }
}
