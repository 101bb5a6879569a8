//! How a module is run.

use stillframe::{Config, FrameState};

/// How to run both sides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What frames keep.
    pub frame_state: FrameState,
    /// Whether locals and operands are written at stops, on both sides.
    pub frame_writes: bool,
    /// Units of fuel for each piece.
    pub slice: u64,
    /// A call is given up when it has consumed so many units.
    pub max_fuel: u64,
}

impl Settings {
    /// Frames of this kind, read only, with stops at all checkpoints.
    pub fn new(frame_state: FrameState) -> Settings {
        Settings { frame_state, frame_writes: false, slice: 1, max_fuel: 1_500 }
    }

    /// The engine's settings.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .consume_fuel(true)
            .frame_state(self.frame_state)
            .frame_writes(self.frame_writes)
            .parallel_compilation(false);
        config
    }
}
