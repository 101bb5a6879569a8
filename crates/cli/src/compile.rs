//! `stillframe compile`: a module to native code on disk.

use crate::args::CompileArgs;
use crate::load;
use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::process::ExitCode;
use stillframe::{Config, Engine};

/// Does what `stillframe compile` was asked.
pub(crate) fn compile(args: &CompileArgs) -> Result<ExitCode> {
    let bytes = load::read(&args.file)?;
    ensure!(!load::is_compiled(&bytes), "{} is compiled already", args.file.display());
    let mut config = Config::new();
    config.consume_fuel(args.fuel).epoch_interruption(args.epochs);
    let engine = Engine::new(&config)?;
    let compiled = load::compile(&engine, &args.file, &bytes)?.serialize()?;
    fs::write(&args.output, compiled)
        .with_context(|| format!("cannot write {}", args.output.display()))?;
    Ok(ExitCode::SUCCESS)
}
