//! Translation of operators, split by kind.
//!
//! Each file has one function `translate(t, op) -> bool` (or a `Result` of it): it takes the
//! operands from `t`'s operand stack, emits code, pushes the results, and says whether the
//! operator was one of its kind. Operators have been validated, so the operands are there and
//! have the right types. Only reachable operators come here, except control operators.

pub(crate) mod atomic;
pub(crate) mod bulk;
pub(crate) mod call;
pub(crate) mod control;
pub(crate) mod exception;
pub(crate) mod memory;
pub(crate) mod numeric;
pub(crate) mod simd;
pub(crate) mod table;
pub(crate) mod variable;
