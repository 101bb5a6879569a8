//! `stillframe inspect`: a core dump, printed; names and source lines from the program's modules.

use crate::args::{InspectArgs, MemoryRange};
use crate::load;
use anyhow::{Context as _, Result, bail, ensure};
use std::borrow::Cow;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;
use stillframe::coredump::{CoreDump, ModuleSymbols};

/// Does what `stillframe inspect` was asked.
pub(crate) fn inspect(args: &InspectArgs) -> Result<ExitCode> {
    let bytes = load::read(&args.file)?;
    let file = args.file.display();
    ensure!(
        !load::is_compiled(&bytes),
        "cannot inspect {file}: it is no core dump, but a compiled module"
    );
    let dump = CoreDump::parse(&bytes).with_context(|| format!("cannot inspect {file}"))?;
    let printed = match args.memory.is_empty() {
        true => print(&dump, args)?,
        false => print_memories(&dump, args)?,
    };
    match printed {
        // Who closes the pipe, as `head` does, has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        printed => printed.context("cannot print the core dump")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the dump. The inner error is that of standard output.
fn print(dump: &CoreDump<'_>, args: &InspectArgs) -> Result<io::Result<()>> {
    let mut modules = Vec::new();
    for (number, file) in &args.modules {
        let symbols = read_module(file)?;
        let index = match number {
            Some(number) => *number,
            None => find_module(dump, file, &symbols)?,
        };
        modules.push((index, file, symbols));
    }
    let mut printer = dump.printer();
    for (index, file, symbols) in &modules {
        printer
            .module(*index, symbols)
            .with_context(|| format!("cannot use {} as --module", file.display()))?;
    }
    let mut out = BufWriter::new(io::stdout().lock());
    Ok(writeln!(out, "{printer}").and_then(|()| out.flush()))
}

fn print_memories(dump: &CoreDump<'_>, args: &InspectArgs) -> Result<io::Result<()>> {
    let mut dumps = Vec::new();
    for &MemoryRange { memory: index, address, len } in &args.memory {
        let memory = dump.memories.get(index as usize);
        let memory = memory.with_context(|| match dump.memories.len() {
            0 => "the dump has no memories".to_string(),
            count => format!("the dump has no memory {index}; the last is {}", count - 1),
        })?;
        let hex = memory.hex_dump(address, len);
        dumps.push((index, hex.with_context(|| format!("cannot print memory {index}"))?));
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let mut print = || {
        for (at, (index, hex)) in dumps.iter().enumerate() {
            // Which is which has to be said only if there are several.
            if dumps.len() > 1 {
                let gap = if at > 0 { "\n" } else { "" };
                writeln!(out, "{gap}memory {index}:")?;
            }
            writeln!(out, "{hex}")?;
        }
        out.flush()
    };
    Ok(print())
}

fn read_module(file: &Path) -> Result<ModuleSymbols> {
    let bytes = load::read(file)?;
    let shown = file.display();
    ensure!(
        !load::is_compiled(&bytes),
        "cannot use {shown} as --module: it is compiled; the names are in the .wasm or .wat that \
         it was made of"
    );
    let wasm: Cow<'_, [u8]> = wat::parse_bytes(&bytes).map_err(|mut error| {
        error.set_path(file);
        error
    })?;
    ModuleSymbols::parse(&wasm).with_context(|| format!("cannot use {shown} as --module"))
}

/// Which of the dump's modules a file has: the only one, or the one with its name.
fn find_module(dump: &CoreDump<'_>, file: &Path, symbols: &ModuleSymbols) -> Result<u32> {
    if let [_] = *dump.modules {
        return Ok(0);
    }
    let has_name = |name: &&str| {
        // What a dump has as a name is up to its writer: the name section's, a path, an address.
        let of_file = [file.file_name(), file.file_stem()];
        let last = Path::new(name).file_name();
        symbols.name() == Some(*name) || last.is_some_and(|last| of_file.contains(&Some(last)))
    };
    let names = || dump.modules.iter().map(String::as_str);
    let found = names().zip(0..).filter(|(name, _)| has_name(name)).collect::<Vec<_>>();
    let file = file.display();
    match *found {
        [(_, index)] => Ok(index),
        _ if dump.modules.is_empty() => bail!("cannot use {file}: the dump names no modules"),
        _ => {
            let list = names().zip(0..).map(|(name, index)| format!("{index} is {name:?}"));
            bail!(
                "say which module of the dump {file} is, as in --module 0={file}: {}",
                list.collect::<Vec<_>>().join(", ")
            )
        }
    }
}
