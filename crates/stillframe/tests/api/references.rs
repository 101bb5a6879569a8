//! References: functions and objects of the host that go through wasm and come back.

use crate::instantiate;
use stillframe::{ExternRef, Func, Global, GlobalType, Mutability, Ref, Val, ValType};

const GUEST: &str = r#"
    (module
        (table (export "externs") 3 externref)
        (global (export "global") (mut externref) (ref.null extern))
        (elem declare func $fortytwo)
        (func (export "extern") (param externref) (result externref)
            (table.set (i32.const 1) (local.get 0))
            (global.set 0 (local.get 0))
            (table.get (i32.const 1)))
        (func (export "func") (param funcref) (result funcref) (local.get 0))
        (func (export "is_null") (param funcref externref) (result i32 i32)
            (ref.is_null (local.get 0)) (ref.is_null (local.get 1)))
        (func $fortytwo (result i32) (i32.const 42))
        (func (export "own") (result funcref) (ref.func $fortytwo)))
"#;

#[test]
fn an_object_of_the_host_comes_back_as_it_was() {
    let (mut store, instance) = instantiate(GUEST);
    let object = ExternRef::new(&mut store, String::from("object")).unwrap();
    let other = ExternRef::new(&mut store, 7_u64).unwrap();
    assert_ne!(object, other);
    type F = Option<ExternRef>;
    let through = instance.get_typed_func::<F, F>(&mut store, "extern").unwrap();
    assert_eq!(through.call(&mut store, None).unwrap(), None);
    let back = through.call(&mut store, Some(object)).unwrap().unwrap();
    assert_eq!(back, object);
    assert_eq!(back.data(&store).downcast_ref::<String>().unwrap(), "object");
    assert_eq!(other.data(&store).downcast_ref::<u64>(), Some(&7));

    let mut results = [Val::I32(0)];
    through.func().call(&mut store, &[other.into()], &mut results).unwrap();
    assert_eq!(results[0].unwrap_externref(), Some(other));
    let table = instance.get_table(&mut store, "externs").unwrap();
    assert_eq!(table.get(&mut store, 1), Some(Ref::Extern(Some(other))));
    assert_eq!(table.get(&mut store, 0), Some(Ref::Extern(None)));
    let global = instance.get_global(&mut store, "global").unwrap();
    assert_eq!(global.get(&mut store).unwrap_externref(), Some(other));
}

#[test]
fn functions_go_through_wasm_and_can_be_called_after() {
    let (mut store, instance) = instantiate(GUEST);
    type F = Option<Func>;
    let through = instance.get_typed_func::<F, F>(&mut store, "func").unwrap();
    let host = Func::wrap(&mut store, |x: i32| x + 1);
    assert_eq!(through.call(&mut store, None).unwrap(), None);
    let back = through.call(&mut store, Some(host)).unwrap().unwrap();
    assert_eq!(back, host);
    assert_eq!(back.typed::<i32, i32>(&store).unwrap().call(&mut store, 4).unwrap(), 5);
    let own = instance.get_typed_func::<(), F>(&mut store, "own").unwrap();
    let own = own.call(&mut store, ()).unwrap().unwrap();
    assert_eq!(own.typed::<(), i32>(&store).unwrap().call(&mut store, ()).unwrap(), 42);
    let mut results = [Val::I32(0)];
    through.func().call(&mut store, &[own.into()], &mut results).unwrap();
    assert_eq!(results[0].unwrap_funcref(), Some(own));
}

#[test]
fn null_is_null_to_the_guest() {
    let (mut store, instance) = instantiate(GUEST);
    type P = (Option<Func>, Option<ExternRef>);
    let is_null = instance.get_typed_func::<P, (i32, i32)>(&mut store, "is_null").unwrap();
    let object = ExternRef::new(&mut store, ()).unwrap();
    let func = is_null.func();
    assert_eq!(is_null.call(&mut store, (None, None)).unwrap(), (1, 1));
    assert_eq!(is_null.call(&mut store, (Some(func), None)).unwrap(), (0, 1));
    assert_eq!(is_null.call(&mut store, (None, Some(object))).unwrap(), (1, 0));
}

#[test]
fn host_functions_take_and_give_references() {
    let (mut store, _) = instantiate(GUEST);
    let object = ExternRef::new(&mut store, "x").unwrap();
    let swap = Func::wrap(&mut store, |f: Option<Func>, e: Option<ExternRef>| (e, f));
    assert_eq!(swap.ty(&store).to_string(), "(funcref externref) -> (externref funcref)");
    let mut results = [Val::I32(0), Val::I32(0)];
    swap.call(&mut store, &[swap.into(), object.into()], &mut results).unwrap();
    assert_eq!(results[0].unwrap_externref(), Some(object));
    assert_eq!(results[1].unwrap_funcref(), Some(swap));
}

#[test]
fn a_global_of_the_host_holds_a_function() {
    let (mut store, _) = instantiate(GUEST);
    let func = Func::wrap(&mut store, || ());
    let ty = GlobalType::new(ValType::FuncRef, Mutability::Var);
    let global = Global::new(&mut store, ty, func.into()).unwrap();
    assert_eq!(global.get(&mut store).unwrap_funcref(), Some(func));
    global.set(&mut store, Val::FuncRef(None)).unwrap();
    assert_eq!(global.get(&mut store).unwrap_funcref(), None);
}
