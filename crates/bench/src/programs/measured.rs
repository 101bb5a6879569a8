//! Compiling and running in turns, and what came of it.

use super::compiled::{Compiled, compile};
use super::guest::Program;
use crate::measure::thread_seconds;
use crate::progress::Progress;
use crate::surroundings::catching;
use anyhow::{Context as _, Result, anyhow};
use std::rc::Rc;
use std::time::Instant;
use stillframe_bench_report::cell::Cell;
use stillframe_bench_report::configuration::{Configuration, Engine, Frames};
use stillframe_bench_report::grid::{Grid, Quantity, Row};

/// How often a round runs a guest of our own.
pub(super) const RUNS: usize = 3;

/// How often a serialized module is loaded.
pub(super) const LOADS: usize = 10;

/// All of them, in all configurations.
pub(super) struct Measured {
    columns: Vec<Configuration>,
    modules: Vec<Module>,
    guests: Vec<Guest>,
}

/// A module, of one guest or several.
struct Module {
    name: String,
    is_real: bool,
    /// Its bytes; or why they are not there.
    wasm: Result<Vec<u8>>,
    /// By column. What could not be compiled is an error here.
    compiled: Vec<Option<Result<Rc<dyn Compiled>, String>>>,
    /// By quantity and column.
    cells: Vec<(Quantity, Vec<Cell>)>,
}

struct Guest {
    program: Program,
    /// Of [`Measured::modules`].
    module: usize,
    /// By column: what running took.
    cells: Vec<Cell>,
}

impl Measured {
    pub(super) fn new(programs: Vec<Program>, columns: Vec<Configuration>) -> Measured {
        let (mut modules, mut guests) = (Vec::<Module>::new(), Vec::new());
        for program in programs {
            let known = modules.iter().position(|module| module.name == program.module_name());
            let module = known.unwrap_or_else(|| {
                modules.push(Module::new(&program, columns.len()));
                modules.len() - 1
            });
            guests.push(Guest { program, module, cells: vec![Cell::Absent; columns.len()] });
        }
        Measured { columns, modules, guests }
    }

    /// Compiles all modules: those of real programs `compilations` times, with one thread and with
    /// all, and notes the times and sizes; or once, and notes nothing.
    pub(super) fn compile(&mut self, compilations: u32, progress: &mut Progress) {
        for round in 0..compilations.max(1) as usize {
            for module in &mut self.modules {
                let noted = module.is_real && compilations > 0;
                if round > 0 && !noted {
                    continue;
                }
                if module.is_real {
                    progress.tell(&format!("programs: compiling {}", module.name));
                }
                for at in rotated(self.columns.len(), round) {
                    module.compile(self.columns[at], at, noted);
                    progress.done(module.expected(self.columns[at], noted));
                }
                if noted && round == 0 {
                    module.weigh_and_load(&self.columns);
                }
            }
        }
    }

    /// Runs each guest in each configuration; our own, which are small, several times.
    pub(super) fn run(&mut self, round: usize, progress: &mut Progress) {
        for guest in &mut self.guests {
            let is_real = guest.program.is_real();
            if is_real {
                progress.tell(&format!("programs: running {}", guest.program.name()));
            }
            for repetition in 0..if is_real { 1 } else { RUNS } {
                for at in rotated(self.columns.len(), round + repetition) {
                    let column = self.columns[at];
                    if column.engine == Engine::Wasmi && (repetition > 0 || is_real && round > 0) {
                        continue;
                    }
                    let module = &self.modules[guest.module];
                    guest.cells[at].add(catching(|| module.get(at)?.run(&guest.program)));
                    progress.done(guest.expected(column));
                }
            }
        }
    }

    /// What is to come, for [`Progress`].
    pub(super) fn announce(&self, rounds: u32, compilations: u32, progress: &mut Progress) {
        for &column in &self.columns {
            for module in &self.modules {
                let noted = module.is_real && compilations > 0;
                let times = if noted { compilations } else { 1 };
                progress.expect(module.expected(column, noted) * f64::from(times));
            }
            for guest in &self.guests {
                let is_wasmi = column.engine == Engine::Wasmi;
                let times = match guest.program.is_real() {
                    true if is_wasmi => 1,
                    true => rounds,
                    false if is_wasmi => rounds,
                    false => rounds * RUNS as u32,
                };
                progress.expect(guest.expected(column) * f64::from(times));
            }
        }
    }

    /// The tables.
    pub(super) fn grids(self) -> Vec<Grid> {
        let Measured { columns, modules, guests } = self;
        let rows = guests.into_iter().map(|Guest { program, cells, .. }| Row {
            name: program.name().into(),
            group: program.group(),
            cells,
        });
        let grid = |quantity, rows| Grid { quantity, columns: columns.clone(), rows };
        let mut grids = vec![grid(Quantity::Run, rows.collect())];
        for quantity in Quantity::ALL.into_iter().filter(|quantity| quantity.is_of_modules()) {
            let real = modules.iter().filter(|module| module.is_real);
            let rows = real.map(|module| Row {
                name: module.name.clone(),
                group: "",
                cells: module
                    .cells
                    .iter()
                    .find(|(q, _)| *q == quantity)
                    .map_or_else(Vec::new, |(_, cells)| cells.clone()),
            });
            grids.push(grid(quantity, rows.collect()));
        }
        // Where nothing was to be measured, there is nothing to tell.
        let is_known = |row: &Row| row.cells.iter().any(|cell| !matches!(cell, Cell::Absent));
        grids.retain(|grid| grid.rows.iter().any(is_known));
        grids
    }
}

/// The columns in an order that begins elsewhere in each round, so that none is always the first.
fn rotated(columns: usize, by: usize) -> impl Iterator<Item = usize> {
    (0..columns).map(move |at| (at + by) % columns)
}

impl Module {
    fn new(program: &Program, columns: usize) -> Module {
        let of_modules = Quantity::ALL.into_iter().filter(|quantity| quantity.is_of_modules());
        Module {
            name: program.module_name().into(),
            is_real: program.is_real(),
            wasm: program.wasm(),
            compiled: (0..columns).map(|_| None).collect(),
            cells: of_modules.map(|quantity| (quantity, vec![Cell::Absent; columns])).collect(),
        }
    }

    fn get(&self, column: usize) -> Result<&Rc<dyn Compiled>> {
        match &self.compiled[column] {
            Some(Ok(compiled)) => Ok(compiled),
            Some(Err(error)) => Err(anyhow!("{error}")),
            None => Err(anyhow!("not compiled")),
        }
    }

    fn add(&mut self, quantity: Quantity, column: usize, taken: Result<f64>) {
        let cells = self.cells.iter_mut().find(|(other, _)| *other == quantity);
        cells.expect("there are cells for all of them").1[column].add(taken);
    }

    /// Compiles with all threads, and where the times are noted also with one.
    fn compile(&mut self, configuration: Configuration, column: usize, noted: bool) {
        let wasm = match &self.wasm {
            Ok(wasm) => wasm,
            Err(error) => {
                let told = format!("{error:#}");
                if self.is_real && noted {
                    self.add(Quantity::Compile { parallel: false }, column, Err(anyhow!("{told}")));
                    self.add(Quantity::Compile { parallel: true }, column, Err(anyhow!("{told}")));
                }
                self.compiled[column] = Some(Err(told));
                return;
            }
        };
        let one_thread = noted.then(|| {
            catching(|| {
                let start = thread_seconds();
                let compiled = compile(configuration, wasm, false)?;
                let seconds = thread_seconds() - start;
                drop(compiled);
                Ok(seconds)
            })
        });
        // wasmi has one thread; compiling again would give its module, and the same time.
        let start = Instant::now();
        let compiled = catching(|| compile(configuration, wasm, true));
        let seconds = start.elapsed().as_secs_f64();
        if let Some(taken) = one_thread {
            self.add(Quantity::Compile { parallel: false }, column, taken);
        }
        if noted && configuration.engine != Engine::Wasmi {
            let taken = compiled.as_ref().map(|_| seconds).map_err(|error| anyhow!("{error:#}"));
            self.add(Quantity::Compile { parallel: true }, column, taken);
        }
        if self.compiled[column].is_none() {
            let compiled = compiled.map(Rc::from).map_err(|error| format!("{error:#}"));
            self.compiled[column] = Some(compiled);
        }
    }

    /// Notes how large the compiled modules are, and how long they take to be loaded, in turns.
    fn weigh_and_load(&mut self, columns: &[Configuration]) {
        let mut artifacts = Vec::new();
        for (column, configuration) in columns.iter().enumerate() {
            if configuration.engine == Engine::Wasmi {
                continue;
            }
            let sizes = match self.get(column) {
                Ok(compiled) => catching(|| compiled.sizes()).context("serializing"),
                Err(error) => Err(error),
            };
            match sizes {
                Ok(sizes) => {
                    let code = sizes.code as f64;
                    self.add(Quantity::Code, column, Ok(code));
                    self.add(Quantity::Artifact, column, Ok(sizes.artifact.len() as f64));
                    if let Some(frames) = sizes.frame_table {
                        self.add(Quantity::FrameTable, column, Ok(frames as f64 / code));
                    }
                    artifacts.push((column, sizes.artifact));
                }
                // What was not compiled has failed, and its sizes with it.
                Err(error) => {
                    let told = format!("{error:#}");
                    for quantity in [Quantity::Code, Quantity::Artifact, Quantity::Load] {
                        self.add(quantity, column, Err(anyhow!("{told}")));
                    }
                }
            }
        }
        for _ in 0..LOADS {
            for (column, artifact) in &artifacts {
                let taken = catching(|| self.get(*column)?.load(artifact));
                self.add(Quantity::Load, *column, taken);
            }
        }
    }

    /// Seconds that compiling takes on some machine.
    fn expected(&self, configuration: Configuration, noted: bool) -> f64 {
        let bytes = self.wasm.as_ref().map_or(0, Vec::len) as f64;
        let times = if noted { 3.0 } else { 1.0 };
        let factor = match (configuration.engine, configuration.frames) {
            (Engine::Wasmtime, Frames::All) => 3.0,
            (Engine::Wasmi, _) => 0.1,
            _ => 1.0,
        };
        bytes * 0.7e-6 * times * factor
    }
}

impl Guest {
    /// Seconds that running takes on some machine.
    fn expected(&self, configuration: Configuration) -> f64 {
        let seconds = if self.program.is_real() { 0.4 } else { 0.02 };
        let factor = match (configuration.engine, configuration.frames) {
            (Engine::Wasmtime, Frames::All) => 3.0,
            (Engine::Wasmi, _) => 10.0,
            _ => 1.0,
        };
        seconds * factor
    }
}
