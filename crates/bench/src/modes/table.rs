//! The report: a table of geometric means, and one for each quantity with a row for each program.

use super::setting::Mode;
use crate::cell::{Cell, Failures};
use std::fmt::{self, Write as _};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Quantity {
    /// Seconds that a program runs.
    Run,
    /// Seconds that a module compiles, with one thread or all of them.
    Compile { parallel: bool },
    /// Bytes of machine code.
    Code,
    /// Bytes of the frame table for each byte of machine code.
    FrameTable,
}

impl Quantity {
    pub(super) const ALL: [Quantity; 5] = [
        Quantity::Run,
        Quantity::Compile { parallel: false },
        Quantity::Compile { parallel: true },
        Quantity::Code,
        Quantity::FrameTable,
    ];

    fn name(self) -> &'static str {
        match self {
            Quantity::Run => "run time",
            Quantity::Compile { parallel: false } => "compile time, one thread",
            Quantity::Compile { parallel: true } => "compile time, all threads",
            Quantity::Code => "code size",
            Quantity::FrameTable => "frame table, bytes per byte of code",
        }
    }

    /// Whether the rows are modules, not programs.
    pub(super) fn is_of_modules(self) -> bool {
        self != Quantity::Run
    }

    /// A value by itself.
    fn number(self, value: f64) -> String {
        match self {
            Quantity::Run | Quantity::Compile { .. } => format!("{:.1} ms", value * 1e3),
            Quantity::Code if value < 99_500.0 => format!("{:.1} kB", value / 1e3),
            Quantity::Code => format!("{:.0} kB", value / 1e3),
            Quantity::FrameTable => format!("{value:.3}"),
        }
    }

    /// A value beside that of the first column.
    fn beside(self, value: f64, first: Option<f64>) -> String {
        match (self, first) {
            (Quantity::FrameTable, _) | (_, None) => self.number(value),
            (_, Some(first)) => format!("{:.2}×", value / first),
        }
    }
}

/// One quantity with or without metering: a table.
pub(super) struct Table {
    pub(super) quantity: Quantity,
    pub(super) metered: bool,
    pub(super) rows: Vec<Row>,
}

/// One program or module; the cells are in the order of [`Mode::ALL`].
pub(super) struct Row {
    pub(super) name: String,
    pub(super) cells: [Cell; Mode::ALL.len()],
}

impl Table {
    fn title(&self) -> String {
        let metering = if self.metered { "fuel and epochs" } else { "no metering" };
        format!("{}, {metering}", self.quantity.name())
    }

    /// By mode: the geometric mean of the ratios to the first mode (of the frame tables: of the
    /// values), over the rows that have both.
    fn means(&self) -> [Option<f64>; Mode::ALL.len()] {
        std::array::from_fn(|mode| {
            let logarithms = self.rows.iter().filter_map(|row| {
                let (first, value) = (row.cells[0].minimum()?, row.cells[mode].minimum()?);
                let ratio = match self.quantity {
                    Quantity::FrameTable => value,
                    _ => value / first,
                };
                Some(ratio.ln())
            });
            let logarithms: Vec<_> = logarithms.collect();
            let count = logarithms.len() as f64;
            (count > 0.0).then(|| (logarithms.iter().sum::<f64>() / count).exp())
        })
    }

    fn write_means(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        write!(f, "| {name} |")?;
        for mean in self.means() {
            match (mean, self.quantity) {
                (None, _) => write!(f, " — |")?,
                (Some(mean), Quantity::FrameTable) => write!(f, " {mean:.3} |")?,
                (Some(mean), _) => write!(f, " {mean:.2}× |")?,
            }
        }
        writeln!(f)
    }
}

fn write_header(f: &mut fmt::Formatter<'_>, first: &str) -> fmt::Result {
    write!(f, "| {first} |")?;
    Mode::ALL.iter().try_for_each(|mode| write!(f, " {} |", mode.name()))?;
    write!(f, "\n|---|")?;
    Mode::ALL.iter().try_for_each(|_| f.write_str("--:|"))?;
    writeln!(f)
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = if self.quantity.is_of_modules() { "module" } else { "program" };
        write_header(f, first)?;
        for row in &self.rows {
            write!(f, "| {} |", row.name)?;
            let first = row.cells[0].minimum();
            for (at, cell) in row.cells.iter().enumerate() {
                let text = match (cell, cell.minimum()) {
                    (Cell::Failed(_), _) => "**failed**".into(),
                    (_, None) => "—".into(),
                    (_, Some(value)) if at == 0 => self.quantity.number(value),
                    (_, Some(value)) => self.quantity.beside(value, first),
                };
                write!(f, " {text} |")?;
            }
            writeln!(f)?;
        }
        self.write_means(f, "**geometric mean**")
    }
}

/// The whole report.
pub(super) struct Report {
    /// What was measured with what, a line each.
    pub(super) header: Vec<String>,
    pub(super) tables: Vec<Table>,
    /// What was left out and why, a line each.
    pub(super) skipped: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.header.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        writeln!(f)?;
        write_header(f, "geometric mean")?;
        self.tables.iter().try_for_each(|table| table.write_means(f, &table.title()))?;
        let mut failures = Failures::default();
        let mut noise = String::new();
        for table in &self.tables {
            let title = table.title();
            write!(f, "\n#### {}{}\n\n{table}", title[..1].to_uppercase(), &title[1..])?;
            let mut worst: Option<(f64, &str)> = None;
            for row in &table.rows {
                for (mode, cell) in Mode::ALL.iter().zip(&row.cells) {
                    let (name, mode) = (&row.name, mode.name());
                    failures.note(format_args!("{title}, {name}, {mode}"), cell);
                    if let (Some(minimum), Some(median)) = (cell.minimum(), cell.median()) {
                        let spread = median / minimum;
                        if minimum > 0.0 && worst.is_none_or(|(before, _)| spread > before) {
                            worst = Some((spread, name));
                        }
                    }
                }
            }
            if let Some((spread, name)) = worst.filter(|&(spread, _)| spread > 1.0) {
                let _ = writeln!(noise, "- {title}: {spread:.2}, of {name}");
            }
        }
        if !noise.is_empty() {
            write!(f, "\nHow far medians are above minima, at most:\n\n{noise}")?;
        }
        if !self.skipped.is_empty() {
            write!(f, "\nLeft out:\n\n")?;
            self.skipped.iter().try_for_each(|line| writeln!(f, "- {line}"))?;
        }
        write!(f, "{failures}")
    }
}
