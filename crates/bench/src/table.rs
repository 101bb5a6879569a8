//! The report: samples to Markdown.

use crate::engines::Runtime;
use crate::row::Row;
use std::fmt;
use stillframe_bench_report::cell::{Cell, Failures};

/// A row and what came of it, in the order of [`Runtime::ALL`].
pub(crate) struct Line {
    pub(crate) row: Row,
    pub(crate) cells: [Cell; Runtime::ALL.len()],
}

impl Line {
    fn cell(&self, runtime: Runtime) -> &Cell {
        &self.cells[runtime as usize]
    }

    /// How many times as long the other runtime takes, by the minima.
    fn ratio(&self, other: Runtime) -> String {
        self.cell(Runtime::Stillframe).ratio_of(self.cell(other))
    }
}

/// The whole report.
pub(crate) struct Report {
    /// What was measured with what, a line each.
    pub(crate) header: Vec<String>,
    pub(crate) lines: Vec<Line>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.header {
            writeln!(f, "- {line}")?;
        }
        writeln!(f)?;
        writeln!(
            f,
            "| operation | wasm frames | Rust frames | bare | Stillframe | wasmtime | wasmi \
             | wasmtime ÷ Stillframe | wasmi ÷ Stillframe |"
        )?;
        writeln!(f, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        let mut failures = Failures::default();
        for line in &self.lines {
            let Row { kind, depth, frames } = line.row;
            let depth = if depth == 0 { "—".into() } else { depth.to_string() };
            write!(f, "| {} | {depth} | {} |", line.row.name(), frames.count())?;
            for (runtime, cell) in Runtime::ALL.iter().zip(&line.cells) {
                write!(f, " {} |", cell.text(kind.unit()))?;
                let (name, frames) = (line.row.name(), frames.count());
                let runtime = runtime.name();
                let place = format!("{name}, {depth} wasm and {frames} Rust frames, {runtime}");
                failures.note(place, cell);
            }
            let (wasmtime, wasmi) = (line.ratio(Runtime::Wasmtime), line.ratio(Runtime::Wasmi));
            writeln!(f, " {wasmtime} | {wasmi} |")?;
        }
        write!(f, "{failures}")
    }
}
