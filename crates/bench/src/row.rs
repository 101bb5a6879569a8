//! What is measured: the rows of the table.

use crate::guest::Metering;
use crate::measure::Frames;
use stillframe_bench_report::cell::Unit;

/// One row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// How many wasm frames are on the stack; 0 where that says nothing.
    pub(crate) depth: u32,
    /// How many Rust frames are between the loop that measures and the operation.
    pub(crate) frames: Frames,
}

/// What an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A typed call of an empty function.
    Enter,
    /// A call with values whose types are checked at run time.
    Untyped,
    /// A resumable call that runs to its end.
    Finishes,
    /// A host function calls the empty function.
    Nested,
    /// One iteration of the guest's counting loop, that nothing stops.
    Loop(Metering),
    /// Wasm calls a host function, which returns.
    HostCall,
    /// Fuel runs out, is given for one iteration of the loop, and the call is resumed.
    Fuel,
    /// A host function fails, and the call is resumed with a value in place of its result.
    HostError,
    /// The epoch deadline has passed, and the call is resumed.
    Epoch,
    /// The same, as a future that yields and is polled.
    AsyncYield,
    /// A suspended call goes to another thread, and is resumed there.
    HandOver,
    /// Resident bytes of a call suspended for fuel (wasmtime: in an async yield).
    Memory,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Enter => "enter and leave: typed call of an empty function",
            Kind::Untyped => "untyped call of a function that adds",
            Kind::Finishes => "call_resumable of an empty function",
            Kind::Nested => "nested typed call of an empty function, from a host function",
            Kind::Loop(Metering::None) => "(guest's loop alone)",
            Kind::Loop(Metering::Fuel) => "(guest's loop alone, with fuel enough)",
            Kind::Loop(Metering::Epochs) => "(guest's loop alone, before the epoch deadline)",
            Kind::HostCall => "host call, with the guest's loop",
            Kind::Fuel => "suspend for fuel and resume",
            Kind::HostError => "suspend for a host error and resume",
            Kind::Epoch => "suspend for an epoch and resume",
            Kind::AsyncYield => "async: yield for an epoch and poll",
            Kind::HandOver => "hand over to another thread, resume for fuel there",
            Kind::Memory => "memory of a suspended call",
        }
    }

    /// What the numbers are.
    pub(crate) fn unit(self) -> Unit {
        match self {
            Kind::Memory => Unit::Bytes,
            _ => Unit::Nanoseconds,
        }
    }

    /// Operations in one round.
    pub(crate) fn operations(self, quick: bool) -> u32 {
        let operations = match self {
            Kind::Loop(_) => 1_000_000,
            Kind::Enter | Kind::Untyped | Kind::Finishes | Kind::Nested | Kind::HostCall => 100_000,
            Kind::Fuel | Kind::HostError | Kind::Epoch | Kind::AsyncYield => 40_000,
            Kind::HandOver => 2_000,
            Kind::Memory => 1_000,
        };
        match quick && self != Kind::Memory {
            true => operations / 20,
            false => operations,
        }
    }
}

impl Row {
    /// All of them, in the table's order.
    pub(crate) fn all() -> Vec<Row> {
        use Frames::{Four, One};
        let mut rows = Vec::new();
        let mut add = |kind, depths: &[u32], frames: &[Frames]| {
            for &depth in depths {
                rows.extend(frames.iter().map(|&frames| Row { kind, depth, frames }));
            }
        };
        add(Kind::Enter, &[0], &[One, Four]);
        add(Kind::Untyped, &[0], &[One, Four]);
        add(Kind::Finishes, &[0], &[One, Four]);
        add(Kind::Nested, &[1, 500], &[One, Four]);
        add(Kind::HostCall, &[1, 500], &[One]);
        add(Kind::Loop(Metering::None), &[1, 500], &[One]);
        add(Kind::HostError, &[1, 500], &[One, Four]);
        add(Kind::Fuel, &[1, 500], &[One, Four]);
        add(Kind::Loop(Metering::Fuel), &[1, 500], &[One]);
        add(Kind::Epoch, &[1, 500], &[One, Four]);
        add(Kind::AsyncYield, &[1, 500], &[One, Four]);
        add(Kind::Loop(Metering::Epochs), &[1, 500], &[One]);
        add(Kind::HandOver, &[1, 500], &[One]);
        add(Kind::Memory, &[1, 500], &[One]);
        rows
    }

    /// Its name in the table.
    pub(crate) fn name(self) -> &'static str {
        self.kind.name()
    }
}
