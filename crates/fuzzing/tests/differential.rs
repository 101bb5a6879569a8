//! Random modules here, in wasmtime and in wasmi.

use stillframe_fuzzing::differential::{Outcome, run};
use stillframe_fuzzing::input::{random_bytes, seeds};

#[test]
fn random_modules_do_here_what_they_do_in_wasmtime_and_wasmi() {
    let mut outcome = Outcome::default();
    for seed in seeds(600) {
        match run(&random_bytes(seed, 300 + (seed % 13 * 300) as usize)) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{outcome:?}");
}
