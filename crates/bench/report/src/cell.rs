//! One place of a table: what is known of one row in one column.

use crate::statistics;

/// What is known of one row in one column.
#[derive(Clone, Debug)]
pub enum Cell {
    /// There is nothing of the kind, or nobody asked for it.
    Absent,
    /// What one operation took, by round.
    Samples(Vec<f64>),
    /// The first error.
    Failed(String),
}

/// What numbers are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Of time, for what takes little.
    Nanoseconds,
    /// Of time, for what takes more: of numbers that are nanoseconds all the same.
    Microseconds,
    /// Of memory.
    Bytes,
}

impl Cell {
    /// The least sample.
    pub fn minimum(&self) -> Option<f64> {
        let Cell::Samples(samples) = self else { return None };
        statistics::minimum(samples)
    }

    /// The sample in the middle.
    pub fn median(&self) -> Option<f64> {
        let Cell::Samples(samples) = self else { return None };
        statistics::median(samples)
    }

    /// Whether there is an error instead of samples.
    pub fn is_failed(&self) -> bool {
        matches!(self, Cell::Failed(_))
    }

    /// `minimum / median`, `—` if there is nothing.
    pub fn text(&self, unit: Unit) -> String {
        match self {
            Cell::Failed(_) => FAILED.into(),
            _ => match (self.minimum(), self.median()) {
                (Some(minimum), Some(median)) => {
                    format!("{} / {}", unit.text(minimum), unit.text(median))
                }
                _ => ABSENT.into(),
            },
        }
    }

    /// How many times as much the other one is, by the minima; nothing if one is not known.
    pub fn ratio_of(&self, other: &Cell) -> String {
        let (ours, theirs) = (self.minimum(), other.minimum());
        match ours.zip(theirs).and_then(|(ours, theirs)| statistics::ratio(theirs, ours)) {
            Some(ratio) => format!("{ratio:.*}×", usize::from(ratio < 9.95)),
            None => String::new(),
        }
    }

    /// Adds a sample, or what went wrong instead, after which it takes no more.
    pub fn add(&mut self, taken: anyhow::Result<f64>) {
        match (self, taken) {
            (Cell::Samples(samples), Ok(took)) => samples.push(took),
            (Cell::Failed(_), _) => {}
            (cell @ Cell::Absent, Ok(took)) => *cell = Cell::Samples(vec![took]),
            (cell, Err(error)) => *cell = Cell::Failed(format!("{error:#}")),
        }
    }
}

/// How a failed cell shows.
pub const FAILED: &str = "**failed**";

/// How an absent cell shows.
pub const ABSENT: &str = "—";

impl Unit {
    /// The number with as many digits as it deserves, and its unit where that is not nanoseconds.
    pub fn text(self, value: f64) -> String {
        match self {
            Unit::Nanoseconds if value < 9.95 => format!("{value:.1}"),
            Unit::Nanoseconds => format!("{value:.0}"),
            Unit::Microseconds if value < 9_950.0 => format!("{:.2}", value / 1e3),
            Unit::Microseconds => format!("{:.1}", value / 1e3),
            Unit::Bytes => format!("{:.1} KiB", value / 1024.0),
        }
    }
}

/// Why cells failed: a list for under the table.
#[derive(Debug, Default)]
pub struct Failures {
    /// A reason, and where it was met, in the order of the first of each.
    reasons: Vec<(String, Vec<String>)>,
}

impl Failures {
    /// Notes the cell of this name if it failed.
    pub fn note(&mut self, name: impl std::fmt::Display, cell: &Cell) {
        let Cell::Failed(why) = cell else { return };
        // Errors can have many lines; a list's item has one.
        let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
        match self.reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, names)) => names.push(name.to_string()),
            None => self.reasons.push((why, vec![name.to_string()])),
        }
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        /// A program that is not there fails everywhere: the tables show where.
        const TOLD: usize = 4;
        if !self.reasons.is_empty() {
            write!(f, "\nFailed:\n\n")?;
        }
        for (reason, names) in &self.reasons {
            let told: Vec<_> = names.iter().take(TOLD).map(String::as_str).collect();
            write!(f, "- {}", told.join("; "))?;
            if names.len() > TOLD {
                write!(f, "; and {} more", names.len() - TOLD)?;
            }
            writeln!(f, ": {reason}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn a_cell_that_failed_once_stays_failed_and_shows_the_first_reason() {
        let mut cell = Cell::Absent;
        cell.add(Ok(2.0));
        cell.add(Err(anyhow!("wrong result:\n  3, not 4")));
        cell.add(Ok(1.0));
        cell.add(Err(anyhow!("another")));
        assert_eq!((cell.minimum(), cell.text(Unit::Nanoseconds)), (None, FAILED.into()));
        let mut failures = Failures::default();
        failures.note("fib", &cell);
        failures.note("other", &Cell::Absent);
        assert_eq!(failures.to_string(), "\nFailed:\n\n- fib: wrong result: 3, not 4\n");
    }

    #[test]
    fn failures_of_the_same_reason_are_told_together_and_counted() {
        let mut failures = Failures::default();
        let failed = |why: &str| Cell::Failed(why.into());
        (0..6).for_each(|at| failures.note(format_args!("guest{at}"), &failed("not fetched")));
        failures.note("other", &failed("trap"));
        assert_eq!(
            failures.to_string(),
            "\nFailed:\n\n- guest0; guest1; guest2; guest3; and 2 more: not fetched\n- other: trap\n"
        );
    }

    #[test]
    fn ratios_are_of_the_minima_and_empty_without_both() {
        let (one, two) = (Cell::Samples(vec![3.0, 2.0]), Cell::Samples(vec![9.0, 5.0]));
        assert_eq!(one.ratio_of(&two), "2.5×");
        assert_eq!(two.ratio_of(&Cell::Samples(vec![100.0])), "20×");
        assert_eq!(one.ratio_of(&Cell::Absent), "");
        assert_eq!(one.text(Unit::Nanoseconds), "2.0 / 2.5");
        assert_eq!(Cell::Absent.text(Unit::Bytes), ABSENT);
    }
}
