//! The DWARF of a made-up program, for tests.

use gimli::constants as dw;
use gimli::write::{
    Address, AttributeValue, DebugInfoRef, Dwarf, EndianVec, Expression, LineProgram, LineString,
    Location, LocationList, Range, RangeList, Sections, Unit, UnitEntryId,
};
use gimli::{Encoding, Format, LineEncoding, LittleEndian};
use std::sync::Arc;

const ENCODING: Encoding = Encoding { format: Format::Dwarf32, version: 4, address_size: 4 };

/// `outer` at 16..64 of `dir/main.c`, in which `inner` is inlined at 32..48. Its variables:
///
/// ```text
///   outer        16..64   kept      local 0
///                         moving    local 1 at 16..32, local 2 at 32..64
///                         passed    its address in local 3
///                         in_memory, computed, in_global: in no local
///     block      24..56   kept      local 4
///       inner    32..48   argument  local 5, named by the abstract function
///                         foreign   local 0, named in another unit
///     block      56..64   late      local 4
///     a block without addresses: everywhere, local 6
///   another      64..80   other     local 0
/// ```
pub(crate) fn sections() -> Vec<(String, Arc<[u8]>)> {
    let text = |text: &str| LineString::String(text.into());
    let mut program = LineProgram::new(
        ENCODING,
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

    let mut dwarf = Dwarf::new();
    let library = dwarf.units.add(Unit::new(ENCODING, LineProgram::none()));
    let library_unit = dwarf.units.get_mut(library);
    let root = library_unit.root();
    let foreign = entry(library_unit, root, dw::DW_TAG_variable, "foreign");

    let main = dwarf.units.add(Unit::new(ENCODING, program));
    let unit = dwarf.units.get_mut(main);
    let range = |begin, length| Range::StartLength { begin: Address::Constant(begin), length };
    // Addresses that end where `outer` does: what is behind has no line, and so no unit.
    let ranges = unit.ranges.add(RangeList(vec![range(16, 48)]));
    let root = unit.root();
    let attributes = unit.get_mut(root);
    attributes.set(dw::DW_AT_name, string("main.c"));
    attributes.set(dw::DW_AT_comp_dir, string("dir"));
    attributes.set(dw::DW_AT_ranges, AttributeValue::RangeListRef(ranges));
    attributes.set(dw::DW_AT_low_pc, address(0));
    attributes.set(dw::DW_AT_stmt_list, AttributeValue::LineProgramRef);

    let inner = entry(unit, root, dw::DW_TAG_subprogram, "_ZN3foo5innerEv");
    unit.get_mut(inner).set(dw::DW_AT_inline, AttributeValue::Inline(dw::DW_INL_inlined));
    let argument = entry(unit, inner, dw::DW_TAG_formal_parameter, "argument");

    let namespace = entry(unit, root, dw::DW_TAG_namespace, "space");
    let another = entry(unit, namespace, dw::DW_TAG_subprogram, "another");
    place(unit, another, 64, 16);
    let other = entry(unit, another, dw::DW_TAG_variable, "other");
    locate(unit, other, value_in(0));

    let outer = entry(unit, namespace, dw::DW_TAG_subprogram, "outer");
    place(unit, outer, 16, 48);
    let kept = entry(unit, outer, dw::DW_TAG_formal_parameter, "kept");
    locate(unit, kept, value_in(0));
    let moving = entry(unit, outer, dw::DW_TAG_variable, "moving");
    let list = unit.locations.add(LocationList(vec![
        Location::StartLength { begin: Address::Constant(16), length: 16, data: value_in(1) },
        Location::StartLength { begin: Address::Constant(32), length: 32, data: value_in(2) },
    ]));
    unit.get_mut(moving).set(dw::DW_AT_location, AttributeValue::LocationListRef(list));
    let passed = entry(unit, outer, dw::DW_TAG_variable, "passed");
    let mut by_address = Expression::new();
    by_address.op_wasm_local(3);
    locate(unit, passed, by_address);
    let in_memory = entry(unit, outer, dw::DW_TAG_variable, "in_memory");
    let mut on_frame = Expression::new();
    on_frame.op_fbreg(12);
    locate(unit, in_memory, on_frame);
    let computed = entry(unit, outer, dw::DW_TAG_variable, "computed");
    let mut next = Expression::new();
    next.op_wasm_local(1);
    next.op_plus_uconst(8);
    locate(unit, computed, next);
    let in_global = entry(unit, outer, dw::DW_TAG_variable, "in_global");
    let mut global = Expression::new();
    global.op_wasm_global(0);
    locate(unit, in_global, global);

    let block = unit.add(outer, dw::DW_TAG_lexical_block);
    place(unit, block, 24, 32);
    let shadow = entry(unit, block, dw::DW_TAG_variable, "kept");
    locate(unit, shadow, value_in(4));
    let inlined = unit.add(block, dw::DW_TAG_inlined_subroutine);
    place(unit, inlined, 32, 16);
    let call = unit.get_mut(inlined);
    call.set(dw::DW_AT_abstract_origin, AttributeValue::UnitRef(inner));
    call.set(dw::DW_AT_call_file, AttributeValue::FileIndex(Some(file)));
    call.set(dw::DW_AT_call_line, AttributeValue::Udata(11));
    let concrete = unit.add(inlined, dw::DW_TAG_formal_parameter);
    unit.get_mut(concrete).set(dw::DW_AT_abstract_origin, AttributeValue::UnitRef(argument));
    locate(unit, concrete, value_in(5));
    let concrete = unit.add(inlined, dw::DW_TAG_variable);
    let elsewhere = AttributeValue::DebugInfoRef(DebugInfoRef::Entry(library, foreign));
    unit.get_mut(concrete).set(dw::DW_AT_abstract_origin, elsewhere);
    locate(unit, concrete, value_in(0));

    let block = unit.add(outer, dw::DW_TAG_lexical_block);
    place(unit, block, 56, 8);
    let late = entry(unit, block, dw::DW_TAG_variable, "late");
    locate(unit, late, value_in(4));
    let block = unit.add(outer, dw::DW_TAG_lexical_block);
    let everywhere = entry(unit, block, dw::DW_TAG_variable, "everywhere");
    locate(unit, everywhere, value_in(6));

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

/// The same, damaged in one byte, at all places one after the other.
pub(crate) fn damaged() -> impl Iterator<Item = Vec<(String, Arc<[u8]>)>> {
    let whole = sections();
    let places: Vec<_> = whole.iter().map(|(_, bytes)| bytes.len()).enumerate().collect();
    let places =
        places.into_iter().flat_map(|(section, len)| (0..len).map(move |at| (section, at)));
    let changes = places.flat_map(|place| [0x01, 0x80, 0xff].map(|change| (place, change)));
    changes.map(move |((section, at), change)| {
        let mut copy = whole.clone();
        let mut bytes = copy[section].1.to_vec();
        bytes[at] ^= change;
        copy[section].1 = bytes.into();
        copy
    })
}

fn string(text: &str) -> AttributeValue {
    AttributeValue::String(text.into())
}

fn address(pc: u64) -> AttributeValue {
    AttributeValue::Address(Address::Constant(pc))
}

fn entry(unit: &mut Unit, parent: UnitEntryId, tag: gimli::DwTag, name: &str) -> UnitEntryId {
    let entry = unit.add(parent, tag);
    unit.get_mut(entry).set(dw::DW_AT_name, string(name));
    entry
}

/// Says where an entry's code is.
fn place(unit: &mut Unit, entry: UnitEntryId, pc: u64, length: u64) {
    let entry = unit.get_mut(entry);
    entry.set(dw::DW_AT_low_pc, address(pc));
    entry.set(dw::DW_AT_high_pc, AttributeValue::Udata(length));
}

fn locate(unit: &mut Unit, variable: UnitEntryId, location: Expression) {
    unit.get_mut(variable).set(dw::DW_AT_location, AttributeValue::Exprloc(location));
}

/// Where a variable is whose value a local has.
fn value_in(local: u32) -> Expression {
    let mut expression = Expression::new();
    expression.op_wasm_local(local);
    expression.op(dw::DW_OP_stack_value);
    expression
}
