//! Popping and pushing by Rust's types, so that an operator is a function on these.

use crate::activation::Exec;
use crate::value::Value;

/// A type that stands for a value's.
pub(crate) trait Operand: Sized {
    /// The value as this type. Validation has made sure that it is one.
    fn of(value: Value) -> Self;

    /// The value.
    fn value(self) -> Value;
}

macro_rules! operands {
    ($($ty:ty: $variant:ident($bits:ident), $of:expr, $value:expr;)*) => {$(
        impl Operand for $ty {
            fn of(value: Value) -> $ty {
                match value {
                    Value::$variant($bits) => $of,
                    other => panic!("{other:?} is not {}", stringify!($ty)),
                }
            }

            fn value(self) -> Value {
                let $bits = self;
                Value::$variant($value)
            }
        }
    )*};
}

operands! {
    u32: I32(x), x, x;
    i32: I32(x), x as i32, x as u32;
    u64: I64(x), x, x;
    i64: I64(x), x as i64, x as u64;
    f32: F32(x), f32::from_bits(x), x.to_bits();
    f64: F64(x), f64::from_bits(x), x.to_bits();
    u128: V128(x), x, x;
    bool: I32(x), x != 0, u32::from(x);
}

impl Exec<'_> {
    pub(crate) fn pop_as<A: Operand>(&mut self) -> A {
        A::of(self.pop())
    }

    pub(crate) fn push_as(&mut self, value: impl Operand) {
        self.push(value.value());
    }

    pub(crate) fn unary<A: Operand, R: Operand>(&mut self, f: impl Fn(A) -> R) {
        let a = self.pop_as();
        self.push_as(f(a));
    }

    pub(crate) fn binary<A: Operand, B: Operand, R: Operand>(&mut self, f: impl Fn(A, B) -> R) {
        let b = self.pop_as();
        let a = self.pop_as();
        self.push_as(f(a, b));
    }

    pub(crate) fn try_unary<A: Operand, R: Operand, E>(
        &mut self,
        f: impl Fn(A) -> Result<R, E>,
    ) -> Result<(), E> {
        let a = self.pop_as();
        let result = f(a)?;
        self.push_as(result);
        Ok(())
    }

    pub(crate) fn try_binary<A: Operand, B: Operand, R: Operand, E>(
        &mut self,
        f: impl Fn(A, B) -> Result<R, E>,
    ) -> Result<(), E> {
        let b = self.pop_as();
        let a = self.pop_as();
        let result = f(a, b)?;
        self.push_as(result);
        Ok(())
    }
}
