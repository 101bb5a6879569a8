//! The oracle `frames`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use stillframe_fuzzing::frames::{self, Outcome};
use stillframe_fuzzing::input::{random_bytes, seeds};

#[test]
fn every_frame_is_the_interpreters_in_every_configuration() {
    let mut seen = Outcome::default();
    for seed in seeds(500) {
        match frames::run(&random_bytes(seed, 2500)) {
            Ok(more) => seen += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{seen:?}");
}

#[test]
fn thousands_of_handles_are_good_exactly_as_long_as_their_frames_are_frozen() {
    for seed in seeds(3) {
        let seen = frames::run_world(seed, 10_000);
        let seen = seen.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert!(seen.good > 20_000 && seen.stale > 100_000 && seen.held > 2_000, "{seen:?}");
        assert!(seen.nested > 200 && seen.suspended > 200 && seen.resumed > 100, "{seen:?}");
        assert!(seen.dropped > 50 && seen.trapped > 100 && seen.panicked > 100, "{seen:?}");
        assert!(seen.strange > 200, "{seen:?}");
    }
}
