//! Which frozen periods last.
//!
//! The model knows nothing of frames: it numbers periods, and marks one as ended whenever an
//! activation goes back into wasm or ends.

use super::Outcome;
use crate::Choices;
use anyhow::{Error, Result, ensure};
use stillframe::{FrameHandle, TypedFunc, TypedResumableCall};

/// Handles held at once.
const HELD: usize = 4000;

pub(super) type Run = TypedFunc<(i32, i32), i32>;
pub(super) type Call = TypedResumableCall<i32>;

/// A store's data.
pub(super) struct World {
    pub(super) choices: Choices<'static>,
    /// Operations left.
    pub(super) left: usize,
    pub(super) run: Option<Run>,
    /// Whether frames can be written.
    pub(super) writes: bool,
    /// By number of the period: whether it lasts.
    lasts: Vec<bool>,
    /// The activations, outermost first.
    pub(super) activations: Vec<Running>,
    /// Suspended calls, and the periods that they stand in.
    pub(super) suspended: Vec<(Call, usize)>,
    /// Handles, and the periods that they are of.
    pub(super) held: Vec<(FrameHandle, usize)>,
    /// What was found to be wrong.
    pub(super) failure: Option<Error>,
    pub(super) seen: Outcome,
}

/// An activation; `period` is `None` while wasm runs.
#[derive(Clone, Copy)]
pub(super) struct Running {
    pub(super) period: Option<usize>,
}

impl World {
    pub(super) fn new(choices: Choices<'_>, operations: usize, writes: bool) -> World {
        World {
            choices: choices.into_owned(),
            left: operations,
            run: None,
            writes,
            lasts: Vec::new(),
            activations: Vec::new(),
            suspended: Vec::new(),
            held: Vec::new(),
            failure: None,
            seen: Outcome::default(),
        }
    }

    /// Something freezes.
    pub(super) fn begin_period(&mut self) -> usize {
        self.lasts.push(true);
        self.lasts.len() - 1
    }

    /// It goes on, or is gone.
    pub(super) fn end_period(&mut self, period: usize) -> Result<()> {
        ensure!(self.lasts[period], "period {period} has ended before");
        self.lasts[period] = false;
        Ok(())
    }

    /// Whether it is still as it was.
    pub(super) fn lasts(&self, period: usize) -> bool {
        self.lasts[period]
    }

    /// Keeps a handle, instead of another one if there are many.
    pub(super) fn hold(&mut self, handle: FrameHandle, period: usize) {
        if self.held.len() < HELD {
            self.held.push((handle, period));
        } else {
            let at = self.choices.below(HELD);
            self.held[at] = (handle, period);
        }
        self.seen.held = self.seen.held.max(self.held.len() as u64);
    }
}
