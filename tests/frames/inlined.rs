//! Functions that are inlined: what can be seen of them is what would be seen if they were called.

use super::common::engine;
use stillframe::{
    CoreDumpBuilder, Engine, Error, ExternRef, FrameError, FrameHandle, FrameState, FrozenTrace,
    Instance, Module, Store, Trap, TypedResumableCall, Val, WasmBacktrace,
};

/// `run` and `deep` call small functions that trap, as often as not, for the argument that is the
/// number of the way. Around the calls are locals and operands of all kinds.
const WAT: &str = r#"
(module $guest
  (memory (export "memory") 1)
  (global $count (export "count") (mut i32) (i32.const 0))
  (func $load (param $at i32) (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.load (local.get $at)))
  (func $divide (param $a i64) (param $b i64) (result i64 f32) (local $unused v128)
    (block (br_if 0 (i64.ne (local.get $b) (i64.const 7))) (return (i64.const 1) (f32.const 2)))
    (i64.div_s (local.get $a) (local.get $b)) (f32.const 3))
  (func $stop (param $v v128) (param $way i32) (result v128) (local $w v128) (local $n f64)
    (local.set $w (i32x4.add (local.get $v) (v128.const i32x4 1 1 1 1)))
    (local.set $n (f64.const 2.5))
    (i64.const 11) (local.get $w)
    (if (i32.eq (local.get $way) (i32.const 3)) (then unreachable))
    (drop (local.get $n)) (i32x4.add (local.get $v)) (local.set $w) (drop) (local.get $w))
  (func $store (param $at i32) (param $r externref) (result externref)
    (i32.store8 (local.get $at) (i32.const 255)) (local.get $r))
  (func $convert (param $x f64) (result i32) (i32.trunc_f64_u (local.get $x)))
  (func $run (export "run") (param $way i32) (param $r externref) (param $deep i32) (result i32)
    (local $v v128) (local $sum i32) (local $dead i32) (local $i i32)
    (if (local.get $deep) (then
      (return (i32.add (i32.const 77)
        (call $run (local.get $way) (local.get $r) (i32.sub (local.get $deep) (i32.const 1)))))))
    (local.set $v (v128.const i64x2 5 6))
    (local.set $dead (i32.const 9)) (local.set $sum (local.get $dead))
    (local.set $i (i32.const 3))
    (loop $again
      (i32.const 100) (i64.const 200)
      (drop)
      (local.set $sum (i32.add (local.get $sum)
        (call $load (i32.mul (i32.eq (local.get $way) (local.get $i)) (i32.const -5)))))
      (drop)
      (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))
    (local.get $r) (local.get $v)
    (call $divide (i64.const 5)
      (i64.extend_i32_u (i32.ne (local.get $way) (i32.const 4))))
    (drop) (drop)
    (local.set $v) (local.set $r)
    (f32.const 1) (local.get $v)
    (call $stop (local.get $v) (i32.sub (local.get $way) (i32.const 2)))
    (local.set $v) (drop) (drop)
    (local.set $r
      (call $store (i32.mul (i32.eq (local.get $way) (i32.const 6)) (i32.const 65536))
        (local.get $r)))
    (local.set $sum (i32.add (local.get $sum)
      (call $convert (f64.mul (f64.const -1)
        (f64.convert_i32_s (i32.eq (local.get $way) (i32.const 7)))))))
    (drop (local.get $r))
    (i32.add (local.get $sum) (i32x4.extract_lane 0 (local.get $v)))))
"#;

/// The ways that trap.
const WAYS: [(i32, &str, Trap); 7] = [
    (1, "load", Trap::MemoryOutOfBounds),
    (2, "load", Trap::MemoryOutOfBounds),
    (3, "load", Trap::MemoryOutOfBounds),
    (4, "divide", Trap::IntegerDivisionByZero),
    (5, "stop", Trap::UnreachableCodeReached),
    (6, "store", Trap::MemoryOutOfBounds),
    (7, "convert", Trap::IntegerOverflow),
];

fn engines(inlining: bool) -> impl Iterator<Item = Engine> {
    let states = [FrameState::Off, FrameState::Live, FrameState::All];
    let engine_of = move |state, fuel: bool| {
        engine(|config| {
            config.frame_state(state).inlining(inlining).consume_fuel(fuel);
            config.epoch_interruption(fuel);
        })
    };
    states.into_iter().flat_map(move |state| [false, true].map(|fuel| engine_of(state, fuel)))
}

/// Calls `run`: what it answers, or why it fails; and the fuel that it takes.
fn run(engine: &Engine, way: i32, deep: i32) -> (Store<()>, Result<i32, Error>, u64) {
    let module = Module::new(engine, WAT).unwrap();
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1 << 40);
    let has_fuel = store.set_fuel(1 << 40).is_ok();
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance.get_func(&mut store, "run").unwrap();
    let object = ExternRef::new(&mut store, "object").unwrap();
    let args = [Val::I32(way), Val::ExternRef(Some(object)), Val::I32(deep)];
    let mut results = [Val::I32(0)];
    let answer = run.call(&mut store, &args, &mut results);
    let fuel = if has_fuel { store.fuel_consumed().unwrap() } else { 0 };
    (store, answer.map(|()| results[0].unwrap_i32()), fuel)
}

/// All that a trace says.
fn described(store: &Store<()>, error: &Error) -> Vec<String> {
    let trace = FrozenTrace::of(error).expect("a trace");
    let value = |value: Result<Val, FrameError>| match value {
        Ok(Val::ExternRef(Some(object))) => {
            format!("{:?}", object.data(store).downcast_ref::<&str>())
        }
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    };
    let frames = trace.frames().iter().map(|frame| {
        let locals: Vec<_> = (0..frame.num_locals()).map(|i| value(frame.local(i))).collect();
        let operands: Vec<_> = (0..frame.num_operands()).map(|i| value(frame.operand(i))).collect();
        let (place, instance) = (frame.wasm_pc(), frame.instance().is_some());
        let types: Vec<_> = (0..frame.num_locals()).map(|i| frame.local_type(i)).collect();
        format!(
            "{frame} at {place:#x} of {}, {instance}: {locals:?} {types:?} {operands:?}",
            frame.activation()
        )
    });
    frames.chain([format!("{} omitted", trace.omitted())]).collect()
}

#[test]
fn traces_of_traps_in_inlined_functions_are_those_of_called_ones() {
    for (with, without) in engines(true).zip(engines(false)) {
        let answers = [&with, &without].map(|engine| run(engine, 0, 3).1.unwrap());
        assert_eq!(answers[0], answers[1]);
        for (way, name, trap) in WAYS {
            for deep in [0, 2, 90] {
                let [(inlined, ours, fuel), (called, theirs, expected)] =
                    [&with, &without].map(|engine| run(engine, way, deep));
                let (ours, theirs) = (ours.unwrap_err(), theirs.unwrap_err());
                assert_eq!(ours.downcast_ref::<Trap>(), Some(&trap), "{way}");
                assert_eq!(fuel, expected, "{way}");
                assert_eq!(described(&inlined, &ours), described(&called, &theirs), "{way}");
                let names = ours.downcast_ref::<WasmBacktrace>().unwrap().frames();
                assert_eq!(names[0].func_name(), Some(name));
                assert_eq!(names[1].func_name(), Some("run"));
                let [ours, theirs] =
                    [(&inlined, &ours), (&called, &theirs)].map(|(store, error)| {
                        let dump = CoreDumpBuilder::new("guest").of_error(store, error).unwrap();
                        dump.to_bytes().unwrap()
                    });
                assert!(ours == theirs, "the core dumps of way {way} differ");
            }
        }
    }
}

#[test]
fn the_locals_and_operands_around_an_inlined_trap_are_there() {
    let engine = engine(|config| {
        config.frame_state(FrameState::Live);
    });
    let (_, error, _) = run(&engine, 4, 0);
    let error = error.unwrap_err();
    let frames = FrozenTrace::of(&error).unwrap().frames();
    assert_eq!(frames.len(), 2);
    // The callee has trapped by the processor: nothing was stored for its sake.
    assert_eq!((frames[0].num_locals(), frames[0].num_operands()), (3, 0));
    assert!(frames[0].instance().is_some() && frames[0].local(0).is_err());
    let run = &frames[1];
    assert_eq!((run.num_locals(), run.num_operands()), (7, 2));
    assert_eq!(run.local(0).unwrap().unwrap_i32(), 4, "$way is read again");
    assert_eq!(run.local(4).unwrap().unwrap_i32(), 9, "$sum is read again too");
    assert_eq!(run.operand(1).unwrap().unwrap_v128().as_u128(), 6 << 64 | 5);
    assert!(matches!(run.operand(0), Ok(Val::ExternRef(Some(_)))));
    // And one that has stored its locals.
    let (_, error, _) = self::run(&engine, 5, 0);
    let error = error.unwrap_err();
    let frames = FrozenTrace::of(&error).unwrap().frames();
    let stop = &frames[0];
    assert_eq!((stop.num_locals(), stop.num_operands()), (4, 2));
    assert_eq!(stop.operand(0).unwrap().unwrap_i64(), 11);
    assert_eq!(frames[1].num_operands(), 2);
    assert_eq!(frames[1].operand(0).unwrap().unwrap_f32(), 1.0);
}

#[test]
fn an_inlined_function_can_have_more_locals_than_the_one_around_it() {
    let wat = r#"(module
        (func $inner (param i32 v128 i64) (local f64 i32)
            (local.set 4 (i32.const 5)) (unreachable))
        (func (export "run") (local i32)
            (call $inner (i32.const 1) (v128.const i64x2 2 2) (i64.const 3))))"#;
    let engine = engine(|config| {
        config.frame_state(FrameState::All);
    });
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &Module::new(&engine, wat).unwrap(), &[]).unwrap();
    let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
    let error = run.call(&mut store, ()).unwrap_err();
    let [inner, run] = FrozenTrace::of(&error).unwrap().frames() else { panic!("two frames") };
    assert_eq!((run.num_locals(), run.local(0).unwrap().unwrap_i32()), (1, 0));
    let locals: Vec<_> = (0..inner.num_locals()).map(|i| inner.local(i).unwrap()).collect();
    let [Val::I32(1), Val::V128(v), Val::I64(3), Val::F64(0), Val::I32(5)] = locals[..] else {
        panic!("{locals:?}")
    };
    assert_eq!(v.as_u128(), 2 << 64 | 2);
}

/// Runs a function with as little fuel as goes: what was consumed and where it stands, at each stop.
fn stops(inlining: bool) -> Vec<(u64, Vec<(u32, u32)>)> {
    let work =
        "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const 3)) (i32.const 1)))".repeat(6);
    let calls = "(local.set 1 (call $leaf (local.get 1)))".repeat(30);
    let wat = format!(
        r#"(module
            (func $leaf (param i32) (result i32) {work} (local.get 0))
            (func (export "run") (param i32 i32) (result i32)
                {calls}
                (if (local.get 0) (then {calls}) (else (nop)))
                (loop $again {calls} (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.get 1)))"#
    );
    let engine = engine(|config| {
        config.consume_fuel(true).inlining(inlining);
    });
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let run = instance.get_typed_func::<(i32, i32), i32>(&mut store, "run").unwrap();
    let mut call = run.call_resumable(&mut store, (2, 1)).unwrap();
    let mut stops = Vec::new();
    loop {
        let suspended = match call {
            TypedResumableCall::Finished(_) => return stops,
            TypedResumableCall::OutOfFuel(call) => call,
            other => panic!("{other:?}"),
        };
        let place = |frame: FrameHandle| {
            (frame.func_index(&store).unwrap(), frame.wasm_pc(&store).unwrap())
        };
        let frames = suspended.frames(&store).unwrap().map(place).collect();
        stops.push((store.fuel_consumed().unwrap(), frames));
        store.add_fuel(suspended.required_fuel()).unwrap();
        call = suspended.resume(&mut store).unwrap();
    }
}

#[test]
fn calls_are_stopped_where_they_are_if_nothing_is_inlined() {
    let (inlined, called) = (stops(true), stops(false));
    // At the entry, at the loop's start twice, and behind each 8 calls of the 30 in a row.
    assert_eq!(called.len(), 1 + 2 + 2 * 3 + (30 + 30) / 8 + 1, "{called:?}");
    assert_eq!(inlined, called);
}
