//! Where suspended calls stand: the functions and the offsets of their operators, at each kind of
//! checkpoint, and how they move.
//!
//! Offsets are found in the bytes of the module, by the operators that stand there.

use super::common::{PLENTY, finished, host_trap, interrupted, out_of_fuel};
use stillframe::{
    Config, Engine, Func, Instance, Module, ResumableCall, Store, Val, WasmBacktrace, bail,
};

/// Every kind of checkpoint, each behind bytes that occur once: the constants 0x1001, 0x1002, ….
/// (`41 81 20` is `i32.const 0x1001`.)
const WAT: &str = r#"
(module $guest
  (import "" "wait" (func $wait (param i32)))
  (type $v (func (param i32)))
  (memory 1)
  (table $t 2 funcref) (elem (i32.const 0) $callee)
  (func $callee (type $v)
    (loop (drop (i32.const 0x1001)))
    (call $wait (i32.const 0x1002)))
  (func $bulk
    (memory.fill (i32.const 0) (i32.const 0x1003) (local.get 0))
    (drop (table.grow $t (ref.null func) (i32.add (i32.const 0x1004) (local.get 0))))
    (call $wait (i32.const 0x1005))
    (return_call $tail (i32.const 0x1006)))
  (func $tail (type $v) (return_call $wait (i32.const 0x1007)))
  (func $main (export "main")
    (call $callee (i32.const 0x1008))
    (call_indirect $t (type $v) (i32.const 0x1009) (i32.const 0))
    (call $bulk (i32.const 0))
    (call $bulk)))
"#;

/// The module, with a parameter added to `$bulk`.
fn module_bytes() -> Vec<u8> {
    let wat = WAT.replace("(func $bulk", "(func $bulk (param i32)");
    wat::parse_str(wat.replace("(call $bulk)))", "(drop (i32.const 0x100a))))")).unwrap()
}

/// Where `i32.const 0x1000 + n` ends.
fn behind(wasm: &[u8], n: u8) -> usize {
    let operator = [0x41, 0x80 | n, 0x20];
    let at: Vec<_> = (0..wasm.len()).filter(|&at| wasm[at..].starts_with(&operator)).collect();
    assert_eq!(at.len(), 1, "{operator:x?}");
    at[0] + operator.len()
}

/// The first operator of the body in which `i32.const 0x1000 + n` is the first, `before` bytes in.
fn start(wasm: &[u8], n: u8, before: usize) -> usize {
    behind(wasm, n) - 3 - before
}

type Place = (String, usize);

fn places(trace: &WasmBacktrace) -> Vec<Place> {
    let place = |frame: &stillframe::FrameInfo| {
        assert_eq!((frame.module_name(), frame.activation()), (Some("guest"), 0));
        (frame.func_name().unwrap().to_string(), frame.module_offset())
    };
    assert_eq!(trace.omitted(), 0);
    trace.frames().iter().map(place).collect()
}

/// Where `main` stops, at one checkpoint or failing host function after the other.
fn expected(wasm: &[u8]) -> Vec<Vec<Place>> {
    let at = |name: &str, offset: usize| (name.to_string(), offset);
    let main = |offset| at("main", offset);
    let mut expected = vec![vec![main(start(wasm, 8, 0))]];
    // `$callee`, called directly and through the table: entry, loop, `wait`'s trampoline, `wait`.
    // The loop's constant stands 2 bytes (`loop`, its type) behind the body's first operator. The
    // indirect call stands behind `i32.const 0`, 2 bytes.
    for call in [behind(wasm, 8), behind(wasm, 9) + 2] {
        let first = start(wasm, 1, 2);
        for offset in [first, first, behind(wasm, 2), behind(wasm, 2)] {
            expected.push(vec![at("callee", offset), main(call)]);
        }
    }
    // `call $bulk` stands behind `i32.const 0`, that behind the indirect call, 3 bytes.
    let bulk_call = behind(wasm, 9) + 2 + 3 + 2;
    // The body's first operator is `i32.const 0`; then the constant, `local.get`, `memory.fill`.
    let fill = behind(wasm, 3) + 2;
    // `local.get`, `i32.add`, `table.grow`.
    let grow = behind(wasm, 4) + 2 + 1;
    for offset in [start(wasm, 3, 2), fill, grow, behind(wasm, 5), behind(wasm, 5)] {
        expected.push(vec![at("bulk", offset), main(bulk_call)]);
    }
    // Tail calls leave no frame: `$tail`'s entry, then `wait` in the place of `$tail`.
    expected.push(vec![at("tail", start(wasm, 7, 0)), main(bulk_call)]);
    expected.push(vec![main(bulk_call)]);
    expected.push(vec![main(bulk_call)]);
    expected
}

fn setup(config: &Config) -> (Store<()>, Instance, Vec<u8>) {
    let wasm = module_bytes();
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, &wasm).unwrap();
    let mut store = Store::new(&engine, ());
    let wait = Func::wrap(&mut store, |_: i32| -> stillframe::Result<()> { bail!("wait") });
    let instance = Instance::new(&mut store, &module, &[wait.into()]).unwrap();
    (store, instance, wasm)
}

/// The call's places, which are also those that the store knows of.
fn seen(store: &Store<()>, trace: stillframe::Result<WasmBacktrace>) -> Vec<Place> {
    let found = places(&trace.unwrap());
    let all: Vec<_> = store.suspended_backtraces().iter().map(places).collect();
    assert_eq!(all, std::slice::from_ref(&found));
    found
}

/// Runs `main` from one suspension to the next.
fn walk(mut store: Store<()>, instance: Instance, fuel: bool) -> Vec<Vec<Place>> {
    let main = instance.get_func(&mut store, "main").unwrap();
    let mut found = Vec::new();
    let mut call = main.call_resumable(&mut store, &[], &mut []).unwrap();
    loop {
        // Between two of them nothing is suspended, and there are no frames that run.
        assert_eq!(WasmBacktrace::capture(&store).frames().len(), 0);
        call = match call {
            ResumableCall::Finished => return found,
            ResumableCall::HostTrap(call) => {
                found.push(seen(&store, call.backtrace(&store)));
                call.resume(&mut store, &[], &mut []).unwrap()
            }
            ResumableCall::OutOfFuel(call) if fuel => {
                found.push(seen(&store, call.backtrace(&store)));
                store.set_fuel(call.required_fuel()).unwrap();
                call.resume(&mut store, &mut []).unwrap()
            }
            ResumableCall::Interrupted(call) if !fuel => {
                found.push(seen(&store, call.backtrace(&store)));
                call.resume(&mut store, &mut []).unwrap()
            }
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn every_kind_of_checkpoint_is_where_its_operator_is() {
    let (store, instance, wasm) = setup(Config::new().consume_fuel(true));
    assert_eq!(walk(store, instance, true), expected(&wasm));
}

#[test]
fn epochs_stop_at_the_same_places() {
    let (mut store, instance, wasm) = setup(Config::new().epoch_interruption(true));
    store.epoch_deadline_suspend();
    assert_eq!(walk(store, instance, false), expected(&wasm));
}

#[test]
fn offsets_within_the_function_count_from_its_body() {
    let (mut store, instance, wasm) = setup(Config::new().consume_fuel(true));
    let main = instance.get_func(&mut store, "main").unwrap();
    store.set_fuel(PLENTY).unwrap();
    let call = host_trap(main.call_resumable(&mut store, &[], &mut []).unwrap());
    let trace = call.backtrace(&store).unwrap();
    let callee = &trace.frames()[0];
    // The body: its number of groups of locals, 1 byte; then `loop`.
    assert_eq!(callee.func_offset(), 1 + behind(&wasm, 2) - start(&wasm, 1, 2));
    assert_eq!(callee.func_index(), 1);
    let shown = trace.to_string();
    assert!(shown.contains(" - guest!callee\n"), "{shown}");
    assert!(shown.ends_with(&format!("{:#x} - guest!main", behind(&wasm, 8))), "{shown}");
}

#[test]
fn each_of_many_suspended_calls_has_its_own() {
    let (mut store, instance, wasm) = setup(Config::new().consume_fuel(true));
    let main = instance.get_func(&mut store, "main").unwrap();
    let expected = expected(&wasm);
    // Call number n has passed n stops.
    let mut calls = Vec::new();
    for n in 0..expected.len() {
        store.set_fuel(0).unwrap();
        let mut call = main.call_resumable(&mut store, &[], &mut []).unwrap();
        for _ in 0..n {
            call = match call {
                ResumableCall::OutOfFuel(call) => {
                    store.set_fuel(call.required_fuel()).unwrap();
                    call.resume(&mut store, &mut []).unwrap()
                }
                ResumableCall::HostTrap(call) => call.resume(&mut store, &[], &mut []).unwrap(),
                other => panic!("{other:?}"),
            };
        }
        calls.push(call);
    }
    let of = |call: &ResumableCall| match call {
        ResumableCall::OutOfFuel(call) => call.backtrace(&store).unwrap(),
        ResumableCall::HostTrap(call) => call.backtrace(&store).unwrap(),
        other => panic!("{other:?}"),
    };
    let found: Vec<_> = calls.iter().map(|call| places(&of(call))).collect();
    assert_eq!(found, expected);
    let sorted = |mut places: Vec<Vec<Place>>| {
        places.sort();
        places
    };
    let all = || store.suspended_backtraces().iter().map(places).collect::<Vec<_>>();
    assert_eq!(sorted(all()), sorted(expected.clone()));
    // Those that are dropped are gone.
    let rest: Vec<_> = calls.drain(..).step_by(2).collect();
    assert_eq!(sorted(all()), sorted(expected.iter().step_by(2).cloned().collect()));
    drop(rest);
    assert!(all().is_empty());
}

#[test]
fn the_error_of_a_resumed_call_has_its_frames() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let module = Module::new(
        &engine,
        "(module (func $f (param i32) (loop (br_if 0 (local.get 0))) unreachable)
            (func $g (export \"g\") (call $f (i32.const 0))))",
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let g = instance.get_func(&mut store, "g").unwrap();
    store.set_fuel(4).unwrap();
    let call = out_of_fuel(g.call_resumable(&mut store, &[], &mut []).unwrap());
    store.set_fuel(100).unwrap();
    let error = call.resume(&mut store, &mut []).unwrap_err().into_error();
    let frames = error.downcast_ref::<WasmBacktrace>().unwrap().frames();
    let names: Vec<_> = frames.iter().map(|frame| frame.func_name().unwrap()).collect();
    assert_eq!(names, ["f", "g"]);
}

/// A host function sees the frames of the call it is called by, and not those of others.
#[test]
fn host_functions_see_the_frames_of_their_own_call() {
    let engine = Engine::new(Config::new().epoch_interruption(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "" "" (func $h))
            (func $inner (param i32) (loop (call $h)))
            (func $outer (export "outer") (call $inner (i32.const 0))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, Vec::new());
    let h = Func::wrap(&mut store, |mut caller: stillframe::Caller<'_, Vec<usize>>| {
        let frames = WasmBacktrace::capture(&caller).frames().len();
        let suspended = caller.suspended_backtraces().len();
        caller.data_mut().extend([frames, suspended]);
    });
    let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
    let outer = instance.get_func(&mut store, "outer").unwrap();
    store.epoch_deadline_suspend();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let call = outer.call_resumable(&mut store, &[], &mut [Val::I32(0)][..0]).unwrap();
        calls.push(interrupted(call));
    }
    store.set_epoch_deadline(1);
    for call in calls {
        finished(call.resume(&mut store, &mut []).unwrap());
    }
    assert_eq!(*store.data(), [2, 2, 2, 1, 2, 0]);
}
