//! What a module's names and DWARF say of the place where a frame stands.

use crate::dwarf::{FrameSymbol, SourceMap};
use std::cell::OnceCell;
use std::sync::Arc;
use stillframe_runtime::{CompiledModule, FrameRow};

/// What the guest's DWARF says of a frame's place: functions that the guest's compiler had inlined
/// there, innermost first, and last the function itself. Empty if nothing is known.
pub fn symbols_of(row: &FrameRow) -> Vec<FrameSymbol> {
    with_source_map(row, |map, address| map.symbols_at(address)).unwrap_or_default()
}

/// The names of the locals of a frame's function, at its place.
#[derive(Clone, Debug)]
pub struct LocalNames<'a> {
    row: &'a FrameRow,
    /// Those by the guest's DWARF, inner scopes first; looked up when the first is needed.
    variables: OnceCell<Vec<(u32, String)>>,
}

/// The names of a frame's locals: from its module's name section, and of the others by the guest's
/// DWARF. There, a name with `&` in front is that of a variable whose address the local holds.
pub fn local_names_of(row: &FrameRow) -> LocalNames<'_> {
    LocalNames { row, variables: OnceCell::new() }
}

impl LocalNames<'_> {
    /// The name of a local, if it has one.
    pub fn get(&self, local: usize) -> Option<String> {
        let local = u32::try_from(local).ok()?;
        if let Some(name) = self.row.module().info().local_name(self.row.func_index(), local) {
            return Some(name.to_string());
        }
        let names = self.variables.get_or_init(|| {
            let look = |map: &SourceMap, address| map.local_names_at(address);
            with_source_map(self.row, look).unwrap_or_default()
        });
        names.iter().find(|(of, _)| *of == local).map(|(_, name)| name.clone())
    }
}

/// Lets `look` see the module's DWARF and the frame's place in it, if there is any.
fn with_source_map<R>(row: &FrameRow, look: impl FnOnce(&SourceMap, u64) -> R) -> Option<R> {
    let module = row.module();
    // DWARF counts from the start of the code section.
    let address = row.wasm_pc().0.checked_sub(module.info().code_section_start)?;
    Some(look(source_map(module)?, u64::from(address)))
}

/// The module's DWARF, if it has some.
pub(crate) fn source_map(module: &CompiledModule) -> Option<&SourceMap> {
    if module.dwarf().is_empty() {
        return None;
    }
    module.debug_cache(|| Arc::new(SourceMap::new(module.dwarf()))).downcast_ref()
}
