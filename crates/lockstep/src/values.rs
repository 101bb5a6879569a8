//! Values of one side as the other's.

use anyhow::Result;
use stillframe::{ExternRef, V128, Val, ValType};
use stillframe_oracle as oracle;

/// Whether two values are the same, as far as they can be told apart: functions and exceptions by
/// being null or not, host objects by their number. All NaNs are the same: which one arithmetic gives
/// is not determined.
pub(crate) fn same<T: 'static>(
    store: &stillframe::StoreContext<'_, T>,
    ours: &Val,
    theirs: &oracle::Value,
) -> bool {
    match (ours, theirs) {
        (Val::I32(a), oracle::Value::I32(b)) => *a as u32 == *b,
        (Val::I64(a), oracle::Value::I64(b)) => *a as u64 == *b,
        (Val::F32(a), oracle::Value::F32(b)) => same_f32(*a, *b),
        (Val::F64(a), oracle::Value::F64(b)) => same_f64(*a, *b),
        (Val::V128(a), oracle::Value::V128(b)) => same_v128(a.as_u128(), *b),
        (Val::FuncRef(a), oracle::Value::FuncRef(b)) => a.is_some() == b.is_some(),
        (Val::ExnRef(a), oracle::Value::ExnRef(b)) => a.is_some() == b.is_some(),
        (Val::ExternRef(a), oracle::Value::ExternRef(b)) => {
            let number = |object: &ExternRef| object.data(*store).downcast_ref::<u32>().copied();
            a.as_ref().map(number) == b.map(Some)
        }
        _ => false,
    }
}

fn same_f32(a: u32, b: u32) -> bool {
    a == b || f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan()
}

fn same_f64(a: u64, b: u64) -> bool {
    a == b || f64::from_bits(a).is_nan() && f64::from_bits(b).is_nan()
}

/// Vectors do not say what their lanes are.
fn same_v128(a: u128, b: u128) -> bool {
    let words = |bits: u128, lane: u32| (bits >> (32 * lane)) as u32;
    let doubles = |bits: u128, lane: u32| (bits >> (64 * lane)) as u64;
    (0..4).all(|lane| same_f32(words(a, lane), words(b, lane)))
        || (0..2).all(|lane| same_f64(doubles(a, lane), doubles(b, lane)))
}

/// A value of a type, chosen by `seed`: the same for both sides.
pub(crate) fn chosen(ty: ValType, seed: u64) -> oracle::Value {
    // The finaliser of SplitMix64.
    let mut bits = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^= bits >> 31;
    let small = bits & 3 != 0;
    match ty {
        ValType::I32 if small => oracle::Value::I32((bits >> 8) as u32 % 64),
        ValType::I32 => oracle::Value::I32(bits as u32),
        ValType::I64 if small => oracle::Value::I64((bits >> 8) % 64),
        ValType::I64 => oracle::Value::I64(bits),
        ValType::F32 => oracle::Value::F32(((bits >> 8) as i32 as f32).to_bits()),
        ValType::F64 => oracle::Value::F64(((bits >> 8) as i64 as f64).to_bits()),
        ValType::V128 => oracle::Value::V128(u128::from(bits) << 64 | u128::from(!bits)),
        ValType::FuncRef => oracle::Value::FuncRef(None),
        ValType::ExternRef if small => oracle::Value::ExternRef(Some(bits as u32 >> 8)),
        ValType::ExternRef => oracle::Value::ExternRef(None),
        ValType::ExnRef => oracle::Value::ExnRef(None),
    }
}

/// A value that [`chosen`] has made, on our side.
pub(crate) fn ours(store: impl stillframe::AsContextMut, value: oracle::Value) -> Result<Val> {
    Ok(match value {
        oracle::Value::I32(value) => Val::I32(value as i32),
        oracle::Value::I64(value) => Val::I64(value as i64),
        oracle::Value::F32(bits) => Val::F32(bits),
        oracle::Value::F64(bits) => Val::F64(bits),
        oracle::Value::V128(bits) => Val::V128(V128::from(bits)),
        oracle::Value::FuncRef(_) => Val::FuncRef(None),
        oracle::Value::ExnRef(_) => Val::ExnRef(None),
        oracle::Value::ExternRef(None) => Val::ExternRef(None),
        oracle::Value::ExternRef(Some(number)) => {
            Val::ExternRef(Some(ExternRef::new(store, number)?))
        }
    })
}

/// The type of a parameter or result, on the interpreter's side.
pub(crate) fn their_type(ty: ValType) -> oracle::ValType {
    let reference = |heap| oracle::ValType::Ref(oracle::RefType { nullable: true, heap });
    match ty {
        ValType::I32 => oracle::ValType::I32,
        ValType::I64 => oracle::ValType::I64,
        ValType::F32 => oracle::ValType::F32,
        ValType::F64 => oracle::ValType::F64,
        ValType::V128 => oracle::ValType::V128,
        ValType::FuncRef => reference(oracle::HeapType::Func),
        ValType::ExternRef => reference(oracle::HeapType::Extern),
        ValType::ExnRef => reference(oracle::HeapType::Exn),
    }
}
