//! Engines, modules, stores, instances and calls in every state, made and dropped by the thousand, in
//! every order: mappings, memory, files and threads of the process are what they were.

use super::system::Usage;
use std::pin::Pin;
use std::task::{Context, Waker};
use stillframe::{
    Caller, Config, Engine, Error, ExternRef, Func, Instance, Linker, Module, ProfilingStrategy,
    ResumableCall, Store, Trap, Val, WasmBacktrace, bail,
};
use stillframe_tests::child;

const WAT: &str = r#"
(module $churned
  (import "host" "wait" (func $wait (param i32) (result i32)))
  (import "host" "pause" (func $pause (param i32) (result i32)))
  (import "host" "keep" (func $keep (param externref) (result externref)))
  (memory (export "memory") 2)
  (table 100 externref)
  (global $g (mut externref) (ref.null extern))
  (tag $t (param i32))
  (data (i32.const 60000) "some data")
  (func $down (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (call $wait (i32.const 5)))))
  (func (export "waits") (param i32) (result i32)
    (i32.store (i32.const 100000) (i32.const 7))
    (call $down (local.get 0)))
  (func (export "pauses") (param i32) (result i32) (call $pause (local.get 0)))
  (func (export "keeps") (param externref) (result externref)
    (table.set (i32.const 9) (local.get 0))
    (global.set $g (local.get 0))
    (call $keep (table.get (i32.const 9))))
  (func (export "spins") (param i32) (result i32)
    (loop $again (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 0))
  (func (export "throws") (param i32) (result i32) (throw $t (local.get 0)))
  (func $traps (export "traps") (param i32) (result i32) (local i64 v128)
    (if (i32.eqz (local.get 0)) (then (return (i32.div_u (i32.const 1) (i32.const 0)))))
    (i32.add (call $traps (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "grows") (param i32) (result i32)
    (drop (table.grow (ref.null extern) (i32.const 10000)))
    (memory.grow (local.get 0))))
"#;

fn config(kind: usize) -> Config {
    let mut config = Config::new();
    config.consume_fuel(true).epoch_interruption(true).max_wasm_stack(128 << 10);
    config.native_debug_info(kind.is_multiple_of(2)).frame_writes(kind.is_multiple_of(3));
    config.pooled_memories(kind % 4).pooled_stacks(kind % 5);
    if kind % 7 == 3 {
        config.profiler(ProfilingStrategy::PerfMap);
    }
    config
}

fn linker(engine: &Engine) -> Linker<Vec<u8>> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "wait", |_: Caller<'_, Vec<u8>>, _: i32| -> stillframe::Result<i32> {
            bail!("wait")
        })
        .unwrap();
    linker
        .func_wrap_async("host", "pause", |mut caller: Caller<'_, Vec<u8>>, (n,): (i32,)| {
            Box::new(async move {
                let held = vec![1_u8; 1000];
                std::future::poll_fn(|context| {
                    context.waker().wake_by_ref();
                    caller.data_mut().push(held[0]);
                    match caller.data().len() % 3 {
                        0 => std::task::Poll::Ready(()),
                        _ => std::task::Poll::Pending,
                    }
                })
                .await;
                Ok(n)
            })
        })
        .unwrap();
    let keep = |_: Caller<'_, Vec<u8>>, object: Option<ExternRef>| object;
    linker.func_wrap("host", "keep", keep).unwrap();
    linker
}

/// What can outlive its store and its engine.
#[derive(Default)]
struct Left {
    calls: Vec<ResumableCall>,
    errors: Vec<Error>,
}

/// A store's life; what is left of it can be dropped later.
fn live(module: &Module, linker: &Linker<Vec<u8>>, kind: usize, left: &mut Left) {
    let mut store = Store::new(module.engine(), Vec::new());
    store.set_fuel(1 << 30).unwrap();
    store.set_epoch_deadline(1 << 30);
    store.epoch_deadline_suspend();
    let instance = linker.instantiate(&mut store, module).unwrap();
    let other = linker.instantiate(&mut store, module).unwrap();
    let func = |store: &mut Store<Vec<u8>>, name: &str| instance.get_func(store, name).unwrap();
    let mut out = [Val::I32(0)];

    // A call in each state.
    for depth in [0, 5] {
        let waits = func(&mut store, "waits");
        left.calls.push(waits.call_resumable(&mut store, &[depth.into()], &mut out).unwrap());
    }
    let spins = func(&mut store, "spins");
    store.set_fuel(50).unwrap();
    left.calls.push(spins.call_resumable(&mut store, &[0.into()], &mut out).unwrap());
    store.set_fuel(1 << 30).unwrap();
    store.set_epoch_deadline(0);
    left.calls.push(spins.call_resumable(&mut store, &[0.into()], &mut out).unwrap());
    store.set_epoch_deadline(1 << 30);
    let states = left.calls[left.calls.len() - 3..].iter().map(|call| match call {
        ResumableCall::HostTrap(_) => 'h',
        ResumableCall::OutOfFuel(_) => 'f',
        ResumableCall::Interrupted(_) => 'i',
        ResumableCall::Finished => panic!("it does not"),
    });
    assert!(states.eq("hfi".chars()));
    // A host function that the host calls straight, suspended too.
    let direct = Func::wrap(&mut store, || -> stillframe::Result<i32> { bail!("direct") });
    left.calls.push(direct.call_resumable(&mut store, &[], &mut out).unwrap());

    // A future that is dropped before it was polled, after, and when it is ready.
    let pauses = other.get_func(&mut store, "pauses").unwrap();
    for polls in 0..4 {
        let arguments = [7.into()];
        let mut call: Pin<Box<dyn Future<Output = _>>> =
            Box::pin(pauses.call_async(&mut store, &arguments, &mut out));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..polls {
            if call.as_mut().poll(&mut context).is_ready() {
                break;
            }
        }
    }

    // Errors with what was frozen.
    for (name, argument) in [("traps", 20), ("throws", 1), ("traps", 0)] {
        let error = func(&mut store, name).call(&mut store, &[argument.into()], &mut out);
        let error = error.unwrap_err();
        assert_eq!(error.is::<Trap>(), name == "traps", "{error:?}");
        assert!(error.downcast_ref::<WasmBacktrace>().is_some_and(|t| !t.frames().is_empty()));
        left.errors.push(error);
    }

    // Objects.
    for i in 0..20_u64 {
        let object = ExternRef::new(&mut store, vec![i; 50]).unwrap();
        let mut kept = [Val::I32(0)];
        let keeps = func(&mut store, "keeps");
        keeps.call(&mut store, &[Val::ExternRef(Some(object))], &mut kept).unwrap();
    }
    func(&mut store, "grows").call(&mut store, &[(kind as i32 % 3).into()], &mut out).unwrap();
    let memory = instance.get_memory(&mut store, "memory").unwrap();
    memory.data_mut(&mut store).fill(1);

    // One goes on to its end, in the store that it is of.
    if let ResumableCall::HostTrap(call) = left.calls.swap_remove(left.calls.len() - 5) {
        let call = call.resume(&mut store, &[3.into()], &mut out).unwrap();
        assert!(matches!(call, ResumableCall::Finished));
    }
}

#[test]
fn thousands_of_everything_leave_nothing() {
    if !child::alone("resources::churn::thousands_of_everything_leave_nothing") {
        return;
    }
    let round = |kind: usize| {
        let mut left = Left::default();
        let engine = Engine::new(&config(kind)).unwrap();
        let linker = linker(&engine);
        let modules = [(); 2].map(|()| Module::new(&engine, WAT).unwrap());
        for i in 0..6 {
            live(&modules[i % 2], &linker, kind + i, &mut left);
        }
        // In all orders.
        match kind % 4 {
            0 => drop((left, modules, linker, engine)),
            1 => drop((engine, linker, modules, left)),
            2 => drop((modules, left, engine, linker)),
            _ => {
                // And on another thread.
                drop(modules);
                std::thread::spawn(move || drop((linker, left))).join().unwrap();
            }
        }
    };
    // All kinds once, so that what is made once is made.
    (0..60).for_each(round);
    let before = Usage::now();
    let started = std::time::Instant::now();
    // 140 engines, 280 modules, 840 stores, 1680 instances, some 4000 calls.
    (0..140).for_each(round);
    println!("{:?}", started.elapsed());
    Usage::now().assert_as(&before);
    let _ = std::fs::remove_file(format!("/tmp/perf-{}.map", std::process::id()));
}

#[test]
fn thousands_of_stores_of_one_engine_leave_nothing() {
    if !child::alone("resources::churn::thousands_of_stores_of_one_engine_leave_nothing") {
        return;
    }
    let engine = Engine::new(&config(9)).unwrap();
    let (linker, module) = (linker(&engine), Module::new(&engine, WAT).unwrap());
    // Some stay for a while.
    let round = |kind: usize| {
        let mut left = Left::default();
        (kind..kind + 10).for_each(|kind| live(&module, &linker, kind, &mut left));
    };
    (0..30).for_each(round);
    let before = Usage::now();
    (0..150).for_each(round);
    Usage::now().assert_as(&before);
}

#[test]
fn modules_that_come_and_go_while_their_engine_stays_leave_nothing() {
    if !child::alone(
        "resources::churn::modules_that_come_and_go_while_their_engine_stays_leave_nothing",
    ) {
        return;
    }
    for kind in [0, 9] {
        let engine = Engine::new(&config(kind)).unwrap();
        let mut round = |i: usize| {
            let name = format!("$m{}", i % 10);
            let module = Module::new(&engine, WAT.replace("$churned", &name)).unwrap();
            let bytes = module.serialize().unwrap();
            // SAFETY: what was just serialized.
            let again = unsafe { Module::deserialize(&engine, bytes) }.unwrap();
            let mut store = Store::new(&engine, Vec::new());
            let [a, b] = [&module, &again]
                .map(|module| linker(&engine).instantiate(&mut store, module).unwrap());
            drop((module, again));
            for instance in [a, b] {
                let f: Instance = instance;
                let spins = f.get_typed_func::<i32, i32>(&mut store, "spins").unwrap();
                store.set_fuel(1000).unwrap();
                store.set_epoch_deadline(5);
                assert_eq!(spins.call(&mut store, 3).unwrap(), 0);
            }
        };
        (0..60).for_each(&mut round);
        let before = Usage::now();
        (0..200).for_each(&mut round);
        Usage::now().assert_as(&before);
    }
}
