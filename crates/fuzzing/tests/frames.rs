//! The oracle `frames`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use stillframe_fuzzing::frames::{self, Outcome};
use stillframe_fuzzing::input::{random_bytes, seeds};

#[test]
fn every_frame_is_the_interpreters_in_every_configuration() {
    let mut seen = Outcome::default();
    for seed in seeds(800) {
        match frames::run(&random_bytes(seed, 2500)) {
            Ok(more) => seen += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    assert!(seen.modules > 250 && seen.stops > 20_000 && seen.host_calls > 2_000, "{seen:?}");
    assert!(seen.interrupts > 1_500 && seen.failed > 200 && seen.values > 250_000, "{seen:?}");
    assert!(seen.writes > 4_000 && seen.worlds > 70 && seen.changed > 80, "{seen:?}");
}

#[test]
fn thousands_of_handles_are_good_exactly_as_long_as_their_frames_are_frozen() {
    for seed in seeds(3) {
        let seen = frames::run_world(seed, 20_000);
        let seen = seen.unwrap_or_else(|error| panic!("seed {seed}: {error:?}"));
        assert!(seen.good > 50_000 && seen.stale > 300_000 && seen.held == 4_000, "{seen:?}");
        assert!(seen.nested > 500 && seen.suspended > 400 && seen.resumed > 250, "{seen:?}");
        assert!(seen.dropped > 100 && seen.trapped > 400 && seen.panicked > 200, "{seen:?}");
        assert!(seen.strange > 600 && seen.deep > 100, "{seen:?}");
    }
}
