//! Frames: read before they were made, after they were gone, or of somebody else.

use super::common::{call, engine, guest, module, trap_of};
use std::sync::{Arc, Mutex};
use stillframe::{
    Caller, CoreDumpBuilder, Engine, FrameState, FrozenTrace, Func, Instance, Store, Trap, Val,
    WasmBacktrace,
};

/// A debugger read the instance out of the frame that had overflowed the stack: the check comes
/// before anything is stored in the frame, so what it read was whatever had been there. With several instances of
/// one module, and a stack full of what looks like their contexts.
#[test]
fn the_frame_that_overflows_the_stack_is_not_read_before_it_is_made() {
    for (params, results) in [
        ("", ""),
        ("i64", ""),
        ("i32 f64 v128", "i32"),
        ("", "i64 i64 i64 i64 f64"),
        // These go through memory, whose address is the first argument.
        ("i64", &"i64 ".repeat(40)),
        ("i64 i64 i64 i64 i64 i64 i64 i64 i64", "i64 i64 i64"),
    ] {
        let args: String = params
            .split_whitespace()
            .enumerate()
            .map(|(i, _)| format!("(local.get {i})"))
            .collect();
        let locals = "i64 ".repeat(40);
        let first = params.split_whitespace().count();
        let set: String =
            (first..first + 40).map(|i| format!("(local.set {i} (i64.const -1))")).collect();
        let or: String = (first..first + 40).map(|i| format!("(i64.or (local.get {i}))")).collect();
        // Recursion in which everything is kept in the frame.
        let wat = format!(
            "(module (global $g (export \"g\") (mut i64) (i64.const 0))
                (func $f (export \"f\") (param {params}) (result {results}) (local {locals}) {set}
                    (call $f {args})
                    (global.set $g (i64.const 0) {or})))"
        );
        for state in [FrameState::Off, FrameState::Live, FrameState::All] {
            let engine = engine(|config| {
                config.max_wasm_stack(64 << 10).frame_state(state);
            });
            let module = module(&engine, &wat);
            let mut store = Store::new(&engine, ());
            let instances = [(); 3].map(|()| Instance::new(&mut store, &module, &[]).unwrap());
            for round in 0..9 {
                let instance = instances[round % 3];
                let args: Vec<Val> = params
                    .split_whitespace()
                    .map(|ty| match ty {
                        "i32" => Val::I32(-1),
                        "i64" => Val::I64(-1),
                        "f64" => Val::F64(u64::MAX),
                        _ => Val::V128(u128::MAX.into()),
                    })
                    .collect();
                let error = call(&mut store, instance, "f", &args).unwrap_err();
                assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
                let trace = FrozenTrace::of(&error).unwrap();
                let inner = &trace.frames()[0];
                assert_eq!((inner.func_index(), inner.activation()), (0, 0));
                assert_eq!(inner.instance(), Some(instance), "{params} to {results}");
                assert!(
                    inner.locals().iter().all(|local| local.value.is_err()),
                    "no cell is made yet"
                );
                assert_eq!(inner.operands().len(), 0);
                for frame in &trace.frames()[1..] {
                    assert!(frame.instance().is_none_or(|found| found == instance));
                    assert!(state == FrameState::Off || frame.instance().is_some());
                }
                assert!(CoreDumpBuilder::new("f").of_error(&store, &error).is_some());
            }
        }
    }
}

/// wasmtime, GHSA-q8hx-mm92-4wvg: a backtrace of frames that had made tail calls followed return addresses of
/// frames that were gone. With more and with fewer parameters than the frame that they replace, taken in the host
/// function, at traps, and when suspended.
#[test]
fn backtraces_behind_tail_calls_have_the_frames_that_are_there() {
    const WAT: &str = r#"(module
        (type $w (func (param i32 i64 i64 i64 i64 i64 i64 i64 i64 i64 f64) (result i32)))
        (import "" "h" (func $h (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
        (table funcref (elem $wide))
        (func $outer (export "f") (param i32) (result i32) (i32.add (call $one (local.get 0)) (i32.const 1)))
        (func $one (param i32) (result i32)
            (return_call_indirect (type $w) (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
                (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (i64.const 9) (f64.const 10) (i32.const 0)))
        (func $wide (type $w)
            (if (i32.eqz (local.get 0)) (then (return_call $end)))
            (if (i32.eq (local.get 0) (i32.const 1)) (then (return_call $two (local.get 0) (i32.const 2))))
            (return_call $one (i32.sub (local.get 0) (i32.const 1))))
        (func $two (param i32 i32) (result i32)
            (return_call $h (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5)
                (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9) (i32.const 10)))
        (func $end (result i32) (unreachable)))"#;
    for engine in super::common::engines() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let (mut store, instance) = guest(&engine, WAT, |store| {
            let h = move |caller: Caller<'_, ()>,
                          a: i32,
                          b: i32,
                          c: i32,
                          d: i32,
                          e: i32,
                          f: i32,
                          g: i32,
                          h: i32,
                          i: i32,
                          j: i32| {
                let trace = WasmBacktrace::capture(&caller);
                log.lock().unwrap().push(
                    trace.frames().iter().map(|frame| frame.func_index()).collect::<Vec<_>>(),
                );
                a + b + c + d + e + f + g + h + i + j
            };
            vec![Func::wrap(store, h).into()]
        });
        for depth in [1, 2, 50, 1000] {
            let results = call(&mut store, instance, "f", &[Val::I32(depth)]).unwrap();
            assert_eq!(results[0].unwrap_i32(), 56);
        }
        // The first function is the host's.
        assert_eq!(*seen.lock().unwrap(), vec![vec![1]; 4]);
        let error = call(&mut store, instance, "f", &[Val::I32(0)]).unwrap_err();
        let frames = FrozenTrace::of(&error).unwrap().frames();
        assert_eq!(frames.iter().map(|frame| frame.func_index()).collect::<Vec<_>>(), [5, 1]);
        assert_eq!(trap_of::<()>(Err(error)), Trap::UnreachableCodeReached);
    }
}

/// wasmtime, pull request 4779: frames of two stores in turn on one thread; each walk took those of the
/// other store for its own.
#[test]
fn walks_through_two_stores_that_call_each_other_see_their_own_frames() {
    const WAT: &str = r#"(module
        (import "" "h" (func $h (param i32) (result i32)))
        (func $down (param i32 i32) (result i32)
            (if (result i32) (local.get 0)
                (then (i32.add (i32.const 1) (call $down (i32.sub (local.get 0) (i32.const 1)) (local.get 1))))
                (else (call $h (local.get 1)))))
        (func (export "f") (param i32 i32) (result i32) (call $down (local.get 0) (local.get 1)))
        (func (export "trap") (drop (i32.load (i32.const 0)))) (memory 0))"#;
    type Shared = Arc<Mutex<Option<(Store<usize>, Instance)>>>;
    let engine = Engine::default();
    let module = module(&engine, WAT);
    let slots: [Shared; 2] = Default::default();
    for (mine, other) in [(0, 1), (1, 0)] {
        let other = slots[other].clone();
        let mut store = Store::new(&engine, 0);
        let h = Func::wrap(&mut store, move |mut caller: Caller<'_, usize>, n: i32| {
            // So many frames of each call of this store that is running.
            let frames = caller.frames().count();
            *caller.data_mut() += 4 + mine;
            assert_eq!(frames, *caller.data());
            assert_eq!(WasmBacktrace::capture(&caller).frames().len(), frames);
            if n == 0 {
                return Ok(0);
            }
            // The other store, unless it is running already: then this one again.
            let (mut store, instance) = match other.lock().unwrap().take() {
                Some(other) => other,
                None => bail_out(n)?,
            };
            let args = [Val::I32(2 + (1 - mine as i32)), Val::I32(n - 1)];
            let done = call(&mut store, instance, "f", &args);
            let error = call(&mut store, instance, "trap", &[]).unwrap_err();
            let frames = FrozenTrace::of(&error).unwrap().frames().len();
            assert_eq!(frames, 1, "none of the call that has returned, or of the other store");
            *store.data_mut() = 0;
            *other.lock().unwrap() = Some((store, instance));
            assert_eq!(WasmBacktrace::capture(&caller).frames().len(), *caller.data());
            Ok(done?[0].unwrap_i32())
        });
        let instance = Instance::new(&mut store, &module, &[h.into()]).unwrap();
        *slots[mine].lock().unwrap() = Some((store, instance));
    }
    for start in [0, 1, 0] {
        let (mut store, instance) = slots[start].lock().unwrap().take().unwrap();
        let args = [Val::I32(2 + start as i32), Val::I32(1)];
        let results = call(&mut store, instance, "f", &args).unwrap();
        assert_eq!(results[0].unwrap_i32(), 5);
        *store.data_mut() = 0;
        *slots[start].lock().unwrap() = Some((store, instance));
    }
}

fn bail_out<R>(n: i32) -> stillframe::Result<R> {
    stillframe::bail!("both are running, with {n} to go")
}
