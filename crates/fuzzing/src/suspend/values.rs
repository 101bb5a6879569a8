//! Arguments and answers, and values as text.

use super::guest::choices_of;
use super::host::Host;
use stillframe::{AsContext, AsContextMut, ExternRef, Func, StoreContextMut, Val, ValType};

/// The value of this number: the same in all runs.
pub(super) fn value(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    number: u64,
    ty: ValType,
) -> Val {
    let mut choices = choices_of(store.data().seed ^ number);
    let (bits, small) = (choices.number(), !choices.one_in(4));
    let float = (bits >> 8) as i32;
    match ty {
        ValType::I32 if small => Val::I32((bits >> 8) as i32 & 63),
        ValType::I32 => Val::I32(bits as i32),
        ValType::I64 if small => Val::I64((bits >> 8) as i64 & 63),
        ValType::I64 => Val::I64(bits as i64),
        ValType::F32 => Val::F32((float as f32 / 4.0).to_bits()),
        ValType::F64 => Val::F64((f64::from(float) / 4.0).to_bits()),
        ValType::V128 => Val::from(u128::from(bits) << 64 | u128::from(!bits)),
        ValType::FuncRef => {
            let lane = &store.data().lanes[lane];
            let known: Vec<Func> =
                lane.hosts.iter().copied().chain(lane.funcs.iter().map(|(_, f)| *f)).collect();
            // Before there is an instance, its functions are not known; null then, in all runs.
            let chosen = lane.instance.is_some() && small && !known.is_empty();
            Val::FuncRef(chosen.then(|| known[(bits >> 8) as usize % known.len()]))
        }
        ValType::ExternRef if small => {
            let object = ExternRef::new(store.as_context_mut(), bits >> 8);
            Val::ExternRef(Some(object.expect("an object")))
        }
        ValType::ExternRef => Val::ExternRef(None),
        ValType::ExnRef => Val::ExnRef(None),
    }
}

/// Values of these types.
pub(super) fn values(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    number: u64,
    types: &[ValType],
) -> Vec<Val> {
    let numbers = (0..).map(|i| number << 8 | i);
    numbers.zip(types).map(|(number, ty)| value(store, lane, number, *ty)).collect()
}

/// A value as text, which is the same in all runs if the values are.
pub(super) fn show(store: &impl AsContext<Data = Host>, lane: usize, value: &Val) -> String {
    let store = store.as_context();
    let of_lane = &store.data().lanes[lane];
    match value {
        Val::FuncRef(Some(func)) => match func.definition(store) {
            Some((instance, index)) if of_lane.instance.is_none_or(|own| own == instance) => {
                format!("function {index}")
            }
            Some(_) => "a function of another instance".into(),
            None => format!("{:?}", of_lane.hosts.iter().position(|host| host == func)),
        },
        Val::ExternRef(Some(object)) => {
            format!("object {:?}", object.data(store).downcast_ref::<u64>())
        }
        Val::ExnRef(exception) => format!("exception {}", exception.is_some()),
        other => format!("{other:?}"),
    }
}

/// Values as text.
pub(super) fn show_all(
    store: &impl AsContext<Data = Host>,
    lane: usize,
    values: &[Val],
) -> Vec<String> {
    values.iter().map(|value| show(store, lane, value)).collect()
}
