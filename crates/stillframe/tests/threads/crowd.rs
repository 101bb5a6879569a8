//! One engine and all that stores share, used by all threads at once: modules that are made, shared
//! and dropped, pools that are too small, trampolines, epochs at a thousand a second.

use super::common::{Done, ENDINGS, Random, THREADS, WAT, Walk, engine, instantiate};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Duration;
use stillframe::{
    Engine, Func, FuncType, Instance, Module, Store, Trap, TypedResumableCall, Val, ValType,
};

/// Lets the epoch go on a thousand times a second until `done`.
fn tick(engine: &Engine, done: &AtomicBool) {
    while !done.load(Relaxed) {
        engine.increment_epoch();
        thread::sleep(Duration::from_millis(1));
    }
}

/// A store that somebody left for others, with its calls.
type Left = (Store<()>, Vec<Walk>);

/// What one thread does in one round, with what it found.
fn round(
    modules: &Mutex<Vec<Module>>,
    found: Option<Left>,
    random: &mut Random,
    number: usize,
) -> Option<Left> {
    let (mut store, mut calls) = found.unwrap_or_else(|| {
        let module = {
            let mut modules = modules.lock().unwrap();
            let at = random.below(modules.len());
            match random.below(8) {
                // Another takes its place, and it goes when its last store does.
                0 => {
                    let wat = WAT.replace("$fail", &format!("$fail{number}"));
                    let new = Module::new(modules[at].engine(), wat).unwrap();
                    std::mem::replace(&mut modules[at], new)
                }
                _ => modules[at].clone(),
            }
        };
        let (mut store, instance) = instantiate(&module);
        let walk = instance.get_typed_func(&mut store, "walk").unwrap();
        let calls = (0..6).map(|i| Walk::start(&mut store, walk, i + number as i32)).collect();
        (store, calls)
    });
    store.set_epoch_deadline(random.below(2) as u64);
    // Frames and handles of those that stand.
    let traces = store.suspended_backtraces();
    let finished = |call: &&Walk| matches!(call.call, TypedResumableCall::Finished(_));
    let standing: Vec<&Walk> = calls.iter().filter(|call| !finished(call)).collect();
    assert_eq!(traces.len(), standing.len());
    for (trace, call) in traces.iter().zip(standing) {
        assert_eq!(trace.frames().last().unwrap().func_index(), 3);
        let frames: Vec<_> = call.call.frames(&store).unwrap().collect();
        assert!(frames.iter().all(|frame| frame.is_valid(&store)));
        // Where `walk` has called what it ends in, it is not needed any more.
        if let Ok(how) = frames.last().unwrap().local(&store, 0) {
            assert_eq!(how.unwrap_i32(), call.how);
        }
    }
    for _ in 0..calls.len() {
        let call = calls.swap_remove(random.below(calls.len()));
        calls.extend(call.step(&mut store, [0, 7, 1000][random.below(3)]));
    }
    match random.below(10) {
        0 => {
            // The store goes first, and the calls on another thread.
            drop(store);
            thread::scope(|scope| drop(scope.spawn(|| drop(calls))));
            None
        }
        _ if calls.is_empty() => None,
        _ => Some((store, calls)),
    }
}

#[test]
fn one_engine_is_used_by_all_threads_in_every_way() {
    const ROUNDS: usize = 120;
    let engine = engine(|config| {
        config.pooled_stacks(5).pooled_memories(3).frame_cache_size(3);
    });
    let modules = (0..3).map(|_| Module::new(&engine, WAT).unwrap()).collect();
    let modules: Mutex<Vec<Module>> = Mutex::new(modules);
    let exchange: Mutex<Vec<Left>> = Mutex::default();
    let (done, working) = (AtomicBool::new(false), AtomicUsize::new(THREADS));
    thread::scope(|scope| {
        scope.spawn(|| tick(&engine, &done));
        for thread in 0..THREADS {
            let (modules, exchange, done, working) = (&modules, &exchange, &done, &working);
            scope.spawn(move || {
                struct Last<'a>(&'a AtomicUsize, &'a AtomicBool);
                impl Drop for Last<'_> {
                    fn drop(&mut self) {
                        // The ticker ends with the last of us.
                        if self.0.fetch_sub(1, Relaxed) == 1 {
                            drop(Done(self.1));
                        }
                    }
                }
                let _last = Last(working, done);
                let mut random = Random(0xabcdef + 31 * thread as u64);
                for number in 0..ROUNDS {
                    // Most of what it finds is what another thread has left.
                    let found = {
                        let mut exchange = exchange.lock().unwrap();
                        let at = random.below(exchange.len() + 1);
                        (at < exchange.len()).then(|| exchange.swap_remove(at))
                    };
                    let left = round(modules, found, &mut random, thread * ROUNDS + number);
                    exchange.lock().unwrap().extend(left);
                }
            });
        }
    });
    assert!(engine.free_stacks() <= 5 && engine.free_memories() <= 3);
}

/// All threads want the same types' trampolines at the same moment, and new ones.
#[test]
fn trampolines_are_made_by_all_threads_at_once() {
    let engine = engine(|_| ());
    let types: Vec<FuncType> = (0..24)
        .map(|i| {
            let all = [ValType::I32, ValType::I64, ValType::F32, ValType::F64];
            let params: Vec<ValType> = (0..i % 9).map(|k| all[(i + k) % 4]).collect();
            FuncType::new(params.iter().copied(), params.iter().copied().rev().take(1 + i % 3))
        })
        .collect();
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, types, start) = (&engine, &types, &start);
            scope.spawn(move || {
                start.wait();
                for i in 0..types.len() {
                    // Half of them in the same order, half of them in others.
                    let ty = &types[(i + thread % 2 * thread) % types.len()];
                    let mut store = Store::new(engine, ());
                    store.set_fuel(1000).unwrap();
                    store.set_epoch_deadline(1);
                    let results = ty.results().len();
                    let host = Func::new(&mut store, ty.clone(), move |_, params, out| {
                        out.clone_from_slice(&params[params.len() - out.len()..]);
                        out.reverse();
                        Ok(())
                    });
                    // Through wasm, so that both are needed.
                    let wat = through(ty);
                    let module = Module::new(engine, wat).unwrap();
                    let instance = Instance::new(&mut store, &module, &[host.into()]).unwrap();
                    let f = instance.get_func(&mut store, "f").unwrap();
                    let params: Vec<Val> = ty.params().iter().map(|ty| value(*ty)).collect();
                    let mut out = vec![Val::I32(0); results];
                    f.call(&mut store, &params, &mut out).unwrap();
                    let expected: Vec<String> =
                        ty.results().iter().map(|ty| format!("{:?}", value(*ty))).collect();
                    let out: Vec<String> = out.iter().map(|value| format!("{value:?}")).collect();
                    assert_eq!(out, expected);
                }
            });
        }
    });
}

fn value(ty: ValType) -> Val {
    match ty {
        ValType::I32 => Val::I32(-5),
        ValType::I64 => Val::I64(1 << 40),
        ValType::F32 => Val::F32(2.5_f32.to_bits()),
        _ => Val::F64(0.125_f64.to_bits()),
    }
}

/// A module that calls its import with what it was called with.
fn through(ty: &FuncType) -> String {
    let list = |what: &str, types: &[ValType]| -> String {
        let names: Vec<String> = types.iter().map(ToString::to_string).collect();
        format!("({what} {})", names.join(" "))
    };
    let signature = list("param", ty.params()) + &list("result", ty.results());
    let gets: String = (0..ty.params().len()).map(|i| format!("local.get {i} ")).collect();
    format!(
        "(module (import \"\" \"\" (func $h {signature})) (func (export \"f\") {signature} {gets} call $h))"
    )
}

/// The signal handler looks for the owner of code while others register and drop theirs.
#[test]
fn threads_trap_while_modules_come_and_go() {
    const TRAPS: usize = 400;
    let engine = engine(|config| {
        config.pooled_memories(2);
    });
    let module = Module::new(&engine, WAT).unwrap();
    let trapping = AtomicUsize::new(THREADS / 2);
    thread::scope(|scope| {
        for thread in 0..THREADS / 2 {
            let (module, trapping) = (module.clone(), &trapping);
            scope.spawn(move || {
                let (mut store, instance) = instantiate(&module);
                // The store keeps it.
                drop(module);
                let walk =
                    instance.get_typed_func::<(i32, i32, i64), (i64, f64)>(&mut store, "walk");
                let walk = walk.unwrap();
                for i in 0..TRAPS {
                    let how = (thread + i) as i32 % 3;
                    let mut call = Walk::start(&mut store, walk, 9 * i as i32 + how);
                    while let Some(next) = call.step(&mut store, 1 << 30) {
                        call = next;
                    }
                }
                trapping.fetch_sub(1, Relaxed);
            });
        }
        for thread in 0..THREADS / 2 {
            let (engine, trapping) = (&engine, &trapping);
            scope.spawn(move || {
                let mut held = Vec::new();
                for i in 0.. {
                    if trapping.load(Relaxed) == 0 {
                        break;
                    }
                    let wat = format!(
                        "(module (memory 1) (func (export \"f{thread}\")
                        (i32.store (i32.const {}) (i32.const 0))))",
                        i * 4096 + 65_000
                    );
                    let module = Module::new(engine, wat).unwrap();
                    let mut store = Store::new(engine, ());
                    store.set_fuel(100).unwrap();
                    store.set_epoch_deadline(1000);
                    let instance = Instance::new(&mut store, &module, &[]).unwrap();
                    let name = format!("f{thread}");
                    let f = instance.get_typed_func::<(), ()>(&mut store, &name).unwrap();
                    let result = f.call(&mut store, ());
                    let trap = result.err().map(|error| *error.downcast_ref::<Trap>().unwrap());
                    assert_eq!(trap, (i > 0).then_some(ENDINGS[1]));
                    held.push((store, module));
                    if held.len() > 5 {
                        held.swap_remove(i * 7 % 5);
                    }
                }
            });
        }
    });
}
