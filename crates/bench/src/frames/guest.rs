//! What is measured of frames, and the guests whose frames they are.

use anyhow::{Result, ensure};
use std::fmt::Write as _;

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    pub(super) guest: Guest,
}

/// Whose frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Guest {
    /// So many functions, each called by the one before it.
    Distinct(u32),
    /// One function that calls itself, so many deep.
    Recursion(u32),
}

/// What an operation is. The numbers of all but [`Kind::OneLocal`] are for each frame on the stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Frames are found and one local of each is read, for the first time.
    First(New),
    /// The same again, in the same host call.
    Again,
    /// Frames are found.
    Walk,
    /// From each frame to its parent, from handle to handle.
    Parents,
    /// One local is read through a handle: of the innermost frame, or of each frame in turn.
    OneLocal { in_turn: bool },
    /// As [`Kind::Again`], in a call that a host error has suspended.
    Suspended,
    /// A backtrace is captured and dropped, in a new store.
    FirstBacktrace,
    /// The same again, in the same host call.
    Backtrace,
}

/// What has not seen these frames before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum New {
    /// The module, just compiled, and with it the store.
    Module,
    /// The store. Its module's frames were walked in another.
    Store,
}

impl Guest {
    pub(super) fn depth(self) -> u32 {
        match self {
            Guest::Distinct(depth) | Guest::Recursion(depth) => depth,
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Guest::Distinct(depth) => format!("{depth} of distinct functions"),
            Guest::Recursion(depth) => format!("{depth} of one function"),
        }
    }

    /// The module. Its function `run` takes the frame's number, from 0 on for the outermost, and
    /// answers the sum of all of them; each frame keeps an integer, its number, a long integer and a
    /// floating point number, which it still needs when the call it stands at comes back. The
    /// innermost frame calls the host's `look`.
    pub(super) fn module(self) -> String {
        let mut text = String::from("(module (import \"host\" \"look\" (func $look))\n");
        let functions = match self {
            Guest::Distinct(depth) => depth,
            Guest::Recursion(_) => 1,
        };
        for f in 0..functions {
            let callee = match self {
                Guest::Distinct(_) => f + 1,
                Guest::Recursion(_) => 0,
            };
            let last = self.depth() - 1;
            let inwards = match callee < functions {
                true => format!("(call $f{callee} (i32.add (local.get $x) (i32.const 1)))"),
                false => "(i32.const 0)".into(),
            };
            let export = if f == 0 { "(export \"run\")" } else { "" };
            let _ = write!(
                text,
                "(func $f{f} {export} (param $x i32) (result i32)
                   (local $long i64) (local $float f64)
                   (local.set $long (i64.mul (i64.extend_i32_u (local.get $x)) (i64.const 3)))
                   (local.set $float (f64.convert_i32_u (local.get $x)))
                   (if (result i32) (i32.eq (local.get $x) (i32.const {last}))
                     (then (call $look) (i32.const 0))
                     (else {inwards}))
                   (i32.add (local.get $x))
                   (i32.add (f64.ne
                     (f64.convert_i64_u (local.get $long))
                     (f64.mul (local.get $float) (f64.const 3)))))\n"
            );
        }
        text.push(')');
        text
    }

    /// What `run` answers, and the sum of local 0 of all frames.
    pub(super) fn sum(self) -> u32 {
        (0..self.depth()).sum()
    }

    /// An error unless so many frames were found, and the numbers in them were right.
    pub(super) fn check(self, (frames, sum): (u32, u32)) -> Result<()> {
        let expected = (self.depth(), self.sum());
        ensure!((frames, sum) == expected, "wrong frames: {:?}, not {expected:?}", (frames, sum));
        Ok(())
    }
}

/// Frames that a backtrace keeps: Stillframe's own limit, and what wasmtime is told.
pub(super) const BACKTRACE_FRAMES: u32 = 80;

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::First(New::Module) => "first walk, one local of each: module and store new",
            Kind::First(New::Store) => "first walk, one local of each: store new",
            Kind::Again => "again, one local of each",
            Kind::Walk => "again, walk only",
            Kind::Parents => "again, from each handle to its parent",
            Kind::OneLocal { in_turn: false } => "one local, by one handle",
            Kind::OneLocal { in_turn: true } => "one local, by each handle in turn",
            Kind::Suspended => "again, one local of each, in a suspended call",
            Kind::FirstBacktrace => "capture a backtrace: store new",
            Kind::Backtrace => "capture a backtrace, again",
        }
    }

    /// What the issue asks for: nanoseconds.
    pub(super) fn goal(self) -> Option<u32> {
        match self {
            Kind::First(New::Store) => Some(100),
            Kind::Again => Some(20),
            Kind::OneLocal { .. } => Some(10),
            Kind::Backtrace => Some(25),
            _ => None,
        }
    }

    /// How often it is done for one sample; where something is new, how many there are of it.
    pub(super) fn times(self, quick: bool) -> u32 {
        let times = match self {
            Kind::First(New::Module) => 4,
            Kind::First(New::Store) | Kind::FirstBacktrace => 40,
            Kind::OneLocal { .. } => 100_000,
            _ => 200,
        };
        if quick { (times / 10).max(1) } else { times }
    }
}

impl Row {
    /// All of them, in the table's order.
    pub(super) fn all() -> Vec<Row> {
        use Guest::{Distinct, Recursion};
        let mut rows = Vec::new();
        let mut add = |kind, guests: &[Guest]| {
            rows.extend(guests.iter().map(|&guest| Row { kind, guest }));
        };
        let walks = [Distinct(10), Distinct(200), Recursion(1000)];
        add(Kind::First(New::Module), &walks);
        add(Kind::First(New::Store), &walks);
        add(Kind::Again, &walks);
        add(Kind::Walk, &walks);
        add(Kind::Parents, &[Distinct(200), Recursion(1000)]);
        add(Kind::Suspended, &[Distinct(200)]);
        add(Kind::OneLocal { in_turn: false }, &[Distinct(200)]);
        add(Kind::OneLocal { in_turn: true }, &[Distinct(200)]);
        let traced = [Distinct(10), Distinct(BACKTRACE_FRAMES), Distinct(200)];
        add(Kind::FirstBacktrace, &traced);
        add(Kind::Backtrace, &traced);
        rows
    }
}
