//! `Module`: compiled code, and what it imports and exports.

use crate::engine::Engine;
use crate::externs::{ExportType, ExternType, ImportType};
use crate::raw;
use anyhow::{Context, Result, bail, ensure};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use stillframe_abi::artifact::Artifact;
use stillframe_runtime::CompiledModule;
use stillframe_translate::Progress;

/// A compiled WebAssembly module. Cloning gives another handle to the same code.
///
/// ```
/// use stillframe::{Engine, ExternType, Module};
///
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"
///     (module $adder
///         (import "env" "log" (func (param i32)))
///         (func (export "add") (param i32 i32) (result i32)
///             (i32.add (local.get 0) (local.get 1))))
/// "#)?;
/// assert_eq!(module.name(), Some("adder"));
/// let import = module.imports().next().unwrap();
/// assert_eq!((import.module(), import.name()), ("env", "log"));
/// let Some(ExternType::Func(add)) = module.get_export("add") else { panic!() };
/// assert_eq!(add.to_string(), "(i32 i32) -> (i32)");
/// # stillframe::Result::<()>::Ok(())
/// ```
#[derive(Clone)]
pub struct Module {
    engine: Engine,
    compiled: Arc<CompiledModule>,
}

/// The binary form of a module that is given as binary or text.
pub(crate) fn wasm_of(bytes: &[u8]) -> Result<Cow<'_, [u8]>> {
    if bytes.starts_with(b"\0asm") {
        return Ok(Cow::Borrowed(bytes));
    }
    ensure!(
        !Artifact::is_artifact(bytes),
        "this is a compiled artifact, not a WebAssembly module: use `Module::deserialize`"
    );
    ensure!(
        std::str::from_utf8(bytes).is_ok(),
        "not a WebAssembly module: not in the binary format, which starts with `\\0asm`, \
         and not text"
    );
    Ok(wat::parse_bytes(bytes)?)
}

impl Module {
    /// Compiles a module, given in the binary or the text format.
    ///
    /// # Errors
    ///
    /// If it is malformed, not valid, uses what is not supported, or exceeds a limit of the code
    /// generator. The error says in which function and at which offset of the binary, or at which
    /// line of the text.
    pub fn new(engine: &Engine, bytes: impl AsRef<[u8]>) -> Result<Module> {
        Module::new_with_progress(engine, bytes, &())
    }

    /// As [`Module::new`], telling `progress` how far it is.
    ///
    /// # Errors
    ///
    /// As [`Module::new`].
    pub fn new_with_progress(
        engine: &Engine,
        bytes: impl AsRef<[u8]>,
        progress: &dyn Progress,
    ) -> Result<Module> {
        let wasm = wasm_of(bytes.as_ref())?;
        let compiled = raw::compile(engine, &wasm, progress)?;
        Ok(Module { engine: engine.clone(), compiled })
    }

    /// Compiles the module in a file, in the binary or the text format.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, and as [`Module::new`]; the error names the file.
    pub fn from_file(engine: &Engine, path: impl AsRef<Path>) -> Result<Module> {
        let path = path.as_ref();
        let bytes = read(path)?;
        Module::new(engine, bytes).map_err(|error| match error.downcast::<wat::Error>() {
            // Text errors show the path in their own way, with line and column.
            Ok(mut error) => {
                error.set_path(path);
                error.into()
            }
            Err(error) => error.context(format!("loading `{}`", path.display())),
        })
    }

    /// Compiles a module, given in the binary format.
    ///
    /// # Errors
    ///
    /// As [`Module::new`].
    pub fn from_binary(engine: &Engine, wasm: &[u8]) -> Result<Module> {
        let compiled = raw::compile(engine, wasm, &())?;
        Ok(Module { engine: engine.clone(), compiled })
    }

    /// Checks that these bytes, binary or text, are a valid module, without compiling it.
    ///
    /// # Errors
    ///
    /// If it is malformed, not valid, or uses what is not supported.
    pub fn validate(engine: &Engine, bytes: &[u8]) -> Result<()> {
        engine.compiler().validate(&wasm_of(bytes)?)
    }

    /// The compiled module as bytes, an ELF file, for [`Module::deserialize`].
    ///
    /// # Errors
    ///
    /// If a part does not fit the file format.
    pub fn serialize(&self) -> Result<Vec<u8>> {
        self.compiled.to_artifact().to_elf()
    }

    pub(crate) fn from_compiled(engine: &Engine, compiled: Arc<CompiledModule>) -> Module {
        Module { engine: engine.clone(), compiled }
    }

    /// The engine that it was compiled for.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The module's name, from its name section.
    pub fn name(&self) -> Option<&str> {
        self.compiled.info().name.as_deref()
    }

    /// The imports, in order.
    pub fn imports(&self) -> impl ExactSizeIterator<Item = ImportType<'_>> {
        let info = self.compiled.info();
        info.imports.iter().map(|import| {
            ImportType::new(&import.module, &import.name, info.type_of(import.index).into())
        })
    }

    /// The exports, in order.
    pub fn exports(&self) -> impl ExactSizeIterator<Item = ExportType<'_>> {
        let info = self.compiled.info();
        let exports = info.exports.iter();
        exports.map(|export| ExportType::new(&export.name, info.type_of(export.index).into()))
    }

    /// The type of the export of this name.
    pub fn get_export(&self, name: &str) -> Option<ExternType> {
        let info = self.compiled.info();
        let export = info.exports.iter().find(|export| export.name == name)?;
        Some(info.type_of(export.index).into())
    }

    /// Bytes of machine code.
    pub fn code_size(&self) -> usize {
        self.compiled.code_size()
    }

    /// Bytes of the table that tells which wasm operator a code address belongs to.
    pub fn frame_table_size(&self) -> usize {
        self.compiled.frame_table_size()
    }

    pub(crate) fn compiled(&self) -> &Arc<CompiledModule> {
        &self.compiled
    }
}

/// Reads a file; errors name it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(path);
    let bytes = bytes.with_context(|| format!("reading `{}`", path.display()))?;
    if bytes.is_empty() {
        bail!("`{}` is empty", path.display());
    }
    Ok(bytes)
}

impl std::fmt::Debug for Module {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Module").field("name", &self.name()).finish_non_exhaustive()
    }
}
