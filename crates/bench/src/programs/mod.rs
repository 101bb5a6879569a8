//! `programs`: run time of many guests in many configurations; compile time, sizes and load time of
//! the large ones.
//!
//! ```text
//!   mod.rs         reads arguments
//!   guest.rs       the guests, and what they must leave behind
//!   measured.rs    compiles and runs in turns
//!   compiled.rs    what an engine can do with a module
//!   stillframe.rs, wasmtime.rs, wasmi.rs    how each does it
//!   load.rs        loading serialized modules, which is unsafe
//! ```

mod compiled;
mod guest;
mod load;
mod measured;
mod stillframe;
mod wasmi;
mod wasmtime;

use crate::progress::Progress;
use crate::surroundings::{Output, tell, version};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use guest::Program;
use measured::{LOADS, Measured, RUNS};
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use stillframe_bench_report::cell::Failures;
use stillframe_bench_report::chart;
use stillframe_bench_report::configuration::{Configuration, Engine};
use stillframe_bench_report::grid::{Grid, Quantity};

/// Arguments of `programs`.
#[derive(Args, Default, Debug)]
#[command(after_help = "\
Compiles small guests and real programs in every configuration, then runs them in turns: each round \
runs every guest in every configuration, and begins with another one. Numbers are minima, as ratios \
to wasmtime with its default settings; each run's result is checked. The real programs are those of \
tests/programs, which fetch.sh there fetches.

Examples:
  programs --own --only sha256 --compilations 0     one guest, Stillframe's configurations
  programs --config 'Stillframe fuel+epoch+Live'    this one (and those whose names contain it)
  programs --config plain --only sorting --rounds 9 a group of guests
  programs --list                                   what there is")]
pub(crate) struct ProgramsArgs {
    /// Rounds of runs [default: 5, with --quick 1]; one runs small guests three times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How often real programs are compiled, by one thread and by all [default: 2, with --quick 1];
    /// with 0, only run time is measured
    #[arg(long, value_name = "N")]
    compilations: Option<u32>,
    /// One round, without the larger programs
    #[arg(long)]
    quick: bool,
    /// Only guests whose name or group contains this; may be given again
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Only the configuration of this name, or those whose names contain it; may be given again
    #[arg(long, value_name = "TEXT")]
    config: Vec<String>,
    /// Of other engines' configurations, only wasmtime's default
    #[arg(long)]
    own: bool,
    /// Tell the names of guests and configurations, and measure nothing
    #[arg(long)]
    list: bool,
    /// Write the tables into this file, not to standard output
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draw the run times into this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// Does `programs`.
pub(crate) fn command(args: &ProgramsArgs) -> Result<()> {
    if args.list {
        return list(args);
    }
    let output = Output::to(args.markdown.as_deref())?;
    let chart = args.svg.as_deref().map(Chart::to).transpose()?;
    let mut progress = Progress::new();
    let plan = args.plan()?;
    plan.announce(&mut progress);
    let outcome = plan.measure(&mut progress);
    progress.tell_end();
    if let Some(chart) = chart {
        chart.draw(&outcome.grids)?;
    }
    output.write(outcome)
}

/// The names of guests and groups.
pub(crate) fn names(quick: bool) -> Result<Vec<String>> {
    let programs = Program::all(quick)?;
    Ok(programs.iter().flat_map(|one| [one.name().to_string(), one.group().into()]).collect())
}

/// What is to be measured: nothing has been compiled.
pub(crate) struct Plan {
    measured: Measured,
    rounds: u32,
    compilations: u32,
}

impl ProgramsArgs {
    /// Those of a part of the whole.
    pub(crate) fn of(quick: bool, only: Vec<String>, rounds: Option<u32>) -> ProgramsArgs {
        ProgramsArgs { quick, only, rounds, ..Default::default() }
    }

    fn programs(&self) -> Result<Vec<Program>> {
        let chosen = |text: &str| self.only.iter().any(|part| text.contains(part.as_str()));
        let mut programs = Program::all(self.quick)?;
        programs.retain(|program| {
            self.only.is_empty() || chosen(program.name()) || chosen(program.group())
        });
        ensure!(!programs.is_empty(), "no guest's name or group contains {:?}", self.only);
        Ok(programs)
    }

    fn columns(&self) -> Result<Vec<Configuration>> {
        let mut columns = Configuration::chosen(&Configuration::ALL, &self.config);
        let is_reference = |column: &Configuration| *column == Configuration::REFERENCE;
        columns.retain(|column| {
            !self.own || column.engine == Engine::Stillframe || is_reference(column)
        });
        ensure!(!columns.is_empty(), "no configuration's name contains {:?}", self.config);
        if self.own && !columns.iter().any(is_reference) {
            columns.insert(0, Configuration::REFERENCE);
        }
        Ok(columns)
    }

    pub(crate) fn plan(&self) -> Result<Plan> {
        Ok(Plan {
            measured: Measured::new(self.programs()?, self.columns()?),
            rounds: self.rounds.unwrap_or(if self.quick { 1 } else { 5 }),
            compilations: self.compilations.unwrap_or(if self.quick { 1 } else { 2 }),
        })
    }
}

impl Plan {
    /// Expects what [`Plan::measure`] will do.
    pub(crate) fn announce(&self, progress: &mut Progress) {
        self.measured.announce(self.rounds, self.compilations, progress);
    }

    pub(crate) fn measure(self, progress: &mut Progress) -> Outcome {
        let Plan { mut measured, rounds, compilations } = self;
        let start = progress.seconds();
        measured.compile(compilations, progress);
        for round in 0..rounds {
            progress.tell(&format!("programs: round {} of {rounds}", round + 1));
            measured.run(round as usize, progress);
        }
        guest::clean_up();
        let mut header = header(rounds, compilations);
        header.push(format!("took {:.0} s", progress.seconds() - start));
        Outcome { header, grids: measured.grids() }
    }
}

fn list(args: &ProgramsArgs) -> Result<()> {
    let mut list = String::from("guests (name, group, what it is):\n");
    for program in args.programs()? {
        let (name, group) = (program.name(), program.group());
        let _ = writeln!(list, "  {name:<18} {group:<12} {}", program.description());
    }
    list += "\nconfigurations:\n";
    for column in args.columns()? {
        let _ = writeln!(list, "  {column}");
    }
    tell(&list);
    Ok(())
}

/// What stands above the tables.
fn header(rounds: u32, compilations: u32) -> Vec<String> {
    let mut header = vec![
        format!(
            "Stillframe {}, wasmtime {}, wasmi {}, each with its default settings but for what the \
             column says (and SIMD, which wasmi has off by default)",
            version("stillframe"),
            version("wasmtime"),
            version("wasmi"),
        ),
        format!(
            "run time: the minimum of {rounds} rounds, each of which runs every guest in every \
             configuration and begins with another one; small guests run {RUNS} times a round, in \
             wasmi once, and real programs in wasmi in the first round only"
        ),
        "ratios are to wasmtime's default; every run's result is checked".into(),
        "run time is that of the exported function, with the host's part of it, in processor time"
            .into(),
    ];
    if compilations > 0 {
        header.push(format!(
            "compile time is that of `Module::new`, load time that of `Module::deserialize`, of real \
             programs: the minimum of {compilations} compilations, and of {LOADS} loads; in processor \
             time, but for compiling with all threads. wasmi translates a function when it is first \
             called: that is in its run time"
        ));
    }
    header
}

/// What came of it.
pub(crate) struct Outcome {
    /// What was measured with what, a line each.
    pub(crate) header: Vec<String>,
    pub(crate) grids: Vec<Grid>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        let (mut failures, mut noise) = (Failures::default(), String::new());
        for grid in &self.grids {
            let name = grid.quantity.name();
            write!(f, "\n### {name}\n\n{grid}")?;
            for row in &grid.rows {
                for (column, cell) in grid.columns.iter().zip(&row.cells) {
                    failures.note(format_args!("{name}, {}, {column}", row.name), cell);
                }
            }
            if let Some((mean, worst, whose)) = grid.noise().filter(|(_, worst, _)| *worst > 1.0) {
                let _ = writeln!(noise, "| {name} | {mean:.3} | {worst:.2} | {whose} |");
            }
        }
        if !noise.is_empty() {
            writeln!(f, "\n### Noise: how many times the minimum the median is\n")?;
            write!(f, "| | geometric mean | at most | of |\n|---|--:|--:|---|\n{noise}")?;
        }
        write!(f, "{failures}")
    }
}

/// Where the run times are drawn.
pub(crate) struct Chart(File);

impl Chart {
    /// Made before measuring, as [`Output`].
    pub(crate) fn to(path: &Path) -> Result<Chart> {
        let file = File::create(path);
        Ok(Chart(file.with_context(|| format!("creating {}", path.display()))?))
    }

    pub(crate) fn draw(mut self, grids: &[Grid]) -> Result<()> {
        let run = grids.iter().find(|grid| grid.quantity == Quantity::Run);
        let run = run.context("there are no run times to draw")?;
        let told = format!(
            "Stillframe {}, wasmtime {}. Default settings but for what is named; minima of rounds in \
             which the engines take turns.",
            version("stillframe"),
            version("wasmtime"),
        );
        self.0.write_all(chart::draw(run, &told).as_bytes()).context("writing the chart")
    }
}
