//! The oracle `api`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use stillframe_fuzzing::api::{self, Outcome};
use stillframe_fuzzing::input::{random_bytes, seeds};

#[test]
fn any_sequence_of_calls_does_what_is_documented_and_leaves_nothing_behind() {
    let mut seen = Outcome::default();
    for seed in seeds(800) {
        match api::run(&random_bytes(seed, 200)) {
            Ok(more) => seen += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    assert!(seen.engines > 600 && seen.stores > 900 && seen.instances > 4_000, "{seen:?}");
    assert!(seen.done > 5_000 && seen.refused > 8_000 && seen.misuses > 900, "{seen:?}");
    assert!(seen.returned > 6_000 && seen.failed > 3_000 && seen.nested > 2_500, "{seen:?}");
    assert!(seen.suspended > 800 && seen.resumed > 350 && seen.not_resumed > 60, "{seen:?}");
    assert!(seen.dropped > 150 && seen.orphans > 80 && seen.panicked > 80, "{seen:?}");
    assert!(seen.awaited > 2_000 && seen.cancelled > 50 && seen.callbacks > 30, "{seen:?}");
    assert!(seen.good > 300 && seen.stale > 1_000 && seen.dumps > 800, "{seen:?}");
    assert!(seen.panics > 500 && seen.moves > 900 && seen.reloaded > 300, "{seen:?}");
}
