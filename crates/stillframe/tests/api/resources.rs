//! Limits: what a guest may have, of memory, tables, instances and stack.

use crate::text;
use stillframe::{
    Config, Engine, Instance, Memory, MemoryType, Module, Ref, ResourceLimiter, Result, Store,
    StoreLimits, StoreLimitsBuilder, Table, TableType, Trap, ValType, bail,
};

const GROWS: &str = r#"
    (module
        (memory (export "memory") 1)
        (table (export "table") 1 funcref)
        (func (export "memory_grow") (param i32) (result i32) (memory.grow (local.get 0)))
        (func (export "table_grow") (param i32) (result i32)
            (table.grow (ref.null func) (local.get 0))))
"#;

fn limited<L: ResourceLimiter + 'static>(limiter: L) -> (Store<L>, Module) {
    let engine = Engine::default();
    let module = Module::new(&engine, GROWS).unwrap();
    let mut store = Store::new(&engine, limiter);
    store.limiter(|limiter| limiter);
    (store, module)
}

fn call<T>(store: &mut Store<T>, instance: Instance, name: &str, by: i32) -> Result<i32> {
    instance.get_typed_func::<i32, i32>(&mut *store, name)?.call(store, by)
}

#[test]
fn growth_above_the_limits_gives_minus_one() {
    let limits = StoreLimitsBuilder::new().memory_size(2 << 16).table_elements(5).build();
    let (mut store, module) = limited(limits);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(call(&mut store, instance, "memory_grow", 2).unwrap(), -1);
    assert_eq!(call(&mut store, instance, "memory_grow", 1).unwrap(), 1);
    assert_eq!(call(&mut store, instance, "memory_grow", 1).unwrap(), -1);
    assert_eq!(call(&mut store, instance, "table_grow", 5).unwrap(), -1);
    assert_eq!(call(&mut store, instance, "table_grow", 4).unwrap(), 1);
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    assert!(memory.grow(&mut store, 1).is_err());
    assert_eq!(memory.size(&store), 2);
}

#[test]
fn growth_above_the_limits_ends_the_call_if_told_so() {
    let limits = StoreLimitsBuilder::new().memory_size(1 << 16).trap_on_grow_failure(true);
    let (mut store, module) = limited(limits.build());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let error = text(call(&mut store, instance, "memory_grow", 1));
    assert!(
        error.contains("a linear memory may not grow to 131072: the limit is 65536"),
        "{error}"
    );
    assert_eq!(call(&mut store, instance, "memory_grow", 0).unwrap(), 1);
}

#[test]
fn instances_memories_and_tables_are_counted() {
    let (mut store, module) = limited(StoreLimitsBuilder::new().instances(1).build());
    Instance::new(&mut store, &module, &[]).unwrap();
    let error = text(Instance::new(&mut store, &module, &[]));
    assert_eq!(error, "the store's limit of 1 instances is reached");

    let (mut store, module) = limited(StoreLimitsBuilder::new().memories(1).tables(1).build());
    Instance::new(&mut store, &module, &[]).unwrap();
    let error = text(Memory::new(&mut store, MemoryType::new(1, None)));
    assert_eq!(error, "the store's limit of 1 memories is reached");
    let ty = TableType::new(ValType::FuncRef, 1, None);
    let error = text(Table::new(&mut store, ty, Ref::Func(None)));
    assert_eq!(error, "the store's limit of 1 tables is reached");
}

#[test]
fn what_a_module_starts_with_is_limited_too() {
    let (mut store, module) = limited(StoreLimitsBuilder::new().memory_size(65535).build());
    let error = text(Instance::new(&mut store, &module, &[]));
    assert_eq!(error, "the limiter refuses a memory of 65536 bytes");
}

#[test]
fn a_limiter_is_told_sizes_and_maxima_and_can_fail() {
    #[derive(Default)]
    struct Spy(Vec<(usize, usize, Option<usize>)>);
    impl ResourceLimiter for Spy {
        fn memory_growing(&mut self, from: usize, to: usize, max: Option<usize>) -> Result<bool> {
            self.0.push((from, to, max));
            if to > 3 << 16 {
                bail!("too much");
            }
            Ok(true)
        }

        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }
    }
    let (mut store, module) = limited(Spy::default());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    Memory::new(&mut store, MemoryType::new(2, Some(4))).unwrap();
    call(&mut store, instance, "memory_grow", 1).unwrap();
    assert_eq!(
        store.data().0,
        [(0, 1 << 16, None), (0, 2 << 16, Some(4 << 16)), (1 << 16, 2 << 16, None)]
    );
    let error = call(&mut store, instance, "memory_grow", 9).unwrap_err();
    assert_eq!(error.root_cause().to_string(), "too much");
}

#[test]
fn a_declared_maximum_holds_without_a_limiter() {
    let (mut store, module) = limited(StoreLimits::default());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    assert_eq!(call(&mut store, instance, "memory_grow", 65536).unwrap(), -1);
}

/// How deep a function of no frame of its own can call itself.
fn depth(config: &Config) -> i32 {
    let engine = Engine::new(config).unwrap();
    let wat = r#"
        (module
            (global $depth (export "depth") (mut i32) (i32.const 0))
            (func $down (export "down")
                (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
                (call $down)
                (global.set $depth (global.get $depth))))
    "#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let down = instance.get_typed_func::<(), ()>(&mut store, "down").unwrap();
    let error = down.call(&mut store, ()).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    let depth = instance.get_global(&mut store, "depth").unwrap();
    depth.get(&mut store).unwrap_i32()
}

#[test]
fn the_depth_of_wasm_follows_the_stack_size_that_is_set() {
    let small = depth(Config::new().max_wasm_stack(64 << 10));
    let large = depth(Config::new().max_wasm_stack(640 << 10));
    assert!(small > 100, "{small}");
    assert!((9 * small..11 * small).contains(&large), "{small} and {large}");
}

#[test]
fn stacks_go_back_to_the_pool_and_no_more_are_kept_than_told() {
    let engine = Engine::new(Config::new().pooled_stacks(1)).unwrap();
    let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
    let mut stores: Vec<_> = (0..3).map(|_| Store::new(&engine, ())).collect();
    for store in &mut stores {
        let instance = Instance::new(&mut *store, &module, &[]).unwrap();
        let f = instance.get_typed_func::<(), ()>(&mut *store, "f").unwrap();
        f.call(store, ()).unwrap();
    }
    drop(stores);
    assert_eq!(engine.free_stacks(), 1);
}

#[test]
fn nested_calls_are_limited_as_set() {
    let engine = Engine::new(Config::new().max_nested_calls(3)).unwrap();
    let wat = r#"(module (import "" "" (func $f)) (func (export "run") (call $f)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut linker = stillframe::Linker::new(&engine);
    let again = |mut caller: stillframe::Caller<'_, u32>| {
        *caller.data_mut() += 1;
        let run = caller.get_export("run").unwrap().into_func().unwrap();
        run.call(caller, &[], &mut [])
    };
    linker.func_wrap("", "", again).unwrap();
    let mut store = Store::new(&engine, 0);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    let error = run.call(&mut store, &[], &mut []).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    assert_eq!(*store.data(), 3);
}

#[test]
fn a_module_cannot_define_more_memories_or_tables_than_the_limit() {
    let engine = Engine::default();
    for (wat, fits) in [
        ("(module (memory 1))", true),
        ("(module (memory 1) (memory 1))", false),
        ("(module (table 1 funcref))", true),
        ("(module (table 1 funcref) (table 1 funcref))", false),
    ] {
        let limits = StoreLimitsBuilder::new().memories(1).tables(1).build();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits| limits);
        let module = Module::new(&engine, wat).unwrap();
        assert_eq!(Instance::new(&mut store, &module, &[]).is_ok(), fits, "{wat}");
    }
}
