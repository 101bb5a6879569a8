//! Hardware faults: which trap one is.

use super::row::{FrameRow, module_at};
use crate::code;
use crate::store::StoreCore;
use crate::traps::Fault;
use std::sync::Arc;
use stillframe_abi::Trap;
use stillframe_abi::frame_table::{Readable, Row, RowKind};

/// A frame that has faulted, for the trace.
pub(crate) struct Faulted {
    /// The instruction.
    pub(crate) pc: usize,
    pub(crate) row: Arc<FrameRow>,
    /// The row of the body that is inlined there, if it is one that has faulted.
    pub(crate) inlined: Option<Arc<FrameRow>>,
    /// The context of the frame's instance, if the frame itself was not made yet.
    pub(crate) context: Option<usize>,
}

impl StoreCore {
    /// Finds out which trap a fault is, and gives back the fuel that it leaves unexecuted. Notes
    /// the fault for the trace.
    ///
    /// Aborts the process if the fault is none that generated code can have: then the code
    /// generator or this runtime is broken, and nothing can be trusted any more.
    pub(crate) fn settle_fault(&mut self, fault: Fault) -> Trap {
        let Some(module) = module_at(fault.pc) else {
            if !code::is_code(fault.pc) {
                fatal("a fault in code that is gone", &fault);
            }
            // A trampoline's code: all that can trap there is the test of the stack limit.
            return Trap::StackOverflow;
        };
        let (position, rows) = module.traps_at(fault.pc).unzip();
        let mut rows = rows.unwrap_or_default().into_iter();
        let found = rows.find_map(|(row, readable)| fits(row, readable, &fault));
        let Some((position, Fits { trap, refund, row, readable })) = position.zip(found) else {
            fatal("a fault at an instruction that cannot trap", &fault);
        };
        let (inlined, row) = FrameRow::of_trap(&module, position.defined, row, readable);
        // The function had its context in a register when it tested the stack limit, before anything
        // else.
        let is_context = |address: &usize| self.instance_of(&row, *address).is_some();
        let context = match trap {
            Trap::StackOverflow => fault.arguments.into_iter().find(is_context),
            _ => None,
        };
        let (row, inlined) = (Arc::new(row), inlined.map(Arc::new));
        self.faulted = Some(Faulted { pc: fault.pc, row, inlined, context });
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

/// What a signal means.
struct Fits {
    trap: Trap,
    refund: u64,
    row: Row,
    readable: Readable,
}

/// What a row says, if it can be what this signal means.
fn fits(row: Row, readable: Readable, fault: &Fault) -> Option<Fits> {
    let RowKind::Trap { trap, refund } = row.kind else { return None };
    let by_address = matches!(trap, Trap::MemoryOutOfBounds | Trap::IndirectCallToNull);
    let fits = match fault.signal {
        libc::SIGFPE => matches!(trap, Trap::IntegerDivisionByZero | Trap::IntegerOverflow),
        libc::SIGSEGV | libc::SIGBUS => by_address,
        // `ud2`, behind every test that is not a fault of its own.
        _ => true,
    };
    fits.then_some(Fits { trap, refund, row, readable })
}

/// Ends the process.
fn fatal(what: &str, fault: &Fault) -> ! {
    eprintln!(
        "stillframe: {what} (signal {} at pc {:#x}, address {:#x}); this is a bug in Stillframe",
        fault.signal, fault.pc, fault.address
    );
    std::process::abort()
}
