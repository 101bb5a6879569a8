//! Values that live in registers across a checkpoint: more of each kind than there are registers, so
//! that every register the compiler uses holds one, and is another number in each round.
//!
//! Between a suspension and its resumption the vector registers are overwritten
//! (`clobber_vector_registers`), and the callee-saved ones hold what the host has in them.

use super::budgets::Engines;
use super::common::Case;
use std::fmt::Write as _;
use stillframe::Val;

/// How a kind of value is mixed: `{a}` and `{b}` are two of the values.
struct Kind {
    ty: &'static str,
    start: &'static str,
    mix: &'static str,
}

const I64: Kind = Kind {
    ty: "i64",
    start: "(i64.mul (i64.extend_i32_u (local.get $n)) (i64.const {k}))",
    mix: "(i64.add (i64.mul {a} (i64.const 0x5851f42d4c957f2d)) {b})",
};
const I32: Kind = Kind {
    ty: "i32",
    start: "(i32.mul (local.get $n) (i32.const {k}))",
    mix: "(i32.xor (i32.mul {a} (i32.const 0x41c64e6d)) {b})",
};
const F64: Kind = Kind {
    ty: "f64",
    start: "(f64.div (f64.convert_i32_u (local.get $n)) (f64.const {k}))",
    mix: "(f64.add (f64.mul {a} (f64.const 0.75)) {b})",
};
const F32: Kind = Kind {
    ty: "f32",
    start: "(f32.div (f32.convert_i32_u (local.get $n)) (f32.const {k}))",
    mix: "(f32.sub (f32.mul {a} (f32.const 1.25)) {b})",
};
const V128: Kind = Kind {
    ty: "v128",
    start: "(i64x2.replace_lane 1 (i32x4.splat (i32.mul (local.get $n) (i32.const {k})))
        (i64.const -{k}))",
    mix: "(i16x8.add (i32x4.mul {a} {b}) (v128.xor {b} (i64x2.splat (i64.const 3))))",
};

/// What stands in the loop, beside its header's checkpoint.
const PLACES: [(&str, &str); 4] = [
    ("a loop's header", ""),
    ("a callee's entry and loop", "(call $callee)"),
    ("a host function", "(call $note (i64.const 1))"),
    ("a bulk operation", "(memory.fill (i32.const 0) (local.get $n) (local.get $n))"),
];

/// A function that keeps `count` values of each of `kinds` in a loop that goes through a checkpoint,
/// mixes them all in each round, and returns them.
fn case(kinds: &[&Kind], count: usize, place: (&str, &str)) -> Case {
    let values: Vec<_> =
        kinds.iter().flat_map(|kind| (0..count).map(move |k| (*kind, k))).collect();
    let name = |kind: &Kind, k: usize| format!("${}_{}", kind.ty, k % count);
    let (mut types, mut locals, mut starts, mut mixes, mut ends) =
        (String::new(), String::new(), String::new(), String::new(), String::new());
    for &(kind, k) in &values {
        let this = name(kind, k);
        let get = |k| format!("(local.get {})", name(kind, k));
        let odd = (2 * k + 3).to_string();
        let mix = kind.mix.replace("{a}", &get(k)).replace("{b}", &get(k + 1));
        write!(types, "{} ", kind.ty).unwrap();
        write!(locals, "(local {this} {})", kind.ty).unwrap();
        write!(starts, "(local.set {this} {})", kind.start.replace("{k}", &odd)).unwrap();
        write!(mixes, "(local.set {this} {mix})").unwrap();
        write!(ends, "{}", get(k)).unwrap();
    }
    let wat = format!(
        r#"(module
            (import "host" "note" (func $note (param i64)))
            (memory (export "memory") 1)
            (func $callee (local i32)
                (loop $again
                    (br_if $again (i32.lt_u
                        (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 2)))))
            (func (export "f") (param $n i32) (result {types}) {locals}
                {starts}
                (loop $again
                    {}
                    {mixes}
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                {ends}))"#,
        place.1
    );
    let wasm = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
    let kinds: Vec<_> = kinds.iter().map(|kind| kind.ty).collect();
    let name = format!("{count} of {kinds:?} across {}", place.0);
    Case { name, wasm, func: "f".into(), args: vec![Val::I32(4)] }
}

#[test]
fn all_of_one_kind() {
    let engines = Engines::new();
    for place in PLACES {
        for kind in [&I64, &I32, &F64, &F32, &V128] {
            engines.check(&case(&[kind], 18, place));
        }
    }
}

#[test]
fn as_many_as_fit_in_the_registers() {
    let engines = Engines::new();
    for place in PLACES {
        for count in [4, 8, 11] {
            engines.check(&case(&[&I64, &V128], count, place));
        }
    }
}

#[test]
fn all_kinds_at_once() {
    let engines = Engines::new();
    for place in PLACES {
        engines.check(&case(&[&I64, &I32, &F64, &F32, &V128], 6, place));
    }
}

/// A frame of several KiB, with most of it spilled.
#[test]
fn hundreds_of_values() {
    let engines = Engines::new();
    engines.check(&case(&[&F64, &I64], 150, PLACES[1]));
}
