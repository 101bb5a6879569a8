//! Values in scripts: arguments, and patterns that results are held against.

use super::context::Data;
use anyhow::{Result, bail};
use stillframe::{ExternRef, Store, Val};
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// The argument as a value of `store`.
pub(super) fn argument(store: &mut Store<Data>, arg: &WastArg<'_>) -> Result<Val> {
    let WastArg::Core(arg) = arg else { bail!("arguments of components are not supported") };
    Ok(match arg {
        WastArgCore::I32(value) => Val::I32(*value),
        WastArgCore::I64(value) => Val::I64(*value),
        WastArgCore::F32(value) => Val::F32(value.bits),
        WastArgCore::F64(value) => Val::F64(value.bits),
        WastArgCore::V128(value) => Val::V128(u128::from_le_bytes(value.to_le_bytes()).into()),
        WastArgCore::RefNull(ty) if is(ty, AbstractHeapType::Func) => Val::FuncRef(None),
        WastArgCore::RefNull(ty) if is(ty, AbstractHeapType::Extern) => Val::ExternRef(None),
        WastArgCore::RefExtern(value) => Val::ExternRef(Some(ExternRef::new(store, *value)?)),
        other => bail!("the argument {other:?} is not supported"),
    })
}

fn is(ty: &HeapType<'_>, expected: AbstractHeapType) -> bool {
    *ty == HeapType::Abstract { shared: false, ty: expected }
}

/// Holds results against what a script expects.
pub(super) fn check_results(
    store: &Store<Data>,
    expected: &[WastRet<'_>],
    actual: &[Val],
) -> Result<()> {
    if expected.len() != actual.len() {
        let shown = show_all(store, actual);
        bail!("expected {} results, got {}: {shown}", expected.len(), actual.len());
    }
    for (at, (expected, actual)) in expected.iter().zip(actual).enumerate() {
        let WastRet::Core(expected) = expected else {
            bail!("results of components are not supported");
        };
        if !matches(store, expected, actual) {
            let at = if at == 0 { String::new() } else { format!("result {}: ", at + 1) };
            bail!("{at}expected {}, got {}", show_pattern(expected), show(store, actual));
        }
    }
    Ok(())
}

fn matches(store: &Store<Data>, expected: &WastRetCore<'_>, actual: &Val) -> bool {
    match (expected, actual) {
        (WastRetCore::I32(expected), Val::I32(actual)) => expected == actual,
        (WastRetCore::I64(expected), Val::I64(actual)) => expected == actual,
        (WastRetCore::F32(expected), Val::F32(actual)) => f32_matches(expected, *actual),
        (WastRetCore::F64(expected), Val::F64(actual)) => f64_matches(expected, *actual),
        (WastRetCore::V128(expected), Val::V128(actual)) => {
            v128_matches(expected, actual.as_u128().to_le_bytes())
        }
        (WastRetCore::RefNull(ty), Val::FuncRef(None)) => {
            ty.is_none_or(|ty| is(&ty, AbstractHeapType::Func) || is(&ty, AbstractHeapType::NoFunc))
        }
        (WastRetCore::RefNull(ty), Val::ExternRef(None)) => ty.is_none_or(|ty| {
            is(&ty, AbstractHeapType::Extern) || is(&ty, AbstractHeapType::NoExtern)
        }),
        (WastRetCore::RefFunc(None), Val::FuncRef(Some(_))) => true,
        (WastRetCore::RefExtern(expected), Val::ExternRef(Some(actual))) => {
            expected.is_none_or(|expected| extern_value(store, actual) == Some(expected))
        }
        (WastRetCore::Either(patterns), _) => {
            patterns.iter().any(|pattern| matches(store, pattern, actual))
        }
        _ => false,
    }
}

fn extern_value(store: &Store<Data>, reference: &ExternRef) -> Option<u32> {
    reference.data(store).downcast_ref().copied()
}

fn f32_matches(expected: &NanPattern<F32>, actual: u32) -> bool {
    match expected {
        NanPattern::CanonicalNan => actual & 0x7fff_ffff == 0x7fc0_0000,
        NanPattern::ArithmeticNan => actual & 0x7fc0_0000 == 0x7fc0_0000,
        NanPattern::Value(expected) => expected.bits == actual,
    }
}

fn f64_matches(expected: &NanPattern<F64>, actual: u64) -> bool {
    match expected {
        NanPattern::CanonicalNan => actual & !(1 << 63) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => actual & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(expected) => expected.bits == actual,
    }
}

fn v128_matches(expected: &V128Pattern, actual: [u8; 16]) -> bool {
    match expected {
        V128Pattern::I8x16(lanes) => lanes.map(i8::cast_unsigned) == actual,
        V128Pattern::I16x8(lanes) => *lanes == array(actual, i16::from_le_bytes),
        V128Pattern::I32x4(lanes) => *lanes == array(actual, i32::from_le_bytes),
        V128Pattern::I64x2(lanes) => *lanes == array(actual, i64::from_le_bytes),
        V128Pattern::F32x4(lanes) => {
            let actual: [u32; 4] = array(actual, u32::from_le_bytes);
            lanes.iter().zip(actual).all(|(lane, actual)| f32_matches(lane, actual))
        }
        V128Pattern::F64x2(lanes) => {
            let actual: [u64; 2] = array(actual, u64::from_le_bytes);
            lanes.iter().zip(actual).all(|(lane, actual)| f64_matches(lane, actual))
        }
    }
}

/// The lanes of a vector; `B * N` is 16.
fn array<T, const B: usize, const N: usize>(bytes: [u8; 16], lane: fn([u8; B]) -> T) -> [T; N] {
    const { assert!(B * N == 16) };
    std::array::from_fn(|at| lane(std::array::from_fn(|byte| bytes[at * B + byte])))
}

/// Values, for a message.
pub(super) fn show_all(store: &Store<Data>, values: &[Val]) -> String {
    let shown: Vec<String> = values.iter().map(|value| show(store, value)).collect();
    if shown.is_empty() { "nothing".to_string() } else { shown.join(", ") }
}

fn show(store: &Store<Data>, value: &Val) -> String {
    match value {
        Val::I32(value) => format!("i32 {value}"),
        Val::I64(value) => format!("i64 {value}"),
        Val::F32(bits) => show_f32(*bits),
        Val::F64(bits) => show_f64(*bits),
        Val::V128(value) => format!("v128 {:#034x}", value.as_u128()),
        Val::FuncRef(None) => "a null funcref".to_string(),
        Val::FuncRef(Some(_)) => "a funcref".to_string(),
        Val::ExternRef(None) => "a null externref".to_string(),
        Val::ExnRef(None) => "a null exnref".to_string(),
        Val::ExnRef(Some(_)) => "an exnref".to_string(),
        Val::ExternRef(Some(reference)) => match extern_value(store, reference) {
            Some(value) => format!("externref {value}"),
            None => "an externref that the script did not make".to_string(),
        },
    }
}

fn show_f32(bits: u32) -> String {
    format!("f32 {} ({bits:#010x})", f32::from_bits(bits))
}

fn show_f64(bits: u64) -> String {
    format!("f64 {} ({bits:#018x})", f64::from_bits(bits))
}

fn show_pattern(pattern: &WastRetCore<'_>) -> String {
    match pattern {
        WastRetCore::I32(value) => format!("i32 {value}"),
        WastRetCore::I64(value) => format!("i64 {value}"),
        WastRetCore::F32(pattern) => show_nan("f32", pattern, |value| show_f32(value.bits)),
        WastRetCore::F64(pattern) => show_nan("f64", pattern, |value| show_f64(value.bits)),
        WastRetCore::V128(pattern) => show_v128(pattern),
        WastRetCore::RefNull(_) => "a null reference".to_string(),
        WastRetCore::RefExtern(Some(value)) => format!("externref {value}"),
        WastRetCore::RefExtern(None) => "an externref".to_string(),
        WastRetCore::RefFunc(None) => "a funcref".to_string(),
        WastRetCore::Either(patterns) => {
            let patterns: Vec<String> = patterns.iter().map(show_pattern).collect();
            patterns.join(" or ")
        }
        other => format!("{other:?} (not supported)"),
    }
}

fn show_v128(pattern: &V128Pattern) -> String {
    let floats = |lanes: Vec<String>| lanes.join(", ");
    let lanes = match pattern {
        V128Pattern::I8x16(lanes) => format!("i8x16 {lanes:#x?}"),
        V128Pattern::I16x8(lanes) => format!("i16x8 {lanes:#x?}"),
        V128Pattern::I32x4(lanes) => format!("i32x4 {lanes:#x?}"),
        V128Pattern::I64x2(lanes) => format!("i64x2 {lanes:#x?}"),
        V128Pattern::F32x4(lanes) => {
            floats(lanes.iter().map(|l| show_nan("f32", l, |v| show_f32(v.bits))).collect())
        }
        V128Pattern::F64x2(lanes) => {
            floats(lanes.iter().map(|l| show_nan("f64", l, |v| show_f64(v.bits))).collect())
        }
    };
    // The alternate form brings hexadecimal, and a line for each lane.
    format!("v128 {}", lanes.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn show_nan<T>(ty: &str, pattern: &NanPattern<T>, show: impl Fn(&T) -> String) -> String {
    match pattern {
        NanPattern::CanonicalNan => format!("{ty} nan:canonical"),
        NanPattern::ArithmeticNan => format!("{ty} nan:arithmetic"),
        NanPattern::Value(value) => show(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_nans_are_arithmetic_and_not_the_other_way_round() {
        for (bits, canonical, arithmetic) in [
            (0x7fc0_0000, true, true),
            (0xffc0_0000, true, true),
            (0x7fc0_0001, false, true),
            (0x7fa0_0000, false, false),
            (0x7f80_0000, false, false),
        ] {
            assert_eq!(f32_matches(&NanPattern::CanonicalNan, bits), canonical, "{bits:#x}");
            assert_eq!(f32_matches(&NanPattern::ArithmeticNan, bits), arithmetic, "{bits:#x}");
        }
        assert!(f64_matches(&NanPattern::CanonicalNan, 0xfff8_0000_0000_0000));
        assert!(!f64_matches(&NanPattern::CanonicalNan, 0x7ff8_0000_0000_0001));
        assert!(f64_matches(&NanPattern::ArithmeticNan, 0x7ffc_0000_0000_0001));
        assert!(!f64_matches(&NanPattern::ArithmeticNan, 0x7ff0_0000_0000_0001));
    }

    #[test]
    fn vectors_are_compared_lane_by_lane() {
        let mut bytes = [0; 16];
        bytes[4..8].copy_from_slice(&0x7fc0_0001_u32.to_le_bytes());
        let zero = || NanPattern::Value(F32 { bits: 0 });
        let lanes = [zero(), NanPattern::ArithmeticNan, zero(), zero()];
        assert!(v128_matches(&V128Pattern::F32x4(lanes), bytes));
        let lanes = [zero(), NanPattern::CanonicalNan, zero(), zero()];
        assert!(!v128_matches(&V128Pattern::F32x4(lanes), bytes));
        assert!(v128_matches(&V128Pattern::I32x4([0, 0x7fc0_0001, 0, 0]), bytes));
        assert!(v128_matches(&V128Pattern::I16x8([0, 0, 1, 0x7fc0, 0, 0, 0, 0]), bytes));
        assert!(!v128_matches(&V128Pattern::I64x2([0, 0]), bytes));
    }
}
