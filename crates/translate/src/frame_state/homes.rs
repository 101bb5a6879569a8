//! The plain way: locals and operands live in the frame.
//!
//! What the register allocator is given grows with locals times branches, and so does what it takes. In the
//! plain way nothing lives from one block to the next but in the frame: each local and each operand
//! has a *home* there, which is its cell if it is kept. Whatever is written is stored in its home at once;
//! an operand is loaded again unless the block in which it was pushed is still the current one.

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
    /// The addresses of both slots, and in which block they were computed.
    bases: [Option<(Block, Value)>; 2],
}

impl Homes {
    /// Makes room for a value.
    fn reserve(&mut self, wide: bool) -> Home {
        let offset = self.size;
        self.size += if wide { 16 } else { 8 };
        Home::Other(offset)
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

    /// The operand at a depth: as it was pushed, if that was in this block and nobody can have written
    /// to it, or from its home.
    pub(super) fn operand_at_home(&mut self, depth: usize) -> Value {
        if !self.env.frame_writes && self.stack.block(depth) == self.builder.current_block() {
            return self.stack.values()[depth];
        }
        let ty = self.stack.types()[depth];
        let home = self.state.home_of_operand(depth, ty);
        self.load_at(home, ty)
    }

    /// Saves values, of these types, for a block that comes later. In the plain way they do not
    /// live until then, but are in the frame.
    pub(crate) fn save_for_later(&mut self, values: Vec<Value>, types: &[ValType]) -> Saved {
        if !self.state.is_plain() {
            return Saved::Values(values);
        }
        let mut homes = Vec::with_capacity(values.len());
        for (value, &ty) in values.into_iter().zip(types) {
            let home = self.state.homes().reserve(ty == ValType::V128);
            self.store_at(home, value);
            homes.push((home, ty));
        }
        Saved::Homes(homes)
    }

    /// What was saved.
    pub(crate) fn saved(&mut self, saved: Saved) -> Vec<Value> {
        match saved {
            Saved::Values(values) => values,
            Saved::Homes(homes) => {
                homes.into_iter().map(|(home, ty)| self.load_at(home, ty)).collect()
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

    /// A home's address. That of its slot is computed once for each block.
    fn address(&mut self, home: Home) -> (Value, i32) {
        let (which, offset) = match home {
            Home::Cell(offset) => (0, offset as i32),
            Home::Other(offset) => (1, offset as i32),
        };
        let here = self.builder.current_block();
        if let Some((block, base)) = self.state.homes().bases[which]
            && here == Some(block)
        {
            return (base, offset);
        }
        let slot = match home {
            Home::Cell(_) => self.slot(),
            Home::Other(_) => self.slot_of_others(),
        };
        let base = self.builder.ins().stack_addr(types::I64, slot, 0);
        self.state.homes().bases[which] = here.map(|block| (block, base));
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
    Homes(Vec<(Home, ValType)>),
}
