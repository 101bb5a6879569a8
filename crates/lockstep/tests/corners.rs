//! Programs in which the books of `frame_state` were wrong once, in every configuration.

use stillframe::FrameState;
use stillframe_lockstep::{Lockstep, Settings};

fn check(wat: &str) {
    let wasm = wat::parse_str(wat).unwrap();
    for frame_state in [FrameState::Live, FrameState::All] {
        for frame_writes in [false, true] {
            for (fuel, slice) in [(true, 1), (true, 7), (true, 1000), (false, 1)] {
                let settings = Settings { frame_writes, fuel, slice, ..Settings::new(frame_state) };
                let lockstep = Lockstep::new(settings.clone()).unwrap();
                for seed in 0..4 {
                    let report = lockstep.run(&wasm, seed);
                    let report =
                        report.unwrap_or_else(|error| panic!("{settings:?}, {seed}: {error:#}"));
                    assert!(report.stops > 0, "{report:?}");
                }
            }
        }
    }
}

#[test]
fn a_popped_operand_comes_back_behind_a_loop_that_has_used_its_cell() {
    for ty in ["i64", "funcref", "v128"] {
        check(&format!(
            r#"(module (import "host" "a" (func $host)) (global $g (mut i32) (i32.const 0))
                (func (export "f") (param {ty} i64) (local.get 0) (call $host) (drop)
                    (local.get 1)
                    (block $out (loop $again
                        (br_if $out (global.get $g))
                        (call $host) (global.set $g (i32.const 1)) (br $again)))
                    (drop) (local.get 0) (call $host) (drop)))"#
        ));
    }
}

#[test]
fn a_popped_operand_comes_back_behind_a_checkpoint_that_has_used_its_cell() {
    check(
        r#"(module (import "host" "a" (func $host))
            (func (export "f") (param i64 i64)
                (local.get 0) (call $host) (drop)
                (local.get 1) (loop) (drop)
                (local.get 0) (call $host) (drop)))"#,
    );
}

#[test]
fn a_popped_operand_comes_back_behind_a_bulk_operation_that_has_used_its_cell() {
    check(
        r#"(module (import "host" "a" (func $host)) (memory 1)
            (func (export "f") (param i32 i32)
                (local.get 0) (call $host) (drop)
                (memory.fill (i32.and (local.get 1) (i32.const 255)) (i32.const 1)
                    (i32.and (local.get 1) (i32.const 255)))
                (local.get 0) (call $host) (drop)))"#,
    );
}

#[test]
fn a_popped_operand_comes_back_behind_a_loop_that_has_used_its_cell_in_its_body() {
    check(
        r#"(module (import "host" "a" (func $host)) (global $g (mut i32) (i32.const 0))
            (func (export "f") (param i64 i64) (local.get 0) (call $host) (drop)
                (block $out (loop $again
                    (br_if $out (global.get $g))
                    (local.get 1) (call $host) (drop)
                    (global.set $g (i32.const 1)) (br $again)))
                (local.get 0) (call $host) (drop)))"#,
    );
}

#[test]
fn operands_below_a_try_table_are_loaded_again_in_its_handlers() {
    check(
        r#"(module (import "host" "a" (func $host)) (tag $t)
            (func $throws (call $host) (throw $t))
            (func (export "f") (param i32) (result i32)
                (i32.const 1)
                (block $caught (try_table (catch_all $caught) (call $throws)))
                (call $host)
                (block $again
                    (try_table (catch $t $again) (if (local.get 0) (then (throw $t))) (call $host)))
                (call $host)))"#,
    );
}

#[test]
fn what_is_kept_at_one_call_is_not_held_in_the_handler_of_another() {
    check(
        r#"(module (import "host" "a" (func $host)) (tag $t)
            (func $throws (call $host) (throw $t))
            (func (export "f") (param i32) (local $x i64)
                (local.set $x (i64.const 7))
                (call $host)
                (drop (local.get $x))
                (local.set $x (i64.const 9))
                (block $caught
                    (try_table (catch_all $caught)
                        (call $throws)
                        (local.set $x (i64.const 5))
                        (call $host)
                        (drop (local.get $x))))
                (call $host)))"#,
    );
}

/// Loads in a row of which the last `used` are used later: each may sink past all those behind it,
/// as far as the barrier at the end of its chunk.
fn loads_that_sink(loads: usize, used: usize, settings: &Settings) {
    for faulty in (0..loads).filter(|i| i % 13 == 0 || (194..204).contains(i)) {
        let load = |i: usize| {
            let address = if i == faulty { "(local.get $out)" } else { "(i32.const 0)" };
            format!("(local.set $l{i} (i32.load offset={} {address}))", 4 * i)
        };
        let locals: String = (0..loads).map(|i| format!("(local $l{i} i32)")).collect();
        let all: String = (0..loads).map(load).collect();
        // Uses are in the order of the loads: what is used last can move first.
        let add = |i| format!("(i32.add (local.get $l{i}))");
        let adds: String = (loads - used..loads).map(add).collect();
        let wat = format!(
            r#"(module (import "host" "a" (func $host)) (memory 1)
                (func (export "f") (param i32) (result i32) (local $out i32) {locals}
                    (call $host)
                    (local.set $out (i32.or (local.get 0) (i32.const -4096)))
                    {all} (local.get 0) {adds}))"#
        );
        let wasm = wat::parse_str(wat).unwrap();
        let report = Lockstep::new(settings.clone()).unwrap().run(&wasm, 1);
        let report = report.unwrap_or_else(|error| panic!("load {faulty}: {error:#}"));
        assert_eq!(report.faults, 1, "load {faulty}: {report:?}");
    }
}

#[test]
fn a_load_among_hundreds_that_sink_is_found() {
    let live = Settings::new(FrameState::Live);
    // With fuel, all in one straight-line run.
    loads_that_sink(210, 60, &live);
    loads_that_sink(450, 450, &Settings { fuel: false, ..live });
    loads_that_sink(450, 450, &Settings { fuel: false, ..Settings::new(FrameState::Off) });
}

/// A checkpoint at the end of a long stretch can come right between a constant and the operator
/// that uses it, and the constant be written there.
#[test]
fn a_constant_that_was_written_at_a_checkpoint_is_no_constant() {
    let fills = "(memory.fill (i32.const 0) (i32.const 7) (i32.const 3)) (nop)".repeat(260);
    for pad in 0..6 {
        let wat = format!(
            r#"(module (import "host" "a" (func $host)) (memory (export "memory") 1)
                (func (export "f") (call $host) {} {fills}))"#,
            "(nop)".repeat(pad)
        );
        let wasm = wat::parse_str(wat).unwrap();
        for seed in 0..8 {
            let settings = Settings { frame_writes: true, ..Settings::new(FrameState::Live) };
            let settings = Settings { max_fuel: 20_000, ..settings };
            let report = Lockstep::new(settings).unwrap().run(&wasm, seed);
            report.unwrap_or_else(|error| panic!("{pad}, {seed}: {error:#}"));
        }
    }
}
