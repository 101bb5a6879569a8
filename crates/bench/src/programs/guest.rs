//! What is compiled and run: guests of our own, and real programs.

use anyhow::{Context as _, Result, ensure};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use stillframe_bench_report::guests::{self, Guest};
use stillframe_tests::programs::{Program as Wasi, RunOutcome, Workspace, programs};

/// A guest, how it is run, and what it must answer.
pub(super) enum Program {
    /// A module whose function `run` takes an `i32` and answers an `i64`.
    Own(Guest),
    /// A program that needs WASI.
    Real(Box<Real>),
}

pub(super) struct Real {
    pub(super) wasi: Wasi,
    group: &'static str,
    /// What the first run left behind; all others must leave the same.
    reference: Mutex<Option<RunOutcome>>,
}

/// The real programs that are run, what they mostly do, and whether `--quick` runs them too. The
/// others of `tests/` are the same modules again, or take minutes to compile.
const REAL: [(&str, &str, bool); 6] = [
    ("micropython", "dispatch", true),
    ("icepack", "parsing", true),
    ("boolector sat", "program", false),
    ("boolector unsat", "program", false),
    ("resvg", "program", false),
    ("nextpnr 1k", "program", false),
];

impl Program {
    /// All of them, in the table's order; those that were not fetched too.
    pub(super) fn all(quick: bool) -> Result<Vec<Program>> {
        let list = folder().join("guests.txt");
        let text = fs::read_to_string(&list);
        let text = text.with_context(|| format!("reading {}", list.display()))?;
        let own = guests::parse(&text).with_context(|| list.display().to_string())?;
        let mut all: Vec<_> = own.into_iter().map(Program::Own).collect();
        all.extend(programs().into_iter().filter_map(|wasi| {
            let known = REAL.iter().find(|&&(name, _, q)| name == wasi.name && (q || !quick));
            known.map(|&(_, group, _)| {
                Program::Real(Box::new(Real { wasi, group, reference: Mutex::default() }))
            })
        }));
        Ok(all)
    }

    pub(super) fn is_real(&self) -> bool {
        matches!(self, Program::Real(_))
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Program::Own(guest) => &guest.name,
            Program::Real(real) => real.wasi.name,
        }
    }

    pub(super) fn group(&self) -> &'static str {
        match self {
            Program::Own(guest) => guest.group,
            Program::Real(real) => real.group,
        }
    }

    /// What `--list` tells of it.
    pub(super) fn description(&self) -> String {
        match self {
            Program::Own(guest) => guest.description.clone(),
            Program::Real(real) if real.wasi.is_available() => "a real program".into(),
            Program::Real(_) => NOT_FETCHED.into(),
        }
    }

    /// The module's bytes, binary or text.
    pub(super) fn wasm(&self) -> Result<Vec<u8>> {
        let path = match self {
            Program::Own(guest) => {
                let binary = folder().join(format!("{}.wasm", guest.name));
                if binary.is_file() { binary } else { binary.with_extension("wat") }
            }
            Program::Real(real) => {
                ensure!(real.wasi.is_available(), NOT_FETCHED);
                real.wasi.wasm.clone()
            }
        };
        fs::read(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Several programs can be one module, which is compiled and counted once.
    pub(super) fn module_name(&self) -> &str {
        match self {
            Program::Own(guest) => &guest.name,
            Program::Real(real) => {
                let name = Path::new(&real.wasi.wasm).file_stem().and_then(|name| name.to_str());
                name.unwrap_or(real.wasi.name)
            }
        }
    }
}

const NOT_FETCHED: &str = "not fetched: run tests/programs/fetch.sh";

/// Where the guests of our own lie.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests")
}

impl Real {
    /// The folders of a run, laid out anew.
    pub(super) fn workspace(&self) -> Result<Workspace> {
        Workspace::prepare(&self.wasi, &temporary())
    }

    /// An error unless the program has left behind what the run before has.
    pub(super) fn check(
        &self,
        workspace: &Workspace,
        exit_code: i32,
        (stdout, stderr): (Vec<u8>, Vec<u8>),
    ) -> Result<()> {
        let left = workspace.outcome(&self.wasi, exit_code, stdout, stderr, None)?;
        let name = self.wasi.name;
        ensure!(left.exit_code == self.wasi.exit_code, "{name} exited with {}", left.exit_code);
        let mut reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let reference = reference.get_or_insert_with(|| left.clone());
        ensure!(*reference == left, "{name} left something else behind than in the first run");
        Ok(())
    }
}

fn temporary() -> PathBuf {
    std::env::temp_dir().join(format!("stillframe-bench-{}", std::process::id()))
}

/// Deletes what the runs have left in the temporary folder.
pub(super) fn clean_up() {
    let _ = fs::remove_dir_all(temporary());
}
