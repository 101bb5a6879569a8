//! From a file to a module: reading it, telling modules from compiled files, showing progress.

use crate::progress::Bar;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::Path;
use stillframe::{Engine, Module};

/// Reads a file whole.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Finds out whether a file can be written, before a program runs whose result it is to hold.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let existed = path.exists();
    let opened = fs::OpenOptions::new().create(true).append(true).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    if !existed {
        // Maybe it will not be written after all.
        fs::remove_file(path).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Whether these bytes look like what `stillframe compile` writes: no module starts like this.
pub(crate) fn is_compiled(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Compiles a module, and shows on a terminal how far it is if that takes a while.
pub(crate) fn compile(engine: &Engine, path: &Path, bytes: &[u8]) -> Result<Module> {
    let bar = Bar::new();
    let module = Module::new_with_progress(engine, bytes, &bar);
    bar.clear();
    module.map_err(|error| match error.downcast::<wat::Error>() {
        // These point at a line of the text, and have a place for the file's name.
        Ok(mut error) => {
            error.set_path(path);
            error.into()
        }
        Err(error) => error.context(format!("cannot compile {}", path.display())),
    })
}

/// Loads what `stillframe compile` wrote.
#[expect(unsafe_code, reason = "a compiled file is code; the user was told")]
pub(crate) fn deserialize(engine: &Engine, path: &Path, bytes: &[u8]) -> Result<Module> {
    // SAFETY: trusted code: that the bytes are what this version of Stillframe compiled is for the
    // user to know; `run --help` says so. Damage and other versions are found by `deserialize`.
    let module = unsafe { Module::deserialize(engine, bytes) };
    module.with_context(|| format!("cannot load {}", path.display()))
}
