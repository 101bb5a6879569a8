//! The code that keeps frame state: stores before safepoints, loads behind them, traps.
//!
//! What it emits and what it notes in the [`StateKeeper`](super::StateKeeper) go together: a cell is
//! held from its store on.

use super::Held;
use crate::env::clif_type;
use crate::func::FuncTranslator;
use crate::liveness::{Liveness, LocalSet};
use crate::points::{PointState, Points};
use crate::regions::Region;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use std::rc::Rc;
use stillframe_abi::Trap;
use stillframe_abi::artifact::FrameState;
use stillframe_abi::frame_table::Cell;
use stillframe_abi::types::ValType;

/// What is to be put back behind a checkpoint's cold block.
pub(crate) struct ColdState {
    before: Rc<Held>,
    kept: LocalSet,
}

impl FuncTranslator<'_> {
    /// Stores the context, so that frames of the function can tell their instance, and cold blocks
    /// in its loops, if it has any, or all blocks, in the plain way, need not find it in a register.
    pub(crate) fn keep_context(&mut self, has_loop: bool) {
        let metering = self.env.metering;
        let mut cell = None;
        if self.state.mode != FrameState::Off {
            let new = self.state.new_cell(Cell::Context, false);
            self.state.set_held(new, true);
            cell = Some(new);
        }
        self.context = match cell {
            _ if self.state.is_plain() => Some(self.store_context_home(cell)),
            Some(cell) => {
                self.store_cell(cell, self.context_param);
                Some((self.slot(), self.state.offsets[cell as usize] as i32))
            }
            None if has_loop && (metering.fuel || metering.epochs) => {
                let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3);
                let slot = self.builder.create_sized_stack_slot(data);
                let address = self.builder.ins().stack_addr(types::I64, slot, 0);
                let flags = self.cell_flags();
                self.builder.ins().store(flags, self.context_param, address, 0);
                Some((slot, 0))
            }
            None => None,
        };
    }

    /// Where the frame keeps the context, if it does, and flags for loading it.
    pub(crate) fn kept_context(&mut self) -> Option<(Value, MemFlagsData)> {
        let (slot, offset) = self.context?;
        let address = self.builder.ins().stack_addr(types::I64, slot, offset);
        Some((address, self.cell_flags()))
    }

    /// In write-through mode: stores all locals, which have their first values.
    pub(crate) fn keep_all_locals(&mut self) {
        if self.state.through && !self.state.is_plain() {
            (0..self.locals.len() as u32).for_each(|local| self.save_local(local));
        }
    }

    /// The first value of a local, which is the latest one.
    pub(crate) fn start_local(&mut self, local: u32, value: Value) {
        let (var, ty) = self.locals[local as usize];
        if !self.state.is_plain() {
            return self.builder.def_var(var, value);
        }
        self.store_local_home(local, value);
        if self.state.keeps(ty) {
            let cell = self.state.cell_of_local(local, ty);
            self.state.set_held(cell, true);
        }
    }

    /// Gives a local another value.
    pub(crate) fn write_local(&mut self, local: u32, value: Value) {
        if self.state.is_plain() {
            return self.store_local_home(local, value);
        }
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
        if self.state.is_plain() {
            return self.load_local_home(local);
        }
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
        if self.state.is_plain() {
            return self.store_operand_home(depth, value);
        }
        match self.through_cell(depth) {
            Some(cell) => self.store_cell(cell, value),
            None if self.env.frame_writes => self.set_operand(depth, value),
            None => {}
        }
    }

    /// The operand at a depth, bottom first.
    pub(crate) fn operand(&mut self, depth: usize) -> Value {
        if self.state.is_plain() {
            return self.operand_at_home(depth);
        }
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
        if let Some((liveness, operator, first_local)) = self.inlining.liveness() {
            // Those of the function around were saved before the body.
            let of_body = |liveness: &mut Liveness| liveness.before(operator).shifted(first_local);
            return liveness.map_or_else(|| LocalSet::empty(0), of_body);
        }
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

    /// Before a body that is inlined and can trap, whose arguments were popped: stores what a frame
    /// shows that has called it.
    pub(crate) fn save_as_for_call(&mut self) {
        self.save();
    }

    /// The state of a frame that stands here with all of its operands saved.
    fn saved_state(&mut self) -> PointState {
        let types = self.stack.types();
        let count = if self.state.mode == FrameState::Off { 0 } else { types.len() };
        self.state.state(count, |_, depth| Some(types[depth]))
    }

    /// The state of a frame that stands here with its lowest `count` operands, as far as the cells
    /// hold it.
    fn held_state(&mut self, count: usize) -> PointState {
        // With writes, an operand is a variable, and which value it has is not at hand.
        let (stack, writes) = (&self.stack, self.env.frame_writes);
        self.state.state(count, |state, depth| {
            let held = state.held.operands.get(depth).copied().flatten();
            let is_held = state.through || held == Some(stack.values()[depth]) && !writes;
            is_held.then(|| stack.types()[depth])
        })
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
        self.reload_operands();
    }

    fn reload_operands(&mut self) {
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
        // A cell that the cold block has written does not hold any more what it held before, which
        // may be on the stack again later.
        let in_cold = std::mem::replace(&mut self.state.held, cold.before);
        if !Rc::ptr_eq(&in_cold, &self.state.held) {
            Rc::make_mut(&mut self.state.held).meet(&in_cold);
        }
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
        // All calls have saved what lies below the `try_table`.
        self.reload_operands();
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
    /// there are safepoints in it; behind this, what its body writes is not held.
    pub(crate) fn enter_loop_state(&mut self) {
        if self.state.through {
            return;
        }
        let height = self.stack.len();
        if let Some(liveness) = &mut self.liveness {
            let (has_call, writes) = liveness.in_loop(self.operator);
            let writes = writes.to_vec();
            if has_call || self.env.metering.fuel || self.env.metering.epochs {
                let mut stable = liveness.before(self.operator);
                writes.iter().for_each(|&local| stable.remove(local));
                stable.iter().for_each(|local| self.save_local(local));
            }
            writes.iter().for_each(|&local| self.state.local_written(local));
            self.state.spent += writes.len() as u64 / 8;
        }
        // What was popped is not held: the loop's body may put it back, and use the cell otherwise.
        let kept = height.min(self.state.held.operands.len());
        let current: Vec<Value> = (0..kept).map(|depth| self.operand(depth)).collect();
        let operands = &mut self.state.change().operands;
        operands.truncate(height);
        for (held, current) in operands.iter_mut().zip(current) {
            *held = held.filter(|held| *held == current);
        }
    }

    /// Traps for `trap` if `condition` is not zero, in a cold block that stores the state first, if there
    /// is anything to store.
    pub(crate) fn trap_if(&mut self, condition: Value, trap: Trap) {
        if self.traps_in_place() {
            self.builder.ins().trapnz(condition, Points::fixed_code(trap));
            return self.trapped_in_place();
        }
        let cold = self.builder.create_block();
        self.set_cold(cold);
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
        if self.traps_in_place() {
            self.builder.ins().trapz(condition, Points::fixed_code(trap));
            return self.trapped_in_place();
        }
        let failed = self.builder.ins().icmp_imm_s(IntCC::Equal, condition, 0);
        self.trap_if(failed, trap);
    }

    /// Before a trap: if it has nothing to store, says what a frame shows there.
    fn traps_in_place(&mut self) -> bool {
        let shows = self.state.mode != FrameState::Off;
        if shows && self.state.through {
            self.save();
            let state = self.saved_state();
            self.split_point();
            self.points.set_trap_state(state);
        }
        !shows || self.state.through
    }

    /// Behind it: what traps from here on is at a point of its own.
    fn trapped_in_place(&mut self) {
        if self.state.mode != FrameState::Off {
            self.split_point();
        }
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

    pub(super) fn slot(&mut self) -> StackSlot {
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
        let address = self.builder.ins().stack_addr(types::I64, slot, offset);
        let flags = self.cell_flags();
        self.builder.ins().store(flags, value, address, 0);
    }

    fn load_cell(&mut self, cell: u32, ty: ValType) -> Value {
        // A value that is loaded again is another one, which has to meet the old one where paths do.
        self.state.spent += 4;
        let slot = self.slot();
        let offset = self.state.offsets[cell as usize] as i32;
        let address = self.builder.ins().stack_addr(types::I64, slot, offset);
        let flags = self.cell_flags();
        self.builder.ins().load(clif_type(ty), flags, address, 0)
    }

    /// Flags of an access to a cell. Cells are aligned for words, not for vectors.
    pub(super) fn cell_flags(&mut self) -> MemFlagsData {
        Region::FrameCells.flags(self.builder.func, MemFlagsData::new().with_notrap())
    }
}
