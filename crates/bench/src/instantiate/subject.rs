//! What is instantiated.

use anyhow::{Context as _, Result, ensure};
use stillframe_tests::programs::programs;

/// A module, and whether an instance is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// A memory of one page with data in it, a table of functions, an import, a few functions.
    Small,
    /// The same, and one call of each instance, which writes to its memory.
    SmallCalled,
    /// The same without memory and data.
    NoMemory,
    /// Boolector: 1,035 functions, two megabytes of memory at the start. Its imports only trap.
    Large,
}

/// What `run` answers in a new instance: see [`MODULE`].
pub(super) const ANSWER: i32 = 42 + 1 + 7;

/// `run` adds 1 to a word of its memory that the data segment has set to 42, and answers it and what
/// a function of its table adds to it. In an instance that another one has left something in, it
/// would answer more.
const MODULE: &str = r#"
(module
  (import "host" "step" (func $step (param i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 1024) "\2a\00\00\00and some more, as a small program has")
  (global $base (mut i32) (i32.const 7))
  (type $binary (func (param i32 i32) (result i32)))
  (table 4 funcref)
  (elem (i32.const 0) $add $subtract $multiply $divide)
  (func $add (type $binary) (i32.add (local.get 0) (local.get 1)))
  (func $subtract (type $binary) (i32.sub (local.get 0) (local.get 1)))
  (func $multiply (type $binary) (i32.mul (local.get 0) (local.get 1)))
  (func $divide (type $binary) (i32.div_u (local.get 0) (local.get 1)))
  (func (export "step") (param i32) (result i32) (call $step (local.get 0)))
  (func (export "run") (result i32)
    (i32.store (i32.const 1024) (i32.add (i32.load (i32.const 1024)) (i32.const 1)))
    (call_indirect (type $binary) (i32.load (i32.const 1024)) (global.get $base) (i32.const 0))))
"#;

impl Subject {
    /// All, in the table's order.
    pub(super) const ALL: [Subject; 4] =
        [Subject::Small, Subject::SmallCalled, Subject::NoMemory, Subject::Large];

    pub(super) fn name(self) -> &'static str {
        match self {
            Subject::Small => "small: 1 page, data, table, import",
            Subject::SmallCalled => "small, and a call that writes to its memory",
            Subject::NoMemory => "small, without memory",
            Subject::Large => "large: Boolector",
        }
    }

    /// In one sample.
    pub(super) fn operations(self) -> u32 {
        match self {
            Subject::Large => 200,
            _ => 1000,
        }
    }

    /// The module, binary or text.
    pub(super) fn wasm(self) -> Result<Vec<u8>> {
        match self {
            Subject::Small | Subject::SmallCalled => Ok(MODULE.into()),
            Subject::NoMemory => {
                let kept = MODULE.lines().map(|line| match line.trim_start() {
                    line if line.starts_with("(memory") || line.starts_with("(data") => "",
                    line if line.starts_with("(i32.store") => "",
                    _ => line,
                });
                let text: Vec<_> = kept.collect();
                Ok(text.join("\n").replace("(i32.load (i32.const 1024))", "(i32.const 43)").into())
            }
            Subject::Large => {
                let programs = programs();
                let boolector = programs.iter().find(|program| program.name.contains("boolector"));
                let boolector = boolector.context("no program is called boolector")?;
                let fetched = boolector.is_available();
                ensure!(fetched, "not fetched: run tests/programs/fetch.sh");
                Ok(std::fs::read(&boolector.wasm)?)
            }
        }
    }

    /// Whether each instance is called, or one of each sample, or none, since it needs the system.
    pub(super) fn calls(self) -> Calls {
        match self {
            Subject::Small | Subject::NoMemory => Calls::Last,
            Subject::SmallCalled => Calls::Each,
            Subject::Large => Calls::None,
        }
    }
}

/// Which instances are called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Calls {
    Each,
    /// One more, outside of what is measured, to see that it is as a new one is.
    Last,
    None,
}

/// What `step` does.
pub(super) fn step(value: i32) -> i32 {
    value.wrapping_add(1)
}
