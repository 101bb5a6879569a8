//! Throwing and catching.

use crate::activation::{Exec, Exit, Flow};
use crate::function::Code;
use crate::machine::ExnId;
use crate::trap::TrapKind;
use crate::value::Value;
use wasmparser::{Catch, Operator};

/// `throw`
pub(crate) fn throw(x: &mut Exec<'_>, tag_index: u32) -> Exit {
    let tag = x.instance().tags[tag_index as usize];
    let ty = x.machine.tags[tag.at()];
    let values = x.pop_many(x.machine.types[ty as usize].params.len());
    Exit::Throw(x.machine.new_exception(tag, values))
}

/// `throw_ref`
pub(crate) fn throw_ref(x: &mut Exec<'_>) -> Exit {
    match x.pop() {
        Value::ExnRef(Some(exn)) => Exit::Throw(exn),
        Value::ExnRef(None) => Exit::Trap(TrapKind::NullReference),
        other => panic!("{other:?} is not an exception"),
    }
}

/// Where an exception is caught.
struct Handler {
    frame: usize,
    label: usize,
    catch: Catch,
}

/// Goes on in the handler of an exception that the innermost frame throws. If there is none, nothing
/// changes.
pub(crate) fn catch(x: &mut Exec<'_>, exn: ExnId) -> Option<Flow> {
    let Handler { frame, label, catch } = find(x, exn)?;
    x.frames.truncate(frame + 1);
    let frame = x.frame();
    // Out of the try_table: its clauses' labels count from there.
    frame.stack.truncate(frame.labels[label].height);
    frame.labels.truncate(label);
    let (with_values, with_ref, depth) = match catch {
        Catch::One { label, .. } => (true, false, label),
        Catch::OneRef { label, .. } => (true, true, label),
        Catch::All { label } => (false, false, label),
        Catch::AllRef { label } => (false, true, label),
    };
    if with_values {
        let values = x.machine.exceptions[exn.at()].values.clone();
        x.frame().stack.extend(values);
    }
    if with_ref {
        x.push(Value::ExnRef(Some(exn)));
    }
    Some(x.branch(depth))
}

/// The innermost clause that catches an exception.
fn find(x: &Exec<'_>, exn: ExnId) -> Option<Handler> {
    let thrown = x.machine.exceptions[exn.at()].tag;
    for (frame, of) in x.frames.iter().enumerate().rev() {
        let tags = &x.machine.instances[of.instance.at()].tags;
        for (label, entered) in of.labels.iter().enumerate().rev() {
            let opener = &of.function().ops[entered.opener];
            let Code::Plain(Operator::TryTable { try_table }) = &opener.code else { continue };
            for &catch in &try_table.catches {
                let catches = match catch {
                    Catch::One { tag, .. } | Catch::OneRef { tag, .. } => {
                        tags[tag as usize] == thrown
                    }
                    Catch::All { .. } | Catch::AllRef { .. } => true,
                };
                if catches {
                    return Some(Handler { frame, label, catch });
                }
            }
        }
    }
    None
}
