//! Artifacts of random modules, damaged.

mod common;

use stillframe_fuzzing::artifact::{Outcome, run};
use stillframe_fuzzing::input::{Choices, random_bytes, seeds};

#[test]
fn damaged_artifacts_of_random_modules_are_refused() {
    let mut outcome = Outcome::default();
    for seed in seeds(400) {
        match run(&random_bytes(seed, 300 + (seed % 13 * 300) as usize)) {
            Ok(more) => outcome += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.artifacts > 250 && outcome.refused > 1_500, "{outcome:?}");
    assert!(outcome.others_refused > 100 && outcome.others_accepted > 50, "{outcome:?}");
    assert!(outcome.unparsed > 500 && outcome.parsed > 200, "{outcome:?}");
    assert!(outcome.tables > 500 && outcome.rows > 5_000, "{outcome:?}");
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
            Ok(more) => outcome += more,
            Err(error) => panic!("seed {seed}: {}: {error:?}", module.script),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.artifacts > 200 && outcome.refused > 1_500, "{outcome:?}");
}
