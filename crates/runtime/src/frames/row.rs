//! What is known of the place where a frame stands, and of its function's frames.
//!
//! Both are decoded from the module's frame table: a row when a frame is first found at its place
//! (`cache.rs` keeps it), a function's layout once per module, when one of its values is first
//! asked for.

use super::state::RowState;
use crate::code;
use crate::module::{CodePosition, CompiledModule};
use std::any::Any;
use std::sync::Arc;
use stillframe_abi::frame_table::{
    Cell, FrameLayout, Handler, NativeOffset, Readable, Row, RowKind, WasmPc,
};
use stillframe_abi::types::ValType;

/// A place where frames of a function stand, and what can be read of them.
pub struct FrameRow {
    module: Arc<CompiledModule>,
    defined: u32,
    wasm_pc: WasmPc,
    pub(crate) state: RowState,
    handler: Option<Handler>,
}

impl FrameRow {
    pub(crate) fn new(
        module: Arc<CompiledModule>,
        defined: usize,
        row: Row,
        readable: &Readable,
    ) -> FrameRow {
        let handler = match row.kind {
            RowKind::CallWithHandler(handler) => Some(handler),
            RowKind::Call | RowKind::Trap { .. } => None,
        };
        FrameRow {
            module,
            defined: defined as u32,
            wasm_pc: row.wasm_pc,
            state: RowState::new(readable),
            handler,
        }
    }

    /// The row of the call in `module` that returns to a place. What `scratch` holds does not
    /// matter; its memory is used.
    pub(crate) fn of_call(
        module: Arc<CompiledModule>,
        at: CodePosition,
        scratch: &mut Readable,
    ) -> Option<FrameRow> {
        let row = module.call_at(at, scratch)?;
        Some(FrameRow::new(module, at.defined, row, scratch))
    }

    /// The module of the function.
    pub fn module(&self) -> &Arc<CompiledModule> {
        &self.module
    }

    /// The function's index in the module.
    pub fn func_index(&self) -> u32 {
        self.defined + self.module.info().num_imported_functions as u32
    }

    /// The operator that frames stand at: a call, a checkpoint's, or what trapped.
    pub fn wasm_pc(&self) -> WasmPc {
        self.wasm_pc
    }

    /// Where an exception goes that comes out of the call: the handler's address, and the bytes from
    /// the frame pointer down to its stack pointer.
    pub(crate) fn handler(&self) -> Option<(usize, usize)> {
        let Handler { landing: NativeOffset(landing), frame_size } = self.handler?;
        let start = self.module.function_start(self.defined as usize);
        Some((start + landing as usize, frame_size as usize))
    }

    #[inline]
    pub(crate) fn layout(&self) -> &FunctionLayout {
        self.module.function_layout(self.defined as usize)
    }
}

impl std::fmt::Debug for FrameRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameRow")
            .field("func_index", &self.func_index())
            .field("wasm_pc", &self.wasm_pc)
            .finish_non_exhaustive()
    }
}

/// The module whose code is at an address.
pub(crate) fn module_at(address: usize) -> Option<Arc<CompiledModule>> {
    let owner: Arc<dyn Any + Send + Sync> = code::lookup(address)?;
    owner.downcast().ok()
}

/// Where the state of a function's frames lies, for access by index.
#[derive(Debug, Default)]
pub(crate) struct FunctionLayout {
    locals: Vec<LocalPlace>,
    /// By depth; of one depth the narrow one first.
    operands: Vec<OperandPlace>,
    /// Whose value each cell holds.
    cells: Vec<Cell>,
    context: Option<CellPlace>,
}

/// A local: its type and its cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalPlace {
    pub(crate) ty: ValType,
    /// What says whether the cell holds the value; no set has [`NO_CELL`].
    pub(crate) cell: u32,
    /// Bytes from the frame pointer down to the cell.
    pub(crate) below: u32,
}

/// A cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CellPlace {
    pub(crate) cell: u32,
    /// Bytes from the frame pointer down to it.
    pub(crate) below: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct OperandPlace {
    depth: u32,
    wide: bool,
    below: u32,
}

/// The cell of a local that has none.
const NO_CELL: u32 = u32::MAX;

/// More locals than a valid function can have, parameters included.
const MAX_LOCALS: usize = 51_001;

impl FunctionLayout {
    /// Decodes a layout for a function with these parameters. Of a damaged one there is less.
    pub(crate) fn new(layout: Option<FrameLayout>, params: &[ValType]) -> FunctionLayout {
        let FrameLayout { declared, base, cells } = layout.unwrap_or_default();
        let count = |sum: usize, &(count, _): &(u32, _)| sum.saturating_add(count as usize);
        let count = declared.iter().fold(params.len(), count);
        let is_whole = count <= MAX_LOCALS;
        let mut locals = Vec::with_capacity(if is_whole { count } else { params.len() });
        let place = |ty| LocalPlace { ty, cell: NO_CELL, below: 0 };
        locals.extend(params.iter().map(|&ty| place(ty)));
        if !is_whole {
            return FunctionLayout { locals, ..FunctionLayout::default() };
        }
        for (count, ty) in declared {
            locals.resize(locals.len() + count as usize, place(ty));
        }
        let mut decoded = FunctionLayout { locals, cells, ..FunctionLayout::default() };
        decoded.place(base);
        decoded
    }

    /// Finds out where the cells lie.
    fn place(&mut self, base: u32) {
        let mut below = base;
        for (cell, &what) in (0..).zip(&self.cells) {
            let ty = |local: u32| self.locals.get(local as usize).map(|local| local.ty);
            // Cells lie one above the other, and all of them below the frame pointer.
            let Some(next) = below.checked_sub(what.size(ty)) else { break };
            match what {
                Cell::Context => self.context = Some(CellPlace { cell, below }),
                Cell::Operand { depth, wide } => {
                    self.operands.push(OperandPlace { depth, wide, below });
                }
                Cell::Local(local) => {
                    if let Some(place) = self.locals.get_mut(local as usize) {
                        (place.cell, place.below) = (cell, below);
                    }
                }
            }
            below = next;
        }
        self.operands.sort_unstable();
    }

    /// All locals; parameters come first.
    #[inline]
    pub(crate) fn locals(&self) -> &[LocalPlace] {
        &self.locals
    }

    /// The local whose cell this is.
    pub(crate) fn local_of_cell(&self, cell: u32) -> Option<u32> {
        match self.cells.get(cell as usize)? {
            Cell::Local(local) => Some(*local),
            Cell::Context | Cell::Operand { .. } => None,
        }
    }

    /// Bytes from the frame pointer down to the cell of an operand of type `ty`.
    pub(crate) fn operand(&self, depth: usize, ty: ValType) -> Option<u32> {
        let key = (u32::try_from(depth).ok()?, ty == ValType::V128);
        let at = self.operands.binary_search_by_key(&key, |place| (place.depth, place.wide));
        Some(self.operands[at.ok()?].below)
    }

    /// The cell of the instance's context.
    pub(crate) fn context(&self) -> Option<CellPlace> {
        self.context
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_lie_upwards_from_the_base_and_are_found_by_index() {
        let layout = FrameLayout {
            declared: vec![(2, ValType::V128), (1, ValType::F32)],
            base: 100,
            cells: vec![
                Cell::Context,
                Cell::Local(2),
                Cell::Operand { depth: 1, wide: true },
                Cell::Local(0),
                Cell::Operand { depth: 1, wide: false },
            ],
        };
        let layout = FunctionLayout::new(Some(layout), &[ValType::I64]);
        let types: Vec<_> = layout.locals().iter().map(|local| local.ty).collect();
        assert_eq!(types, [ValType::I64, ValType::V128, ValType::V128, ValType::F32]);
        let context = layout.context().unwrap();
        assert_eq!((context.cell, context.below), (0, 100));
        let place = |local: usize| (layout.locals()[local].cell, layout.locals()[local].below);
        assert_eq!([place(2), place(0)], [(1, 92), (3, 60)]);
        assert_eq!([place(1).0, place(3).0], [NO_CELL; 2]);
        let found = [layout.operand(1, ValType::V128), layout.operand(1, ValType::F64)];
        assert_eq!(found, [Some(76), Some(52)]);
        assert_eq!(layout.operand(0, ValType::I32), None);
        assert_eq!(layout.operand(usize::MAX, ValType::I32), None);
        let locals: Vec<_> = (0..6).map(|cell| layout.local_of_cell(cell)).collect();
        assert_eq!(locals, [None, Some(2), None, Some(0), None, None]);
    }

    #[test]
    fn damaged_layouts_have_no_cells_above_the_frame_pointer_and_no_endless_locals() {
        let layout = |declared, base| FrameLayout {
            declared: vec![(declared, ValType::I32)],
            base,
            cells: vec![Cell::Local(0), Cell::Local(7), Cell::Local(1)],
        };
        let decoded = FunctionLayout::new(Some(layout(3, 20)), &[]);
        let cells: Vec<_> = decoded.locals().iter().map(|local| local.cell).collect();
        assert_eq!(cells, [0, NO_CELL, NO_CELL]);
        let decoded = FunctionLayout::new(Some(layout(u32::MAX, 20)), &[ValType::I32]);
        assert_eq!(decoded.locals().len(), 1);
        assert_eq!(FunctionLayout::new(None, &[ValType::I32]).locals()[0].cell, NO_CELL);
    }
}
