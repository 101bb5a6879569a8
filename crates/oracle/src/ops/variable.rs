//! Locals, globals, and what moves operands.

use crate::activation::Exec;
use crate::machine::Instance;
use wasmparser::Operator as Op;

impl Exec<'_> {
    /// The instance of the innermost frame.
    pub(crate) fn instance(&self) -> &Instance {
        let frame = self.frames.last().expect("running");
        &self.machine.instances[frame.instance.at()]
    }
}

/// Executes `op` if it is of this kind.
pub(crate) fn execute(x: &mut Exec<'_>, op: &Op<'_>) -> bool {
    match *op {
        Op::LocalGet { local_index } => {
            let value = x.frame().locals[local_index as usize];
            x.push(value);
        }
        Op::LocalSet { local_index } => {
            let value = x.pop();
            x.frame().locals[local_index as usize] = value;
        }
        Op::LocalTee { local_index } => {
            let value = x.pop();
            x.frame().locals[local_index as usize] = value;
            x.push(value);
        }
        Op::GlobalGet { global_index } => {
            let global = x.instance().globals[global_index as usize];
            x.push(x.machine.global(global));
        }
        Op::GlobalSet { global_index } => {
            let value = x.pop();
            let global = x.instance().globals[global_index as usize];
            x.machine.set_global(global, value);
        }
        Op::Drop => {
            x.pop();
        }
        Op::Select | Op::TypedSelect { .. } => {
            let condition: bool = x.pop_as();
            let second = x.pop();
            let first = x.pop();
            x.push(if condition { first } else { second });
        }
        _ => return false,
    }
    true
}
