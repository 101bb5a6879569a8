//! What frames say: values of all types, exactly, wherever wasm can be frozen; and what they refuse.

use super::common::{Data, engine, host_trap, out_of_fuel, run, store_with, then};
use stillframe::{
    AsContext, Caller, Config, Engine, ExternRef, FrameError, FrameHandle, FrameState, FrozenTrace,
    Func, Store, V128, Val, ValType,
};

/// Engines that keep state, of both kinds.
pub fn keeping(set: impl Fn(&mut Config)) -> impl Iterator<Item = Engine> {
    let of = move |state| {
        engine(|config| {
            config.frame_state(state);
            set(config);
        })
    };
    [FrameState::Live, FrameState::All].into_iter().map(of)
}

pub fn locals(frame: &FrameHandle, store: impl AsContext + Copy) -> Vec<Val> {
    let locals = frame.locals(store).unwrap().into_iter();
    locals.map(|local| local.value.unwrap()).collect()
}

pub fn operands(frame: &FrameHandle, store: impl AsContext + Copy) -> Vec<Val> {
    let operands = frame.operands(store).unwrap().into_iter();
    operands.map(|operand| operand.value.unwrap()).collect()
}

/// The bits of a value that is not a reference, with its type.
pub fn bits(value: &Val) -> (ValType, u128) {
    let bits = match value {
        Val::I32(value) => u128::from(*value as u32),
        Val::I64(value) => u128::from(*value as u64),
        Val::F32(bits) => u128::from(*bits),
        Val::F64(bits) => u128::from(*bits),
        Val::V128(value) => value.as_u128(),
        other => panic!("{other:?} is a reference"),
    };
    (value.ty(), bits)
}

pub fn all_bits(values: &[Val]) -> Vec<(ValType, u128)> {
    values.iter().map(bits).collect()
}

/// A function that takes these types, calls the host with its parameters as locals and as operands,
/// and reads both afterwards.
fn passing(types: &[&str]) -> String {
    let params: String = types.iter().map(|ty| format!(" {ty}")).collect();
    let gets: String = (0..types.len()).map(|i| format!(" (local.get {i})")).collect();
    let drops: String = types.iter().map(|_| " (drop)").collect();
    format!(
        r#"(module (import "host" "h" (func $h (result i32)))
             (func (export "f") (param{params}){gets} (drop (call $h)){drops}{gets}{drops}))"#
    )
}

/// Calls `f` with these values; in the host both the locals and the operands are looked at.
fn pass(store: &mut Store<Data>, values: &[Val], look: fn(&[Val], &mut Caller<'_, Data>, &[Val])) {
    let expected = values.to_vec();
    then(store, move |caller| {
        let frame = caller.frames().next().unwrap();
        let found = locals(&frame, &*caller);
        look(&found, caller, &expected);
        let found = operands(&frame, &*caller);
        look(&found, caller, &expected);
        let types: Vec<ValType> = expected.iter().map(Val::ty).collect();
        for (i, &ty) in types.iter().enumerate() {
            assert_eq!(frame.local_type(&*caller, i), Ok(ty));
            assert_eq!(frame.operand_type(&*caller, i), Ok(Some(ty)));
        }
        Ok(0)
    });
    let f = store.data().instance.unwrap().get_func(&mut *store, "f").unwrap();
    f.call(&mut *store, values, &mut []).unwrap();
}

fn same_bits(found: &[Val], _: &mut Caller<'_, Data>, expected: &[Val]) {
    assert_eq!(all_bits(found), all_bits(expected));
}

#[test]
fn numbers_of_all_types_are_read_as_they_are() {
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, &passing(&["i32", "i64", "f32", "f64", "v128"]));
        let vector = V128::from(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210_u128);
        for values in [
            [
                Val::I32(-5),
                Val::I64(i64::MIN),
                Val::from(1.5f32),
                Val::from(-2.5f64),
                vector.into(),
            ],
            [
                Val::I32(0),
                Val::I64(-1),
                Val::F32(1),
                Val::F64(1 << 63),
                V128::from(1 << 127).into(),
            ],
        ] {
            pass(&mut store, &values, same_bits);
        }
    }
}

#[test]
fn bits_of_nans_are_read_as_they_are() {
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, &passing(&["f32", "f64", "v128", "f32", "f64"]));
        // Quiet and signalling, of both signs, with something in their payloads.
        let values = [
            Val::F32(0x7fa0_0001),
            Val::F64(0xfff0_0000_0000_0001),
            V128::from(0x7fa0_0001_ffc0_dead_7ff4_0000_0000_beef).into(),
            Val::F32(0xffc1_2345),
            Val::F64(0x7ff8_0000_dead_beef),
        ];
        pass(&mut store, &values, same_bits);
    }
}

#[test]
fn nans_of_constants_and_of_memory_are_read_as_they_are() {
    let wat = r#"(module (import "host" "h" (func $h (result i32))) (memory 1)
        (data (i32.const 8) "\01\00\a0\7f\ef\be\ad\de\00\00\f4\ff")
        (func (export "run") (param i32 i32) (result i32) (local $f f32) (local $d f64)
          (local.set $f (f32.load (i32.const 8)))
          (local.set $d (f64.load (i32.const 12)))
          (f32.const -nan:0x200001)
          (f64.neg (f64.const nan:0x4000000000001))
          (call $h) (drop) (drop) (drop)
          (i32.reinterpret_f32 (local.get $f)) (drop (local.get $d))))"#;
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, wat);
        then(&mut store, |caller| {
            let frame = caller.frames().next().unwrap();
            let found = operands(&frame, &*caller);
            assert_eq!(bits(&found[0]).1, 0xffa0_0001);
            assert_eq!(bits(&found[1]).1, 0xfff4_0000_0000_0001);
            assert_eq!(bits(&frame.local(&*caller, 2)?).1, 0x7fa0_0001);
            assert_eq!(bits(&frame.local(&*caller, 3)?).1, 0xfff4_0000_dead_beef);
            Ok(0)
        });
        assert_eq!(run(&mut store).call(&mut store, (0, 0)).unwrap(), 0x7fa0_0001);
    }
}

#[test]
fn functions_that_are_read_can_be_called_and_null_is_null() {
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, &passing(&["funcref", "funcref", "i32", "funcref"]));
        let add = Func::wrap(&mut store, |a: i32, b: i64| i64::from(a) + b);
        let own = store.data().instance.unwrap().get_func(&mut store, "f").unwrap();
        let values =
            [Val::FuncRef(Some(add)), Val::FuncRef(None), Val::I32(1), Val::FuncRef(Some(own))];
        pass(&mut store, &values, |found, caller, expected| {
            assert_eq!(found[0].unwrap_funcref(), expected[0].unwrap_funcref());
            assert_eq!(found[1].unwrap_funcref(), None);
            assert_eq!(found[3].unwrap_funcref(), expected[3].unwrap_funcref());
            let add = found[0].unwrap_funcref().unwrap();
            let sum = &mut [Val::I64(0)];
            add.call(&mut *caller, &[Val::I32(3), Val::I64(1 << 40)], sum).unwrap();
            assert_eq!(sum[0].unwrap_i64(), (1 << 40) + 3);
            assert_eq!(found[3].unwrap_funcref().unwrap().ty(&*caller).params().len(), 4);
        });
    }
}

#[test]
fn objects_that_are_read_are_the_hosts_and_null_is_null() {
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, &passing(&["externref", "i64", "externref"]));
        let object = ExternRef::new(&mut store, String::from("a thing")).unwrap();
        let values = [Val::ExternRef(Some(object)), Val::I64(7), Val::ExternRef(None)];
        pass(&mut store, &values, |found, caller, expected| {
            let object = found[0].unwrap_externref();
            assert_eq!(object, expected[0].unwrap_externref());
            let data = object.unwrap();
            assert_eq!(data.data(&*caller).downcast_ref::<String>().unwrap(), "a thing");
            assert!(found[2].unwrap_externref().is_none());
        });
    }
}

#[test]
fn exceptions_that_are_read_are_there_or_null() {
    let wat = r#"(module (import "host" "h" (func $h (result i32))) (tag $t)
        (func (export "run") (param i32 i32) (result i32) (local $e exnref) (local $n exnref)
          (block $caught (result exnref)
            (try_table (catch_all_ref $caught) (throw $t))
            (unreachable))
          (local.set $e)
          (call $h)
          (drop (ref.is_null (local.get $e))) (drop (ref.is_null (local.get $n)))))"#;
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, wat);
        then(&mut store, |caller| {
            let frame = caller.frames().next().unwrap();
            assert!(matches!(frame.local(&*caller, 2)?, Val::ExnRef(Some(_))));
            assert!(matches!(frame.local(&*caller, 3)?, Val::ExnRef(None)));
            Ok(0)
        });
        run(&mut store).call(&mut store, (0, 0)).unwrap();
    }
}

#[test]
fn values_of_mixed_sizes_do_not_overlap() {
    let types = ["i32", "v128", "i64", "v128", "v128", "f32", "i32", "f64", "v128", "i32", "i64"];
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, &passing(&types));
        let values: Vec<Val> = (1u8..)
            .zip(types)
            .map(|(i, ty)| {
                let bits = u128::from_le_bytes([i * 0x11; 16]);
                match ty {
                    "i32" => Val::I32(bits as i32),
                    "i64" => Val::I64(bits as i64),
                    "f32" => Val::F32(bits as u32),
                    "f64" => Val::F64(bits as u64),
                    _ => V128::from(bits).into(),
                }
            })
            .collect();
        pass(&mut store, &values, same_bits);
    }
}

/// All values of a trap's trace, which were copied.
#[test]
fn a_trace_has_the_bits_of_values_too() {
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (func $f (param f32 v128 i32 f64) (result i32)
          (local.get 1) (local.get 0)
          (if (i32.eq (call $h) (i32.const 1)) (then (unreachable)))
          (drop) (drop) (drop (local.get 3)) (drop (local.get 1)) (drop (local.get 0))
          (local.get 2))
        (func (export "run") (param i32 i32) (result i32)
          (call $f (f32.const nan:0x200001) (v128.const i64x2 5 -6) (local.get 0)
            (f64.const -nan:0x4000000000001))))"#;
    let engine = engine(|config| {
        config.frame_state(FrameState::All);
    });
    let mut store = store_with(&engine, wat);
    let error = run(&mut store).call(&mut store, (3, 4)).unwrap_err();
    let frame = &FrozenTrace::of(&error).unwrap().frames()[0];
    let vector = (-6i64 as u64 as u128) << 64 | 5;
    let expected = [
        (ValType::F32, 0x7fa0_0001),
        (ValType::V128, vector),
        (ValType::I32, 3),
        (ValType::F64, 0xfff4_0000_0000_0001),
    ];
    let found: Vec<_> = (0..4).map(|index| bits(&frame.local(index).unwrap())).collect();
    assert_eq!(found, expected);
    let found: Vec<_> =
        (0..frame.num_operands()).map(|index| bits(&frame.operand(index).unwrap())).collect();
    assert_eq!(found, [expected[1], expected[0]]);
}

/// Written while it stands at a checkpoint, in a loop, and in the host.
#[test]
fn what_is_written_at_calls_and_checkpoints_is_what_the_program_reads() {
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (func (export "run") (param i32 i32) (result i32) (local $v v128) (local $d f64)
          (local.get 1)
          (loop $l
            (local.set $d (f64.add (local.get $d) (f64.const 1)))
            (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
          (call $h) (i32.add)
          (i32.add (i32.trunc_f64_s (local.get $d)))
          (i32.add (i32x4.extract_lane 1 (local.get $v)))))"#;
    for engine in keeping(|config| {
        config.consume_fuel(true).frame_writes(true);
    }) {
        let mut store = store_with(&engine, wat);
        let f = store.data().instance.unwrap().get_func(&mut store, "run").unwrap();
        // Out of fuel at the loop's second round.
        store.set_fuel(7).unwrap();
        let results = &mut [Val::I32(0)];
        let call = f.call_resumable(&mut store, &[Val::I32(5), Val::I32(1)], results).unwrap();
        let call = out_of_fuel(call);
        let frame = call.frames(&store).unwrap().next().unwrap();
        assert_eq!(frame.local(&store, 0).unwrap().unwrap_i32(), 4);
        frame.set_local(&mut store, 0, Val::I32(2)).unwrap();
        frame.set_local(&mut store, 3, Val::from(100f64)).unwrap();
        frame.set_local(&mut store, 2, Val::from(7000u128 << 32)).unwrap();
        frame.set_operand(&mut store, 0, Val::I32(20_000)).unwrap();
        store.set_fuel(1000).unwrap();
        then(&mut store, |_| stillframe::bail!("wait"));
        let call = host_trap(call.resume(&mut store, results).unwrap());
        let frame = call.frames(&store).unwrap().next().unwrap();
        // Two rounds more.
        assert_eq!(bits(&frame.local(&store, 3).unwrap()).1, u128::from(102f64.to_bits()));
        assert_eq!(frame.operand(&store, 0).unwrap().unwrap_i32(), 20_000);
        frame.set_local(&mut store, 3, Val::from(300f64)).unwrap();
        let done = call.resume(&mut store, &[Val::I32(100_000)], results).unwrap();
        assert!(matches!(done, stillframe::ResumableCall::Finished));
        assert_eq!(results[0].unwrap_i32(), 127_300);
    }
}

/// An operand below a `try_table` was written while the frame stood in a call that then throws.
#[test]
fn an_operand_written_in_a_call_that_throws_is_what_the_handler_goes_on_with() {
    let wat = r#"(module (import "host" "h" (func $h (result i32))) (tag $t)
        (func $throws (drop (call $h)) (throw $t))
        (func (export "run") (param i32 i32) (result i32) (local $x i64)
          (local.get 1)
          (v128.const i64x2 1 2)
          (block $caught
            (try_table (catch $t $caught) (call $throws))
            (unreachable))
          (i32x4.extract_lane 0) (i32.add)
          (i32.add (i32.wrap_i64 (local.get $x)))))"#;
    for engine in keeping(|config| {
        config.frame_writes(true);
    }) {
        let mut store = store_with(&engine, wat);
        then(&mut store, |caller| {
            let frame = caller.frames().nth(1).unwrap();
            frame.set_operand(&mut *caller, 0, Val::I32(10))?;
            frame.set_operand(&mut *caller, 1, Val::from(200u128))?;
            frame.set_local(&mut *caller, 2, Val::I64(3000))?;
            Ok(0)
        });
        assert_eq!(run(&mut store).call(&mut store, (0, 1)).unwrap(), 3210);
    }
}

/// The length of a bulk operation was written at its checkpoint.
#[test]
fn fuel_is_taken_for_the_length_that_was_written() {
    let wat = r#"(module (import "host" "h" (func $h (result i32))) (memory 1)
        (func (export "run") (param i32 i32) (result i32)
          (memory.fill (i32.const 0) (i32.const 7) (local.get 0))
          (i32.load8_u (local.get 1))))"#;
    for engine in keeping(|config| {
        config.consume_fuel(true).frame_writes(true);
    }) {
        let mut store = store_with(&engine, wat);
        let f = store.data().instance.unwrap().get_func(&mut store, "run").unwrap();
        store.set_fuel(50).unwrap();
        let before = store.fuel_consumed().unwrap();
        let results = &mut [Val::I32(0)];
        let call = f.call_resumable(&mut store, &[Val::I32(100), Val::I32(999)], results).unwrap();
        let call = out_of_fuel(call);
        let frame = call.frames(&store).unwrap().next().unwrap();
        assert_eq!(operands(&frame, &store)[2].unwrap_i32(), 100);
        frame.set_operand(&mut store, 2, Val::I32(1000)).unwrap();
        store.set_fuel(2000).unwrap();
        let call = call.resume(&mut store, results).unwrap();
        assert!(matches!(call, stillframe::ResumableCall::Finished));
        assert_eq!(results[0].unwrap_i32(), 7);
        // Entry, three operands, the operation and its bytes, an operand and the load.
        assert_eq!(store.fuel_consumed().unwrap() - before, 1 + 3 + 1 + 1000 + 2);
    }
}

#[test]
fn what_is_not_read_any_more_is_not_live_and_cannot_be_written() {
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (func (export "run") (param i32 i32) (result i32) (local i64)
          (drop (local.get 1)) (drop (local.get 2))
          (i32.add (call $h) (local.get 0))))"#;
    for state in [FrameState::Live, FrameState::All] {
        let engine = engine(|config| {
            config.frame_state(state).frame_writes(true);
        });
        let mut store = store_with(&engine, wat);
        then(&mut store, move |caller| {
            let frame = caller.frames().next().unwrap();
            assert_eq!(frame.local(&*caller, 0)?.unwrap_i32(), 8);
            let not_live = Err(FrameError::NotLive);
            for (index, value) in [(1, Val::I32(1)), (2, Val::I64(1))] {
                let read = frame.local(&*caller, index).map(|_| ());
                let written = frame.set_local(&mut *caller, index, value);
                let expected = if state == FrameState::All { Ok(()) } else { not_live };
                assert_eq!((read, written), (expected, expected));
            }
            // What is wrong in itself is said first.
            let mismatch = FrameError::TypeMismatch { expected: ValType::I32, found: ValType::F32 };
            assert_eq!(frame.set_local(&mut *caller, 1, Val::F32(0)), Err(mismatch));
            let out_of_range = FrameError::OutOfRange { index: usize::MAX, len: 3 };
            let max = usize::MAX;
            assert_eq!(frame.local(&*caller, max).map(|_| ()), Err(out_of_range));
            assert_eq!(frame.set_local(&mut *caller, max, Val::I32(0)), Err(out_of_range));
            Ok(5)
        });
        assert_eq!(run(&mut store).call(&mut store, (8, 9)).unwrap(), 13);
    }
}
