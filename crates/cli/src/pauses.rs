//! `run --resume`: what is said each time that a call has used up a piece of its fuel.

use crate::pieces;
use crate::postmortem::PostMortem;
use crate::report::{Frames, counted, grouped};
use crate::stack::Stack;
use anyhow::Result;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};
use stillframe::{FrameInfo, ResumableCallOutOfFuel, Store};

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

    /// Says where a call stands that has used up its piece, and answers its next one: at least
    /// `missing` units.
    pub(crate) fn next<T: 'static>(
        &mut self,
        store: &Store<T>,
        call: &ResumableCallOutOfFuel,
        missing: u64,
        postmortem: &PostMortem,
    ) -> Result<u64> {
        let backtrace = call.backtrace(store)?;
        let innermost = backtrace.frames().first();
        self.tally.add(innermost);
        let due = self.tally.pauses <= FIRST || self.last_shown.elapsed() >= INTERVAL;
        if self.verbose || due {
            let place = match (self.verbose, innermost) {
                (true, _) if postmortem.shows_frames() => {
                    postmortem.render(&Stack::of_frames(store, call.frames(store)?)?)
                }
                (true, _) => Frames(&backtrace).to_string(),
                (false, Some(frame)) => format!(" {}", place(&frame.to_string())),
                (false, None) => String::new(),
            };
            let (number, units) = (grouped(self.tally.pauses), store.fuel_consumed()?);
            say(&format!("pause {number} after {}:{place}", counted(units, "unit")));
            self.shown += 1;
            self.last_shown = Instant::now();
        }
        Ok(pieces::whole(self.piece, missing))
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
