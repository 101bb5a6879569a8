//! Vectors as lanes of Rust's types.

use crate::activation::Exec;

/// A type of lanes.
pub(crate) trait Lane: Copy {
    /// Its width.
    const BITS: u32;
    /// The lane with these bits.
    fn of(bits: u64) -> Self;
    /// Its bits; no more than [`Lane::BITS`].
    fn bits(self) -> u64;
}

macro_rules! lanes {
    ($($ty:ty, $unsigned:ty, $bits:ident => $of:expr, $lane:ident => $to:expr;)*) => {$(
        impl Lane for $ty {
            const BITS: u32 = <$unsigned>::BITS;

            fn of($bits: u64) -> $ty {
                $of
            }

            fn bits(self) -> u64 {
                let $lane = self;
                u64::from($to)
            }
        }
    )*};
}

lanes! {
    u8, u8, b => b as u8, x => x;
    i8, u8, b => b as i8, x => x as u8;
    u16, u16, b => b as u16, x => x;
    i16, u16, b => b as i16, x => x as u16;
    u32, u32, b => b as u32, x => x;
    i32, u32, b => b as i32, x => x as u32;
    u64, u64, b => b, x => x;
    i64, u64, b => b as i64, x => x as u64;
    f32, u32, b => f32::from_bits(b as u32), x => x.to_bits();
    f64, u64, b => f64::from_bits(b), x => x.to_bits();
}

/// How many lanes of a type a vector has.
pub(crate) fn count<T: Lane>() -> usize {
    128 / T::BITS as usize
}

/// A lane of a vector.
pub(crate) fn get<T: Lane>(vector: u128, lane: usize) -> T {
    T::of((vector >> (lane * T::BITS as usize)) as u64)
}

/// The vector that has a lane replaced.
pub(crate) fn set<T: Lane>(vector: u128, lane: usize, value: T) -> u128 {
    build(|i| if i == lane { value } else { get(vector, i) })
}

/// The vector with these lanes.
pub(crate) fn build<T: Lane>(lane: impl Fn(usize) -> T) -> u128 {
    (0..count::<T>())
        .fold(0, |vector, i| vector | (u128::from(lane(i).bits()) << (i * T::BITS as usize)))
}

/// All ones or all zeros: what comparisons give.
pub(crate) fn mask<T: Lane>(set: bool) -> T {
    T::of(if set { u64::MAX } else { 0 })
}

impl Exec<'_> {
    /// Lane by lane; there may be fewer results than operands, and the rest is zero, or more, and
    /// the rest of the operands is not looked at.
    pub(crate) fn map<A: Lane, R: Lane>(&mut self, f: impl Fn(A) -> R) {
        self.unary(|a: u128| build(|i| if i < count::<A>() { f(get(a, i)) } else { R::of(0) }));
    }

    /// Lane by lane of two.
    pub(crate) fn zip<A: Lane, R: Lane>(&mut self, f: impl Fn(A, A) -> R) {
        self.binary(|a: u128, b: u128| build(|i| f(get(a, i), get(b, i))));
    }

    /// Lane by lane of three.
    pub(crate) fn zip3<A: Lane, R: Lane>(&mut self, f: impl Fn(A, A, A) -> R) {
        let c: u128 = self.pop_as();
        self.binary(|a: u128, b: u128| build(|i| f(get(a, i), get(b, i), get(c, i))));
    }
}
