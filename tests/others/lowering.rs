//! Operators whose machine code was wrong for some operands.

use super::common::{alone, call, engines};
use stillframe::{V128, Val};

fn v128(bytes: [u8; 16]) -> u128 {
    u128::from_le_bytes(bytes)
}

fn text(value: u128) -> String {
    let (low, high) = (value as u64, (value >> 64) as u64);
    format!("(v128.const i64x2 0x{low:x} 0x{high:x})")
}

/// Bits that differ from byte to byte, with signs.
const A: u128 = 0x8091_a2b3_c4d5_e6f7_0819_2a3b_4c5d_6e7f;
const B: u128 = 0xfedc_ba98_7654_3210_0123_4567_89ab_cdef;

/// Expressions of two vectors `$a` and `$b` and a number `$n`, and what they should be.
#[derive(Default)]
struct Expected(Vec<(String, (u128, u128, i32), u128)>);

impl Expected {
    fn is(&mut self, body: &str, params: (u128, u128, i32), expected: u128) {
        self.0.push((body.to_string(), params, expected));
    }

    /// Compiles them in each engine, and asks.
    fn check(self) {
        let functions: String = (self.0.iter().enumerate())
            .map(|(i, (body, ..))| {
                format!(
                    "(func (export \"{i}\") (param $a v128) (param $b v128) (param $n i32)
                        (result v128) {body})"
                )
            })
            .collect();
        let wat = format!("(module {functions})");
        for engine in engines() {
            let (mut store, instance) = alone(&engine, &wat);
            for (i, (body, (a, b, n), expected)) in self.0.iter().enumerate() {
                let args = [Val::V128(V128::from(*a)), Val::V128(V128::from(*b)), Val::I32(*n)];
                let found = call(&mut store, instance, &i.to_string(), &args).unwrap();
                let found = found[0].unwrap_v128().as_u128();
                let what = format!("{body} of {a:x} {b:x} {n}");
                assert_eq!(found, *expected, "{what}: {found:x}, expected {expected:x}");
            }
        }
    }
}

/// wasmtime, GHSA-jqwc-c49r-4w2x: `i8x16.swizzle` with indices that are constants took them modulo 16, or
/// overwrote them in the constant pool.
#[test]
fn swizzle_gives_zero_for_every_index_beyond_the_last_lane() {
    let mut all = Expected::default();
    let lanes = A.to_le_bytes();
    for start in [0_u8, 3, 12, 16, 60, 120, 128, 200, 240, 250] {
        let indices: [u8; 16] = std::array::from_fn(|i| start.wrapping_add(i as u8));
        let expected = v128(indices.map(|i| lanes.get(usize::from(i)).copied().unwrap_or(0)));
        let indices = v128(indices);
        all.is("(i8x16.swizzle (local.get $a) (local.get $b))", (A, indices, 0), expected);
        all.is(&format!("(i8x16.swizzle (local.get $a) {})", text(indices)), (A, 0, 0), expected);
        // Twice: the first must not change the constant of the second.
        let constant = text(indices);
        let twice = format!(
            "(v128.or (i8x16.swizzle (local.get $a) {constant}) (i8x16.swizzle {} {constant}))",
            text(A)
        );
        all.is(&twice, (A, 0, 0), expected);
    }
    all.check();
}

/// The same advisory: `select` of vectors looked at more than the condition. And GHSA-xm67-587q-r2vw:
/// vector selection of a value and the same value again lost its mask.
#[test]
fn selections_take_the_whole_of_the_one_or_the_other() {
    let mut all = Expected::default();
    for condition in [0, 1, 2, -1, i32::MIN, 256, 1 << 16] {
        let expected = if condition != 0 { A } else { B };
        all.is(
            "(select (local.get $a) (local.get $b) (local.get $n))",
            (A, B, condition),
            expected,
        );
        all.is(
            "(select (result v128) (local.get $a) (local.get $b) (local.get $n))",
            (A, B, condition),
            expected,
        );
        all.is(
            "(if (result v128) (local.get $n) (then (local.get $a)) (else (local.get $b)))",
            (A, B, condition),
            expected,
        );
        all.is("(select (local.get $a) (local.get $a) (local.get $n))", (A, B, condition), A);
    }
    for mask in [0, u128::MAX, A, 0x80 << 56 | 0xff] {
        let of = |a: u128, b: u128| a & mask | b & !mask;
        let constant = text(mask);
        all.is(
            &format!("(v128.bitselect (local.get $a) (local.get $b) {constant})"),
            (A, B, 0),
            of(A, B),
        );
        all.is(
            &format!("(v128.bitselect (local.get $b) (local.get $a) {constant})"),
            (A, B, 0),
            of(B, A),
        );
        all.is(
            "(v128.bitselect (local.get $a) (i64x2.splat (i64.const 5)) (local.get $b))",
            (A, mask, 0),
            of(A, 5 << 64 | 5),
        );
        for same in [
            "(v128.bitselect (local.get $b) (local.get $b) (local.get $a))",
            "(v128.bitselect (local.get $b) (local.get $b) (i8x16.eq (local.get $a) (local.get $a)))",
        ] {
            all.is(same, (mask, B, 0), B);
        }
        all.is("(v128.bitselect (local.get $a) (local.get $b) (local.get $a))", (A, B, 0), A | B);
    }
    // Masks that are comparisons, as they come from loops over lanes.
    let lanes = |a: [u8; 16], b: [u8; 16], f: fn(i8, i8) -> bool| {
        v128(std::array::from_fn(|i| if f(a[i] as i8, b[i] as i8) { a[i] } else { b[i] }))
    };
    let (a, b) = (A.to_le_bytes(), B.to_le_bytes());
    all.is(
        "(v128.bitselect (local.get $a) (local.get $b) (i8x16.gt_s (local.get $a) (local.get $b)))",
        (A, B, 0),
        lanes(a, b, |a, b| a > b),
    );
    all.is(
        "(v128.bitselect (local.get $a) (local.get $b) (i8x16.lt_s (local.get $a) (local.get $b)))",
        (A, B, 0),
        lanes(a, b, |a, b| a < b),
    );
    all.check();
}

/// wasmtime, GHSA-gw5p-q8mj-p7gh: `i64x2.shr_s` by a constant shifted by something else.
#[test]
fn shifts_of_lanes_by_constants_are_those_by_variables() {
    let mut all = Expected::default();
    let shifted = |bits: u32, op: &str, by: u32| -> u128 {
        let by = by % bits;
        (0..128 / bits).fold(0, |all, lane| {
            let mask = u128::MAX >> (128 - bits);
            let value = A >> (lane * bits) & mask;
            let new = match op {
                "shl" => value << by & mask,
                "shr_u" => value >> by,
                _ => ((value << (128 - bits)) as i128 >> (128 - bits) >> by) as u128 & mask,
            };
            all | new << (lane * bits)
        })
    };
    for (shape, bits) in [("i8x16", 8), ("i16x8", 16), ("i32x4", 32), ("i64x2", 64)] {
        for op in ["shl", "shr_s", "shr_u"] {
            for by in [0, 1, 3, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, -1, i32::MIN] {
                let expected = shifted(bits, op, by as u32);
                all.is(
                    &format!("({shape}.{op} (local.get $a) (i32.const {by}))"),
                    (A, 0, by),
                    expected,
                );
                all.is(
                    &format!("({shape}.{op} (local.get $a) (local.get $n))"),
                    (A, 0, by),
                    expected,
                );
                all.is(
                    &format!("({shape}.{op} {} (i32.const {by}))", text(A)),
                    (0, 0, 0),
                    expected,
                );
            }
        }
    }
    all.check();
}

/// wasmtime, GHSA-7f6x-jwh5-m9r4: division by a constant divided by another one, where the constant was
/// wider than its type.
#[test]
fn division_by_constants_is_that_by_variables() {
    let numbers = [
        0_i64,
        1,
        -1,
        2,
        7,
        -7,
        100,
        0x7f,
        0x80,
        -0x80,
        0x7fff_ffff,
        -0x8000_0000,
        0xffff_ffff,
        i64::MAX,
        i64::MIN,
        0x1234_5678_9abc_def0,
    ];
    let divisors = [
        1_i64,
        -1,
        2,
        -2,
        3,
        -3,
        5,
        7,
        10,
        -10,
        127,
        128,
        255,
        256,
        641,
        1000,
        0x7fff_ffff,
        -0x8000_0000,
        0x10001,
    ];
    let wat_of = |ty: &str| -> String {
        let mut functions = String::new();
        for op in ["div_s", "div_u", "rem_s", "rem_u"] {
            functions += &format!(
                "(func (export \"{op}\") (param {ty} {ty}) (result {ty}) ({ty}.{op} (local.get 0) (local.get 1)))"
            );
            for by in divisors {
                functions += &format!(
                    "(func (export \"{op} {by}\") (param {ty}) (result {ty}) ({ty}.{op} (local.get 0) ({ty}.const {by})))"
                );
            }
        }
        format!("(module {functions})")
    };
    for (ty, narrow) in [("i32", true), ("i64", false)] {
        let val = |n: i64| if narrow { Val::I32(n as i32) } else { Val::I64(n) };
        for engine in engines() {
            let (mut store, instance) = alone(&engine, &wat_of(ty));
            for op in ["div_s", "div_u", "rem_s", "rem_u"] {
                for by in divisors {
                    for n in numbers {
                        let (a, b) = if narrow {
                            (i64::from(n as i32), i64::from(by as i32))
                        } else {
                            (n, by)
                        };
                        let (ua, ub) = if narrow {
                            (u64::from(a as u32), u64::from(b as u32))
                        } else {
                            (a as u64, b as u64)
                        };
                        let overflows =
                            b == -1 && a == if narrow { i64::from(i32::MIN) } else { i64::MIN };
                        let expected = match op {
                            "div_s" if overflows => None,
                            "div_s" => Some(a / b),
                            "div_u" => Some((ua / ub) as i64),
                            "rem_s" => Some(a.wrapping_rem(b)),
                            _ => Some((ua % ub) as i64),
                        };
                        let expected = expected.map(|n| format!("{:?}", val(n)));
                        let constant = call(&mut store, instance, &format!("{op} {by}"), &[val(n)]);
                        let variable = call(&mut store, instance, op, &[val(n), val(by)]);
                        for found in [constant, variable] {
                            let found = found.ok().map(|found| format!("{:?}", found[0]));
                            assert_eq!(found, expected, "{ty}.{op} {n} {by}");
                        }
                    }
                }
            }
        }
    }
}
