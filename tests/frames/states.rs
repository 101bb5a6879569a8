//! What each frame state shows, at each kind of place where wasm stands, and what it does not.

use super::common::{Data, engine, host_trap, out_of_fuel, run, store_with, then};
use stillframe::{
    Engine, FrameError, FrameHandle, FrameState, FrozenTrace, Instance, Module, Store, Val, bail,
};

/// At the call of the host `$a` and `$kept` are read later, `$gone` is not; one operand is below.
const WAT: &str = r#"
(module
  (import "host" "h" (func $h (result i32)))
  (func $run (export "run") (param $a i32) (param $gone i32) (result i32) (local $kept i64)
    (local.set $kept (i64.extend_i32_s (i32.add (local.get $a) (local.get $gone))))
    (local.set $gone (i32.const 99))
    (i32.const 7)
    (call $h)
    (i32.add)
    (i32.add (i32.wrap_i64 (local.get $kept)))
    (i32.add (local.get $a)))
  (func $loop (export "loop") (param $n i32) (local $i i32)
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $i) (local.get $n))))))
"#;

fn store_in(state: FrameState) -> Store<Data> {
    store_with(
        &engine(|config| {
            config.frame_state(state).consume_fuel(true);
        }),
        WAT,
    )
}

/// Locals and operands, as text; `-` for what is not live.
fn shown(frame: &FrameHandle, store: impl stillframe::AsContext + Copy) -> [Vec<String>; 2] {
    let text = |value: &Result<Val, FrameError>| match value {
        Ok(value) => format!("{value:?}"),
        Err(FrameError::NotLive) => "-".to_string(),
        Err(error) => panic!("{error}"),
    };
    let locals = frame.locals(store).unwrap();
    let operands = frame.operands(store).unwrap();
    [
        locals.iter().map(|local| text(&local.value)).collect(),
        operands.iter().map(|operand| text(&operand.value)).collect(),
    ]
}

#[test]
fn off_shows_places_and_no_values() {
    let mut store = store_in(FrameState::Off);
    then(&mut store, |caller| {
        let frame = caller.frames().next().unwrap();
        assert_eq!(frame.func_index(&*caller)?, 1);
        assert_eq!(shown(&frame, &*caller), [vec!["-"; 3], vec![]]);
        assert_eq!(frame.instance(&*caller), Err(FrameError::NotLive));
        Ok(1)
    });
    then(&mut store, |_| bail!("no"));
    assert_eq!(run(&mut store).call(&mut store, (10, 20)).unwrap(), 48);
    let error = run(&mut store).call(&mut store, (10, 20)).unwrap_err();
    let frame = &FrozenTrace::of(&error).unwrap().frames()[0];
    assert_eq!((frame.num_locals(), frame.num_operands(), frame.instance()), (3, 0, None));
    assert!((0..3).all(|local| matches!(frame.local(local), Err(FrameError::NotLive))));
}

/// What must be there is; what may be there is right.
fn checks(frame: &FrameHandle, store: impl stillframe::AsContext + Copy, all: bool) {
    let [locals, operands] = shown(frame, store);
    assert_eq!(operands, ["I32(7)"]);
    assert_eq!([&locals[0], &locals[2]], ["I32(10)", "I64(30)"]);
    assert!(locals[1] == "I32(99)" || (!all && locals[1] == "-"), "{locals:?}");
    assert_eq!(frame.local_name(store, 2).unwrap().as_deref(), Some("kept"));
}

#[test]
fn live_and_all_show_what_they_promise_at_calls() {
    for state in [FrameState::Live, FrameState::All] {
        let all = state == FrameState::All;
        let mut store = store_in(state);
        let instance = store.data().instance.unwrap();
        then(&mut store, move |caller| {
            let frame = caller.frames().next().unwrap();
            checks(&frame, &*caller, all);
            assert_eq!(frame.instance(&*caller), Ok(instance));
            Ok(1)
        });
        assert_eq!(run(&mut store).call(&mut store, (10, 20)).unwrap(), 48);

        // Suspended there, and looked at by another handle later.
        then(&mut store, |_| bail!("wait"));
        let func = instance.get_func(&mut store, "run").unwrap();
        let params = [Val::I32(10), Val::I32(20)];
        let call = host_trap(func.call_resumable(&mut store, &params, &mut [Val::I32(0)]).unwrap());
        checks(&call.frames(&store).unwrap().next().unwrap(), &store, all);
        drop(call);

        // In the copy that an error has.
        then(&mut store, |_| bail!("no"));
        let error = run(&mut store).call(&mut store, (10, 20)).unwrap_err();
        let frame = &FrozenTrace::of(&error).unwrap().frames()[0];
        assert_eq!(frame.instance(), Some(instance));
        assert_eq!(frame.local(0).unwrap().unwrap_i32(), 10);
        assert_eq!(frame.local(2).unwrap().unwrap_i64(), 30);
        assert_eq!(frame.operand(0).unwrap().unwrap_i32(), 7);
        assert_eq!(frame.local(1).is_ok(), all);
    }
}

#[test]
fn live_and_all_show_locals_at_checkpoints() {
    for state in [FrameState::Live, FrameState::All] {
        let mut store = store_in(state);
        let func = store.data().instance.unwrap().get_func(&mut store, "loop").unwrap();
        store.set_fuel(1000).unwrap();
        let n = Val::I32(1 << 20);
        let mut call = out_of_fuel(func.call_resumable(&mut store, &[n], &mut []).unwrap());
        let mut last = -1;
        for _ in 0..10 {
            let frame = call.frames(&store).unwrap().next().unwrap();
            assert_eq!(frame.local(&store, 0).unwrap().unwrap_i32(), 1 << 20);
            let i = frame.local(&store, 1).unwrap().unwrap_i32();
            assert!(i > last + 50, "{i} after {last}");
            last = i;
            store.set_fuel(1000).unwrap();
            call = out_of_fuel(call.resume(&mut store, &mut []).unwrap());
        }
    }
}

#[test]
fn a_module_from_an_artifact_shows_the_same() {
    let engine = Engine::default();
    let bytes = engine.precompile_module(WAT.as_bytes()).unwrap();
    // SAFETY: the bytes were made just now.
    let module = unsafe { Module::deserialize(&engine, &bytes) }.unwrap();
    let mut store = Store::new(&engine, ());
    let look = stillframe::Func::wrap(&mut store, |caller: stillframe::Caller<'_, ()>| {
        checks(&caller.frames().next().unwrap(), &caller, false);
        1
    });
    let instance = Instance::new(&mut store, &module, &[look.into()]).unwrap();
    let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, (10, 20)).unwrap(), 48);
}
