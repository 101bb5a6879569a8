//! The oracle `suspend`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use stillframe_fuzzing::input::{random_bytes, seeds};
use stillframe_fuzzing::suspend::{self, Outcome};

#[test]
fn a_guest_that_is_cut_does_what_it_does_in_one_piece() {
    let mut seen = Outcome::default();
    for seed in seeds(900) {
        match suspend::run(&random_bytes(seed, 3000)) {
            Ok(more) => seen += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    assert!(seen.guests > 300 && seen.calls > 2_500 && seen.failed > 200, "{seen:?}");
    assert!(
        seen.out_of_fuel > 500 && seen.interrupted > 250 && seen.host_traps > 1_000,
        "{seen:?}"
    );
    assert!(seen.refused > 250 && seen.nested > 400 && seen.escaped > 30, "{seen:?}");
    assert!(seen.beside > 700 && seen.dropped > 10 && seen.callbacks > 80, "{seen:?}");
    assert!(seen.pending > 200 && seen.cancelled > 2 && seen.moves > 1_000, "{seen:?}");
    assert!(seen.frames > 1_500 && seen.linear > 60, "{seen:?}");
}
