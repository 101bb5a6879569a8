//! When the system refuses address space, mappings or files: an error that says what could not be had,
//! what all engines keep for later is given up first, nothing is lost, and everything works again once
//! there is room.

use super::system::{Limit, NoMappings, Usage};
use stillframe::{
    Config, Engine, Func, Instance, Memory, MemoryType, Module, Ref, ResourceLimiter, Result,
    Store, Table, TableType, Trap, ValType,
};
use stillframe_tests::child;

const WAT: &str = r#"
(module
  (memory (export "memory") 1)
  (table (export "table") 1 funcref)
  (data (i32.const 100) "data")
  (func (export "data") (result i32) (i32.load (i32.const 100)))
  (func (export "grows") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "widens") (param i32) (result i32) (table.grow (ref.null func) (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
"#;

const DATA: i32 = i32::from_le_bytes(*b"data");

fn engine() -> Engine {
    keeping(1000)
}

/// An engine that keeps so many memories and stacks.
fn keeping(count: usize) -> Engine {
    let mut config = Config::new();
    config.pooled_memories(count).pooled_stacks(count);
    // Threads of the compiler would allocate on their own.
    Engine::new(config.parallel_compilation(false)).unwrap()
}

/// A new store with an instance, in which the data are right.
fn run(module: &Module) -> Result<(Store<()>, Instance)> {
    let mut store = Store::new(module.engine(), ());
    let instance = Instance::new(&mut store, module, &[])?;
    assert_eq!(call(&mut store, instance, "data", ())?, DATA);
    // The code for calling functions of this type is there from now on.
    assert_eq!(call(&mut store, instance, "load", 100)?, DATA);
    Ok((store, instance))
}

fn call<T, P: stillframe::WasmParams>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    params: P,
) -> Result<i32> {
    instance.get_typed_func::<P, i32>(&mut *store, name)?.call(store, params)
}

/// As many stores with instances as there can be, and why there are no more.
fn as_many_as_there_can_be(module: &Module, most: usize) -> (Vec<(Store<()>, Instance)>, String) {
    let mut made = Vec::with_capacity(most);
    while made.len() < most {
        match run(module) {
            Ok(one) => made.push(one),
            Err(error) => return (made, format!("{error:#}")),
        }
    }
    panic!("there is no end of them");
}

#[test]
fn without_address_space_each_thing_says_what_it_could_not_have() {
    if !child::alone(
        "resources::lack::without_address_space_each_thing_says_what_it_could_not_have",
    ) {
        return;
    }
    let engine = Engine::new(keeping(0).config().clone().max_wasm_stack(1 << 30)).unwrap();
    let module = Module::new(&engine, WAT).unwrap();
    let plain = Module::new(&engine, "(module (func (export \"f\") (result i32) i32.const 7))");
    let plain = plain.unwrap();
    let (mut held, instance) = run(&module).unwrap();
    let try_all = |succeeds: bool| {
        let mut store = Store::new(&engine, ());
        let check = |result: Result<()>, expected: &str| match result {
            Ok(()) => assert!(succeeds, "{expected}"),
            Err(error) => {
                let error = format!("{error:#}");
                assert!(!succeeds && error.contains(expected), "{error}");
                assert!(error.contains("os error 12") || error.contains("table"), "{error}");
            }
        };
        let reserve = "bytes of address space for a memory";
        check(Instance::new(&mut store, &module, &[]).map(drop), reserve);
        check(Memory::new(&mut store, MemoryType::new(0, None)).map(drop), reserve);
        check(Memory::new(&mut store, MemoryType::new64(1, None)).map(drop), reserve);
        let ty = TableType::new(ValType::FuncRef, 1 << 28, None);
        let table = Table::new(&mut store, ty, Ref::Func(None)).map(drop);
        check(table, "cannot allocate a table of 268435456 elements");
        let instance = Instance::new(&mut store, &plain, &[]).unwrap();
        let called = call(&mut store, instance, "f", ()).map(|result| assert_eq!(result, 7));
        check(called, "mapping a wasm stack of 1073");
    };
    try_all(true);
    let before = Usage::now();
    let limit = Limit::address_space(16 << 20);
    for _ in 0..100 {
        try_all(false);
    }
    // What is there works, also what asks for more and does not get it.
    assert_eq!(call(&mut held, instance, "data", ()).unwrap(), DATA);
    assert_eq!(call(&mut held, instance, "widens", 1 << 28).unwrap(), -1);
    assert_eq!(call(&mut held, instance, "grows", 1).unwrap(), 1);
    drop(limit);
    try_all(true);
    try_all(true);
    Usage::now().assert_as(&before);
}

#[test]
fn growth_that_the_system_refuses_is_told_to_the_limiter_and_leaves_all_as_it_was() {
    if !child::alone(
        "resources::lack::growth_that_the_system_refuses_is_told_to_the_limiter_and_leaves_all_as_it_was",
    ) {
        return;
    }
    #[derive(Default)]
    struct Told(Vec<String>, bool);
    impl ResourceLimiter for Told {
        fn memory_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }

        fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> Result<bool> {
            Ok(true)
        }

        fn memory_grow_failed(&mut self, error: stillframe::Error) -> Result<()> {
            self.0.push(error.to_string());
            if self.1 { Err(error) } else { Ok(()) }
        }

        fn table_grow_failed(&mut self, error: stillframe::Error) -> Result<()> {
            self.memory_grow_failed(error)
        }
    }
    let engine = engine();
    let module = Module::new(&engine, WAT).unwrap();
    let mut store = Store::new(&engine, Told::default());
    store.limiter(|told| told);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let limit = Limit::set(libc::RLIMIT_DATA, 256 << 20);
    for by in [1 << 14, 1 << 15] {
        assert_eq!(call(&mut store, instance, "grows", by).unwrap(), -1);
    }
    assert_eq!(call(&mut store, instance, "widens", 1 << 27).unwrap(), -1);
    let told = [
        "no memory to grow a linear memory to 1073807360 bytes",
        "no memory to grow a linear memory to 2147549184 bytes",
        "no memory to grow a table to 134217729 elements",
    ];
    assert_eq!(store.data().0, told);
    store.data_mut().1 = true;
    let error = call(&mut store, instance, "grows", 1 << 14).unwrap_err();
    assert_eq!(error.root_cause().to_string(), told[0]);
    let error = call(&mut store, instance, "widens", 1 << 27).unwrap_err();
    assert_eq!(error.root_cause().to_string(), told[2]);
    // Its bounds are where they were.
    for at in [65_533, 65_536, 131_072] {
        let error = call(&mut store, instance, "load", at).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
    }
    assert_eq!(call(&mut store, instance, "data", ()).unwrap(), DATA);
    drop(limit);
    assert_eq!(call(&mut store, instance, "grows", 1 << 14).unwrap(), 1);
    assert_eq!(call(&mut store, instance, "widens", 1 << 20).unwrap(), 1);
    assert_eq!(call(&mut store, instance, "load", 1 << 30).unwrap(), 0);
}

#[test]
fn engines_give_up_what_they_keep_for_another_engine() {
    if !child::alone("resources::lack::engines_give_up_what_they_keep_for_another_engine") {
        return;
    }
    const EACH: usize = 6;
    let engines = [(); 4].map(|()| engine());
    let modules = engines.each_ref().map(|engine| Module::new(engine, WAT).unwrap());
    let fill = || {
        for module in &modules {
            let stores = [(); EACH].map(|()| run(module).unwrap());
            drop(stores);
            let engine = module.engine();
            assert_eq!((engine.free_memories(), engine.free_stacks()), (EACH, EACH));
        }
    };
    let kept = || engines.iter().map(|e| e.free_memories() + e.free_stacks()).sum::<usize>();
    fill();
    let limit = Limit::address_space(64 << 20);
    let last = engine();
    let module = Module::new(&last, WAT).unwrap();
    let first = run(&module).unwrap();
    assert_eq!(kept(), 0);
    // What they kept is there for whoever wants it, and no more.
    let (made, why) = as_many_as_there_can_be(&module, 4 * EACH);
    assert_eq!(made.len(), 4 * EACH - 1);
    assert!(why.contains("for a memory"), "{why}");
    drop((first, made));
    // Now it is the last one that keeps them, and gives them up again.
    assert_eq!(last.free_memories(), 4 * EACH);
    let other = run(&modules[0]).unwrap();
    assert_eq!(last.free_memories(), 0);
    drop((other, limit));
    fill();
}

#[test]
fn without_mappings_nothing_is_made_and_nothing_is_lost() {
    if !child::alone("resources::lack::without_mappings_nothing_is_made_and_nothing_is_lost") {
        return;
    }
    let (first, second) = (keeping(8), keeping(8));
    let modules = [&first, &second].map(|engine| Module::new(engine, WAT).unwrap());
    let fill = || {
        for module in &modules {
            drop([(); 8].map(|()| run(module).unwrap()));
        }
    };
    fill();
    let before = Usage::now();
    for _ in 0..2 {
        let mut all = NoMappings::take();
        // There is none for a stack and a memory; those of the other engine are given up.
        let third = engine();
        let new_module = || Module::new(&third, "(module (func))");
        let (made, why) = as_many_as_there_can_be(&modules[0], 100);
        assert!((8..=24).contains(&made.len()), "{}", made.len());
        assert!(why.contains("os error 12"), "{why}");
        assert_eq!(second.free_memories() + second.free_stacks(), 0);
        // What the last of them had is kept, and is enough for some.
        let mut modules = Vec::with_capacity(100);
        let refused = loop {
            assert!(modules.len() < 100, "there is no end of them");
            all.take_more();
            match new_module() {
                Ok(module) => modules.push(module),
                Err(error) => break error,
            }
        };
        let error = format!("{refused:#}");
        assert!(error.contains("code") && error.contains("os error 12"), "{error}");
        // Those that are there work.
        for (mut store, instance) in made {
            assert_eq!(call(&mut store, instance, "data", ()).unwrap(), DATA);
            let error = call(&mut store, instance, "load", -1).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
        }
        all.give_back(100);
        new_module().unwrap();
        drop(all);
        fill();
    }
    Usage::now().assert_as(&before);
}

/// What nobody could have is refused, and what engines keep stays where it is: or a guest could take it
/// from all others, again and again, with an operator each time.
#[test]
fn a_guest_that_asks_for_too_much_empties_no_pool() {
    if !child::alone("resources::lack::a_guest_that_asks_for_too_much_empties_no_pool") {
        return;
    }
    const GUEST: &str = r#"
    (module
      (memory $small 1)
      (memory $large i64 1)
      (table $table 1 funcref)
      (func (export "grows") (param i32) (result i32) (memory.grow $small (local.get 0)))
      (func (export "grows64") (param i32) (result i32)
        (i32.wrap_i64 (memory.grow $large (i64.extend_i32_u (local.get 0)))))
      (func (export "widens") (param i32) (result i32)
        (table.grow $table (ref.null func) (local.get 0))))
    "#;
    let kept_by = engine();
    let module = Module::new(&kept_by, WAT).unwrap();
    let fill = || {
        drop([(); 3].map(|()| run(&module).unwrap()));
        assert_eq!((kept_by.free_memories(), kept_by.free_stacks()), (3, 3));
    };
    fill();
    let guests = engine();
    let guest = Module::new(&guests, GUEST).unwrap();
    let mut store = Store::new(&guests, ());
    let instance = Instance::new(&mut store, &guest, &[]).unwrap();
    let mut ask = |name: &str, by: i32| call(&mut store, instance, name, by).unwrap();
    // Code for calls of this type is compiled now.
    assert_eq!(ask("grows", 0), 1);

    // More than there is memory for.
    let limit = Limit::set(libc::RLIMIT_DATA, 256 << 20);
    for _ in 0..10 {
        let asked = [ask("grows", 1 << 14), ask("grows64", 1 << 15), ask("widens", 1 << 27)];
        assert_eq!(asked, [-1; 3]);
        assert_eq!((kept_by.free_memories(), kept_by.free_stacks()), (3, 3));
    }
    drop(limit);

    // More address space than there is with all that is kept; and as much as there is.
    let limit = Limit::address_space(64 << 20);
    for _ in 0..10 {
        assert_eq!([ask("grows64", 1 << 20), ask("widens", -2)], [-1; 2]);
        // For 64 and 32 GiB: 24 are kept, and 1 MiB for each stack.
        assert_eq!((kept_by.free_memories(), kept_by.free_stacks()), (3, 3));
    }
    assert_eq!(ask("widens", 1 << 24), 1);
    assert_eq!((kept_by.free_memories(), kept_by.free_stacks()), (0, 0));
    drop(limit);
    fill();

    // What the system refuses, or not, by how much memory the machine has.
    for _ in 0..10 {
        ask("widens", i32::MAX);
        assert_eq!((kept_by.free_memories(), kept_by.free_stacks()), (3, 3));
    }
}

/// The system refuses a table that is larger than all its memory, whatever else there is: free memories
/// of as many bytes, which nobody has touched, are of no help.
#[test]
fn a_guest_that_asks_for_more_than_the_machine_has_empties_no_pool() {
    if !child::alone(
        "resources::lack::a_guest_that_asks_for_more_than_the_machine_has_empties_no_pool",
    ) {
        return;
    }
    let kept_by = engine();
    // 2 GiB each, and so 34.
    let module = Module::new(&kept_by, r#"(module (memory 0x8000))"#).unwrap();
    let stores = [(); 17].map(|()| {
        let mut store = Store::new(&kept_by, ());
        Instance::new(&mut store, &module, &[]).unwrap();
        store
    });
    drop(stores);
    assert_eq!(kept_by.free_memories(), 17);
    let guests = engine();
    let guest = Module::new(&guests, WAT).unwrap();
    let (mut store, instance) = run(&guest).unwrap();
    for _ in 0..10 {
        // 32 GiB. It has them on a large machine.
        call(&mut store, instance, "widens", -2).unwrap();
        assert_eq!(kept_by.free_memories(), 17);
    }
}

#[test]
fn a_thread_that_can_have_no_signal_stack_runs_wasm_and_asks_again() {
    if !child::alone(
        "resources::lack::a_thread_that_can_have_no_signal_stack_runs_wasm_and_asks_again",
    ) {
        return;
    }
    let size = || {
        // SAFETY: a zeroed `stack_t` is valid, and is written to by the call.
        unsafe {
            let mut stack: libc::stack_t = std::mem::zeroed();
            assert_eq!(libc::sigaltstack(std::ptr::null(), &mut stack), 0);
            stack.ss_size
        }
    };
    let engine = engine();
    let module = Module::new(&engine, WAT).unwrap();
    let (mut store, instance) = run(&module).unwrap();
    let other = run(&module).unwrap();
    std::thread::spawn(move || {
        let before = size();
        assert!(before < 64 << 10);
        let mut trap = || {
            let error = call(&mut store, instance, "load", -1).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::MemoryOutOfBounds));
        };
        let all = NoMappings::take();
        trap();
        // What is kept from now on is not given up for it.
        drop(other);
        (0..10).for_each(|_| trap());
        assert_eq!((engine.free_memories(), size()), (1, before));
        drop(all);
        trap();
        assert!(size() >= 64 << 10);
        assert_eq!(engine.free_memories(), 1);
    })
    .join()
    .unwrap();
}

#[test]
fn without_files_modules_have_no_images_and_work() {
    if !child::alone("resources::lack::without_files_modules_have_no_images_and_work") {
        return;
    }
    let engine = engine();
    let files = || Usage::now().files;
    // Reading the directory takes one itself.
    let limit = Limit::set(libc::RLIMIT_NOFILE, 0);
    let without: Vec<Module> = (0..5).map(|_| Module::new(&engine, WAT).unwrap()).collect();
    let stores: Vec<_> = without.iter().map(|module| run(module).unwrap()).collect();
    drop(stores);
    for module in &without {
        let (mut store, instance) = run(module).unwrap();
        assert_eq!(call(&mut store, instance, "grows", 3).unwrap(), 1);
    }
    drop(limit);
    let before = files();
    let with = Module::new(&engine, WAT).unwrap();
    assert_eq!(files(), before + 1, "an image is a file");
    drop(run(&with).unwrap());
    for module in &without {
        drop(run(module).unwrap());
    }
    drop((with, without));
    assert_eq!(files(), before);
    // A host function's type is compiled when there are neither.
    let _limit = Limit::set(libc::RLIMIT_NOFILE, 0);
    let mut store = Store::new(&engine, ());
    let host = Func::wrap(&mut store, |x: i64, y: f32| x as f32 + y);
    let host = host.typed::<(i64, f32), f32>(&store).unwrap();
    assert_eq!(host.call(&mut store, (1, 2.0)).unwrap(), 3.0);
}

/// Engines on threads of their own want more memories than there is room for: each gets some, takes
/// them from the others' pools, and finds them as new.
#[test]
fn threads_that_fight_for_address_space_get_it_by_turns() {
    if !child::alone("resources::lack::threads_that_fight_for_address_space_get_it_by_turns") {
        return;
    }
    const ROUNDS: usize = 60;
    let before = Usage::now();
    // Three memories, and what the threads and the allocator take.
    let limit = Limit::address_space((3 * 8 + 2) << 30);
    let refusals: usize = std::thread::scope(|scope| {
        let threads = [(); 5].map(|()| {
            scope.spawn(|| {
                let engine = keeping(2);
                let module = Module::new(&engine, WAT).unwrap();
                let (mut done, mut refused) = (0, 0);
                while done < ROUNDS {
                    let mut store = Store::new(&engine, ());
                    match Instance::new(&mut store, &module, &[]) {
                        Ok(instance) => {
                            let memory = instance.get_memory(&mut store, "memory").unwrap();
                            let bytes = memory.data_mut(&mut store);
                            assert_eq!(&bytes[99..105], b"\0data\0");
                            assert!(bytes[105..].iter().all(|byte| *byte == 0));
                            bytes.fill(done as u8 + 1);
                            done += 1;
                        }
                        Err(error) => {
                            let error = format!("{error:#}");
                            assert!(error.contains("os error 12"), "{error}");
                            refused += 1;
                            std::thread::yield_now();
                        }
                    }
                }
                refused
            })
        });
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    println!("{refusals} refusals");
    drop(limit);
    let after = Usage::now();
    assert!(after.mapped < before.mapped + (1 << 30), "{before:?}, {after:?}");
}
