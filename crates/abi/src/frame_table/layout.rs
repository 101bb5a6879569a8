//! Where a function's frame keeps its state, and what of it can be read at a place.
//!
//! A frame with state has one area of *cells*, below its frame pointer. A cell is for the context,
//! for one local, or for the operand at one depth of the operand stack, and holds its value
//! whenever a [`Readable`] says so:
//!
//! ```text
//!   fp          saved frame pointer
//!               what the register allocator has spilled, …
//!   fp − base   cell 0, cell 1, …        upwards, 8 bytes each, 16 for a vector
//! ```
//!
//! # Inlined bodies
//!
//! A function that is translated in its caller's place has no frame. Where such a body can stop (it
//! can only trap: bodies that call, or that the runtime can stop, are not inlined) the frame stands
//! for two, and its table has the *site*: who was called, where, and how the callee's locals and
//! operands are numbered in the frame.
//!
//! ```text
//!   locals     0 … n−1, the function's own   … first_local, the callee's own, in their order …
//!   operands   0 … first_operand−1: what lies below the call's arguments   the callee's, from 0 on
//! ```
//!
//! Values stand there in the layout of the machine: integers and floats in the low bytes of their
//! cell, references as what generated code has for them.

use super::WasmPc;
use super::bytes::{read_u8, read_varint, unzigzag, write_varint, zigzag};
use crate::types::ValType;
use std::sync::Arc;

/// Whose value a cell holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Cell {
    /// The instance's context.
    Context,
    /// The local with this index; parameters come first. Those of inlined bodies come behind the
    /// function's own.
    Local(u32),
    /// The operand at this depth; 0 is the bottom of the operand stack.
    Operand {
        /// The depth.
        depth: u32,
        /// Whether it is for vectors; other operands of the depth have another cell.
        wide: bool,
    },
}

/// Where the state of a function's frames lies: the same for all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FrameLayout {
    /// How many locals of which type the body declares, in order; parameters are not among them.
    pub declared: Vec<(u32, ValType)>,
    /// The inlined bodies in which a frame can stop, by their first locals.
    pub sites: Vec<InlineSite>,
    /// Bytes from the frame pointer down to the first cell.
    pub base: u32,
    /// The cells, in the order in which they lie.
    pub cells: Vec<Cell>,
}

/// Where the body of another function is inlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InlineSite {
    /// The operator that calls it.
    pub call: WasmPc,
    /// The function, by its index in the module. It is one that the module defines.
    pub callee: u32,
    /// The callee's first local, in the frame's numbering. It has as many as its own layout says.
    pub first_local: u32,
    /// The callee's first operand, in the frame's numbering.
    pub first_operand: u32,
}

/// What can be read of a frame that stands at a place.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Readable {
    /// The cells of context and locals that hold their values.
    pub cells: Arc<CellSet>,
    /// The operands, from the bottom: the type of one whose cell holds it, and `None` for one that
    /// cannot be read. A call, and an operator that traps, have taken theirs.
    pub operands: Vec<Option<ValType>>,
}

impl Readable {
    /// Makes it one of nothing, and keeps the memory.
    pub(super) fn clear(&mut self) {
        match Arc::get_mut(&mut self.cells) {
            Some(cells) => cells.words.clear(),
            None => self.cells = Arc::default(),
        }
        self.operands.clear();
    }
}

/// A set of cells, by their position in [`FrameLayout::cells`].
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct CellSet {
    /// Bits; never a zero word at the end.
    words: Vec<u64>,
}

impl CellSet {
    /// Whether the cell is in the set.
    #[inline]
    pub fn contains(&self, cell: u32) -> bool {
        let word = self.words.get(cell as usize / 64).copied().unwrap_or(0);
        word >> (cell % 64) & 1 != 0
    }

    /// Adds a cell, or takes it out.
    pub fn set(&mut self, cell: u32, is_in: bool) {
        let (at, bit) = (cell as usize / 64, 1 << (cell % 64));
        if is_in {
            if self.words.len() <= at {
                self.words.resize(at + 1, 0);
            }
            self.words[at] |= bit;
        } else if let Some(word) = self.words.get_mut(at) {
            *word &= !bit;
            self.trim();
        }
    }

    /// How large the set is in memory, in words.
    pub fn words(&self) -> usize {
        self.words.len()
    }

    /// Takes out what is not in `other` as well.
    pub fn intersect(&mut self, other: &CellSet) {
        self.words.truncate(other.words.len());
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word &= other;
        }
        self.trim();
    }

    /// The cells, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'_> {
        bits(self.words.iter().copied())
    }

    /// The cells that are in one set and not in the other, ascending.
    fn differences<'a>(&'a self, other: &'a CellSet) -> impl Iterator<Item = u32> + use<'a> {
        let len = self.words.len().max(other.words.len());
        let word = |set: &CellSet, i: usize| set.words.get(i).copied().unwrap_or(0);
        bits((0..len).map(move |i| word(self, i) ^ word(other, i)))
    }

    fn trim(&mut self) {
        let used = self.words.iter().rposition(|&word| word != 0).map_or(0, |last| last + 1);
        self.words.truncate(used);
    }
}

/// The positions of the bits that are set.
fn bits(words: impl Iterator<Item = u64>) -> impl Iterator<Item = u32> {
    words.zip((0..).step_by(64)).flat_map(|(mut word, base)| {
        std::iter::from_fn(move || {
            let bit = (word != 0).then(|| word.trailing_zeros())?;
            word &= word - 1;
            Some(base + bit)
        })
    })
}

impl Cell {
    /// Bytes that the cell takes, in a function whose locals have these types.
    pub fn size(self, local_type: impl FnOnce(u32) -> Option<ValType>) -> u32 {
        let wide = match self {
            Cell::Context => false,
            Cell::Local(local) => local_type(local) == Some(ValType::V128),
            Cell::Operand { wide, .. } => wide,
        };
        if wide { 16 } else { 8 }
    }
}

const LOCAL: u64 = 0;
const NARROW: u64 = 1;
const WIDE: u64 = 2;
const CONTEXT: u64 = 3;

pub(super) fn encode_layout(layout: &FrameLayout, out: &mut Vec<u8>) {
    write_varint(out, layout.declared.len() as u64);
    for &(count, ty) in &layout.declared {
        write_varint(out, u64::from(count));
        out.push(type_code(ty));
    }
    write_varint(out, layout.sites.len() as u64);
    let mut last = 0;
    for site in &layout.sites {
        write_varint(out, zigzag(i64::from(site.call.0) - last));
        for number in [site.callee, site.first_local, site.first_operand] {
            write_varint(out, u64::from(number));
        }
        last = i64::from(site.call.0);
    }
    write_varint(out, layout.cells.len() as u64);
    if layout.cells.is_empty() {
        return;
    }
    write_varint(out, u64::from(layout.base));
    let mut last = 0;
    for &cell in &layout.cells {
        let (kind, number) = match cell {
            Cell::Context => (CONTEXT, 0),
            Cell::Operand { depth, wide: false } => (NARROW, u64::from(depth)),
            Cell::Operand { depth, wide: true } => (WIDE, u64::from(depth)),
            Cell::Local(local) => {
                let step = zigzag(i64::from(local) - last);
                last = i64::from(local);
                (LOCAL, step)
            }
        };
        write_varint(out, number << 2 | kind);
    }
}

pub(super) fn decode_layout(bytes: &mut &[u8]) -> Option<FrameLayout> {
    let mut layout = FrameLayout::default();
    for _ in 0..read_varint(bytes)? {
        let count = u32::try_from(read_varint(bytes)?).ok()?;
        layout.declared.push((count, type_of_code(read_u8(bytes)?)?));
    }
    let mut last = 0;
    for _ in 0..read_varint(bytes)? {
        last = i64::checked_add(last, unzigzag(read_varint(bytes)?))?;
        let call = WasmPc(u32::try_from(last).ok()?);
        let mut number = || u32::try_from(read_varint(bytes)?).ok();
        let (callee, first_local, first_operand) = (number()?, number()?, number()?);
        layout.sites.push(InlineSite { call, callee, first_local, first_operand });
    }
    let cells = read_varint(bytes)?;
    if cells == 0 {
        return Some(layout);
    }
    layout.base = u32::try_from(read_varint(bytes)?).ok()?;
    // Each takes a byte at least.
    layout.cells.reserve_exact(usize::try_from(cells).ok()?.min(bytes.len()));
    let mut last = 0;
    for _ in 0..cells {
        let word = read_varint(bytes)?;
        let number = word >> 2;
        layout.cells.push(match word & 3 {
            LOCAL => {
                last += unzigzag(number);
                Cell::Local(u32::try_from(last).ok()?)
            }
            CONTEXT => Cell::Context,
            kind => Cell::Operand { depth: u32::try_from(number).ok()?, wide: kind == WIDE },
        });
    }
    Some(layout)
}

/// Marks of what changed against the row before, in the byte of a row's kind.
pub(super) const CELLS_CHANGED: u8 = 0x20;
pub(super) const OPERANDS_CHANGED: u8 = 0x40;

/// Which of the marks a row with `state` after one with `before` needs.
pub(super) fn changes(before: &Readable, state: &Readable) -> u8 {
    let mut marks = 0;
    if before.cells != state.cells {
        marks |= CELLS_CHANGED;
    }
    if before.operands != state.operands {
        marks |= OPERANDS_CHANGED;
    }
    marks
}

pub(super) fn encode_changes(before: &Readable, state: &Readable, out: &mut Vec<u8>) {
    if before.cells != state.cells {
        encode_cells(&before.cells, &state.cells, out);
    }
    if before.operands != state.operands {
        let same = before.operands.iter().zip(&state.operands).take_while(|(a, b)| a == b).count();
        write_varint(out, same as u64);
        write_varint(out, (state.operands.len() - same) as u64);
        out.extend(state.operands[same..].iter().map(|ty| ty.map_or(UNKNOWN, type_code)));
    }
}

/// Writes the cells that are in one set and not in the other: one by one, or as runs if that is
/// shorter.
fn encode_cells(before: &CellSet, state: &CellSet, out: &mut Vec<u8>) {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    let mut count = 0u64;
    for cell in before.differences(state) {
        count += 1;
        match runs.last_mut() {
            Some((start, len)) if *start + *len == cell => *len += 1,
            _ => runs.push((cell, 1)),
        }
    }
    let as_runs = (runs.len() as u64) * 2 < count;
    let items = if as_runs { runs.len() as u64 } else { count };
    write_varint(out, items << 1 | u64::from(as_runs));
    let mut last = 0;
    for (start, len) in runs {
        write_varint(out, u64::from(start - last));
        last = start + len - 1;
        match as_runs {
            true => write_varint(out, u64::from(len - 1)),
            false => (1..len).for_each(|_| write_varint(out, 1)),
        }
    }
}

/// Reads what [`encode_cells`] has written.
fn decode_cells(cells: &mut CellSet, bytes: &mut &[u8]) -> Option<()> {
    let head = read_varint(bytes)?;
    let (items, as_runs) = (head >> 1, head & 1 != 0);
    let mut last = 0u64;
    for _ in 0..items {
        last = last.checked_add(read_varint(bytes)?)?;
        let more = if as_runs { read_varint(bytes)? } else { 0 };
        let end = last.checked_add(more).filter(|&end| end < u64::from(MAX_CELLS))?;
        for cell in last as u32..=end as u32 {
            let is_in = cells.contains(cell);
            cells.set(cell, !is_in);
        }
        last = end;
    }
    Some(())
}

pub(super) fn decode_changes(marks: u8, state: &mut Readable, bytes: &mut &[u8]) -> Option<()> {
    if marks & CELLS_CHANGED != 0 {
        decode_cells(Arc::make_mut(&mut state.cells), bytes)?;
    }
    if marks & OPERANDS_CHANGED != 0 {
        let same = usize::try_from(read_varint(bytes)?).ok()?;
        let more = usize::try_from(read_varint(bytes)?).ok()?;
        if same > state.operands.len() || more > bytes.len() {
            return None;
        }
        state.operands.truncate(same);
        for _ in 0..more {
            let code = read_u8(bytes)?;
            state.operands.push(if code == UNKNOWN { None } else { Some(type_of_code(code)?) });
        }
    }
    Some(())
}

/// More cells than any frame can have: so that damaged rows do not ask for all of memory.
const MAX_CELLS: u32 = 1 << 24;

const TYPES: [ValType; 8] = [
    ValType::I32,
    ValType::I64,
    ValType::F32,
    ValType::F64,
    ValType::V128,
    ValType::FuncRef,
    ValType::ExternRef,
    ValType::ExnRef,
];

/// The code of an operand that cannot be read.
const UNKNOWN: u8 = 0xff;

fn type_code(ty: ValType) -> u8 {
    TYPES.iter().position(|&other| other == ty).expect("all types are listed") as u8
}

fn type_of_code(code: u8) -> Option<ValType> {
    TYPES.get(usize::from(code)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_round_trips() {
        let layout = FrameLayout {
            declared: vec![(3, ValType::I32), (70_000, ValType::V128), (1, ValType::ExnRef)],
            sites: [(5_000, 70_004), (90, 1 << 30)]
                .map(|(pc, first_local)| InlineSite {
                    call: WasmPc(pc),
                    callee: 7,
                    first_local,
                    first_operand: 300,
                })
                .to_vec(),
            base: 4096,
            cells: vec![
                Cell::Context,
                Cell::Local(70_000),
                Cell::Local(0),
                Cell::Operand { depth: 3, wide: true },
                Cell::Operand { depth: 3, wide: false },
            ],
        };
        let without_cells = FrameLayout { base: 0, cells: Vec::new(), ..layout.clone() };
        for layout in [layout, without_cells, FrameLayout::default()] {
            let mut bytes = Vec::new();
            encode_layout(&layout, &mut bytes);
            let mut rest = &bytes[..];
            assert_eq!(decode_layout(&mut rest), Some(layout));
            assert!(rest.is_empty());
        }
    }

    #[test]
    fn sets_of_cells_are_what_was_set() {
        let mut set = CellSet::default();
        for cell in [0, 63, 64, 1000] {
            set.set(cell, true);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 1000]);
        assert!(set.contains(64) && !set.contains(65) && !set.contains(5000));
        let mut other = CellSet::default();
        other.set(64, true);
        other.set(65, true);
        let differences: Vec<_> = set.differences(&other).collect();
        assert_eq!(differences, [0, 63, 65, 1000]);
        set.intersect(&other);
        assert_eq!(set.iter().collect::<Vec<_>>(), [64]);
        set.set(64, false);
        assert_eq!(set, CellSet::default());
    }

    #[test]
    fn changes_round_trip_as_runs_and_one_by_one() {
        let set = |cells: &[u32]| {
            let mut set = CellSet::default();
            cells.iter().for_each(|&cell| set.set(cell, true));
            set
        };
        let many: Vec<u32> = (3..5000).collect();
        let odd: Vec<u32> = (0..500).map(|i| 2 * i + 1).collect();
        let mixed: Vec<u32> = (0..9).chain([20, 22]).chain(63..66).collect();
        let sets = [set(&[]), set(&[0]), set(&many), set(&odd), set(&mixed)];
        for before in &sets {
            for after in &sets {
                let mut bytes = Vec::new();
                encode_cells(before, after, &mut bytes);
                let (mut rest, mut cells) = (&bytes[..], before.clone());
                assert_eq!(decode_cells(&mut cells, &mut rest), Some(()));
                assert_eq!(&cells, after);
                assert!(rest.is_empty());
            }
        }
        let mut bytes = Vec::new();
        encode_cells(&sets[0], &sets[2], &mut bytes);
        assert!(bytes.len() < 8, "a run is short");
    }

    #[test]
    fn the_size_of_a_cell_is_by_its_type() {
        let types = |local| Some(if local == 1 { ValType::V128 } else { ValType::I32 });
        assert_eq!(Cell::Context.size(types), 8);
        assert_eq!(Cell::Local(0).size(types), 8);
        assert_eq!(Cell::Local(1).size(types), 16);
        assert_eq!(Cell::Operand { depth: 1, wide: false }.size(types), 8);
        assert_eq!(Cell::Operand { depth: 1, wide: true }.size(types), 16);
    }
}
