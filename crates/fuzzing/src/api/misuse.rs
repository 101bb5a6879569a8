//! What is refused: with an error that says so, or with a panic where that is documented.

use super::data::{Data, charge};
use crate::panics::expected;
use crate::resuming::{Resumed, resume};
use anyhow::{Context as _, Result, bail, ensure};
use stillframe::{
    AsContextMut, Extern, ExternRef, FrameError, Func, Instance, Linker, Mutability, Ref,
    ResumeRefused, Store, StoreContextMut, Table, Val,
};

type Context<'a> = StoreContextMut<'a, Data>;

/// Misuse within one store: errors, and nothing has happened.
pub(super) fn within(mut store: Context<'_>) -> Result<()> {
    let count = store.data().insts.len();
    let Some(index) = store.data_mut().any(count) else { return Ok(()) };
    let instance = store.data().insts[index].instance;
    let func = instance.get_func(&mut store, "ask").context("an export")?;
    let mut results = [Val::I32(0)];
    let mut none: [Val; 0] = [];
    let is_refused = match store.data_mut().choices.below(9) {
        0 => func.call(&mut store, &[], &mut results).is_err(),
        1 => func.call(&mut store, &[Val::I32(0), Val::I32(0)], &mut results).is_err(),
        2 => func.call(&mut store, &[Val::F32(0)], &mut results).is_err(),
        3 => func.call(&mut store, &[Val::I32(0)], &mut none).is_err(),
        4 => func.call_resumable(&mut store, &[Val::FuncRef(None)], &mut results).is_err(),
        5 => func.typed::<i64, i32>(&store).is_err() && func.typed::<i32, ()>(&store).is_err(),
        6 => {
            instance.get_func(&mut store, "m").is_none()
                && instance.get_memory(&mut store, "ask").is_none()
                && instance.get_typed_func::<(), ()>(&mut store, "nothing").is_err()
        }
        7 => {
            let imports: [Extern; 1] = [func.into()];
            let module = store.data().user.clone();
            Instance::new(&mut store, &module, &imports).is_err()
                && Linker::new(store.engine()).instantiate(&mut store, &module).is_err()
        }
        _ => {
            let mutability = Mutability::Const;
            let data = store.data();
            let found = data.globals.iter().find(|global| global.mutability == mutability);
            let Some((global, value)) = found.map(|it| (it.global, it.value)) else {
                return Ok(());
            };
            global.set(&mut store, value).is_err()
        }
    };
    ensure!(is_refused, "misuse was not refused");
    ensure!(charge(&mut store)? == 0, "misuse consumed fuel");
    store.data_mut().seen.misuses += 1;
    Ok(())
}

/// Objects of one store are used with another one.
pub(super) fn between(store: &mut Store<Data>, other: &mut Store<Data>) -> Result<()> {
    let what = store.data_mut().choices.below(7);
    let data = other.data();
    let func = data.hosts.first().or(data.incs.first()).copied();
    let object = data.objects.first().map(|(object, _)| *object);
    match what {
        0 => panics(store, func, |store, func| drop(func.ty(&*store))),
        1 => {
            let mut results = [Val::I32(0)];
            panics(store, func, |store, func| {
                drop(func.call(store, &[Val::I32(0)], &mut results));
            })
        }
        2 => {
            let memory = data.memories.first().map(|it| it.memory);
            panics(store, memory, |store, memory| {
                let _ = memory.grow(store, 1);
            })
        }
        3 => {
            let table = data.tables.first().map(|it| it.table);
            let own = store.data().tables.first().map(|it| it.table);
            panics(store, table.zip(own), |store, (table, own)| {
                let _ = Table::copy(store, &own, 0, &table, 0, 0);
            })
        }
        4 => {
            let inst = data.insts.first().map(|it| it.instance);
            panics(store, inst, |store, instance| {
                let _ = instance.get_export(store, "m");
            })
        }
        5 => {
            let module = store.data().user.clone();
            let imports = other.data().memories.first().map(|it| it.memory);
            panics(store, imports.zip(func), |store, (memory, func)| {
                let imports: [Extern; 4] = [memory.into(), memory.into(), func.into(), func.into()];
                drop(Instance::new(store, &module, &imports));
            })
        }
        _ => values(store, func, object),
    }
}

/// Something that must panic, and leave the store as it was.
fn panics<O>(
    store: &mut Store<Data>,
    object: Option<O>,
    what: impl FnOnce(&mut Store<Data>, O),
) -> Result<()> {
    let Some(object) = object else { return Ok(()) };
    let Err(text) = expected(|| what(&mut *store, object)) else {
        bail!("an object of another store was used");
    };
    ensure!(text.contains("another store than its own"), "it panicked: {text}");
    ensure!(charge(&mut store.as_context_mut())? == 0, "it consumed fuel");
    store.data_mut().seen.panics += 1;
    Ok(())
}

/// Values of another store are refused with errors.
fn values(store: &mut Store<Data>, func: Option<Func>, object: Option<ExternRef>) -> Result<()> {
    let (Some(func), Some(object)) = (func, object) else { return Ok(()) };
    if let Some(table) = store.data().tables.first() {
        let (table, len) = (table.table, table.elements.len() as u64);
        for value in [Ref::Func(Some(func)), Ref::Extern(Some(object))] {
            ensure!(table.set(&mut *store, 0, value).is_err(), "a table took another's value");
            ensure!(table.grow(&mut *store, 1, value).is_err(), "a table took another's value");
            ensure!(table.fill(&mut *store, 0, value, len).is_err(), "as above, many times");
        }
    }
    if let Some(global) = store.data().globals.first().map(|it| it.global) {
        for value in [Val::from(func), Val::from(object)] {
            ensure!(global.set(&mut *store, value).is_err(), "a global took another's value");
        }
    }
    if let Some(inst) = store.data().insts.first().copied() {
        let same = inst.instance.get_func(&mut *store, "same").context("an export")?;
        let mut results = [Val::I32(0)];
        let called = same.call(&mut *store, &[object.into()], &mut results);
        ensure!(called.is_err(), "a guest was given another store's object");
    }
    store.data_mut().seen.misuses += 1;
    Ok(())
}

/// Suspended calls of one store are used with another one.
pub(super) fn resumed_elsewhere(store: &mut Store<Data>, other: &mut Store<Data>) -> Result<()> {
    let count = store.data().kept.len();
    let Some(index) = store.data_mut().any(count) else { return Ok(()) };
    let mut kept = store.data_mut().kept.swap_remove(index);
    let frames = kept.call.frames(&*other).err();
    ensure!(frames == Some(FrameError::WrongStore), "its frames, with another store");
    if let Some(frame) = &kept.frame {
        ensure!(frame.func_index(&*other) == Err(FrameError::WrongStore), "a frame elsewhere");
        ensure!(frame.is_valid(&*store), "a frame of a suspended call");
    }
    kept.call = match resume(&mut *other, kept.call, &[Val::I32(0)], &mut [Val::I32(0)]) {
        Resumed::Refused(call, ResumeRefused::WrongStore) => call,
        Resumed::Refused(_, reason) => bail!("refused elsewhere with {reason}"),
        Resumed::Went(_) => bail!("it went on elsewhere"),
    };
    if let Some(frame) = &kept.frame {
        ensure!(frame.is_valid(&*store), "a frame of a call that was refused");
    }
    charge(&mut other.as_context_mut())?;
    store.data_mut().kept.push(kept);
    store.data_mut().seen.not_resumed += 1;
    Ok(())
}
