//! Source positions: what the guest's DWARF says of a wasm pc.
//!
//! The sections come from the guest and can be anything. The parsers we use report damage as
//! errors; should one of them panic nonetheless, the panic ends here and the module counts as one
//! without DWARF from then on.

use crate::names::demangle;
use addr2line::{Context, Frame};
use gimli::{Dwarf, EndianArcSlice, LittleEndian, SectionId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

type Reader = EndianArcSlice<LittleEndian>;

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

/// A module's DWARF, parsed as far as it was needed.
pub(crate) struct SourceMap {
    /// `None` if the module's DWARF is unusable. The parser's caches are not `Sync`.
    context: Mutex<Option<Context<Reader>>>,
}

impl SourceMap {
    /// Reads the index of units; everything else is read when it is asked for.
    pub(crate) fn new(sections: &[(String, Arc<[u8]>)]) -> SourceMap {
        let context = catch_unwind(|| {
            let load = |id: SectionId| {
                let found = sections.iter().find(|(name, _)| name == id.name());
                let bytes = found.map_or_else(Arc::default, |(_, bytes)| bytes.clone());
                Ok(EndianArcSlice::new(bytes, LittleEndian))
            };
            let dwarf: Result<Dwarf<Reader>, gimli::Error> = Dwarf::load(load);
            Context::from_dwarf(dwarf.ok()?).ok()
        });
        SourceMap { context: Mutex::new(context.unwrap_or(None)) }
    }

    /// The functions at an address relative to the code section, innermost inlined one first.
    /// Empty if nothing is known.
    pub(crate) fn symbols_at(&self, address: u64) -> Vec<FrameSymbol> {
        let mut context = self.context.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // Out of the lock's value, so that a panic loses it.
        let Some(taken) = context.take() else { return Vec::new() };
        let found = catch_unwind(AssertUnwindSafe(|| {
            let symbols = lookup(&taken, address);
            (taken, symbols)
        }));
        let Ok((taken, symbols)) = found else { return Vec::new() };
        *context = Some(taken);
        symbols
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
mod tests {
    use super::*;
    use gimli::constants as dw;
    use gimli::write::{
        Address, AttributeValue, DwarfUnit, EndianVec, LineProgram, LineString, Range, RangeList,
        Sections,
    };
    use gimli::{Encoding, Format, LineEncoding};

    /// `outer` at 16..64 of `dir/main.c`, in which `inner` is inlined at 32..48.
    fn sections() -> Vec<(String, Arc<[u8]>)> {
        let encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 4 };
        let text = |text: &str| LineString::String(text.into());
        let mut program = LineProgram::new(
            encoding,
            LineEncoding::default(),
            text("dir"),
            None,
            text("main.c"),
            None,
        );
        let directory = program.default_directory();
        let file = program.add_file(text("main.c"), directory, None);
        program.begin_sequence(Some(Address::Constant(16)));
        for (offset, line) in [(0, 10), (16, 3), (32, 12)] {
            let row = program.row();
            (row.address_offset, row.file, row.line, row.column) = (offset, file, line, 7);
            program.generate_row();
        }
        program.end_sequence(48);

        let mut dwarf = DwarfUnit::new(encoding);
        dwarf.unit.line_program = program;
        let range = |begin, length| {
            RangeList(vec![Range::StartLength { begin: Address::Constant(begin), length }])
        };
        let ranges = dwarf.unit.ranges.add(range(16, 48));
        let string = |text: &str| AttributeValue::String(text.into());
        let low = |pc| AttributeValue::Address(Address::Constant(pc));
        let root = dwarf.unit.root();
        let unit = dwarf.unit.get_mut(root);
        unit.set(dw::DW_AT_name, string("main.c"));
        unit.set(dw::DW_AT_comp_dir, string("dir"));
        unit.set(dw::DW_AT_ranges, AttributeValue::RangeListRef(ranges));
        unit.set(dw::DW_AT_low_pc, low(0));
        unit.set(dw::DW_AT_stmt_list, AttributeValue::LineProgramRef);
        let inner = dwarf.unit.add(root, dw::DW_TAG_subprogram);
        dwarf.unit.get_mut(inner).set(dw::DW_AT_name, string("_ZN3foo5innerEv"));
        dwarf.unit.get_mut(inner).set(dw::DW_AT_inline, AttributeValue::Inline(dw::DW_INL_inlined));
        let outer = dwarf.unit.add(root, dw::DW_TAG_subprogram);
        let function = dwarf.unit.get_mut(outer);
        function.set(dw::DW_AT_name, string("outer"));
        function.set(dw::DW_AT_low_pc, low(16));
        function.set(dw::DW_AT_high_pc, AttributeValue::Udata(48));
        let inlined = dwarf.unit.add(outer, dw::DW_TAG_inlined_subroutine);
        let call = dwarf.unit.get_mut(inlined);
        call.set(dw::DW_AT_abstract_origin, AttributeValue::UnitRef(inner));
        call.set(dw::DW_AT_low_pc, low(32));
        call.set(dw::DW_AT_high_pc, AttributeValue::Udata(16));
        call.set(dw::DW_AT_call_file, AttributeValue::FileIndex(Some(file)));
        call.set(dw::DW_AT_call_line, AttributeValue::Udata(11));

        let mut written = Sections::new(EndianVec::new(LittleEndian));
        dwarf.write(&mut written).unwrap();
        let mut sections = Vec::new();
        written
            .for_each(|id, bytes| {
                sections.push((id.name().to_string(), bytes.slice().into()));
                Ok::<(), gimli::write::Error>(())
            })
            .unwrap();
        sections
    }

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
        assert_eq!(map.symbols_at(u64::MAX), []);
    }

    #[test]
    fn damaged_sections_give_fewer_answers_and_no_panic() {
        let whole = sections();
        for (damaged, (_, bytes)) in whole.iter().enumerate() {
            for at in 0..bytes.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut copy = whole.clone();
                    let mut bytes = bytes.to_vec();
                    bytes[at] ^= change;
                    copy[damaged].1 = bytes.into();
                    let map = SourceMap::new(&copy);
                    for address in [0, 16, 40, 63, 64] {
                        map.symbols_at(address);
                    }
                }
            }
        }
        assert_eq!(SourceMap::new(&[]).symbols_at(16), []);
    }
}
