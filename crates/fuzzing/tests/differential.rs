//! Random modules, and those of the specification's suite, here, in wasmtime, in wasmi and in the
//! reference interpreter.

mod common;

use stillframe_fuzzing::differential::{Outcome, run};
use stillframe_fuzzing::input::{Choices, random_bytes, seeds};

#[test]
fn random_modules_do_here_what_they_do_in_wasmtime_and_wasmi() {
    let mut outcome = Outcome::default();
    for seed in seeds(600) {
        match run(&random_bytes(seed, 300 + (seed % 13 * 300) as usize)) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {error:?}"),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.modules > 500 && outcome.calls > 3_000, "{outcome:?}");
    assert!(outcome.returned > 2_000 && outcome.trapped > 500, "{outcome:?}");
    assert!(outcome.threw > 3 && outcome.host_failed > 100, "{outcome:?}");
    assert!(outcome.host_calls > 1_500 && outcome.suspensions > 1_000, "{outcome:?}");
    assert!(outcome.fuel > 150 && outcome.calls_of_wasmi > 700, "{outcome:?}");
    assert!(outcome.wasmi_alone < 10 && outcome.exhausted < 150, "{outcome:?}");
}

#[test]
fn the_suites_modules_do_here_what_they_do_in_wasmtime_and_wasmi() {
    let mut outcome = Outcome::default();
    let modules = common::suite(false);
    for seed in seeds(400) {
        let mut input = random_bytes(seed, 32);
        let module = Choices::new(&seed.to_le_bytes()).pick(&modules);
        input.extend_from_slice(&module.wasm);
        match run(&input) {
            Ok(more) => outcome.add(&more),
            Err(error) => panic!("seed {seed}: {}: {error:?}", module.script),
        }
    }
    println!("{outcome:?}");
    assert!(outcome.modules > 300 && outcome.calls > 1_200, "{outcome:?}");
    assert!(outcome.fuel > 200 && outcome.calls_of_wasmi > 1_000, "{outcome:?}");
    assert!(outcome.wasmi_alone < 5 && outcome.exhausted < 60, "{outcome:?}");
}

#[test]
fn what_engines_have_room_for_is_no_difference() {
    // Frames of 16 KB with us if they keep all locals, and of a few bytes in wasmtime; and a loop
    // without end.
    let module = format!(
        "(module
            (func $deep (param i32) (result i32) (local {})
                (if (result i32) (local.get 0)
                    (then (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1)))
                                   (i32.const 1)))
                    (else (i32.const 0))))
            (func (export \"deep\") (result i32) (call $deep (i32.const 5500)))
            (func (export \"endless\") (loop (br 0))))",
        "i64 ".repeat(2_000)
    );
    let wasm = wat::parse_str(module).unwrap();
    let mut outcome = Outcome::default();
    for seed in 0..12 {
        let input = [random_bytes(seed, 32), wasm.clone()].concat();
        outcome.add(&run(&input).unwrap_or_else(|error| panic!("seed {seed}: {error:?}")));
    }
    assert_eq!((outcome.modules, outcome.exhausted), (12, 12), "{outcome:?}");
}
