//! Types of values, as the text of a program names them.

use crate::rng::Rng;

/// Parameters and results.
pub(crate) type Sig = (&'static [Ty], &'static [Ty]);

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ty {
    I32,
    I64,
    F32,
    F64,
    V128,
    Func,
    Extern,
    Exn,
}

impl Ty {
    pub(crate) const ALL: [Ty; 8] =
        [Ty::I32, Ty::I64, Ty::F32, Ty::F64, Ty::V128, Ty::Func, Ty::Extern, Ty::Exn];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Ty::I32 => "i32",
            Ty::I64 => "i64",
            Ty::F32 => "f32",
            Ty::F64 => "f64",
            Ty::V128 => "v128",
            Ty::Func => "funcref",
            Ty::Extern => "externref",
            Ty::Exn => "exnref",
        }
    }

    /// The operator that gives its first value.
    pub(crate) fn zero(self) -> &'static str {
        match self {
            Ty::I32 => "i32.const 0",
            Ty::I64 => "i64.const 0",
            Ty::F32 => "f32.const 0",
            Ty::F64 => "f64.const 0",
            Ty::V128 => "v128.const i64x2 0 0",
            Ty::Func => "ref.null func",
            Ty::Extern => "ref.null extern",
            Ty::Exn => "ref.null exn",
        }
    }

    /// An operator that gives a value of it.
    pub(crate) fn constant(self, rng: &mut Rng) -> String {
        match self {
            Ty::I32 if rng.percent(30) => format!("i32.const {}", rng.next() as i32),
            Ty::I32 => format!("i32.const {}", rng.below(40)),
            Ty::I64 if rng.percent(50) => format!("i64.const {}", rng.next() as i64),
            Ty::I64 => format!("i64.const {}", rng.below(100)),
            Ty::F32 => {
                format!("f32.const {}", rng.pick(&["1.5", "-2", "-0", "1e20", "inf", "nan"]))
            }
            Ty::F64 => {
                format!("f64.const {}", rng.pick(&["0.25", "-7", "1e300", "-inf", "3e9", "nan"]))
            }
            Ty::V128 => format!("v128.const i64x2 {} {}", rng.next() as i64, rng.below(9)),
            Ty::Func if rng.percent(70) => format!("ref.func $h{}", rng.below(6)),
            Ty::Func | Ty::Extern | Ty::Exn => self.zero().to_string(),
        }
    }
}
