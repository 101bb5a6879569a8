//! Runs inputs that the fuzzer has found through an oracle in an ordinary build, where a debugger and
//! a backtrace are at hand: `replay frames fuzz/artifacts/frames/crash-…`.
//!
//! Says what each came to, or which error it ends with. An oracle that panics or crashes does so here
//! too, after the name of the input.

use anyhow::{Context, Result, bail};
use std::fs;
use stillframe_fuzzing as fuzzing;

const USAGE: &str = "\
Runs inputs of a fuzz target through its oracle: what each came to, or its error.

  cargo run --package stillframe-fuzzing --example replay -- TARGET FILE...

TARGET is translate, differential, suspend, frames, artifact or api.
FUZZING_KEEP=FILE writes the module of an input that fails to a file (not for frames and api).";

/// An oracle, and its outcome as text.
type Oracle = fn(&[u8]) -> Result<String>;

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|arg| arg == "-h" || arg == "--help") {
        println!("{USAGE}");
        return Ok(());
    }
    let [target, files @ ..] = &args[..] else { usage("no target") };
    let Some(oracle) = oracle(target) else { usage(&format!("there is no target {target}")) };
    if files.is_empty() {
        usage("no files");
    }
    let mut failed = 0;
    for file in files {
        let data = fs::read(file).with_context(|| format!("reading {file}"))?;
        // Before what may end the process.
        println!("{file}:");
        match oracle(&data) {
            Ok(outcome) => println!("{outcome}"),
            Err(error) => {
                println!("{error:?}");
                failed += 1;
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {} inputs fail", files.len());
    }
    Ok(())
}

fn oracle(target: &str) -> Option<Oracle> {
    let oracle: Oracle = match target {
        "translate" => |data| fuzzing::translate::run(data).map(|outcome| format!("{outcome:?}")),
        "differential" => {
            |data| fuzzing::differential::run(data).map(|outcome| format!("{outcome:?}"))
        }
        "suspend" => |data| fuzzing::suspend::run(data).map(|outcome| format!("{outcome:?}")),
        "frames" => |data| fuzzing::frames::run(data).map(|outcome| format!("{outcome:?}")),
        "artifact" => |data| fuzzing::artifact::run(data).map(|outcome| format!("{outcome:?}")),
        "api" => |data| fuzzing::api::run(data).map(|outcome| format!("{outcome:?}")),
        _ => return None,
    };
    Some(oracle)
}

fn usage(wrong: &str) -> ! {
    eprintln!("{wrong}\n\n{USAGE}");
    std::process::exit(2)
}
