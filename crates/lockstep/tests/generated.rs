//! Our own programs, with every frame of every stop against the interpreter's, in every
//! configuration. `LOCKSTEP_SEEDS=1000` runs other programs, half again as many.

use stillframe::{FrameState, OptLevel};
use stillframe_lockstep::{Lockstep, Program, Report, Settings};

/// Runs these programs' functions, each in its own store.
fn run(settings: Settings, seeds: std::ops::Range<u64>) -> Report {
    let lockstep = Lockstep::new(settings.clone()).unwrap();
    let mut report = Report::default();
    let others = std::env::var("LOCKSTEP_SEEDS").map_or(0, |seeds| seeds.parse().unwrap());
    for seed in seeds.start + others..seeds.end + others + others / 2 {
        let program = Program::new(seed, 120);
        let wat = program.wat(&[]);
        let wasm = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
        let pair = lockstep.load(&wasm).unwrap_or_else(|error| panic!("{error:#}\n{wat}"));
        for function in 0..program.functions() {
            let name = format!("f{function}");
            match pair.call(&name, seed + function as u64) {
                Ok((more, _)) => report.add(&more),
                Err(error) => panic!("seed {seed}, {name}, {settings:?}: {error:#}\n{wat}"),
            }
        }
    }
    report
}

#[test]
fn all_locals_and_operands_are_the_interpreters() {
    let report = run(Settings::new(FrameState::All), 0..90);
    assert_eq!(report.not_live, 0);
    assert!(report.stops > 4_000 && report.operands > 5_000 && report.traps > 20, "{report:?}");
}

#[test]
fn live_locals_and_operands_are_the_interpreters() {
    let report = run(Settings::new(FrameState::Live), 0..90);
    assert!(
        report.stops > 4_000 && report.operands > 5_000 && report.not_live > 5_000,
        "{report:?}"
    );
}

#[test]
fn without_frame_state_backtraces_and_fuel_are_the_interpreters() {
    let report = run(Settings::new(FrameState::Off), 0..50);
    assert!(report.stops > 2_000, "{report:?}");
}

#[test]
fn written_locals_and_operands_are_seen() {
    for frame_state in [FrameState::Live, FrameState::All] {
        let settings = Settings { frame_writes: true, ..Settings::new(frame_state) };
        let report = run(settings, 0..40);
        assert!(report.writes > 5_000, "{report:?}");
    }
}

#[test]
fn without_metering_and_without_optimisation_frames_are_the_interpreters() {
    for frame_state in [FrameState::Live, FrameState::All] {
        let settings = Settings { fuel: false, ..Settings::new(frame_state) };
        let report = run(settings, 60..90);
        assert!(report.host_calls > 200, "{report:?}");
        let settings = Settings { opt_level: OptLevel::None, ..Settings::new(frame_state) };
        let report = run(settings, 60..90);
        assert!(report.stops > 1_000, "{report:?}");
    }
}

#[test]
fn epoch_deadlines_show_the_same_frames() {
    for frame_writes in [false, true] {
        let settings = Settings { epochs: true, frame_writes, ..Settings::new(FrameState::Live) };
        let report = run(settings, 90..110);
        assert!(report.interrupts > 300, "{report:?}");
    }
}
