//! `instantiate`: what a store with an instance costs, from nothing to nothing.
//!
//! ```text
//!   mod.rs       reads arguments, takes samples, reports
//!   subject.rs   the modules
//!   stillframe.rs, wasmtime.rs, wasmi.rs    how each engine instantiates them
//! ```

mod stillframe;
mod subject;
mod wasmi;
mod wasmtime;

use crate::engines::Sample;
use crate::measure::thread_time;
use crate::memory::resident_bytes_of_each;
use crate::progress::Progress;
use crate::sampling::Sampling;
use crate::surroundings::{catching, version};
use anyhow::Result;
use clap::Args;
use stillframe_bench_report::cell::{Cell, Unit};
use stillframe_bench_report::listing::{Line, Listing};
use stillframe_bench_report::summary::Instantiation;
use subject::Calls;
pub(crate) use subject::Subject;

/// Arguments of `instantiate`.
#[derive(Args, Default, Debug)]
#[command(after_help = "\
An operation makes a store, instantiates a module that is compiled already, and drops both; the \
linker, or what it makes of the module (`InstancePre`), is made before. Times are the thread's \
processor time, 'minimum / median' over the rounds, each of which takes a sample of every row in \
every column. One instance of each sample is called, and must answer what a new one does.")]
pub(crate) struct InstantiateArgs {
    #[command(flatten)]
    sampling: Sampling,
    /// Only columns whose names contain this; may be given again
    #[arg(long, value_name = "TEXT")]
    config: Vec<String>,
}

/// A column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum How {
    Stillframe { pre: bool },
    Wasmtime { pooled: bool, pre: bool },
    Wasmi,
}

impl How {
    pub(crate) const ALL: [How; 7] = [
        How::Stillframe { pre: false },
        How::Stillframe { pre: true },
        How::Wasmtime { pooled: false, pre: false },
        How::Wasmtime { pooled: false, pre: true },
        How::Wasmtime { pooled: true, pre: false },
        How::Wasmtime { pooled: true, pre: true },
        How::Wasmi,
    ];

    fn name(self) -> &'static str {
        match self {
            How::Stillframe { pre: false } => "Stillframe, `Linker`",
            How::Stillframe { pre: true } => "Stillframe, `InstancePre`",
            How::Wasmtime { pooled: false, pre: false } => "wasmtime, `Linker`",
            How::Wasmtime { pooled: false, pre: true } => "wasmtime, `InstancePre`",
            How::Wasmtime { pooled: true, pre: false } => "wasmtime pooled, `Linker`",
            How::Wasmtime { pooled: true, pre: true } => "wasmtime pooled, `InstancePre`",
            How::Wasmi => "wasmi, `Linker`",
        }
    }

    fn prepare(self, subject: Subject, n: u32) -> Result<Sample> {
        match self {
            How::Stillframe { pre } => stillframe::prepare(subject, pre, n),
            How::Wasmtime { pooled, pre } => wasmtime::prepare(subject, pooled, pre, n),
            How::Wasmi => wasmi::prepare(subject, n),
        }
    }

    /// Resident bytes of each of so many instances, made in this process.
    pub(crate) fn hold_many(self, subject: Subject, instances: u32) -> Result<f64> {
        match self {
            How::Stillframe { .. } => stillframe::hold_many(subject, instances),
            How::Wasmtime { pooled, .. } => wasmtime::hold_many(subject, pooled, instances),
            How::Wasmi => wasmi::hold_many(subject, instances),
        }
    }
}

/// Makes stores with instances and drops them, and calls those that the subject wants called.
fn sample<S: 'static, I: 'static>(
    subject: Subject,
    n: u32,
    new: impl Fn() -> Result<(S, I)> + 'static,
    call: impl Fn(&mut S, I) -> Result<()> + 'static,
) -> Sample {
    Box::new(move || {
        let called = || {
            let (mut store, instance) = new()?;
            call(&mut store, instance)
        };
        let nanos = match subject.calls() {
            Calls::Each => thread_time(n, called)?,
            _ => thread_time(n, || new().map(drop))?,
        };
        if subject.calls() == Calls::Last {
            called()?;
        }
        Ok(nanos)
    })
}

/// Makes stores with instances and keeps them; the resident bytes of one.
fn hold<S, I>(
    subject: Subject,
    instances: u32,
    new: impl Fn() -> Result<(S, I)>,
    call: impl Fn(&mut S, I) -> Result<()>,
) -> Result<f64> {
    resident_bytes_of_each(instances, || {
        let (mut store, instance) = new()?;
        if subject.calls() == Calls::Each {
            call(&mut store, instance)?;
        }
        Ok(store)
    })
}

/// A row that is being measured, by [`How::ALL`].
struct Measured {
    subject: Subject,
    cells: Vec<Cell>,
    samples: Vec<Option<Sample>>,
}

impl Measured {
    fn prepare(subject: Subject, args: &InstantiateArgs) -> Measured {
        let n = subject.operations() / if args.sampling.quick { 10 } else { 1 };
        let (mut cells, mut samples) = (Vec::new(), Vec::new());
        for how in How::ALL {
            let name = how.name();
            let wanted =
                args.config.is_empty() || args.config.iter().any(|text| name.contains(text));
            let (mut cell, mut sample) = (Cell::Absent, None);
            if wanted {
                match catching(|| how.prepare(subject, n)) {
                    Ok(prepared) => sample = Some(prepared),
                    Err(error) => cell.add(Err(error)),
                }
            }
            cells.push(cell);
            samples.push(sample);
        }
        Measured { subject, cells, samples }
    }

    fn take_samples(&mut self) {
        for (cell, sample) in self.cells.iter_mut().zip(&mut self.samples) {
            if let (Some(take), false) = (sample, cell.is_failed()) {
                cell.add(catching(take));
            }
        }
    }
}

/// Does `instantiate`.
pub(crate) fn command(args: &InstantiateArgs) -> Result<()> {
    let output = args.sampling.output()?;
    output.write(measure(args, &mut Progress::new())?)
}

/// The names of the rows.
pub(crate) fn names() -> Vec<String> {
    Subject::ALL.into_iter().map(|subject| subject.name().into()).collect()
}

/// Seconds that a round of one row takes on some machine.
const ROUND: f64 = 0.04;

/// Seconds that getting ready for the first takes there.
fn preparing(subject: Subject) -> f64 {
    if subject == Subject::Large { 6.0 } else { 0.1 }
}

impl InstantiateArgs {
    /// Those of a part of the whole.
    pub(crate) fn of(quick: bool, only: Vec<String>, rounds: Option<u32>) -> InstantiateArgs {
        InstantiateArgs { sampling: Sampling::of(quick, only, rounds), ..Default::default() }
    }

    /// Expects what [`measure`] will do.
    pub(crate) fn announce(&self, progress: &mut Progress) {
        for subject in self.subjects() {
            progress.expect(preparing(subject) + ROUND * f64::from(self.sampling.rounds()));
        }
    }

    fn subjects(&self) -> Vec<Subject> {
        self.sampling.choose(Subject::ALL, |subject| subject.name().into())
    }
}

/// Takes the samples.
pub(crate) fn measure(args: &InstantiateArgs, progress: &mut Progress) -> Result<Listing> {
    let rounds = args.sampling.rounds();
    let subjects = args.subjects();
    args.sampling.ensure_any(&subjects)?;
    let header = header(rounds);
    progress.tell("instantiate: preparing");
    let mut measured = Vec::new();
    for subject in subjects {
        measured.push(Measured::prepare(subject, args));
        progress.done(preparing(subject));
    }
    progress.tell(&format!("instantiate: {rounds} rounds"));
    for _ in 0..rounds {
        measured.iter_mut().for_each(Measured::take_samples);
        progress.done(ROUND * measured.len() as f64);
    }
    let lines = measured.into_iter().map(|Measured { subject, cells, .. }| Line {
        labels: vec![subject.name().into()],
        unit: Unit::Microseconds,
        cells,
    });
    Ok(Listing {
        header,
        labels: vec!["module".into()],
        columns: How::ALL.map(|how| how.name().into()).to_vec(),
        lines: lines.collect(),
    })
}

/// What the report's summary needs.
pub(crate) fn of_small_module(listing: &Listing) -> Option<Instantiation> {
    let line = listing.lines.iter().find(|line| line.labels[0] == Subject::Small.name())?;
    let cell = |how: How| {
        let at = How::ALL.iter().position(|&other| other == how);
        &line.cells[at.expect("it has all of them")]
    };
    let ours = [false, true].map(|pre| cell(How::Stillframe { pre }));
    let theirs = [false, true].map(|pooled| cell(How::Wasmtime { pooled, pre: false }).minimum());
    Some(Instantiation {
        ours: ours.map(|cell| cell.minimum()),
        theirs: theirs[0],
        pooled: theirs[1],
        failed: ours.iter().any(|cell| cell.is_failed()),
    })
}

/// What stands above the table.
fn header(rounds: u32) -> Vec<String> {
    vec![
        format!(
            "Stillframe {}, wasmtime {}, wasmi {}, each with its default settings; 'pooled' is \
             wasmtime's pooling allocator with its defaults, whose slots are warm",
            version("stillframe"),
            version("wasmtime"),
            version("wasmi"),
        ),
        format!(
            "minimum / median of {rounds} rounds, in microseconds: a store is made, a compiled \
             module instantiated in it, and both are dropped"
        ),
    ]
}
