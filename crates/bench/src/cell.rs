//! One place of a table: what is known of one row in one runtime.

use std::fmt::Write as _;

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

/// What numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unit {
    Nanoseconds,
    Bytes,
}

impl Cell {
    pub(crate) fn minimum(&self) -> Option<f64> {
        self.sorted()?.first().copied()
    }

    pub(crate) fn median(&self) -> Option<f64> {
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

    /// `minimum / median`, `—` if there is nothing.
    pub(crate) fn text(&self, unit: Unit) -> String {
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

    /// How many times as much the other one is, by the minima; nothing if one is not known.
    pub(crate) fn ratio_of(&self, other: &Cell) -> String {
        match (other.minimum(), self.minimum()) {
            (Some(theirs), Some(ours)) => {
                let ratio = theirs / ours;
                let digits = usize::from(ratio < 9.95);
                format!("{ratio:.digits$}×")
            }
            _ => String::new(),
        }
    }

    /// Adds a sample, or what went wrong instead, after which it takes no more.
    pub(crate) fn add(&mut self, taken: anyhow::Result<f64>) {
        match (self, taken) {
            (Cell::Samples(samples), Ok(took)) => samples.push(took),
            (Cell::Failed(_), _) => {}
            (cell @ Cell::Absent, Ok(took)) => *cell = Cell::Samples(vec![took]),
            (cell, Err(error)) => *cell = Cell::Failed(format!("{error:#}")),
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

/// Why cells failed: a list for under the table.
#[derive(Debug, Default)]
pub(crate) struct Failures(String);

impl Failures {
    /// Notes the cell of this name if it failed.
    pub(crate) fn note(&mut self, name: impl std::fmt::Display, cell: &Cell) {
        if let Cell::Failed(why) = cell {
            // Errors can have many lines; a list's item has one.
            let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
            let _ = writeln!(self.0, "- {name}: {why}");
        }
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.is_empty() {
            true => Ok(()),
            false => write!(f, "\nFailed:\n\n{}", self.0),
        }
    }
}
