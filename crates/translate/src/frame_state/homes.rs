//! The plain way: locals and operands live in the frame.
//!
//! What the register allocator is given grows with locals times branches, and so does what it takes. In the
//! plain way nothing lives from one block to the next but in the frame: each local and each operand
//! has a *home* there, which is its cell if it is kept. Whatever is written is stored in its home at once;
//! an operand is loaded again unless the block in which it was pushed is still the current one.

use super::StateKeeper;
use crate::env::clif_type;
use crate::func::FuncTranslator;
use cranelift_codegen::ir::{Block, InstBuilder, Value, types};
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

/// Where values live that have no cell: offsets in the slot of the cells.
#[derive(Default)]
pub(super) struct Homes {
    locals: Vec<Option<u32>>,
    /// By depth: narrow and wide.
    operands: Vec<[Option<u32>; 2]>,
    /// The address of the slot, and in which block it was computed.
    base: Option<(Block, Value)>,
}

impl StateKeeper {
    /// Whether all locals and operands live in the frame.
    pub(crate) fn is_plain(&self) -> bool {
        self.homes.is_some()
    }

    /// Makes room for a value that has no cell.
    fn reserve(&mut self, wide: bool) -> u32 {
        let offset = self.size;
        self.size += if wide { 16 } else { 8 };
        offset
    }

    fn home_of_local(&mut self, local: u32, ty: ValType) -> u32 {
        if self.keeps(ty) {
            let cell = self.cell_of_local(local, ty);
            return self.offsets[cell as usize];
        }
        let at = local as usize;
        if let Some(&Some(home)) = self.homes.as_ref().and_then(|homes| homes.locals.get(at)) {
            return home;
        }
        let home = self.reserve(ty == ValType::V128);
        let locals = &mut self.homes.get_or_insert_default().locals;
        locals.resize(locals.len().max(at + 1), None);
        locals[at] = Some(home);
        home
    }

    fn home_of_operand(&mut self, depth: usize, ty: ValType) -> u32 {
        if self.keeps(ty) && depth < self.max_operands() {
            let cell = self.cell_of_operand(depth, ty);
            return self.offsets[cell as usize];
        }
        let wide = ty == ValType::V128;
        let known = self.homes.as_ref().and_then(|homes| homes.operands.get(depth));
        if let Some(home) = known.and_then(|homes| homes[usize::from(wide)]) {
            return home;
        }
        let home = self.reserve(wide);
        let operands = &mut self.homes.get_or_insert_default().operands;
        operands.resize(operands.len().max(depth + 1), [None; 2]);
        operands[depth][usize::from(wide)] = Some(home);
        home
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
            let home = self.state.reserve(ty == ValType::V128);
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

    fn store_at(&mut self, offset: u32, value: Value) {
        let (base, flags) = (self.base(), self.cell_flags());
        self.builder.ins().store(flags, value, base, offset as i32);
    }

    fn load_at(&mut self, offset: u32, ty: ValType) -> Value {
        let (base, flags) = (self.base(), self.cell_flags());
        self.builder.ins().load(clif_type(ty), flags, base, offset as i32)
    }

    /// The address of the slot with the homes. It is computed once for each block.
    fn base(&mut self) -> Value {
        let here = self.builder.current_block();
        let known = self.state.homes.as_ref().and_then(|homes| homes.base);
        if let Some((block, base)) = known
            && here == Some(block)
        {
            return base;
        }
        let slot = self.slot();
        let base = self.builder.ins().stack_addr(types::I64, slot, 0);
        self.state.homes.get_or_insert_default().base = here.map(|block| (block, base));
        base
    }
}

/// Values that a later block takes.
#[derive(Debug)]
pub(crate) enum Saved {
    Values(Vec<Value>),
    /// They are at these places of the frame.
    Homes(Vec<(u32, ValType)>),
}
