//! `Config`: what an engine is set to.

use stillframe_abi::artifact::FrameState;
use stillframe_runtime::RuntimeConfig;
use stillframe_translate::{CompilerOptions, OperatorCosts, OptLevel};

/// Settings of an [`Engine`](crate::Engine).
///
/// ```
/// use stillframe::{Config, Engine};
///
/// let mut config = Config::new();
/// config.consume_fuel(true).max_wasm_stack(256 << 10);
/// let engine = Engine::new(&config)?;
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    compiler: CompilerOptions,
    runtime: RuntimeConfig,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// The default settings: no metering, optimised for speed, compiled in parallel, 1 MiB of wasm
    /// stack.
    pub fn new() -> Config {
        Config { compiler: CompilerOptions::default(), runtime: RuntimeConfig::default() }
    }

    /// Whether wasm counts fuel, so that a store can say how much a guest may execute
    /// ([`Store::set_fuel`](crate::Store::set_fuel)). Off by default.
    ///
    /// A store starts without fuel: until it is given some, a metered guest traps with
    /// [`Trap::OutOfFuel`](crate::Trap::OutOfFuel), or is suspended if it was called resumably.
    pub fn consume_fuel(&mut self, enable: bool) -> &mut Config {
        self.compiler.fuel = enable;
        self.runtime.fuel = enable;
        self
    }

    /// What operators cost, in units of fuel, where [`Config::consume_fuel`] is on. The default is
    /// [`OperatorCosts::default`].
    pub fn operator_costs(&mut self, costs: OperatorCosts) -> &mut Config {
        self.compiler.costs = costs;
        self
    }

    /// Whether wasm tests the engine's epoch, so that other threads can interrupt it
    /// ([`Engine::increment_epoch`](crate::Engine::increment_epoch)). Off by default.
    ///
    /// A store starts with a deadline of 0 ticks: its first call traps with
    /// [`Trap::Interrupt`](crate::Trap::Interrupt) unless
    /// [`Store::set_epoch_deadline`](crate::Store::set_epoch_deadline) was called.
    pub fn epoch_interruption(&mut self, enable: bool) -> &mut Config {
        self.compiler.epochs = enable;
        self.runtime.epochs = enable;
        self
    }

    /// How much Cranelift optimises. The default is [`OptLevel::Speed`].
    pub fn cranelift_opt_level(&mut self, level: OptLevel) -> &mut Config {
        self.compiler.opt_level = level;
        self
    }

    /// Whether the functions of a module are compiled in parallel. On by default.
    pub fn parallel_compilation(&mut self, enable: bool) -> &mut Config {
        self.compiler.parallel = enable;
        self
    }

    /// Whether modules keep the guest's DWARF, for source positions in backtraces. On by default;
    /// off saves memory, and space in artifacts.
    pub fn debug_info(&mut self, enable: bool) -> &mut Config {
        self.compiler.dwarf = enable;
        self
    }

    /// What the frames of frozen calls show beside the functions they are of; see
    /// [`FrameHandle`](crate::FrameHandle). The default is [`FrameState::Live`].
    ///
    /// Code stores a frame's state only where the frame can be found frozen: at calls and at
    /// checkpoints.
    pub fn frame_state(&mut self, state: FrameState) -> &mut Config {
        self.compiler.frame_state = state;
        self
    }

    /// Whether locals and operands of frozen frames can be written
    /// ([`FrameHandle::set_local`](crate::FrameHandle::set_local)). Off by default: code that reads
    /// them again wherever they may have been written is slower.
    pub fn frame_writes(&mut self, enable: bool) -> &mut Config {
        self.compiler.frame_writes = enable;
        self
    }

    /// How many places in code each store remembers at most of those where it has found frames
    /// ([`Store::frame_cache_stats`](crate::Store::frame_cache_stats)). The default is 4096.
    pub fn frame_cache_size(&mut self, entries: usize) -> &mut Config {
        self.runtime.frame_cache_size = entries;
        self
    }

    /// Bytes of stack that the wasm frames of one call may take; a guest that wants more traps
    /// with [`Trap::StackOverflow`](crate::Trap::StackOverflow). The default is 1 MiB.
    ///
    /// Wasm runs on stacks of its own, so this does not depend on how deep the host's stack is.
    /// Memory is used as frames touch it.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Config {
        self.runtime.max_wasm_stack = bytes;
        self
    }

    /// How many calls may be nested in one store through host functions that call wasm again; one
    /// more traps with [`Trap::StackOverflow`](crate::Trap::StackOverflow). The default is 1000.
    pub fn max_nested_calls(&mut self, calls: usize) -> &mut Config {
        self.runtime.max_nested_calls = calls;
        self
    }

    /// Free wasm stacks that the engine keeps for reuse, at most. The default is 1000.
    pub fn pooled_stacks(&mut self, stacks: usize) -> &mut Config {
        self.runtime.pooled_stacks = stacks;
        self
    }

    /// Bytes that must be left of the calling thread's own stack when wasm is entered; with less,
    /// the call traps with [`Trap::StackOverflow`](crate::Trap::StackOverflow). Host functions and
    /// the runtime need them. The default is 128 KiB.
    pub fn host_stack_reserve(&mut self, bytes: usize) -> &mut Config {
        self.runtime.host_stack_reserve = bytes;
        self
    }

    pub(crate) fn compiler(&self) -> &CompilerOptions {
        &self.compiler
    }

    pub(crate) fn runtime(&self) -> &RuntimeConfig {
        &self.runtime
    }
}
