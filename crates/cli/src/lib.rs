//! The command `stillframe`, as a library: so that tests can use its parts.
//!
//! ```text
//!   main.rs ──► args.rs            what was asked
//!               run.rs             one program: limits, WASI, exit code, traps
//!                 values.rs        arguments and results of --invoke
//!                 report.rs        how a trap is shown
//!                 timeout.rs       --timeout
//!                 interrupt.rs     Ctrl-C, where what it stops is to be looked at
//!                 pieces.rs        a call that gets its fuel in pieces, for
//!                   pauses.rs      --resume
//!                   profile.rs     --profile
//!                 postmortem.rs    what is kept of a program that ended before its time
//!                   stack.rs       --frames; style.rs has the colours
//!               inspect.rs         a core dump, for people
//!               compile.rs         a module to native code on disk
//!               demo.rs            the program built into the command
//!               wast/              scripts of the WebAssembly test suite
//!               load.rs            a file to a module; progress.rs shows how far it is
//! ```

#![deny(unsafe_code)]

pub mod args;
pub mod wast;

mod compile;
mod demo;
mod inspect;
mod interrupt;
mod load;
mod pauses;
mod pieces;
mod postmortem;
mod profile;
mod progress;
mod report;
mod run;
mod stack;
mod style;
mod timeout;
mod values;

use args::Command;
use std::process::ExitCode;

/// The command's exit code after a trap, as that of a process that aborted.
pub const EXIT_TRAP: u8 = 134;
/// The command's exit code after Ctrl-C, as that of a process that SIGINT ended.
pub const EXIT_INTERRUPTED: u8 = 130;

/// Does what was asked and answers the process's exit code.
///
/// # Errors
///
/// If it could not be done; the caller reports the error and exits with 1.
pub fn main(cli: args::Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Wast(args) => wast::command(&args),
        Command::Compile(args) => compile::compile(&args),
        Command::Inspect(args) => inspect::inspect(&args),
        Command::Demo => demo::demo(),
    }
}

/// Compiles the README's examples and runs them.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// The same for the contract of fuel, whose numbers are asserted there.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/fuel.md")]
struct Fuel;
