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
                (local.get 1) (i32.const 1)
                (memory.fill (i32.const 0) (i32.const 1) (i32.and (local.get 1) (i32.const 255)))
                (drop) (drop)
                (local.get 0) (call $host) (drop)))"#,
    );
}

#[test]
fn an_operand_comes_back_in_each_round_of_a_loop_that_uses_its_cell() {
    check(
        r#"(module (import "host" "a" (func $host))
            (func (export "f") (param i64 i64) (local $rounds i32)
                (local.set $rounds (i32.const 3))
                (local.get 0) (call $host) (drop)
                (loop $again
                    (local.get 0) (call $host) (drop)
                    (local.get 1) (call $host) (drop)
                    (br_if $again (local.tee $rounds
                        (i32.sub (local.get $rounds) (i32.const 1)))))))"#,
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
