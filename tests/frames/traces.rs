//! `FrozenTrace`: what the error of a failed call says of its frames.

use super::common::{engine, run, run_in, store, store_of, store_with, suspended, then};
use stillframe::{
    Config, Engine, Error, FrameError, FrozenFrame, FrozenTrace, Instance, Module, Store, Trap,
    Val, WasmBacktrace, bail,
};

fn trace(error: &Error) -> &FrozenTrace {
    FrozenTrace::of(error).expect("a trace")
}

fn names(frames: &[FrozenFrame]) -> Vec<&str> {
    frames.iter().map(|frame| frame.func_name().unwrap_or("?")).collect()
}

#[test]
fn the_error_of_a_trap_has_the_frames_where_the_backtrace_has_them() {
    let mut store = store();
    let ends = store.data().instance.unwrap();
    let ends = ends.get_typed_func::<(i32, i32), i32>(&mut store, "ends").unwrap();
    then(&mut store, |_| bail!("no"));
    let error = ends.call(&mut store, (2, 1)).unwrap_err();
    let frames = trace(&error).frames();
    assert_eq!(names(frames)[..5], ["bottom", "down", "down", "down", "run"]);
    assert_eq!(trace(&error).omitted(), 0);
    let backtrace = error.downcast_ref::<WasmBacktrace>().unwrap();
    for (frame, info) in frames.iter().zip(backtrace.frames()) {
        assert_eq!(frame.wasm_pc() as usize, info.module_offset());
        assert_eq!(frame.func_index(), info.func_index());
        assert_eq!(frame.activation(), info.activation());
        assert_eq!(frame.module().name(), info.module_name());
        assert_eq!(frame.to_string(), info.to_string());
        assert_eq!(frame.local(usize::MAX).map(|_| ()), Err(out_of_range(frame)));
    }
    assert!(format!("{:?}", trace(&error)).contains("FrozenFrame"));
}

fn out_of_range(frame: &FrozenFrame) -> FrameError {
    FrameError::OutOfRange { index: usize::MAX, len: frame.num_locals() }
}

#[test]
fn errors_without_frames_have_none() {
    assert!(FrozenTrace::of(&Error::msg("anything")).is_none());
    assert!(FrozenTrace::of(&Trap::StackOverflow.into()).is_none());
    // A backtrace that was captured is not a trace of a failed call.
    let mut store = store();
    then(&mut store, |caller| {
        let error = Error::msg("captured").context(WasmBacktrace::capture(&*caller));
        assert!(FrozenTrace::of(&error).is_none());
        Ok(0)
    });
    run(&mut store).call(&mut store, (0, 1)).unwrap();
}

#[test]
fn a_deep_trace_keeps_the_innermost_64_and_the_outermost_16() {
    let mut store = store_of(&engine(|config| {
        config.max_wasm_stack(16 << 20);
    }));
    for (depth, kept) in [(60, 63), (76, 79), (77, 80), (78, 80), (10_000, 80)] {
        then(&mut store, |_| bail!("no"));
        let error = run(&mut store).call(&mut store, (depth, 1)).unwrap_err();
        let trace = trace(&error);
        assert_eq!(trace.frames().len(), kept);
        assert_eq!(trace.omitted(), depth as usize + 3 - kept);
        let names = names(trace.frames());
        assert_eq!((names[0], names[1], names[kept - 1]), ("bottom", "down", "run"));
    }
}

#[test]
fn nested_calls_are_in_one_trace_with_the_outer_frames() {
    let mut store = store();
    then(&mut store, |caller| run_in(caller).call(caller, (1, 1)));
    then(&mut store, |_| bail!("no"));
    let error = run(&mut store).call(&mut store, (2, 1)).unwrap_err();
    let activations: Vec<_> = trace(&error).frames().iter().map(FrozenFrame::activation).collect();
    assert_eq!(activations, [0, 0, 0, 0, 1, 1, 1, 1, 1]);
}

#[test]
fn a_trace_outlives_its_store_and_engine() {
    let error = {
        let mut store = store();
        then(&mut store, |_| bail!("no"));
        run(&mut store).call(&mut store, (2, 1)).unwrap_err()
    };
    let moved = std::thread::spawn(move || {
        let frames = trace(&error).frames();
        let module = frames[0].module();
        // The engine is there again, for as long as the module is.
        assert_eq!(module.engine().config().compare(), Config::new().compare());
        (names(frames).join(" "), format!("{:?}", frames[0]))
    });
    assert_eq!(moved.join().unwrap().0, "bottom down down down run");
}

trait Compare {
    fn compare(&self) -> String;
}

impl Compare for Config {
    fn compare(&self) -> String {
        format!("{self:?}")
    }
}

/// The guest's frame in each kind of hardware trap: its parameters as far as they are known.
#[test]
fn hardware_faults_have_their_frame() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (memory 1) (table 1 funcref)
             (func (export "0") (param $p i32) (local $l i64)
               (drop (i32.load (i32.const -1))) (drop (local.get $p)))
             (func (export "1") (param $p i32) (drop (i32.div_u (local.get $p) (i32.const 0))))
             (func (export "2") (param $p i32) (call_indirect (i32.const 0)))
             (func (export "3") (param $p i32) (unreachable))
             (func $over (export "4") (param $p i32) (call $over (local.get $p)) (call $over
               (local.get $p))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    for (index, innermost) in (0..).zip([
        Trap::MemoryOutOfBounds,
        Trap::IntegerDivisionByZero,
        Trap::IndirectCallToNull,
        Trap::UnreachableCodeReached,
        Trap::StackOverflow,
    ]) {
        let func = instance.get_typed_func::<i32, ()>(&mut store, &index.to_string()).unwrap();
        let error = func.call(&mut store, 7).unwrap_err();
        assert_eq!(error.downcast_ref::<Trap>(), Some(&innermost));
        let frames = trace(&error).frames();
        assert_eq!(frames[0].func_index(), index);
        assert_eq!(frames[0].local_type(0), Ok(stillframe::ValType::I32));
        for frame in frames {
            if let Ok(value) = frame.local(0) {
                assert_eq!(value.unwrap_i32(), 7);
            }
            if let Some(found) = frame.instance() {
                assert_eq!(found, instance);
            }
        }
        if innermost == Trap::StackOverflow {
            assert_eq!(frames.len(), 80);
            // Its context is where its caller had put it.
            assert_eq!(frames[0].instance(), Some(instance));
            assert_eq!(frames[0].local(0).map(|_| ()), Err(FrameError::NotLive));
        }
    }
}

#[test]
fn errors_that_end_a_suspended_call_have_its_frames() {
    let mut store = store_of(&engine(|config| {
        config.consume_fuel(true).epoch_interruption(true);
    }));
    let func = store.data().instance.unwrap().get_func(&mut store, "spin").unwrap();
    store.set_fuel(100).unwrap();
    let call = func.call_resumable(&mut store, &[], &mut []).unwrap();
    store.set_epoch_deadline(0);
    store.set_fuel(1000).unwrap();
    let error = super::common::out_of_fuel(call).resume(&mut store, &mut []).unwrap_err();
    let error = Error::from(error);
    assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::Interrupt));
    assert_eq!(trace(&error).frames()[0].func_index(), 7);
}

#[test]
fn a_suspended_call_has_a_backtrace_without_values() {
    let mut store = store();
    let call = suspended(&mut store, 2);
    let error = Error::msg("x").context(call.backtrace(&store).unwrap());
    assert!(FrozenTrace::of(&error).is_none());
}

/// References in a trace are of the call's store, and are good there after the call.
#[test]
fn references_in_a_trace_can_be_used_with_their_store() {
    let mut store = store_with(
        &Engine::default(),
        r#"(module (import "host" "h" (func $h (result i32)))
             (func (export "run") (param i32 i32) (result i32) (local $f funcref) (local $n funcref)
               (local.set $f (ref.func $h))
               (drop (call $h))
               (drop (ref.is_null (local.get $f))) (drop (ref.is_null (local.get $n)))
               (unreachable))
             (elem declare func $h))"#,
    );
    then(&mut store, |_| bail!("no"));
    let error = run(&mut store).call(&mut store, (0, 0)).unwrap_err();
    let frame = &trace(&error).frames()[0];
    if let Ok(Val::FuncRef(func)) = frame.local(2) {
        let results = &mut [Val::I32(0)];
        func.unwrap().call(&mut store, &[], results).unwrap();
        assert_eq!(results[0].unwrap_i32(), 1);
    }
    if let Ok(value) = frame.local(3) {
        assert!(matches!(value, Val::FuncRef(None)));
    }
}
