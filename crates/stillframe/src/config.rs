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
    native_debug_info: bool,
    profiling: ProfilingStrategy,
}

/// Which profiler is told of the code: [`Config::profiler`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum ProfilingStrategy {
    /// None.
    #[default]
    None,
    /// Linux `perf`, by `/tmp/perf-<process id>.map`: names of functions. `perf report` and
    /// `perf script` find them there, on the same machine.
    ///
    /// Modules that are dropped leave their lines behind, so that names of later code at the same
    /// addresses can be wrong.
    PerfMap,
    /// Linux `perf`, by a jitdump file: names, source lines and machine code, each with the time
    /// from which on it holds. The file is `jit-<process id>.dump` in the directory that the
    /// environment variable `JITDUMPDIR` names, or in the current one. It contains the machine code
    /// of all modules.
    ///
    /// ```text
    /// perf record -k mono -g program
    /// perf inject --jit -i perf.data -o perf.jit.data
    /// perf report -i perf.jit.data
    /// ```
    JitDump,
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
        Config {
            compiler: CompilerOptions::default(),
            runtime: RuntimeConfig::default(),
            native_debug_info: false,
            profiling: ProfilingStrategy::None,
        }
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

    /// Whether wasm heeds the engine's epoch, so that other threads can interrupt it
    /// ([`Engine::increment_epoch`](crate::Engine::increment_epoch)). Off by default. Where
    /// [`Config::consume_fuel`] is on as well it costs no run time, and wasm that runs notices an
    /// increment within 100,000 units of fuel (with [`Config::operator_costs`] of your own: so many
    /// times what the cheapest operator costs; if one is free that is not by default, code tests
    /// the epoch itself).
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
    /// them again wherever they may have been written is slower. Without effect where frames keep no
    /// state ([`FrameState::Off`]).
    pub fn frame_writes(&mut self, enable: bool) -> &mut Config {
        self.compiler.frame_writes = enable;
        self
    }

    /// Whether small functions that neither loop nor call are compiled into the functions that call
    /// them. On by default, and off with [`Config::frame_writes`]. What can be seen of a guest is
    /// the same with it as without, its fuel and its frames included, but for one thing: a call
    /// that is compiled so takes no stack, and cannot end in
    /// [`Trap::StackOverflow`](crate::Trap::StackOverflow).
    pub fn inlining(&mut self, enable: bool) -> &mut Config {
        self.compiler.inlining = enable;
        self
    }

    /// Whether all functions are compiled in the way that takes the least time, and gives slow code.
    /// Otherwise only functions are whose compilation would take too long; what they do is the same.
    /// For tests.
    #[doc(hidden)]
    pub fn plain_code(&mut self, enable: bool) -> &mut Config {
        self.compiler.plain = enable;
        self
    }

    /// Whether functions that are compiled so have their registers allocated in a single pass.
    /// Otherwise only those have that consist of long chains of blocks. For tests.
    #[doc(hidden)]
    pub fn single_pass(&mut self, enable: bool) -> &mut Config {
        self.compiler.single_pass = enable;
        self
    }

    /// How many places in code each store remembers at most of those where it has found frames
    /// ([`Store::frame_cache_stats`](crate::Store::frame_cache_stats)). The default is 4096.
    pub fn frame_cache_size(&mut self, entries: usize) -> &mut Config {
        self.runtime.frame_cache_size = entries;
        self
    }

    /// Whether modules are described to native debuggers, so that GDB shows wasm functions by name,
    /// with the source lines that the guest's DWARF has for them ([`Config::debug_info`]), and
    /// steps through their frames. Off by default; publishing a module takes longer with it, and
    /// as much memory again as its names and lines.
    ///
    /// It is done by GDB's JIT interface, which has no lock that JITs could share. A program in
    /// which another one uses it too (wasmtime's `Config::debug_info`, LLVM's listeners) must not
    /// make or drop modules here while the other does there.
    pub fn native_debug_info(&mut self, enable: bool) -> &mut Config {
        self.native_debug_info = enable;
        self
    }

    /// Which profiler is told of the code, so that it can name wasm functions. By default none is.
    ///
    /// [`Engine::new`](crate::Engine::new) fails if the profiler's file cannot be made.
    pub fn profiler(&mut self, strategy: ProfilingStrategy) -> &mut Config {
        self.profiling = strategy;
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

    /// Free wasm stacks that the engine keeps for reuse, at most. The default is 1000. Of each, up to
    /// 64 KiB stay in memory; what deeper calls have touched goes back to the system.
    pub fn pooled_stacks(&mut self, stacks: usize) -> &mut Config {
        self.runtime.pooled_stacks = stacks;
        self
    }

    /// Free memories that the engine keeps for reuse, at most: those of dropped stores, for new
    /// instances of the same modules. The default is 1000.
    ///
    /// Each holds more than 8 GiB of address space, of which a process has 128 TiB, and up to 64 KiB
    /// of memory: so the default keeps at most 64 MiB from the system. Contents are taken away when
    /// a store is dropped. Memories of a module that has been dropped are not kept, nor those of
    /// 64 bits. When the system refuses something to any engine of the process, and with what all
    /// engines keep there can be enough of what is lacking, all of them are given back, and so are
    /// the free stacks.
    pub fn pooled_memories(&mut self, memories: usize) -> &mut Config {
        self.runtime.pooled_memories = memories;
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

    /// Whether debuggers are told, and which profiler.
    pub(crate) fn native_tools(&self) -> (bool, ProfilingStrategy) {
        (self.native_debug_info, self.profiling)
    }

    pub(crate) fn runtime(&self) -> &RuntimeConfig {
        &self.runtime
    }
}
