//! A table of rows that are each measured in several columns, `minimum / median`.

use crate::cell::{Cell, Failures, Unit};
use std::fmt;

/// The table, and what stands above it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What was measured with what, a line each.
    pub header: Vec<String>,
    /// The headings of the labels.
    pub labels: Vec<String>,
    /// The headings of the cells.
    pub columns: Vec<String>,
    /// The rows.
    pub lines: Vec<Line>,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Line {
    /// What is measured.
    pub labels: Vec<String>,
    /// In what the numbers are told.
    pub unit: Unit,
    /// By column.
    pub cells: Vec<Cell>,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        let (labels, columns) = (self.labels.join(" | "), self.columns.join(" | "));
        writeln!(f, "\n| {labels} | {columns} |")?;
        let (texts, numbers) = (self.labels.len(), self.columns.len());
        writeln!(f, "|{}{}", "---|".repeat(texts), "--:|".repeat(numbers))?;
        let mut failures = Failures::default();
        for Line { labels, unit, cells } in &self.lines {
            write!(f, "| {} |", labels.join(" | "))?;
            for (cell, column) in cells.iter().zip(&self.columns) {
                write!(f, " {} |", cell.text(*unit))?;
                failures.note(format_args!("{}, {column}", labels.join(", ")), cell);
            }
            writeln!(f)?;
        }
        write!(f, "{failures}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_cells_show_in_their_place_and_below_with_the_reason() {
        let listing = Listing {
            header: vec!["machine: one".into()],
            labels: vec!["what".into(), "depth".into()],
            columns: vec!["ours".into(), "theirs".into(), "another's".into()],
            lines: vec![Line {
                labels: vec!["memory".into(), "1".into()],
                unit: Unit::Bytes,
                cells: vec![
                    Cell::Samples(vec![4096.0, 2048.0]),
                    Cell::Failed("no\nmemory".into()),
                    Cell::Absent,
                ],
            }],
        };
        assert_eq!(
            listing.to_string(),
            "- machine: one\n\n| what | depth | ours | theirs | another's |\n\
             |---|---|--:|--:|--:|\n\
             | memory | 1 | 2.0 KiB / 3.0 KiB | **failed** | — |\n\
             \nFailed:\n\n- memory, 1, theirs: no memory\n"
        );
    }
}
