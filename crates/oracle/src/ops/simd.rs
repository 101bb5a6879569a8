//! Vectors: loads and stores, lanes, bits, and what is done lane by lane to lanes of one type.

use crate::activation::Exec;
use crate::ops::float::Float;
use crate::ops::lanes::{Lane, build, count, get, mask, set};
use crate::ops::memory::{read, write};
use crate::ops::operand::Operand;
use crate::trap::TrapKind;
use wasmparser::{MemArg, Operator as Op};

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    Ok(memory(x, op)? || lanes(x, op) || bits(x, op) || integers(x, op) || floats(x, op))
}

fn memory(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    match op {
        Op::V128Load { memarg } => load(x, memarg, u128::from_le_bytes)?,
        Op::V128Load8x8S { memarg } => load(x, memarg, extend::<i8, i16>)?,
        Op::V128Load8x8U { memarg } => load(x, memarg, extend::<u8, u16>)?,
        Op::V128Load16x4S { memarg } => load(x, memarg, extend::<i16, i32>)?,
        Op::V128Load16x4U { memarg } => load(x, memarg, extend::<u16, u32>)?,
        Op::V128Load32x2S { memarg } => load(x, memarg, extend::<i32, i64>)?,
        Op::V128Load32x2U { memarg } => load(x, memarg, extend::<u32, u64>)?,
        Op::V128Load8Splat { memarg } => load(x, memarg, |b| splat(u8::from_le_bytes(b)))?,
        Op::V128Load16Splat { memarg } => load(x, memarg, |b| splat(u16::from_le_bytes(b)))?,
        Op::V128Load32Splat { memarg } => load(x, memarg, |b| splat(u32::from_le_bytes(b)))?,
        Op::V128Load64Splat { memarg } => load(x, memarg, |b| splat(u64::from_le_bytes(b)))?,
        Op::V128Load32Zero { memarg } => load(x, memarg, |b| u32::from_le_bytes(b).into())?,
        Op::V128Load64Zero { memarg } => load(x, memarg, |b| u64::from_le_bytes(b).into())?,
        Op::V128Store { memarg } => {
            let value: u128 = x.pop_as();
            let index = x.pop().index();
            write(x, memarg, index, value.to_le_bytes())?;
        }
        Op::V128Load8Lane { memarg, lane } => load_lane(x, memarg, *lane, u8::from_le_bytes)?,
        Op::V128Load16Lane { memarg, lane } => load_lane(x, memarg, *lane, u16::from_le_bytes)?,
        Op::V128Load32Lane { memarg, lane } => load_lane(x, memarg, *lane, u32::from_le_bytes)?,
        Op::V128Load64Lane { memarg, lane } => load_lane(x, memarg, *lane, u64::from_le_bytes)?,
        Op::V128Store8Lane { memarg, lane } => store_lane(x, memarg, *lane, u8::to_le_bytes)?,
        Op::V128Store16Lane { memarg, lane } => store_lane(x, memarg, *lane, u16::to_le_bytes)?,
        Op::V128Store32Lane { memarg, lane } => store_lane(x, memarg, *lane, u32::to_le_bytes)?,
        Op::V128Store64Lane { memarg, lane } => store_lane(x, memarg, *lane, u64::to_le_bytes)?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn load<const N: usize>(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    vector: impl Fn([u8; N]) -> u128,
) -> Result<(), TrapKind> {
    let index = x.pop().index();
    let bytes = read(x, memarg, index)?;
    x.push_as(vector(bytes));
    Ok(())
}

/// Eight bytes as lanes that are each extended to twice the width.
fn extend<N: Lane, W: Lane + From<N>>(bytes: [u8; 8]) -> u128 {
    let narrow = u128::from(u64::from_le_bytes(bytes));
    build(|i| W::from(get::<N>(narrow, i)))
}

fn load_lane<T: Lane, const N: usize>(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    lane: u8,
    value: impl Fn([u8; N]) -> T,
) -> Result<(), TrapKind> {
    let vector: u128 = x.pop_as();
    let index = x.pop().index();
    let bytes = read(x, memarg, index)?;
    x.push_as(set(vector, lane.into(), value(bytes)));
    Ok(())
}

fn store_lane<T: Lane, const N: usize>(
    x: &mut Exec<'_>,
    memarg: &MemArg,
    lane: u8,
    bytes: impl Fn(T) -> [u8; N],
) -> Result<(), TrapKind> {
    let vector: u128 = x.pop_as();
    let index = x.pop().index();
    write(x, memarg, index, bytes(get(vector, lane.into())))
}

fn splat<T: Lane>(value: T) -> u128 {
    build(|_| value)
}

fn extract<T: Lane, R: Operand>(x: &mut Exec<'_>, lane: u8, f: impl Fn(T) -> R) {
    x.unary(|a: u128| f(get(a, lane.into())));
}

fn replace<T: Lane, A: Operand>(x: &mut Exec<'_>, lane: u8, f: impl Fn(A) -> T) {
    x.binary(|vector: u128, value: A| set(vector, lane.into(), f(value)));
}

fn lanes(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match *op {
        Op::V128Const { value } => x.push_as(value.i128() as u128),
        Op::I8x16ExtractLaneS { lane } => extract(x, lane, |v: i8| i32::from(v)),
        Op::I8x16ExtractLaneU { lane } => extract(x, lane, |v: u8| u32::from(v)),
        Op::I16x8ExtractLaneS { lane } => extract(x, lane, |v: i16| i32::from(v)),
        Op::I16x8ExtractLaneU { lane } => extract(x, lane, |v: u16| u32::from(v)),
        Op::I32x4ExtractLane { lane } => extract(x, lane, |v: u32| v),
        Op::I64x2ExtractLane { lane } => extract(x, lane, |v: u64| v),
        Op::F32x4ExtractLane { lane } => extract(x, lane, |v: f32| v),
        Op::F64x2ExtractLane { lane } => extract(x, lane, |v: f64| v),
        Op::I8x16ReplaceLane { lane } => replace(x, lane, |v: u32| v as u8),
        Op::I16x8ReplaceLane { lane } => replace(x, lane, |v: u32| v as u16),
        Op::I32x4ReplaceLane { lane } => replace(x, lane, |v: u32| v),
        Op::I64x2ReplaceLane { lane } => replace(x, lane, |v: u64| v),
        Op::F32x4ReplaceLane { lane } => replace(x, lane, |v: f32| v),
        Op::F64x2ReplaceLane { lane } => replace(x, lane, |v: f64| v),
        Op::I8x16Splat => x.unary(|v: u32| splat(v as u8)),
        Op::I16x8Splat => x.unary(|v: u32| splat(v as u16)),
        Op::I32x4Splat => x.unary(|v: u32| splat(v)),
        Op::I64x2Splat => x.unary(|v: u64| splat(v)),
        Op::F32x4Splat => x.unary(|v: f32| splat(v)),
        Op::F64x2Splat => x.unary(|v: f64| splat(v)),
        Op::I8x16Shuffle { lanes } => x.binary(|a: u128, b: u128| {
            build(|i| match usize::from(lanes[i]) {
                lane @ 0..16 => get::<u8>(a, lane),
                lane => get(b, lane - 16),
            })
        }),
        Op::I8x16Swizzle => x.binary(|a: u128, b: u128| {
            build(|i| match get::<u8>(b, i) {
                lane @ 0..16 => get::<u8>(a, lane.into()),
                _ => 0,
            })
        }),
        _ => return false,
    }
    true
}

fn bits(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::V128Not => x.unary(|a: u128| !a),
        Op::V128And => x.binary(|a: u128, b: u128| a & b),
        Op::V128AndNot => x.binary(|a: u128, b: u128| a & !b),
        Op::V128Or => x.binary(|a: u128, b: u128| a | b),
        Op::V128Xor => x.binary(|a: u128, b: u128| a ^ b),
        Op::V128Bitselect => bitselect(x),
        Op::V128AnyTrue => x.unary(|a: u128| a != 0),
        Op::I8x16AllTrue => x.unary(all_true::<u8>),
        Op::I16x8AllTrue => x.unary(all_true::<u16>),
        Op::I32x4AllTrue => x.unary(all_true::<u32>),
        Op::I64x2AllTrue => x.unary(all_true::<u64>),
        Op::I8x16Bitmask => x.unary(bitmask::<u8>),
        Op::I16x8Bitmask => x.unary(bitmask::<u16>),
        Op::I32x4Bitmask => x.unary(bitmask::<u32>),
        Op::I64x2Bitmask => x.unary(bitmask::<u64>),
        _ => return false,
    }
    true
}

/// The bits of the first operand where the third has ones, and of the second elsewhere.
pub(crate) fn bitselect(x: &mut Exec<'_>) {
    x.zip3(|a: u64, b: u64, c: u64| (a & c) | (b & !c));
}

fn all_true<T: Lane>(a: u128) -> bool {
    (0..count::<T>()).all(|i| get::<T>(a, i).bits() != 0)
}

/// The highest bits of the lanes.
fn bitmask<T: Lane>(a: u128) -> u32 {
    let high = |i| (get::<T>(a, i).bits() >> (T::BITS - 1)) as u32;
    (0..count::<T>()).fold(0, |all, i| all | (high(i) << i))
}

/// The operators that lanes of all widths have.
macro_rules! integer {
    (
        $x:ident, $op:ident, $signed:ident, $unsigned:ident,
        $eq:ident $ne:ident $lt_s:ident $gt_s:ident $le_s:ident $ge_s:ident
        $abs:ident $neg:ident $shl:ident $shr_s:ident $shr_u:ident $add:ident $sub:ident
    ) => {
        match $op {
            Op::$eq => $x.zip(|a: $unsigned, b| mask::<$unsigned>(a == b)),
            Op::$ne => $x.zip(|a: $unsigned, b| mask::<$unsigned>(a != b)),
            Op::$lt_s => $x.zip(|a: $signed, b| mask::<$unsigned>(a < b)),
            Op::$gt_s => $x.zip(|a: $signed, b| mask::<$unsigned>(a > b)),
            Op::$le_s => $x.zip(|a: $signed, b| mask::<$unsigned>(a <= b)),
            Op::$ge_s => $x.zip(|a: $signed, b| mask::<$unsigned>(a >= b)),
            Op::$abs => $x.map($signed::wrapping_abs),
            Op::$neg => $x.map($signed::wrapping_neg),
            Op::$shl => shift($x, $unsigned::wrapping_shl),
            Op::$shr_s => shift($x, $signed::wrapping_shr),
            Op::$shr_u => shift($x, $unsigned::wrapping_shr),
            Op::$add => $x.zip($unsigned::wrapping_add),
            Op::$sub => $x.zip($unsigned::wrapping_sub),
            _ => return false,
        }
    };
}

/// The unsigned comparisons, minima and maxima, which lanes of 64 bits do not have.
macro_rules! unsigned {
    (
        $x:ident, $op:ident, $signed:ident, $unsigned:ident,
        $lt:ident $gt:ident $le:ident $ge:ident $min_s:ident $min_u:ident $max_s:ident $max_u:ident
    ) => {
        match $op {
            Op::$lt => $x.zip(|a: $unsigned, b| mask::<$unsigned>(a < b)),
            Op::$gt => $x.zip(|a: $unsigned, b| mask::<$unsigned>(a > b)),
            Op::$le => $x.zip(|a: $unsigned, b| mask::<$unsigned>(a <= b)),
            Op::$ge => $x.zip(|a: $unsigned, b| mask::<$unsigned>(a >= b)),
            Op::$min_s => $x.zip(<$signed as Ord>::min),
            Op::$min_u => $x.zip(<$unsigned as Ord>::min),
            Op::$max_s => $x.zip(<$signed as Ord>::max),
            Op::$max_u => $x.zip(<$unsigned as Ord>::max),
            _ => return false,
        }
    };
}

/// All lanes are shifted by the same distance; wrapping shifts take it modulo the width.
fn shift<T: Lane>(x: &mut Exec<'_>, f: impl Fn(T, u32) -> T) {
    x.binary(|a: u128, distance: u32| build(|i| f(get(a, i), distance)));
}

fn integers(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    integers_8(x, op)
        || unsigned_8(x, op)
        || integers_16(x, op)
        || unsigned_16(x, op)
        || integers_32(x, op)
        || unsigned_32(x, op)
        || integers_64(x, op)
        || other_integers(x, op)
}

fn integers_8(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    integer!(
        x, op, i8, u8, I8x16Eq I8x16Ne I8x16LtS I8x16GtS I8x16LeS I8x16GeS
        I8x16Abs I8x16Neg I8x16Shl I8x16ShrS I8x16ShrU I8x16Add I8x16Sub
    );
    true
}

fn unsigned_8(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    unsigned!(
        x, op, i8, u8, I8x16LtU I8x16GtU I8x16LeU I8x16GeU
        I8x16MinS I8x16MinU I8x16MaxS I8x16MaxU
    );
    true
}

fn integers_16(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    integer!(
        x, op, i16, u16, I16x8Eq I16x8Ne I16x8LtS I16x8GtS I16x8LeS I16x8GeS
        I16x8Abs I16x8Neg I16x8Shl I16x8ShrS I16x8ShrU I16x8Add I16x8Sub
    );
    true
}

fn unsigned_16(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    unsigned!(
        x, op, i16, u16, I16x8LtU I16x8GtU I16x8LeU I16x8GeU
        I16x8MinS I16x8MinU I16x8MaxS I16x8MaxU
    );
    true
}

fn integers_32(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    integer!(
        x, op, i32, u32, I32x4Eq I32x4Ne I32x4LtS I32x4GtS I32x4LeS I32x4GeS
        I32x4Abs I32x4Neg I32x4Shl I32x4ShrS I32x4ShrU I32x4Add I32x4Sub
    );
    true
}

fn unsigned_32(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    unsigned!(
        x, op, i32, u32, I32x4LtU I32x4GtU I32x4LeU I32x4GeU
        I32x4MinS I32x4MinU I32x4MaxS I32x4MaxU
    );
    true
}

fn integers_64(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    integer!(
        x, op, i64, u64, I64x2Eq I64x2Ne I64x2LtS I64x2GtS I64x2LeS I64x2GeS
        I64x2Abs I64x2Neg I64x2Shl I64x2ShrS I64x2ShrU I64x2Add I64x2Sub
    );
    true
}

fn other_integers(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match op {
        Op::I8x16Popcnt => x.map(|a: u8| a.count_ones() as u8),
        Op::I8x16AddSatS => x.zip(i8::saturating_add),
        Op::I8x16AddSatU => x.zip(u8::saturating_add),
        Op::I8x16SubSatS => x.zip(i8::saturating_sub),
        Op::I8x16SubSatU => x.zip(u8::saturating_sub),
        Op::I16x8AddSatS => x.zip(i16::saturating_add),
        Op::I16x8AddSatU => x.zip(u16::saturating_add),
        Op::I16x8SubSatS => x.zip(i16::saturating_sub),
        Op::I16x8SubSatU => x.zip(u16::saturating_sub),
        Op::I8x16AvgrU => x.zip(|a: u8, b| (u32::from(a) + u32::from(b)).div_ceil(2) as u8),
        Op::I16x8AvgrU => x.zip(|a: u16, b| (u32::from(a) + u32::from(b)).div_ceil(2) as u16),
        Op::I16x8Mul => x.zip(u16::wrapping_mul),
        Op::I32x4Mul => x.zip(u32::wrapping_mul),
        Op::I64x2Mul => x.zip(u64::wrapping_mul),
        Op::I16x8Q15MulrSatS => x.zip(|a: i16, b: i16| {
            let product = (i32::from(a) * i32::from(b) + 0x4000) >> 15;
            product.clamp(i16::MIN.into(), i16::MAX.into()) as i16
        }),
        _ => return false,
    }
    true
}

macro_rules! float {
    (
        $x:ident, $op:ident, $float:ident, $bits:ident,
        $eq:ident $ne:ident $lt:ident $gt:ident $le:ident $ge:ident
        $ceil:ident $floor:ident $trunc:ident $nearest:ident $abs:ident $neg:ident $sqrt:ident
        $add:ident $sub:ident $mul:ident $div:ident $min:ident $max:ident $pmin:ident $pmax:ident
    ) => {
        match $op {
            Op::$eq => $x.zip(|a: $float, b| mask::<$bits>(a == b)),
            Op::$ne => $x.zip(|a: $float, b| mask::<$bits>(a != b)),
            Op::$lt => $x.zip(|a: $float, b| mask::<$bits>(a < b)),
            Op::$gt => $x.zip(|a: $float, b| mask::<$bits>(a > b)),
            Op::$le => $x.zip(|a: $float, b| mask::<$bits>(a <= b)),
            Op::$ge => $x.zip(|a: $float, b| mask::<$bits>(a >= b)),
            Op::$ceil => $x.map(<$float as Float>::ceil),
            Op::$floor => $x.map(<$float as Float>::floor),
            Op::$trunc => $x.map(<$float as Float>::trunc),
            Op::$nearest => $x.map(<$float as Float>::nearest),
            Op::$abs => $x.map(<$float as Float>::abs),
            Op::$neg => $x.map(<$float as Float>::neg),
            Op::$sqrt => $x.map(<$float as Float>::sqrt),
            Op::$add => $x.zip(<$float as Float>::add),
            Op::$sub => $x.zip(<$float as Float>::sub),
            Op::$mul => $x.zip(<$float as Float>::mul),
            Op::$div => $x.zip(<$float as Float>::div),
            Op::$min => $x.zip(<$float as Float>::min),
            Op::$max => $x.zip(<$float as Float>::max),
            Op::$pmin => $x.zip(pseudo_min::<$float>),
            Op::$pmax => $x.zip(pseudo_max::<$float>),
            _ => return false,
        }
    };
}

/// `b < a ? b : a`, to the bit.
pub(crate) fn pseudo_min<T: Float>(a: T, b: T) -> T {
    if b < a { b } else { a }
}

/// `a < b ? b : a`, to the bit.
pub(crate) fn pseudo_max<T: Float>(a: T, b: T) -> T {
    if a < b { b } else { a }
}

fn floats(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    floats_32(x, op) || floats_64(x, op)
}

fn floats_32(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    float!(
        x, op, f32, u32, F32x4Eq F32x4Ne F32x4Lt F32x4Gt F32x4Le F32x4Ge
        F32x4Ceil F32x4Floor F32x4Trunc F32x4Nearest F32x4Abs F32x4Neg F32x4Sqrt
        F32x4Add F32x4Sub F32x4Mul F32x4Div F32x4Min F32x4Max F32x4PMin F32x4PMax
    );
    true
}

fn floats_64(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    float!(
        x, op, f64, u64, F64x2Eq F64x2Ne F64x2Lt F64x2Gt F64x2Le F64x2Ge
        F64x2Ceil F64x2Floor F64x2Trunc F64x2Nearest F64x2Abs F64x2Neg F64x2Sqrt
        F64x2Add F64x2Sub F64x2Mul F64x2Div F64x2Min F64x2Max F64x2PMin F64x2PMax
    );
    true
}
