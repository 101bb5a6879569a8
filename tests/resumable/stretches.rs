//! Checkpoints in the middle of code that has neither loops nor calls: wherever 1000 operators have
//! been passed since the last one. Whatever is on the operand stack there, and in locals, lives on.

use super::budgets::Engines;
use super::common::{Case, guest, out_of_fuel};
use stillframe::{ResumableCall, Val};

fn case(name: &str, wat: &str, args: &[Val]) -> Case {
    let wasm = wat::parse_str(wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    Case { name: name.into(), wasm, func: "f".into(), args: args.to_vec() }
}

/// Where a case stops, and what it consumes.
fn stops(case: &Case) -> (Vec<(i128, u64)>, i128) {
    let (left, stops) = Engines::new().check(case);
    assert!(left.ended.is_ok(), "{:?}", left.ended);
    (stops.iter().map(|stop| (stop.at, stop.need)).collect(), left.consumed)
}

/// So many units, in twice as many operators.
fn units(count: usize) -> String {
    "(drop (i32.const 1))".repeat(count)
}

#[test]
fn every_thousand_operators() {
    let function = |count| format!("(module (func (export \"f\") {}))", units(count));
    // The end of the function is an operator too.
    assert_eq!(stops(&case("999", &function(499), &[])), (vec![], 1 + 499));
    assert_eq!(stops(&case("1001", &function(500), &[])), (vec![(501, 1)], 1 + 500));
    let (found, consumed) = stops(&case("many", &function(1700), &[]));
    assert_eq!((found, consumed), (vec![(501, 1), (1001, 1), (1501, 1)], 1701));
}

#[test]
fn calls_count_for_more() {
    let wat = format!(
        "(module (func $leaf {}) (func (export \"f\") {}))",
        units(100),
        "(call $leaf)".repeat(20)
    );
    // An eighth each. f's entry; then before the ninth call, and the seventeenth: entry 1, and for
    // each call 1 and the callee's 101.
    let (found, consumed) = stops(&case("calls", &wat, &[]));
    assert_eq!(found, [(0, 1), (1 + 8 * 102, 1), (1 + 16 * 102, 1)]);
    assert_eq!(consumed, 1 + 20 * 102);
}

#[test]
fn a_checkpoint_on_the_way_starts_anew() {
    let wat = format!("(module (func (export \"f\") {} (loop) {}))", units(300), units(450));
    // The entry; the loop's header.
    let (found, _) = stops(&case("loop", &wat, &[]));
    assert_eq!(found, [(0, 1), (301, 1)]);
}

#[test]
fn all_ways_through_a_construct_count() {
    for (condition, executed) in [(0, 100), (1, 300)] {
        let wat = format!(
            "(module (func (export \"f\") (param i32)
                (if (local.get 0) (then {}) (else {})) {}))",
            units(300),
            units(100),
            units(200)
        );
        // get if 2; 600 in one arm, else 1, 200 in the other, end 1: 196 are missing, whichever way
        // was taken.
        let case = case("if", &wat, &[Val::I32(condition)]);
        let (found, consumed) = stops(&case);
        assert_eq!(found, [(1 + 2 + executed + 98, 1)]);
        assert_eq!(consumed, 1 + 2 + executed + 200);
    }
    // What is left in the middle by a branch may have passed no checkpoint.
    let wat = format!(
        "(module (func (export \"f\") (param i32)
            (block (br_if 0 (local.get 0)) {}) {}))",
        units(600),
        units(300)
    );
    let (found, _) = stops(&case("br_if", &wat, &[Val::I32(1)]));
    // entry get br_if 3: behind the block, since its other way has passed more than 1000.
    assert_eq!(found, [(3, 1)]);
    let (found, _) = stops(&case("br_if", &wat, &[Val::I32(0)]));
    // block get br_if, 997 of the block's; and behind the block.
    assert_eq!(found, [(3 + 499, 1), (3 + 600, 1)]);
}

/// Thirty values of every kind wait on the operand stack, and as many in locals.
#[test]
fn everything_lives_across_it() {
    let kinds = [
        ("i64", "(i64.mul (i64.extend_i32_u (local.get 0)) (i64.const {k}))", "i64.add"),
        ("f64", "(f64.div (f64.convert_i32_u (local.get 0)) (f64.const {k}))", "f64.sub"),
        ("v128", "(i32x4.splat (i32.mul (local.get 0) (i32.const {k})))", "i16x8.add"),
        ("i32", "(i32.xor (local.get 0) (i32.const {k}))", "i32.mul"),
        ("f32", "(f32.div (f32.convert_i32_u (local.get 0)) (f32.const {k}))", "f32.add"),
    ];
    for (ty, start, combine) in kinds {
        let value = |k: usize| start.replace("{k}", &(k * 7 + 3).to_string());
        let locals: String = (0..30).map(|k| format!("(local $l{k} {ty})")).collect();
        let sets: String =
            (0..30).map(|k| format!("(local.set $l{k} {})", value(k + 40))).collect();
        let pushes: String = (0..30).map(value).collect();
        let combines = format!("{combine} ").repeat(29);
        let gets: String = (0..30).map(|k| format!("(local.get $l{k}) {combine} ")).collect();
        let wat = format!(
            "(module (func (export \"f\") (param i32) (result {ty}) {locals}
                {sets} {pushes} {} {combines} {gets} {} ))",
            units(600),
            units(600)
        );
        let (found, _) = stops(&case(ty, &wat, &[Val::I32(12345)]));
        assert!(found.len() >= 2, "{ty}: {found:?}");
    }
}

#[test]
fn inside_of_constructs_and_before_bulk_operations() {
    let wat = format!(
        r#"(module (memory (export "memory") 1) (tag $t (param i64))
            (func $throws (param i64) {0} (throw $t (local.get 0)))
            (func (export "f") (param i32) (result i64) (local i64)
                (local.set 1 (i64.const 5))
                (block $h (result i64)
                    (try_table (result i64) (catch $t $h)
                        {0}
                        (block (result i64) (i64.const 3) (if (local.get 0) (then {0})) (i64.mul (local.get 1)))
                        (call $throws)
                        (i64.const 1)))
                {0}
                (memory.fill (i32.const 0) (i32.const 1) (local.get 0))
                (i64.add (local.get 1))))"#,
        units(550)
    );
    let (found, _) = stops(&case("constructs", &wat, &[Val::I32(9)]));
    assert!(found.len() >= 6, "{found:?}");
    assert_eq!(found.last().unwrap().1, 9, "the bulk operation needs its length");
}

/// It stands in front of the operator that comes next: what is before it has been executed.
#[test]
fn a_call_that_stops_there_says_where() {
    let wat = format!("(module (func $f (export \"f\") {}))", units(600));
    let wasm = wat::parse_str(&wat).unwrap();
    let first = wasm.windows(3).position(|bytes| bytes == [0x41, 0x01, 0x1a]).unwrap();
    let (mut store, instance) = guest(&wat);
    let f = instance.get_func(&mut store, "f").unwrap();
    store.set_fuel(10).unwrap();
    let call = out_of_fuel(f.call_resumable(&mut store, &[], &mut []).unwrap());
    assert_eq!((call.required_fuel(), call.overdraft()), (501 - 10 + 1, 501 - 10));
    let trace = call.backtrace(&store).unwrap();
    assert_eq!(trace.frames()[0].func_name(), Some("f"));
    // 500 times `i32.const` and `drop`, 3 bytes.
    assert_eq!(trace.frames()[0].module_offset(), first + 500 * 3);
    store.set_fuel(1000).unwrap();
    assert!(matches!(call.resume(&mut store, &mut []).unwrap(), ResumableCall::Finished));
}
