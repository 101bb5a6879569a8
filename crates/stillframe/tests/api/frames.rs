//! Frames where the code generator could take a store for dead, and at the end of the stack.

use stillframe::{
    Caller, Config, Engine, FrozenTrace, Instance, Linker, Module, OptLevel, Result, Store, Trap,
    Val,
};

/// On one way the host is called and a loop without end follows; on the other the local is written
/// again and stored. Both ways leave by an error, before the loop.
const STORED_TWICE: &str = r#"(module
    (import "host" "nop" (func $nop)) (import "host" "look" (func $look))
    (func $run (export "run") (param i32 TYPE)
        (block $out (loop $again
            (br_if $out (local.get 0))
            (call $look)
            (loop (drop (local.get 1)) (br 0))))
        (local.set 1 (ANOTHER)) (call $nop) (drop (local.get 1)))
    (func $fill (param i64 i64 i64 i64 i64 i64)
        (call $nop)
        (drop (local.get 0)) (drop (local.get 1)) (drop (local.get 2))
        (drop (local.get 3)) (drop (local.get 4)) (drop (local.get 5)))
    (func (export "outer") (param i32 TYPE)
        (call $fill (i64.const 7) (i64.const 7) (i64.const 7) (i64.const 7) (i64.const 7) (i64.const 7))
        (call $run (local.get 0) (local.get 1))))"#;

/// What a host function sees of local 1 of the frame that calls it.
fn seen(wat: &str, argument: Val) -> Option<Val> {
    let engine = Engine::default();
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "nop", || {}).unwrap();
    linker
        .func_wrap("host", "look", |mut caller: Caller<'_, Option<Val>>| -> Result<()> {
            let frame = caller.frames().next().unwrap();
            *caller.data_mut() = Some(frame.local(&caller, 1)?);
            Err(std::io::Error::other("enough").into())
        })
        .unwrap();
    let mut store = Store::new(&engine, None);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let outer = instance.get_func(&mut store, "outer").unwrap();
    outer.call(&mut store, &[Val::I32(0), argument], &mut []).unwrap_err();
    *store.data()
}

#[test]
fn a_store_that_only_a_call_before_an_endless_loop_sees_is_not_dead() {
    let wat = STORED_TWICE.replace("TYPE", "i64").replace("ANOTHER", "i64.const 9");
    assert!(matches!(seen(&wat, Val::I64(111)), Some(Val::I64(111))));
    let wat = STORED_TWICE.replace("TYPE", "funcref").replace("ANOTHER", "ref.null func");
    assert!(matches!(seen(&wat, Val::FuncRef(None)), Some(Val::FuncRef(None))));
}

#[test]
fn a_global_and_a_table_are_what_was_set_when_a_call_before_an_endless_loop_reads_them() {
    let wat = r#"(module
        (global $g (mut i32) (i32.const 0)) (global $seen (mut i32) (i32.const -1))
        (table $t 1 funcref) (elem declare func $f)
        (func $f
            (global.set $seen (i32.add (global.get $g) (ref.is_null (table.get $t (i32.const 0)))))
            (unreachable))
        (func $run (param i32)
            (global.set $g (i32.const 10))
            (table.set $t (i32.const 0) (ref.func $f))
            (if (local.get 0) (then (call $f) (loop (br 0))))
            (global.set $g (i32.const 20))
            (table.set $t (i32.const 0) (ref.null func)))
        (func (export "run") (param i32) (call $run (local.get 0)))
        (func (export "seen") (result i32) (global.get $seen)))"#;
    for level in [OptLevel::None, OptLevel::Speed] {
        let engine = Engine::new(Config::new().cranelift_opt_level(level)).unwrap();
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_typed_func::<i32, ()>(&mut store, "run").unwrap();
        run.call(&mut store, 1).unwrap_err();
        let seen = instance.get_typed_func::<(), i32>(&mut store, "seen").unwrap();
        assert_eq!(seen.call(&mut store, ()).unwrap(), 10, "{level:?}");
    }
}

#[test]
fn a_function_that_overflows_the_stack_has_its_instance_whatever_its_results() {
    for results in [0, 1, 12] {
        let types = "i64 ".repeat(results);
        let wat = format!(
            r#"(module (func $f (export "run") (param i64) (result {types})
                (call $f (local.get 0))))"#
        );
        let engine = Engine::default();
        let module = Module::new(&engine, wat).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let run = instance.get_func(&mut store, "run").unwrap();
        let mut values = vec![Val::I64(0); results];
        let error = run.call(&mut store, &[Val::I64(1)], &mut values).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
        let trace = FrozenTrace::of(&error).unwrap();
        assert_eq!(trace.frames()[0].instance(), Some(instance), "{results} results");
    }
}
