//! `switches`: what entering, leaving, suspending and resuming wasm cost.

use crate::engines::{Runtime, Sample};
use crate::progress::Progress;
use crate::row::Row;
use crate::sampling::Sampling;
use crate::surroundings::{catching, version};
use crate::table::{Line, Report};
use anyhow::Result;
use clap::Args;
use stillframe_bench_report::cell::Cell;

/// Arguments of `switches`.
#[derive(Args, Default, Debug)]
#[command(after_help = "\
Each round takes one sample of every row in every runtime: what one of many thousand operations \
took. The table shows the minimum and the median over the rounds, 'minimum / median', in \
nanoseconds, and how the minima relate. A row whose guest answers something wrong, or that ends in \
an error, is shown as failed, with the reason under the table. Progress goes to standard error.")]
pub(crate) struct SwitchesArgs {
    #[command(flatten)]
    sampling: Sampling,
    /// Only this runtime; may be given again
    #[arg(long, value_enum, value_name = "NAME")]
    runtime: Vec<Runtime>,
}

/// Does `switches`.
pub(crate) fn command(args: &SwitchesArgs) -> Result<()> {
    let output = args.sampling.output()?;
    output.write(measure(args, &mut Progress::new())?)
}

/// The names of the rows.
pub(crate) fn names() -> Vec<String> {
    Row::all().into_iter().map(|row| row.name().into()).collect()
}

impl SwitchesArgs {
    /// Those of a part of the whole.
    pub(crate) fn of(quick: bool, only: Vec<String>, rounds: Option<u32>) -> SwitchesArgs {
        SwitchesArgs { sampling: Sampling::of(quick, only, rounds), ..Default::default() }
    }

    fn rows(&self) -> Vec<Row> {
        self.sampling.choose(Row::all(), |row| row.name().into())
    }

    /// What a round takes on some machine, in seconds.
    fn expected(&self) -> f64 {
        self.rows().len() as f64 * if self.sampling.quick { 0.015 } else { 0.04 }
    }

    /// Expects what [`measure`] will do.
    pub(crate) fn announce(&self, progress: &mut Progress) {
        progress.expect(self.expected() * f64::from(self.sampling.rounds()));
    }
}

/// Takes the samples.
pub(crate) fn measure(args: &SwitchesArgs, progress: &mut Progress) -> Result<Report> {
    let (rows, rounds) = (args.rows(), args.sampling.rounds());
    args.sampling.ensure_any(&rows)?;
    let header = header(args.sampling.quick, rounds);
    progress.tell(&format!("switches: preparing {} rows", rows.len()));
    let mut measured: Vec<_> =
        rows.into_iter().map(|row| MeasuredRow::prepare(row, args)).collect();
    for round in 1..=rounds {
        progress.tell(&format!("switches: round {round} of {rounds}"));
        for row in &mut measured {
            row.take_samples();
        }
        progress.done(args.expected());
    }
    let lines = measured
        .into_iter()
        .map(|MeasuredRow { row, runs }| Line { row, cells: runs.map(|run| run.cell) });
    Ok(Report { header, lines: lines.collect() })
}

/// A row that is being measured.
struct MeasuredRow {
    row: Row,
    runs: [Run; Runtime::ALL.len()],
}

/// The same in one runtime.
struct Run {
    cell: Cell,
    /// None where there is nothing to measure, or no more.
    sample: Option<Sample>,
}

impl MeasuredRow {
    fn prepare(row: Row, args: &SwitchesArgs) -> MeasuredRow {
        let n = row.kind.operations(args.sampling.quick);
        let runs = Runtime::ALL.map(|runtime| {
            if !args.runtime.is_empty() && !args.runtime.contains(&runtime) {
                return Run { cell: Cell::Absent, sample: None };
            }
            match catching(|| runtime.prepare(row, n)) {
                Ok(Some(sample)) => Run { cell: Cell::Samples(Vec::new()), sample: Some(sample) },
                Ok(None) => Run { cell: Cell::Absent, sample: None },
                Err(error) => Run::failed(error),
            }
        });
        MeasuredRow { row, runs }
    }

    fn take_samples(&mut self) {
        for run in &mut self.runs {
            let (Some(sample), Cell::Samples(samples)) = (&mut run.sample, &mut run.cell) else {
                continue;
            };
            match catching(sample) {
                Ok(took) => samples.push(took),
                Err(error) => *run = Run::failed(error),
            }
        }
    }
}

impl Run {
    fn failed(error: anyhow::Error) -> Run {
        Run { cell: Cell::Failed(format!("{error:#}")), sample: None }
    }
}

/// What stands above the table.
fn header(quick: bool, rounds: u32) -> Vec<String> {
    vec![
        format!(
            "Stillframe {}, wasmtime {}, wasmi {}, each with its default settings; fuel and epochs \
             are compiled in only for the rows that need them",
            version("stillframe"),
            version("wasmtime"),
            version("wasmi"),
        ),
        format!(
            "minimum / median of {rounds} rounds{}, each of which runs every row in every runtime; \
             nanoseconds an operation, where nothing else is said; ratios are of the minima",
            if quick { " (quick ones, a twentieth of the operations)" } else { "" },
        ),
        "bare: the same without a runtime, that is the measuring itself: the Rust frames, making \
         and dropping the error, handing over an integer"
            .into(),
    ]
}
