//! `call_async` and asynchronous host functions: under a plain executor, and under tokio.

use crate::yields::counting;
use crate::{panic_of, text};
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;
use stillframe::{
    Caller, Config, Engine, Extern, Func, FuncType, Instance, Linker, Module, ResumableCall, Store,
    Trap, TypedFunc, Val, ValType, WasmBacktrace, bail,
};

/// Polls a future until it is ready, and says how often it was pending. It must have woken its
/// waker each time.
pub(crate) fn block_on<F: Future>(future: F) -> (F::Output, u32) {
    struct Woken(AtomicU32);
    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let woken = Arc::new(Woken(AtomicU32::new(0)));
    let waker = Waker::from(woken.clone());
    let mut future = pin!(future);
    for pending in 0.. {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return (output, pending);
        }
        assert!(woken.0.load(SeqCst) > pending, "pending, and nobody was woken");
    }
    unreachable!()
}

/// A future that is pending so many times.
async fn pause(times: u32) {
    let mut left = times;
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Asks the host for two numbers, the second after the first; locals live across both.
const ASK: &str = r#"
    (module
        (import "host" "ask" (func $ask (param i32) (result i32)))
        (memory (export "memory") 1)
        (func $inner (export "ask") (param i32) (result i32) (call $ask (local.get 0)))
        (func (export "sum") (param i32) (result i32) (local i32)
            (local.set 1 (call $inner (local.get 0)))
            (i32.add (local.get 1) (call $inner (i32.add (local.get 0) (i32.const 1))))))
"#;

type Answer<'a> = Box<dyn Future<Output = stillframe::Result<i32>> + Send + 'a>;

/// `ASK` with this as the host function.
fn asking<T: Send + 'static>(
    config: &Config,
    data: T,
    ask: impl for<'a> Fn(Caller<'a, T>, (i32,)) -> Answer<'a> + Send + Sync + 'static,
) -> (Store<T>, Instance, TypedFunc<i32, i32>) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, ASK).unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_wrap_async("host", "ask", ask).unwrap();
    let mut store = Store::new(&engine, data);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let sum = instance.get_typed_func(&mut store, "sum").unwrap();
    (store, instance, sum)
}

#[test]
fn a_call_waits_for_its_host_functions_each_time() {
    let (mut store, _, sum) = asking(&Config::new(), (), |_, (n,)| {
        Box::new(async move {
            pause(n as u32).await;
            Ok(10 * n)
        })
    });
    assert_eq!(block_on(async { sum.call_async(&mut store, 3).await.unwrap() }), (70, 3 + 4));
    // A future that is ready at once does not make the call wait.
    assert_eq!(block_on(async { sum.call_async(&mut store, 0).await.unwrap() }), (10, 1));
}

#[test]
fn the_caller_is_there_across_await_points() {
    let (mut store, _, sum) = asking(&Config::new(), Vec::new(), |mut caller, (n,)| {
        Box::new(async move {
            for step in 0..3 {
                caller.data_mut().push((n, step));
                pause(1).await;
                let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
                    bail!("no memory")
                };
                memory.data_mut(&mut caller)[step] += 1;
            }
            // Its callers' frames are there as in any host function.
            let trace = WasmBacktrace::capture(&caller);
            let names: Vec<_> = trace.frames().iter().map(|frame| frame.func_index()).collect();
            assert_eq!(names, [1, 2]);
            Ok(n)
        })
    });
    let (sum, pending) = block_on(sum.call_async(&mut store, 1));
    assert_eq!((sum.unwrap(), pending), (3, 6));
    assert_eq!(*store.data(), [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]);
}

#[test]
fn a_call_that_cannot_wait_fails_with_advice() {
    let (mut store, instance, sum) =
        asking(&Config::new(), (), |_, (n,)| Box::new(async move { Ok(n) }));
    assert!(text(sum.call(&mut store, 1)).contains("call_async"));
    // In a resumable call it is a host function's error like any other.
    let ask = instance.get_func(&mut store, "ask").unwrap();
    let mut results = [Val::I32(0)];
    let call = ask.call_resumable(&mut store, &[Val::I32(1)], &mut results).unwrap();
    let ResumableCall::HostTrap(call) = call else { panic!("{call:?}") };
    assert!(call.host_error().to_string().contains("call_async"));
    let done = call.resume(&mut store, &[Val::I32(7)], &mut results).unwrap();
    assert!(matches!(done, ResumableCall::Finished));
    assert_eq!(results[0].unwrap_i32(), 7);
}

#[test]
fn an_error_after_waiting_ends_the_call_with_a_backtrace() {
    let (mut store, _, sum) = asking(&Config::new(), (), |_, (n,)| {
        Box::new(async move {
            pause(2).await;
            if n == 2 {
                bail!("no more")
            }
            Ok(n)
        })
    });
    let error = block_on(sum.call_async(&mut store, 1)).0.unwrap_err();
    assert_eq!(error.root_cause().to_string(), "no more");
    let trace = error.downcast_ref::<WasmBacktrace>().expect("a backtrace");
    let functions: Vec<_> = trace.frames().iter().map(|frame| frame.func_index()).collect();
    assert_eq!(functions, [1, 2]);
    assert!(store.suspended_backtraces().is_empty());
}

#[test]
fn a_panic_after_waiting_goes_on_and_leaves_the_store_usable() {
    let (mut store, _, sum) = asking(&Config::new(), (), |_, (n,)| {
        Box::new(async move {
            pause(1).await;
            assert_ne!(n, 6, "not six");
            Ok(n)
        })
    });
    let message = panic_of(|| block_on(sum.call_async(&mut store, 5)));
    assert!(message.contains("not six"), "{message}");
    assert_eq!(store.runtime_limits().last_wasm_entry_sp, 0);
    assert_eq!(block_on(sum.call_async(&mut store, 1)).0.unwrap(), 3);
}

#[test]
fn dropping_the_future_drops_what_the_host_function_was_doing() {
    struct Tells(Arc<AtomicU32>);
    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.fetch_add(1, SeqCst);
        }
    }
    let dropped = Arc::new(AtomicU32::new(0));
    let tells = dropped.clone();
    let (mut store, _, sum) = asking(&Config::new(), 0, move |mut caller, (n,)| {
        let tells = Tells(tells.clone());
        Box::new(async move {
            *caller.data_mut() += 1;
            pause(u32::MAX).await;
            drop(tells);
            Ok(n)
        })
    });
    let mut context = Context::from_waker(Waker::noop());
    for round in 1..=1000 {
        let mut call = Box::pin(sum.call_async(&mut store, 1));
        assert!(call.as_mut().poll(&mut context).is_pending());
        assert!(call.as_mut().poll(&mut context).is_pending());
        drop(call);
        assert_eq!((dropped.load(SeqCst), *store.data()), (round, round));
        assert_eq!(store.suspended_backtraces().len(), 0);
    }
    // A future that was never polled has not called anything.
    drop(sum.call_async(&mut store, 1));
    assert_eq!(*store.data(), 1000);
}

#[test]
fn a_forgotten_future_leaves_the_store_usable() {
    let (mut store, _, sum) = asking(&Config::new(), (), |_, (n,)| {
        Box::new(async move {
            pause(n as u32).await;
            Ok(n)
        })
    });
    let mut call = Box::pin(sum.call_async(&mut store, 1000));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    std::mem::forget(call);
    assert_eq!(block_on(sum.call_async(&mut store, 1)).0.unwrap(), 3);
}

#[test]
fn asynchronous_calls_nest() {
    let (mut store, _, sum) = asking(&Config::new(), 0, |mut caller, (n,)| {
        Box::new(async move {
            pause(1).await;
            if n >= 2 {
                return Ok(n);
            }
            let sum = caller.get_export("sum").and_then(Extern::into_func).unwrap();
            let sum = sum.typed::<i32, i32>(&caller)?.call_async(&mut caller, n + 10).await?;
            *caller.data_mut() += 1;
            Ok(sum)
        })
    });
    // 1 asks for 11 + 12 from inside; 2 is itself.
    let (result, pending) = block_on(sum.call_async(&mut store, 1));
    assert_eq!((result.unwrap(), pending, *store.data()), (11 + 12 + 2, 4, 1));
}

#[test]
fn a_plain_call_below_an_asynchronous_one_cannot_wait() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "outer" (func $outer (result i32)))
            (import "host" "wait" (func $wait (result i32)))
            (func (export "run") (result i32) (call $outer))
            (func (export "waits") (result i32) (call $wait)))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "outer", |mut caller: Caller<'_, ()>| {
            let waits = caller.get_export("waits").and_then(Extern::into_func).unwrap();
            let waits = waits.typed::<(), i32>(&caller)?;
            let error = waits.call(&mut caller, ()).unwrap_err();
            stillframe::Result::<i32>::Ok(i32::from(text::<()>(Err(error)).contains("call_async")))
        })
        .unwrap();
    linker
        .func_wrap_async("host", "wait", |_: Caller<'_, ()>, ()| Box::new(async move { 1 }))
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<(), i32>(&mut store, "run").unwrap();
    assert_eq!(block_on(run.call_async(&mut store, ())).0.unwrap(), 1);
}

#[test]
fn asynchronous_functions_of_dynamic_type_are_checked() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new([ValType::I32, ValType::F64], [ValType::F64, ValType::I32]);
    let swap = Func::new_async(&mut store, ty.clone(), |_, params, results| {
        Box::new(async move {
            results[0] = params[1];
            pause(2).await;
            results[1] = params[0];
            Ok(())
        })
    });
    let wrong = Func::new_async(&mut store, ty, |_, params, results| {
        Box::new(async move {
            results.copy_from_slice(params);
            Ok(())
        })
    });
    // Called straight, and from wasm.
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $f (param i32 f64) (result f64 i32)))
            (func (export "f") (param i32 f64) (result f64 i32)
                (call $f (local.get 0) (local.get 1))))"#,
    )
    .unwrap();
    let params = [Val::I32(4), Val::from(0.5)];
    for (func, fits) in [(swap, true), (wrong, false)] {
        let instance = Instance::new(&mut store, &module, &[func.into()]).unwrap();
        let exported = instance.get_func(&mut store, "f").unwrap();
        for func in [func, exported] {
            let mut results = [Val::I32(0), Val::I32(0)];
            let (called, pending) = block_on(func.call_async(&mut store, &params, &mut results));
            if fits {
                called.unwrap();
                assert_eq!((results[0].unwrap_f64(), results[1].unwrap_i32()), (0.5, 4));
                assert_eq!(pending, 2);
            } else {
                assert!(text(called).contains("result 0: expected `f64`, found `i32`"));
            }
        }
    }
    let (called, _) = block_on(swap.call_async(&mut store, &params[..1], &mut []));
    assert!(text(called).contains("expected 2 arguments, found 1"));
}

#[test]
fn start_functions_can_wait() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (import "host" "wait" (func)) (start 0))"#);
    let module = module.unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("host", "wait", |mut caller: Caller<'_, u32>, ()| {
            Box::new(async move {
                pause(3).await;
                *caller.data_mut() += 1;
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, 0);
    assert!(text(linker.instantiate(&mut store, &module)).contains("call_async"));
    let (instance, pending) = block_on(linker.instantiate_async(&mut store, &module));
    instance.unwrap();
    assert_eq!((pending, *store.data()), (3, 1));
}

/// The futures of a multi-threaded executor move between threads: with timers, and with a task that
/// traps.
#[test]
fn many_guests_share_the_threads_of_tokio() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(4).enable_time().build().unwrap();
    let mut config = Config::new();
    config.consume_fuel(true);
    let engine = Engine::new(&config).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "sleep" (func $sleep (param i32) (result i32)))
            (func (export "run") (param i32) (result i32) (local i32 i32)
                (loop $again
                    (local.set 2 (i32.add (local.get 2) (call $sleep (local.get 0))))
                    (local.set 1 (i32.add (local.get 1) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get 1) (i32.const 20))))
                (i32.div_u (local.get 2) (i32.rem_u (local.get 0) (i32.const 10)))))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("host", "sleep", |mut caller: Caller<'_, Vec<_>>, (n,): (i32,)| {
            Box::new(async move {
                caller.data_mut().push(std::thread::current().id());
                tokio::time::sleep(Duration::from_micros(n as u64 % 7 * 100)).await;
                tokio::task::yield_now().await;
                caller.data_mut().push(std::thread::current().id());
                n
            })
        })
        .unwrap();
    let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let guests = (0..200).map(|n| {
        let (engine, module, linker) = (engine.clone(), module.clone(), linker.clone());
        let threads = threads.clone();
        runtime.spawn(async move {
            let mut store = Store::new(&engine, Vec::new());
            store.fuel_async_yield_interval(Some(50)).unwrap();
            store.set_fuel(100_000).unwrap();
            let instance = linker.instantiate_async(&mut store, &module).await.unwrap();
            let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
            let result = run.call_async(&mut store, n).await;
            threads.lock().unwrap().extend(store.data().iter().copied());
            (n, result.map_err(|error| error.downcast_ref::<Trap>().copied()), store.get_fuel())
        })
    });
    let guests: Vec<_> = guests.collect();
    let mut fuel = Vec::new();
    for guest in guests {
        let (n, result, left) = runtime.block_on(guest).unwrap();
        match n % 10 {
            0 => assert_eq!(result, Err(Some(Trap::IntegerDivisionByZero))),
            by => assert_eq!(result, Ok(20 * n / by)),
        }
        fuel.push(left.unwrap());
    }
    // The same path costs the same, whoever ran it in however many pieces.
    assert!(fuel.iter().all(|left| *left == fuel[0]), "{fuel:?}");
    assert!(threads.lock().unwrap().len() > 1, "all ran on one thread");
}

/// What an executor wants to know of the futures, checked when this is compiled.
#[test]
fn the_futures_are_send() {
    fn send<F: Send>(future: F) -> F {
        future
    }
    let (mut store, count) = counting(&mut Config::new());
    let func = count.func();
    let mut results = [Val::I32(0)];
    let call = send(func.call_async(&mut store, &[Val::I32(3)], &mut results));
    let call: Pin<Box<dyn Future<Output = _> + Send + '_>> = Box::pin(call);
    assert!(block_on(call).0.is_ok());
    assert_eq!(results[0].unwrap_i32(), 3);
    assert_eq!(block_on(send(count.call_async(&mut store, 4))).0.unwrap(), 4);
}

#[test]
fn polling_wants_room_on_the_host_stack_each_time() {
    // More than what a test's thread has.
    let mut config = Config::new();
    config.host_stack_reserve(64 << 20);
    let large = || std::thread::Builder::new().stack_size(128 << 20);
    let poll = |call: Pin<&mut (dyn Future<Output = stillframe::Result<i32>> + Send + '_)>| {
        call.poll(&mut Context::from_waker(Waker::noop()))
    };
    let (mut store, _, sum) = asking(&config, (), |_, (n,)| {
        Box::new(async move {
            pause(2).await;
            Ok(n)
        })
    });
    let mut call = Box::pin(sum.call_async(&mut store, 1));
    std::thread::scope(|scope| {
        let polled = large().spawn_scoped(scope, || poll(call.as_mut())).unwrap().join().unwrap();
        assert!(polled.is_pending());
    });
    let Poll::Ready(Err(error)) = poll(call.as_mut()) else { panic!("there is no room") };
    assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
    assert!(error.is::<WasmBacktrace>());
}
