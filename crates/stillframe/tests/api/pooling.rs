//! What an engine keeps of dropped stores, and that nothing of a guest is in it.

use stillframe::{
    Config, Engine, Instance, InstancePre, Linker, Module, Ref, Store, StoreLimits,
    StoreLimitsBuilder, Trap,
};

/// Everything that an instance can write to: small and large memories, with data and without.
fn guest(pages: u32, data: &str) -> String {
    format!(
        r#"(module
            (import "host" "f" (func $f))
            (memory (export "memory") {pages})
            {data}
            (table (export "table") 8 funcref)
            (elem (i32.const 1) $f $g)
            (func $g)
            (elem declare func $grow)
            (global $global (export "global") (mut i64) (i64.const 7))
            (func $grow (export "grow") (param i32) (result i32)
                (memory.grow (local.get 0)))
            (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
            (func (export "spoil")
                (memory.fill (i32.const 0) (i32.const 0xa5)
                    (i32.mul (memory.size) (i32.const 65536)))
                (drop (table.grow (ref.func $grow) (i32.const 5)))
                (table.fill (i32.const 0) (ref.func $grow) (table.size))
                (global.set $global (i64.const -1))))"#
    )
}

const DATA: &str = r#"(data (i32.const 100) "data") (data (i32.const 65000) "more")"#;

fn prepared(engine: &Engine, pages: u32, data: &str) -> InstancePre<()> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "f", || ()).unwrap();
    linker.instantiate_pre(&Module::new(engine, guest(pages, data)).unwrap()).unwrap()
}

fn load(store: &mut Store<()>, instance: Instance, at: usize) -> stillframe::Result<i32> {
    instance.get_typed_func::<i32, i32>(&mut *store, "load")?.call(store, at as i32)
}

/// What a new instance has, for comparing; and where its memory is.
fn state(store: &mut Store<()>, instance: Instance) -> (Vec<u8>, Vec<bool>, i64, usize) {
    let memory = instance.get_memory(&mut *store, "memory").unwrap();
    let table = instance.get_table(&mut *store, "table").unwrap();
    let global = instance.get_global(&mut *store, "global").unwrap();
    let elements = (0..table.size(&*store))
        .map(|i| matches!(table.get(&mut *store, i).unwrap(), Ref::Func(Some(_))));
    let elements = elements.collect();
    let global = global.get(&mut *store).unwrap_i64();
    let bytes = memory.data(&*store);
    (bytes.to_vec(), elements, global, bytes.as_ptr() as usize)
}

/// Writes everywhere, with memory grown by `pages`, and drops the store.
fn spoil(mut store: Store<()>, instance: Instance, pages: i32) {
    let grow = instance.get_typed_func::<i32, i32>(&mut store, "grow").unwrap();
    assert!(grow.call(&mut store, pages).unwrap() >= 0);
    let spoil = instance.get_typed_func::<(), ()>(&mut store, "spoil").unwrap();
    spoil.call(&mut store, ()).unwrap();
    let size = instance.get_memory(&mut store, "memory").unwrap().data_size(&store);
    if size > 0 {
        assert_eq!(load(&mut store, instance, size - 1).unwrap(), 0xa5);
    }
}

#[test]
fn a_new_instance_sees_nothing_of_those_before() {
    let engine = Engine::default();
    for (pages, data) in [(0, ""), (1, ""), (1, DATA), (17, ""), (17, DATA)] {
        let pre = prepared(&engine, pages, data);
        let make = || {
            let mut store = Store::new(&engine, ());
            let instance = pre.instantiate(&mut store).unwrap();
            (store, instance)
        };
        let (mut store, instance) = make();
        let first = state(&mut store, instance);
        let mut expected = vec![0; pages as usize * 65536];
        if !data.is_empty() {
            expected[100..104].copy_from_slice(b"data");
            expected[65000..65004].copy_from_slice(b"more");
        }
        let elements = [false, true, true, false, false, false, false, false];
        assert_eq!((&first.0, &first.1[..], first.2), (&expected, &elements[..], 7));
        let free = engine.free_memories();
        spoil(store, instance, 3);
        for grow in [0, 1, 40, 0] {
            assert_eq!(engine.free_memories(), free + 1);
            let (mut store, instance) = make();
            assert_eq!(engine.free_memories(), free);
            // The same address: so it is the memory that was spoilt.
            assert!(state(&mut store, instance) == first, "{pages} pages, {data}");
            // Behind its end it is as inaccessible as that of a new memory.
            for at in [pages as usize, pages as usize + 3, 100] {
                let error = load(&mut store, instance, at << 16).unwrap_err();
                assert_eq!(error.downcast_ref(), Some(&Trap::MemoryOutOfBounds));
            }
            let memory = instance.get_memory(&mut store, "memory").unwrap();
            memory.grow(&mut store, 2).unwrap();
            assert!(memory.data(&store)[expected.len()..].iter().all(|byte| *byte == 0));
            spoil(store, instance, grow);
        }
    }
}

#[test]
fn modules_do_not_see_each_others_data() {
    let engine = Engine::default();
    let other = r#"(data (i32.const 99) "other")"#;
    let modules = ["", DATA, other].map(|data| prepared(&engine, 1, data));
    let fresh = |pre: &InstancePre<()>| {
        let mut store = Store::new(&engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        let bytes = state(&mut store, instance).0;
        spoil(store, instance, 1);
        bytes
    };
    let expected = modules.each_ref().map(fresh);
    assert_eq!(expected[1][99..104], *b"\0data");
    assert_eq!(expected[2][99..104], *b"other");
    for (pre, expected) in modules.iter().zip(&expected).cycle().take(20) {
        assert!(fresh(pre) == *expected);
    }
    assert_eq!(engine.free_memories(), 3);
}

#[test]
fn memories_go_back_to_the_pool_and_no_more_are_kept_than_told() {
    for (keep, expected) in [(0, 0), (2, 2), (100, 5)] {
        let engine = Engine::new(Config::new().pooled_memories(keep)).unwrap();
        let pre = prepared(&engine, 1, DATA);
        let stores: Vec<_> = (0..5)
            .map(|_| {
                let mut store = Store::new(&engine, ());
                pre.instantiate(&mut store).unwrap();
                store
            })
            .collect();
        assert_eq!(engine.free_memories(), 0);
        drop(stores);
        assert_eq!(engine.free_memories(), expected);
        drop(pre);
        assert_eq!(engine.free_memories(), 0, "the module is gone, and with it its memories");
    }
}

#[test]
fn the_limiter_is_asked_for_a_memory_that_is_used_again() {
    let engine = Engine::default();
    let module = Module::new(&engine, "(module (memory 2))").unwrap();
    let make = |bytes: usize| {
        let limits = StoreLimitsBuilder::new().memory_size(bytes).build();
        let mut store = Store::new(&engine, limits);
        store.limiter(|limits: &mut StoreLimits| limits);
        Instance::new(&mut store, &module, &[]).is_ok()
    };
    assert!(make(2 << 16));
    assert_eq!(engine.free_memories(), 1);
    assert!(!make((2 << 16) - 1));
    assert!(make(2 << 16));
}

#[test]
fn threads_that_share_an_engine_see_nothing_of_each_other() {
    let engine = Engine::new(Config::new().pooled_memories(3)).unwrap();
    let modules = [prepared(&engine, 1, DATA), prepared(&engine, 2, "")];
    let expected = modules.each_ref().map(|pre| {
        let mut store = Store::new(&engine, ());
        let instance = pre.instantiate(&mut store).unwrap();
        state(&mut store, instance).0
    });
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (engine, modules, expected) = (&engine, &modules, &expected);
            scope.spawn(move || {
                for round in 0..100 {
                    let which = usize::from(round % 7 == thread);
                    let mut store = Store::new(engine, ());
                    let instance = modules[which].instantiate(&mut store).unwrap();
                    assert!(state(&mut store, instance).0 == expected[which]);
                    spoil(store, instance, round % 3);
                }
            });
        }
    });
    assert_eq!(engine.free_memories(), 3);
}
