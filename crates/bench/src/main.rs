//! The benchmarks of Stillframe beside wasmtime and wasmi: reads the command line.
//!
//! ```text
//!   main.rs ──► whole.rs        everything, in one report and one chart
//!               programs/       run time of guests; compile time, sizes, load time
//!               instantiate/    what a store with an instance costs
//!               memory.rs       what a suspended call takes, and an instance
//!               switches.rs     what entering, leaving, suspending and resuming cost
//!                 row.rs        what is measured
//!                 table.rs      how it is reported
//!               frames/         what finding and reading frames costs
//!               engines/        how each runtime does what switches.rs asks for
//!                 guest.rs      the module that all of them run
//!                 measure.rs    clock, Rust frames, polling; handover.rs: a second thread
//!               sampling.rs     arguments that those with rows and rounds share
//!               surroundings.rs, progress.rs    what all of them need
//!   report/                     a crate of its own: tables, targets, the chart
//! ```

#![deny(unsafe_code)]

mod engines;
mod frames;
mod guest;
mod handover;
mod instantiate;
mod measure;
mod memory;
mod programs;
mod progress;
mod row;
mod sampling;
mod surroundings;
mod switches;
mod table;
mod whole;

use clap::{Parser, Subcommand};
use std::env;
use std::process::{Command as Process, ExitCode};

/// Measures Stillframe beside wasmtime and wasmi, in one process: without a command everything, in
/// one report and one chart.
#[derive(Parser, Debug)]
#[command(name = "stillframe-bench", version, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, max_term_width = 100)]
struct Cli {
    /// What to measure
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    whole: whole::WholeArgs,
}

const EXAMPLES: &str = "\
Examples:
  stillframe-bench                                         everything: some 20 minutes or more
  stillframe-bench --quick                                 ... roughly, in some minutes
  stillframe-bench --only programs --only instantiate      two parts, in one report
  stillframe-bench --only sorting                          whatever is called so, here some guests
  stillframe-bench programs --own --compilations 0         one part, on standard output: run times,
                                                           of Stillframe and of wasmtime's default
  stillframe-bench switches --only fuel --only 'host call' some rows, by what their names contain
  stillframe-bench switches --only error --runtime stillframe --rounds 200   a loop for a profiler
  stillframe-bench memory --runtime stillframe --depth 1   bytes that a suspended call takes

Measure release builds (cargo run --release), on a machine that does nothing else. The real programs
must have been fetched: tests/programs/fetch.sh. 'stillframe-bench help programs' says more.";

/// The subcommands.
#[derive(Subcommand, Debug)]
enum Command {
    /// Run time of guests, compile time, sizes and load time, in many configurations
    Programs(programs::ProgramsArgs),
    /// What a store with an instance costs, in microseconds
    Instantiate(instantiate::InstantiateArgs),
    /// What a suspended call takes, and an instance: bytes of resident memory
    Memory(memory::MemoryArgs),
    /// What entering, leaving, suspending and resuming wasm cost, in nanoseconds
    Switches(switches::SwitchesArgs),
    /// What finding frames, reading them and capturing backtraces cost, in nanoseconds
    Frames(frames::FramesArgs),
}

fn main() -> ExitCode {
    let Cli { command, whole } = Cli::parse();
    if let Some(code) = again_without_backtraces() {
        return code;
    }
    let done = match command {
        None => whole::command(&whole),
        Some(Command::Programs(args)) => programs::command(&args),
        Some(Command::Instantiate(args)) => instantiate::command(&args),
        Some(Command::Memory(args)) => memory::command(&args),
        Some(Command::Switches(args)) => switches::command(&args),
        Some(Command::Frames(args)) => frames::command(&args),
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
