//! References.

use crate::activation::Exec;
use crate::module::heap_type;
use crate::trap::TrapKind;
use crate::value::Value;
use wasmparser::Operator as Op;

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> Result<bool, TrapKind> {
    match *op {
        Op::RefNull { hty } => x.push(Value::null(heap_type(hty).expect("validated"))),
        Op::RefFunc { function_index } => {
            let func = x.instance().funcs[function_index as usize];
            x.push(Value::FuncRef(Some(func)));
        }
        Op::RefIsNull => {
            let value = x.pop();
            x.push_as(value.is_null());
        }
        Op::RefAsNonNull => {
            let value = x.pop();
            if value.is_null() {
                return Err(TrapKind::NullReference);
            }
            x.push(value);
        }
        _ => return Ok(false),
    }
    Ok(true)
}
