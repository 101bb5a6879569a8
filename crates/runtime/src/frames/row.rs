//! What is known of the place where a frame stands, and of its function's frames.
//!
//! Both are decoded from the module's frame table: a row when a frame is first found at its place
//! (`cache.rs` keeps it), a function's layout once per module, when one of its values is first
//! asked for.
//!
//! A frame that stands in an inlined body is two frames for whoever looks: that of the function
//! that is inlined, and that of the function around it, which stands at the call. Each has a row;
//! the rows share the frame pointer and the layout of the function whose code it is.

use super::state::RowState;
use crate::code;
use crate::module::{CodePosition, CompiledModule};
use std::any::Any;
use std::sync::Arc;
use stillframe_abi::frame_table::{
    Cell, FrameLayout, Handler, InlineSite, NativeOffset, Readable, Row, RowKind, WasmPc,
};
use stillframe_abi::types::ValType;

/// A place where frames of a function stand, and what can be read of them.
pub struct FrameRow {
    module: Arc<CompiledModule>,
    /// Whose code it is.
    defined: u32,
    /// The inlined body that it is about; `None`: the function's own.
    site: Option<Site>,
    wasm_pc: WasmPc,
    pub(crate) state: RowState,
    handler: Option<Handler>,
}

/// An inlined body.
#[derive(Clone, Copy)]
struct Site {
    callee: u32,
    /// Position in [`FunctionLayout::sites`].
    at: u32,
}

impl FrameRow {
    /// The row of the function whose code it is, and before it that of the body which is inlined
    /// there, if it is in one.
    pub(crate) fn of_trap(
        module: &Arc<CompiledModule>,
        defined: usize,
        row: Row,
        readable: Readable,
    ) -> (Option<FrameRow>, FrameRow) {
        let Readable { cells, mut operands } = readable;
        let site = row.site.and_then(|at| {
            let site = module.function_layout(defined).sites.get(at as usize)?;
            Some((at, site))
        });
        let inlined = site.map(|(at, site)| {
            let first = operands.len().min(site.first_operand as usize);
            let operands = operands.split_off(first);
            let readable = Readable { cells: cells.clone(), operands };
            let site = Some(Site { callee: site.callee, at });
            FrameRow { site, ..FrameRow::new(module.clone(), defined, row, &readable) }
        });
        let row = site.map_or(row, |(_, site)| Row { wasm_pc: site.call, ..row });
        (inlined, FrameRow::new(module.clone(), defined, row, &Readable { cells, operands }))
    }

    fn new(module: Arc<CompiledModule>, defined: usize, row: Row, readable: &Readable) -> FrameRow {
        let handler = match row.kind {
            RowKind::CallWithHandler(handler) => Some(handler),
            RowKind::Call | RowKind::Trap { .. } => None,
        };
        FrameRow {
            module,
            defined: defined as u32,
            site: None,
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
        match self.site {
            Some(site) => site.callee,
            None => self.defined + self.module.info().num_imported_functions as u32,
        }
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
    fn layout(&self) -> &FunctionLayout {
        self.module.function_layout(self.defined as usize)
    }

    /// All locals; parameters come first.
    #[inline]
    pub(crate) fn locals(&self) -> &[LocalPlace] {
        let layout = self.layout();
        match self.site {
            None => &layout.locals,
            Some(site) => &layout.sites[site.at as usize].locals,
        }
    }

    /// The locals that can be read.
    pub(crate) fn readable_locals(&self) -> impl Iterator<Item = u32> + use<'_> {
        let (layout, len) = (self.layout(), self.locals().len() as u32);
        let first = self.site.map_or(0, |site| layout.sites[site.at as usize].first_local);
        let locals = self.state.cells().filter_map(|cell| layout.local_of_cell(cell));
        locals.filter_map(move |local| local.checked_sub(first)).filter(move |&local| local < len)
    }

    /// Bytes from the frame pointer down to the cell of an operand of type `ty`.
    pub(crate) fn below_of_operand(&self, depth: usize, ty: ValType) -> Option<u32> {
        let layout = self.layout();
        let first = self.site.map_or(0, |site| layout.sites[site.at as usize].first_operand);
        layout.operand(depth.checked_add(first as usize)?, ty)
    }

    /// The cell of the instance's context.
    pub(crate) fn context_place(&self) -> Option<CellPlace> {
        self.layout().context()
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
    /// The function's own.
    locals: Vec<LocalPlace>,
    sites: Vec<SiteLayout>,
    /// By depth; of one depth the narrow one first.
    operands: Vec<OperandPlace>,
    /// Whose value each cell holds.
    cells: Vec<Cell>,
    context: Option<CellPlace>,
}

/// An inlined body.
#[derive(Debug)]
pub(crate) struct SiteLayout {
    call: WasmPc,
    callee: u32,
    first_local: u32,
    first_operand: u32,
    locals: Vec<LocalPlace>,
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
    /// Decodes a layout for a function with these parameters. `locals_of` says of which types the
    /// locals are of a function that is inlined, if there is such a function. Of a damaged layout
    /// there is less.
    pub(crate) fn new(
        layout: Option<FrameLayout>,
        params: &[ValType],
        locals_of: impl Fn(u32) -> Option<Vec<ValType>>,
    ) -> FunctionLayout {
        let FrameLayout { declared, sites, base, cells } = layout.unwrap_or_default();
        let place = |ty| LocalPlace { ty, cell: NO_CELL, below: 0 };
        let Some(types) = local_types(params, &declared) else {
            let locals = params.iter().map(|&ty| place(ty)).collect();
            return FunctionLayout { locals, ..FunctionLayout::default() };
        };
        let locals = types.into_iter().map(place).collect();
        let site = |site: InlineSite| {
            let InlineSite { call, callee, first_local, first_operand } = site;
            let locals = locals_of(callee)?.into_iter().map(place).collect();
            Some(SiteLayout { call, callee, first_local, first_operand, locals })
        };
        // Sites behind a damaged one are not there: rows name them by their positions.
        let sites = sites.into_iter().map_while(site).collect();
        let mut decoded = FunctionLayout { locals, sites, cells, ..FunctionLayout::default() };
        decoded.place(base);
        decoded
    }

    /// The local with this number, the function's own or one of an inlined body.
    fn local_mut(&mut self, local: u32) -> Option<&mut LocalPlace> {
        if (local as usize) < self.locals.len() {
            return self.locals.get_mut(local as usize);
        }
        let after = self.sites.partition_point(|site| site.first_local <= local);
        let site = self.sites.get_mut(after.checked_sub(1)?)?;
        site.locals.get_mut((local - site.first_local) as usize)
    }

    /// Finds out where the cells lie.
    fn place(&mut self, base: u32) {
        let mut below = base;
        for cell in 0..self.cells.len() {
            let what = self.cells[cell];
            let cell = cell as u32;
            let size = what.size(|local| self.local_mut(local).map(|local| local.ty));
            // Cells lie one above the other, and all of them below the frame pointer.
            let Some(next) = below.checked_sub(size) else { break };
            match what {
                Cell::Context => self.context = Some(CellPlace { cell, below }),
                Cell::Operand { depth, wide } => {
                    self.operands.push(OperandPlace { depth, wide, below });
                }
                Cell::Local(local) => {
                    if let Some(place) = self.local_mut(local) {
                        (place.cell, place.below) = (cell, below);
                    }
                }
            }
            below = next;
        }
        self.operands.sort_unstable();
    }

    /// The local whose cell this is.
    fn local_of_cell(&self, cell: u32) -> Option<u32> {
        match self.cells.get(cell as usize)? {
            Cell::Local(local) => Some(*local),
            Cell::Context | Cell::Operand { .. } => None,
        }
    }

    /// Bytes from the frame pointer down to the cell of an operand of type `ty`.
    fn operand(&self, depth: usize, ty: ValType) -> Option<u32> {
        let key = (u32::try_from(depth).ok()?, ty == ValType::V128);
        let at = self.operands.binary_search_by_key(&key, |place| (place.depth, place.wide));
        Some(self.operands[at.ok()?].below)
    }

    /// The cell of the instance's context.
    fn context(&self) -> Option<CellPlace> {
        self.context
    }
}

/// The types of a function's locals, by its parameters and what its layout says of the others;
/// `None` if no valid function has so many.
pub(crate) fn local_types(params: &[ValType], declared: &[(u32, ValType)]) -> Option<Vec<ValType>> {
    let count = |sum: usize, &(count, _): &(u32, _)| sum.saturating_add(count as usize);
    let count = declared.iter().fold(params.len(), count);
    (count <= MAX_LOCALS).then(|| {
        let mut types = Vec::with_capacity(count);
        types.extend(params);
        for &(count, ty) in declared {
            types.resize(types.len() + count as usize, ty);
        }
        types
    })
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
            ..FrameLayout::default()
        };
        let layout = FunctionLayout::new(Some(layout), &[ValType::I64], |_| None);
        let types: Vec<_> = layout.locals.iter().map(|local| local.ty).collect();
        assert_eq!(types, [ValType::I64, ValType::V128, ValType::V128, ValType::F32]);
        let context = layout.context().unwrap();
        assert_eq!((context.cell, context.below), (0, 100));
        let place = |local: usize| (layout.locals[local].cell, layout.locals[local].below);
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
    fn locals_of_inlined_bodies_have_their_sizes_and_their_own_numbers() {
        let site = |callee, first_local| InlineSite {
            call: WasmPc(7),
            callee,
            first_local,
            first_operand: 1,
        };
        let layout = FrameLayout {
            sites: vec![site(3, 10), site(4, 12), site(9, 20), site(3, 30)],
            base: 100,
            cells: [11, 13, 0, 10, 12, 14, 5, 20].map(Cell::Local).to_vec(),
            ..FrameLayout::default()
        };
        let locals_of = |callee| match callee {
            3 => Some(vec![ValType::I32, ValType::V128]),
            4 => Some(vec![ValType::I64; 2]),
            _ => None,
        };
        let layout = FunctionLayout::new(Some(layout), &[ValType::V128], locals_of);
        assert_eq!(layout.sites.len(), 2, "those before the one of a function that is not there");
        let below = |locals: &[LocalPlace]| -> Vec<(ValType, u32)> {
            locals.iter().map(|local| (local.ty, local.below)).collect()
        };
        assert_eq!(below(&layout.locals), [(ValType::V128, 76)]);
        assert_eq!(below(&layout.sites[0].locals), [(ValType::I32, 60), (ValType::V128, 100)]);
        assert_eq!(below(&layout.sites[1].locals), [(ValType::I64, 52), (ValType::I64, 84)]);
    }

    #[test]
    fn damaged_layouts_have_no_cells_above_the_frame_pointer_and_no_endless_locals() {
        let layout = |declared, base| FrameLayout {
            declared: vec![(declared, ValType::I32)],
            base,
            cells: vec![Cell::Local(0), Cell::Local(7), Cell::Local(1)],
            ..FrameLayout::default()
        };
        let decoded = |layout, params: &[_]| FunctionLayout::new(layout, params, |_| None).locals;
        let cells = decoded(Some(layout(3, 20)), &[]);
        let cells: Vec<_> = cells.iter().map(|local| local.cell).collect();
        assert_eq!(cells, [0, NO_CELL, NO_CELL]);
        assert_eq!(decoded(Some(layout(u32::MAX, 20)), &[ValType::I32]).len(), 1);
        assert_eq!(decoded(None, &[ValType::I32])[0].cell, NO_CELL);
    }
}
