//! Alias regions: which accesses Cranelift may take for unrelated.
//!
//! Cranelift may assume that accesses in different regions never touch the same bytes. **Every store
//! that a wasm function's code makes and that can be followed by another one to the same place has a
//! region, and so has every load from there.** For a store without one is in danger: Cranelift 0.135
//! removes a store that is followed by another to the same place on each path that leaves the
//! function, and forgets that a call may look at the first one before a loop without end:
//!
//! ```text
//!   global.set 1;  if (c) { call $f; loop br 0 end };  global.set 2      $f must see 1
//! ```
//!
//! Calls do look at all that is in regions. Whatever is in no region (contexts, limits, the
//! definitions of tables and memories) is only read by functions, or written right before a call.

use cranelift_codegen::ir::{self, AliasRegion, AliasRegionData, MemFlagsData};

/// A part of memory that nothing else overlaps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Region {
    /// All imported memories: two imports can name the same one.
    ImportedMemories,
    /// A memory that the module defines.
    DefinedMemory(u32),
    /// All globals.
    Globals,
    /// The elements of all tables.
    TableElements,
    /// The cells of the function's frame.
    FrameCells,
}

impl Region {
    /// The function's own number of the region.
    fn id(self) -> u32 {
        match self {
            Region::ImportedMemories => 0,
            Region::DefinedMemory(memory) => memory + 1,
            Region::Globals => u32::MAX,
            Region::TableElements => u32::MAX - 1,
            Region::FrameCells => u32::MAX - 2,
        }
    }

    fn in_function(self, func: &mut ir::Function) -> AliasRegion {
        let (user_id, regions) = (self.id(), &mut func.dfg.alias_regions);
        regions.get(user_id).unwrap_or_else(|| {
            let description = format!("{self:?}").into();
            regions.insert(AliasRegionData { user_id, description })
        })
    }

    /// Flags of an access in this region.
    pub(crate) fn flags(self, func: &mut ir::Function, flags: MemFlagsData) -> MemFlagsData {
        let region = self.in_function(func);
        flags.with_alias_region(Some(region))
    }
}
