//! Closures as host functions, and the Rust types that stand for WebAssembly's.

use crate::caller::Caller;
use crate::raw::{Cell, Cells, HostFunc};
use anyhow::{Error, Result};
use stillframe_abi::types::ValType;

/// A Rust type that stands for a WebAssembly type in typed functions.
///
/// | Rust | WebAssembly |
/// |---|---|
/// | `i32`, `u32` | `i32` |
/// | `i64`, `u64` | `i64` |
/// | `f32` | `f32` |
/// | `f64` | `f64` |
/// | [`V128`](crate::V128), `u128` | `v128` |
/// | `Option<`[`Func`](crate::Func)`>` | `funcref` |
/// | `Option<`[`ExternRef`](crate::ExternRef)`>` | `externref` |
///
/// Not to be implemented outside of this crate.
pub trait WasmTy: Cell {
    /// The WebAssembly type.
    fn valtype() -> ValType {
        Self::TYPE
    }
}

impl<A: Cell> WasmTy for A {}

/// Parameters of a [`TypedFunc`](crate::TypedFunc): one [`WasmTy`], or a tuple of up to 16.
///
/// Not to be implemented outside of this crate.
pub trait WasmParams: Cells {}

impl<P: Cells> WasmParams for P {}

/// Results of a [`TypedFunc`](crate::TypedFunc): `()`, one [`WasmTy`], or a tuple of up to 16.
///
/// Not to be implemented outside of this crate.
pub trait WasmResults: Cells {}

impl<R: Cells> WasmResults for R {}

/// What a host function can return: [`WasmResults`], or a `Result` of them. An error ends the
/// call that led into wasm.
///
/// Not to be implemented outside of this crate.
pub trait WasmRet: Returned {}

impl<R: Returned> WasmRet for R {}

/// What a host function returns, taken apart.
#[diagnostic::on_unimplemented(
    message = "a host function cannot return `{Self}`",
    note = "it can return types that `WasmTy` lists, tuples of them, or a `stillframe::Result`"
)]
pub trait Returned {
    /// The results.
    type Results: Cells;

    /// The results, or why there are none.
    fn into_result(self) -> Result<Self::Results>;
}

impl<R: Cells> Returned for R {
    type Results = R;

    #[inline]
    fn into_result(self) -> Result<R> {
        Ok(self)
    }
}

impl<R: Cells> Returned for Result<R, Error> {
    type Results = R;

    #[inline]
    fn into_result(self) -> Result<R> {
        self
    }
}

/// A closure that can be a host function: `Fn(A, B, …) -> R` or `Fn(Caller<'_, T>, A, B, …) -> R`
/// with up to 16 parameters that are [`WasmTy`], and `R` a [`WasmRet`].
///
/// Not to be implemented outside of this crate.
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    /// The host function.
    #[doc(hidden)]
    fn into_func(self) -> HostFunc<T>;
}

/// Calls a macro with each number of parameters and as many names.
macro_rules! for_each_arity {
    ($macro:ident) => {
        $macro!(0);
        $macro!(1 A1);
        $macro!(2 A1 A2);
        $macro!(3 A1 A2 A3);
        $macro!(4 A1 A2 A3 A4);
        $macro!(5 A1 A2 A3 A4 A5);
        $macro!(6 A1 A2 A3 A4 A5 A6);
        $macro!(7 A1 A2 A3 A4 A5 A6 A7);
        $macro!(8 A1 A2 A3 A4 A5 A6 A7 A8);
        $macro!(9 A1 A2 A3 A4 A5 A6 A7 A8 A9);
        $macro!(10 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10);
        $macro!(11 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11);
        $macro!(12 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12);
        $macro!(13 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13);
        $macro!(14 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14);
        $macro!(15 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15);
        $macro!(16 A1 A2 A3 A4 A5 A6 A7 A8 A9 A10 A11 A12 A13 A14 A15 A16);
    };
}
pub(crate) use for_each_arity;

macro_rules! closures {
    ($count:literal $($arg:ident)*) => {
        #[allow(non_snake_case)]
        impl<T: 'static, F, R, $($arg),*> IntoFunc<T, ($($arg,)*), R> for F
        where
            F: Fn($($arg),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($arg: WasmTy),*
        {
            fn into_func(self) -> HostFunc<T> {
                HostFunc::typed(move |_: Caller<'_, T>, ($($arg,)*): ($($arg,)*)| self($($arg),*))
            }
        }

        #[allow(non_snake_case)]
        impl<T: 'static, F, R, $($arg),*> IntoFunc<T, (Caller<'_, T>, $($arg,)*), R> for F
        where
            F: Fn(Caller<'_, T>, $($arg),*) -> R + Send + Sync + 'static,
            R: WasmRet,
            $($arg: WasmTy),*
        {
            fn into_func(self) -> HostFunc<T> {
                HostFunc::typed(move |caller: Caller<'_, T>, ($($arg,)*): ($($arg,)*)| {
                    self(caller, $($arg),*)
                })
            }
        }
    };
}
for_each_arity!(closures);
