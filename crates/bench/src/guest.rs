//! The guest that all runtimes run, and what it must answer.
//!
//! The functions with loops first call themselves until they are `depth` frames deep, tell the
//! host that they are `ready`, and then count to `n` in the innermost frame. So the descent is
//! done before anything is suspended, and the host chooses in `ready` what stops the loop.

use anyhow::{Result, ensure};
use std::fmt::Debug;

/// The module. Each iteration of `spin` passes one loop header, where runtimes test fuel and
/// epochs; each of `calls` calls `step`, which answers its parameter plus 1.
pub(crate) const MODULE: &str = r#"
(module
  (import "host" "step" (func $step (param i32) (result i32)))
  (import "host" "ready" (func $ready))
  (func (export "empty"))
  (func (export "add") (param i32 i32) (result i32)
    (i32.add (local.get 0) (local.get 1)))
  (func $spin (export "spin") (param $depth i32) (param $n i32) (result i32)
    (local $count i32)
    (if (i32.gt_u (local.get $depth) (i32.const 1))
      (then
        (return (i32.add (i32.const 1)
          (call $spin (i32.sub (local.get $depth) (i32.const 1)) (local.get $n))))))
    (call $ready)
    (loop $next
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $count) (local.get $n))))
    (local.get $count))
  (func $calls (export "calls") (param $depth i32) (param $n i32) (result i32)
    (local $count i32)
    (if (i32.gt_u (local.get $depth) (i32.const 1))
      (then
        (return (i32.add (i32.const 1)
          (call $calls (i32.sub (local.get $depth) (i32.const 1)) (local.get $n))))))
    (call $ready)
    (loop $next
      (local.set $count (call $step (local.get $count)))
      (br_if $next (i32.lt_u (local.get $count) (local.get $n))))
    (local.get $count)))
"#;

/// What `spin` and `calls` answer: each frame but the innermost adds 1 to the count.
pub(crate) fn answer(depth: u32, n: u32) -> u32 {
    n + depth - 1
}

/// An error unless a guest's result is what it must be.
pub(crate) fn check<T: PartialEq + Debug>(found: T, expected: T) -> Result<()> {
    ensure!(found == expected, "wrong result: {found:?}, not {expected:?}");
    Ok(())
}

/// How a runtime is set up for a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) metering: Metering,
    pub(crate) step: Step,
    /// Whether `ready` uses the budget up: takes the fuel, or lets the epoch deadline pass.
    pub(crate) stop_when_ready: bool,
}

impl Setup {
    /// The runtime's default settings.
    pub(crate) const DEFAULT: Setup =
        Setup { metering: Metering::None, step: Step::Adds, stop_when_ready: false };
}

/// What the code is compiled to test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Metering {
    None,
    Fuel,
    Epochs,
}

/// What the host function `step` does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Answers its parameter plus 1.
    Adds,
    /// Fails with [`Stop`]; who resumes answers in its place.
    Fails,
    /// Calls the guest's `empty` many times, and takes the time of it.
    Calls,
}

/// The cheapest error there is: of size zero. The runtimes' error types still allocate a few words
/// for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop;

impl std::fmt::Display for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the host function asks to stop here")
    }
}

impl std::error::Error for Stop {}
impl wasmi::errors::HostError for Stop {}
