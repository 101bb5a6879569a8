//! Names of wasm locals, by the guest's DWARF.
//!
//! Compilers keep a source variable in a local, on the operand stack, or in the linear memory; only
//! the first have a name here. Which local it is changes from place to place in optimised code, so
//! names are asked for at a wasm pc.
//!
//! ```text
//!   DW_AT_location of a variable                                   the local's name
//!   DW_OP_WASM_location 0x00 n, DW_OP_stack_value    its value     x
//!   DW_OP_WASM_location 0x00 n                       its address   &x
//! ```
//!
//! The second is what LLVM writes for aggregates that are passed by pointer.

use crate::dwarf::{Parsed, Reader, SourceMap};
use gimli::{
    AttributeValue, DebugInfoOffset, DebuggingInformationEntry, Expression, Operation, Reader as _,
    Unit, UnitOffset, UnitRef, constants as dw,
};

/// How many names are looked for at most: no function of a compiler has that many variables.
const MOST_NAMES: usize = 4096;

/// How many entries are followed from a variable to its name: an inlined function's variable names
/// the abstract one, and that can name its declaration.
const MOST_ORIGINS: usize = 8;

impl SourceMap {
    /// The names of wasm locals at an address relative to the code section: `(local, name)`, those
    /// of the innermost lexical scope first. A local comes more than once if several variables are
    /// in it. A name with `&` in front is that of a variable whose address the local holds.
    ///
    /// Empty if nothing is known.
    pub(crate) fn local_names_at(&self, address: u64) -> Vec<(u32, String)> {
        self.with(|parsed| {
            let unit = parsed.context.find_dwarf_and_unit(address).skip_all_loads();
            let Some(unit) = unit else { return Vec::new() };
            let mut variables = Vec::new();
            // What was found before the DWARF turned out to be damaged, if it is.
            let _ = find_variables(&unit, address, &mut variables);
            // A stable sort: within a scope they stay in the order of their declarations.
            variables.sort_by_key(|variable| std::cmp::Reverse(variable.depth));
            let named = variables.iter().filter_map(|variable| {
                let name = name_of(parsed, &unit, variable.entry)?;
                let address = if variable.is_address { "&" } else { "" };
                Some((variable.local, format!("{address}{name}")))
            });
            named.collect()
        })
    }
}

/// A variable that is in a local.
struct Variable {
    local: u32,
    /// Whether the local has its address, and not its value.
    is_address: bool,
    /// How deep the scope of its declaration is nested.
    depth: usize,
    entry: UnitOffset,
}

/// Finds the variables of all scopes around `address`, from outside inwards.
///
/// Entries come in the order of the tree, each with its depth, so that one pass without recursion
/// is enough:
///
/// ```text
///   unit
///     namespace               looked into
///       subprogram            around the address: a scope
///         formal_parameter    a variable of the innermost scope
///         lexical_block       not around it: `skipped` until the depth is back
///           variable
///         inlined_subroutine  around it: a scope in the scope
///     subprogram              not looked at any more: its function was found
/// ```
fn find_variables(
    unit: &UnitRef<'_, Reader>,
    address: u64,
    found: &mut Vec<Variable>,
) -> gimli::Result<()> {
    // Depths of the entries of the scopes that are open.
    let mut scopes: Vec<isize> = Vec::new();
    let mut skipped = None;
    let mut entries = unit.entries_raw(None)?;
    while !entries.is_empty() {
        let (depth, offset) = (entries.next_depth(), entries.next_offset());
        let Some(abbreviation) = entries.read_abbreviation()? else { continue };
        let was_open = !scopes.is_empty();
        while scopes.pop_if(|scope| *scope >= depth).is_some() {}
        if was_open && scopes.is_empty() {
            return Ok(());
        }
        if skipped.is_some_and(|skipped| depth <= skipped) {
            skipped = None;
        }
        // Attributes are costly to read, and those of most entries do not matter.
        entries.skip_attributes(abbreviation.attributes())?;
        if skipped.is_some() {
            continue;
        }
        match abbreviation.tag() {
            dw::DW_TAG_subprogram | dw::DW_TAG_inlined_subroutine | dw::DW_TAG_lexical_block => {
                match surrounds(unit, &unit.entry(offset)?, address)? {
                    Some(true) => scopes.push(depth),
                    // A block that does not say where it is is where its parent is.
                    None if abbreviation.tag() == dw::DW_TAG_lexical_block => {}
                    _ => skipped = Some(depth),
                }
            }
            dw::DW_TAG_variable | dw::DW_TAG_formal_parameter if !scopes.is_empty() => {
                let entry = unit.entry(offset)?;
                if let Some((local, is_address)) = local_of(unit, &entry, address)? {
                    found.push(Variable { local, is_address, depth: scopes.len(), entry: offset });
                }
                if found.len() == MOST_NAMES {
                    return Ok(());
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether an entry's code is around `address`; `None` if it does not say where its code is.
fn surrounds(
    unit: &UnitRef<'_, Reader>,
    entry: &DebuggingInformationEntry<Reader>,
    address: u64,
) -> gimli::Result<Option<bool>> {
    if !entry.has_attr(dw::DW_AT_low_pc) && !entry.has_attr(dw::DW_AT_ranges) {
        return Ok(None);
    }
    let mut ranges = unit.die_ranges(entry)?;
    while let Some(range) = ranges.next()? {
        if (range.begin..range.end).contains(&address) {
            return Ok(Some(true));
        }
    }
    Ok(Some(false))
}

/// The local that a variable is in at `address`, and whether that is by its address.
fn local_of(
    unit: &UnitRef<'_, Reader>,
    entry: &DebuggingInformationEntry<Reader>,
    address: u64,
) -> gimli::Result<Option<(u32, bool)>> {
    let Some(location) = entry.attr_value(dw::DW_AT_location) else { return Ok(None) };
    if let AttributeValue::Exprloc(expression) = location {
        return Ok(local_in(unit, expression));
    }
    let Some(mut list) = unit.attr_locations(location)? else { return Ok(None) };
    while let Some(location) = list.next()? {
        if (location.range.begin..location.range.end).contains(&address) {
            return Ok(local_in(unit, location.data));
        }
    }
    Ok(None)
}

/// The local in an expression that is nothing else. Parts of variables and computed values have no
/// name of their own.
fn local_in(unit: &UnitRef<'_, Reader>, expression: Expression<Reader>) -> Option<(u32, bool)> {
    let mut operations = expression.operations(unit.encoding());
    let Operation::WasmLocal { index } = operations.next().ok()?? else { return None };
    match operations.next().ok()? {
        None => Some((index, true)),
        Some(Operation::StackValue) => operations.next().ok()?.is_none().then_some((index, false)),
        Some(_) => None,
    }
}

/// The name of an entry, or of the one that it is a concrete instance of.
fn name_of(parsed: &Parsed, unit: &UnitRef<'_, Reader>, entry: UnitOffset) -> Option<String> {
    // The unit that was entered last, if it is another.
    let mut other: Option<Unit<Reader>> = None;
    let mut at = entry;
    for _ in 0..MOST_ORIGINS {
        let here = other.as_ref().map_or(*unit, |other| other.unit_ref(&parsed.dwarf));
        let entry = here.entry(at).ok()?;
        if let Some(name) = entry.attr_value(dw::DW_AT_name) {
            let name = here.attr_string(name).ok()?;
            return name.to_string_lossy().ok().map(|name| name.into_owned());
        }
        let origin = entry
            .attr_value(dw::DW_AT_abstract_origin)
            .or_else(|| entry.attr_value(dw::DW_AT_specification))?;
        match origin {
            AttributeValue::UnitRef(offset) => at = offset,
            AttributeValue::DebugInfoRef(offset) => {
                let (unit, offset) = entry_of(parsed, offset)?;
                (other, at) = (Some(unit), offset);
            }
            _ => return None,
        }
    }
    None
}

/// The unit that an offset in `.debug_info` is in, and the offset there.
fn entry_of(parsed: &Parsed, offset: DebugInfoOffset) -> Option<(Unit<Reader>, UnitOffset)> {
    let mut headers = parsed.dwarf.units();
    while let Some(header) = headers.next().ok()? {
        if let Some(offset) = offset.to_unit_offset(&header) {
            return Some((parsed.dwarf.unit(header).ok()?, offset));
        }
    }
    None
}

#[cfg(test)]
mod tests;
