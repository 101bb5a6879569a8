//! The runtimes: how each does what the rows ask for.
//!
//! The files have the same shape, so that they can be compared line by line; what one of them
//! cannot do is `None`.

mod bare;
mod stillframe;
mod wasmi;
pub(crate) mod wasmtime;

use crate::memory;
use crate::row::{Kind, Row};
use anyhow::Result;

/// Takes one sample of a row: does the operations, checks what came of them, and answers what one
/// of them took.
pub(crate) type Sample = Box<dyn FnMut() -> Result<f64>>;

/// Who is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Runtime {
    /// No runtime: what the measuring takes by itself
    Bare,
    /// Stillframe
    Stillframe,
    /// wasmtime
    Wasmtime,
    /// wasmi
    Wasmi,
}

impl Runtime {
    /// All, in the table's order.
    pub(crate) const ALL: [Runtime; 4] =
        [Runtime::Bare, Runtime::Stillframe, Runtime::Wasmtime, Runtime::Wasmi];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Runtime::Bare => "bare",
            Runtime::Stillframe => "stillframe",
            Runtime::Wasmtime => "wasmtime",
            Runtime::Wasmi => "wasmi",
        }
    }

    /// Gets ready to take samples of a row, of `n` operations each; `None` if the runtime has
    /// nothing of this kind.
    pub(crate) fn prepare(self, row: Row, n: u32) -> Result<Option<Sample>> {
        if row.kind == Kind::Memory {
            let sample: Sample = Box::new(move || memory::of_suspended_call(self, row.depth, n));
            return Ok((self != Runtime::Bare).then_some(sample));
        }
        match self {
            Runtime::Bare => bare::prepare(row, n),
            Runtime::Stillframe => stillframe::prepare(row, n),
            Runtime::Wasmtime => wasmtime::prepare(row, n),
            Runtime::Wasmi => wasmi::prepare(row, n),
        }
    }

    /// Suspends so many calls at once, in this process; the resident bytes of one of them.
    pub(crate) fn suspend_many(self, depth: u32, calls: u32) -> Result<Option<f64>> {
        match self {
            Runtime::Bare => Ok(None),
            Runtime::Stillframe => stillframe::suspend_many(depth, calls).map(Some),
            Runtime::Wasmtime => wasmtime::suspend_many(depth, calls).map(Some),
            Runtime::Wasmi => wasmi::suspend_many(depth, calls).map(Some),
        }
    }
}
