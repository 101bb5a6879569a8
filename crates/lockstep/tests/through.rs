//! Functions whose state would cost too much at each safepoint: it is stored where it is written.

use std::fmt::Write as _;
use stillframe::FrameState;
use stillframe_lockstep::{Lockstep, Settings};

/// A function with many locals of all types, which are dead behind the first of many loops or live
/// through all of them. The loops are in arms of `if`s: what is stored before one of them has not
/// been stored behind the arm, whichever way was taken.
fn many_locals(locals: usize, loops: usize, live: bool) -> Vec<u8> {
    let types = ["i32", "i64", "f32", "f64", "v128", "externref"];
    let mut wat = String::from(
        r#"(module (import "host" "b" (func $b (param i32) (result i32)))
            (func (export "f") (param $p i32) (param $e externref) (result i32)"#,
    );
    for i in 0..locals {
        let _ = write!(wat, " (local $l{i} {})", types[i % types.len()]);
    }
    for i in 0..locals {
        let value = match types[i % types.len()] {
            "v128" => format!("(v128.const i64x2 {i} 7)"),
            "externref" => "(local.get $e)".to_string(),
            ty => format!("({ty}.const {i})"),
        };
        let _ = writeln!(wat, "(local.set $l{i} {value})");
    }
    for i in 0..loops {
        let at = (i * 7) % locals / types.len() * types.len();
        let _ = writeln!(
            wat,
            "(i32.const {i}) (local.get $p) (if (param i32) (result i32)
                 (then (loop (param i32) (result i32) (br_if 1 (i32.eqz (local.get $p)))))
                 (else (i32.const 3) (i32.add)))
             (local.set $l{at} (i32.add (local.get $l{at})))"
        );
        if i + 1 == loops {
            let _ = writeln!(wat, "(local.set $p (call $b (local.get $p)))");
            let _ = writeln!(wat, "(local.set $p (i32.or (local.get $p) (i32.const 1)))");
        }
    }
    if live {
        for i in 0..locals {
            let _ = writeln!(wat, "(drop (local.get $l{i}))");
        }
    }
    wat.push_str("(local.get $p)))");
    wat::parse_str(wat).unwrap()
}

#[test]
fn what_is_stored_where_it_is_written_is_the_interpreters() {
    let wasm = many_locals(800, 800, true);
    for frame_state in [FrameState::Live, FrameState::All] {
        for frame_writes in [false, true] {
            let settings =
                Settings { frame_writes, max_fuel: 20_000, ..Settings::new(frame_state) };
            let report = Lockstep::new(settings).unwrap().run(&wasm, 1).unwrap();
            assert!(report.stops > 300, "{report:?}");
            assert_eq!(report.not_live, 0, "all locals are stored: {report:?}");
            assert_eq!(report.writes > 0, frame_writes, "{report:?}");
        }
    }
    // The same with locals that are dead soon stays within its budget, and does not show them.
    let wasm = many_locals(400, 50, false);
    let report = Lockstep::new(Settings::new(FrameState::Live)).unwrap().run(&wasm, 1).unwrap();
    assert!(report.not_live > 1000, "{report:?}");
}
