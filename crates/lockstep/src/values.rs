//! Values of one side as the other's.

use crate::rng::Rng;
use anyhow::Result;
use stillframe::{ExternRef, Func, V128, Val, ValType};
use stillframe_oracle as oracle;

/// The functions that are known on both sides.
#[derive(Default)]
pub(crate) struct Functions(Vec<(Func, oracle::FuncId)>);

impl Functions {
    /// Notes that these are one.
    pub(crate) fn push(&mut self, ours: Func, theirs: oracle::FuncId) {
        self.0.push((ours, theirs));
    }

    /// Whether two values are the same, as far as they can be told apart: functions that are not
    /// known, and exceptions, by being null or not, host objects by their number. All NaNs are the
    /// same: which one arithmetic gives is not determined.
    pub(crate) fn same<T: 'static>(
        &self,
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
            (Val::FuncRef(Some(a)), oracle::Value::FuncRef(Some(b))) => self.are_one(*a, *b),
            (Val::FuncRef(a), oracle::Value::FuncRef(b)) => a.is_none() && b.is_none(),
            (Val::ExnRef(a), oracle::Value::ExnRef(b)) => a.is_some() == b.is_some(),
            (Val::ExternRef(a), oracle::Value::ExternRef(b)) => {
                let number =
                    |object: &ExternRef| object.data(*store).downcast_ref::<u32>().copied();
                a.as_ref().map(number) == b.map(Some)
            }
            _ => false,
        }
    }

    fn are_one(&self, ours: Func, theirs: oracle::FuncId) -> bool {
        let mut known = self.0.iter().filter(|(a, b)| *a == ours || *b == theirs).peekable();
        known.peek().is_none() || known.any(|pair| *pair == (ours, theirs))
    }

    /// A value that [`chosen`] has made, on our side.
    pub(crate) fn ours(
        &self,
        store: impl stillframe::AsContextMut,
        value: oracle::Value,
    ) -> Result<Val> {
        Ok(match value {
            oracle::Value::I32(value) => Val::I32(value as i32),
            oracle::Value::I64(value) => Val::I64(value as i64),
            oracle::Value::F32(bits) => Val::F32(bits),
            oracle::Value::F64(bits) => Val::F64(bits),
            oracle::Value::V128(bits) => Val::V128(V128::from(bits)),
            oracle::Value::FuncRef(theirs) => {
                let known = self.0.iter().find(|(_, func)| Some(*func) == theirs);
                Val::FuncRef(known.map(|(func, _)| *func))
            }
            oracle::Value::ExnRef(_) => Val::ExnRef(None),
            oracle::Value::ExternRef(None) => Val::ExternRef(None),
            oracle::Value::ExternRef(Some(number)) => {
                Val::ExternRef(Some(ExternRef::new(store, number)?))
            }
        })
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
pub(crate) fn chosen(ty: ValType, seed: u64, functions: &Functions) -> oracle::Value {
    let bits = Rng::new(seed).next();
    let small = bits & 3 != 0;
    match ty {
        ValType::I32 if small => oracle::Value::I32((bits >> 8) as u32 % 64),
        ValType::I32 => oracle::Value::I32(bits as u32),
        ValType::I64 if small => oracle::Value::I64((bits >> 8) % 64),
        ValType::I64 => oracle::Value::I64(bits),
        ValType::F32 => oracle::Value::F32(((bits >> 8) as i32 as f32).to_bits()),
        ValType::F64 => oracle::Value::F64(((bits >> 8) as i64 as f64).to_bits()),
        ValType::V128 => oracle::Value::V128(u128::from(bits) << 64 | u128::from(!bits)),
        ValType::FuncRef if small && !functions.0.is_empty() => {
            let (_, func) = functions.0[(bits >> 8) as usize % functions.0.len()];
            oracle::Value::FuncRef(Some(func))
        }
        ValType::FuncRef => oracle::Value::FuncRef(None),
        ValType::ExternRef if small => oracle::Value::ExternRef(Some(bits as u32 >> 8)),
        ValType::ExternRef => oracle::Value::ExternRef(None),
        ValType::ExnRef => oracle::Value::ExnRef(None),
    }
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
