//! Functions that would take too long to compile as usual: their locals and operands live in the
//! frame, and the code is not optimised. `LOCKSTEP_PLAIN=1` runs all other tests of this crate so;
//! those fail then that want locals not to be shown.

use std::fmt::Write as _;
use stillframe::FrameState;
use stillframe_lockstep::{Lockstep, Program, Report, Settings};

fn run(settings: &Settings, seeds: std::ops::Range<u64>) -> Report {
    let lockstep = Lockstep::new(settings.clone()).unwrap();
    let mut report = Report::default();
    for seed in seeds {
        let program = Program::new(seed, 120);
        let wat = program.wat(&[]);
        let pair = lockstep.load(&wat::parse_str(&wat).unwrap()).unwrap();
        for function in 0..program.functions() {
            match pair.call(&format!("f{function}"), seed + function as u64) {
                Ok((more, _)) => report.add(&more),
                Err(error) => panic!("seed {seed}, f{function}, {settings:?}: {error:#}\n{wat}"),
            }
        }
    }
    report
}

#[test]
fn every_frame_of_plain_code_is_the_interpreters() {
    for frame_state in [FrameState::Off, FrameState::Live, FrameState::All] {
        for (fuel, epochs) in [(false, false), (true, false), (true, true)] {
            // Registers are allocated in one of two ways.
            let inlining = fuel == epochs;
            let plain = Settings { plain: true, inlining, ..Settings::new(frame_state) };
            let report = run(&Settings { fuel, epochs, ..plain }, 0..25);
            assert!(report.host_calls > 200, "{report:?}");
            if frame_state != FrameState::Off {
                assert_eq!(report.not_live, 0, "all locals are in the frame: {report:?}");
                assert!(report.locals > 1_000 && report.operands > 100, "{report:?}");
            }
        }
    }
}

#[test]
fn what_is_written_is_what_plain_code_reads() {
    for frame_state in [FrameState::Live, FrameState::All] {
        for inlining in [false, true] {
            let plain = Settings { plain: true, inlining, ..Settings::new(frame_state) };
            let report = run(&Settings { frame_writes: true, ..plain }, 0..15);
            assert!(report.writes > 1_500, "{report:?}");
        }
    }
}

/// A function with so many times three operands, over calls, loops, and `if`s that take operands of two
/// widths; every other one goes to its `else`.
fn deep(times: usize) -> Vec<u8> {
    let mut wat = String::from(
        r#"(module (import "host" "b" (func $b (param i32) (result i32)))
        (func (export "f") (param i32) (result i32) "#,
    );
    for i in 0..times {
        let _ = write!(
            wat,
            "(i32.xor (local.get 0) (i32.const {i})) (v128.const i64x2 {i} {i})
            (call $b (i32.const {i})) (i32.and (i32.add (local.get 0) (i32.const {i})) (i32.const 1))
            (if (param v128 i32) (result v128 i32)
                (then (drop) (drop) (v128.const i64x2 7 {i}) (i32.const {i}))
                (else (loop (param i32) (result i32) (i32.const 1) (i32.add)))) "
        );
    }
    wat.push_str("(i32.const 0) ");
    for _ in 0..times {
        let unwind = "(i32.add) (local.set 0) (i32x4.extract_lane 0) (i32.add)";
        let _ = write!(wat, "{unwind} (local.get 0) (i32.add) ");
    }
    wat::parse_str(wat + "))").unwrap()
}

#[test]
fn deep_operands_and_what_an_if_takes_come_back() {
    // More than fifty are not shown, and are not where those are that are.
    let (few, many) = (deep(16), deep(90));
    for (frame_state, wasm) in
        [(FrameState::Off, &many), (FrameState::Live, &few), (FrameState::All, &few)]
    {
        for frame_writes in [false, frame_state != FrameState::Off] {
            let settings = Settings {
                plain: true,
                frame_writes,
                max_fuel: 20_000,
                ..Settings::new(frame_state)
            };
            let report = Lockstep::new(settings).unwrap().run(wasm, 3).unwrap();
            assert!(report.stops > 15 && report.finished > 0, "{report:?}");
        }
    }
}
