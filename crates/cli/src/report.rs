//! How a program's end is reported: its exit code, a trap, or an error of the host. How numbers and
//! frames are written.

use crate::interrupt::Interrupted;
use crate::{EXIT_INTERRUPTED, EXIT_TRAP};
use anyhow::Error;
use std::fmt::{self, Display, Write as _};
use stillframe::{Trap, WasmBacktrace};
use stillframe_wasi::I32Exit;

/// What the command exits with after a program that ended in `error`, and what it says.
pub(crate) struct Ending {
    /// The command's exit code.
    pub(crate) code: u8,
    /// For standard error; without a final newline. Empty for a program that just exited.
    pub(crate) message: String,
}

impl Ending {
    /// With the backtrace that the error has.
    pub(crate) fn of(error: &Error) -> Ending {
        Ending::with_stack(error, None)
    }

    /// With `stack` in place of the backtrace, if there is one.
    pub(crate) fn with_stack(error: &Error, stack: Option<String>) -> Ending {
        if let Some(I32Exit(code)) = error.downcast_ref() {
            return Ending { code: exit_code(*code), message: String::new() };
        }
        let (code, mut message) = if let Some(trap) = error.downcast_ref::<Trap>() {
            (EXIT_TRAP, format!("trap: {}: {trap}", trap.name()))
        } else if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            (EXIT_INTERRUPTED, format!("interrupted: {interrupted}"))
        } else {
            (1, format!("error: {}", Chain(error)))
        };
        if let Some(stack) = stack {
            let _ = write!(message, "\n{stack}");
        } else if let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() {
            let _ = write!(message, "\nwasm backtrace, innermost first:{}", Frames(backtrace));
        }
        Ending { code, message }
    }
}

/// Processes have 8 bits for their exit code; a failure must not become a success by that.
fn exit_code(code: i32) -> u8 {
    match code as u8 {
        0 if code != 0 => 1,
        low => low,
    }
}

/// An error and its causes, without the backtrace that is among them.
struct Chain<'a>(&'a Error);

impl Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backtrace = self.0.downcast_ref::<WasmBacktrace>().map(ToString::to_string);
        let mut between = "";
        for cause in self.0.chain().map(ToString::to_string) {
            if Some(&cause) != backtrace.as_ref() {
                write!(f, "{between}{cause}")?;
                between = ": ";
            }
        }
        Ok(())
    }
}

/// The frames of a backtrace, innermost first, each on a new line, with a line where host functions
/// were running in between.
pub(crate) struct Frames<'a>(pub(crate) &'a WasmBacktrace);

impl Display for Frames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut activation = 0;
        for (depth, frame) in self.0.frames().iter().enumerate() {
            if self.0.omitted() > 0 && depth == INNERMOST {
                write!(f, "\n         ({} frames left out)", self.0.omitted())?;
            }
            if frame.activation() != activation {
                f.write_str("\n         (host)")?;
                activation = frame.activation();
            }
            let omitted = if depth < INNERMOST { 0 } else { self.0.omitted() };
            write!(f, "\n{:>5}: {frame}", depth + omitted)?;
        }
        Ok(())
    }
}

/// After how many frames of a backtrace those are missing that were left out.
const INNERMOST: usize = 64;

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 unit`, `2 units`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1000), "1,000");
        assert_eq!(grouped(1234567), "1,234,567");
        assert_eq!([counted(0, "unit"), counted(1, "unit")], ["0 units", "1 unit"]);
    }

    #[test]
    fn exit_codes_keep_eight_bits_and_stay_failures() {
        for (code, expected) in [(0, 0), (3, 3), (255, 255), (-1, 255), (256, 1), (257, 1)] {
            assert_eq!(Ending::of(&I32Exit(code).into()).code, expected, "{code}");
        }
    }

    #[test]
    fn host_errors_show_their_causes_and_traps_their_names() {
        let ending = Ending::of(&Error::msg("disk full").context("saving"));
        assert_eq!((ending.code, &*ending.message), (1, "error: saving: disk full"));
        let ending = Ending::of(&Trap::OutOfFuel.into());
        assert_eq!((ending.code, &*ending.message), (134, "trap: OutOfFuel: all fuel consumed"));
        let ending = Ending::with_stack(&Interrupted.into(), Some("stack".to_string()));
        assert_eq!(ending.code, 130);
        assert_eq!(ending.message, "interrupted: stopped by SIGINT\nstack");
    }
}
