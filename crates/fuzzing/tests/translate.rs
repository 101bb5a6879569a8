//! Random modules, damaged ones, and those of the specification's suite, in any settings.

mod common;

use stillframe_fuzzing::input::{Choices, random_bytes, seeds};
use stillframe_fuzzing::translate::{Outcome, run};

#[test]
fn random_modules_and_damaged_ones_are_compiled_or_refused() {
    let mut outcome = Outcome::default();
    for seed in seeds(700) {
        match run(&random_bytes(seed, 300 + (seed % 13 * 300) as usize)) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.compiled > 350 && outcome.invalid > 80, "{outcome:?}");
}

#[test]
fn modules_of_the_suite_are_compiled_or_refused_as_they_are_and_damaged() {
    let mut outcome = Outcome::default();
    let modules = common::suite(true);
    for seed in seeds(1000) {
        let mut input = random_bytes(seed, 32);
        let module = Choices::new(&seed.to_le_bytes()).pick(&modules);
        input.extend_from_slice(&module.wasm);
        match run(&input) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {}: {error:?}", module.script),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.compiled > 200 && outcome.invalid > 400, "{outcome:?}");
}
