//! `modes`: what it costs that frames can be read: in run time, compile time, and memory.
//!
//! ```text
//!   mod.rs         compiles and runs, and takes the times
//!   program.rs     the guests, and what they must leave behind
//!   setting.rs     what code is compiled for
//!   stillframe.rs, wasmtime.rs    how each runtime compiles and runs
//!   table.rs       the report
//! ```

mod program;
mod setting;
mod stillframe;
mod table;
mod wasmtime;

use crate::cell::Cell;
use crate::measure::thread_seconds;
use crate::surroundings::{Output, catching, machine, version, warning};
use anyhow::{Result, ensure};
use clap::Args;
use program::Program;
use setting::{Compiled, Mode, Setting};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Instant;
use table::{Quantity, Report, Row, Table};

/// Arguments of `modes`.
#[derive(Args, Debug)]
#[command(after_help = "\
Compiles small guests and real programs with each `FrameState`, and in wasmtime without and with \
`guest_debug`, unmetered and with fuel and epochs; then runs them in turns. All numbers are minima; \
the tables relate them to `FrameState::Off`. Each run's result is checked. The real programs are \
those of tests/programs; fetch.sh there fetches them.")]
pub(crate) struct ModesArgs {
    /// Runs of each program in each mode [default: 3, with --quick 1; small guests three times as often]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// How often each module is compiled, by one thread and by all
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    compilations: u32,
    /// One round, without the larger programs
    #[arg(long)]
    quick: bool,
    /// Only programs whose names contain this; may be given again
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Write the tables into this file, not to standard output
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

const MODES: usize = Mode::ALL.len();

/// How often a round runs a small guest.
const SMALL_RUNS: usize = 3;

/// Whether metered: the tables come in this order.
const METERING: [bool; 2] = [false, true];

/// A program that is being measured, with or without metering.
struct Measured<'a> {
    program: &'a Program,
    metered: bool,
    /// By mode: the module, unless it could not be compiled.
    modules: [Option<Rc<dyn Compiled>>; MODES],
    /// By quantity, in the order of [`Quantity::ALL`], and by mode.
    cells: [[Cell; MODES]; Quantity::ALL.len()],
}

impl<'a> Measured<'a> {
    fn new(program: &'a Program, metered: bool) -> Measured<'a> {
        Measured {
            program,
            metered,
            modules: [const { None }; MODES],
            cells: [const { [const { Cell::Absent }; MODES] }; Quantity::ALL.len()],
        }
    }

    fn cell(&mut self, quantity: Quantity, mode: usize) -> &mut Cell {
        let at = Quantity::ALL.iter().position(|&other| other == quantity);
        &mut self.cells[at.expect("it has all of them")][mode]
    }

    /// Compiles in all modes with all threads, and takes the times.
    fn compile(&mut self, wasm: &[u8]) {
        for (at, mode) in Mode::ALL.into_iter().enumerate() {
            let setting = Setting { mode, metered: self.metered };
            let one_thread = catching(|| {
                let start = thread_seconds();
                drop(setting.compile(wasm, false)?);
                Ok(thread_seconds() - start)
            });
            self.cell(Quantity::Compile { parallel: false }, at).add(one_thread);
            let start = Instant::now();
            let compiled = catching(|| setting.compile(wasm, true));
            let seconds = start.elapsed().as_secs_f64();
            let cell = self.cell(Quantity::Compile { parallel: true }, at);
            match compiled {
                Ok(module) => {
                    cell.add(Ok(seconds));
                    self.modules[at] = Some(module.into());
                }
                Err(error) => cell.add(Err(error)),
            }
        }
    }

    /// Notes how large the compiled modules are.
    fn weigh(&mut self) {
        for at in 0..MODES {
            let Some(module) = &self.modules[at] else { continue };
            let (code, frames) = (module.code_size() as f64, module.frame_table_size());
            self.cell(Quantity::Code, at).add(Ok(code));
            match frames {
                Ok(None) => {}
                Ok(Some(frames)) => {
                    self.cell(Quantity::FrameTable, at).add(Ok(frames as f64 / code))
                }
                Err(error) => self.cell(Quantity::FrameTable, at).add(Err(error)),
            }
        }
    }

    /// Runs in all modes, once; small guests three times.
    fn run(&mut self) {
        let times = if self.program.is_real() { 1 } else { SMALL_RUNS };
        for at in (0..MODES).cycle().take(MODES * times) {
            let Some(module) = &self.modules[at] else { continue };
            let ran = catching(|| module.run(self.program));
            self.cell(Quantity::Run, at).add(ran);
        }
    }
}

/// Does `modes`.
pub(crate) fn command(args: &ModesArgs) -> Result<()> {
    let rounds = args.rounds.unwrap_or(if args.quick { 1 } else { 3 });
    let compilations = args.compilations;
    let mut programs = Program::all(args.quick);
    programs.retain(|program| {
        args.only.is_empty() || args.only.iter().any(|text| program.name.contains(text.as_str()))
    });
    ensure!(!programs.is_empty(), "no program's name contains {:?}", args.only);
    let output = Output::to(args.markdown.as_deref())?;
    let mut header = header(rounds, compilations);
    let start = Instant::now();
    let told = |what: &str| eprintln!("{:6.1} s  {what}", start.elapsed().as_secs_f64());

    let (mut all, mut skipped) = (Vec::<Measured<'_>>::new(), Vec::new());
    for program in &programs {
        let wasm = match program.wasm() {
            Ok(wasm) => wasm,
            Err(error) => {
                skipped.push(format!("{}: {error:#}", program.name));
                continue;
            }
        };
        for metered in METERING {
            let mut measured = Measured::new(program, metered);
            let is_same = |other: &&Measured<'_>| {
                other.metered == metered && other.program.module_name() == program.module_name()
            };
            if let Some(same) = all.iter().find(is_same) {
                measured.modules = same.modules.clone();
            } else {
                let metered = if metered { ", metered" } else { "" };
                told(&format!("compiling {}{metered}", program.module_name()));
                (0..compilations).for_each(|_| measured.compile(&wasm));
                measured.weigh();
            }
            all.push(measured);
        }
    }
    for round in 1..=rounds {
        told(&format!("round {round} of {rounds}"));
        all.iter_mut().for_each(Measured::run);
    }
    program::clean_up();
    told("done");
    header.push(format!("took {:.0} s", start.elapsed().as_secs_f64()));
    output.write(Report { header, tables: tables(all), skipped })
}

fn tables(measured: Vec<Measured<'_>>) -> Vec<Table> {
    let mut tables = Vec::new();
    for (at, quantity) in Quantity::ALL.into_iter().enumerate() {
        for metered in METERING {
            let mut rows: Vec<Row> = Vec::new();
            for measured in measured.iter().filter(|measured| measured.metered == metered) {
                // What is measured of small modules is what runtimes add to each.
                if quantity.is_of_modules() && !measured.program.is_real() {
                    continue;
                }
                let name = match quantity.is_of_modules() {
                    true => measured.program.module_name(),
                    false => measured.program.name,
                };
                // Several programs can be of one module.
                if rows.iter().all(|row| row.name != name) {
                    let cells = measured.cells[at].clone();
                    rows.push(Row { name: name.to_string(), cells });
                }
            }
            tables.push(Table { quantity, metered, rows });
        }
    }
    tables
}

/// What stands above the tables.
fn header(rounds: u32, compilations: u32) -> Vec<String> {
    let mut header = vec![
        format!("machine: {}", machine()),
        format!(
            "Stillframe {} with the `FrameState` that the column says, otherwise with its default \
             settings; wasmtime {} with its default settings and with `guest_debug`",
            version("stillframe"),
            version("wasmtime"),
        ),
        format!(
            "minima: of {rounds} rounds, each of which runs every program in every mode, small ones \
             {SMALL_RUNS} times, and of {compilations} compilations; ratios are to `FrameState::Off` \
             with the same metering"
        ),
        "run time is that of the exported function, with the host's part of it, compile time that \
         of `Module::new`; both in processor time, but for compiling with all threads"
            .into(),
    ];
    header.extend(warning());
    header
}
