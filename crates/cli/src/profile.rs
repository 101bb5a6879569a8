//! `run --profile`: where a program's fuel goes, as a flame graph.
//!
//! The clock is fuel: the program stands still at the first checkpoint after each `interval` units,
//! its stack is counted, and it goes on. Nothing here depends on time, so each run of a program
//! that does the same gives the same picture.
//!
//! ```text
//!   frames of a stop ─► names, by their places in code ─► stacks with units ─► lines "a;b;c 2000"
//!                       (looked up once each)                                  ─► SVG by `inferno`
//! ```

use crate::report::{counted, grouped};
use crate::{load, pieces};
use anyhow::{Context as _, Result, ensure};
use inferno::flamegraph;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use stillframe::{FrameError, FrameHandle, Frames, ResumableCallOutOfFuel, Store, demangle};

/// So many frames are counted of a deep stack, from the inside and from the outside: recursion
/// 100,000 deep would make a picture that high, and each of its depths another stack.
const INNERMOST: usize = 64;
const OUTERMOST: usize = 192;
/// Stands for the frames between them.
const DEEPER: &str = "(deeper)";

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Format {
    /// A flame graph.
    Svg,
    /// A line for each stack, as tools for flame graphs read it.
    Folded,
}

/// Counts the stacks of one program.
pub(crate) struct Profile {
    file: PathBuf,
    format: Format,
    program: String,
    /// Units between two samples.
    interval: u64,
    /// Units that may still be handed out, if there is a limit.
    left: Option<u64>,
    samples: u64,
    /// Units by stack, outermost function first, by index into `names`.
    stacks: BTreeMap<Vec<u32>, u64>,
    names: Names,
}

/// The functions that were met.
#[derive(Default)]
struct Names {
    list: Vec<String>,
    indices: HashMap<String, u32>,
    /// By function and place in the module: the function there, and what is inlined in it,
    /// outermost first. There is only one module: the system interface is none.
    places: HashMap<(u32, u32), Vec<u32>>,
}

impl Profile {
    /// Counts for `file`, each `interval` units.
    ///
    /// # Errors
    ///
    /// If the file could not be written, or its name does not say what it is to be.
    pub(crate) fn new(file: &Path, interval: u64, program: &Path) -> Result<Profile> {
        ensure!(interval != 0, "--profile-interval must be at least 1: with 0 nothing would move");
        let format = Format::of(file)?;
        load::check_writable(file)?;
        let name = program.file_name().unwrap_or(program.as_os_str());
        Ok(Profile {
            file: file.to_path_buf(),
            format,
            program: name.to_string_lossy().into_owned(),
            interval,
            left: None,
            samples: 0,
            stacks: BTreeMap::new(),
            names: Names::default(),
        })
    }

    /// Gives `store` its first piece, of `limit` units in all, if there is a limit.
    pub(crate) fn start<T>(&mut self, store: &mut Store<T>, limit: Option<u64>) -> Result<()> {
        let first = limit.map_or(self.interval, |limit| limit.min(self.interval));
        self.left = limit.map(|limit| limit - first);
        store.set_fuel(first)
    }

    /// Counts the stack of a call that has used up its piece, and answers its next one: at least
    /// `missing` units, or `None` if there are not so many.
    pub(crate) fn next<T: 'static>(
        &mut self,
        store: &Store<T>,
        call: &ResumableCallOutOfFuel,
        missing: u64,
    ) -> Result<Option<u64>> {
        if self.left.is_some_and(|left| left < missing) {
            return Ok(None);
        }
        // An operator that takes several pieces at once, as `memory.fill` can, has them counted
        // where it stands.
        let due = pieces::whole(self.interval, missing);
        let stack = self.stack(store, call.frames(store)?)?;
        *self.stacks.entry(stack).or_default() += due;
        self.samples += due / self.interval;
        let granted = self.left.map_or(due, |left| left.min(due));
        self.left = self.left.map(|left| left - granted);
        Ok(Some(granted))
    }

    /// The functions of a stack, outermost first.
    fn stack<T: 'static>(
        &mut self,
        store: &Store<T>,
        frames: Frames<'_>,
    ) -> Result<Vec<u32>, FrameError> {
        let (mut innermost, mut outermost) = (Vec::new(), VecDeque::new());
        let mut deeper = false;
        for frame in frames {
            if innermost.len() < INNERMOST {
                innermost.push(frame);
                continue;
            }
            if outermost.len() == OUTERMOST {
                outermost.pop_front();
                deeper = true;
            }
            outermost.push_back(frame);
        }
        let mut stack = Vec::new();
        for frame in outermost.iter().rev() {
            stack.extend_from_slice(self.names.at(store, frame)?);
        }
        if deeper {
            stack.push(self.names.index(DEEPER));
        }
        for frame in innermost.iter().rev() {
            stack.extend_from_slice(self.names.at(store, frame)?);
        }
        Ok(stack)
    }

    /// Writes the file when the program has ended, and answers what to say about it.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub(crate) fn finish<T>(self, store: &Store<T>) -> Result<String> {
        let units = store.fuel_consumed()?;
        let all = counted(units, "unit");
        let file = self.file.display();
        if self.samples == 0 {
            return Ok(format!(
                "profile: no samples: the program took {all}, and --profile-interval is {}; {file} \
                 was not written",
                grouped(self.interval)
            ));
        }
        let lines = self.lines();
        let bytes = match self.format {
            Format::Folded => lines.into_bytes(),
            Format::Svg => self.picture(&lines, units).context("cannot draw the flame graph")?,
        };
        fs::write(&self.file, bytes).with_context(|| format!("cannot write {file}"))?;
        let samples = counted(self.samples, "sample");
        Ok(format!(
            "profile: {samples}, one per {}, {all} in all: {file}",
            counted(self.interval, "unit")
        ))
    }

    /// The stacks, a line each, sorted.
    fn lines(&self) -> String {
        let line = |(stack, units): (&Vec<u32>, &u64)| {
            let names: Vec<&str> =
                stack.iter().map(|&name| &*self.names.list[name as usize]).collect();
            (names.join(";"), *units)
        };
        let lines: BTreeMap<String, u64> = self.stacks.iter().map(line).collect();
        let mut text = String::new();
        for (stack, units) in lines {
            let _ = writeln!(text, "{stack} {units}");
        }
        text
    }

    fn picture(&self, lines: &str, units: u64) -> std::io::Result<Vec<u8>> {
        let mut options = flamegraph::Options::default();
        options.title = format!("Fuel of {}", self.program);
        options.subtitle = Some(format!(
            "{} in all, a sample per {}",
            counted(units, "unit"),
            counted(self.interval, "unit")
        ));
        options.count_name = "units of fuel".to_string();
        // Colours by name, not by chance.
        options.deterministic = true;
        let mut svg = Vec::new();
        flamegraph::from_lines(&mut options, lines.lines(), &mut svg)?;
        Ok(svg)
    }
}

impl Format {
    fn of(file: &Path) -> Result<Format> {
        let extension = file.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("svg") => Ok(Format::Svg),
            Some("folded" | "txt") => Ok(Format::Folded),
            _ => anyhow::bail!(
                "cannot tell what {} is to be: use .svg for a flame graph, .folded or .txt for \
                 stacks as text",
                file.display()
            ),
        }
    }
}

impl Names {
    /// The functions of a frame: what the guest's compiler inlined comes after what it is inlined
    /// in.
    fn at<T: 'static>(
        &mut self,
        store: &Store<T>,
        frame: &FrameHandle,
    ) -> Result<&[u32], FrameError> {
        let place = (frame.func_index(store)?, frame.wasm_pc(store)?);
        if !self.places.contains_key(&place) {
            let own = match frame.func_name(store)? {
                Some(name) => demangle(name).into_owned(),
                None => format!("<wasm function {}>", place.0),
            };
            let symbols = frame.source(store)?;
            let mut functions: Vec<u32> = Vec::new();
            for symbol in symbols.iter().rev() {
                functions.push(self.index(symbol.name().unwrap_or(&own)));
            }
            if functions.is_empty() {
                functions.push(self.index(&own));
            }
            self.places.insert(place, functions);
        }
        Ok(&self.places[&place])
    }

    fn index(&mut self, name: &str) -> u32 {
        let name = folded_name(name);
        if let Some(&index) = self.indices.get(&name) {
            return index;
        }
        let index = self.list.len() as u32;
        self.list.push(name.clone());
        self.indices.insert(name, index);
        index
    }
}

/// A function's name as it can stand in a folded line: `;` separates names there, and a number
/// behind the last space is the count.
fn folded_name(name: &str) -> String {
    let mut name = name.replace(';', ":").replace(|c: char| c.is_control(), " ");
    if let Some((before, last)) = name.rsplit_once(' ')
        && last.chars().all(|c| c.is_ascii_digit() || c == '.')
    {
        name = format!("{before}_{last}");
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn format_is_the_files_extension() {
        assert_eq!(Format::of(Path::new("a/b.svg")).unwrap(), Format::Svg);
        assert_eq!(Format::of(Path::new("b.folded")).unwrap(), Format::Folded);
        assert_eq!(Format::of(Path::new("b.txt")).unwrap(), Format::Folded);
        for bad in ["b", "b.png", "svg", ".svg"] {
            assert!(Format::of(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_do_not_break_lines() {
        assert_eq!(folded_name("core::ptr::drop<[u8; 4]>"), "core::ptr::drop<[u8: 4]>");
        assert_eq!(folded_name("case 5"), "case_5");
        assert_eq!(folded_name("a\nb"), "a b");
        assert_eq!(folded_name("operator new(unsigned long)"), "operator new(unsigned long)");
    }

    #[test]
    fn stacks_with_equal_names_are_one_line() {
        let mut names = Names::default();
        let (a, b) = (names.index("a"), names.index("b"));
        assert_eq!(names.index("a"), a);
        let stacks = BTreeMap::from([(vec![b], 1), (vec![a, b], 20), (vec![a], 300)]);
        let profile = Profile {
            file: PathBuf::new(),
            format: Format::Folded,
            program: String::new(),
            interval: 1,
            left: None,
            samples: 0,
            stacks,
            names,
        };
        assert_eq!(profile.lines(), "a 300\na;b 20\nb 1\n");
    }
}
