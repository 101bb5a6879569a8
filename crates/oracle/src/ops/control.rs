//! Blocks, branches and calls.

use crate::activation::{Exec, Exit, Flow, Label};
use crate::function::Op as Place;
use crate::machine::FuncId;
use crate::ops::exception;
use crate::trap::TrapKind;
use crate::value::Value;
use wasmparser::Operator as Op;

/// Executes `op`, which stands at `place`, if it is of this kind.
pub(crate) fn execute(
    x: &mut Exec<'_>,
    place: &Place,
    op: &Op<'static>,
) -> Result<Option<Flow>, Exit> {
    Ok(Some(match op {
        Op::Nop => Flow::Next,
        Op::Unreachable => return Err(Exit::Trap(TrapKind::UnreachableCodeReached)),
        Op::Block { .. } | Op::Loop { .. } | Op::TryTable { .. } => {
            enter(x, place);
            Flow::Next
        }
        Op::If { .. } => {
            let condition: bool = x.pop_as();
            let block = place.block.expect("an opener");
            match (condition, block.otherwise) {
                (true, _) => {
                    enter(x, place);
                    Flow::Next
                }
                (false, Some(otherwise)) => {
                    enter(x, place);
                    go_to(x, otherwise + 1)
                }
                // Its parameters are its results.
                (false, None) => go_to(x, block.end + 1),
            }
        }
        // Reached only at the end of the arm before it.
        Op::Else => {
            x.frame().labels.pop();
            go_to(x, place.block.expect("decoded").end + 1)
        }
        Op::End => match x.frame().labels.pop() {
            Some(_) => Flow::Next,
            None => x.return_(),
        },
        Op::Br { relative_depth } => x.branch(*relative_depth),
        Op::BrIf { relative_depth } => match x.pop_as() {
            true => x.branch(*relative_depth),
            false => Flow::Next,
        },
        Op::BrOnNull { relative_depth } => {
            let value = x.pop();
            if value.is_null() {
                x.branch(*relative_depth)
            } else {
                x.push(value);
                Flow::Next
            }
        }
        Op::BrOnNonNull { relative_depth } => {
            let value = x.pop();
            if value.is_null() {
                Flow::Next
            } else {
                x.push(value);
                x.branch(*relative_depth)
            }
        }
        Op::Return => x.return_(),
        Op::Call { function_index } => {
            let func = direct(x, *function_index);
            x.call(func, false)
        }
        Op::ReturnCall { function_index } => {
            let func = direct(x, *function_index);
            x.call(func, true)
        }
        Op::CallIndirect { type_index, table_index } => {
            let func = through_table(x, *type_index, *table_index)?;
            x.call(func, false)
        }
        Op::ReturnCallIndirect { type_index, table_index } => {
            let func = through_table(x, *type_index, *table_index)?;
            x.call(func, true)
        }
        Op::CallRef { .. } => {
            let func = by_reference(x)?;
            x.call(func, false)
        }
        Op::ReturnCallRef { .. } => {
            let func = by_reference(x)?;
            x.call(func, true)
        }
        Op::Throw { tag_index } => return Err(exception::throw(x, *tag_index)),
        Op::ThrowRef => return Err(exception::throw_ref(x)),
        _ => return Ok(None),
    }))
}

/// `br_table`; the last label is the default.
pub(crate) fn branch_table(x: &mut Exec<'_>, labels: &[u32]) -> Flow {
    let index: u32 = x.pop_as();
    let default = labels.len() - 1;
    x.branch(labels[default.min(index as usize)])
}

/// Enters the block whose operator stands at `place`.
fn enter(x: &mut Exec<'_>, place: &Place) {
    let block = place.block.expect("an opener");
    let frame = x.frame();
    let height = frame.stack.len() - block.params;
    frame.labels.push(Label { opener: frame.at, height });
}

fn go_to(x: &mut Exec<'_>, position: usize) -> Flow {
    x.frame().at = position;
    Flow::Jumped
}

fn direct(x: &mut Exec<'_>, index: u32) -> FuncId {
    x.instance().funcs[index as usize]
}

/// The function that a table's element refers to. All that can be wrong is found in this order.
fn through_table(x: &mut Exec<'_>, type_index: u32, table_index: u32) -> Result<FuncId, TrapKind> {
    let index = x.pop().index();
    let table = x.instance().tables[table_index as usize];
    let expected = x.instance().types[type_index as usize];
    let elements = &x.machine.tables[table.at()].elements;
    let element = usize::try_from(index).ok().and_then(|index| elements.get(index));
    match element {
        None => Err(TrapKind::UndefinedElement),
        Some(Value::FuncRef(None)) => Err(TrapKind::IndirectCallToNull),
        Some(Value::FuncRef(Some(func))) => match x.machine.funcs[func.at()].ty == expected {
            true => Ok(*func),
            false => Err(TrapKind::BadSignature),
        },
        Some(other) => panic!("{other:?} in a table of functions"),
    }
}

fn by_reference(x: &mut Exec<'_>) -> Result<FuncId, TrapKind> {
    match x.pop() {
        Value::FuncRef(func) => func.ok_or(TrapKind::NullReference),
        other => panic!("{other:?} is not a function"),
    }
}
