//! One quantity: rows are guests or modules, columns are configurations.
//!
//! Cells hold what was measured. What is shown are ratios to [`Configuration::REFERENCE`], and that
//! column's own values; without that column, all values as they are.

use crate::cell::{ABSENT, Cell, FAILED};
use crate::configuration::{Configuration, Engine};
use crate::statistics::{geometric_mean, ratio};
use std::fmt::{self, Write as _};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quantity {
    /// Seconds that a guest runs.
    Run,
    /// Seconds that a module compiles: processor time of one thread, or time with all of them.
    Compile {
        /// With all of them.
        parallel: bool,
    },
    /// Bytes of machine code.
    Code,
    /// Bytes of the serialized module.
    Artifact,
    /// Seconds until a serialized module can be instantiated.
    Load,
    /// Bytes of the frame table for each byte of machine code.
    FrameTable,
}

/// A row.
#[derive(Clone, Debug)]
pub struct Row {
    /// The guest, or the module.
    pub name: String,
    /// What it mostly does.
    pub group: &'static str,
    /// By column.
    pub cells: Vec<Cell>,
}

/// The table of one quantity.
#[derive(Clone, Debug)]
pub struct Grid {
    /// What the cells are.
    pub quantity: Quantity,
    /// Which configurations were measured.
    pub columns: Vec<Configuration>,
    /// What was measured in each of them.
    pub rows: Vec<Row>,
}

/// A mean over rows.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Mean {
    /// Of the rows that have a value; nothing if none has.
    pub value: Option<f64>,
    /// How many rows that is.
    pub rows: usize,
    /// How many failed.
    pub failed: usize,
}

impl Quantity {
    /// All, in the report's order.
    pub const ALL: [Quantity; 7] = [
        Quantity::Run,
        Quantity::Compile { parallel: false },
        Quantity::Compile { parallel: true },
        Quantity::Code,
        Quantity::Artifact,
        Quantity::Load,
        Quantity::FrameTable,
    ];

    /// For a heading.
    pub fn name(self) -> &'static str {
        match self {
            Quantity::Run => "Run time",
            Quantity::Compile { parallel: false } => "Compile time, one thread",
            Quantity::Compile { parallel: true } => "Compile time, all threads",
            Quantity::Code => "Code size",
            Quantity::Artifact => "Size of the serialized module",
            Quantity::Load => "Load time of a serialized module",
            Quantity::FrameTable => "Frame table, bytes for each byte of code",
        }
    }

    /// Whether the rows are modules, not guests.
    pub fn is_of_modules(self) -> bool {
        self != Quantity::Run
    }

    /// Whether values of other columns are related to the reference's.
    fn is_related(self) -> bool {
        self != Quantity::FrameTable
    }

    /// A value as it is.
    pub fn text(self, value: f64) -> String {
        match self {
            Quantity::Run | Quantity::Compile { .. } => format!("{:.1} ms", value * 1e3),
            Quantity::Load => format!("{:.2} ms", value * 1e3),
            Quantity::Code | Quantity::Artifact if value < 99_500.0 => {
                format!("{:.1} kB", value / 1e3)
            }
            Quantity::Code | Quantity::Artifact => format!("{:.0} kB", value / 1e3),
            Quantity::FrameTable => format!("{value:.3}"),
        }
    }
}

impl Grid {
    /// Which column that is.
    pub fn column(&self, configuration: Configuration) -> Option<usize> {
        self.columns.iter().position(|&column| column == configuration)
    }

    fn reference(&self) -> Option<usize> {
        self.column(Configuration::REFERENCE).filter(|_| self.quantity.is_related())
    }

    /// The row's value in a column, as a ratio to its reference where there is such a column.
    pub fn value(&self, row: &Row, column: usize) -> Option<f64> {
        let value = row.cells[column].minimum()?;
        match self.reference() {
            Some(reference) => ratio(value, row.cells[reference].minimum()?),
            None => Some(value),
        }
    }

    /// The geometric mean of a column over the rows that have a value.
    pub fn mean(&self, column: usize) -> Mean {
        let values: Vec<_> = self.rows.iter().filter_map(|row| self.value(row, column)).collect();
        let is_failed = |row: &&Row| {
            let by_itself = row.cells[column].is_failed();
            by_itself || self.reference().is_some_and(|reference| row.cells[reference].is_failed())
        };
        Mean {
            rows: values.len(),
            failed: self.rows.iter().filter(is_failed).count(),
            value: geometric_mean(values),
        }
    }

    /// The row with the greatest value in a column.
    pub fn worst(&self, column: usize) -> Option<(f64, &Row)> {
        let values = self.rows.iter().filter_map(|row| Some((self.value(row, column)?, row)));
        values.max_by(|(one, _), (other, _)| one.total_cmp(other))
    }

    /// How far medians are above minima: the mean over all cells, the greatest, and whose it is.
    pub fn noise(&self) -> Option<(f64, f64, String)> {
        let (mut all, mut worst) = (Vec::new(), (0.0, String::new()));
        for row in &self.rows {
            for (cell, column) in row.cells.iter().zip(&self.columns) {
                let Some((minimum, median)) = cell.minimum().zip(cell.median()) else { continue };
                let Some(spread) = ratio(median, minimum) else { continue };
                all.push(spread);
                if spread > worst.0 {
                    worst = (spread, format!("{}, {column}", row.name));
                }
            }
        }
        Some((geometric_mean(all)?, worst.0, worst.1))
    }

    /// What a cell shows in the column of ratios, or of values.
    fn shown(&self, row: &Row, column: usize) -> String {
        let cell = &row.cells[column];
        match (cell, cell.minimum()) {
            (Cell::Failed(_), _) => FAILED.into(),
            (_, None) => ABSENT.into(),
            (_, Some(value)) => match (self.reference(), self.value(row, column)) {
                (Some(_), Some(ratio)) => format!("{ratio:.2}"),
                _ => self.quantity.text(value),
            },
        }
    }

    /// What the row of means shows.
    fn shown_mean(&self, column: usize) -> String {
        let Mean { value, failed, .. } = self.mean(column);
        let mut text = match (value, self.reference()) {
            (None, _) => ABSENT.into(),
            (Some(mean), Some(_)) => format!("{mean:.2}"),
            (Some(mean), None) => self.quantity.text(mean),
        };
        if failed > 0 {
            let _ = write!(text, " ({failed} failed)");
        }
        text
    }

    /// One table with these columns, after that of the reference's own values.
    fn write_table(&self, f: &mut fmt::Formatter<'_>, columns: &[usize]) -> fmt::Result {
        let reference = self.reference();
        let (mut names, mut means) = (String::new(), String::new());
        for &column in columns {
            let _ = write!(names, " {} |", self.columns[column]);
            let _ = write!(means, " {} |", self.shown_mean(column));
        }
        let is_grouped = self.rows.iter().any(|row| !row.group.is_empty());
        let (group, no_group) = if is_grouped { (" group |", "  |") } else { ("", "") };
        let what = if self.quantity.is_of_modules() { "module" } else { "guest" };
        let (own, no_own) = match reference {
            Some(at) => (format!(" {} |", self.columns[at]), " |"),
            None => (String::new(), ""),
        };
        writeln!(f, "| {what} |{group}{own}{names}")?;
        let texts = if is_grouped { "---|---|" } else { "---|" };
        let numbers = columns.len() + usize::from(reference.is_some());
        writeln!(f, "|{texts}{}", "--:|".repeat(numbers))?;
        writeln!(f, "| **geometric mean** |{no_group}{no_own}{means}")?;
        for row in &self.rows {
            write!(f, "| {} |", row.name)?;
            if is_grouped {
                write!(f, " {} |", row.group)?;
            }
            if let Some(at) = reference {
                let own = match (&row.cells[at], row.cells[at].minimum()) {
                    (Cell::Failed(_), _) => FAILED.into(),
                    (_, None) => ABSENT.into(),
                    (_, Some(value)) => self.quantity.text(value),
                };
                write!(f, " {own} |")?;
            }
            columns.iter().try_for_each(|&column| write!(f, " {} |", self.shown(row, column)))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

/// A table of Stillframe's columns, and one of the others': together they would be too wide to read.
impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reference = self.reference();
        // A column in which nothing is known, and nothing failed, says nothing.
        let says_something = |&column: &usize| {
            let is_known = |row: &Row| !matches!(row.cells[column], Cell::Absent);
            Some(column) != reference && self.rows.iter().any(is_known)
        };
        let columns = (0..self.columns.len()).filter(says_something);
        let (ours, others): (Vec<_>, Vec<_>) =
            columns.partition(|&column| self.columns[column].engine == Engine::Stillframe);
        if !ours.is_empty() || others.is_empty() {
            self.write_table(f, &ours)?;
        }
        if !others.is_empty() {
            if !ours.is_empty() {
                writeln!(f)?;
            }
            self.write_table(f, &others)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Cell {
        Cell::Samples(values.to_vec())
    }

    fn row(name: &str, cells: &[Cell]) -> Row {
        Row { name: name.into(), group: "", cells: cells.to_vec() }
    }

    /// wasmtime plain, Stillframe plain and wasmi plain.
    fn grid(rows: Vec<Row>) -> Grid {
        let columns = [0, 7, 16].map(|at| Configuration::ALL[at]);
        Grid { quantity: Quantity::Run, columns: columns.to_vec(), rows }
    }

    fn failed() -> Cell {
        Cell::Failed("wrong result".into())
    }

    #[test]
    fn cells_are_related_to_the_reference_by_their_minima() {
        let grid = grid(vec![
            row("a", &[samples(&[0.3, 0.2]), samples(&[0.1]), samples(&[2.0])]),
            row("b", &[samples(&[0.1]), samples(&[0.3, 0.2]), samples(&[1.0])]),
        ]);
        let mean = grid.mean(1);
        assert!((mean.value.unwrap() - 1.0).abs() < 1e-12, "of 0.5 and 2: {mean:?}");
        assert_eq!((mean.rows, mean.failed), (2, 0));
        let (ratio, worst) = grid.worst(1).unwrap();
        assert_eq!((format!("{ratio:.2}").as_str(), worst.name.as_str()), ("2.00", "b"));
        let text = grid.to_string();
        assert!(text.contains("| guest | wasmtime plain | Stillframe plain |\n"), "{text}");
        assert!(text.contains("| a | 200.0 ms | 0.50 |\n"), "{text}");
        assert!(text.contains("| a | 200.0 ms | 10.00 |\n"), "{text}");
        assert!(text.contains("| **geometric mean** | | 1.00 |\n"), "{text}");
    }

    #[test]
    fn a_failed_cell_shows_and_the_mean_says_that_it_is_of_fewer_rows() {
        let grid = grid(vec![
            row("good", &[samples(&[0.1]), samples(&[0.2]), Cell::Absent]),
            row("wrong", &[samples(&[0.1]), failed(), Cell::Absent]),
            row("no reference", &[failed(), samples(&[0.3]), failed()]),
        ]);
        let text = grid.to_string();
        assert!(text.contains("| wrong | 100.0 ms | **failed** |"), "{text}");
        assert!(text.contains("| no reference | **failed** | 300.0 ms |"), "{text}");
        assert!(text.contains("| 2.00 (2 failed) |"), "{text}");
        assert!(text.contains("| good | 100.0 ms | — |"), "{text}");
        assert_eq!(grid.mean(1), Mean { value: grid.value(&grid.rows[0], 1), rows: 1, failed: 2 });
    }

    #[test]
    fn every_row_of_a_table_has_as_many_columns() {
        let cells = [samples(&[0.1]), failed(), Cell::Absent];
        let mut grid = grid(vec![row("a", &cells), row("b", &cells)]);
        for group in ["", "calls"] {
            grid.rows[0].group = group;
            for table in grid.to_string().split("\n\n") {
                let bars: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
                assert!(bars.iter().all(|&count| count == bars[0]), "{table}");
            }
        }
    }

    #[test]
    fn without_the_reference_values_are_shown_as_they_are() {
        let mut grid = grid(vec![row("a", &[samples(&[0.2]), samples(&[0.1])])]);
        grid.columns = vec![Configuration::ALL[7], Configuration::ALL[8]];
        let text = grid.to_string();
        assert!(text.contains("| a | 200.0 ms | 100.0 ms |"), "{text}");
    }

    #[test]
    fn noise_is_the_distance_of_medians_from_minima() {
        let grid = grid(vec![row("a", &[samples(&[1.0, 1.0]), samples(&[1.0, 4.0, 4.0])])]);
        let (mean, worst, whose) = grid.noise().unwrap();
        assert!((mean - 2.0).abs() < 1e-12 && worst == 4.0, "{mean}, {worst}");
        assert_eq!(whose, "a, Stillframe plain");
    }
}
