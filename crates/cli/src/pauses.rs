//! `run --resume`: a call that gets its fuel in pieces, and what is said each time it stands still.

use crate::report::{Frames, grouped};
use crate::timeout::Timeout;
use anyhow::{Error, Result, bail};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};
use stillframe::{FrameInfo, Func, ResumableCall, Store, Trap, Val, WasmBacktrace};

/// So many pauses are shown in any case.
const FIRST: u64 = 10;
/// After them, one is shown when the last one was so long ago.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many functions the summary names.
const TOP: usize = 8;

/// The pauses of one program.
pub(crate) struct Pauses {
    /// Units of fuel between two pauses.
    piece: u64,
    /// Show every pause, with all its frames.
    verbose: bool,
    tally: Tally,
    shown: u64,
    last_shown: Instant,
}

/// How often the program stood in which function.
#[derive(Default)]
struct Tally {
    pauses: u64,
    /// The functions' names and numbers of pauses, by index.
    functions: HashMap<u32, (String, u64)>,
}

impl Pauses {
    /// Gives `store` its first piece.
    pub(crate) fn new<T>(store: &mut Store<T>, piece: u64, verbose: bool) -> Result<Pauses> {
        store.set_fuel(piece)?;
        let (tally, last_shown) = (Tally::default(), Instant::now());
        Ok(Pauses { piece, verbose, tally, shown: 0, last_shown })
    }

    /// Calls `func`, and lets it go on each time that it runs out of fuel.
    pub(crate) fn call<T>(
        &mut self,
        store: &mut Store<T>,
        timeout: Option<&Timeout>,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let mut call = func.call_resumable(&mut *store, params, results)?;
        loop {
            call = match call {
                ResumableCall::Finished => return Ok(()),
                ResumableCall::OutOfFuel(paused) => {
                    let backtrace = paused.backtrace(&*store)?;
                    self.pause(store.fuel_consumed()?, &backtrace);
                    // It would be found out a piece later.
                    if timeout.is_some_and(Timeout::is_up) {
                        return Err(Error::new(Trap::Interrupt).context(backtrace));
                    }
                    let missing = paused.required_fuel() - store.get_fuel()?;
                    store.add_fuel(to_add(self.piece, missing))?;
                    paused.resume(&mut *store, results)?
                }
                // The program exits, or the system interface failed.
                ResumableCall::HostTrap(ended) => {
                    let backtrace = ended.backtrace(&*store)?;
                    return Err(ended.into_host_error().context(backtrace));
                }
                ResumableCall::Interrupted(call) => bail!("an epoch suspended it: {call:?}"),
            };
        }
    }

    fn pause(&mut self, units: u64, backtrace: &WasmBacktrace) {
        let innermost = backtrace.frames().first();
        self.tally.add(innermost);
        let due = self.tally.pauses <= FIRST || self.last_shown.elapsed() >= INTERVAL;
        if !self.verbose && !due {
            return;
        }
        self.shown += 1;
        self.last_shown = Instant::now();
        let (number, units) = (grouped(self.tally.pauses), counted(units, "unit"));
        let place = match (self.verbose, innermost) {
            (true, _) => Frames(backtrace).to_string(),
            (false, Some(frame)) => format!(" {}", place(&frame.to_string())),
            (false, None) => String::new(),
        };
        say(&format!("pause {number} after {units}:{place}"));
    }

    /// Says how many pauses and units there were, when the program has ended.
    pub(crate) fn finish<T>(self, store: &Store<T>) -> Result<()> {
        say(&self.tally.summary(store.fuel_consumed()?, self.shown < self.tally.pauses));
        Ok(())
    }
}

/// Writes a line to standard error. That it cannot be written is no reason to stop the program.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// `1 unit`, `2 units`.
fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// As many pieces as it takes to have `missing` units more.
fn to_add(piece: u64, missing: u64) -> u64 {
    missing.div_ceil(piece).max(1).saturating_mul(piece)
}

impl Tally {
    fn add(&mut self, frame: Option<&FrameInfo>) {
        self.pauses += 1;
        if let Some(frame) = frame {
            let entry = self.functions.entry(frame.func_index());
            entry.or_insert_with(|| (function(&frame.to_string()).to_string(), 0)).1 += 1;
        }
    }

    /// The last words, with or without the functions in which it stood.
    fn summary(&self, units: u64, functions: bool) -> String {
        let mut text =
            format!("{}, {} in all", counted(self.pauses, "pause"), counted(units, "unit"));
        if !functions {
            return text;
        }
        text.push_str("; it stood most often in:");
        let mut functions: Vec<_> = self.functions.iter().collect();
        functions.sort_by_key(|(index, (_, count))| (u64::MAX - count, **index));
        let (named, others) = functions.split_at(functions.len().min(TOP));
        let mut line = |count: u64, what: &str| {
            let share = count as f64 * 100.0 / self.pauses as f64;
            let _ = write!(text, "\n{share:>7.1} %  {what}");
        };
        for (_, (name, count)) in named {
            line(*count, name);
        }
        if !others.is_empty() {
            let count = others.iter().map(|(_, (_, count))| count).sum();
            line(count, &format!("({} other functions)", others.len()));
        }
        text
    }
}

/// Where a frame stands, on one line: `0x1a3 - module!function at file.rs:3:5`. `frame` is what it
/// prints: that, a line with the source position, and then what it is inlined in.
fn place(frame: &str) -> String {
    let mut lines = frame.lines().map(str::trim);
    let first = lines.next().unwrap_or_default();
    match lines.next().filter(|line| line.starts_with("at ")) {
        Some(position) => format!("{first} {position}"),
        None => first.to_string(),
    }
}

/// The name of the same frame's function, without what is inlined there.
fn function(frame: &str) -> &str {
    let last = frame.lines().map(str::trim).rfind(|line| !line.starts_with("at "));
    last.and_then(|line| line.split_once(" - ")).map_or("(unknown)", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_added_whole_until_there_is_enough() {
        assert_eq!(to_add(10, 1), 10);
        assert_eq!(to_add(10, 10), 10);
        assert_eq!(to_add(10, 11), 20);
        assert_eq!(to_add(1, 5), 5);
        assert_eq!(to_add(u64::MAX - 1, u64::MAX), u64::MAX);
    }

    #[test]
    fn place_has_the_source_line_and_function_leaves_out_what_is_inlined() {
        let bare = "   0x1a3 - m!func";
        assert_eq!((&*place(bare), function(bare)), ("0x1a3 - m!func", "m!func"));
        let inlined = "   0x1a3 - m!leaf\n                  at a - b.rs:3:5\n        inlined - func\n\
                       \x20                 at b.rs:10";
        assert_eq!(place(inlined), "0x1a3 - m!leaf at a - b.rs:3:5");
        assert_eq!(function(inlined), "func");
    }

    #[test]
    fn summary_names_the_functions_that_were_met_most() {
        let mut tally = Tally::default();
        assert_eq!(tally.summary(1, false), "0 pauses, 1 unit in all");
        for (index, count) in [(3, 2), (1, 1), (2, 1)] {
            tally.functions.insert(index, (format!("m!f{index}"), count));
            tally.pauses += count;
        }
        assert_eq!(
            tally.summary(1234, true),
            "4 pauses, 1,234 units in all; it stood most often in:\n   50.0 %  m!f3\n   \
             25.0 %  m!f1\n   25.0 %  m!f2"
        );
        // Nine functions, once each, besides: eight are named, the largest first.
        for index in 10..19 {
            tally.functions.insert(index, (format!("m!f{index}"), 4));
            tally.pauses += 4;
        }
        let text = tally.summary(0, true);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!((lines.len(), lines[1]), (10, "   10.0 %  m!f10"));
        // f18 with 4, f3 with 2, f1 and f2 with 1 each: 8 of 40.
        assert_eq!(lines[9], "   20.0 %  (4 other functions)");
    }
}
