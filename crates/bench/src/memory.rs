//! What suspended calls and instances take: resident memory with many of them, less that without.
//!
//! Memory that a process has used once stays with its allocator and its pools, and would be missing
//! from the next measurement: each one is made in a process of its own.

use crate::engines::Runtime;
use crate::instantiate::{How, Subject};
use crate::progress::Progress;
use crate::surroundings::{Output, catching, version};
use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use stillframe_bench_report::cell::{Cell, Unit};
use stillframe_bench_report::listing::{Line, Listing};

/// Arguments of `memory`.
#[derive(Args, Debug)]
#[command(after_help = "\
Holds so many suspended calls of one store at once (wasmtime: async calls, in a store each, which are \
not counted), or so many stores with an instance, and tells by how much the process's resident memory \
has grown, for each of them. With --runtime, one number in bytes; without, a table of all, each \
measured in a process of its own.")]
pub(crate) struct MemoryArgs {
    /// Print one number: of this runtime
    #[arg(long, value_enum)]
    runtime: Option<Holder>,
    /// What is held
    #[arg(long, value_enum, default_value = "suspended", requires = "runtime")]
    what: What,
    /// Wasm frames that each suspended call has on its stack
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(requires = "runtime")]
    depth: u32,
    /// How many to hold
    #[arg(long, default_value_t = HELD, value_parser = clap::value_parser!(u32).range(1..))]
    calls: u32,
    /// Write the table into this file, not to standard output
    #[arg(long, value_name = "FILE", conflicts_with = "runtime")]
    markdown: Option<PathBuf>,
}

/// How many are held.
pub(crate) const HELD: u32 = 1000;

/// Samples of each number: they hardly differ.
const ROUNDS: u32 = 3;

/// Who holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Holder {
    /// Stillframe
    Stillframe,
    /// wasmtime
    Wasmtime,
    /// wasmtime with its pooling allocator
    WasmtimePooled,
    /// wasmi
    Wasmi,
}

/// What is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum What {
    /// Calls that are suspended (for fuel; wasmtime's: in an async yield)
    Suspended,
    /// Instances of a small module, each in its store
    Instances,
    /// The same after a call of each that wrote to its memory
    CalledInstances,
}

impl Holder {
    const ALL: [Holder; 4] =
        [Holder::Stillframe, Holder::Wasmtime, Holder::WasmtimePooled, Holder::Wasmi];

    fn title(self) -> &'static str {
        match self {
            Holder::Stillframe => "Stillframe",
            Holder::Wasmtime => "wasmtime",
            Holder::WasmtimePooled => "wasmtime pooled",
            Holder::Wasmi => "wasmi",
        }
    }

    /// Resident bytes of each of so many, in this process; nothing where there is nothing like it.
    fn hold(self, what: What, depth: u32, count: u32) -> Result<Option<f64>> {
        let subject = match what {
            What::Suspended => {
                return match self {
                    Holder::Stillframe => Runtime::Stillframe.suspend_many(depth, count),
                    Holder::Wasmtime => Runtime::Wasmtime.suspend_many(depth, count),
                    Holder::Wasmi => Runtime::Wasmi.suspend_many(depth, count),
                    // Its stacks would be pooled too; what a call touches of one is the same.
                    Holder::WasmtimePooled => Ok(None),
                };
            }
            What::Instances => Subject::Small,
            What::CalledInstances => Subject::SmallCalled,
        };
        let how = match self {
            Holder::Stillframe => How::Stillframe { pre: false },
            Holder::Wasmtime => How::Wasmtime { pooled: false, pre: false },
            Holder::WasmtimePooled => How::Wasmtime { pooled: true, pre: false },
            Holder::Wasmi => How::Wasmi,
        };
        how.hold_many(subject, count).map(Some)
    }
}

impl Runtime {
    fn holder(self) -> Option<Holder> {
        match self {
            Runtime::Bare => None,
            Runtime::Stillframe => Some(Holder::Stillframe),
            Runtime::Wasmtime => Some(Holder::Wasmtime),
            Runtime::Wasmi => Some(Holder::Wasmi),
        }
    }
}

/// Does `memory`: measures in this process, or one number after the other in others.
pub(crate) fn command(args: &MemoryArgs) -> Result<()> {
    if let Some(holder) = args.runtime {
        match holder.hold(args.what, args.depth, args.calls)? {
            Some(bytes) => println!("{bytes}"),
            None => bail!("{} has nothing of the kind", holder.title()),
        }
        return Ok(());
    }
    let output = Output::to(args.markdown.as_deref())?;
    output.write(measure(&[], args.calls, &mut Progress::new()))
}

/// The rows of the table.
const ROWS: [Row; 4] = [
    ("suspended call, 1 wasm frame", What::Suspended, 1),
    ("suspended call, 500 wasm frames", What::Suspended, 500),
    ("instance of a small module, with its store", What::Instances, 1),
    ("the same, after a call that wrote to its memory", What::CalledInstances, 1),
];

/// What a row takes on some machine.
const SECONDS_A_ROW: f64 = 1.5;

/// The names of the rows.
pub(crate) fn names() -> Vec<String> {
    ROWS.map(|(name, ..)| name.into()).to_vec()
}

/// Expects what [`measure`] will do.
pub(crate) fn announce(only: &[String], progress: &mut Progress) {
    progress.expect(SECONDS_A_ROW * rows(only).count() as f64);
}

type Row = (&'static str, What, u32);

/// Those whose names contain one of these texts, or all of them.
fn rows(only: &[String]) -> impl Iterator<Item = Row> {
    ROWS.into_iter().filter(move |(name, ..)| {
        only.is_empty() || only.iter().any(|text| name.contains(text.as_str()))
    })
}

/// Measures the rows that are chosen so, `count` of each.
pub(crate) fn measure(only: &[String], count: u32, progress: &mut Progress) -> Listing {
    let header = vec![
        format!(
            "Stillframe {}, wasmtime {}, wasmi {}, each with its default settings; 'pooled' is \
             wasmtime's pooling allocator",
            version("stillframe"),
            version("wasmtime"),
            version("wasmi"),
        ),
        format!(
            "growth of resident memory with {count} of them at once, for each; minimum / median of \
             {ROUNDS} processes"
        ),
    ];
    let lines = rows(only).map(|(name, what, depth)| {
        progress.tell(&format!("memory: {name}"));
        let cells = Holder::ALL.map(|holder| {
            let mut cell = Cell::Absent;
            if what != What::Suspended || holder != Holder::WasmtimePooled {
                for _ in 0..ROUNDS {
                    cell.add(catching(|| in_new_process(holder, what, depth, count)));
                }
            }
            cell
        });
        progress.done(SECONDS_A_ROW);
        Line { labels: vec![name.into()], unit: Unit::Bytes, cells: cells.to_vec() }
    });
    Listing {
        header,
        labels: vec!["what".into()],
        columns: Holder::ALL.map(|holder| holder.title().into()).to_vec(),
        lines: lines.collect(),
    }
}

/// Resident bytes of a suspended call.
pub(crate) fn of_suspended_call(runtime: Runtime, depth: u32, calls: u32) -> Result<f64> {
    let holder = runtime.holder().context("there is no runtime that suspends")?;
    in_new_process(holder, What::Suspended, depth, calls)
}

fn in_new_process(holder: Holder, what: What, depth: u32, count: u32) -> Result<f64> {
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map_or_else(String::new, |value| value.get_name().to_string())
    };
    let program = std::env::current_exe().context("where this program is")?;
    let output = Command::new(program)
        .args(["memory", "--runtime", &name(holder.to_possible_value())])
        .args(["--what", &name(what.to_possible_value())])
        .args(["--depth", &depth.to_string(), "--calls", &count.to_string()])
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

/// Holds what `make` makes, `count` times, and answers the resident bytes of one.
pub(crate) fn resident_bytes_of_each<C>(
    count: u32,
    mut make: impl FnMut() -> Result<C>,
) -> Result<f64> {
    let mut held = Vec::with_capacity(count as usize + 1);
    // What the first one sets up for all is not counted. The values in the list are: they are part
    // of what is held.
    held.push(make()?);
    let before = resident_bytes()?;
    for _ in 0..count {
        held.push(make()?);
    }
    let grown = resident_bytes()?.saturating_sub(before);
    drop(held);
    Ok(grown as f64 / f64::from(count))
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
