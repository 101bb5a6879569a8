//! Arithmetic on `i32`, `i64`, `f32` and `f64`.

use crate::activation::Exec;
use crate::ops::float::{Float, integer_part};
use crate::trap::TrapKind;
use wasmparser::Operator as Op;

const TWO_31: f64 = 2_147_483_648.0;
const TWO_32: f64 = 4_294_967_296.0;
const TWO_63: f64 = 9_223_372_036_854_775_808.0;
const TWO_64: f64 = 18_446_744_073_709_551_616.0;

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    Ok(integers(x, op)? || floats(x, op) || conversions(x, op)?)
}

/// The operators that `i32` and `i64` both have.
macro_rules! integer {
    (
        $x:ident, $op:ident, $signed:ident, $unsigned:ident,
        $const:ident $eqz:ident $eq:ident $ne:ident
        $lt_s:ident $lt_u:ident $gt_s:ident $gt_u:ident
        $le_s:ident $le_u:ident $ge_s:ident $ge_u:ident
        $clz:ident $ctz:ident $popcnt:ident $add:ident $sub:ident $mul:ident
        $div_s:ident $div_u:ident $rem_s:ident $rem_u:ident $and:ident $or:ident $xor:ident
        $shl:ident $shr_s:ident $shr_u:ident $rotl:ident $rotr:ident
        $extend8:ident $extend16:ident
    ) => {
        match *$op {
            Op::$const { value } => $x.push_as(value),
            Op::$eqz => $x.unary(|a: $unsigned| a == 0),
            Op::$eq => $x.binary(|a: $unsigned, b: $unsigned| a == b),
            Op::$ne => $x.binary(|a: $unsigned, b: $unsigned| a != b),
            Op::$lt_s => $x.binary(|a: $signed, b: $signed| a < b),
            Op::$lt_u => $x.binary(|a: $unsigned, b: $unsigned| a < b),
            Op::$gt_s => $x.binary(|a: $signed, b: $signed| a > b),
            Op::$gt_u => $x.binary(|a: $unsigned, b: $unsigned| a > b),
            Op::$le_s => $x.binary(|a: $signed, b: $signed| a <= b),
            Op::$le_u => $x.binary(|a: $unsigned, b: $unsigned| a <= b),
            Op::$ge_s => $x.binary(|a: $signed, b: $signed| a >= b),
            Op::$ge_u => $x.binary(|a: $unsigned, b: $unsigned| a >= b),
            Op::$clz => $x.unary(|a: $unsigned| a.leading_zeros() as $unsigned),
            Op::$ctz => $x.unary(|a: $unsigned| a.trailing_zeros() as $unsigned),
            Op::$popcnt => $x.unary(|a: $unsigned| a.count_ones() as $unsigned),
            Op::$add => $x.binary($unsigned::wrapping_add),
            Op::$sub => $x.binary($unsigned::wrapping_sub),
            Op::$mul => $x.binary($unsigned::wrapping_mul),
            Op::$div_s => $x.try_binary(|a: $signed, b: $signed| match b {
                0 => Err(TrapKind::IntegerDivisionByZero),
                _ => a.checked_div(b).ok_or(TrapKind::IntegerOverflow),
            })?,
            Op::$div_u => $x.try_binary(|a: $unsigned, b: $unsigned| {
                a.checked_div(b).ok_or(TrapKind::IntegerDivisionByZero)
            })?,
            Op::$rem_s => $x.try_binary(|a: $signed, b: $signed| match b {
                0 => Err(TrapKind::IntegerDivisionByZero),
                _ => Ok(a.wrapping_rem(b)),
            })?,
            Op::$rem_u => $x.try_binary(|a: $unsigned, b: $unsigned| {
                a.checked_rem(b).ok_or(TrapKind::IntegerDivisionByZero)
            })?,
            Op::$and => $x.binary(|a: $unsigned, b: $unsigned| a & b),
            Op::$or => $x.binary(|a: $unsigned, b: $unsigned| a | b),
            Op::$xor => $x.binary(|a: $unsigned, b: $unsigned| a ^ b),
            // The distance is modulo the width: all of these mask it, or rotate further.
            Op::$shl => $x.binary(|a: $unsigned, b: $unsigned| a.wrapping_shl(b as u32)),
            Op::$shr_s => $x.binary(|a: $signed, b: $signed| a.wrapping_shr(b as u32)),
            Op::$shr_u => $x.binary(|a: $unsigned, b: $unsigned| a.wrapping_shr(b as u32)),
            Op::$rotl => $x.binary(|a: $unsigned, b: $unsigned| {
                a.rotate_left((b % $unsigned::from($unsigned::BITS)) as u32)
            }),
            Op::$rotr => $x.binary(|a: $unsigned, b: $unsigned| {
                a.rotate_right((b % $unsigned::from($unsigned::BITS)) as u32)
            }),
            Op::$extend8 => $x.unary(|a: $signed| $signed::from(a as i8)),
            Op::$extend16 => $x.unary(|a: $signed| $signed::from(a as i16)),
            _ => return Ok(false),
        }
    };
}

fn integers(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    Ok(integers_32(x, op)? || integers_64(x, op)?)
}

fn integers_32(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    integer!(
        x, op, i32, u32,
        I32Const I32Eqz I32Eq I32Ne
        I32LtS I32LtU I32GtS I32GtU I32LeS I32LeU I32GeS I32GeU
        I32Clz I32Ctz I32Popcnt I32Add I32Sub I32Mul
        I32DivS I32DivU I32RemS I32RemU I32And I32Or I32Xor
        I32Shl I32ShrS I32ShrU I32Rotl I32Rotr
        I32Extend8S I32Extend16S
    );
    Ok(true)
}

fn integers_64(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    integer!(
        x, op, i64, u64,
        I64Const I64Eqz I64Eq I64Ne
        I64LtS I64LtU I64GtS I64GtU I64LeS I64LeU I64GeS I64GeU
        I64Clz I64Ctz I64Popcnt I64Add I64Sub I64Mul
        I64DivS I64DivU I64RemS I64RemU I64And I64Or I64Xor
        I64Shl I64ShrS I64ShrU I64Rotl I64Rotr
        I64Extend8S I64Extend16S
    );
    Ok(true)
}

/// The operators that `f32` and `f64` both have.
macro_rules! float {
    (
        $x:ident, $op:ident, $float:ident,
        $const:ident $eq:ident $ne:ident $lt:ident $gt:ident $le:ident $ge:ident
        $abs:ident $neg:ident $ceil:ident $floor:ident $trunc:ident $nearest:ident $sqrt:ident
        $add:ident $sub:ident $mul:ident $div:ident $min:ident $max:ident $copysign:ident
    ) => {
        match *$op {
            Op::$const { value } => $x.push_as($float::from_bits(value.bits())),
            Op::$eq => $x.binary(|a: $float, b: $float| a == b),
            Op::$ne => $x.binary(|a: $float, b: $float| a != b),
            Op::$lt => $x.binary(|a: $float, b: $float| a < b),
            Op::$gt => $x.binary(|a: $float, b: $float| a > b),
            Op::$le => $x.binary(|a: $float, b: $float| a <= b),
            Op::$ge => $x.binary(|a: $float, b: $float| a >= b),
            Op::$abs => $x.unary(<$float as Float>::abs),
            Op::$neg => $x.unary(<$float as Float>::neg),
            Op::$ceil => $x.unary(<$float as Float>::ceil),
            Op::$floor => $x.unary(<$float as Float>::floor),
            Op::$trunc => $x.unary(<$float as Float>::trunc),
            Op::$nearest => $x.unary(<$float as Float>::nearest),
            Op::$sqrt => $x.unary(<$float as Float>::sqrt),
            Op::$add => $x.binary(<$float as Float>::add),
            Op::$sub => $x.binary(<$float as Float>::sub),
            Op::$mul => $x.binary(<$float as Float>::mul),
            Op::$div => $x.binary(<$float as Float>::div),
            Op::$min => $x.binary(<$float as Float>::min),
            Op::$max => $x.binary(<$float as Float>::max),
            Op::$copysign => $x.binary(<$float as Float>::copysign),
            _ => return false,
        }
    };
}

fn floats(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    floats_32(x, op) || floats_64(x, op)
}

fn floats_32(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    float!(
        x, op, f32,
        F32Const F32Eq F32Ne F32Lt F32Gt F32Le F32Ge
        F32Abs F32Neg F32Ceil F32Floor F32Trunc F32Nearest F32Sqrt
        F32Add F32Sub F32Mul F32Div F32Min F32Max F32Copysign
    );
    true
}

fn floats_64(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    float!(
        x, op, f64,
        F64Const F64Eq F64Ne F64Lt F64Gt F64Le F64Ge
        F64Abs F64Neg F64Ceil F64Floor F64Trunc F64Nearest F64Sqrt
        F64Add F64Sub F64Mul F64Div F64Min F64Max F64Copysign
    );
    true
}

fn conversions(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    match *op {
        Op::I32WrapI64 => x.unary(|a: u64| a as u32),
        Op::I64ExtendI32S => x.unary(|a: i32| i64::from(a)),
        Op::I64ExtendI32U => x.unary(|a: u32| u64::from(a)),
        Op::I64Extend32S => x.unary(|a: i64| i64::from(a as i32)),

        // Every f32 is an f64.
        Op::I32TruncF32S => x.try_unary(|a: f32| to_i32(f64::from(a)))?,
        Op::I32TruncF32U => x.try_unary(|a: f32| to_u32(f64::from(a)))?,
        Op::I32TruncF64S => x.try_unary(to_i32)?,
        Op::I32TruncF64U => x.try_unary(to_u32)?,
        Op::I64TruncF32S => x.try_unary(|a: f32| to_i64(f64::from(a)))?,
        Op::I64TruncF32U => x.try_unary(|a: f32| to_u64(f64::from(a)))?,
        Op::I64TruncF64S => x.try_unary(to_i64)?,
        Op::I64TruncF64U => x.try_unary(to_u64)?,

        // Rust's casts saturate, and make 0 of NaN.
        Op::I32TruncSatF32S => x.unary(|a: f32| a as i32),
        Op::I32TruncSatF32U => x.unary(|a: f32| a as u32),
        Op::I32TruncSatF64S => x.unary(|a: f64| a as i32),
        Op::I32TruncSatF64U => x.unary(|a: f64| a as u32),
        Op::I64TruncSatF32S => x.unary(|a: f32| a as i64),
        Op::I64TruncSatF32U => x.unary(|a: f32| a as u64),
        Op::I64TruncSatF64S => x.unary(|a: f64| a as i64),
        Op::I64TruncSatF64U => x.unary(|a: f64| a as u64),

        // And round to the nearest, halves to even.
        Op::F32ConvertI32S => x.unary(|a: i32| a as f32),
        Op::F32ConvertI32U => x.unary(|a: u32| a as f32),
        Op::F32ConvertI64S => x.unary(|a: i64| a as f32),
        Op::F32ConvertI64U => x.unary(|a: u64| a as f32),
        Op::F64ConvertI32S => x.unary(|a: i32| f64::from(a)),
        Op::F64ConvertI32U => x.unary(|a: u32| f64::from(a)),
        Op::F64ConvertI64S => x.unary(|a: i64| a as f64),
        Op::F64ConvertI64U => x.unary(|a: u64| a as f64),
        Op::F32DemoteF64 => x.unary(|a: f64| (a as f32).canonical()),
        Op::F64PromoteF32 => x.unary(|a: f32| f64::from(a).canonical()),

        Op::I32ReinterpretF32 => x.unary(|a: f32| a.to_bits()),
        Op::I64ReinterpretF64 => x.unary(|a: f64| a.to_bits()),
        Op::F32ReinterpretI32 => x.unary(f32::from_bits),
        Op::F64ReinterpretI64 => x.unary(f64::from_bits),
        _ => return Ok(false),
    }
    Ok(true)
}

fn to_i32(x: f64) -> Result<i32, TrapKind> {
    Ok(integer_part(x, -TWO_31, TWO_31)? as i32)
}

fn to_u32(x: f64) -> Result<u32, TrapKind> {
    Ok(integer_part(x, 0.0, TWO_32)? as u32)
}

fn to_i64(x: f64) -> Result<i64, TrapKind> {
    Ok(integer_part(x, -TWO_63, TWO_63)? as i64)
}

fn to_u64(x: f64) -> Result<u64, TrapKind> {
    Ok(integer_part(x, 0.0, TWO_64)? as u64)
}
