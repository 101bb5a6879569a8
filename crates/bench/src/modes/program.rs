//! What is compiled and run: small guests of our own, and real programs.

use anyhow::{Context as _, Result, ensure};
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use stillframe_tests::programs::{Program as Wasi, RunOutcome, Workspace, programs};

/// A guest, how it is run, and what it must answer.
pub(super) struct Program {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

pub(super) enum Kind {
    /// A module in the text format whose function `run` takes an `i32` and answers an `i64`.
    Small(Small),
    /// A program that needs WASI.
    Real(Box<Real>),
}

#[derive(Clone, Copy)]
pub(super) struct Small {
    text: &'static str,
    pub(super) parameter: i32,
    /// By an implementation of the same in another language.
    pub(super) answer: i64,
}

pub(super) struct Real {
    pub(super) wasi: Wasi,
    /// What the first run left behind; all others must leave the same.
    reference: Mutex<Option<RunOutcome>>,
}

macro_rules! small {
    ($name:literal, $file:literal, $parameter:expr, $answer:expr) => {
        Program {
            name: $name,
            kind: Kind::Small(Small {
                text: include_str!(concat!("../../guests/", $file, ".wat")),
                parameter: $parameter,
                answer: $answer,
            }),
        }
    };
}

/// The real programs that are run, and whether `--quick` runs them too. The others of `tests/` are
/// the same modules again, or take too long.
const REAL: [(&str, bool); 6] = [
    ("micropython", true),
    ("icepack", true),
    ("boolector sat", false),
    ("boolector unsat", true),
    ("resvg", false),
    ("nextpnr 1k", false),
];

impl Program {
    /// All of them, in the table's order; those that were not fetched too.
    pub(super) fn all(quick: bool) -> Vec<Program> {
        let mut all = vec![
            small!("fib: calls", "fib", 32, 2178309),
            small!("counted: counted loops", "counted", 20_000, -7273943017754388091),
            small!("sieve: memory", "sieve", 4_000_000, 283146),
            small!("interpreter: dispatch loop", "interpreter", 1_000_000, 333333834470942720),
            small!("mandelbrot: floating point", "mandelbrot", 400, 3364346),
            small!("matrix: floating point in memory", "matrix", 200, -26666000000),
            small!("quicksort: recursion, branches", "quicksort", 200_000, 1912838523234728728),
            small!("sha256: calls among many locals", "sha256", 10_000, 5575695100167259350),
            small!("dispatch: indirect calls", "dispatch", 2_000_000, 727551907042409123),
            small!("host calls", "host_calls", 1_000_000, 5595861450822782400),
        ];
        let wanted = |wasi: &Wasi| REAL.iter().any(|&(name, q)| name == wasi.name && (q || !quick));
        all.extend(programs().into_iter().filter(wanted).map(|wasi| Program {
            name: wasi.name,
            kind: Kind::Real(Box::new(Real { wasi, reference: Mutex::default() })),
        }));
        all
    }

    pub(super) fn is_real(&self) -> bool {
        matches!(self.kind, Kind::Real(_))
    }

    /// The module's bytes, binary or text.
    pub(super) fn wasm(&self) -> Result<Cow<'static, [u8]>> {
        Ok(match &self.kind {
            Kind::Small(small) => Cow::Borrowed(small.text.as_bytes()),
            Kind::Real(real) => {
                ensure!(real.wasi.is_available(), "not fetched: see tests/programs/fetch.sh");
                let path = &real.wasi.wasm;
                let wasm = std::fs::read(path);
                wasm.with_context(|| format!("reading {}", path.display()))?.into()
            }
        })
    }

    /// Several programs can be one module, which is compiled and counted once.
    pub(super) fn module_name(&self) -> &str {
        match &self.kind {
            Kind::Small(_) => self.name,
            Kind::Real(real) => {
                let name = Path::new(&real.wasi.wasm).file_stem().and_then(|name| name.to_str());
                name.unwrap_or(self.name)
            }
        }
    }
}

impl Real {
    /// The folders of a run, laid out anew.
    pub(super) fn workspace(&self) -> Result<Workspace> {
        let folder = format!("stillframe-bench-{}", std::process::id());
        Workspace::prepare(&self.wasi, &std::env::temp_dir().join(folder))
    }

    /// An error unless the program has left behind what the run before has.
    pub(super) fn check(&self, left: RunOutcome) -> Result<()> {
        let name = self.wasi.name;
        ensure!(left.exit_code == self.wasi.exit_code, "{name} exited with {}", left.exit_code);
        let mut reference = self.reference.lock().unwrap_or_else(PoisonError::into_inner);
        let reference = reference.get_or_insert_with(|| left.clone());
        ensure!(*reference == left, "{name} left something else behind than in the first run");
        Ok(())
    }
}

/// Deletes what the runs have left in the temporary folder.
pub(super) fn clean_up() {
    let folder = format!("stillframe-bench-{}", std::process::id());
    let _ = std::fs::remove_dir_all(std::env::temp_dir().join(folder));
}
