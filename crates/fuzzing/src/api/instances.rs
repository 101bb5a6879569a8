//! Instances of the guests, and the host functions that they import.

use super::calls::{Given, operate};
use super::data::{Data, Glob, Inst, MAX_OBJECTS, Mem, Tab, charge};
use super::looks;
use crate::threads;
use anyhow::{Context as _, Result, anyhow, ensure};
use std::panic::resume_unwind;
use stillframe::{
    AsContextMut, Caller, Extern, Func, FuncType, Instance, Linker, Mutability, Ref,
    StoreContextMut, Trap, Val, ValType,
};

type Context<'a> = StoreContextMut<'a, Data>;

/// A host function of the type that guests import.
fn new_host(store: &mut Context<'_>) -> Func {
    let token = store.data().token.clone();
    match store.data_mut().choices.one_in(2) {
        true => Func::wrap(store, move |caller: Caller<'_, Data>, x: i32| {
            let _held = &token;
            host(caller, x)
        }),
        false => {
            let ty = FuncType::new([ValType::I32], [ValType::I32]);
            Func::new(store, ty, move |caller: Caller<'_, Data>, params, results| {
                let _held = &token;
                results[0] = Val::I32(host(caller, params[0].unwrap_i32())?);
                Ok(())
            })
        }
    }
}

fn new_async_host(store: &mut Context<'_>) -> Func {
    let token = store.data().token.clone();
    Func::wrap_async(store, move |mut caller: Caller<'_, Data>, (x,): (i32,)| {
        let held = token.clone();
        Box::new(async move {
            let pauses = caller.data_mut().choices.below(3);
            for _ in 0..pauses {
                threads::hop().await;
                if let Err(error) = within(caller.as_context_mut()) {
                    caller.data_mut().failure.get_or_insert(error);
                }
            }
            drop(held);
            match caller.data_mut().choices.one_in(6) {
                true => Err(Given(x).into()),
                false => Ok(x + 1),
            }
        })
    })
}

/// Some operations in a host function.
fn within(mut store: Context<'_>) -> Result<()> {
    charge(&mut store)?;
    if store.data_mut().choices.one_in(3) {
        looks::hold(&mut store)?;
    }
    for _ in 0..store.data_mut().choices.below(3) {
        operate(store.as_context_mut())?;
    }
    match store.data_mut().choices.one_in(4) {
        true => looks::use_handles(&mut store),
        false => Ok(()),
    }
}

/// Does something, and returns one more than it was given.
fn host(mut caller: Caller<'_, Data>, x: i32) -> Result<i32> {
    if let Err(error) = within(caller.as_context_mut()) {
        caller.data_mut().failure.get_or_insert(error);
        return Err(anyhow!("a failure was found"));
    }
    let data = caller.data_mut();
    match data.choices.below(24) {
        0..=4 => Err(Given(x).into()),
        5 => resume_unwind(Box::new("on purpose")),
        _ => Ok(x + 1),
    }
}

/// An instance of one of the guests, by a linker or without.
pub(super) fn instantiate(mut store: Context<'_>) -> Result<()> {
    if store.data().insts.len() >= 12 {
        return Ok(());
    }
    if store.data().memories.is_empty() || store.data_mut().choices.one_in(4) {
        return own(store);
    }
    let data = store.data_mut();
    let (Some(memory), Some(table), Some(global)) =
        (data.any(data.memories.len()), data.any(data.tables.len()), data.any(data.globals.len()))
    else {
        return own(store);
    };
    let (m, t, g) = (&data.memories[memory], &data.tables[table], &data.globals[global]);
    let fits = !m.is_64
        && (!t.is_64 && t.element == ValType::FuncRef)
        && (g.ty == ValType::I64 && g.mutability == Mutability::Var);
    let objects: [Extern; 3] = [m.memory.into(), t.table.into(), g.global.into()];
    let (is_async, is_linked) = (data.choices.one_in(4), data.choices.one_in(3));
    let host = match is_async {
        true => new_async_host(&mut store),
        false => new_host(&mut store),
    };
    if !is_async {
        store.data_mut().hosts.push(host);
    }
    let module = store.data().user.clone();
    let imports = [objects[0], objects[1], objects[2], host.into()];
    let made = match is_linked {
        true => {
            let mut linker = Linker::new(store.engine());
            for (name, import) in ["m", "t", "g", "h"].iter().zip(imports) {
                linker.define(&store, "env", name, import)?;
            }
            ensure!(linker.define(&store, "env", "m", imports[0]).is_err(), "defined twice");
            ensure!(linker.alias("env", "nothing", "env", "x").is_err(), "nothing is defined");
            linker.alias_module("env", "other")?;
            ensure!(linker.get(&mut store, "other", "m") == Some(imports[0]), "an alias");
            linker.define_unknown_imports_as_traps(&module)?;
            match store.data_mut().choices.one_in(2) {
                true => linker.instantiate(&mut store, &module),
                false => linker.instantiate_pre(&module)?.instantiate(&mut store),
            }
        }
        false => Instance::new(&mut store, &module, &imports),
    };
    ensure!(made.is_ok() == fits, "an instance: {:?}", made.err());
    let Ok(instance) = made else { return Ok(()) };
    store.data_mut().seen.instances += 1;
    let inc = instance.get_func(&mut store, "inc").context("an export")?;
    let data = store.data_mut();
    data.incs.push(inc);
    data.insts.push(Inst { instance, memory, table, global, inc, is_async });
    Ok(())
}

/// An instance with objects of its own.
fn own(mut store: Context<'_>) -> Result<()> {
    if store.data().memories.len() >= 2 * MAX_OBJECTS {
        return Ok(());
    }
    let module = store.data().owner.clone();
    charge(&mut store)?;
    let made = Instance::new(&mut store, &module, &[]);
    charge(&mut store)?;
    let instance = match made {
        Ok(instance) => instance,
        // Its start function was one call too many.
        Err(error) if error.downcast_ref() == Some(&Trap::StackOverflow) => return Ok(()),
        Err(error) => return Err(error.context("an instance")),
    };
    store.data_mut().seen.instances += 1;
    let export = |store: &mut Context<'_>, name| {
        instance.get_export(&mut *store, name).with_context(|| format!("export {name}"))
    };
    let memory = export(&mut store, "m")?.into_memory().context("a memory")?;
    let table = export(&mut store, "t")?.into_table().context("a table")?;
    let global = export(&mut store, "g")?.into_global().context("a global")?;
    let inc = export(&mut store, "inc")?.into_func().context("a function")?;
    let mut memory = Mem::new(memory, 1, 9, false);
    for (address, byte) in [(0, 1), (1, 2), (2, 3)] {
        memory.set_byte(address, byte);
    }
    let mut elements = vec![Ref::Func(None); 4];
    elements[1] = Ref::Func(Some(inc));
    let data = store.data_mut();
    data.memories.push(memory);
    data.tables.push(Tab { table, element: ValType::FuncRef, elements, maximum: 50, is_64: false });
    data.globals.push(Glob {
        global,
        ty: ValType::I64,
        mutability: Mutability::Var,
        value: Val::I64(8),
    });
    data.incs.push(inc);
    Ok(())
}
