//! The targets, and whether they are met.

use crate::cell::ABSENT;
use crate::configuration::{Configuration, Engine, Frames};
use crate::grid::{Grid, Quantity};
use std::fmt;

/// A row of the summary.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    what: String,
    theirs: String,
    ours: String,
    target: String,
    met: Met,
}

/// Whether a target is met.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Met {
    /// There is no target; the row stands beside the others.
    NoTarget,
    Yes,
    No,
    /// So many rows failed, which the number says nothing of.
    Failed(usize),
    NotMeasured,
}

/// A target for the geometric mean of a column.
struct Target {
    what: &'static str,
    quantity: Quantity,
    ours: Configuration,
    theirs: Configuration,
    /// Nothing for what is only told.
    limit: Option<f64>,
}

const fn setting(engine: Engine, fuel: bool, epoch: bool, frames: Frames) -> Configuration {
    Configuration { engine, fuel, epoch, frames, inlining: false }
}

/// One engine's setting beside the other's.
const fn run(what: &'static str, metering: [bool; 2], ours: Frames, limit: Option<f64>) -> Target {
    let [fuel, epoch] = metering;
    let theirs = if matches!(ours, Frames::Off) { Frames::Off } else { Frames::All };
    Target {
        what,
        quantity: Quantity::Run,
        ours: setting(Engine::Stillframe, fuel, epoch, ours),
        theirs: setting(Engine::Wasmtime, fuel, epoch, theirs),
        limit,
    }
}

/// With everything on.
const fn full(what: &'static str, quantity: Quantity, limit: Option<f64>) -> Target {
    let run = run(what, [true, true], Frames::Live, limit);
    Target { quantity, ..run }
}

const TARGETS: [Target; 13] = [
    run("plain", [false, false], Frames::Off, Some(0.97)),
    run("fuel", [true, false], Frames::Off, Some(1.06)),
    run("epoch", [false, true], Frames::Off, Some(1.03)),
    run("fuel + epoch", [true, true], Frames::Off, Some(1.06)),
    run("fuel + epoch + frames it can read (`Live`)", [true, true], Frames::Live, Some(1.15)),
    run("frames `Live`, no metering", [false, false], Frames::Live, None),
    run("frames `All`, no metering", [false, false], Frames::All, Some(1.30)),
    run("frames `Live` that can be written, no metering", [false, false], Frames::LiveWrites, None),
    run("fuel + epoch + `Live` that can be written", [true, true], Frames::LiveWrites, None),
    full(
        "compile time, fuel + epoch + `Live`, one thread",
        Quantity::Compile { parallel: false },
        Some(1.4),
    ),
    full(
        "compile time, fuel + epoch + `Live`, all threads",
        Quantity::Compile { parallel: true },
        Some(1.4),
    ),
    full("code size, fuel + epoch + `Live`", Quantity::Code, Some(1.7)),
    full("load time, fuel + epoch + `Live`", Quantity::Load, None),
];

/// No guest may be slower than this with everything on.
pub const WORST: f64 = 1.5;

/// The target for the mean run time of a configuration, if it has one.
pub fn target_of(configuration: Configuration) -> Option<f64> {
    let is_its = |target: &&Target| {
        target.quantity == Quantity::Run && target.ours == configuration && target.limit.is_some()
    };
    TARGETS.iter().find(is_its)?.limit
}

/// What instantiating the small module takes, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Instantiation {
    /// In Stillframe, by a linker, and by what it makes of the module beforehand.
    pub ours: [Option<f64>; 2],
    /// In wasmtime, by a linker.
    pub theirs: Option<f64>,
    /// In wasmtime with its pooling allocator, by a linker.
    pub pooled: Option<f64>,
    /// Whether one of Stillframe's failed.
    pub failed: bool,
}

/// Nanoseconds.
const INSTANTIATE: f64 = 3000.0;

/// The rows: of what was measured, or "not measured".
pub fn lines(grids: &[Grid], instantiation: Option<Instantiation>) -> Vec<Line> {
    let grid = |quantity| grids.iter().find(|grid| grid.quantity == quantity);
    let mut lines: Vec<_> =
        TARGETS.iter().map(|target| target.line(grid(target.quantity))).collect();
    lines.insert(9, worst_guest(grid(Quantity::Run)));
    lines.push(instantiate(instantiation));
    lines
}

impl Target {
    fn line(&self, grid: Option<&Grid>) -> Line {
        let mean =
            |configuration| grid.and_then(|grid| Some(grid.mean(grid.column(configuration)?)));
        let shown = |configuration| match mean(configuration).and_then(|mean| mean.value) {
            Some(value) => format!("{value:.2}"),
            None => ABSENT.to_string(),
        };
        let mut theirs = shown(self.theirs);
        if self.theirs == Configuration::REFERENCE {
            let inlining = Configuration { inlining: true, ..Configuration::REFERENCE };
            theirs += &format!(" (with its inliner {})", shown(inlining));
        }
        let ours = mean(self.ours);
        let met = match (ours.and_then(|mean| mean.value), ours.map_or(0, |mean| mean.failed)) {
            (_, failed) if failed > 0 => Met::Failed(failed),
            (None, _) => Met::NotMeasured,
            (Some(value), _) => Met::of(value, self.limit),
        };
        Line {
            what: self.what.into(),
            theirs,
            ours: shown(self.ours),
            target: self.limit.map_or_else(String::new, |limit| format!("≤ {limit:.2}")),
            met,
        }
    }
}

impl Met {
    fn of(value: f64, limit: Option<f64>) -> Met {
        match limit {
            None => Met::NoTarget,
            // As many digits as are shown: 1.0649 is told as 1.06.
            Some(limit) if (value * 100.0).round() <= (limit * 100.0).round() => Met::Yes,
            Some(_) => Met::No,
        }
    }
}

fn worst_guest(grid: Option<&Grid>) -> Line {
    let worst = |engine, frames| {
        let grid = grid?;
        grid.worst(grid.column(setting(engine, true, true, frames))?)
    };
    let shown = |engine, frames| match worst(engine, frames) {
        Some((ratio, row)) => format!("{ratio:.2} ({})", row.name),
        None => ABSENT.to_string(),
    };
    let column = grid.and_then(|grid| {
        let ours = setting(Engine::Stillframe, true, true, Frames::Live);
        Some(grid.mean(grid.column(ours)?).failed)
    });
    Line {
        what: "the slowest guest, fuel + epoch + `Live`".into(),
        theirs: shown(Engine::Wasmtime, Frames::All),
        ours: shown(Engine::Stillframe, Frames::Live),
        target: format!("≤ {WORST:.2}"),
        met: match (worst(Engine::Stillframe, Frames::Live), column.unwrap_or(0)) {
            (_, failed) if failed > 0 => Met::Failed(failed),
            (None, _) => Met::NotMeasured,
            (Some((ratio, _)), _) => Met::of(ratio, Some(WORST)),
        },
    }
}

fn instantiate(instantiation: Option<Instantiation>) -> Line {
    let shown = |nanos: Option<f64>| {
        nanos.map_or_else(|| ABSENT.to_string(), |nanos| format!("{:.2} µs", nanos / 1e3))
    };
    let known = instantiation.unwrap_or(Instantiation {
        ours: [None; 2],
        theirs: None,
        pooled: None,
        failed: false,
    });
    let [by_linker, pre] = known.ours;
    Line {
        what: "instantiate a small module, store included".into(),
        theirs: format!("{}, pooled {}", shown(known.theirs), shown(known.pooled)),
        ours: format!("{} (by `InstancePre` {})", shown(by_linker), shown(pre)),
        target: format!("≤ {:.0} µs", INSTANTIATE / 1e3),
        met: match by_linker {
            _ if known.failed => Met::Failed(1),
            None => Met::NotMeasured,
            Some(nanos) if nanos <= INSTANTIATE => Met::Yes,
            Some(_) => Met::No,
        },
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Met::NoTarget => Ok(()),
            Met::Yes => f.write_str("met"),
            Met::No => f.write_str("**not met**"),
            Met::Failed(count) => write!(f, "**{count} failed**"),
            Met::NotMeasured => f.write_str("not measured"),
        }
    }
}

/// The summary as a table.
pub struct Summary<'a>(pub &'a [Line]);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | wasmtime, same setting | Stillframe | target | |\n|---|--:|--:|--:|---|")?;
        for Line { what, theirs, ours, target, met } in self.0 {
            writeln!(f, "| {what} | {theirs} | {ours} | {target} | {met} |")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;
    use crate::grid::Row;

    fn everything() -> Configuration {
        setting(Engine::Stillframe, true, true, Frames::Live)
    }

    fn grid(ours: &[Cell]) -> Grid {
        let rows = ours.iter().enumerate().map(|(at, cell)| Row {
            name: format!("guest{at}"),
            group: "calls",
            cells: vec![Cell::Samples(vec![1.0]), cell.clone()],
        });
        let columns = vec![Configuration::REFERENCE, everything()];
        Grid { quantity: Quantity::Run, columns, rows: rows.collect() }
    }

    fn told(grids: &[Grid], what: &str) -> String {
        let lines = lines(grids, None);
        let text = Summary(&lines).to_string();
        let line = text.lines().find(|line| line.contains(what));
        line.unwrap_or_else(|| panic!("no {what} in {text}")).into()
    }

    #[test]
    fn every_target_names_columns_that_exist() {
        for target in &TARGETS {
            for column in [target.ours, target.theirs] {
                assert!(Configuration::ALL.contains(&column), "{}: {column}", target.what);
            }
        }
    }

    #[test]
    fn a_target_is_met_by_the_mean_and_the_slowest_guest_by_itself() {
        let samples = |value: f64| Cell::Samples(vec![value]);
        let grids = [grid(&[samples(0.8), samples(1.51)])];
        let all_on = told(&grids, "frames it can read");
        assert!(all_on.contains("| 1.10 | ≤ 1.15 | met |"), "{all_on}");
        let slowest = told(&grids, "slowest guest");
        assert!(slowest.contains("| 1.51 (guest1) | ≤ 1.50 | **not met** |"), "{slowest}");
        assert!(told(&grids, "| plain ").contains("not measured"));
        assert!(told(&grids, "instantiate").contains("not measured"));
    }

    #[test]
    fn what_is_shown_as_the_limit_meets_it_and_more_does_not() {
        assert_eq!(Met::of(1.0649, Some(1.06)), Met::Yes);
        assert_eq!(Met::of(1.0651, Some(1.06)), Met::No);
        assert_eq!(Met::of(9.0, None), Met::NoTarget);
    }

    #[test]
    fn with_a_failed_guest_no_target_is_met() {
        let grids = [grid(&[Cell::Samples(vec![0.5]), Cell::Failed("trap".into())])];
        for what in ["frames it can read", "slowest guest"] {
            let line = told(&grids, what);
            assert!(line.contains("**1 failed**"), "{line}");
        }
    }

    #[test]
    fn instantiation_is_held_to_the_linker_and_not_to_what_is_prepared() {
        let mut known = Instantiation {
            ours: [Some(3100.0), Some(2000.0)],
            theirs: Some(16_000.0),
            pooled: None,
            failed: false,
        };
        let line = |known| Summary(&[instantiate(Some(known))]).to_string();
        let text = line(known);
        assert!(text.contains("16.00 µs, pooled — | 3.10 µs (by `InstancePre` 2.00 µs)"), "{text}");
        assert!(text.contains("**not met**"), "{text}");
        known.ours[0] = Some(2900.0);
        assert!(line(known).contains("| met |"));
        known.failed = true;
        assert!(line(known).contains("failed"));
    }
}
