//! Scripts that must not pass: a runner that lets things pass proves nothing.

use super::{Options, Report, run_script};

fn run(script: &str) -> Report {
    run_script(script, Options::default()).unwrap()
}

fn failures(report: &Report) -> Vec<String> {
    report.failed().map(ToString::to_string).collect()
}

/// Runs a script of which the last directive fails, and nothing else; answers why.
fn why_last_fails(script: &str) -> String {
    let failed = failures(&run(script));
    assert_eq!(failed.len(), 1, "{failed:#?}");
    failed.into_iter().next().unwrap()
}

#[test]
fn wrong_results_fail() {
    let module = r#"(module
        (func (export "i") (result i32) (i32.const 1))
        (func (export "two") (result i32 i32) (i32.const 1) (i32.const 2))
        (func (export "nan") (result f32) (f32.const nan:0x200000))
        (func (export "minus") (result f64) (f64.const -0))
        (func (export "v") (result v128) (v128.const i32x4 1 2 3 4))
        (func (export "null") (result externref) (ref.null extern))
        (func (export "id") (param externref) (result externref) (local.get 0)))"#;
    for (directive, why) in [
        (r#"(assert_return (invoke "i") (i32.const 2))"#, "expected i32 2, got i32 1"),
        (r#"(assert_return (invoke "i") (i64.const 1))"#, "expected i64 1, got i32 1"),
        (r#"(assert_return (invoke "i"))"#, "expected 0 results, got 1: i32 1"),
        (
            r#"(assert_return (invoke "two") (i32.const 1) (i32.const 3))"#,
            "result 2: expected i32 3",
        ),
        (
            r#"(assert_return (invoke "nan") (f32.const nan:canonical))"#,
            "expected f32 nan:canonical",
        ),
        (
            r#"(assert_return (invoke "nan") (f32.const nan:arithmetic))"#,
            "expected f32 nan:arithmetic",
        ),
        (r#"(assert_return (invoke "minus") (f64.const 0))"#, "got f64 -0"),
        (r#"(assert_return (invoke "v") (v128.const i32x4 1 2 3 5))"#, "got v128 0x00000004"),
        (r#"(assert_return (invoke "null") (ref.extern 1))"#, "got a null externref"),
        (r#"(assert_return (invoke "null") (ref.null func))"#, "got a null externref"),
        (r#"(assert_return (invoke "id" (ref.extern 1)) (ref.extern 2))"#, "got externref 1"),
        (
            r#"(assert_return (invoke "i") (either (i32.const 2) (i32.const 3)))"#,
            "expected i32 2 or i32 3, got i32 1",
        ),
        (r#"(assert_return (invoke "nothing"))"#, "no function \"nothing\""),
        (r#"(assert_return (invoke "i" (i32.const 1)) (i32.const 1))"#, ""),
    ] {
        let said = why_last_fails(&format!("{module}\n{directive}"));
        assert!(said.contains(why), "{directive}: {said}");
    }
}

#[test]
fn right_results_pass() {
    let report = run(r#"
        (module $M
          (global (export "g") i64 (i64.const 7))
          (func (export "nan") (result f32) (f32.const nan))
          (func (export "v") (result v128) (v128.const f32x4 nan 0 -0 1))
          (func (export "id") (param externref) (result externref) (local.get 0))
          (func (export "self") (result funcref) (ref.func 0)))
        (register "m")
        (module (import "m" "nan" (func (result f32))) (import "spectest" "memory" (memory 1)))
        (assert_return (get $M "g") (i64.const 7))
        (assert_return (invoke $M "nan") (f32.const nan:canonical))
        (assert_return (invoke $M "v") (v128.const f32x4 nan:arithmetic 0 -0 1))
        (assert_return (invoke $M "id" (ref.extern 5)) (ref.extern 5))
        (assert_return (invoke $M "id" (ref.extern 5)) (ref.extern))
        (assert_return (invoke $M "id" (ref.null extern)) (ref.null))
        (assert_return (invoke $M "self") (ref.func))"#);
    assert_eq!(report.passed(), 10, "{:?}", failures(&report));
}

#[test]
fn wrong_ends_fail() {
    let module = r#"(module
        (func (export "ok"))
        (func (export "trap") (unreachable))
        (func $deep (export "deep") (call $deep)))"#;
    for (directive, why) in [
        (r#"(assert_trap (invoke "ok") "unreachable")"#, "but it returned: nothing"),
        (r#"(assert_trap (invoke "trap") "integer overflow")"#, "got \"unreachable\""),
        (r#"(assert_trap (invoke "gone") "unreachable")"#, "got an error: there is no function"),
        (r#"(assert_exhaustion (invoke "ok") "call stack exhausted")"#, "but it returned"),
        (r#"(assert_exhaustion (invoke "trap") "call stack exhausted")"#, "got \"unreachable\""),
        (r#"(assert_return (invoke "trap"))"#, "unreachable"),
        (r#"(invoke "trap")"#, "unreachable"),
        (r#"(assert_exception (invoke "trap"))"#, "expected an exception: unreachable"),
        (r#"(assert_exception (invoke "ok"))"#, "it ended normally"),
    ] {
        let said = why_last_fails(&format!("{module}\n{directive}"));
        assert!(said.contains(why), "{directive}: {said}");
    }
    let passing = r#"(assert_trap (invoke "trap") "unreachable")
        (assert_exhaustion (invoke "deep") "call stack exhausted")
        (assert_trap (module (func $start (unreachable)) (start $start)) "unreachable")"#;
    assert_eq!(run(&format!("{module}\n{passing}")).passed(), 4);
}

#[test]
fn modules_that_are_better_or_worse_than_asserted_fail() {
    for (directive, why) in [
        (r#"(assert_invalid (module (func)) "type mismatch")"#, "the module was accepted"),
        (r#"(assert_malformed (module quote "(func)") "unexpected token")"#, "was accepted"),
        (r#"(assert_malformed (module binary "\00asm\01\00\00\00") "magic")"#, "was accepted"),
        (r#"(assert_unlinkable (module (func)) "unknown import")"#, "was instantiated"),
        (
            r#"(assert_unlinkable (module (import "no" "no" (func))) "incompatible import type")"#,
            "unknown import",
        ),
        (r#"(module (import "no" "no" (func)))"#, "unknown import"),
        (r#"(register "m" $gone)"#, "no instance $gone"),
        (r#"(module instance $i $gone)"#, "no module definition $gone"),
    ] {
        let said = why_last_fails(&format!("(module)\n{directive}"));
        assert!(said.contains(why), "{directive}: {said}");
    }
    let report = run(r#"
        (assert_invalid (module (func (result i32))) "type mismatch")
        (assert_malformed (module quote "(func") "unexpected token")
        (assert_malformed (module binary "asm") "magic")
        (assert_unlinkable (module (import "spectest" "memory" (memory 3))) "incompatible import")
        (module definition $d (global (mut i32) (i32.const 0)))
        (module instance $i $d)
        (module instance $j $d)
        (register "i" $i)"#);
    assert_eq!(report.passed(), 8, "{:?}", failures(&report));
}

#[test]
fn failed_module_leaves_no_instance_behind() {
    let report = run(r#"
        (module (func (export "f")))
        (module (import "no" "no" (func)))
        (invoke "f")"#);
    assert_eq!((report.passed(), report.failed().count()), (1, 2));
    assert!(failures(&report)[1].contains("the latest module failed"));
}

#[test]
fn metering_changes_nothing() {
    let script = r#"
        (module (func (export "sum") (param i32) (result i32) (local i32)
          (loop $l
            (local.set 1 (i32.add (local.get 1) (local.get 0)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
          (local.get 1)))
        (assert_return (invoke "sum" (i32.const 100)) (i32.const 5050))"#;
    for (fuel, epochs) in [(Some(10_000), false), (None, true), (Some(10_000), true)] {
        let report = run_script(script, Options { fuel, epochs, ..Options::default() }).unwrap();
        assert!(report.failed().next().is_none(), "{:?}", failures(&report));
    }
    let report = run_script(script, Options { fuel: Some(100), ..Options::default() }).unwrap();
    let failures = failures(&report);
    assert_eq!(failures.len(), 1);
    assert!(failures[0].contains("all fuel consumed"), "{failures:?}");
}

#[test]
fn script_that_is_none_is_one_failure() {
    for script in ["(", "(module", "(module)\n(what)", "\u{0}", "(module \"\\ff\")"] {
        let report = run(script);
        assert_eq!((report.passed(), report.failed().count()), (0, 1), "{script:?}");
        assert_eq!(report.outcomes[0].directive, "script");
    }
}

#[test]
fn directives_are_located_by_line_and_column() {
    let report = run("(module)\n\n  (register \"m\")\n(module)");
    let places: Vec<_> = report.outcomes.iter().map(|o| (o.line, o.column, o.directive)).collect();
    assert_eq!(places, [(1, 2, "module"), (3, 4, "register"), (4, 2, "module")]);
}
