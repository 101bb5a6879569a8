//! The oracle `suspend`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use std::ops::Range;
use stillframe_fuzzing::input::random_bytes;
use stillframe_fuzzing::suspend::{self, Outcome};

fn run(seeds: Range<u64>) -> Outcome {
    let others = std::env::var("FUZZING_SEEDS").map_or(0, |seeds| seeds.parse().unwrap());
    let mut outcome = Outcome::default();
    for seed in seeds.start + others..seeds.end + others {
        match suspend::run(&random_bytes(seed, 3000)) {
            Ok(more) => outcome += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    outcome
}

#[test]
fn a_guest_that_is_cut_does_what_it_does_in_one_piece() {
    let seen = run(0..600);
    assert!(seen.guests > 300 && seen.calls > 3_000 && seen.failed > 300, "{seen:?}");
    assert!(
        seen.out_of_fuel > 800 && seen.interrupted > 400 && seen.host_traps > 1_500,
        "{seen:?}"
    );
    assert!(seen.refused > 400 && seen.nested > 500 && seen.escaped > 60, "{seen:?}");
    assert!(seen.beside > 1_000 && seen.dropped > 30 && seen.callbacks > 100, "{seen:?}");
    assert!(seen.pending > 300 && seen.cancelled > 5 && seen.moves > 1_500, "{seen:?}");
    assert!(seen.frames > 2_000 && seen.linear > 80, "{seen:?}");
}
