//! A guest that calls the host from some frames down, and a host that does what a test wants.

use std::collections::VecDeque;
use stillframe::{
    Caller, Config, Engine, FrameError, FrameHandle, Instance, Linker, Module, Result,
    ResumableCall, ResumableCallHostTrap, ResumableCallOutOfFuel, Store, Trap, TypedFunc, Val,
};

/// `run` goes `depth` frames down and calls the host `times` times from there; the sum of what it
/// answers comes back. `ends` calls it once, from frames down too, and then ends in a trap. `catch`
/// calls it in a `try_table`, and again when it has caught an exception of its own. `spin` does not
/// end.
pub const WAT: &str = r#"
(module $guest
  (import "host" "h" (func $h (result i32)))
  (tag $oops (param i32))
  (memory 1)
  (func $bottom (param $times i32) (result i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $h)))
      (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
    (local.get $sum))
  (func $down (param $depth i32) (param $times i32) (result i32)
    (if (result i32) (local.get $depth)
      (then (call $down (i32.sub (local.get $depth) (i32.const 1)) (local.get $times))
            (drop (memory.grow (i32.const 0))))
      (else (call $bottom (local.get $times)))))
  (func $run (export "run") (param $depth i32) (param $times i32) (result i32)
    (i32.add (i32.const 0) (call $down (local.get $depth) (local.get $times))))
  (func (export "ends") (param $depth i32) (param $times i32) (result i32)
    (drop (call $run (local.get $depth) (local.get $times)))
    (unreachable))
  (func $throws (drop (call $h)) (throw $oops (i32.const 7)))
  (func (export "catch") (result i32)
    (block $caught (result i32)
      (try_table (catch $oops $caught) (call $throws))
      (unreachable))
    (drop) (call $h))
  (func (export "spin") (loop $again (br $again))))
"#;

/// What the host does when it is called.
pub type Action = Box<dyn FnOnce(&mut Caller<'_, Data>) -> Result<i32> + Send + Sync>;

/// The data of a store.
#[derive(Default)]
pub struct Data {
    /// What is done when the host is called next, and so on; then it answers 1.
    pub actions: VecDeque<Action>,
    /// Handles that were taken.
    pub taken: Vec<FrameHandle>,
    pub instance: Option<Instance>,
}

pub fn engine(set: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    set(&mut config);
    Engine::new(&config).unwrap()
}

pub fn store_of(engine: &Engine) -> Store<Data> {
    store_with(engine, WAT)
}

/// A store with an instance of a module that imports the host function.
pub fn store_with(engine: &Engine, wat: &str) -> Store<Data> {
    let module = Module::new(engine, wat).unwrap();
    let mut store = Store::new(engine, Data::default());
    store.set_epoch_deadline(1 << 40);
    if store.get_fuel().is_ok() {
        store.set_fuel(1 << 40).unwrap();
    }
    let mut linker = Linker::new(engine);
    let act = |mut caller: Caller<'_, Data>| -> Result<i32> {
        match caller.data_mut().actions.pop_front() {
            Some(action) => action(&mut caller),
            None => Ok(1),
        }
    };
    linker.func_wrap("host", "h", act).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.data_mut().instance = Some(instance);
    store
}

pub fn store() -> Store<Data> {
    store_of(&Engine::default())
}

pub type Run = TypedFunc<(i32, i32), i32>;

pub fn run(store: &mut Store<Data>) -> Run {
    store.data().instance.unwrap().get_typed_func(store, "run").unwrap()
}

/// The same, in a host function.
pub fn run_in(caller: &mut Caller<'_, Data>) -> Run {
    caller.data().instance.unwrap().get_typed_func(caller, "run").unwrap()
}

/// Lets the host do this, when it is called after what it does already.
pub fn then(
    store: &mut Store<Data>,
    action: impl FnOnce(&mut Caller<'_, Data>) -> Result<i32> + Send + Sync + 'static,
) {
    store.data_mut().actions.push_back(Box::new(action));
}

/// Remembers all frames of the store, which are valid now.
pub fn take(caller: &mut Caller<'_, Data>) -> Vec<FrameHandle> {
    let frames: Vec<_> = caller.frames().collect();
    assert!(!frames.is_empty());
    for frame in &frames {
        good(frame, &*caller);
    }
    caller.data_mut().taken.extend(frames.iter().cloned());
    frames
}

/// Whatever is asked of the handle is answered.
pub fn good<'a>(frame: &FrameHandle, store: impl stillframe::AsContext + Copy + 'a) {
    assert!(frame.is_valid(store));
    let locals = frame.num_locals(store).unwrap();
    frame.func_index(store).unwrap();
    frame.func_name(store).unwrap();
    frame.wasm_pc(store).unwrap();
    frame.parent(store).unwrap();
    frame.module(store).unwrap();
    frame.source(store).unwrap();
    assert_eq!(frame.locals(store).unwrap().len(), locals);
    let out_of_range = FrameError::OutOfRange { index: usize::MAX, len: locals };
    assert_eq!(frame.local(store, usize::MAX).unwrap_err(), out_of_range);
}

/// Whatever is asked of the handles, the answer is this error.
pub fn all_are(frames: &[FrameHandle], error: FrameError, store: &mut Store<Data>) {
    assert!(!frames.is_empty());
    for frame in frames {
        assert!(!frame.is_valid(&*store));
        assert_eq!(frame.func_index(&*store), Err(error));
        assert_eq!(frame.func_name(&*store), Err(error));
        assert_eq!(frame.wasm_pc(&*store), Err(error));
        assert_eq!(frame.parent(&*store), Err(error));
        assert_eq!(frame.instance(&*store), Err(error));
        assert_eq!(frame.module(&*store).map(|_| ()), Err(error));
        assert_eq!(frame.source(&*store), Err(error));
        assert_eq!(frame.num_locals(&*store), Err(error));
        assert_eq!(frame.num_operands(&*store), Err(error));
        assert_eq!(frame.locals(&*store).map(|_| ()), Err(error));
        assert_eq!(frame.operands(&*store).map(|_| ()), Err(error));
        for index in [0, usize::MAX] {
            assert_eq!(frame.local(&*store, index).map(|_| ()), Err(error));
            assert_eq!(frame.operand(&*store, index).map(|_| ()), Err(error));
            assert_eq!(frame.local_type(&*store, index), Err(error));
            assert_eq!(frame.operand_type(&*store, index), Err(error));
            assert_eq!(frame.local_name(&*store, index), Err(error));
            assert_eq!(frame.set_local(&mut *store, index, Val::I32(1)), Err(error));
            assert_eq!(frame.set_operand(&mut *store, index, Val::I32(1)), Err(error));
        }
    }
}

/// The handles that were taken in the store are stale now.
pub fn taken_are_stale(store: &mut Store<Data>) {
    let taken = std::mem::take(&mut store.data_mut().taken);
    all_are(&taken, FrameError::Stale, store);
}

pub fn host_trap(call: ResumableCall) -> ResumableCallHostTrap {
    match call {
        ResumableCall::HostTrap(call) => call,
        other => panic!("expected HostTrap, found {other:?}"),
    }
}

pub fn out_of_fuel(call: ResumableCall) -> ResumableCallOutOfFuel {
    match call {
        ResumableCall::OutOfFuel(call) => call,
        other => panic!("expected OutOfFuel, found {other:?}"),
    }
}

pub fn trap<R: std::fmt::Debug>(result: Result<R>) -> Trap {
    *result.unwrap_err().downcast_ref().expect("a trap")
}

/// Calls `run` resumably; the host fails where it does nothing else.
pub fn suspended(store: &mut Store<Data>, depth: i32) -> ResumableCallHostTrap {
    then(store, |_| stillframe::bail!("wait"));
    let func = store.data().instance.unwrap().get_func(&mut *store, "run").unwrap();
    let params = [Val::I32(depth), Val::I32(1)];
    host_trap(func.call_resumable(store, &params, &mut [Val::I32(0)]).unwrap())
}
