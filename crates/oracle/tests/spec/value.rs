//! Values in scripts: arguments, and patterns that results are held against.

use anyhow::{Result, bail, ensure};
use stillframe_oracle::Value;
use wast::core::{AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore};
use wast::token::{F32, F64};
use wast::{WastArg, WastRet};

/// An argument.
pub fn argument(arg: &WastArg<'_>) -> Result<Value> {
    let WastArg::Core(arg) = arg else { bail!("components are not supported") };
    Ok(match arg {
        WastArgCore::I32(value) => Value::I32(*value as u32),
        WastArgCore::I64(value) => Value::I64(*value as u64),
        WastArgCore::F32(value) => Value::F32(value.bits),
        WastArgCore::F64(value) => Value::F64(value.bits),
        WastArgCore::V128(value) => Value::V128(u128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(ty) if is(ty, AbstractHeapType::Func) => Value::FuncRef(None),
        WastArgCore::RefNull(ty) if is(ty, AbstractHeapType::Extern) => Value::ExternRef(None),
        WastArgCore::RefExtern(value) => Value::ExternRef(Some(*value)),
        other => bail!("the argument {other:?} is not supported"),
    })
}

fn is(ty: &HeapType<'_>, expected: AbstractHeapType) -> bool {
    *ty == HeapType::Abstract { shared: false, ty: expected }
}

/// Holds results against what is expected.
pub fn check(expected: &[WastRet<'_>], actual: &[Value]) -> Result<()> {
    let all = expected.iter().zip(actual).all(|(expected, actual)| match expected {
        WastRet::Core(expected) => matches(expected, *actual),
        _ => false,
    });
    ensure!(all && expected.len() == actual.len(), "expected {expected:?}, got {actual:x?}");
    Ok(())
}

fn matches(expected: &WastRetCore<'_>, actual: Value) -> bool {
    match (expected, actual) {
        (WastRetCore::I32(expected), Value::I32(actual)) => *expected as u32 == actual,
        (WastRetCore::I64(expected), Value::I64(actual)) => *expected as u64 == actual,
        (WastRetCore::F32(expected), Value::F32(actual)) => f32_matches(expected, actual),
        (WastRetCore::F64(expected), Value::F64(actual)) => f64_matches(expected, actual),
        (WastRetCore::V128(expected), Value::V128(actual)) => v128_matches(expected, actual),
        (WastRetCore::RefNull(None), actual) => actual.is_null(),
        (WastRetCore::RefNull(Some(ty)), Value::FuncRef(None)) => {
            is(ty, AbstractHeapType::Func) || is(ty, AbstractHeapType::NoFunc)
        }
        (WastRetCore::RefNull(Some(ty)), Value::ExternRef(None)) => {
            is(ty, AbstractHeapType::Extern) || is(ty, AbstractHeapType::NoExtern)
        }
        (WastRetCore::RefNull(Some(ty)), Value::ExnRef(None)) => {
            is(ty, AbstractHeapType::Exn) || is(ty, AbstractHeapType::NoExn)
        }
        (WastRetCore::RefFunc(None), Value::FuncRef(Some(_))) => true,
        (WastRetCore::RefExtern(expected), Value::ExternRef(Some(actual))) => {
            expected.is_none_or(|expected| expected == actual)
        }
        (WastRetCore::Either(patterns), _) => patterns.iter().any(|p| matches(p, actual)),
        _ => false,
    }
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
        NanPattern::CanonicalNan => actual & (u64::MAX >> 1) == 0x7ff8_0000_0000_0000,
        NanPattern::ArithmeticNan => actual & 0x7ff8_0000_0000_0000 == 0x7ff8_0000_0000_0000,
        NanPattern::Value(expected) => expected.bits == actual,
    }
}

fn v128_matches(expected: &V128Pattern, actual: u128) -> bool {
    // The lanes of `bits`, as far as `expected` has any.
    let lane = |bits: usize, i: usize| (actual >> (bits * i)) as u64 & (u64::MAX >> (64 - bits));
    match expected {
        V128Pattern::I8x16(all) => (0..16).all(|i| all[i] as u8 as u64 == lane(8, i)),
        V128Pattern::I16x8(all) => (0..8).all(|i| all[i] as u16 as u64 == lane(16, i)),
        V128Pattern::I32x4(all) => (0..4).all(|i| all[i] as u32 as u64 == lane(32, i)),
        V128Pattern::I64x2(all) => (0..2).all(|i| all[i] as u64 == lane(64, i)),
        V128Pattern::F32x4(all) => (0..4).all(|i| f32_matches(&all[i], lane(32, i) as u32)),
        V128Pattern::F64x2(all) => (0..2).all(|i| f64_matches(&all[i], lane(64, i))),
    }
}
