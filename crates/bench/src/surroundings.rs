//! What every report needs: what it was measured on and with, where it goes, and that a panic does
//! not take the other rows with it.

use anyhow::{Context as _, Result, anyhow};
use std::any::Any;
use std::fmt::Display;
use std::fs::{File, read_to_string};
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Lets a panic be an error like others: it must not take the other rows with it.
pub(crate) fn catching<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|payload: Box<dyn Any + Send>| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(anyhow!("panic: {}", text.unwrap_or("without a message")))
    })
}

/// The first lines of a report: the machine, and for builds that were not optimised a warning.
/// Before measuring, since the machine's load is in it.
pub(crate) fn first_lines() -> Vec<String> {
    let mut lines = vec![machine()];
    if cfg!(debug_assertions) {
        lines.push("**a debug build: the numbers say nothing**".into());
    }
    lines
}

/// The machine, as the first line of a report has it.
fn machine() -> String {
    let read = |path: &str| read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let threads = std::thread::available_parallelism().map_or(0, |threads| threads.get());
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or_default();
    format!(
        "machine: {model}, {threads} threads, Linux {}, load {load} at the start",
        kernel.trim()
    )
}

/// Of Stillframe, and of this dependency, as this crate's manifest pins it.
pub(crate) fn version(name: &str) -> &'static str {
    if name == "stillframe" {
        return env!("CARGO_PKG_VERSION");
    }
    let manifest = include_str!("../Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    let version = line.and_then(|line| line.split_once("\"=")?.1.split('"').next());
    version.unwrap_or("of an unknown version")
}

/// Where a report goes.
pub(crate) struct Output {
    file: Option<File>,
    first_lines: Vec<String>,
}

impl Output {
    /// This file, or standard output. Made before measuring, so that a folder that is not there
    /// costs no time.
    pub(crate) fn to(path: Option<&Path>) -> Result<Output> {
        let create = |path: &Path| {
            File::create(path).with_context(|| format!("creating {}", path.display()))
        };
        Ok(Output { file: path.map(create).transpose()?, first_lines: first_lines() })
    }

    /// The report, whose beginning goes on with a list, and the first lines before it.
    pub(crate) fn write(self, report: impl Display) -> Result<()> {
        let mut whole: String = self.first_lines.iter().map(|line| format!("- {line}\n")).collect();
        whole += &report.to_string();
        match self.file {
            Some(mut file) => file.write_all(whole.as_bytes()).context("writing the report")?,
            None => tell(&whole),
        }
        Ok(())
    }
}

/// Writes to standard output. That nobody reads it to its end is not an error.
pub(crate) fn tell(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
