//! The benchmarks of Stillframe beside wasmtime and wasmi: reads the command line.
//!
//! ```text
//!   main.rs ──► switches.rs     what entering, leaving, suspending and resuming cost
//!                 row.rs        what is measured
//!                 table.rs      how it is reported
//!               memory.rs       what a suspended call takes
//!               frames/         what finding and reading frames costs
//!               modes/          what it costs that frames can be read
//!               cell.rs, surroundings.rs    what every report needs
//!               engines/        how each runtime does it
//!                 guest.rs      the module that all of them run
//!                 measure.rs    clock, Rust frames, polling; handover.rs: a second thread
//! ```

#![forbid(unsafe_code)]

mod cell;
mod engines;
mod frames;
mod guest;
mod handover;
mod measure;
mod memory;
mod modes;
mod row;
mod surroundings;
mod switches;
mod table;

use clap::{Parser, Subcommand};
use std::env;
use std::process::{Command as Process, ExitCode};

/// Measures Stillframe beside wasmtime and wasmi, in one process.
#[derive(Parser, Debug)]
#[command(name = "stillframe-bench", version, after_help = EXAMPLES)]
#[command(arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    /// What to measure
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  stillframe-bench switches                                the whole table, on standard output
  stillframe-bench switches --quick                        ... roughly, in seconds
  stillframe-bench switches --markdown switches.md         ... into a file
  stillframe-bench switches --only fuel --only 'host call' some rows, by what their names contain
  stillframe-bench switches --only error --runtime stillframe --rounds 200   a loop for a profiler
  stillframe-bench frames                                  walking and reading frames
  stillframe-bench modes --quick                           what frame state costs, roughly
  stillframe-bench memory --runtime stillframe --depth 1   bytes that a suspended call takes

Measure release builds (cargo run --release), on a machine that does nothing else.
'stillframe-bench help switches' says more.";

/// The subcommands.
#[derive(Subcommand, Debug)]
enum Command {
    /// What entering, leaving, suspending and resuming wasm cost, in nanoseconds
    Switches(switches::SwitchesArgs),
    /// What finding frames, reading them and capturing backtraces cost, in nanoseconds
    Frames(frames::FramesArgs),
    /// What it costs that frames can be read: run time, compile time, code size
    Modes(modes::ModesArgs),
    /// What a suspended call takes, in bytes of resident memory
    Memory(memory::MemoryArgs),
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    if let Some(code) = again_without_backtraces() {
        return code;
    }
    let done = match command {
        Command::Switches(args) => switches::command(&args),
        Command::Frames(args) => frames::command(&args),
        Command::Modes(args) => modes::command(&args),
        Command::Memory(args) => memory::command(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Where the environment wants backtraces (`RUST_BACKTRACE`), each `anyhow::Error` captures one of
/// the host's, for microseconds: then this program runs again with an environment that does not,
/// and answers that run's exit code.
fn again_without_backtraces() -> Option<ExitCode> {
    let wanted = |name: &str| env::var_os(name).map(|value| value != "0");
    if !wanted("RUST_LIB_BACKTRACE").or(wanted("RUST_BACKTRACE")).unwrap_or(false) {
        return None;
    }
    let program = env::current_exe().and_then(|program| {
        Process::new(program).args(env::args_os().skip(1)).env("RUST_LIB_BACKTRACE", "0").status()
    });
    match program {
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Err(error) => {
            eprintln!("error: cannot run again without RUST_BACKTRACE: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}
