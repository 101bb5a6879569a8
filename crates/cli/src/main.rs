//! The command `stillframe`: reads the command line, reports errors.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    match stillframe_cli::main(stillframe_cli::args::Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
