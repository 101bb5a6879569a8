//! Stores: what belongs to one cannot be used with another; they move between threads.

use crate::{instantiate, panic_of, text};
use stillframe::{
    Caller, Engine, ExternRef, Func, Global, GlobalType, Linker, Memory, MemoryType, Module,
    Mutability, Ref, Store, StoreContext, StoreContextMut, Table, TableType, Val, ValType,
};

const GUEST: &str = r#"
    (module
        (func (export "func") (param funcref) (result funcref) (local.get 0))
        (func (export "extern") (param externref) (result externref) (local.get 0)))
"#;

#[test]
fn objects_used_with_another_store_panic() {
    let (mut own, instance) = instantiate(GUEST);
    let func = Func::wrap(&mut own, || ());
    let typed = func.typed::<(), ()>(&own).unwrap();
    let memory = Memory::new(&mut own, MemoryType::new(1, None)).unwrap();
    let ty = TableType::new(ValType::FuncRef, 1, None);
    let table = Table::new(&mut own, ty, Ref::Func(None)).unwrap();
    let ty = GlobalType::new(ValType::I32, Mutability::Var);
    let global = Global::new(&mut own, ty, Val::I32(0)).unwrap();
    let object = ExternRef::new(&mut own, ()).unwrap();

    let mut other = Store::new(own.engine(), ());
    let store = &mut other;
    let panics = [
        panic_of(|| func.call(&mut *store, &[], &mut [])),
        panic_of(|| func.ty(&mut *store)),
        panic_of(|| typed.call(&mut *store, ())),
        panic_of(|| memory.data(&*store).len()),
        panic_of(|| memory.grow(&mut *store, 1)),
        panic_of(|| table.get(&mut *store, 0)),
        panic_of(|| table.set(&mut *store, 0, Ref::Func(None))),
        panic_of(|| global.get(&mut *store)),
        panic_of(|| global.set(&mut *store, Val::I32(1))),
        panic_of(|| object.data(&*store).is::<()>()),
        panic_of(|| instance.get_export(&mut *store, "func")),
        panic_of(|| instance.module(&*store)),
        panic_of(|| Linker::new(&store.engine().clone()).define(&*store, "", "", func).is_ok()),
    ];
    for panic in panics {
        assert!(panic.contains("used with another store than its own"), "{panic}");
    }
    // Nothing happened to either.
    typed.call(&mut own, ()).unwrap();
    assert_eq!(global.get(&mut own).unwrap_i32(), 0);
}

#[test]
fn values_of_another_store_are_errors() {
    let (mut store, instance) = instantiate(GUEST);
    let mut other = Store::new(store.engine(), ());
    let func = Func::wrap(&mut other, || ());
    let object = ExternRef::new(&mut other, ()).unwrap();
    let mut results = [Val::I32(0)];

    let f = instance.get_func(&mut store, "func").unwrap();
    let wrong = "argument 0: the reference is of another store";
    assert_eq!(text(f.call(&mut store, &[func.into()], &mut results)), wrong);
    let typed = f.typed::<Option<Func>, Option<Func>>(&store).unwrap();
    assert_eq!(text(typed.call(&mut store, Some(func))), wrong);
    let e = instance.get_func(&mut store, "extern").unwrap();
    assert_eq!(text(e.call(&mut store, &[object.into()], &mut results)), wrong);

    let wrong = "host function result 0: the reference is of another store";
    let host = Func::wrap(&mut store, move || Some(func));
    assert_eq!(text(host.call(&mut store, &[], &mut results)), wrong);
    let ty = host.ty(&store);
    let host = Func::new(&mut store, ty, move |_, _, results| {
        results[0] = func.into();
        Ok(())
    });
    assert_eq!(text(host.call(&mut store, &[], &mut results)), wrong);

    let ty = TableType::new(ValType::FuncRef, 1, None);
    assert!(text(Table::new(&mut store, ty, func.into())).contains("another store"));
    let ty = GlobalType::new(ValType::ExternRef, Mutability::Var);
    assert!(text(Global::new(&mut store, ty, object.into())).contains("another store"));
}

#[test]
fn a_store_moves_between_threads_and_a_call_can_be_made_on_each() {
    let engine = Engine::default();
    let wat = r#"(module (import "" "" (func $f (result i32)))
                         (func (export "run") (result i32) (call $f)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "", |mut caller: Caller<'_, i32>| {
            *caller.data_mut() += 1;
            *caller.data()
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    for expected in 1..4 {
        store = std::thread::spawn(move || {
            assert_eq!(run.call(&mut store, ()).unwrap(), expected);
            store
        })
        .join()
        .unwrap();
    }
    assert_eq!(store.into_data(), 3);
}

#[test]
fn a_host_function_can_call_wasm_on_another_thread() {
    let engine = Engine::default();
    let wat = r#"
        (module
            (import "" "" (func $f (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (call $f (local.get 0)))
            (func (export "divide") (param i32) (result i32)
                (i32.div_u (i32.const 100) (local.get 0))))
    "#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "", |mut caller: Caller<'_, ()>, x: i32| {
            let instance = caller.instance().unwrap();
            std::thread::scope(|scope| {
                let call = || {
                    let divide = instance.get_typed_func::<i32, i32>(&mut caller, "divide")?;
                    divide.call(&mut caller, x)
                };
                scope.spawn(call).join().unwrap()
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, 5).unwrap(), 20);
    let error = run.call(&mut store, 0).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&stillframe::Trap::IntegerDivisionByZero));
    assert_eq!(run.call(&mut store, 10).unwrap(), 10);
}

#[test]
fn stores_and_what_leads_to_them_are_send_and_sync_as_their_data_is() {
    fn send<T: Send>() {}
    fn sync<T: Sync>() {}
    use std::cell::Cell;
    // `Cell<u8>` is `Send` and not `Sync`; a mutex guard would be the opposite.
    send::<Store<Cell<u8>>>();
    send::<StoreContextMut<'_, Cell<u8>>>();
    send::<Caller<'_, Cell<u8>>>();
    sync::<Store<u8>>();
    send::<StoreContext<'_, u8>>();
    send::<Module>();
    sync::<Module>();
    send::<Engine>();
    sync::<Engine>();
    sync::<Linker<Cell<u8>>>();
    send::<stillframe::InstancePre<u8>>();
    send::<Func>();
    sync::<Func>();
    send::<stillframe::TypedFunc<(i32, i64), ()>>();
}

#[test]
fn the_data_of_a_dropped_store_is_dropped_once() {
    let data = std::sync::Arc::new(());
    let engine = Engine::default();
    drop(Store::new(&engine, data.clone()));
    assert_eq!(std::sync::Arc::strong_count(&data), 1);
    let back = Store::new(&engine, data.clone()).into_data();
    assert_eq!(std::sync::Arc::strong_count(&data), 2);
    drop(back);
    assert_eq!(std::sync::Arc::strong_count(&data), 1);
}

#[test]
fn the_runtime_limits_can_be_read_in_and_outside_of_a_call() {
    let engine = Engine::default();
    let wat = r#"(module (import "" "" (func $f)) (func (export "run") (call $f)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("", "", |mut caller: Caller<'_, Option<_>>| {
            *caller.data_mut() = Some(caller.runtime_limits());
        })
        .unwrap();
    let mut store = Store::new(&engine, None);
    let before = store.runtime_limits();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    run.call(&mut store, ()).unwrap();
    let inside = store.data().unwrap();
    assert!(inside.last_wasm_exit_pc != 0 && inside.last_wasm_exit_fp > inside.stack_limit);
    assert!(inside.last_wasm_entry_sp != 0 && inside.last_wasm_entry_sp != usize::MAX);
    let after = store.runtime_limits();
    assert_eq!((before.last_wasm_entry_sp, after.last_wasm_entry_sp), (0, 0));
    // Straight from the host there are no frames to follow.
    let straight = linker.get(&mut store, "", "").unwrap().into_func().unwrap();
    straight.call(&mut store, &[], &mut []).unwrap();
    assert_eq!(store.data().unwrap().last_wasm_entry_sp, usize::MAX);
}
