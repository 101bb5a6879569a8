//! Memories, tables and globals, with edge values.

use super::data::{Data, Glob, MAX_ELEMENTS, MAX_OBJECTS, MAX_PAGES, Mem, Tab, same};
use super::guests::ADDRESSES;
use crate::Choices;
use anyhow::{Context as _, Result, ensure};
use stillframe::{
    AsContextMut, ExternRef, Global, GlobalType, Memory, MemoryType, Mutability, Ref,
    StoreContextMut, Table, TableType, Trap, Val, ValType,
};

type Context<'a> = StoreContextMut<'a, Data>;

const TYPES: [ValType; 8] = [
    ValType::I32,
    ValType::I64,
    ValType::F32,
    ValType::F64,
    ValType::V128,
    ValType::FuncRef,
    ValType::ExternRef,
    ValType::ExnRef,
];

/// Counts whether something was done, which must be as expected.
fn count<T>(store: &mut Context<'_>, what: &str, done: &Result<T>, expected: bool) -> Result<()> {
    let is = done.is_ok();
    let error = done.as_ref().err();
    ensure!(is == expected, "{what}: that it is done is {is}: {error:?}");
    let seen = &mut store.data_mut().seen;
    *(if is { &mut seen.done } else { &mut seen.refused }) += 1;
    Ok(())
}

/// An edge value.
fn edge(choices: &mut Choices<'_>) -> u64 {
    choices.pick(&[0, 1, 2, 3, 16, 100, 1 << 16, 1 << 32, 1 << 48, u64::MAX - 1, u64::MAX])
}

pub(super) fn memory(mut store: Context<'_>) -> Result<()> {
    let count_of = store.data().memories.len();
    let what = store.data_mut().choices.below(6);
    let Some(index) = store.data_mut().any(count_of).filter(|_| what > 0) else {
        return new_memory(store);
    };
    let Mem { memory, pages, is_64, .. } = store.data().memories[index];
    let size = (pages << 16) as usize;
    ensure!(memory.size(&store) == pages, "{} pages instead of {pages}", memory.size(&store));
    ensure!(memory.data_size(&store) == size && memory.data(&store).len() == size, "its bytes");
    let ty = memory.ty(&store);
    ensure!(ty.minimum() == pages && ty.is_64() == is_64, "{ty:?}");
    match what {
        1 => {
            let delta = edge(&mut store.data_mut().choices);
            let grown = memory.grow(&mut store, delta);
            let expected = store.data().memories[index].can_grow(delta);
            count(&mut store, "growing a memory", &grown, expected)?;
            if let Ok(before) = grown {
                ensure!(before == pages, "it had {before} pages instead of {pages}");
                store.data_mut().memories[index].pages += delta;
            }
        }
        2 | 3 => {
            let choices = &mut store.data_mut().choices;
            let (address, byte) = (u64::from(choices.pick(&ADDRESSES)), choices.below(256) as u8);
            let written = memory.write(&mut store, address as usize, &[byte]);
            let is_there = (address as usize) < size;
            count(&mut store, "writing", &written.map_err(Into::into), is_there)?;
            if is_there {
                store.data_mut().memories[index].set_byte(address, byte);
            }
        }
        4 => {
            let offset = edge(&mut store.data_mut().choices) as usize;
            let mut buffer = [0; 3];
            let read = memory.read(&store, offset, &mut buffer);
            let fits = offset.checked_add(3).is_some_and(|end| end <= size);
            count(&mut store, "reading", &read.map_err(Into::into), fits)?;
        }
        _ => {
            for address in ADDRESSES.map(u64::from) {
                let found = memory.data(&store).get(address as usize).copied();
                let model = &store.data().memories[index];
                let expected = (address < model.pages << 16).then(|| model.byte(address));
                ensure!(found == expected, "{found:?} at {address} instead of {expected:?}");
            }
            let (bytes, data) = memory.data_and_store_mut(&mut store);
            ensure!(bytes.len() == size && data.left < u32::MAX, "both at once");
        }
    }
    Ok(())
}

fn new_memory(mut store: Context<'_>) -> Result<()> {
    if store.data().memories.len() >= MAX_OBJECTS {
        return Ok(());
    }
    let choices = &mut store.data_mut().choices;
    let minimum = choices.pick(&[0, 1, 2, 17, 18, 65_536]);
    let maximum = choices.pick(&[None, Some(minimum), Some(minimum + 3), Some(65_536)]);
    let is_64 = choices.one_in(4);
    let ty = match is_64 {
        true => MemoryType::new64(minimum.into(), maximum.map(u64::from)),
        false => MemoryType::new(minimum, maximum),
    };
    let made = Memory::new(&mut store, ty);
    let maximum = maximum.map_or(u64::MAX, u64::from).min(1 << 48);
    let fits = u64::from(minimum) <= MAX_PAGES && (is_64 || maximum <= 65_536 || maximum > 1 << 40);
    count(&mut store, "a new memory", &made, fits)?;
    if let Ok(memory) = made {
        store.data_mut().memories.push(Mem::new(memory, minimum.into(), maximum, is_64));
    }
    Ok(())
}

/// Any reference of this type.
fn reference(store: &mut Context<'_>, ty: ValType) -> Result<Ref> {
    let data = store.data_mut();
    Ok(match ty {
        ValType::FuncRef => {
            let known: Vec<_> = data.hosts.iter().chain(&data.incs).copied().collect();
            Ref::Func(data.any(known.len()).map(|i| known[i]))
        }
        ValType::ExternRef => Ref::Extern(object(store)?),
        _ => Ref::Exn(None),
    })
}

/// Any object of the host's, or null.
fn object(store: &mut Context<'_>) -> Result<Option<ExternRef>> {
    let data = store.data_mut();
    match data.choices.below(3) {
        0 => Ok(None),
        1 if data.objects.len() < 50 => {
            let (number, token) = (data.choices.number(), data.token.clone());
            let object = ExternRef::new(store.as_context_mut(), (number, token))?;
            store.data_mut().objects.push((object, number));
            Ok(Some(object))
        }
        _ => {
            let Some(index) = data.any(data.objects.len()) else { return Ok(None) };
            let (object, number) = data.objects[index];
            let found = object.data(&*store).downcast_ref::<(u64, std::sync::Arc<()>)>();
            let found = found.context("an object of another type")?.0;
            ensure!(found == number, "object {found} instead of {number}");
            Ok(Some(object))
        }
    }
}

pub(super) fn table(mut store: Context<'_>) -> Result<()> {
    let count_of = store.data().tables.len();
    let what = store.data_mut().choices.below(7);
    let Some(index) = store.data_mut().any(count_of).filter(|_| what > 0) else {
        return new_table(store);
    };
    let model = &store.data().tables[index];
    let (table, element, len) = (model.table, model.element, model.elements.len() as u64);
    ensure!(table.size(&store) == len, "{} elements instead of {len}", table.size(&store));
    let ty = table.ty(&store);
    ensure!(ty.minimum() == len && ty.is_64() == model.is_64 && ty.element() == element, "{ty:?}");
    let is_wrong = store.data_mut().choices.one_in(6);
    let value_ty = match (is_wrong, element) {
        (false, _) => element,
        (true, ValType::FuncRef) => ValType::ExternRef,
        (true, _) => ValType::FuncRef,
    };
    let value = reference(&mut store, value_ty)?;
    let (at, many) = {
        let choices = &mut store.data_mut().choices;
        (edge(choices), edge(choices))
    };
    let has = store.data().tables[index].has(at, 1);
    match what {
        1 => {
            let found = table.get(&mut store, at);
            let expected = has.then(|| store.data().tables[index].elements[at as usize]);
            ensure!(found == expected, "element {at} is {found:?} instead of {expected:?}");
        }
        2 => {
            let set = table.set(&mut store, at, value);
            count(&mut store, "setting an element", &set, has && !is_wrong)?;
            if set.is_ok() {
                store.data_mut().tables[index].elements[at as usize] = value;
            }
        }
        3 => {
            let grown = table.grow(&mut store, many, value);
            let fits = store.data().tables[index].can_grow(many);
            count(&mut store, "growing a table", &grown, fits && !is_wrong)?;
            if let Ok(before) = grown {
                ensure!(before == len, "it had {before} elements instead of {len}");
                let elements = &mut store.data_mut().tables[index].elements;
                elements.resize(elements.len() + many as usize, value);
            }
        }
        4 => {
            let filled = table.fill(&mut store, at, value, many);
            let fits = store.data().tables[index].has(at, many);
            count(&mut store, "filling a table", &filled, fits && !is_wrong)?;
            match filled {
                Ok(()) => store.data_mut().tables[index].elements[at as usize..][..many as usize]
                    .fill(value),
                Err(error) => ensure!(is_wrong || is_out_of_bounds(&error), "{error:?}"),
            }
        }
        5 => {
            let other = store.data_mut().choices.below(count_of);
            let from = edge(&mut store.data_mut().choices);
            let source = &store.data().tables[other];
            let (source_table, fits) = (source.table, source.has(from, many));
            let is_same_type = source.element == element;
            let copied = Table::copy(&mut store, &table, at, &source_table, from, many);
            let fits = fits && store.data().tables[index].has(at, many);
            count(&mut store, "copying elements", &copied, fits && is_same_type)?;
            if copied.is_ok() {
                let tables = &mut store.data_mut().tables;
                let elements = tables[other].elements[from as usize..][..many as usize].to_vec();
                tables[index].elements[at as usize..][..many as usize].copy_from_slice(&elements);
            }
        }
        _ => {
            for at in 0..len {
                let found = table.get(&mut store, at);
                let expected = store.data().tables[index].elements[at as usize];
                ensure!(found == Some(expected), "element {at}: {found:?}, not {expected:?}");
            }
        }
    }
    Ok(())
}

fn is_out_of_bounds(error: &anyhow::Error) -> bool {
    error.downcast_ref() == Some(&Trap::TableOutOfBounds)
}

fn new_table(mut store: Context<'_>) -> Result<()> {
    if store.data().tables.len() >= MAX_OBJECTS {
        return Ok(());
    }
    let element = store.data_mut().choices.pick(&TYPES[4..]);
    let given = store.data_mut().choices.pick(&[element, element, element, ValType::FuncRef]);
    let value = reference(&mut store, given)?;
    let choices = &mut store.data_mut().choices;
    let minimum: u32 = choices.pick(&[0, 1, 4, 120, 121, u32::MAX]);
    let maximum = choices.pick(&[None, Some(minimum), Some(u32::MAX)]);
    let is_64 = choices.one_in(4);
    let ty = match is_64 {
        true => TableType::new64(element, minimum.into(), maximum.map(u64::from)),
        false => TableType::new(element, minimum, maximum),
    };
    let made = Table::new(&mut store, ty, value);
    let fits = u64::from(minimum) <= MAX_ELEMENTS && value.ty() == element;
    count(&mut store, "a new table", &made, fits)?;
    if let Ok(table) = made {
        let maximum = maximum.map_or(u64::MAX, u64::from);
        let elements = vec![value; minimum as usize];
        store.data_mut().tables.push(Tab { table, element, elements, maximum, is_64 });
    }
    Ok(())
}

/// Any value of a type.
pub(super) fn value(store: &mut Context<'_>, ty: ValType) -> Result<Val> {
    let bits = store.data_mut().choices.number();
    let edge = store.data_mut().choices.pick(&[0, 1, u64::MAX, 1 << 63, bits]);
    Ok(match ty {
        ValType::I32 => Val::I32(edge as i32),
        ValType::I64 => Val::I64(edge as i64),
        ValType::F32 => Val::F32(edge as u32),
        ValType::F64 => Val::F64(edge),
        ValType::V128 => Val::from(u128::from(edge) << 64 | u128::from(bits)),
        _ => reference(store, ty)?.into(),
    })
}

pub(super) fn global(mut store: Context<'_>) -> Result<()> {
    let count_of = store.data().globals.len();
    let what = store.data_mut().choices.below(3);
    let given = store.data_mut().choices.pick(&TYPES);
    let value = value(&mut store, given)?;
    let Some(index) = store.data_mut().any(count_of).filter(|_| what > 0) else {
        if count_of >= MAX_OBJECTS {
            return Ok(());
        }
        let choices = &mut store.data_mut().choices;
        let ty = choices.pick(&[given, given, ValType::I64]);
        let mutability = choices.pick(&[Mutability::Var, Mutability::Const]);
        let made = Global::new(&mut store, GlobalType::new(ty, mutability), value);
        count(&mut store, "a new global", &made, ty == given)?;
        if let Ok(global) = made {
            store.data_mut().globals.push(Glob { global, ty, mutability, value });
        }
        return Ok(());
    };
    let Glob { global, ty, mutability, value: now } = store.data().globals[index];
    let found = global.get(&mut store);
    ensure!(same(&[found], &[now]), "a global is {found:?} instead of {now:?}");
    ensure!(global.ty(&store).content() == ty, "its type");
    let set = global.set(&mut store, value);
    count(&mut store, "setting a global", &set, given == ty && mutability == Mutability::Var)?;
    if set.is_ok() {
        store.data_mut().globals[index].value = value;
    }
    Ok(())
}
