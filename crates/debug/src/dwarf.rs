//! Source positions: what the guest's DWARF says of a wasm pc.
//!
//! The sections come from the guest and can be anything. The parsers we use report damage as
//! errors; should one of them panic nonetheless, the panic ends here and the module counts as one
//! without DWARF from then on.

use crate::names::demangle;
use addr2line::{Context, Frame};
use gimli::{Dwarf, EndianArcSlice, LittleEndian, SectionId};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

pub(crate) type Reader = EndianArcSlice<LittleEndian>;

/// A function and a source position, by the guest's DWARF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FrameSymbol {
    name: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    column: Option<u32>,
}

impl FrameSymbol {
    /// The function's name, demangled.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The source file, as the guest's compiler named it.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// The line; the first is 1.
    pub fn line(&self) -> Option<u32> {
        self.line
    }

    /// The column; the first is 1.
    pub fn column(&self) -> Option<u32> {
        self.column
    }

    fn of(frame: &Frame<'_, Reader>) -> FrameSymbol {
        let name = frame.function.as_ref().and_then(|name| name.raw_name().ok());
        let place = frame.location.as_ref();
        FrameSymbol {
            name: name.map(|name| demangle(&name).into_owned()),
            file: place.and_then(|place| place.file).map(String::from),
            // DWARF's 0 means "none".
            line: place.and_then(|place| place.line).filter(|&line| line > 0),
            column: place.and_then(|place| place.column).filter(|&column| column > 0),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_test(
        name: Option<&str>,
        file: Option<&str>,
        line: Option<u32>,
        column: Option<u32>,
    ) -> FrameSymbol {
        let (name, file) = (name.map(String::from), file.map(String::from));
        FrameSymbol { name, file, line, column }
    }
}

/// A place in the source, as the guest's compiler named it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SourceLocation {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
    pub(crate) column: Option<u32>,
}

/// A module's DWARF, parsed as far as it was needed.
pub(crate) struct SourceMap {
    /// `None` if the module's DWARF is unusable. The parser's caches are not `Sync`.
    parsed: Mutex<Option<Parsed>>,
}

/// DWARF that was good enough to begin with.
pub(crate) struct Parsed {
    /// Finds functions and lines.
    pub(crate) context: Context<Reader>,
    /// The sections.
    pub(crate) dwarf: Arc<Dwarf<Reader>>,
}

impl SourceMap {
    /// Reads the index of units; everything else is read when it is asked for.
    pub(crate) fn new(sections: &[(String, Arc<[u8]>)]) -> SourceMap {
        let parsed = catch_unwind(|| {
            let load = |id: SectionId| {
                let found = sections.iter().find(|(name, _)| name == id.name());
                let bytes = found.map_or_else(Arc::default, |(_, bytes)| bytes.clone());
                Ok(EndianArcSlice::new(bytes, LittleEndian))
            };
            let dwarf: Result<Dwarf<Reader>, gimli::Error> = Dwarf::load(load);
            let dwarf = Arc::new(dwarf.ok()?);
            let context = Context::from_arc_dwarf(dwarf.clone()).ok()?;
            Some(Parsed { context, dwarf })
        });
        SourceMap { parsed: Mutex::new(parsed.unwrap_or(None)) }
    }

    /// The functions at an address relative to the code section, innermost inlined one first.
    /// Empty if nothing is known.
    pub(crate) fn symbols_at(&self, address: u64) -> Vec<FrameSymbol> {
        self.with(|parsed| lookup(&parsed.context, address))
    }

    /// Where the source of the first of these addresses is that has any, be it inlined or not.
    /// They are relative to the code section.
    pub(crate) fn first_location(&self, addresses: Range<u64>) -> Option<SourceLocation> {
        self.with(|parsed| {
            let Range { start, end } = addresses;
            let (_, _, place) = parsed.context.find_location_range(start, end).ok()?.next()?;
            Some(SourceLocation {
                file: place.file?.into(),
                // DWARF's 0 means "none".
                line: place.line.filter(|&line| line > 0),
                column: place.column.filter(|&column| column > 0),
            })
        })
    }

    /// What `ask` answers, or nothing if the DWARF is unusable.
    pub(crate) fn with<T: Default>(&self, ask: impl FnOnce(&Parsed) -> T) -> T {
        let mut parsed = self.parsed.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Out of the lock's value, so that a panic loses it.
        let Some(taken) = parsed.take() else { return T::default() };
        let found = catch_unwind(AssertUnwindSafe(|| {
            let answer = ask(&taken);
            (taken, answer)
        }));
        let Ok((taken, answer)) = found else { return T::default() };
        *parsed = Some(taken);
        answer
    }
}

/// What was found before the DWARF turned out to be damaged, if it is.
fn lookup(context: &Context<Reader>, address: u64) -> Vec<FrameSymbol> {
    let mut symbols = Vec::new();
    if let Ok(mut frames) = context.find_frames(address).skip_all_loads() {
        while let Ok(Some(frame)) = frames.next() {
            symbols.push(FrameSymbol::of(&frame));
        }
    }
    symbols
}

#[cfg(test)]
pub(crate) mod fixture;

#[cfg(test)]
mod tests {
    use super::fixture::{damaged, sections};
    use super::*;

    #[test]
    fn addresses_are_found_with_their_inlined_functions() {
        let map = SourceMap::new(&sections());
        let symbol = |name, line, column| {
            FrameSymbol::for_test(Some(name), Some("dir/main.c"), Some(line), column)
        };
        assert_eq!(map.symbols_at(16), [symbol("outer", 10, Some(7))]);
        assert_eq!(map.symbols_at(63), [symbol("outer", 12, Some(7))]);
        let inlined = [symbol("foo::inner()", 3, Some(7)), symbol("outer", 11, None)];
        assert_eq!(map.symbols_at(40), inlined);
        assert_eq!(map.symbols_at(64), []);
        let location = |line| {
            Some(SourceLocation { file: "dir/main.c".into(), line: Some(line), column: Some(7) })
        };
        assert_eq!(map.first_location(40..41), location(3));
        assert_eq!(map.first_location(63..64), location(12));
        // The first that has any: functions start with their locals, of which DWARF says nothing.
        assert_eq!(map.first_location(0..17), location(10));
        assert_eq!((map.first_location(0..16), map.first_location(64..99)), (None, None));
        assert_eq!(map.symbols_at(u64::MAX), []);
    }

    #[test]
    fn damaged_sections_give_fewer_answers_and_no_panic() {
        for sections in damaged() {
            let map = SourceMap::new(&sections);
            for address in [0, 16, 40, 63, 64] {
                map.symbols_at(address);
                map.first_location(address..address + 1);
            }
        }
        assert_eq!(SourceMap::new(&[]).symbols_at(16), []);
    }
}
