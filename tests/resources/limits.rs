//! Limits of stores: each refuses with the error that it promises, and afterwards the store works as
//! before, and nothing is left of what was refused.

use super::system::Usage;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use stillframe::{
    AsContextMut, Caller, Config, Engine, Extern, Func, Instance, Linker, Memory, MemoryType,
    Module, Ref, ResourceLimiter, Result, Store, StoreLimits, StoreLimitsBuilder, Table, TableType,
    TypedResumableCall, Val, ValType, bail,
};
use stillframe_tests::child;

const WAT: &str = r#"
(module
  (import "" "nest" (func $nest (param i32) (result i32)))
  (import "" "wait" (func $wait (result i32)))
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (func (export "nests") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $nest (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))
  (func (export "waits") (result i32) (i32.add (call $wait) (i32.const 1)))
  (func (export "grows") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "widens") (param i32) (result i32)
    (table.grow (ref.null func) (local.get 0))))
"#;

const REFUSED: &str = "the store's limit of 3 wasm stacks is reached";

fn setup(engine: &Engine, limits: StoreLimitsBuilder) -> (Store<StoreLimits>, Instance) {
    let module = Module::new(engine, WAT).unwrap();
    let mut store = Store::new(engine, limits.build());
    store.limiter(|limits| limits);
    let nest = Func::wrap(&mut store, |mut caller: Caller<'_, StoreLimits>, depth: i32| {
        let nests = caller.get_export("nests").unwrap().into_func().unwrap();
        nests.typed::<i32, i32>(&caller)?.call(&mut caller, depth)
    });
    let wait = Func::wrap(&mut store, || -> Result<i32> { bail!("wait") });
    let instance = Instance::new(&mut store, &module, &[nest.into(), wait.into()]).unwrap();
    (store, instance)
}

fn nests(store: &mut Store<StoreLimits>, instance: Instance, depth: i32) -> Result<i32> {
    instance.get_typed_func::<i32, i32>(&mut *store, "nests")?.call(store, depth)
}

fn wait(
    store: &mut Store<StoreLimits>,
    instance: Instance,
) -> Result<stillframe::TypedResumableCallHostTrap<i32>> {
    let waits = instance.get_typed_func::<(), i32>(&mut *store, "waits")?;
    match waits.call_resumable(store, ())? {
        TypedResumableCall::HostTrap(call) => Ok(call),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused<R>(result: Result<R>) -> String {
    match result {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error.root_cause().to_string(),
    }
}

#[test]
fn nested_calls_have_a_stack_each() {
    let (mut store, instance) = setup(&Engine::default(), StoreLimitsBuilder::new().wasm_stacks(3));
    for _ in 0..3 {
        assert_eq!(nests(&mut store, instance, 2).unwrap(), 2);
        assert_eq!(refused(nests(&mut store, instance, 3)), REFUSED);
        let limits = store.runtime_limits();
        assert_eq!((limits.last_wasm_entry_sp, limits.last_wasm_exit_pc), (0, 0));
    }
    let (mut store, instance) = setup(&Engine::default(), StoreLimitsBuilder::new().wasm_stacks(0));
    let none = "the store's limit of 0 wasm stacks is reached";
    assert_eq!(refused(nests(&mut store, instance, 0)), none);
}

#[test]
fn suspended_calls_have_a_stack_each_until_they_are_resumed_or_dropped() {
    let engine = Engine::default();
    let (mut store, instance) = setup(&engine, StoreLimitsBuilder::new().wasm_stacks(3));
    for round in 0..10 {
        let mut calls: Vec<_> = (0..3).map(|_| wait(&mut store, instance).unwrap()).collect();
        assert_eq!(refused(wait(&mut store, instance)), REFUSED);
        assert_eq!(refused(nests(&mut store, instance, 0)), REFUSED);
        assert_eq!(store.suspended_backtraces().len(), 3);
        // To go on they need nothing.
        let call = calls.swap_remove(round % 3).resume(&mut store, &[Val::I32(5)]).unwrap();
        assert!(matches!(call, TypedResumableCall::Finished(6)), "{call:?}");
        assert_eq!(nests(&mut store, instance, 0).unwrap(), 0);
        assert_eq!(refused(nests(&mut store, instance, 1)), REFUSED);
        // On a thread that has not the store.
        let dropped = calls.pop().unwrap();
        std::thread::spawn(move || drop(dropped)).join().unwrap();
        assert_eq!(nests(&mut store, instance, 1).unwrap(), 1);
        let _ = calls.pop().unwrap().into_host_error();
        assert_eq!(nests(&mut store, instance, 2).unwrap(), 2);
        assert_eq!(refused(nests(&mut store, instance, 3)), REFUSED);
    }
}

#[test]
fn stacks_of_other_stores_do_not_count() {
    let engine = Engine::default();
    let limits = || StoreLimitsBuilder::new().wasm_stacks(3);
    let (mut first, instance) = setup(&engine, limits());
    let calls: Vec<_> = (0..3).map(|_| wait(&mut first, instance).unwrap()).collect();
    let (mut second, instance) = setup(&engine, limits());
    // Those of the first go to the engine's pool, and so to the second.
    drop(calls);
    drop(first);
    assert!(engine.free_stacks() >= 3);
    for _ in 0..3 {
        let calls: Vec<_> = (0..3).map(|_| wait(&mut second, instance).unwrap()).collect();
        assert_eq!(refused(wait(&mut second, instance)), REFUSED);
        drop(calls);
    }
}

#[test]
fn without_a_limiter_there_is_no_limit_and_a_limiter_can_say_what_it_wants() {
    struct Changing(usize);
    impl ResourceLimiter for Changing {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }

        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }

        fn wasm_stacks(&self) -> usize {
            self.0
        }
    }

    let engine = Engine::default();
    let wat = r#"(module (import "" "wait" (func $wait)) (func (export "waits") (call $wait)))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, Changing(1));
    let wait = Func::wrap(&mut store, || -> Result<()> { bail!("wait") });
    let instance = Instance::new(&mut store, &module, &[wait.into()]).unwrap();
    let waits = instance.get_typed_func::<(), ()>(&mut store, "waits").unwrap();
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(waits.call_resumable(&mut store, ()).unwrap());
    }
    store.limiter(|limiter| limiter);
    assert!(waits.call_resumable(&mut store, ()).is_err());
    store.data_mut().0 = 21;
    calls.push(waits.call_resumable(&mut store, ()).unwrap());
    assert!(waits.call_resumable(&mut store, ()).is_err());
    calls.truncate(5);
    store.data_mut().0 = 6;
    calls.push(waits.call_resumable(&mut store, ()).unwrap());
    assert!(waits.call_resumable(&mut store, ()).is_err());
    let default = StoreLimits::default();
    assert_eq!((default.wasm_stacks(), default.instances()), (10_000, 10_000));
}

#[test]
fn a_start_function_that_gets_no_stack_fails_the_instantiation() {
    let engine = Engine::default();
    let limits = StoreLimitsBuilder::new().wasm_stacks(3);
    let (mut store, instance) = setup(&engine, limits);
    let module = Module::new(&engine, "(module (func $start) (start $start))").unwrap();
    let calls: Vec<_> = (0..3).map(|_| wait(&mut store, instance).unwrap()).collect();
    assert_eq!(refused(Instance::new(&mut store, &module, &[])), REFUSED);
    drop(calls);
    Instance::new(&mut store, &module, &[]).unwrap();
}

/// Polls until it is ready.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

#[test]
fn asynchronous_calls_are_limited_as_others_are() {
    let mut config = Config::new();
    let engine = Engine::new(config.consume_fuel(true)).unwrap();
    let module = Module::new(&engine, WAT).unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("", "nest", |mut caller: Caller<'_, StoreLimits>, (depth,): (i32,)| {
            Box::new(async move {
                let nests = caller.get_export("nests").unwrap().into_func().unwrap();
                nests.typed::<i32, i32>(&caller)?.call_async(&mut caller, depth).await
            })
        })
        .unwrap();
    linker
        .func_wrap_async("", "wait", |mut caller: Caller<'_, StoreLimits>, ()| {
            Box::new(async move {
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    bail!("no memory")
                };
                Ok(memory.grow(caller.as_context_mut(), 1)? as i32)
            })
        })
        .unwrap();
    let limits = StoreLimitsBuilder::new().wasm_stacks(3).memory_size(2 << 16).table_elements(2);
    let mut store = Store::new(&engine, limits.trap_on_grow_failure(true).build());
    store.limiter(|limits| limits);
    store.set_fuel(1 << 40).unwrap();
    store.fuel_async_yield_interval(Some(20)).unwrap();
    block_on(async {
        let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
        let nests = instance.get_typed_func::<i32, i32>(&mut store, "nests").unwrap();
        let [grows, widens] = ["grows", "widens"]
            .map(|name| instance.get_typed_func::<i32, i32>(&mut store, name).unwrap());
        let waits = instance.get_typed_func::<(), i32>(&mut store, "waits").unwrap();
        for _ in 0..3 {
            assert_eq!(nests.call_async(&mut store, 2).await.unwrap(), 2);
            assert_eq!(refused(nests.call_async(&mut store, 3).await), REFUSED);
        }
        assert_eq!(waits.call_async(&mut store, ()).await.unwrap(), 2);
        let full = "a linear memory may not grow to 196608: the limit is 131072";
        for _ in 0..3 {
            assert_eq!(refused(waits.call_async(&mut store, ()).await), full);
            assert_eq!(refused(grows.call_async(&mut store, 1).await), full);
            let full = "a table may not grow to 3: the limit is 2";
            assert_eq!(refused(widens.call_async(&mut store, 2).await), full);
        }
        assert_eq!(widens.call_async(&mut store, 1).await.unwrap(), 1);
    });
}

#[test]
fn what_is_refused_leaves_nothing_and_the_store_works() {
    if !child::alone("resources::limits::what_is_refused_leaves_nothing_and_the_store_works") {
        return;
    }
    let engine = Engine::default();
    let limits = StoreLimitsBuilder::new()
        .instances(3)
        .memories(3)
        .tables(3)
        .wasm_stacks(3)
        .memory_size(3 << 16)
        .table_elements(3);
    let (mut store, instance) = setup(&engine, limits);
    // The second memory is one too large, after the first was made.
    let large = Module::new(&engine, "(module (memory 1) (memory 4))").unwrap();
    let wide = Module::new(&engine, "(module (memory 1) (table 4 funcref))").unwrap();
    let many = Module::new(&engine, "(module (memory 1) (memory 1) (memory 1))").unwrap();
    let empty = Module::new(&engine, "(module)").unwrap();
    Instance::new(&mut store, &empty, &[]).unwrap();
    let calls: Vec<_> = (0..2).map(|_| wait(&mut store, instance).unwrap()).collect();
    let grow = |store: &mut Store<StoreLimits>, name: &str, by: i32| {
        instance.get_typed_func::<i32, i32>(&mut *store, name).unwrap().call(store, by).unwrap()
    };
    let ty = |elements| TableType::new(ValType::FuncRef, elements, None);
    let mut round = || {
        for (module, why) in [
            (&large, "the limiter refuses a memory of 262144 bytes"),
            (&wide, "the limiter refuses a table of 4 elements"),
            (&many, "the store's limit of 3 memories is reached"),
        ] {
            assert_eq!(refused(Instance::new(&mut store, module, &[])), why);
        }
        let memory = Memory::new(&mut store, MemoryType::new(4, None));
        assert_eq!(refused(memory), "the limiter refuses a memory of 262144 bytes");
        let table = Table::new(&mut store, ty(4), Ref::Func(None));
        assert_eq!(refused(table), "the limiter refuses a table of 4 elements");
        assert_eq!(refused(nests(&mut store, instance, 1)), REFUSED);
        assert_eq!((grow(&mut store, "grows", 3), grow(&mut store, "widens", 3)), (-1, -1));
        assert_eq!((grow(&mut store, "grows", 0), grow(&mut store, "widens", 0)), (1, 1));
        assert_eq!(nests(&mut store, instance, 0).unwrap(), 0);
    };
    (0..20).for_each(|_| round());
    let before = Usage::now();
    (0..1000).for_each(|_| round());
    Usage::now().assert_as(&before);
    // None of those that were refused have been counted.
    drop(calls);
    Instance::new(&mut store, &empty, &[]).unwrap();
    let why = "the store's limit of 3 instances is reached";
    assert_eq!(refused(Instance::new(&mut store, &empty, &[])), why);
    for _ in 0..2 {
        Memory::new(&mut store, MemoryType::new(1, None)).unwrap();
        Table::new(&mut store, ty(1), Ref::Func(None)).unwrap();
    }
    let memory = Memory::new(&mut store, MemoryType::new(1, None));
    assert_eq!(refused(memory), "the store's limit of 3 memories is reached");
    assert_eq!(nests(&mut store, instance, 2).unwrap(), 2);
}
