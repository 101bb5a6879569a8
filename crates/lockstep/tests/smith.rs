//! Random modules, with every frame of every stop against the interpreter's.

use stillframe::FrameState;
use stillframe_lockstep::{Lockstep, Report, Settings, Shape, module_of};

/// The bytes of a random module: a generator with this seed.
fn bytes(mut seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&(seed >> 16).to_le_bytes()[..4]);
    }
    bytes
}

fn run(settings: Settings, seeds: std::ops::Range<u64>) -> Report {
    let lockstep = Lockstep::new(settings.clone()).unwrap();
    let mut report = Report::default();
    for seed in seeds {
        for shape in Shape::ALL {
            let wasm = module_of(&bytes(seed, 3000), shape).unwrap();
            match lockstep.run(&wasm, seed) {
                Ok(more) => report.add(&more),
                Err(error) if format!("{error:#}").contains("not supported") => {}
                Err(error) => panic!("seed {seed}, {shape:?}, {settings:?}: {error:#}"),
            }
        }
    }
    report
}

#[test]
fn all_locals_and_operands_of_random_modules_are_the_interpreters() {
    let report = run(Settings::new(FrameState::All), 0..25);
    assert_eq!(report.not_live, 0);
    assert!(report.stops > 1000 && report.locals > 10_000 && report.operands > 500, "{report:?}");
}

#[test]
fn live_locals_and_operands_of_random_modules_are_the_interpreters() {
    let report = run(Settings::new(FrameState::Live), 0..25);
    assert!(report.stops > 1000 && report.locals > 5_000 && report.operands > 500, "{report:?}");
}

#[test]
fn written_locals_and_operands_are_seen_by_the_program() {
    for frame_state in [FrameState::All, FrameState::Live] {
        let settings = Settings { frame_writes: true, ..Settings::new(frame_state) };
        let report = run(settings, 0..15);
        assert!(report.writes > 500, "{report:?}");
    }
}
