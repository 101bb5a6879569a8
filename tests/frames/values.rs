//! What frames say: values of all types, exactly, wherever wasm can be frozen; and what they refuse.

use super::common::{Data, engine, host_trap, out_of_fuel, run, store_with, then};
use stillframe::{
    AsContext, Caller, Config, Engine, ExternRef, FrameError, FrameHandle, FrameState, FrozenTrace,
    Func, FuncType, Instance, Linker, Memory, Module, Store, Trap, V128, Val, ValType,
};

/// Engines that keep state, of both kinds.
fn keeping(set: impl Fn(&mut Config)) -> impl Iterator<Item = Engine> {
    let of = move |state| {
        engine(|config| {
            config.frame_state(state);
            set(config);
        })
    };
    [FrameState::Live, FrameState::All].into_iter().map(of)
}

fn locals(frame: &FrameHandle, store: impl AsContext + Copy) -> Vec<Val> {
    let locals = frame.locals(store).unwrap().into_iter();
    locals.map(|local| local.value.unwrap()).collect()
}

fn operands(frame: &FrameHandle, store: impl AsContext + Copy) -> Vec<Val> {
    let operands = frame.operands(store).unwrap().into_iter();
    operands.map(|operand| operand.value.unwrap()).collect()
}

/// The bits of a value that is not a reference, with its type.
fn bits(value: &Val) -> (ValType, u128) {
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

fn all_bits(values: &[Val]) -> Vec<(ValType, u128)> {
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

/// The first operator of `run` calls the host.
const ENTRY: &str = r#"(module (import "host" "h" (func $h (result i32)))
    (func (export "run") (param i32 i32) (result i32) (local i64 v128 funcref externref f32)
      (call $h)
      (drop (local.get 2)) (drop (local.get 3)) (drop (local.get 4)) (drop (local.get 5))
      (drop (local.get 6)) (i32.add (local.get 0)) (i32.add (local.get 1))))"#;

fn at_entry(frame: &FrameHandle, store: impl AsContext + Copy) {
    let found = locals(frame, store);
    assert_eq!(
        all_bits(&found[..4]).iter().map(|(_, bits)| *bits).collect::<Vec<_>>(),
        [8, 9, 0, 0]
    );
    assert!(found[4].unwrap_funcref().is_none());
    assert!(found[5].unwrap_externref().is_none());
    assert_eq!(bits(&found[6]), (ValType::F32, 0));
    assert_eq!(frame.num_operands(store), Ok(0));
}

#[test]
fn at_a_functions_first_operator_there_are_parameters_and_zeros() {
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, ENTRY);
        then(&mut store, |caller| {
            at_entry(&caller.frames().next().unwrap(), &*caller);
            Ok(100)
        });
        assert_eq!(run(&mut store).call(&mut store, (8, 9)).unwrap(), 117);
    }
}

#[test]
fn before_a_functions_first_operator_there_are_parameters_and_zeros() {
    for engine in keeping(|config| {
        config.consume_fuel(true);
    }) {
        let mut store = store_with(&engine, ENTRY);
        store.set_fuel(0).unwrap();
        let f = store.data().instance.unwrap().get_func(&mut store, "run").unwrap();
        let call = f.call_resumable(&mut store, &[Val::I32(8), Val::I32(9)], &mut [Val::I32(0)]);
        let call = out_of_fuel(call.unwrap());
        let frames: Vec<FrameHandle> = call.frames(&store).unwrap().collect();
        assert_eq!(frames.len(), 1);
        at_entry(&frames[0], &store);
    }
}

/// Calls the host from inside of constructs, with operands outside of them and in them.
const SHAPES: &str = r#"(module (import "host" "h" (func $h (result i32)))
    (func $two (param i32) (result i32 i64)
      (local.get 0) (i64.extend_i32_s (i32.add (local.get 0) (call $h))))
    (func (export "run") (param i32 i32) (result i32)
      (i32.const 10)
      (block $b (param i32) (result i32 i64)
        (i64.const 20)
        (block (result i32) (call $h) (br_if 0 (i32.const 1) (i32.const 1)) (drop))
        (drop)
        (loop $l (param i32 i64) (result i32 i64)
          (call $h) (drop)
          (local.set 0 (i32.sub (local.get 0) (i32.const 1)))
          (br_if $l (local.get 0)))
        (if (param i32 i64) (result i32 i64) (i32.const 1)
          (then (drop) (call $two))
          (else (call $h) (drop)))
        (br $b)
        (call $h) (drop))
      (drop) (call $h) (i32.add)))"#;

#[test]
fn operands_below_and_in_constructs_are_read() {
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, SHAPES);
        // In the block, in each round of the loop, in `$two` behind the block, and at the end.
        let shapes: [&[i64]; 5] = [&[10, 20], &[10, 20], &[10, 20], &[10, 10], &[10]];
        for expected in shapes {
            then(&mut store, move |caller| {
                let frame = caller.frames().next().unwrap();
                let found: Vec<i64> = operands(&frame, &*caller)
                    .iter()
                    .map(|value| match value {
                        Val::I32(value) => i64::from(*value),
                        value => value.unwrap_i64(),
                    })
                    .collect();
                assert_eq!(found, expected);
                Ok(1)
            });
        }
        assert_eq!(run(&mut store).call(&mut store, (2, 0)).unwrap(), 11);
        assert!(store.data().actions.is_empty());
    }
}

#[test]
fn a_frame_that_made_a_tail_call_is_gone() {
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (table funcref (elem $last))
        (func $last (param i32) (result i32) (i32.add (local.get 0) (call $h)))
        (func $middle (param i32) (result i32)
          (return_call_indirect (param i32) (result i32)
            (i32.add (local.get 0) (i32.const 1)) (i32.const 0)))
        (func $run (export "run") (param i32 i32) (result i32)
          (i32.mul (call $first (local.get 0)) (i32.const 2)))
        (func $first (param i32) (result i32)
          (return_call $middle (i32.add (local.get 0) (i32.const 10)))))"#;
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, wat);
        then(&mut store, |caller| {
            let frames: Vec<FrameHandle> = caller.frames().collect();
            let names: Vec<_> =
                frames.iter().map(|frame| frame.func_name(&*caller).unwrap().unwrap()).collect();
            assert_eq!(names, ["last", "run"]);
            let frame = &frames[0];
            assert_eq!(operands(frame, &*caller)[0].unwrap_i32(), 16);
            Ok(0)
        });
        assert_eq!(run(&mut store).call(&mut store, (5, 0)).unwrap(), 32);
    }
}

#[test]
fn a_recursion_100_000_deep_shows_all_of_its_frames() {
    const DEEP: i32 = 100_000;
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (func $down (export "run") (param $n i32) (param $k i32) (result i32) (local $v v128)
          (local.set $v (i32x4.splat (local.get $n)))
          (if (result i32) (local.get $n)
            (then (i32.add (i32.mul (local.get $n) (i32.const 2))
                    (call $down (i32.sub (local.get $n) (i32.const 1)) (local.get $k))))
            (else (call $h)))
          (drop (local.get $v)) (drop (local.get $n))))"#;
    for engine in keeping(|config| {
        config.max_wasm_stack(256 << 20);
    }) {
        let mut store = store_with(&engine, wat);
        then(&mut store, |caller| {
            let before = caller.frame_cache_stats();
            let frames: Vec<FrameHandle> = caller.frames().collect();
            // One place in the recursion, and one at its end.
            assert_eq!(caller.frame_cache_stats().misses - before.misses, 2);
            assert_eq!(frames.len(), DEEP as usize + 1);
            for (n, frame) in (0..).zip(&frames) {
                assert_eq!(frame.local(&*caller, 0)?.unwrap_i32(), n);
                let vector = frame.local(&*caller, 2)?.unwrap_v128().as_u128();
                assert_eq!(vector, n as u128 * 0x0001_0000_0001_0000_0001_0000_0001);
                if n > 0 {
                    assert_eq!(frame.operand(&*caller, 0)?.unwrap_i32(), 2 * n);
                }
            }
            assert_eq!(caller.frame_cache_stats().misses - before.misses, 2);
            Ok(0)
        });
        let sum = run(&mut store).call(&mut store, (DEEP, 0)).unwrap();
        assert_eq!(sum, DEEP.wrapping_mul(DEEP + 1));
    }
}

/// Instances of one module that call one another, and then the host.
#[test]
fn instances_of_a_module_are_told_apart() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "" "next" (func $next (param i32) (result i32)))
             (global (export "g") i32 (i32.const 1))
             (func (export "f") (param i32) (result i32)
               (i32.add (call $next (i32.add (local.get 0) (i32.const 1))) (local.get 0))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, Vec::<Instance>::new());
    let mut next = Func::wrap(&mut store, |caller: Caller<'_, Vec<Instance>>, n: i32| {
        let frames: Vec<FrameHandle> = caller.frames().collect();
        assert_eq!(frames.len(), 5);
        for (i, (frame, instance)) in frames.iter().zip(caller.data()).enumerate() {
            assert_eq!(frame.instance(&caller).unwrap(), *instance);
            assert_eq!(frame.local(&caller, 0).unwrap().unwrap_i32(), 4 - i as i32);
        }
        assert_eq!(n, 5);
        0
    });
    for _ in 0..5 {
        let instance = Instance::new(&mut store, &module, &[next.into()]).unwrap();
        next = instance.get_func(&mut store, "f").unwrap();
        store.data_mut().push(instance);
    }
    let outer = next.typed::<i32, i32>(&store).unwrap();
    assert_eq!(outer.call(&mut store, 0).unwrap(), 1 + 2 + 3 + 4);
}

#[test]
fn frames_of_several_modules_are_in_one_walk() {
    for engine in keeping(|_| ()) {
        let mut store = Store::new(&engine, ());
        let mut linker = Linker::new(&engine);
        let look = |caller: Caller<'_, ()>| {
            let frames: Vec<FrameHandle> = caller.frames().collect();
            let module = |frame: &FrameHandle| frame.module(&caller).unwrap();
            let names: Vec<_> =
                frames.iter().map(|frame| module(frame).name().unwrap().to_string()).collect();
            assert_eq!(names, ["inner", "middle", "outer", "middle", "outer"]);
            let value = |i: usize| frames[i].local(&caller, 0).unwrap();
            assert_eq!(value(0).unwrap_i64(), 3);
            assert_eq!(bits(&value(1)), (ValType::F64, u128::from(2f64.to_bits())));
            assert_eq!([value(2).unwrap_i32(), value(4).unwrap_i32()], [2, 1]);
            assert_ne!(frames[0].instance(&caller), frames[1].instance(&caller));
            assert_eq!(frames[1].instance(&caller), frames[3].instance(&caller));
        };
        linker.func_wrap("host", "look", look).unwrap();
        for (name, wat) in [
            (
                "inner",
                r#"(module $inner (import "host" "look" (func $look))
                     (func (export "f") (param i64) (call $look) (drop (local.get 0))))"#,
            ),
            (
                "middle",
                r#"(module $middle (import "inner" "f" (func $f (param i64)))
                     (table (export "t") 1 funcref)
                     (func (export "f") (param f64) (local $i i32)
                       (if (f64.eq (local.get 0) (f64.const 1))
                         (then (call_indirect (param i32) (i32.const 2) (i32.const 0)))
                         (else (call $f (i64.const 3))))
                       (drop (local.get 0))))"#,
            ),
            (
                "outer",
                r#"(module $outer (import "middle" "f" (func $f (param f64)))
                     (import "middle" "t" (table 1 funcref))
                     (elem (i32.const 0) $run)
                     (func $run (export "run") (param i32)
                       (call $f (f64.convert_i32_s (local.get 0))) (drop (local.get 0))))"#,
            ),
        ] {
            let module = Module::new(&engine, wat).unwrap();
            let instance = linker.instantiate(&mut store, &module).unwrap();
            linker.instance(&mut store, name, instance).unwrap();
        }
        let run = linker.get(&mut store, "outer", "run").unwrap().into_func().unwrap();
        run.typed::<i32, ()>(&store).unwrap().call(&mut store, 1).unwrap();
    }
}

#[test]
fn a_memory_may_grow_while_frames_are_frozen() {
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (memory (export "memory") 1 100)
        (func (export "run") (param i32 i32) (result i32) (local i64)
          (local.set 2 (i64.const 77))
          (i32.store (i32.const 16) (i32.const 5))
          (i32.load (i32.const 16))
          (i32.add (call $h))
          (i32.add (i32.load (i32.add (i32.const 16) (local.get 1))))
          (drop (local.get 2))))"#;
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, wat);
        let memory: Memory =
            store.data().instance.unwrap().get_memory(&mut store, "memory").unwrap();
        then(&mut store, move |caller| {
            let frame = caller.frames().next().unwrap();
            assert_eq!(frame.local(&*caller, 2)?.unwrap_i64(), 77);
            memory.grow(&mut *caller, 60)?;
            memory.data_mut(&mut *caller)[(50 << 16) + 16] = 30;
            assert!(frame.is_valid(&*caller));
            assert_eq!(frame.local(&*caller, 2)?.unwrap_i64(), 77);
            assert_eq!(operands(&frame, &*caller)[0].unwrap_i32(), 5);
            Ok(200)
        });
        assert_eq!(run(&mut store).call(&mut store, (0, 50 << 16)).unwrap(), 235);
    }
}

#[test]
fn the_frame_that_overflows_the_stack_tells_where_it_is_and_no_values() {
    let wat = r#"(module (import "host" "h" (func $h (result i32)))
        (func $over (export "run") (param i32 i32) (result i32) (local v128 i64 funcref)
          (i32.add (call $over (i32.add (local.get 0) (i32.const 1)) (local.get 1))
            (i32.add (local.get 0) (call $h)))))"#;
    for engine in keeping(|_| ()) {
        let mut store = store_with(&engine, wat);
        let instance = store.data().instance.unwrap();
        for _ in 0..3 {
            let error = run(&mut store).call(&mut store, (0, 42)).unwrap_err();
            assert_eq!(error.downcast_ref::<Trap>(), Some(&Trap::StackOverflow));
            let frames = FrozenTrace::of(&error).unwrap().frames();
            let over = &frames[0];
            assert_eq!((over.func_index(), over.func_name()), (1, Some("over")));
            assert!(over.wasm_pc() > 0 && over.wasm_pc() < frames[1].wasm_pc());
            assert_eq!(over.instance(), Some(instance));
            assert_eq!((over.num_locals(), over.num_operands()), (5, 0));
            for local in 0..5 {
                assert_eq!(over.local(local).map(|_| ()), Err(FrameError::NotLive));
            }
            assert_eq!(
                over.local(usize::MAX).map(|_| ()),
                Err(FrameError::OutOfRange { index: usize::MAX, len: 5 })
            );
            // Its callers are at calls.
            let depth = frames[1].local(0).unwrap().unwrap_i32();
            assert_eq!(frames[2].local(0).unwrap().unwrap_i32(), depth - 1);
            assert_eq!(frames.last().unwrap().local(0).unwrap().unwrap_i32(), 0);
        }
    }
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

/// Only what the store could free is kept without frame state.
#[test]
fn without_frame_state_there_are_places_and_no_values() {
    let engine = engine(|config| {
        config.frame_state(FrameState::Off);
    });
    let mut store = store_with(&engine, ENTRY);
    then(&mut store, |caller| {
        let frame = caller.frames().next().unwrap();
        assert_eq!(frame.func_index(&*caller), Ok(1));
        assert_eq!(frame.instance(&*caller), Err(FrameError::NotLive));
        assert_eq!(frame.num_locals(&*caller), Ok(7));
        assert_eq!(frame.local_type(&*caller, 3), Ok(ValType::V128));
        for index in [0, 1, 2, 3, 4, 6] {
            assert_eq!(frame.local(&*caller, index).map(|_| ()), Err(FrameError::NotLive));
        }
        assert_eq!(frame.num_operands(&*caller), Ok(0));
        Ok(1)
    });
    assert_eq!(run(&mut store).call(&mut store, (8, 9)).unwrap(), 18);
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

/// A type that says what it is: a guard against comparing the wrong things above.
#[test]
fn signatures_are_what_was_asked_for() {
    let engine = Engine::default();
    let mut store = store_with(&engine, &passing(&["i32", "v128"]));
    let f = store.data().instance.unwrap().get_func(&mut store, "f").unwrap();
    assert_eq!(f.ty(&store), FuncType::new([ValType::I32, ValType::V128], []));
}
