//! How a module is run.

use stillframe::{Config, FrameState, OptLevel};

/// How to run both sides.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What frames keep.
    pub frame_state: FrameState,
    /// Whether locals and operands are written at stops, on both sides.
    pub frame_writes: bool,
    /// Whether code consumes fuel. Otherwise calls stop in host functions and for epochs alone.
    pub fuel: bool,
    /// Units of fuel for each piece.
    pub slice: u64,
    /// A call is given up when it has consumed so many units.
    pub max_fuel: u64,
    /// Whether code tests the epoch, and the deadline is reached now and then.
    pub epochs: bool,
    /// Whether small functions are inlined; never with `frame_writes`.
    pub inlining: bool,
    /// How code is optimised.
    pub opt_level: OptLevel,
    /// Whether all functions are compiled as those are that would take too long as usual: without
    /// `inlining`, which has no meaning then, as those with long chains of blocks.
    pub plain: bool,
}

impl Settings {
    /// Frames of this kind, read only, with stops at all checkpoints. With `LOCKSTEP_PLAIN=1`, of
    /// plain code.
    pub fn new(frame_state: FrameState) -> Settings {
        Settings {
            frame_state,
            frame_writes: false,
            fuel: true,
            slice: 1,
            max_fuel: 1_500,
            epochs: false,
            inlining: true,
            opt_level: OptLevel::Speed,
            plain: std::env::var_os("LOCKSTEP_PLAIN").is_some(),
        }
    }

    /// The engine's settings.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .consume_fuel(self.fuel)
            .epoch_interruption(self.epochs)
            .cranelift_opt_level(self.opt_level)
            .frame_state(self.frame_state)
            .frame_writes(self.frame_writes)
            .inlining(self.inlining)
            .plain_code(self.plain)
            .single_pass(!self.inlining)
            .parallel_compilation(false);
        config
    }
}
