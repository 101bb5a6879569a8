//! Limits: what a store may use, and what the runtime says of how far wasm may go.

use anyhow::{Result, bail};
use stillframe_abi::VMRuntimeLimits;
pub use stillframe_runtime::ResourceLimiter;

/// A [`ResourceLimiter`] with fixed limits, made by a [`StoreLimitsBuilder`].
///
/// The default allows everything, and 10,000 each of instances, tables, memories and wasm stacks.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    memory_size: Option<usize>,
    table_elements: Option<usize>,
    instances: usize,
    tables: usize,
    memories: usize,
    wasm_stacks: usize,
    trap_on_grow_failure: bool,
}

impl Default for StoreLimits {
    fn default() -> StoreLimits {
        StoreLimits {
            memory_size: None,
            table_elements: None,
            instances: 10_000,
            tables: 10_000,
            memories: 10_000,
            wasm_stacks: 10_000,
            trap_on_grow_failure: false,
        }
    }
}

/// Makes [`StoreLimits`]. See [`Store::limiter`](crate::Store::limiter) for an example.
#[derive(Clone, Default, Debug)]
pub struct StoreLimitsBuilder(StoreLimits);

impl StoreLimitsBuilder {
    /// Starts with the default limits.
    pub fn new() -> StoreLimitsBuilder {
        StoreLimitsBuilder::default()
    }

    /// The most bytes that each linear memory may have.
    pub fn memory_size(mut self, bytes: usize) -> StoreLimitsBuilder {
        self.0.memory_size = Some(bytes);
        self
    }

    /// The most elements that each table may have.
    pub fn table_elements(mut self, elements: usize) -> StoreLimitsBuilder {
        self.0.table_elements = Some(elements);
        self
    }

    /// The most instances that the store may have.
    pub fn instances(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.instances = limit;
        self
    }

    /// The most tables that the store may have.
    pub fn tables(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.tables = limit;
        self
    }

    /// The most linear memories that the store may have.
    pub fn memories(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.memories = limit;
        self
    }

    /// The most wasm stacks that the store may have: one for each call that runs, those included
    /// that wait in a host function for one that it has made, and one for each that is suspended. A
    /// call that would need one more is an error.
    ///
    /// Each takes [`Config::max_wasm_stack`](crate::Config::max_wasm_stack) bytes of address space,
    /// and memory as it is used.
    pub fn wasm_stacks(mut self, limit: usize) -> StoreLimitsBuilder {
        self.0.wasm_stacks = limit;
        self
    }

    /// Whether `memory.grow` and `table.grow` that are refused end the call with an error, where
    /// they otherwise return −1. Off by default.
    pub fn trap_on_grow_failure(mut self, trap: bool) -> StoreLimitsBuilder {
        self.0.trap_on_grow_failure = trap;
        self
    }

    /// The limits.
    pub fn build(self) -> StoreLimits {
        self.0
    }
}

impl StoreLimits {
    fn answer(&self, what: &str, desired: usize, limit: Option<usize>) -> Result<bool> {
        match limit {
            Some(limit) if desired > limit => {
                if self.trap_on_grow_failure {
                    bail!("a {what} may not grow to {desired}: the limit is {limit}");
                }
                Ok(false)
            }
            _ => Ok(true),
        }
    }
}

impl ResourceLimiter for StoreLimits {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.answer("linear memory", desired, self.memory_size)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> Result<bool> {
        self.answer("table", desired, self.table_elements)
    }

    fn memory_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        match self.trap_on_grow_failure {
            true => Err(error),
            false => Ok(()),
        }
    }

    fn table_grow_failed(&mut self, error: anyhow::Error) -> Result<()> {
        match self.trap_on_grow_failure {
            true => Err(error),
            false => Ok(()),
        }
    }

    fn instances(&self) -> usize {
        self.instances
    }

    fn tables(&self) -> usize {
        self.tables
    }

    fn memories(&self) -> usize {
        self.memories
    }

    fn wasm_stacks(&self) -> usize {
        self.wasm_stacks
    }
}

/// A copy of what generated code and the runtime know of how far wasm may go and where it left.
/// Addresses are for comparing; for debuggers and tests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RuntimeLimits {
    /// Lowest address that the running wasm stack may use.
    pub stack_limit: usize,
    /// The fuel counter: minus the units left, counting up; above zero, the units that are
    /// overdrawn. Not what [`Store::fuel_consumed`](crate::Store::fuel_consumed) says.
    pub fuel_consumed: i64,
    /// The epoch at which the next checkpoint takes the slow path.
    pub epoch_deadline: u64,
    /// Frame pointer of the wasm frame that made the latest exit to the host; 0 if there was none
    /// in the current activation.
    pub last_wasm_exit_fp: usize,
    /// The wasm return address of that exit; 0 if there was none.
    pub last_wasm_exit_pc: usize,
    /// The host's stack pointer at the latest entry into wasm; 0 while there is none, and all ones
    /// in a host function that the host called straight.
    pub last_wasm_entry_sp: usize,
    /// The wasm stack pointer at the latest exit.
    pub last_wasm_exit_sp: usize,
}

impl RuntimeLimits {
    /// `fuel_counter`: with what the store has given to wasm and what it has kept.
    pub(crate) fn of(limits: &VMRuntimeLimits, fuel_counter: i64) -> RuntimeLimits {
        RuntimeLimits {
            stack_limit: limits.stack_limit.get(),
            fuel_consumed: fuel_counter,
            epoch_deadline: limits.epoch_deadline.get(),
            last_wasm_exit_fp: limits.last_wasm_exit_fp.get(),
            last_wasm_exit_pc: limits.last_wasm_exit_pc.get(),
            last_wasm_entry_sp: limits.last_wasm_entry_sp.get(),
            last_wasm_exit_sp: limits.last_wasm_exit_sp.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_refuse_what_is_above_them_and_trap_if_told_so() {
        let builder = StoreLimitsBuilder::new().memory_size(10).table_elements(5).memories(1);
        let mut limits = builder.clone().build();
        assert!(limits.memory_growing(0, 10, None).unwrap());
        assert!(!limits.memory_growing(0, 11, None).unwrap());
        assert!(!limits.table_growing(0, 6, Some(100)).unwrap());
        assert_eq!((limits.memories(), limits.tables()), (1, 10_000));
        assert_eq!(limits.wasm_stacks(), 10_000);
        assert!(limits.table_grow_failed(anyhow::anyhow!("no memory")).is_ok());
        assert!(limits.memory_grow_failed(anyhow::anyhow!("no memory")).is_ok());

        let mut limits = builder.trap_on_grow_failure(true).build();
        let error = limits.table_growing(0, 6, None).unwrap_err().to_string();
        assert_eq!(error, "a table may not grow to 6: the limit is 5");
        assert!(limits.memory_grow_failed(anyhow::anyhow!("no memory")).is_err());
        assert!(limits.table_grow_failed(anyhow::anyhow!("no memory")).is_err());
    }
}
