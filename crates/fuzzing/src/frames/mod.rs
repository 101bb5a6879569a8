//! Every frame of every stop is the interpreter's.

use crate::Input;
use anyhow::Result;
use stillframe::FrameState;
use stillframe_lockstep::{Lockstep, Report, Settings, Shape, module_of};

/// Runs the input.
///
/// # Errors
///
/// If a frame is not the interpreter's.
pub fn run(data: &[u8]) -> Result<Report> {
    let Some(mut input) = Input::new(data) else { return Ok(Report::default()) };
    let frame_state = input.choices.pick(&[FrameState::All, FrameState::Live]);
    let shape = input.choices.pick(&Shape::ALL);
    let Ok(wasm) = module_of(input.rest, shape) else { return Ok(Report::default()) };
    let lockstep = Lockstep::new(Settings::new(frame_state))?;
    match lockstep.run(&wasm, input.choices.number()) {
        Err(error) if format!("{error:#}").contains("not supported") => Ok(Report::default()),
        other => other,
    }
}
