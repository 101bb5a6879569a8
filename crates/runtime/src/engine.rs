//! What all stores of an engine share: settings, epoch, wasm stacks, free memories, types,
//! trampolines.

use crate::arch;
use crate::code::{self, CodeMemory, CodeOwner};
use crate::gdb_jit::Registration;
use crate::memory_pool::MemoryPool;
use crate::stack::StackPool;
use crate::types::TypeRegistry;
use anyhow::Result;
use std::any::Any;
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use stillframe_abi::builtins::BuiltinTable;
use stillframe_abi::types::FuncType;

/// Settings of the runtime.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Bytes that wasm frames of one activation may take.
    pub max_wasm_stack: usize,
    /// Free wasm stacks that the engine keeps for reuse, at most.
    pub pooled_stacks: usize,
    /// Free memories that the engine keeps for reuse, at most.
    pub pooled_memories: usize,
    /// How many calls from the host into wasm may be nested through host functions in one store.
    pub max_nested_calls: usize,
    /// Bytes that must be left of the host's own stack when wasm is entered.
    pub host_stack_reserve: usize,
    /// Whether code counts fuel.
    pub fuel: bool,
    /// Whether wasm stops at epochs.
    pub epochs: bool,
    /// Units of fuel that are given out at a time, if code leaves it to the slow path of its
    /// checkpoints to look at the epoch; `None` if it tests epochs itself.
    pub epoch_slice: Option<NonZeroU64>,
    /// Rows of frame tables that each store keeps decoded, at most.
    pub frame_cache_size: usize,
}

impl Default for RuntimeConfig {
    fn default() -> RuntimeConfig {
        RuntimeConfig {
            max_wasm_stack: 1 << 20,
            pooled_stacks: 1000,
            pooled_memories: 1000,
            max_nested_calls: 1000,
            host_stack_reserve: 128 << 10,
            fuel: false,
            epochs: false,
            epoch_slice: None,
            frame_cache_size: 4096,
        }
    }
}

/// Machine code of the two trampolines of a function type.
#[derive(Clone, Debug)]
pub struct TrampolineCode {
    /// Position-independent code.
    pub text: Vec<u8>,
    /// Offset of the trampoline by which the host calls wasm.
    pub entry: u32,
    /// Offset of the trampoline by which wasm calls the host.
    pub host: u32,
}

/// Makes trampolines; the facade puts the code generator here.
///
/// # Safety
///
/// The code is run: it is that of trampolines for the type, as the engine's modules and
/// `abi::builtins` have them.
pub unsafe trait TrampolineProvider: Send + Sync {
    /// The trampolines for functions of this type, compiled with the engine's metering.
    ///
    /// # Errors
    ///
    /// If the code generator fails.
    fn trampolines(&self, ty: &FuncType) -> Result<TrampolineCode>;

    /// Hears that these trampolines were put at `address`, and can tell debuggers of them for as
    /// long as they are there.
    ///
    /// # Errors
    ///
    /// If it cannot do what it is there for.
    fn published(
        &self,
        _ty: &FuncType,
        _code: &TrampolineCode,
        _address: usize,
    ) -> Result<Option<Registration>> {
        Ok(None)
    }
}

/// Addresses of the trampolines of a type. Valid while somebody uses the type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trampolines {
    pub(crate) entry: *const u8,
    pub(crate) host: *const u8,
}

// SAFETY: code pages: addresses of code that the type keeps mapped and that nobody writes.
unsafe impl Send for Trampolines {}
// SAFETY: code pages: as above.
unsafe impl Sync for Trampolines {}

/// What all stores of an engine share.
pub struct EngineShared {
    config: RuntimeConfig,
    epoch: AtomicU64,
    stacks: Arc<StackPool>,
    memories: Arc<MemoryPool>,
    types: TypeRegistry<MadeTrampolines>,
    provider: Box<dyn TrampolineProvider>,
    embedder: Box<dyn Any + Send + Sync>,
    /// Held while trampolines are made.
    making: Mutex<()>,
}

/// A type's trampolines, and what keeps their code mapped.
#[derive(Clone)]
pub(crate) struct MadeTrampolines {
    addresses: Trampolines,
    _owner: Arc<TrampolineOwner>,
}

/// The code of one type's trampolines, registered: a host trampoline with very many parameters
/// tests the stack limit, which is all that can trap there.
struct TrampolineOwner {
    /// Of the code, so it goes before that does.
    _registration: Option<Registration>,
    code: CodeMemory,
}

impl CodeOwner for TrampolineOwner {}

impl EngineShared {
    /// An engine's shared part; `embedder` is kept with it.
    pub fn new(
        config: RuntimeConfig,
        provider: Box<dyn TrampolineProvider>,
        embedder: Box<dyn Any + Send + Sync>,
    ) -> Arc<EngineShared> {
        Arc::new(EngineShared {
            epoch: AtomicU64::new(0),
            stacks: StackPool::new(config.max_wasm_stack, config.pooled_stacks),
            memories: MemoryPool::new(config.pooled_memories),
            types: TypeRegistry::new(),
            provider,
            embedder,
            making: Mutex::default(),
            config,
        })
    }

    /// What the embedder keeps with the engine.
    pub fn embedder(&self) -> &(dyn Any + Send + Sync) {
        &*self.embedder
    }

    /// The settings.
    #[inline]
    pub fn config(&self) -> &RuntimeConfig {
        &self.config
    }

    /// The epoch counter's value.
    #[inline]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Adds one to the epoch counter. Safe to call from any thread and from a signal handler.
    pub fn increment_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn epoch_cell(&self) -> &AtomicU64 {
        &self.epoch
    }

    /// The registry of function types.
    pub(crate) fn types(&self) -> &TypeRegistry<MadeTrampolines> {
        &self.types
    }

    pub(crate) fn stacks(&self) -> &StackPool {
        &self.stacks
    }

    /// Number of free wasm stacks in the pool.
    pub fn free_stacks(&self) -> usize {
        self.stacks.free()
    }

    pub(crate) fn memories(&self) -> &MemoryPool {
        &self.memories
    }

    /// Number of free memories in the pool.
    pub fn free_memories(&self) -> usize {
        self.memories.free()
    }

    /// The trampolines of type `id`, of which the caller has a use; compiled when first asked for.
    pub(crate) fn trampolines(&self, id: u32) -> Result<Trampolines> {
        if let Some(made) = self.types.attached(id) {
            return Ok(made.addresses);
        }
        let _making = self.making.lock().unwrap_or_else(|e| e.into_inner());
        // Another thread may have been faster.
        if let Some(made) = self.types.attached(id) {
            return Ok(made.addresses);
        }
        let ty = self.types.get(id);
        let made = self.provider.trampolines(&ty)?;
        let code = CodeMemory::publish(&made.text)?;
        let registration = self.provider.published(&ty, &made, code.range().start)?;
        let owner = Arc::new(TrampolineOwner { _registration: registration, code });
        let code = &owner.code;
        let addresses =
            Trampolines { entry: code.address(made.entry), host: code.address(made.host) };
        let registered: Weak<TrampolineOwner> = Arc::downgrade(&owner);
        code::register(code.range(), registered);
        self.types.attach(id, MadeTrampolines { addresses, _owner: owner });
        Ok(addresses)
    }
}

impl std::fmt::Debug for EngineShared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineShared").field("config", &self.config).finish_non_exhaustive()
    }
}

/// The stubs that generated code calls: the same for all engines.
pub(crate) fn builtin_table() -> &'static BuiltinTable {
    static TABLE: OnceLock<BuiltinTable> = OnceLock::new();
    TABLE.get_or_init(arch::builtin_table)
}
