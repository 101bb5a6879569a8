//! `frames`: what finding the frames of frozen wasm, reading them and capturing backtraces cost.
//!
//! ```text
//!   mod.rs         takes the samples and makes the table
//!   guest.rs       the rows, and the modules whose frames they are about
//!   stillframe.rs, wasmtime.rs    how each runtime does it: a host function that measures
//! ```

mod guest;
mod stillframe;
mod wasmtime;

use crate::engines::{Runtime, Sample};
use crate::progress::Progress;
use crate::sampling::Sampling;
use crate::surroundings::{catching, version};
use anyhow::Result;
use clap::Args;
use guest::Row;
use std::fmt;
use stillframe_bench_report::cell::{Cell, Failures, Unit};

/// Arguments of `frames`.
#[derive(Args, Default, Debug)]
#[command(after_help = "\
A host function, called by the innermost frame, takes the time. Each round takes one sample of every \
row in both runtimes; the table shows the minimum and the median over the rounds, 'minimum / median', \
in nanoseconds, and how the minima relate. What is found is checked: the number of frames, and the \
values in them.")]
pub(crate) struct FramesArgs {
    #[command(flatten)]
    sampling: Sampling,
    /// Only this runtime; may be given again
    #[arg(long, value_name = "NAME", value_parser = ["stillframe", "wasmtime"])]
    runtime: Vec<String>,
}

/// Who is measured, in the table's order.
const RUNTIMES: [Runtime; 2] = [Runtime::Stillframe, Runtime::Wasmtime];

/// A row that is being measured, in the order of [`RUNTIMES`].
struct Line {
    row: Row,
    cells: [Cell; RUNTIMES.len()],
    samples: [Option<Sample>; RUNTIMES.len()],
}

impl Line {
    fn prepare(row: Row, args: &FramesArgs) -> Line {
        let times = row.kind.times(args.sampling.quick);
        let mut cells = [const { Cell::Absent }; RUNTIMES.len()];
        let mut samples = [const { None }; RUNTIMES.len()];
        for (at, runtime) in RUNTIMES.into_iter().enumerate() {
            let wanted =
                args.runtime.is_empty() || args.runtime.iter().any(|n| n == runtime.name());
            let prepared = catching(|| match runtime {
                _ if !wanted => Ok(None),
                Runtime::Stillframe => stillframe::prepare(row, times),
                _ => wasmtime::prepare(row, times),
            });
            match prepared {
                Ok(sample) => samples[at] = sample,
                Err(error) => cells[at].add(Err(error)),
            }
        }
        Line { row, cells, samples }
    }

    fn take_samples(&mut self) {
        for (cell, sample) in self.cells.iter_mut().zip(&mut self.samples) {
            if let (Some(take), Cell::Absent | Cell::Samples(_)) = (sample, &*cell) {
                cell.add(catching(take));
            }
        }
    }
}

/// Does `frames`.
pub(crate) fn command(args: &FramesArgs) -> Result<()> {
    let output = args.sampling.output()?;
    output.write(measure(args, &mut Progress::new())?)
}

fn name(row: &Row) -> String {
    format!("{}, {}", row.kind.name(), row.guest.name())
}

/// The names of the rows.
pub(crate) fn names() -> Vec<String> {
    Row::all().iter().map(name).collect()
}

impl FramesArgs {
    /// Those of a part of the whole.
    pub(crate) fn of(quick: bool, only: Vec<String>, rounds: Option<u32>) -> FramesArgs {
        FramesArgs { sampling: Sampling::of(quick, only, rounds), ..Default::default() }
    }

    fn rows(&self) -> Vec<Row> {
        self.sampling.choose(Row::all(), name)
    }

    /// What a round takes on some machine, in seconds.
    fn expected(&self) -> f64 {
        self.rows().len() as f64 * if self.sampling.quick { 0.01 } else { 0.04 }
    }

    /// Expects what [`measure`] will do.
    pub(crate) fn announce(&self, progress: &mut Progress) {
        progress.expect(self.expected() * f64::from(self.sampling.rounds()));
    }
}

/// Takes the samples.
pub(crate) fn measure(args: &FramesArgs, progress: &mut Progress) -> Result<Report> {
    let (rows, rounds) = (args.rows(), args.sampling.rounds());
    args.sampling.ensure_any(&rows)?;
    let header = header(args.sampling.quick, rounds);
    progress.tell(&format!("frames: preparing {} rows", rows.len()));
    let mut lines: Vec<_> = rows.into_iter().map(|row| Line::prepare(row, args)).collect();
    for round in 1..=rounds {
        progress.tell(&format!("frames: round {round} of {rounds}"));
        lines.iter_mut().for_each(Line::take_samples);
        progress.done(args.expected());
    }
    Ok(Report { header, lines })
}

/// What stands above the table.
fn header(quick: bool, rounds: u32) -> Vec<String> {
    vec![
        format!(
            "Stillframe {} with its default settings (`FrameState::Live`), wasmtime {} with \
             `guest_debug`; for backtraces without, and told to keep {} frames, as many as Stillframe \
             keeps",
            version("stillframe"),
            version("wasmtime"),
            guest::BACKTRACE_FRAMES,
        ),
        format!(
            "minimum / median of {rounds} rounds{}, each of which runs every row in both runtimes; \
             nanoseconds for each frame on the stack, or for one local; ratios are of the minima",
            if quick { " (quick ones, a tenth of the operations)" } else { "" },
        ),
    ]
}

/// The table, and what stands above it.
pub(crate) struct Report {
    header: Vec<String>,
    lines: Vec<Line>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.header {
            writeln!(f, "- {line}")?;
        }
        writeln!(
            f,
            "\n| operation | frames | goal | Stillframe | wasmtime | wasmtime ÷ Stillframe |\n\
             |---|---|--:|--:|--:|--:|"
        )?;
        let mut failures = Failures::default();
        for Line { row, cells, .. } in &self.lines {
            let (kind, frames) = (row.kind.name(), row.guest.name());
            let goal = row.kind.goal().map_or(String::new(), |goal| format!("≤ {goal}"));
            let [ours, theirs] = cells.each_ref().map(|cell| cell.text(Unit::Nanoseconds));
            let ratio = cells[0].ratio_of(&cells[1]);
            writeln!(f, "| {kind} | {frames} | {goal} | {ours} | {theirs} | {ratio} |")?;
            for (runtime, cell) in RUNTIMES.iter().zip(cells) {
                failures.note(format_args!("{kind}, {frames}, {}", runtime.name()), cell);
            }
        }
        write!(f, "{failures}")
    }
}
