//! The plain way: locals and operands live in the frame.
//!
//! What the register allocator is given grows with locals times branches, and so does what it takes. In the
//! plain way each local and each operand has a *home* in the frame, which is its cell if it is kept.
//! Whatever is written is stored in its home at once, and loaded again where it is read, but for an
//! operand that was pushed in the same block, not long ago, with no call since.
//!
//! So next to nothing lives long. The register allocator has little to do then, and frames stay small also
//! where registers are allocated in a single pass (`effort.rs`), which gives a slot of its own to each
//! value that goes from one block to another, lives across a call or finds no register. Operands that a
//! branch passes are not parameters of the block that it goes to either, but move in the frame
//! (`ops/control/edges.rs`).

use super::StateKeeper;
use crate::env::clif_type;
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{
    self, Block, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types,
};
use stillframe_abi::types::ValType;

/// How a function is translated. Each is tried if the one before costs too much.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    /// Values in registers, stored where somebody can look.
    Usual,
    /// What is written is stored at once.
    Through,
    /// Likewise, and values live in the frame.
    Plain,
}

/// Where a value lives in the frame.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Home {
    /// At this offset in the slot of the cells.
    Cell(u32),
    /// At this offset in the slot of what has no cell.
    Other(u32),
}

/// Where values live that have no cell.
#[derive(Default)]
pub(super) struct Homes {
    slot: Option<StackSlot>,
    /// The slot's size so far.
    size: u32,
    locals: Vec<Option<Home>>,
    /// By depth: narrow and wide.
    operands: Vec<[Option<Home>; 2]>,
    /// Homes of what was saved and has been restored: narrow and wide.
    free: [Vec<Home>; 2],
    /// The addresses of both slots, computed at entry. The code generator makes them part of each access,
    /// so that they are in no register.
    bases: [Option<Value>; 2],
    /// Where the context is.
    context_home: Option<Home>,
    /// The context, in the block where it was loaded, until the next call.
    context: Option<(Block, Value)>,
}

impl Homes {
    /// Makes room for a value.
    fn reserve(&mut self, wide: bool) -> Home {
        let offset = self.size;
        self.size += if wide { 16 } else { 8 };
        Home::Other(offset)
    }

    fn reserve_for_later(&mut self, wide: bool) -> Home {
        let free = self.free[usize::from(wide)].pop();
        free.unwrap_or_else(|| self.reserve(wide))
    }
}

impl StateKeeper {
    /// Whether all locals and operands live in the frame.
    pub(crate) fn is_plain(&self) -> bool {
        self.homes.is_some()
    }

    fn homes(&mut self) -> &mut Homes {
        self.homes.get_or_insert_default()
    }

    fn home_of_local(&mut self, local: u32, ty: ValType) -> Home {
        if self.keeps(ty) {
            let cell = self.cell_of_local(local, ty);
            return Home::Cell(self.offsets[cell as usize]);
        }
        let (homes, at) = (self.homes(), local as usize);
        if let Some(&Some(home)) = homes.locals.get(at) {
            return home;
        }
        let home = homes.reserve(ty == ValType::V128);
        homes.locals.resize(homes.locals.len().max(at + 1), None);
        homes.locals[at] = Some(home);
        home
    }

    fn home_of_operand(&mut self, depth: usize, ty: ValType) -> Home {
        if self.keeps(ty) && depth < self.max_operands() {
            let cell = self.cell_of_operand(depth, ty);
            return Home::Cell(self.offsets[cell as usize]);
        }
        let (homes, wide) = (self.homes(), ty == ValType::V128);
        homes.operands.resize(homes.operands.len().max(depth + 1), [None; 2]);
        if let Some(home) = homes.operands[depth][usize::from(wide)] {
            return home;
        }
        let home = homes.reserve(wide);
        homes.operands[depth][usize::from(wide)] = Some(home);
        home
    }

    /// Sets the size of the slot with what has no cell.
    pub(super) fn finish_homes(&self, func: &mut ir::Function) {
        if let Some(homes) = &self.homes
            && let Some(slot) = homes.slot
        {
            func.sized_stack_slots[slot].size = homes.size;
        }
    }
}

impl FuncTranslator<'_> {
    /// Gives a local its first value, or another one.
    pub(super) fn store_local_home(&mut self, local: u32, value: Value) {
        let ty = self.locals[local as usize].1;
        let home = self.state.home_of_local(local, ty);
        self.store_at(home, value);
    }

    pub(super) fn load_local_home(&mut self, local: u32) -> Value {
        let ty = self.locals[local as usize].1;
        let home = self.state.home_of_local(local, ty);
        self.load_at(home, ty)
    }

    pub(super) fn store_operand_home(&mut self, depth: usize, value: Value) {
        let ty = self.stack.types()[depth];
        let home = self.state.home_of_operand(depth, ty);
        self.store_at(home, value);
    }

    /// The operand at a depth: as it was pushed, if that was just now and nobody can have written
    /// to it, or from its home.
    pub(super) fn operand_at_home(&mut self, depth: usize) -> Value {
        let recent = self.stack.recent(depth, self.builder.current_block());
        if let Some(value) = recent
            && !self.env.frame_writes
        {
            return value;
        }
        let ty = self.stack.types()[depth];
        let home = self.state.home_of_operand(depth, ty);
        self.load_at(home, ty)
    }

    /// The context of the function's instance.
    pub(crate) fn vmctx(&mut self) -> Value {
        if !self.state.is_plain() {
            return self.context_param;
        }
        let here = self.builder.current_block();
        if let Some((block, context)) = self.state.homes().context
            && here == Some(block)
        {
            return context;
        }
        let Some(home) = self.state.homes().context_home else { return self.context_param };
        let context = self.load_at(home, ValType::I64);
        self.state.homes().context = here.map(|block| (block, context));
        context
    }

    /// Moves operands, from this depth on, to the homes of those from another, lower depth on. What
    /// is at home there is lost; the stack stays as it is.
    pub(crate) fn move_operands(&mut self, from: usize, to: usize, count: usize) {
        debug_assert!(to <= from, "each is read before it is written to");
        let count = if from == to { 0 } else { count };
        for i in 0..count {
            let ty = self.stack.types()[from + i];
            let value = self.operand_at_home(from + i);
            let home = self.state.home_of_operand(to + i, ty);
            self.store_at(home, value);
        }
    }

    /// Behind a call: nothing that was computed before it needs to live across it.
    pub(crate) fn age_values(&mut self) {
        if let Some(homes) = &mut self.state.homes {
            self.stack.age();
            homes.context = None;
        }
    }

    /// Saves the topmost operands for a block that comes later, where other operands may have taken their
    /// homes.
    pub(crate) fn save_for_later(&mut self, count: usize) -> Saved {
        if !self.state.is_plain() {
            return Saved::Values(self.top(count));
        }
        let (mut homes, height) = (Vec::with_capacity(count), self.stack.len());
        for depth in height - count..height {
            let is_wide = self.stack.types()[depth] == ValType::V128;
            let home = self.state.homes().reserve_for_later(is_wide);
            let value = self.operand_at_home(depth);
            self.store_at(home, value);
            homes.push(home);
        }
        Saved::Homes(homes)
    }

    /// Pushes what was saved, of these types.
    pub(crate) fn restore(&mut self, saved: Saved, types: &[ValType]) {
        match saved {
            Saved::Values(values) => self.push_all(&values, types),
            Saved::Homes(homes) => {
                for (home, &ty) in homes.into_iter().zip(types) {
                    let value = self.load_at(home, ty);
                    self.push_as(value, ty);
                    self.state.homes().free[usize::from(ty == ValType::V128)].push(home);
                }
            }
        }
    }

    fn store_at(&mut self, home: Home, value: Value) {
        let ((base, offset), flags) = (self.address(home), self.cell_flags());
        self.builder.ins().store(flags, value, base, offset);
    }

    fn load_at(&mut self, home: Home, ty: ValType) -> Value {
        let ((base, offset), flags) = (self.address(home), self.cell_flags());
        self.builder.ins().load(clif_type(ty), flags, base, offset)
    }

    /// In the plain way, at entry: computes the addresses of both slots.
    pub(crate) fn start_homes(&mut self) {
        let slots = [self.slot(), self.slot_of_others()];
        let bases = slots.map(|slot| Some(self.builder.ins().stack_addr(types::I64, slot, 0)));
        self.state.homes().bases = bases;
    }

    /// In the plain way: keeps the context in the frame. Returns where.
    pub(super) fn store_context_home(&mut self, cell: Option<u32>) -> (StackSlot, i32) {
        let (home, at) = match cell {
            Some(cell) => {
                let offset = self.state.offsets[cell as usize];
                (Home::Cell(offset), (self.slot(), offset as i32))
            }
            None => {
                let offset = self.state.homes().size;
                (self.state.homes().reserve(false), (self.slot_of_others(), offset as i32))
            }
        };
        self.store_at(home, self.context_param);
        self.state.homes().context_home = Some(home);
        at
    }

    /// A home's address.
    fn address(&mut self, home: Home) -> (Value, i32) {
        let (which, offset) = match home {
            Home::Cell(offset) => (0, offset as i32),
            Home::Other(offset) => (1, offset as i32),
        };
        let base = self.state.homes().bases[which].expect("computed at entry");
        (base, offset)
    }

    fn slot_of_others(&mut self) -> StackSlot {
        if let Some(slot) = self.state.homes().slot {
            return slot;
        }
        // Its size is known when all homes are.
        let data = StackSlotData::new(StackSlotKind::ExplicitSlot, 0, 3);
        let slot = self.builder.create_sized_stack_slot(data);
        self.state.homes().slot = Some(slot);
        slot
    }
}

/// Values that a later block takes.
#[derive(Debug)]
pub(crate) enum Saved {
    Values(Vec<Value>),
    /// They are at these places of the frame.
    Homes(Vec<Home>),
}
