//! Points: which operator each machine instruction belongs to, and what it had charged.
//!
//! Every operator that is translated gets a *point*; Cranelift carries its number as the
//! `SourceLoc` of the instructions, opaquely. After compilation the point of an address gives the
//! wasm pc and, for a trap, the fuel to give back: what was charged in advance, for the rest of its
//! run and what comes behind it (`charges.rs`), and is not executed.
//!
//! # Loads move
//!
//! Cranelift sinks a load into the instruction that uses it, and then the fault carries the
//! *later* operator's `SourceLoc`. Its `TrapCode` survives the move. So a load's trap code is the
//! number of its *site* in a chunk of at most [`CHUNK_SITES`] sites, and the `SourceLoc` says which
//! chunk.
//!
//! How far can a load move? Not past an instruction with an effect, but for one: another load that
//! is sunk too. So a row of loads, all used later, can all sink as far as to their uses, each past
//! the sites of all those behind it. To bound that, the translator emits a barrier where a chunk
//! ends ([`Points::end_chunk`]): no load leaves its chunk. All other trapping instructions stay
//! where they are and use one fixed code for each [`Trap`].

use crate::charges::{Charged, RunId};
use cranelift_codegen::ir::{SourceLoc, TrapCode};
use stillframe_abi::Trap;
use stillframe_abi::frame_table::WasmPc;

/// Sites in a chunk, at most.
const CHUNK_SITES: usize = 200;
/// Sites of one operator, at most.
const OPERATOR_SITES: usize = 4;
/// The codes after this one are the fixed ones.
const FIXED: u8 = CHUNK_SITES as u8;

/// The number of a state in its function (`frame_state/`): what can be read of a frame that
/// stands at a point. State 0 is nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct PointState(pub(crate) u32);

#[derive(Clone, Copy, Debug)]
struct Point {
    wasm_pc: WasmPc,
    /// The inlined body that it is in, by its position among the function's sites.
    site: Option<u32>,
    /// The run that it is in, and the run's cost up to and including this point's operator; `None`
    /// where nothing is charged in advance.
    charged: Option<(RunId, u64)>,
    /// The state at its call, if there is one.
    call: Option<PointState>,
    /// The state where it traps.
    trap: Option<PointState>,
}

#[derive(Debug)]
struct Chunk {
    /// First point whose operator may have sites of this chunk.
    first_point: u32,
    /// The points of the chunk's sites, by number.
    sites: Vec<u32>,
}

/// The points of one function.
#[derive(Debug, Default)]
pub(crate) struct Points {
    points: Vec<Point>,
    chunks: Vec<Chunk>,
    charges: Option<Charged>,
    /// The inlined body that new points are in.
    site: Option<u32>,
}

/// What a point says once the function is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Resolved {
    pub(crate) wasm_pc: WasmPc,
    /// The inlined body that it is in.
    pub(crate) site: Option<u32>,
    pub(crate) refund: u64,
    /// The state at its call.
    pub(crate) call: PointState,
    /// The state where it traps.
    pub(crate) trap: PointState,
}

impl Points {
    /// Says what was charged for the runs. Before this, nothing counts as charged.
    pub(crate) fn set_charges(&mut self, charges: Charged) {
        self.charges = Some(charges);
    }

    /// Starts a point: the instructions emitted from here on belong to the operator at `wasm_pc`.
    /// `charged` is the open run and its cost up to and including this operator.
    pub(crate) fn start_point(
        &mut self,
        wasm_pc: WasmPc,
        charged: Option<(RunId, u64)>,
    ) -> SourceLoc {
        let site = self.site;
        self.push(Point { wasm_pc, site, charged, call: None, trap: None })
    }

    /// Says which inlined body, if any, the points are in that start from here on.
    pub(crate) fn set_site(&mut self, site: Option<u32>) {
        self.site = site;
    }

    /// Starts another point of the same operator.
    pub(crate) fn split_point(&mut self) -> SourceLoc {
        let point = *self.current();
        self.push(Point { call: None, trap: None, ..point })
    }

    fn push(&mut self, point: Point) -> SourceLoc {
        self.points.push(point);
        SourceLoc::new(self.points.len() as u32 - 1)
    }

    fn current(&mut self) -> &mut Point {
        self.points.last_mut().expect("a function starts with a point")
    }

    /// Sets the state at the call of the current point.
    pub(crate) fn set_call_state(&mut self, state: PointState) {
        debug_assert!(self.current().call.is_none(), "one call at each point");
        self.current().call = Some(state);
    }

    /// Whether the current point has its call already.
    pub(crate) fn has_call_state(&mut self) -> bool {
        self.current().call.is_some()
    }

    /// Sets the state where the current point traps.
    pub(crate) fn set_trap_state(&mut self, state: PointState) {
        self.current().trap = Some(state);
    }

    /// The same, for all points of the current operator that have none. `first` is its first one.
    pub(crate) fn set_trap_states_from(&mut self, first: SourceLoc, state: PointState) {
        for point in &mut self.points[first.bits() as usize..] {
            point.trap.get_or_insert(state);
        }
    }

    /// Ends the chunk if the next operator's sites might not fit it. Then a barrier must be emitted
    /// that no load sinks past. To be called between two operators.
    pub(crate) fn end_chunk(&mut self) -> bool {
        let full = |chunk: &Chunk| chunk.sites.len() > CHUNK_SITES - OPERATOR_SITES;
        let ends = self.chunks.last().is_some_and(full);
        if ends {
            let first_point = self.points.len() as u32;
            self.chunks.push(Chunk { first_point, sites: Vec::new() });
        }
        ends
    }

    /// The trap code for a load or store of the current point's operator that can fault.
    pub(crate) fn memory_site(&mut self) -> TrapCode {
        let point = self.points.len() as u32 - 1;
        if self.chunks.is_empty() {
            self.chunks.push(Chunk { first_point: point, sites: Vec::new() });
        }
        let chunk = self.chunks.last_mut().expect("just pushed");
        chunk.sites.push(point);
        assert!(chunk.sites.len() <= CHUNK_SITES, "end_chunk comes before every operator");
        TrapCode::unwrap_user(chunk.sites.len() as u8)
    }

    /// The trap code of an instruction that traps for `trap` and cannot move.
    pub(crate) fn fixed_code(trap: Trap) -> TrapCode {
        match trap {
            Trap::StackOverflow => TrapCode::STACK_OVERFLOW,
            Trap::IntegerOverflow => TrapCode::INTEGER_OVERFLOW,
            Trap::IntegerDivisionByZero => TrapCode::INTEGER_DIVISION_BY_ZERO,
            Trap::BadConversionToInteger => TrapCode::BAD_CONVERSION_TO_INTEGER,
            _ => TrapCode::unwrap_user(FIXED + trap.code()),
        }
    }

    fn resolve_point(&self, point: u32) -> Option<Resolved> {
        let point = self.points.get(point as usize)?;
        let refund = match (&self.charges, point.charged) {
            (Some(charges), Some((run, prefix))) => charges.of(run) - prefix,
            _ => 0,
        };
        let (call, trap) = (point.call.unwrap_or_default(), point.trap.unwrap_or_default());
        Some(Resolved { wasm_pc: point.wasm_pc, site: point.site, refund, call, trap })
    }

    /// What is known of an instruction with this `SourceLoc`.
    pub(crate) fn resolve(&self, loc: SourceLoc) -> Option<Resolved> {
        self.resolve_point(loc.bits())
    }

    /// What is known of a trap with this code at an instruction with this `SourceLoc`.
    pub(crate) fn resolve_trap(&self, loc: SourceLoc, code: TrapCode) -> Option<(Trap, Resolved)> {
        let fixed = match code {
            TrapCode::STACK_OVERFLOW => Some(Trap::StackOverflow),
            TrapCode::INTEGER_OVERFLOW => Some(Trap::IntegerOverflow),
            TrapCode::INTEGER_DIVISION_BY_ZERO => Some(Trap::IntegerDivisionByZero),
            TrapCode::BAD_CONVERSION_TO_INTEGER => Some(Trap::BadConversionToInteger),
            TrapCode::HEAP_OUT_OF_BOUNDS => Some(Trap::MemoryOutOfBounds),
            code if code.as_raw().get() > FIXED => {
                Some(Trap::from_code(code.as_raw().get() - FIXED)?)
            }
            _ => None,
        };
        if let Some(trap) = fixed {
            return Some((trap, self.resolve(loc)?));
        }
        let after = self.chunks.partition_point(|chunk| chunk.first_point <= loc.bits());
        let chunk = &self.chunks[after.checked_sub(1)?];
        let point = *chunk.sites.get(usize::from(code.as_raw().get()) - 1)?;
        Some((Trap::MemoryOutOfBounds, self.resolve_point(point)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_found_by_its_site_also_under_any_later_operator_of_its_chunk() {
        let mut points = Points::default();
        let (run, charged) = Charged::one_run(500);
        let (mut sites, mut starts) = (Vec::new(), vec![0]);
        for i in 0..500u32 {
            if points.end_chunk() {
                starts.push(i);
            }
            let loc = points.start_point(WasmPc(1000 + i), Some((run, u64::from(i) + 1)));
            sites.push((loc, points.memory_site()));
        }
        points.set_charges(charged);
        assert_eq!(starts.len(), 3);
        starts.push(500);
        for chunk in starts.windows(2) {
            for i in chunk[0]..chunk[1] {
                for under in i..chunk[1] {
                    let (loc, code) = (sites[under as usize].0, sites[i as usize].1);
                    let (trap, resolved) = points.resolve_trap(loc, code).unwrap();
                    assert_eq!(trap, Trap::MemoryOutOfBounds);
                    assert_eq!(resolved.wasm_pc, WasmPc(1000 + i));
                    assert_eq!(resolved.refund, u64::from(499 - i));
                }
            }
        }
    }

    #[test]
    fn fixed_codes_take_the_operator_from_the_source_location() {
        let mut points = Points::default();
        let loc = points.start_point(WasmPc(7), None);
        for trap in Trap::ALL {
            let (resolved_trap, resolved) =
                points.resolve_trap(loc, Points::fixed_code(trap)).unwrap();
            assert_eq!(
                (resolved_trap, resolved),
                (trap, Resolved { wasm_pc: WasmPc(7), refund: 0, ..resolved })
            );
        }
    }
}
