//! What code is compiled for: the columns of the tables, and the metering.

use super::program::Program;
use super::{stillframe, wasmtime};
use ::stillframe::FrameState;
use anyhow::Result;

/// What frames keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Frames(FrameState),
    /// `Live`, and locals and operands can be written.
    Writes,
    /// wasmtime, with its default settings.
    Wasmtime,
    /// wasmtime with `guest_debug`.
    WasmtimeDebug,
}

impl Mode {
    /// All, in the order of the columns; the others are related to the first.
    pub(super) const ALL: [Mode; 6] = [
        Mode::Frames(FrameState::Off),
        Mode::Frames(FrameState::Live),
        Mode::Frames(FrameState::All),
        Mode::Writes,
        Mode::Wasmtime,
        Mode::WasmtimeDebug,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Frames(FrameState::Off) => "`Off`",
            Mode::Frames(FrameState::Live) => "`Live`",
            Mode::Frames(FrameState::All) => "`All`",
            Mode::Writes => "`Live`, writes",
            Mode::Wasmtime => "wasmtime",
            Mode::WasmtimeDebug => "wasmtime, `guest_debug`",
        }
    }
}

/// How code is compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Setting {
    pub(super) mode: Mode,
    /// Whether the code counts fuel and tests epochs.
    pub(super) metered: bool,
}

/// A compiled module.
pub(super) trait Compiled {
    /// Bytes of machine code.
    fn code_size(&self) -> usize;

    /// Bytes of the frame table, if it is one of its own.
    fn frame_table_size(&self) -> Result<Option<usize>>;

    /// Runs a program whose module this is; the seconds that its function took.
    fn run(&self, program: &Program) -> Result<f64>;
}

impl Setting {
    /// Compiles, with one thread or with all.
    pub(super) fn compile(self, wasm: &[u8], parallel: bool) -> Result<Box<dyn Compiled>> {
        Ok(match self.mode {
            Mode::Frames(_) | Mode::Writes => Box::new(stillframe::compile(self, wasm, parallel)?),
            Mode::Wasmtime | Mode::WasmtimeDebug => {
                Box::new(wasmtime::compile(self, wasm, parallel)?)
            }
        })
    }
}

/// What the host function of a small guest does.
pub(super) fn step(value: i64) -> i64 {
    value.wrapping_mul(3).wrapping_add(1)
}
