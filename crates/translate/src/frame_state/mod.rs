//! Frame state: keeping locals and operands where a frozen frame can be read.
//!
//! Each function has one stack slot with *cells* (`abi::frame_table::layout`), which are handed out
//! when first needed. A local or operand is in a Cranelift value as long as wasm runs; at a
//! *safepoint* it is in its cell too:
//!
//! ```text
//!   call, builtin         stores before it                 what changed since the last store
//!   checkpoint            stores in its cold block         nothing on the hot path
//!   checked trap          stores in its cold block         likewise
//!   hardware trap         nothing                          what the cells hold anyway
//! ```
//!
//! What the cells hold at a place is tracked ([`Held`]) along the structured control flow: control
//! that comes from several places finds held what is held at all of them, and a loop's header not
//! what the loop's body writes. So each place has a set of readable cells, which goes into the
//! frame table by way of the place's point.
//!
//! This file keeps the books; `emit.rs` has the stores and loads.
//!
//! With `frame_writes` a debugger may write to cells, so behind each safepoint code loads again
//! what it has stored; the values from before are not used any more.
//!
//! # Write-through
//!
//! Many live locals at many safepoints would make code that grows with the product of the two. What
//! the stores of a function may cost is bounded by [`BUDGET`]; a function beyond it is translated
//! again in a mode whose cost is linear: whatever is written is stored at once, so that the cells
//! hold everything everywhere, and with `frame_writes` locals are read from their cells.

mod emit;
mod homes;

pub(crate) use homes::{Saved, Way};

use crate::points::PointState;
use cranelift_codegen::ir::{self, StackSlot, Value};
use homes::Homes;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use stillframe_abi::artifact::FrameState;
use stillframe_abi::frame_table::{Cell, CellSet, FrameLayout, InlineSite, Readable};
use stillframe_abi::types::ValType;

/// What keeping state may cost before a function is translated again in write-through mode: so
/// much, and [`BUDGET_PER_OPERATOR`] for each operator so far. The unit is about a store.
const BUDGET: u64 = 50_000;
const BUDGET_PER_OPERATOR: u64 = 32;

/// Operands that are kept, from the bottom of the stack; those above are not shown. Compilers make
/// few; the bound is for what the states of the points take in memory.
const OPERANDS_MAX: usize = 1000;
/// The same in write-through mode.
const OPERANDS_MAX_THROUGH: usize = 50;

/// Keeping the function's state costs too much without write-through.
#[derive(Debug)]
pub(crate) struct TooMuchState;

impl fmt::Display for TooMuchState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the frame state exceeds its budget")
    }
}

impl std::error::Error for TooMuchState {}

/// What the cells hold at a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Held {
    /// The cells of context and locals whose value is the current one.
    cells: Arc<CellSet>,
    /// By depth: the value that the operand's cell holds.
    operands: Vec<Option<Value>>,
}

impl Held {
    /// Keeps what is held in `other` too, from which control comes as well.
    fn meet(&mut self, other: &Held) {
        if !Arc::ptr_eq(&self.cells, &other.cells) {
            Arc::make_mut(&mut self.cells).intersect(&other.cells);
        }
        self.operands.truncate(other.operands.len());
        for (value, other) in self.operands.iter_mut().zip(&other.operands) {
            if value != other {
                *value = None;
            }
        }
    }
}

/// What is held where control from several places meets; nothing yet as long as none has come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Meeting(Option<Rc<Held>>);

impl Meeting {
    /// Whether control comes from anywhere.
    pub(crate) fn is_reached(&self) -> bool {
        self.0.is_some()
    }

    /// Control comes from a place where this is held.
    pub(crate) fn join(&mut self, held: &Rc<Held>) {
        match &mut self.0 {
            None => self.0 = Some(held.clone()),
            Some(all) if Rc::ptr_eq(all, held) => {}
            Some(all) => Rc::make_mut(all).meet(held),
        }
    }
}

/// The frame state of the function that is being translated.
pub(crate) struct StateKeeper {
    mode: FrameState,
    slot: Option<StackSlot>,
    cells: Vec<Cell>,
    /// Where in the slot each cell is.
    offsets: Vec<u32>,
    size: u32,
    /// The cell of each local that has one.
    of_local: Vec<Option<u32>>,
    /// The cells of each depth of the operand stack: narrow and wide.
    of_operand: Vec<[Option<u32>; 2]>,
    pub(crate) held: Rc<Held>,
    /// The states of the function's points.
    states: Vec<Readable>,
    /// The latest state, as long as the cells of locals hold the same.
    latest: Option<PointState>,
    /// Whether what is written is stored at once.
    through: bool,
    /// Where values are that have no cell, if they all live in the frame.
    homes: Option<Homes>,
    /// What keeping state has cost so far.
    spent: u64,
}

impl StateKeeper {
    pub(crate) fn new(mode: FrameState, way: Way) -> StateKeeper {
        StateKeeper {
            mode,
            slot: None,
            cells: Vec::new(),
            offsets: Vec::new(),
            size: 0,
            of_local: Vec::new(),
            of_operand: Vec::new(),
            held: Rc::default(),
            states: vec![Readable::default()],
            latest: None,
            through: way != Way::Usual,
            homes: (way == Way::Plain).then(Homes::default),
            spent: 0,
        }
    }

    /// Whether values of this type are kept. References that the store could free are in every
    /// mode: the cells are where it finds them.
    pub(crate) fn keeps(&self, ty: ValType) -> bool {
        self.mode != FrameState::Off || matches!(ty, ValType::ExternRef | ValType::ExnRef)
    }

    /// Whether what is written is stored at once.
    pub(crate) fn writes_through(&self) -> bool {
        self.through
    }

    /// How many operands are kept, from the bottom of the stack.
    fn max_operands(&self) -> usize {
        if self.through { OPERANDS_MAX_THROUGH } else { OPERANDS_MAX }
    }

    /// Whether keeping state costs too much, after so many operators.
    ///
    /// # Errors
    ///
    /// If so.
    pub(crate) fn check_budget(&self, operators: u32) -> Result<(), TooMuchState> {
        let budget = BUDGET + BUDGET_PER_OPERATOR * u64::from(operators);
        match !self.through && self.spent > budget {
            true => Err(TooMuchState),
            false => Ok(()),
        }
    }

    /// Whether all locals are kept, also those that are not read any more.
    pub(crate) fn keeps_all(&self) -> bool {
        self.mode == FrameState::All
    }

    fn new_cell(&mut self, cell: Cell, wide: bool) -> u32 {
        let number = self.cells.len() as u32;
        self.cells.push(cell);
        self.offsets.push(self.size);
        self.size += if wide { 16 } else { 8 };
        number
    }

    fn cell_of_local(&mut self, local: u32, ty: ValType) -> u32 {
        let at = local as usize;
        if self.of_local.len() <= at {
            self.of_local.resize(at + 1, None);
        }
        if let Some(cell) = self.of_local[at] {
            return cell;
        }
        let cell = self.new_cell(Cell::Local(local), ty == ValType::V128);
        self.of_local[at] = Some(cell);
        cell
    }

    fn cell_of_operand(&mut self, depth: usize, ty: ValType) -> u32 {
        if self.of_operand.len() <= depth {
            self.of_operand.resize(depth + 1, [None; 2]);
        }
        let wide = ty == ValType::V128;
        if let Some(cell) = self.of_operand[depth][usize::from(wide)] {
            return cell;
        }
        let cell = self.new_cell(Cell::Operand { depth: depth as u32, wide }, wide);
        self.of_operand[depth][usize::from(wide)] = Some(cell);
        cell
    }

    fn change(&mut self) -> &mut Held {
        self.latest = None;
        Rc::make_mut(&mut self.held)
    }

    fn set_held(&mut self, cell: u32, is_held: bool) {
        Arc::make_mut(&mut self.change().cells).set(cell, is_held);
    }

    /// Notes that a cell does not hold the value of its local any more.
    fn local_written(&mut self, local: u32) {
        if let Some(&Some(cell)) = self.of_local.get(local as usize)
            && self.held.cells.contains(cell)
        {
            self.set_held(cell, false);
        }
    }

    /// Takes what is held at a place that is translated now, where control from several places
    /// meets, or nothing if none comes.
    pub(crate) fn arrive(&mut self, at: Meeting) {
        self.latest = None;
        self.held = at.0.unwrap_or_default();
    }

    /// The state of a frame that stands here, with so many operands: their types, where they can be
    /// read.
    fn state(
        &mut self,
        count: usize,
        operand: impl Fn(&StateKeeper, usize) -> Option<ValType>,
    ) -> PointState {
        let count = count.min(self.max_operands());
        if let Some(latest) = self.latest {
            let known = &self.states[latest.0 as usize].operands;
            if known.len() == count && (0..count).all(|depth| operand(self, depth) == known[depth])
            {
                return latest;
            }
        }
        let operands: Vec<_> = (0..count).map(|depth| operand(self, depth)).collect();
        self.spent += (self.held.cells.words() + operands.len()) as u64 / 8;
        self.states.push(Readable { cells: self.held.cells.clone(), operands });
        let state = PointState(self.states.len() as u32 - 1);
        self.latest = Some(state);
        state
    }

    /// Where the state lies, and the states of the points.
    pub(crate) fn finish(
        self,
        func: &mut ir::Function,
        declared: Vec<(u32, ValType)>,
        sites: Vec<InlineSite>,
    ) -> FunctionState {
        if let Some(slot) = self.slot {
            func.sized_stack_slots[slot].size = self.size;
        }
        self.finish_homes(func);
        let layout = FrameLayout { declared, sites, base: 0, cells: self.cells };
        FunctionState { layout, slot: self.slot, states: self.states }
    }
}

/// The frame state of a translated function.
pub(crate) struct FunctionState {
    /// Where the state lies, but for the base, which the code generator decides.
    pub(crate) layout: FrameLayout,
    /// The stack slot of the cells.
    pub(crate) slot: Option<StackSlot>,
    /// By [`PointState`].
    pub(crate) states: Vec<Readable>,
}
