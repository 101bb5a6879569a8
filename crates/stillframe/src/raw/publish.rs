//! Machine code becomes a module.

use crate::engine::Engine;
use crate::module::Module;
use crate::native_tools::NativeTools;
use anyhow::{Context, Result};
use std::path::Path;
use std::sync::Arc;
use stillframe_abi::artifact::Artifact;
use stillframe_abi::types::FuncType;
use stillframe_debug::NativeCode;
use stillframe_runtime::{CompiledModule, Registration, TrampolineCode, TrampolineProvider};
use stillframe_translate::{Compiler, Progress};

/// The runtime's way to the compiler.
pub(crate) struct Provider {
    pub(crate) compiler: Arc<Compiler>,
    pub(crate) tools: Arc<NativeTools>,
}

// SAFETY: trusted code: it comes from the engine's own compiler.
unsafe impl TrampolineProvider for Provider {
    fn trampolines(&self, ty: &FuncType) -> Result<TrampolineCode> {
        let made = self.compiler.trampolines(ty)?;
        Ok(TrampolineCode { text: made.text, entry: made.entry, host: made.host })
    }

    fn published(
        &self,
        ty: &FuncType,
        code: &TrampolineCode,
        address: usize,
    ) -> Result<Option<Registration>> {
        self.tools.published(|| NativeCode::of_trampolines(ty, code, address))
    }
}

/// Compiles a module for this engine and maps its code.
pub(crate) fn compile(
    engine: &Engine,
    wasm: &[u8],
    progress: &dyn Progress,
) -> Result<Arc<CompiledModule>> {
    let artifact = engine.compiler().compile(wasm, progress)?;
    // SAFETY: trusted code: the artifact comes from the engine's own compiler.
    unsafe { publish(engine, artifact) }
}

/// Maps a module's code, and tells native tools of it.
///
/// # Safety
///
/// As [`CompiledModule::publish`].
unsafe fn publish(engine: &Engine, artifact: Artifact) -> Result<Arc<CompiledModule>> {
    // SAFETY: the caller's.
    let module = unsafe { CompiledModule::publish(engine.shared(), artifact)? };
    if let Some(registration) = engine.tools().published(|| NativeCode::of_module(&module))? {
        module.keep_registered(registration);
    }
    Ok(module)
}

impl Module {
    /// Makes a module of what [`Module::serialize`] or
    /// [`Engine::precompile_module`](crate::Engine::precompile_module) gave, without compiling.
    ///
    /// ```
    /// use stillframe::{Engine, Module};
    ///
    /// let engine = Engine::default();
    /// let bytes = engine.precompile_module(b"(module)")?;
    /// // SAFETY: the bytes were made just now.
    /// let module = unsafe { Module::deserialize(&engine, &bytes)? };
    /// # stillframe::Result::<()>::Ok(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the bytes are no artifact, are damaged, are of another version of this library, or were
    /// compiled with settings that the engine does not have.
    ///
    /// # Safety
    ///
    /// The bytes contain machine code, which is going to be run with all rights of this process.
    /// The caller must know that they were made by this library and that nobody has changed them
    /// since. The checksum in them guards against accidents, not against intent.
    pub unsafe fn deserialize(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        let artifact = Artifact::from_elf(bytes.as_ref(), engine.compiler().settings())?;
        // SAFETY: trusted code: `from_elf` accepted the bytes for this engine's settings, and the
        // caller trusts them.
        let compiled = unsafe { publish(engine, artifact)? };
        Ok(Module::from_compiled(engine, compiled))
    }

    /// As [`Module::deserialize`], from a file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, and as [`Module::deserialize`]; the error names the file.
    ///
    /// # Safety
    ///
    /// As [`Module::deserialize`].
    pub unsafe fn deserialize_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let bytes = crate::module::read(path)?;
        // SAFETY: the caller's.
        let module = unsafe { Module::deserialize(engine, bytes) };
        module.with_context(|| format!("loading `{}`", path.display()))
    }
}
