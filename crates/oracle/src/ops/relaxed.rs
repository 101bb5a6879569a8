//! Relaxed vector operators: what the JIT does where the processor has SSSE3 and FMA.

use crate::activation::Exec;
use crate::ops::float::Float;
use crate::ops::lanes::{Lane, build, get};
use crate::ops::simd::{bitselect, pseudo_max, pseudo_min};
use wasmparser::Operator as Op;

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match op {
        // pshufb: the highest bit of an index makes 0, the other bits but four are not looked at.
        Op::I8x16RelaxedSwizzle => x.binary(|a: u128, b: u128| {
            build(|i| match get::<u8>(b, i) {
                lane @ 0..0x80 => get::<u8>(a, (lane & 15).into()),
                _ => 0,
            })
        }),
        // pmulhrsw: −1 × −1 wraps.
        Op::I16x8RelaxedQ15mulrS => {
            x.zip(|a: i16, b: i16| ((i32::from(a) * i32::from(b) + 0x4000) >> 15) as i16)
        }
        // cvttps2dq, cvttpd2dq
        Op::I32x4RelaxedTruncF32x4S => x.map(|a: f32| truncate(f64::from(a))),
        Op::I32x4RelaxedTruncF64x2SZero => x.map(truncate),
        Op::I32x4RelaxedTruncF32x4U => x.map(|a: f32| a as u32),
        Op::I32x4RelaxedTruncF64x2UZero => x.map(|a: f64| a as u32),
        Op::F32x4RelaxedMadd => x.zip3(|a: f32, b, c| a.fma(b, c)),
        Op::F64x2RelaxedMadd => x.zip3(|a: f64, b, c| a.fma(b, c)),
        Op::F32x4RelaxedNmadd => x.zip3(|a: f32, b, c| Float::neg(a).fma(b, c)),
        Op::F64x2RelaxedNmadd => x.zip3(|a: f64, b, c| Float::neg(a).fma(b, c)),
        Op::I8x16RelaxedLaneselect
        | Op::I16x8RelaxedLaneselect
        | Op::I32x4RelaxedLaneselect
        | Op::I64x2RelaxedLaneselect => bitselect(x),
        Op::F32x4RelaxedMin => x.zip(pseudo_min::<f32>),
        Op::F64x2RelaxedMin => x.zip(pseudo_min::<f64>),
        Op::F32x4RelaxedMax => x.zip(pseudo_max::<f32>),
        Op::F64x2RelaxedMax => x.zip(pseudo_max::<f64>),
        Op::I16x8RelaxedDotI8x16I7x16S => x.binary(dot),
        Op::I32x4RelaxedDotI8x16I7x16AddS => {
            let addend: u128 = x.pop_as();
            x.binary(|a: u128, b: u128| {
                let sums = dot(a, b);
                let sum = |i| i32::from(get::<i16>(sums, i));
                build(|i| (sum(2 * i) + sum(2 * i + 1)).wrapping_add(get(addend, i)))
            });
        }
        _ => return false,
    }
    true
}

/// The integer part, or the least integer for whatever does not fit.
fn truncate(a: f64) -> i32 {
    let fits = a > -2_147_483_649.0 && a < 2_147_483_648.0;
    if fits { a as i32 } else { i32::MIN }
}

/// pmaddubsw: the lanes of the second operand are unsigned, and sums saturate.
fn dot(a: u128, b: u128) -> u128 {
    let product = |i| i32::from(get::<i8>(a, i)) * i32::from(get::<u8>(b, i));
    let sum = |i| product(2 * i) + product(2 * i + 1);
    build(|i: usize| i16::of(sum(i).clamp(i16::MIN.into(), i16::MAX.into()) as u64))
}
