//! `Engine`: what modules and stores share.

use crate::config::Config;
use crate::module::wasm_of;
use crate::native_tools::NativeTools;
use crate::raw::Provider;
use anyhow::Result;
use std::sync::{Arc, Weak};
use stillframe_runtime::{EngineShared, RuntimeConfig};
use stillframe_translate::Compiler;

/// The compiler, its settings, the pool of wasm stacks, and the epoch: what modules and stores
/// share. Cloning gives another handle to the same engine.
///
/// ```
/// use stillframe::{Config, Engine, Instance, Module, Store};
///
/// let engine = Engine::new(Config::new().consume_fuel(true))?;
/// let module = Module::new(&engine, r#"(module (func (export "run")))"#)?;
/// // Stores of one engine can be on any threads at the same time.
/// let threads = [1000, 2000].map(|fuel| {
///     let (engine, module) = (engine.clone(), module.clone());
///     std::thread::spawn(move || {
///         let mut store = Store::new(&engine, ());
///         store.set_fuel(fuel)?;
///         let instance = Instance::new(&mut store, &module, &[])?;
///         instance.get_typed_func::<(), ()>(&mut store, "run")?.call(&mut store, ())?;
///         store.get_fuel()
///     })
/// });
/// let [first, second] = threads.map(|thread| thread.join().unwrap());
/// assert_eq!((first?, second?), (999, 1999));
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone)]
pub struct Engine {
    /// Whose embedder is an [`EngineInner`].
    shared: Arc<EngineShared>,
}

struct EngineInner {
    config: Config,
    compiler: Arc<Compiler>,
    tools: Arc<NativeTools>,
}

/// A handle that does not keep its engine alive.
#[derive(Clone)]
pub struct EngineWeak {
    shared: Weak<EngineShared>,
}

impl Engine {
    /// An engine with these settings.
    ///
    /// # Errors
    ///
    /// If code cannot be generated for this processor, or a file for a profiler
    /// ([`Config::profiler`]) cannot be made.
    pub fn new(config: &Config) -> Result<Engine> {
        let compiler = Arc::new(Compiler::new(config.compiler().clone())?);
        let tools = Arc::new(NativeTools::new(config)?);
        let provider = Box::new(Provider { compiler: compiler.clone(), tools: tools.clone() });
        let runtime =
            RuntimeConfig { epoch_slice: compiler.epoch_slice(), ..config.runtime().clone() };
        let inner = Box::new(EngineInner { config: config.clone(), compiler, tools });
        Ok(Engine { shared: EngineShared::new(runtime, provider, inner) })
    }

    /// The settings it was made with.
    pub fn config(&self) -> &Config {
        &self.inner().config
    }

    /// Adds one to the engine's epoch. Stores whose deadline is reached by that notice at their
    /// next checkpoint, if [`Config::epoch_interruption`] is on. With [`Config::consume_fuel`] they
    /// notice before they have consumed another 100,000 units, some tens of microseconds, or more
    /// with other [`Config::operator_costs`]; a host function's own increment at the next checkpoint.
    ///
    /// May be called from any thread, and from a signal handler.
    pub fn increment_epoch(&self) {
        self.shared.increment_epoch();
    }

    /// Compiles a module, binary or text, to bytes that
    /// [`Module::deserialize`](crate::Module::deserialize) turns into a module without compiling.
    /// They are an ELF file.
    ///
    /// # Errors
    ///
    /// As [`Module::new`](crate::Module::new).
    pub fn precompile_module(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        self.compiler().compile(&wasm_of(bytes)?, &())?.to_elf()
    }

    /// Whether two handles name the same engine.
    pub fn same(a: &Engine, b: &Engine) -> bool {
        Arc::ptr_eq(&a.shared, &b.shared)
    }

    /// A handle that does not keep the engine alive, for threads that count epochs.
    pub fn weak(&self) -> EngineWeak {
        EngineWeak { shared: Arc::downgrade(&self.shared) }
    }

    /// Number of free wasm stacks that the engine holds for reuse.
    pub fn free_stacks(&self) -> usize {
        self.shared.free_stacks()
    }

    /// Number of free memories that the engine holds for reuse.
    pub fn free_memories(&self) -> usize {
        self.shared.free_memories()
    }

    pub(crate) fn compiler(&self) -> &Compiler {
        &self.inner().compiler
    }

    pub(crate) fn tools(&self) -> &NativeTools {
        &self.inner().tools
    }

    pub(crate) fn shared(&self) -> &Arc<EngineShared> {
        &self.shared
    }

    /// The engine whose shared part this is.
    pub(crate) fn of(shared: &Arc<EngineShared>) -> Engine {
        Engine { shared: shared.clone() }
    }

    fn inner(&self) -> &EngineInner {
        self.shared.embedder().downcast_ref().expect("engines are made in `Engine::new`")
    }
}

impl EngineWeak {
    /// The engine, if it lives.
    pub fn upgrade(&self) -> Option<Engine> {
        self.shared.upgrade().map(|shared| Engine { shared })
    }
}

/// An engine with the default settings.
///
/// # Panics
///
/// If code cannot be generated for this processor.
impl Default for Engine {
    fn default() -> Engine {
        Engine::new(&Config::new()).expect("the default engine")
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("config", self.config()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for EngineWeak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EngineWeak").finish_non_exhaustive()
    }
}
