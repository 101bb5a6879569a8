//! Walking the frames of a frozen store.
//!
//! A walk starts where an activation left wasm (`last_wasm_exit_pc` and `_fp`) and follows the
//! chain of frame pointers to the entry trampoline, whose saved frame pointer is 0. Code without a
//! row in a frame table (trampolines) is passed over. The stack is read through a function that
//! checks every address against the wasm stack's bounds.

use crate::code;
use crate::module::CompiledModule;
use crate::stack::{Standing, WasmStack};
use crate::store::StoreCore;
use crate::traps::Fault;
use std::any::Any;
use std::collections::VecDeque;
use std::sync::Arc;
use stillframe_abi::Trap;
use stillframe_abi::frame_table::{Row, RowKind, WasmPc};

/// A wasm frame.
#[derive(Clone, Debug)]
pub struct TraceFrame {
    /// The module of its function.
    pub module: Arc<CompiledModule>,
    /// The function's index in the module.
    pub func_index: u32,
    /// The operator it stands at: a call, or what trapped.
    pub wasm_pc: WasmPc,
    /// Which activation it belongs to: 0 is the innermost.
    pub activation: usize,
}

/// The frames of a frozen store, innermost first, of all activations.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// The frames; at most [`Trace::MAX_FRAMES`].
    pub frames: Vec<TraceFrame>,
    /// Frames in the middle that were left out.
    pub omitted: usize,
}

impl Trace {
    /// The innermost frames that a trace keeps.
    pub const INNERMOST: usize = 64;
    /// The outermost frames that a trace keeps.
    pub const OUTERMOST: usize = 16;
    /// Frames in a trace, at most.
    pub const MAX_FRAMES: usize = Trace::INNERMOST + Trace::OUTERMOST;

    /// The frames of a suspended call. Nobody writes to its stack meanwhile.
    pub(crate) fn of_standing(stack: &WasmStack, at: Standing) -> Trace {
        let mut frames = Collector::default();
        frames.add(Place::Return(at.pc), at.fp, stack, 0);
        frames.finish()
    }
}

/// Collects the frames that a trace keeps, from the innermost on.
#[derive(Default)]
struct Collector {
    innermost: Vec<TraceFrame>,
    outermost: VecDeque<TraceFrame>,
    omitted: usize,
}

impl Collector {
    /// Adds the frames of an activation that is frozen at `start`.
    fn add(&mut self, start: Place, fp: usize, stack: &WasmStack, activation: usize) {
        walk(start, fp, reader(stack), |place| {
            let Some(frame) = resolve(place, activation) else { return };
            if self.innermost.len() < Trace::INNERMOST {
                self.innermost.push(frame);
                return;
            }
            self.outermost.push_back(frame);
            if self.outermost.len() > Trace::OUTERMOST {
                self.outermost.pop_front();
                self.omitted += 1;
            }
        });
    }

    fn finish(self) -> Trace {
        let Collector { innermost: mut frames, outermost, omitted } = self;
        frames.extend(outermost);
        Trace { frames, omitted }
    }
}

/// A place in code where a frame stands.
#[derive(Clone, Copy)]
enum Place {
    /// The address of an instruction that trapped, and its operator.
    Instruction(usize, WasmPc),
    /// The address that a call returns to.
    Return(usize),
}

/// Finds the wasm function and pc of a place.
fn resolve(place: Place, activation: usize) -> Option<TraceFrame> {
    let address = match place {
        Place::Instruction(pc, _) => pc,
        Place::Return(pc) => pc.checked_sub(1)?,
    };
    let owner: Arc<dyn Any + Send + Sync> = code::lookup(address)?;
    let module = owner.downcast::<CompiledModule>().ok()?;
    let (position, wasm_pc) = match place {
        Place::Return(pc) => {
            let (position, row) = module.call_at(pc)?;
            (position, row.wasm_pc)
        }
        Place::Instruction(pc, wasm_pc) => (module.position(pc)?, wasm_pc),
    };
    let func_index = (position.defined + module.info().num_imported_functions) as u32;
    Some(TraceFrame { module, func_index, wasm_pc, activation })
}

/// Calls `visit` with each place of one activation, innermost first. `read` gives the word at an
/// address of the wasm stack, or `None` outside of it.
fn walk(
    start: Place,
    mut fp: usize,
    read: impl Fn(usize) -> Option<usize>,
    mut visit: impl FnMut(Place),
) {
    visit(start);
    // A frame's record is (saved frame pointer, return address); callers lie at higher addresses.
    while let (Some(caller_fp), Some(return_address)) = (read(fp), read(fp + 8)) {
        if caller_fp == 0 {
            break;
        }
        visit(Place::Return(return_address));
        if caller_fp <= fp {
            debug_assert!(false, "frame pointers must ascend");
            break;
        }
        fp = caller_fp;
    }
}

/// Reads words of a wasm stack that is frozen.
pub(crate) fn reader(stack: &WasmStack) -> impl Fn(usize) -> Option<usize> {
    let range = stack.range();
    move |address| {
        let inside = range.start <= address && address.checked_add(8)? <= range.end;
        // SAFETY: the word lies in the stack, which is mapped while `stack` lives, and frozen:
        // nobody writes to it while the store is borrowed.
        (inside && address % 8 == 0).then(|| unsafe { *(address as *const usize) })
    }
}

impl StoreCore {
    /// The frames of all activations, innermost first. Works while the store is frozen: in a host
    /// function, or between a trap and the end of its activation.
    pub fn trace(&self) -> Trace {
        let mut frames = Collector::default();
        let activations = self.activations.with_limits(&self.limits);
        for (depth, (activation, limits)) in activations.enumerate() {
            let left = limits.exit_pc != 0;
            if let Some(stack) = activation.stack.as_ref().filter(|_| left) {
                let start = self.exit_place(limits.exit_pc, depth);
                frames.add(start, limits.exit_fp, stack, depth);
            }
        }
        frames.finish()
    }

    /// Only the innermost activation can stand at an instruction that faulted.
    fn exit_place(&self, pc: usize, depth: usize) -> Place {
        match self.faulted {
            Some((fault, wasm_pc)) if depth == 0 && fault == pc => Place::Instruction(pc, wasm_pc),
            _ => Place::Return(pc),
        }
    }

    /// Finds out which trap a fault is, and gives back the fuel that it leaves unexecuted. Notes
    /// the fault for the trace.
    ///
    /// Aborts the process if the fault is none that generated code can have: then the code
    /// generator or this runtime is broken, and nothing can be trusted any more.
    pub(crate) fn settle_fault(&mut self, fault: Fault) -> Trap {
        let Some(owner) = code::lookup(fault.pc) else {
            fatal("a fault in code that is gone", &fault);
        };
        let owner: Arc<dyn Any + Send + Sync> = owner;
        let Ok(module) = owner.downcast::<CompiledModule>() else {
            // A trampoline's code: all that can trap there is the test of the stack limit.
            return Trap::StackOverflow;
        };
        let rows = module.traps_at(fault.pc).map(|(_, rows)| rows).unwrap_or_default();
        let Some((trap, refund, wasm_pc)) = rows.iter().find_map(|row| fits(row, &fault)) else {
            fatal("a fault at an instruction that cannot trap", &fault);
        };
        self.faulted = Some((fault.pc, wasm_pc));
        if trap == Trap::MemoryOutOfBounds && !self.may_fault_at(fault.address) {
            fatal("a memory access outside of the guest's address space", &fault);
        }
        if self.engine().config().fuel {
            let consumed = self.limits.fuel_consumed.get();
            let refund = i64::try_from(refund).unwrap_or(i64::MAX);
            self.limits.fuel_consumed.set(consumed.saturating_sub(refund));
        }
        trap
    }

    /// Whether a load or store of wasm can fault at this address: inside the reservation of a
    /// memory, or near address 0, where failed checks are sent.
    fn may_fault_at(&self, address: usize) -> bool {
        address < 4096 || self.memories.iter().any(|m| m.memory.reservation().contains(&address))
    }
}

/// The trap of a row, its refund and its operator, if the row can be what this signal means.
fn fits(row: &Row, fault: &Fault) -> Option<(Trap, u64, WasmPc)> {
    let RowKind::Trap { trap, refund } = row.kind else { return None };
    let by_address = matches!(trap, Trap::MemoryOutOfBounds | Trap::IndirectCallToNull);
    let fits = match fault.signal {
        libc::SIGFPE => matches!(trap, Trap::IntegerDivisionByZero | Trap::IntegerOverflow),
        libc::SIGSEGV | libc::SIGBUS => by_address,
        // `ud2`, behind every test that is not a fault of its own.
        _ => true,
    };
    fits.then_some((trap, refund, row.wasm_pc))
}

/// Ends the process.
fn fatal(what: &str, fault: &Fault) -> ! {
    eprintln!(
        "stillframe: {what} (signal {} at pc {:#x}, address {:#x}); this is a bug in Stillframe",
        fault.signal, fault.pc, fault.address
    );
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends_at_the_entry_trampoline_and_at_damaged_links() {
        // Three frames at 100, 200 and 300; the last is the trampoline's.
        let memory = |address| match address {
            100 => Some(200),
            108 => Some(11),
            200 => Some(300),
            208 => Some(12),
            300 => Some(0),
            308 => Some(13),
            _ => None,
        };
        let mut seen = Vec::new();
        let mut visit = |place| match place {
            Place::Return(pc) => seen.push(pc),
            Place::Instruction(pc, _) => seen.push(pc + 1000),
        };
        walk(Place::Instruction(10, WasmPc(0)), 100, memory, &mut visit);
        walk(Place::Return(20), 7, memory, &mut visit);
        assert_eq!(seen, [1010, 11, 12, 20]);
    }
}
