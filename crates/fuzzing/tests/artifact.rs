//! Artifacts of random modules, damaged.

mod common;

use stillframe_fuzzing::artifact::{Outcome, run};
use stillframe_fuzzing::input::{Choices, random_bytes, seeds};

#[test]
fn damaged_artifacts_of_random_modules_are_refused() {
    let mut outcome = Outcome::default();
    for seed in seeds(400) {
        match run(&random_bytes(seed, 300 + (seed % 13 * 300) as usize)) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.artifacts > 250 && outcome.refused > 1_500, "{outcome:?}");
    assert!(outcome.other_engines.0 > 100 && outcome.other_engines.1 > 50, "{outcome:?}");
    assert!(outcome.parsed.0 > 500 && outcome.parsed.1 > 200, "{outcome:?}");
    assert!(outcome.tables.1 > 500 && outcome.rows > 5_000, "{outcome:?}");
    assert!(outcome.calls > 700, "{outcome:?}");
}

#[test]
fn damaged_artifacts_of_the_suites_modules_are_refused() {
    let mut outcome = Outcome::default();
    let modules = common::suite(false);
    for seed in seeds(300) {
        let mut input = random_bytes(seed, 32);
        let module = Choices::new(&seed.to_le_bytes()).pick(&modules);
        input.extend_from_slice(&module.wasm);
        match run(&input) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {}: {error:?}", module.script),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.artifacts > 200 && outcome.refused > 1_500, "{outcome:?}");
}

/// Found by the fuzzer: an engine without frame state takes artifacts of one that has `frame_writes`
/// besides, since there is nothing to write.
#[test]
fn frame_writes_without_frame_state_make_no_difference() {
    let mut input = vec![0xb6; 42];
    (input[0], input[2], input[34]) = (0x5f, 0xac, 0x0b);
    input.extend_from_slice(b"\x4d\x23\x62\x44\xfa\x5d\x03\x6b\xea\x2a\x72\xec\x84\xb6\x48\xbc");
    input.extend_from_slice(b"\x40\xdb\0asm\x01\0\0\0\x0a\x01\x08\0\x42\0\x2d\0\0\x1a\x0b");
    run(&input).unwrap();
}
