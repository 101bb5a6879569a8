//! What suspended calls take: resident memory with many of them, less that without.
//!
//! Memory that a process has used once stays with its allocator and its pools, and would be missing
//! from the next measurement: each one is made in a process of its own.

use crate::engines::Runtime;
use anyhow::{Context as _, Result, bail};
use clap::Args;
use std::process::{Command, Stdio};

/// Arguments of `memory`.
#[derive(Args, Debug)]
#[command(after_help = "\
Suspends so many calls of one store at once (wasmtime: async calls, in a store each, which are not \
counted), and prints the growth of the process's resident memory, in bytes for each of them.")]
pub(crate) struct MemoryArgs {
    /// Whose calls
    #[arg(long, value_enum)]
    runtime: Runtime,
    /// Wasm frames that each call has on its stack
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
    /// Calls to suspend
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
}

/// Does `memory`: measures in this process.
pub(crate) fn command(args: &MemoryArgs) -> Result<()> {
    match args.runtime.suspend_many(args.depth, args.calls)? {
        Some(bytes) => println!("{bytes}"),
        None => bail!("{} suspends no calls", args.runtime.name()),
    }
    Ok(())
}

/// The same in a process of its own.
pub(crate) fn in_new_process(runtime: Runtime, depth: u32, calls: u32) -> Result<f64> {
    let program = std::env::current_exe().context("where this program is")?;
    let output = Command::new(program)
        .args(["memory", "--runtime", runtime.name()])
        .args(["--depth", &depth.to_string(), "--calls", &calls.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("starting a process that measures memory")?;
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("measuring memory ended with {}: {}", output.status, told.trim());
    }
    let printed = String::from_utf8_lossy(&output.stdout);
    printed.trim().parse().with_context(|| format!("measuring memory printed {printed:?}"))
}

/// Holds what `suspend` makes, `calls` times, and answers the resident bytes of one.
pub(crate) fn resident_bytes_of_each<C>(
    calls: u32,
    mut suspend: impl FnMut() -> Result<C>,
) -> Result<f64> {
    let mut suspended = Vec::with_capacity(calls as usize + 1);
    // What the first one sets up for all is not counted. The values in the list are: they are part
    // of a call.
    suspended.push(suspend()?);
    let before = resident_bytes()?;
    for _ in 0..calls {
        suspended.push(suspend()?);
    }
    let grown = resident_bytes()?.saturating_sub(before);
    drop(suspended);
    Ok(grown as f64 / f64::from(calls))
}

/// Resident bytes of this process, counted page by page: `/proc/self/statm` is cheaper to read, but
/// lags behind by some pages for each processor.
fn resident_bytes() -> Result<u64> {
    let path = "/proc/self/smaps_rollup";
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("no Rss in {path}"))? * 1024)
}
