//! What operators do, by kind.
//!
//! Each `execute` answers whether the operator is of its kind. One that traps need not put back what
//! it popped: [`Exec`] remembers that.

pub(crate) mod atomic;
pub(crate) mod control;
pub(crate) mod exception;
pub(crate) mod float;
pub(crate) mod lanes;
pub(crate) mod memory;
pub(crate) mod numeric;
pub(crate) mod operand;
pub(crate) mod reference;
pub(crate) mod relaxed;
pub(crate) mod simd;
pub(crate) mod simd_convert;
pub(crate) mod table;
pub(crate) mod variable;

use crate::activation::{Exec, Exit, Flow};
use crate::function::{Code, Op};

/// Executes an operator.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op) -> Result<Flow, Exit> {
    let plain = match &op.code {
        Code::BrTable(labels) => {
            return Ok(control::branch_table(x, labels));
        }
        Code::Plain(plain) => plain,
    };
    if let Some(flow) = control::execute(x, op, plain)? {
        return Ok(flow);
    }
    let known = variable::execute(x, plain)
        || numeric::execute(x, plain)?
        || memory::execute(x, plain)?
        || table::execute(x, plain)?
        || reference::execute(x, plain)?
        || simd::execute(x, plain)?
        || simd_convert::execute(x, plain)
        || relaxed::execute(x, plain)
        || atomic::execute(x, plain)?;
    assert!(known, "{plain:?} passed validation and is not implemented");
    Ok(Flow::Next)
}
