//! Vectors: operators whose results have lanes of another type than the operands.

use crate::activation::Exec;
use crate::ops::float::Float;
use crate::ops::lanes::{Lane, build, count, get};
use wasmparser::Operator as Op;

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    widths(x, op) || products(x, op) || conversions(x, op)
}

fn widths(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I8x16NarrowI16x8S => narrow(x, |v: i16| v.clamp(-0x80, 0x7f) as i8),
        Op::I8x16NarrowI16x8U => narrow(x, |v: i16| v.clamp(0, 0xff) as u8),
        Op::I16x8NarrowI32x4S => narrow(x, |v: i32| v.clamp(-0x8000, 0x7fff) as i16),
        Op::I16x8NarrowI32x4U => narrow(x, |v: i32| v.clamp(0, 0xffff) as u16),
        Op::I16x8ExtendLowI8x16S => extend::<i8, i16>(x, 0),
        Op::I16x8ExtendHighI8x16S => extend::<i8, i16>(x, 8),
        Op::I16x8ExtendLowI8x16U => extend::<u8, u16>(x, 0),
        Op::I16x8ExtendHighI8x16U => extend::<u8, u16>(x, 8),
        Op::I32x4ExtendLowI16x8S => extend::<i16, i32>(x, 0),
        Op::I32x4ExtendHighI16x8S => extend::<i16, i32>(x, 4),
        Op::I32x4ExtendLowI16x8U => extend::<u16, u32>(x, 0),
        Op::I32x4ExtendHighI16x8U => extend::<u16, u32>(x, 4),
        Op::I64x2ExtendLowI32x4S => extend::<i32, i64>(x, 0),
        Op::I64x2ExtendHighI32x4S => extend::<i32, i64>(x, 2),
        Op::I64x2ExtendLowI32x4U => extend::<u32, u64>(x, 0),
        Op::I64x2ExtendHighI32x4U => extend::<u32, u64>(x, 2),
        _ => return false,
    }
    true
}

/// The lanes of the first operand, then those of the second.
fn narrow<W: Lane, N: Lane>(x: &mut Exec<'_>, f: impl Fn(W) -> N) {
    let half = count::<W>();
    x.binary(|a: u128, b: u128| build(|i| f(if i < half { get(a, i) } else { get(b, i - half) })));
}

/// Half of the lanes: those from `first` on.
fn extend<N: Lane, W: Lane + From<N>>(x: &mut Exec<'_>, first: usize) {
    x.unary(|a: u128| build(|i| W::from(get::<N>(a, first + i))));
}

fn products(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I16x8ExtAddPairwiseI8x16S => pairs(x, |a: i8, b| i16::from(a) + i16::from(b)),
        Op::I16x8ExtAddPairwiseI8x16U => pairs(x, |a: u8, b| u16::from(a) + u16::from(b)),
        Op::I32x4ExtAddPairwiseI16x8S => pairs(x, |a: i16, b| i32::from(a) + i32::from(b)),
        Op::I32x4ExtAddPairwiseI16x8U => pairs(x, |a: u16, b| u32::from(a) + u32::from(b)),
        Op::I16x8ExtMulLowI8x16S => multiply(x, 0, |a: i8, b| i16::from(a) * i16::from(b)),
        Op::I16x8ExtMulHighI8x16S => multiply(x, 8, |a: i8, b| i16::from(a) * i16::from(b)),
        Op::I16x8ExtMulLowI8x16U => multiply(x, 0, |a: u8, b| u16::from(a) * u16::from(b)),
        Op::I16x8ExtMulHighI8x16U => multiply(x, 8, |a: u8, b| u16::from(a) * u16::from(b)),
        Op::I32x4ExtMulLowI16x8S => multiply(x, 0, |a: i16, b| i32::from(a) * i32::from(b)),
        Op::I32x4ExtMulHighI16x8S => multiply(x, 4, |a: i16, b| i32::from(a) * i32::from(b)),
        Op::I32x4ExtMulLowI16x8U => multiply(x, 0, |a: u16, b| u32::from(a) * u32::from(b)),
        Op::I32x4ExtMulHighI16x8U => multiply(x, 4, |a: u16, b| u32::from(a) * u32::from(b)),
        Op::I64x2ExtMulLowI32x4S => multiply(x, 0, |a: i32, b| i64::from(a) * i64::from(b)),
        Op::I64x2ExtMulHighI32x4S => multiply(x, 2, |a: i32, b| i64::from(a) * i64::from(b)),
        Op::I64x2ExtMulLowI32x4U => multiply(x, 0, |a: u32, b| u64::from(a) * u64::from(b)),
        Op::I64x2ExtMulHighI32x4U => multiply(x, 2, |a: u32, b| u64::from(a) * u64::from(b)),
        Op::I32x4DotI16x8S => x.binary(|a: u128, b: u128| {
            let product = |i| i32::from(get::<i16>(a, i)) * i32::from(get::<i16>(b, i));
            build(|i| product(2 * i).wrapping_add(product(2 * i + 1)))
        }),
        _ => return false,
    }
    true
}

/// Of each two lanes that are neighbours, one.
fn pairs<N: Lane, W: Lane>(x: &mut Exec<'_>, f: impl Fn(N, N) -> W) {
    x.unary(|a: u128| build(|i| f(get(a, 2 * i), get(a, 2 * i + 1))));
}

/// Half of the lanes of both operands: those from `first` on.
fn multiply<N: Lane, W: Lane>(x: &mut Exec<'_>, first: usize, f: impl Fn(N, N) -> W) {
    x.binary(|a: u128, b: u128| build(|i| f(get(a, first + i), get(b, first + i))));
}

fn conversions(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I32x4TruncSatF32x4S => x.map(|a: f32| a as i32),
        Op::I32x4TruncSatF32x4U => x.map(|a: f32| a as u32),
        Op::I32x4TruncSatF64x2SZero => x.map(|a: f64| a as i32),
        Op::I32x4TruncSatF64x2UZero => x.map(|a: f64| a as u32),
        Op::F32x4ConvertI32x4S => x.map(|a: i32| a as f32),
        Op::F32x4ConvertI32x4U => x.map(|a: u32| a as f32),
        Op::F64x2ConvertLowI32x4S => x.map(|a: i32| f64::from(a)),
        Op::F64x2ConvertLowI32x4U => x.map(|a: u32| f64::from(a)),
        Op::F32x4DemoteF64x2Zero => x.map(|a: f64| (a as f32).canonical()),
        Op::F64x2PromoteLowF32x4 => x.map(|a: f32| f64::from(a).canonical()),
        _ => return false,
    }
    true
}
