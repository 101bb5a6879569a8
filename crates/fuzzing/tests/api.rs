//! The oracle `api`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use stillframe_fuzzing::api::{self, Outcome};
use stillframe_fuzzing::input::{random_bytes, seeds};

#[test]
fn any_sequence_of_calls_does_what_is_documented_and_leaves_nothing_behind() {
    let mut seen = Outcome::default();
    for seed in seeds(300) {
        match api::run(&random_bytes(seed, 200)) {
            Ok(more) => seen += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{seen:?}");
}
