//! What engines are given and what comes out, in words that all of them share.

use crate::Choices;

/// A type of values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    /// A 32-bit integer.
    I32,
    /// A 64-bit integer.
    I64,
    /// A 32-bit float.
    F32,
    /// A 64-bit float.
    F64,
    /// A vector.
    V128,
    /// A function, or null.
    Func,
    /// An object of the host, or null.
    Extern,
    /// An exception, or null.
    Exn,
}

/// A value, as far as engines can be compared. Floats are bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A 32-bit integer.
    I32(u32),
    /// A 64-bit integer.
    I64(u64),
    /// A 32-bit float.
    F32(u32),
    /// A 64-bit float.
    F64(u64),
    /// A vector.
    V128(u128),
    /// A function; whether it is one, or null.
    Func(bool),
    /// An object of the host: its number, or null.
    Extern(Option<u32>),
    /// An exception; whether it is one, or null.
    Exn(bool),
}

/// What a function is given, by whoever calls it or as results of a host function.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Given {
    /// A value that is not a reference to a function or an exception, unless it is null.
    Value(Value),
    /// The function of this index.
    Function(u32),
    /// For results: the parameter of this number.
    Param(usize),
}

/// Integers at which something changes.
const INTEGERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    100,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_ffff,
];

/// Floats at which something changes.
const FLOATS: [f64; 12] = [
    0.0,
    -0.0,
    1.0,
    -1.5,
    0.5,
    2_147_483_648.0,
    -9_223_372_036_854_775_808.0,
    1e300,
    5e-324,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
];

impl Value {
    /// Zero, or null.
    pub fn zero(ty: Ty) -> Value {
        match ty {
            Ty::I32 => Value::I32(0),
            Ty::I64 => Value::I64(0),
            Ty::F32 => Value::F32(0),
            Ty::F64 => Value::F64(0),
            Ty::V128 => Value::V128(0),
            Ty::Func => Value::Func(false),
            Ty::Extern => Value::Extern(None),
            Ty::Exn => Value::Exn(false),
        }
    }

    /// Any value of this type but a function or exception: often one at which something changes.
    pub fn choose(ty: Ty, choices: &mut Choices<'_>) -> Value {
        let mut integer = || match choices.below(4) {
            0 => choices.number(),
            1 => choices.number() % 300,
            _ => choices.pick(&INTEGERS),
        };
        match ty {
            Ty::I32 => Value::I32(integer() as u32),
            Ty::I64 => Value::I64(integer()),
            Ty::V128 => {
                let half = integer();
                Value::V128(u128::from(half) << 64 | u128::from(integer()))
            }
            Ty::F32 if choices.one_in(3) => Value::F32(choices.number() as u32),
            Ty::F64 if choices.one_in(3) => Value::F64(choices.number()),
            Ty::F32 => Value::F32((choices.pick(&FLOATS) as f32).to_bits()),
            Ty::F64 => Value::F64(choices.pick(&FLOATS).to_bits()),
            Ty::Extern if choices.one_in(2) => Value::Extern(Some(choices.below(256) as u32)),
            Ty::Func | Ty::Extern | Ty::Exn => Value::zero(ty),
        }
    }

    /// The bits, for hashing.
    pub(super) fn bits(self) -> u128 {
        match self {
            Value::I32(v) | Value::F32(v) => v.into(),
            Value::I64(v) | Value::F64(v) => v.into(),
            Value::V128(v) => v,
            Value::Func(it) | Value::Exn(it) => it.into(),
            Value::Extern(number) => number.map_or(0, |number| u128::from(number) + 1),
        }
    }
}
