//! What the fuzzer has found, where the mistake was the oracle's. Where it was ours, the test is beside
//! those of what was mended; `fuzz/README.md` tells where.

use stillframe::FrameState;
use stillframe_fuzzing::{artifact, differential, frames, translate};
use stillframe_lockstep::{Lockstep, Settings, TOO_LONG};

/// It ran in step for minutes: between two stops there were hundreds of millions of operators.
#[test]
fn a_call_without_fuel_that_takes_the_interpreter_too_long_is_given_up() {
    let wat = r#"(module (import "host" "b" (func $b (param i32) (result i32)))
        (func (export "f") (result i32) (local i32)
            (loop (br_if 0 (i32.lt_u
                (local.tee 0 (i32.add (local.get 0) (i32.const 1)))
                (i32.const 100000000))))
            (call $b (i32.const 7))))"#;
    let settings = Settings { fuel: false, ..Settings::new(FrameState::All) };
    let lockstep = Lockstep::new(settings).unwrap();
    let error = lockstep.run(&wat::parse_str(wat).unwrap(), 3).unwrap_err();
    assert!(format!("{error:#}").contains(TOO_LONG), "{error:#}");
}

/// An engine without frame state takes artifacts of one that has `frame_writes`
/// besides, since there is nothing to write.
#[test]
fn frame_writes_without_frame_state_make_no_difference() {
    let mut input = vec![0xb6; 42];
    (input[0], input[2], input[34]) = (0x5f, 0xac, 0x0b);
    input.extend_from_slice(b"\x4d\x23\x62\x44\xfa\x5d\x03\x6b\xea\x2a\x72\xec\x84\xb6\x48\xbc");
    input.extend_from_slice(b"\x40\xdb\0asm\x01\0\0\0\x0a\x01\x08\0\x42\0\x2d\0\0\x1a\x0b");
    artifact::run(&input).unwrap();
}

/// Small and valid, and refused: calls with a thousand parameters and results.
#[test]
fn what_is_too_large_for_the_code_generator_is_no_failure() {
    let (types, calls) = ("i32 ".repeat(1000), "call $wide ".repeat(150));
    let wat = format!(
        "(module (func $wide (param {types}) (result {types}) unreachable)
        (func (export \"f\") {} {calls} {}))",
        "i32.const 1 ".repeat(1000),
        "drop ".repeat(1000)
    );
    let module = wat::parse_str(wat).unwrap();
    let input = [&[0x55; 32], &*module].concat();
    translate::run(&input).unwrap();
    differential::run(&input).unwrap();
    frames::run(&input).unwrap();
}
