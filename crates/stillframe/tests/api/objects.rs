//! Memories, tables and globals.

use crate::{instantiate, text};
use stillframe::{
    Func, Global, GlobalType, Memory, MemoryType, Mutability, Ref, Table, TableType, Trap, V128,
    Val, ValType,
};

const GUEST: &str = r#"
    (module
        (memory (export "memory") 1 3)
        (table (export "table") 2 4 funcref)
        (global (export "mutable") (mut i64) (i64.const 5))
        (global (export "constant") f32 (f32.const 1.5))
        (global (export "vector") (mut v128) (v128.const i64x2 1 2))
        (type $get (func (result i32)))
        (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
        (func (export "store") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
        (func (export "pages") (result i32) (memory.size))
        (func (export "call") (param i32) (result i32)
            (call_indirect (type $get) (local.get 0)))
        (func (export "global") (result i64) (global.get 0)))
"#;

#[test]
fn host_and_guest_see_the_same_memory() {
    let (mut store, instance) = instantiate(GUEST);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let load = instance.get_typed_func::<u32, u32>(&mut store, "load").unwrap();
    let set = instance.get_typed_func::<(u32, u32), ()>(&mut store, "store").unwrap();
    memory.write(&mut store, 65535, &[9]).unwrap();
    assert_eq!(load.call(&mut store, 65535).unwrap(), 9);
    set.call(&mut store, (3, 200)).unwrap();
    assert_eq!(memory.data(&store)[3], 200);
    memory.data_mut(&mut store)[4] = 7;
    assert_eq!(load.call(&mut store, 4).unwrap(), 7);
    let mut bytes = [0; 2];
    memory.read(&store, 3, &mut bytes).unwrap();
    assert_eq!(bytes, [200, 7]);
    let (bytes, ()) = memory.data_and_store_mut(&mut store);
    assert_eq!(bytes.len(), 65536);
}

#[test]
fn memory_accesses_out_of_bounds_are_errors_without_effect() {
    let (mut store, instance) = instantiate(GUEST);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let error = memory.write(&mut store, 65535, &[1, 2]).unwrap_err();
    assert_eq!(error.to_string(), "2 bytes at 65535 are out of bounds of a memory of 65536 bytes");
    assert_eq!(memory.data(&store)[65535], 0);
    let mut bytes = [5; 4];
    assert!(memory.read(&store, usize::MAX, &mut bytes).is_err());
    assert!(memory.read(&store, 65533, &mut bytes).is_err());
    assert_eq!(bytes, [5; 4]);
    memory.read(&store, 65536, &mut []).unwrap();
}

#[test]
fn memories_grow_up_to_their_maximum_and_the_guest_sees_it() {
    let (mut store, instance) = instantiate(GUEST);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    let pages = instance.get_typed_func::<(), u32>(&mut store, "pages").unwrap();
    let load = instance.get_typed_func::<u32, u32>(&mut store, "load").unwrap();
    assert_eq!(memory.ty(&store), MemoryType::new(1, Some(3)));
    assert!(load.call(&mut store, 65536).is_err());
    assert_eq!(memory.grow(&mut store, 1).unwrap(), 1);
    assert_eq!(load.call(&mut store, 65536).unwrap(), 0);
    assert_eq!((memory.size(&store), memory.data_size(&store)), (2, 2 << 16));
    assert_eq!(pages.call(&mut store, ()).unwrap(), 2);
    let error = text(memory.grow(&mut store, 2));
    assert_eq!(error, "a memory of 2 pages cannot grow by 2 pages");
    assert!(memory.grow(&mut store, u64::MAX).is_err());
    assert_eq!(memory.ty(&store), MemoryType::new(2, Some(3)));
}

#[test]
fn a_64_bit_memory_of_the_host_grows() {
    let (mut store, _) = instantiate("(module)");
    let memory = Memory::new(&mut store, MemoryType::new64(0, Some(2))).unwrap();
    assert_eq!(memory.grow(&mut store, 2).unwrap(), 0);
    memory.write(&mut store, 100_000, b"x").unwrap();
    assert_eq!(memory.ty(&store), MemoryType::new64(2, Some(2)));
    assert!(memory.grow(&mut store, 1).is_err());
}

#[test]
fn host_and_guest_see_the_same_table() {
    let (mut store, instance) = instantiate(GUEST);
    let table = instance.get_table(&mut store, "table").unwrap();
    let call = instance.get_typed_func::<u32, u32>(&mut store, "call").unwrap();
    let error = call.call(&mut store, 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IndirectCallToNull));
    let func = Func::wrap(&mut store, || 42);
    table.set(&mut store, 0, func.into()).unwrap();
    assert_eq!(call.call(&mut store, 0).unwrap(), 42);
    assert_eq!(table.get(&mut store, 0), Some(Ref::Func(Some(func))));
    assert_eq!(table.get(&mut store, 1), Some(Ref::Func(None)));

    assert_eq!(table.grow(&mut store, 2, func.into()).unwrap(), 2);
    assert_eq!(call.call(&mut store, 3).unwrap(), 42);
    assert_eq!(table.ty(&store), TableType::new(ValType::FuncRef, 4, Some(4)));
    let error = text(table.grow(&mut store, 1, Ref::Func(None)));
    assert_eq!(error, "a table of 4 elements cannot grow by 1");

    table.fill(&mut store, 2, Ref::Func(None), 2).unwrap();
    assert!(table.get(&mut store, 3).unwrap().is_null());
    let error = table.fill(&mut store, 3, Ref::Func(None), 2).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::TableOutOfBounds));
    Table::copy(&mut store, &table, 1, &table, 0, 3).unwrap();
    assert_eq!(table.get(&mut store, 1), Some(Ref::Func(Some(func))));
    let error = Table::copy(&mut store, &table, 2, &table, 0, 3).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::TableOutOfBounds));
}

#[test]
fn a_table_takes_elements_of_its_type_only() {
    let (mut store, instance) = instantiate(GUEST);
    let table = instance.get_table(&mut store, "table").unwrap();
    let error = text(table.set(&mut store, 0, Ref::Extern(None)));
    assert_eq!(error, "the table's element: expected `funcref`, found `externref`");
    let error = text(table.set(&mut store, 9, Ref::Func(None)));
    assert_eq!(error, "element 9 is out of bounds of a table of 2");
    let externs = TableType::new(ValType::ExternRef, 1, None);
    assert!(Table::new(&mut store, externs, Ref::Func(None)).is_err());
    let externs = Table::new(&mut store, externs, Ref::Extern(None)).unwrap();
    assert!(text(Table::copy(&mut store, &externs, 0, &table, 0, 1)).contains("cannot be copied"));
    let numbers = TableType::new(ValType::I32, 1, None);
    let error = text(Table::new(&mut store, numbers, Ref::Func(None)));
    assert_eq!(error, "tables hold references, not `i32`");
}

#[test]
fn host_and_guest_see_the_same_globals() {
    let (mut store, instance) = instantiate(GUEST);
    let mutable = instance.get_global(&mut store, "mutable").unwrap();
    assert_eq!(mutable.ty(&store), GlobalType::new(ValType::I64, Mutability::Var));
    assert_eq!(mutable.get(&mut store).unwrap_i64(), 5);
    mutable.set(&mut store, Val::I64(-6)).unwrap();
    let global = instance.get_typed_func::<(), i64>(&mut store, "global").unwrap();
    assert_eq!(global.call(&mut store, ()).unwrap(), -6);
    let vector = instance.get_global(&mut store, "vector").unwrap();
    assert_eq!(vector.get(&mut store).unwrap_v128(), V128::from((2_u128 << 64) | 1));
    vector.set(&mut store, V128::from(u128::MAX).into()).unwrap();
    assert_eq!(vector.get(&mut store).unwrap_v128().as_u128(), u128::MAX);

    let constant = instance.get_global(&mut store, "constant").unwrap();
    assert_eq!(constant.get(&mut store).unwrap_f32(), 1.5);
    assert_eq!(text(constant.set(&mut store, 2.5_f32.into())), "the global is immutable");
    let error = text(mutable.set(&mut store, Val::I32(1)));
    assert_eq!(error, "the global's value: expected `i64`, found `i32`");
    let ty = GlobalType::new(ValType::F64, Mutability::Const);
    assert!(Global::new(&mut store, ty, Val::I32(1)).is_err());
    let global = Global::new(&mut store, ty, 2.5_f64.into()).unwrap();
    assert_eq!(global.get(&mut store).unwrap_f64(), 2.5);
}
