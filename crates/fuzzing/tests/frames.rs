//! The oracle `frames`, with fixed seeds; `FUZZING_SEEDS=1000` runs others.

#![allow(missing_docs)]

use stillframe_fuzzing::frames::{self, Outcome};
use stillframe_fuzzing::input::random_bytes;

fn others() -> u64 {
    std::env::var("FUZZING_SEEDS").map_or(0, |seeds| seeds.parse().unwrap())
}

#[test]
fn every_frame_is_the_interpreters_in_every_configuration() {
    let mut seen = Outcome::default();
    for seed in others()..others() + 500 {
        let t = std::time::Instant::now();
        let r = frames::run(&random_bytes(seed, 2500));
        if t.elapsed().as_millis() > 700 { println!("seed {seed} {:?} {:?}", t.elapsed(), r.as_ref().ok()); }
        match frames::run(&random_bytes(seed, 2500)) {
            Ok(more) => seen += more,
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{seen:?}");
}

#[test]
fn thousands_of_handles_are_good_exactly_as_long_as_their_frames_are_frozen() {
    for seed in others()..others() + 4 {
        let seen = frames::run_world(seed, 20_000).unwrap_or_else(|e| panic!("seed {seed}: {e:?}"));
        println!("{seen:?}");
    }
}
