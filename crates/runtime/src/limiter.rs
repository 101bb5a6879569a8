//! The resource limiter: whom the embedder lets decide about growth.

use crate::stack::WasmStack;
use crate::store::StoreCore;
use anyhow::{Result, bail};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Decides whether memories and tables may be made and grow, and how many things a store may have.
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

    /// Told when a table that was allowed to grow could not, for want of memory.
    ///
    /// # Errors
    ///
    /// An error is raised to the caller of the wasm function; `Ok` makes `table.grow` return −1.
    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
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

    /// The most wasm stacks the store may have: one for each call that runs, those included that
    /// wait in a host function for one that it has made, and one for each that is suspended. It is
    /// asked when a call needs one more than the store has; a call that is refused is an error.
    fn wasm_stacks(&self) -> usize {
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

    /// A stack from the engine's pool, if the store may have one more.
    pub(crate) fn one_more_stack(&mut self) -> Result<Arc<WasmStack>> {
        if let Some(limit) = self.ask_limiter(|limiter| limiter.wasm_stacks())
            && self.held_stacks.load(Relaxed) >= limit
        {
            bail!("the store's limit of {limit} wasm stacks is reached");
        }
        let stack = self.engine().stacks().take()?;
        stack.hold(&self.held_stacks);
        Ok(stack)
    }
}
