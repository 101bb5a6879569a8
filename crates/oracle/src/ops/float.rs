//! Arithmetic on floats: all that gives a NaN gives the canonical one.

use crate::trap::TrapKind;

/// `f32` and `f64`.
pub(crate) trait Float: Copy + PartialOrd {
    /// The same, or the canonical NaN.
    fn canonical(self) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn div(self, other: Self) -> Self;
    /// −0 is less than 0.
    fn min(self, other: Self) -> Self;
    fn max(self, other: Self) -> Self;
    fn sqrt(self) -> Self;
    fn ceil(self) -> Self;
    fn floor(self) -> Self;
    fn trunc(self) -> Self;
    /// Halves go to the even neighbour.
    fn nearest(self) -> Self;
    /// `self × b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// These three are on the bits, and keep those of a NaN.
    fn abs(self) -> Self;
    fn neg(self) -> Self;
    fn copysign(self, sign: Self) -> Self;
}

macro_rules! float {
    ($float:ident, $bits:ident, $canonical:expr) => {
        impl Float for $float {
            fn canonical(self) -> $float {
                if self.is_nan() { $float::from_bits($canonical) } else { self }
            }

            fn add(self, other: $float) -> $float {
                (self + other).canonical()
            }

            fn sub(self, other: $float) -> $float {
                (self - other).canonical()
            }

            fn mul(self, other: $float) -> $float {
                (self * other).canonical()
            }

            fn div(self, other: $float) -> $float {
                (self / other).canonical()
            }

            fn min(self, other: $float) -> $float {
                if self.is_nan() || other.is_nan() {
                    $float::from_bits($canonical)
                } else if self == other {
                    // They differ at most in the sign of zero.
                    $float::from_bits(self.to_bits() | other.to_bits())
                } else if self < other {
                    self
                } else {
                    other
                }
            }

            fn max(self, other: $float) -> $float {
                if self.is_nan() || other.is_nan() {
                    $float::from_bits($canonical)
                } else if self == other {
                    $float::from_bits(self.to_bits() & other.to_bits())
                } else if self > other {
                    self
                } else {
                    other
                }
            }

            fn sqrt(self) -> $float {
                $float::sqrt(self).canonical()
            }

            fn ceil(self) -> $float {
                $float::ceil(self).canonical()
            }

            fn floor(self) -> $float {
                $float::floor(self).canonical()
            }

            fn trunc(self) -> $float {
                $float::trunc(self).canonical()
            }

            fn nearest(self) -> $float {
                self.round_ties_even().canonical()
            }

            fn fma(self, b: $float, c: $float) -> $float {
                self.mul_add(b, c).canonical()
            }

            fn abs(self) -> $float {
                $float::from_bits(self.to_bits() & ($bits::MAX >> 1))
            }

            fn neg(self) -> $float {
                $float::from_bits(self.to_bits() ^ !($bits::MAX >> 1))
            }

            fn copysign(self, sign: $float) -> $float {
                let all_but_sign = $bits::MAX >> 1;
                $float::from_bits(
                    (self.to_bits() & all_but_sign) | (sign.to_bits() & !all_but_sign),
                )
            }
        }
    };
}

float!(f32, u32, 0x7fc0_0000);
float!(f64, u64, 0x7ff8_0000_0000_0000);

/// The integer part, if it is at least `min` and less than `end`.
pub(crate) fn integer_part(x: f64, min: f64, end: f64) -> Result<f64, TrapKind> {
    if x.is_nan() {
        return Err(TrapKind::BadConversionToInteger);
    }
    let x = x.trunc();
    if x >= min && x < end { Ok(x) } else { Err(TrapKind::IntegerOverflow) }
}
