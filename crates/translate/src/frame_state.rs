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
//! With `frame_writes` a debugger may write to cells, so behind each safepoint code loads again
//! what it has stored; the values from before are not used any more.
//!
//! # Write-through
//!
//! Many live locals at many safepoints would make code that grows with the product of the two. What
//! the stores of a function may cost is bounded by [`BUDGET`]; a function beyond it is translated
//! again in a mode whose cost is linear: whatever is written is stored at once, so that the cells
//! hold everything everywhere, and with `frame_writes` locals are read from their cells.

use crate::env::clif_type;
use crate::func::FuncTranslator;
use crate::liveness::LocalSet;
use crate::points::{PointState, Points};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

/// What keeping state may cost before a function is translated again in write-through mode: so
/// much, and [`BUDGET_PER_OPERATOR`] for each operator so far. The unit is about a store.
const BUDGET: u64 = 50_000;
const BUDGET_PER_OPERATOR: u64 = 32;

/// Operands that are kept, from the bottom of the stack; those above cannot be read. Compilers make
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
use stillframe_abi::Trap;
use stillframe_abi::artifact::FrameState;
use stillframe_abi::frame_table::{Cell, CellSet, FrameLayout, Readable};
use stillframe_abi::types::ValType;

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
    /// What keeping state has cost so far.
    spent: u64,
}

impl StateKeeper {
    pub(crate) fn new(mode: FrameState, through: bool) -> StateKeeper {
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
            through,
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

    /// The state of a frame that stands here, with these operands.
    fn state(&mut self, operands: Vec<Option<ValType>>) -> PointState {
        if let Some(latest) = self.latest
            && self.states[latest.0 as usize].operands == operands
        {
            return latest;
        }
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
    ) -> FunctionState {
        if let Some(slot) = self.slot {
            func.sized_stack_slots[slot].size = self.size;
        }
        let layout = FrameLayout { declared, base: 0, cells: self.cells };
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

impl FuncTranslator<'_> {
    /// Stores the context, so that frames of the function can tell their instance.
    pub(crate) fn keep_context(&mut self) {
        if self.state.mode == FrameState::Off {
            return;
        }
        let cell = self.state.new_cell(Cell::Context, false);
        self.store_cell(cell, self.vmctx);
        self.state.set_held(cell, true);
    }

    /// In write-through mode: stores all locals, which have their first values.
    pub(crate) fn keep_all_locals(&mut self) {
        if self.state.through {
            (0..self.locals.len() as u32).for_each(|local| self.save_local(local));
        }
    }

    /// Gives a local another value.
    pub(crate) fn write_local(&mut self, local: u32, value: Value) {
        let (var, ty) = self.locals[local as usize];
        self.builder.def_var(var, value);
        match self.state.through && self.state.keeps(ty) {
            true => {
                let cell = self.state.cell_of_local(local, ty);
                self.store_cell(cell, value);
            }
            false => self.state.local_written(local),
        }
    }

    /// The value of a local.
    pub(crate) fn read_local(&mut self, local: u32) -> Value {
        let (var, ty) = self.locals[local as usize];
        match self.env.frame_writes && self.state.through && self.state.keeps(ty) {
            true => {
                let cell = self.state.cell_of_local(local, ty);
                self.load_cell(cell, ty)
            }
            false => self.builder.use_var(var),
        }
    }

    /// In write-through mode, the cell of an operand, if it is kept.
    fn through_cell(&mut self, depth: usize) -> Option<u32> {
        let ty = self.stack.types()[depth];
        let kept = self.state.through && self.state.keeps(ty) && depth < self.state.max_operands();
        kept.then(|| self.state.cell_of_operand(depth, ty))
    }

    /// Notes that the operand at a depth is new.
    pub(crate) fn operand_pushed(&mut self, depth: usize, value: Value) {
        match self.through_cell(depth) {
            Some(cell) => self.store_cell(cell, value),
            None if self.env.frame_writes => self.set_operand(depth, value),
            None => {}
        }
    }

    /// The operand at a depth, bottom first.
    pub(crate) fn operand(&mut self, depth: usize) -> Value {
        if !self.env.frame_writes {
            return self.stack.values()[depth];
        }
        match self.through_cell(depth) {
            Some(cell) => {
                let ty = self.stack.types()[depth];
                self.load_cell(cell, ty)
            }
            None => self.use_operand(depth),
        }
    }

    /// The locals that are kept at a safepoint before the current operator.
    fn kept_locals(&mut self) -> LocalSet {
        match &mut self.liveness {
            Some(liveness) => liveness.before(self.operator),
            None => LocalSet::empty(0),
        }
    }

    /// Stores a local if its cell does not hold it.
    fn save_local(&mut self, local: u32) {
        let (var, ty) = self.locals[local as usize];
        if !self.state.keeps(ty) {
            return;
        }
        let cell = self.state.cell_of_local(local, ty);
        if !self.state.held.cells.contains(cell) {
            let value = self.builder.use_var(var);
            self.store_cell(cell, value);
            self.state.set_held(cell, true);
        }
    }

    /// Stores what a frame that is frozen here must show and its cells do not hold yet. Returns the
    /// locals that are kept.
    fn save(&mut self) -> LocalSet {
        self.note_trap_state();
        if self.state.through {
            return LocalSet::empty(0);
        }
        let kept = self.kept_locals();
        let mut count = 0;
        for local in kept.iter() {
            self.save_local(local);
            count += 1;
        }
        let operands = self.stack.len().min(self.state.max_operands());
        self.state.spent += (count + operands as u64) / 8;
        for depth in 0..operands {
            let ty = self.stack.types()[depth];
            if !self.state.keeps(ty) {
                continue;
            }
            let value = self.operand(depth);
            if self.state.held.operands.get(depth).copied().flatten() == Some(value) {
                continue;
            }
            let cell = self.state.cell_of_operand(depth, ty);
            self.store_cell(cell, value);
            let operands = &mut self.state.change().operands;
            if operands.len() <= depth {
                operands.resize(depth + 1, None);
            }
            operands[depth] = Some(value);
        }
        kept
    }

    /// The state of a frame that stands here with all of its operands saved.
    fn saved_state(&mut self) -> PointState {
        let operands = match self.state.mode {
            FrameState::Off => Vec::new(),
            _ => {
                let max = self.state.max_operands();
                let kept = |(depth, &ty): (usize, &ValType)| (depth < max).then_some(ty);
                self.stack.types().iter().enumerate().map(kept).collect()
            }
        };
        self.state.state(operands)
    }

    /// The state of a frame that stands here with its lowest `count` operands, as far as the cells
    /// hold it.
    fn held_state(&mut self, count: usize) -> PointState {
        let operand = |depth: usize| {
            if self.state.through {
                return (depth < OPERANDS_MAX_THROUGH).then(|| self.stack.types()[depth]);
            }
            let held = self.state.held.operands.get(depth).copied().flatten();
            // With writes, an operand is a variable, and which value it has is not at hand.
            let is_held = held == Some(self.stack.values()[depth]) && !self.env.frame_writes;
            is_held.then(|| self.stack.types()[depth])
        };
        let operands = (0..count).map(operand).collect();
        self.state.state(operands)
    }

    /// Before a call whose arguments were popped: stores the state, and gives the call a point with
    /// it. To be followed by [`FuncTranslator::behind_call`].
    pub(crate) fn before_call(&mut self) -> LocalSet {
        let kept = self.save();
        let state = self.saved_state();
        self.point_with(state);
        kept
    }

    /// Behind a call that has returned, in a frame that shows these locals and all operands: loads
    /// again what may have been written.
    pub(crate) fn behind_call(&mut self, kept: &LocalSet) {
        if !self.env.frame_writes || self.state.through {
            return;
        }
        self.reload_locals(kept);
        for depth in 0..self.stack.len().min(self.state.max_operands()) {
            let ty = self.stack.types()[depth];
            if self.state.keeps(ty) {
                let cell = self.state.cell_of_operand(depth, ty);
                let value = self.load_cell(cell, ty);
                self.set_operand(depth, value);
            }
        }
    }

    /// Before a call of the runtime at which no host code looks at the frame: it shows what the
    /// cells hold.
    pub(crate) fn before_quiet_call(&mut self) {
        if self.state.mode != FrameState::Off {
            let state = self.held_state(self.stack.len());
            self.point_with(state);
        }
    }

    /// In the cold block of a checkpoint, before its call: stores the state there. What the cells
    /// hold on the hot path stays as it was.
    pub(crate) fn before_cold_call(&mut self) -> ColdState {
        let before = self.state.held.clone();
        let kept = self.save();
        let state = self.saved_state();
        self.points.set_call_state(state);
        ColdState { before, kept }
    }

    /// In the cold block, behind the call.
    pub(crate) fn behind_cold_call(&mut self, cold: ColdState) {
        self.behind_call(&cold.kept);
        self.state.latest = None;
        self.state.held = cold.before;
    }

    /// In the handler of calls: loads again what may have been written at any of them.
    pub(crate) fn reload_held(&mut self) {
        if !self.env.frame_writes || self.state.through {
            return;
        }
        for local in 0..self.state.of_local.len() {
            if let Some(cell) = self.state.of_local[local]
                && self.state.held.cells.contains(cell)
            {
                self.reload_local(local as u32, cell);
            }
        }
    }

    fn reload_locals(&mut self, kept: &LocalSet) {
        for local in kept.iter() {
            if let Some(&Some(cell)) = self.state.of_local.get(local as usize)
                && self.state.held.cells.contains(cell)
            {
                self.reload_local(local, cell);
            }
        }
    }

    fn reload_local(&mut self, local: u32, cell: u32) {
        let (var, ty) = self.locals[local as usize];
        let value = self.load_cell(cell, ty);
        self.builder.def_var(var, value);
    }

    /// Before a loop whose parameters were popped: stores what is the same in all of its rounds, if
    /// there are calls in it; behind this, what its body writes is not held.
    pub(crate) fn enter_loop_state(&mut self) {
        if self.state.through {
            return;
        }
        let height = self.stack.len();
        if let Some(liveness) = &mut self.liveness {
            let (has_call, writes) = liveness.in_loop(self.operator);
            let writes = writes.to_vec();
            if has_call {
                let mut stable = liveness.before(self.operator);
                writes.iter().for_each(|&local| stable.remove(local));
                stable.iter().for_each(|local| self.save_local(local));
            }
            writes.iter().for_each(|&local| self.state.local_written(local));
            self.state.spent += writes.len() as u64 / 8;
        }
        self.state.change().operands.truncate(height);
    }

    /// Traps for `trap` if `condition` is not zero, in a cold block that stores the state first.
    pub(crate) fn trap_if(&mut self, condition: Value, trap: Trap) {
        if self.state.mode == FrameState::Off {
            self.builder.ins().trapnz(condition, Points::fixed_code(trap));
            return;
        }
        let cold = self.builder.create_block();
        self.builder.set_cold_block(cold);
        let next = self.builder.create_block();
        self.builder.ins().brif(condition, cold, &[], next, &[]);
        self.builder.switch_to_block(cold);
        self.builder.seal_block(cold);
        let before = self.state.held.clone();
        self.trap_here(trap);
        self.state.latest = None;
        self.state.held = before;
        self.builder.switch_to_block(next);
        self.builder.seal_block(next);
        // What traps from here on shows what the cells hold on this path.
        self.split_point();
    }

    /// Traps for `trap` if `condition` is zero, likewise.
    pub(crate) fn trap_unless(&mut self, condition: Value, trap: Trap) {
        if self.state.mode == FrameState::Off {
            self.builder.ins().trapz(condition, Points::fixed_code(trap));
            return;
        }
        let failed = self.builder.ins().icmp_imm_s(IntCC::Equal, condition, 0);
        self.trap_if(failed, trap);
    }

    /// Stores the state and traps.
    pub(crate) fn trap_here(&mut self, trap: Trap) {
        self.save();
        let state = self.saved_state();
        self.split_point();
        self.points.set_trap_state(state);
        // Cranelift moves a block that does nothing but trap to where it is branched to, and the
        // trap would be found at the branch.
        self.builder.ins().sequence_point();
        self.builder.ins().trap(Points::fixed_code(trap));
    }

    /// Notes what a frame shows that the current operator has trapped in by itself: at its end, and
    /// before it saves.
    pub(crate) fn note_trap_state(&mut self) {
        if self.state.mode != FrameState::Off {
            let count = self.stack.untouched().min(self.stack.len());
            let state = self.held_state(count);
            self.points.set_trap_states_from(self.first_point, state);
        }
    }

    fn point_with(&mut self, state: PointState) {
        if self.points.has_call_state() {
            self.split_point();
        }
        self.points.set_call_state(state);
    }

    /// Gives what follows a point of its own, of the same operator.
    pub(crate) fn split_point(&mut self) {
        let loc = self.points.split_point();
        self.builder.set_srcloc(loc);
    }

    fn slot(&mut self) -> StackSlot {
        if let Some(slot) = self.state.slot {
            return slot;
        }
        // Its size is known when all cells are.
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 0, 3);
        let slot = self.builder.create_sized_stack_slot(data);
        self.state.slot = Some(slot);
        slot
    }

    fn store_cell(&mut self, cell: u32, value: Value) {
        self.state.spent += 1;
        let slot = self.slot();
        let offset = self.state.offsets[cell as usize] as i32;
        self.builder.ins().stack_store(types::I64, value, slot, offset);
    }

    fn load_cell(&mut self, cell: u32, ty: ValType) -> Value {
        let slot = self.slot();
        let offset = self.state.offsets[cell as usize] as i32;
        self.builder.ins().stack_load(types::I64, clif_type(ty), slot, offset)
    }
}

/// What is to be put back behind a checkpoint's cold block.
pub(crate) struct ColdState {
    before: Rc<Held>,
    kept: LocalSet,
}
