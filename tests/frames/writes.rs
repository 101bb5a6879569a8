//! Changing locals and operands: what is refused, and that the program sees what is not.

use super::common::{engine, run, store_with, then};
use stillframe::{Engine, ExternRef, FrameError, FrameState, Func, Store, Val, ValType};

/// `run` passes an operand and locals of all types over a call.
const WAT: &str = r#"
(module
  (import "host" "h" (func $h (result i32)))
  (global $f (export "f") (mut funcref) (ref.null func))
  (global $e (export "e") (mut externref) (ref.null extern))
  (func (export "run") (param $a i32) (param $b i32) (result i32)
    (local $x i64) (local $y f32) (local $z f64) (local $v v128) (local $f funcref)
    (local $e externref)
    (local.get $a)
    (call $h)
    (i32.mul (i32.const 10))
    (i32.add)
    (i32.add (local.get $b))
    (i32.add (i32.wrap_i64 (local.get $x)))
    (i32.add (i32.trunc_f32_s (local.get $y)))
    (i32.add (i32.trunc_f64_s (local.get $z)))
    (i32.add (i32x4.extract_lane 3 (local.get $v)))
    (global.set $f (local.get $f))
    (global.set $e (local.get $e))))
"#;

fn states() -> [FrameState; 2] {
    [FrameState::Live, FrameState::All]
}

#[test]
fn frames_of_modules_that_were_compiled_without_writes_are_read_only() {
    let mut store = store_with(&engine(|_| ()), WAT);
    then(&mut store, |caller| {
        let frame = caller.frames().next().unwrap();
        for index in [0, 1, 100, usize::MAX] {
            let error = Err(FrameError::ReadOnly);
            assert_eq!(frame.set_local(&mut *caller, index, Val::I32(1)), error);
            assert_eq!(frame.set_operand(&mut *caller, index, Val::I32(1)), error);
        }
        Ok(2)
    });
    assert_eq!(run(&mut store).call(&mut store, (3, 4)).unwrap(), 27);
}

/// References are readable in them, as roots; code does not read them again.
#[test]
fn frames_without_state_are_read_only_whatever_is_configured() {
    let engine = engine(|config| {
        config.frame_writes(true).frame_state(FrameState::Off);
    });
    let mut store = store_with(&engine, WAT);
    then(&mut store, |caller| {
        let frame = caller.frames().next().unwrap();
        let object = ExternRef::new(&mut *caller, 1)?;
        assert!(frame.local(&*caller, 7).unwrap().unwrap_externref().is_none());
        let written = frame.set_local(&mut *caller, 7, object.into());
        assert_eq!(written, Err(FrameError::ReadOnly));
        Ok(2)
    });
    assert_eq!(run(&mut store).call(&mut store, (3, 4)).unwrap(), 27);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut other = Store::new(&Engine::default(), ());
    let foreign = Func::wrap(&mut other, || ());
    let object = ExternRef::new(&mut other, 1).unwrap();
    for state in states() {
        let engine = engine(|config| {
            config.frame_writes(true).frame_state(state);
        });
        let mut store = store_with(&engine, WAT);
        then(&mut store, move |caller| {
            let frame = caller.frames().next().unwrap();
            let len = frame.num_locals(&*caller)?;
            assert_eq!(len, 8);
            let mut set = |index, value: Val| frame.set_local(&mut *caller, index, value);
            for index in [8, 9, usize::MAX] {
                assert_eq!(set(index, Val::I32(1)), Err(FrameError::OutOfRange { index, len }));
            }
            let mismatch = |expected, found| Err(FrameError::TypeMismatch { expected, found });
            assert_eq!(set(1, Val::I64(1)), mismatch(ValType::I32, ValType::I64));
            assert_eq!(set(2, Val::F64(1)), mismatch(ValType::I64, ValType::F64));
            assert_eq!(
                set(6, Val::ExternRef(None)),
                mismatch(ValType::FuncRef, ValType::ExternRef)
            );
            assert_eq!(set(6, Val::FuncRef(Some(foreign))), Err(FrameError::WrongStore));
            assert_eq!(set(7, Val::ExternRef(Some(object))), Err(FrameError::WrongStore));
            let operands = frame.num_operands(&*caller)?;
            assert_eq!(operands, 1);
            let set = |caller: &mut _, index, value| frame.set_operand(caller, index, value);
            let out_of_range = FrameError::OutOfRange { index: 1, len: 1 };
            assert_eq!(set(&mut *caller, 1, Val::I32(1)), Err(out_of_range));
            assert_eq!(set(caller, 0, Val::F32(1)), mismatch(ValType::I32, ValType::F32));
            Ok(2)
        });
        assert_eq!(run(&mut store).call(&mut store, (3, 4)).unwrap(), 27);
    }
}

#[test]
fn the_program_sees_what_was_written() {
    for state in states() {
        let engine = engine(|config| {
            config.frame_writes(true).frame_state(state);
        });
        let mut store = store_with(&engine, WAT);
        let func = Func::wrap(&mut store, || 5);
        let object = ExternRef::new(&mut store, 77).unwrap();
        then(&mut store, move |caller| {
            let frame = caller.frames().next().unwrap();
            let values = [
                Val::I32(200),
                Val::I64(1 << 33 | 3000),
                Val::from(40_000.0f32),
                Val::from(500_000.0f64),
                Val::from(6_000_000u128 << 96),
                Val::FuncRef(Some(func)),
                Val::ExternRef(Some(object)),
            ];
            for (index, value) in (1..).zip(values) {
                frame.set_local(&mut *caller, index, value)?;
                let read = frame.local(&*caller, index)?;
                assert_eq!(format!("{read:?}"), format!("{value:?}"));
            }
            frame.set_operand(&mut *caller, 0, Val::I32(1))?;
            assert_eq!(frame.operand(&*caller, 0)?.unwrap_i32(), 1);
            Ok(2)
        });
        let sum = 1 + 20 + 200 + 3000 + 40_000 + 500_000 + 6_000_000;
        assert_eq!(run(&mut store).call(&mut store, (3, 4)).unwrap(), sum);
        let instance = store.data().instance.unwrap();
        let mut global = |name| instance.get_global(&mut store, name).unwrap().get(&mut store);
        assert_eq!(global("f").unwrap_funcref(), Some(func));
        assert_eq!(global("e").unwrap_externref(), Some(object));
    }
}
