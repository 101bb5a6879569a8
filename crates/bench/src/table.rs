//! The report: samples to Markdown.

use crate::engines::Runtime;
use crate::row::{Row, Unit};
use std::fmt::{self, Write as _};

/// What is known of one row in one runtime.
#[derive(Clone, Debug)]
pub(crate) enum Cell {
    /// The runtime has nothing of the kind, or was not asked.
    Absent,
    /// What one operation took, by round.
    Samples(Vec<f64>),
    /// The first error.
    Failed(String),
}

impl Cell {
    fn minimum(&self) -> Option<f64> {
        self.sorted()?.first().copied()
    }

    fn median(&self) -> Option<f64> {
        let samples = self.sorted()?;
        let middle = samples.len() / 2;
        match samples.len() % 2 {
            0 => Some((samples[middle - 1] + samples[middle]) / 2.0),
            _ => Some(samples[middle]),
        }
    }

    /// The samples in ascending order, if there is one.
    fn sorted(&self) -> Option<Vec<f64>> {
        let Cell::Samples(samples) = self else { return None };
        let mut samples = samples.clone();
        samples.sort_by(f64::total_cmp);
        (!samples.is_empty()).then_some(samples)
    }

    fn text(&self, unit: Unit) -> String {
        match self {
            Cell::Failed(_) => "**failed**".into(),
            _ => match (self.minimum(), self.median()) {
                (Some(minimum), Some(median)) => {
                    format!("{} / {}", number(minimum, unit), number(median, unit))
                }
                _ => "—".into(),
            },
        }
    }
}

fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Nanoseconds if value < 9.95 => format!("{value:.1}"),
        Unit::Nanoseconds => format!("{value:.0}"),
        Unit::Bytes => format!("{:.1} KiB", value / 1024.0),
    }
}

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
        match (self.cell(other).minimum(), self.cell(Runtime::Stillframe).minimum()) {
            (Some(theirs), Some(ours)) => {
                let ratio = theirs / ours;
                let digits = usize::from(ratio < 9.95);
                format!("{ratio:.digits$}×")
            }
            _ => String::new(),
        }
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
        let mut failures = String::new();
        for line in &self.lines {
            let Row { kind, depth, frames } = line.row;
            let depth = if depth == 0 { "—".into() } else { depth.to_string() };
            write!(f, "| {} | {depth} | {} |", line.row.name(), frames.count())?;
            for (runtime, cell) in Runtime::ALL.iter().zip(&line.cells) {
                write!(f, " {} |", cell.text(kind.unit()))?;
                if let Cell::Failed(why) = cell {
                    let name = line.row.name();
                    let frames = frames.count();
                    // Errors can have many lines; a list's item has one.
                    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
                    writeln!(
                        failures,
                        "- {name}, {depth} wasm and {frames} Rust frames, {}: {why}",
                        runtime.name()
                    )?;
                }
            }
            let (wasmtime, wasmi) = (line.ratio(Runtime::Wasmtime), line.ratio(Runtime::Wasmi));
            writeln!(f, " {wasmtime} | {wasmi} |")?;
        }
        if !failures.is_empty() {
            write!(f, "\nFailed:\n\n{failures}")?;
        }
        Ok(())
    }
}
