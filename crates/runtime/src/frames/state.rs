//! What can be read of frames at a place, as rows keep it.
//!
//! Rows are made by the thousand when a debugger walks for the first time, and asked whenever a
//! value is read: so what is usual, few cells and few operands, lies in the row itself.

use std::sync::Arc;
use stillframe_abi::frame_table::{CellSet, Readable};
use stillframe_abi::types::ValType;

/// A compact copy of a [`Readable`].
pub(crate) struct RowState {
    cells: Cells,
    operands: Operands,
}

enum Cells {
    /// The first 64.
    Few(u64),
    Many(Arc<CellSet>),
}

/// Operands that fit a row.
const FEW: usize = 14;

enum Operands {
    Few(u8, [Option<ValType>; FEW]),
    Many(Box<[Option<ValType>]>),
}

impl RowState {
    pub(crate) fn new(readable: &Readable) -> RowState {
        let cells = match readable.cells.words() {
            0 | 1 => Cells::Few(readable.cells.iter().fold(0, |few, cell| few | 1 << cell)),
            _ => Cells::Many(readable.cells.clone()),
        };
        let operands = &readable.operands;
        let operands = match operands.len() <= FEW {
            true => {
                let mut few = [None; FEW];
                few[..operands.len()].copy_from_slice(operands);
                Operands::Few(operands.len() as u8, few)
            }
            false => Operands::Many(operands.as_slice().into()),
        };
        RowState { cells, operands }
    }

    /// Whether a cell holds its value.
    #[inline]
    pub(crate) fn holds(&self, cell: u32) -> bool {
        match &self.cells {
            Cells::Few(few) => cell < 64 && few >> cell & 1 != 0,
            Cells::Many(set) => set.contains(cell),
        }
    }

    /// The cells that hold their values.
    pub(crate) fn cells(&self) -> impl Iterator<Item = u32> {
        let (mut few, many) = match &self.cells {
            Cells::Few(few) => (*few, None),
            Cells::Many(set) => (0, Some(set)),
        };
        let few = std::iter::from_fn(move || {
            let cell = (few != 0).then(|| few.trailing_zeros())?;
            few &= few - 1;
            Some(cell)
        });
        few.chain(many.into_iter().flat_map(|set| set.iter()))
    }

    /// The operands, from the bottom: the type of one whose cell holds it.
    #[inline]
    pub(crate) fn operands(&self) -> &[Option<ValType>] {
        match &self.operands {
            Operands::Few(len, few) => &few[..usize::from(*len)],
            Operands::Many(many) => many,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_what_the_original_says() {
        for cells in [&[][..], &[0], &[1, 62, 63], &[64], &[0, 63, 64, 1000]] {
            for operands in [0, 1, FEW, FEW + 1, 300] {
                let types = [Some(ValType::I32), None, Some(ValType::V128)];
                let mut set = CellSet::default();
                cells.iter().for_each(|&cell| set.set(cell, true));
                let operands = types.into_iter().cycle().take(operands).collect();
                let readable = Readable { cells: Arc::new(set), operands };
                let copy = RowState::new(&readable);
                assert_eq!(copy.cells().collect::<Vec<_>>(), cells);
                assert_eq!(copy.operands(), readable.operands);
                let step = if cfg!(miri) { 13 } else { 1 };
                let around = cells.iter().flat_map(|cell| cell.saturating_sub(1)..cell + 2);
                let all = (0..1100).step_by(step).chain(around);
                for cell in all.chain([u32::MAX - 1, u32::MAX]) {
                    assert_eq!(copy.holds(cell), cells.contains(&cell), "{cell} of {cells:?}");
                }
            }
        }
    }
}
