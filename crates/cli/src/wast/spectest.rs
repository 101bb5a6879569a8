//! The module `spectest`, which every script of the suite may import.

use super::context::Data;
use anyhow::Result;
use stillframe::{
    Global, GlobalType, Linker, Memory, MemoryType, Mutability, Ref, Store, Table, TableType, Val,
    ValType,
};

const MODULE: &str = "spectest";

/// Defines it. Its functions print nothing: what they were given is not what is tested.
pub(super) fn define(linker: &mut Linker<Data>, store: &mut Store<Data>) -> Result<()> {
    linker.func_wrap(MODULE, "print", || {})?;
    linker.func_wrap(MODULE, "print_i32", |_: i32| {})?;
    linker.func_wrap(MODULE, "print_i64", |_: i64| {})?;
    linker.func_wrap(MODULE, "print_f32", |_: f32| {})?;
    linker.func_wrap(MODULE, "print_f64", |_: f64| {})?;
    linker.func_wrap(MODULE, "print_i32_f32", |_: i32, _: f32| {})?;
    linker.func_wrap(MODULE, "print_f64_f64", |_: f64, _: f64| {})?;

    for (name, ty, value) in [
        ("global_i32", ValType::I32, Val::I32(666)),
        ("global_i64", ValType::I64, Val::I64(666)),
        ("global_f32", ValType::F32, Val::F32(666.6_f32.to_bits())),
        ("global_f64", ValType::F64, Val::F64(666.6_f64.to_bits())),
    ] {
        let global = Global::new(&mut *store, GlobalType::new(ty, Mutability::Const), value)?;
        linker.define(&mut *store, MODULE, name, global)?;
    }
    for (name, ty) in [
        ("table", TableType::new(ValType::FuncRef, 10, Some(20))),
        ("table64", TableType::new64(ValType::FuncRef, 10, Some(20))),
    ] {
        let table = Table::new(&mut *store, ty, Ref::Func(None))?;
        linker.define(&mut *store, MODULE, name, table)?;
    }
    let memory = Memory::new(&mut *store, MemoryType::new(1, Some(2)))?;
    linker.define(&mut *store, MODULE, "memory", memory)?;
    Ok(())
}
