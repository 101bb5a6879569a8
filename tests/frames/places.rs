//! Places where wasm can be frozen, and the frames that are there: a function's entry, constructs,
//! tail calls, deep recursions, several instances and modules, the end of the stack.

use super::common::{engine, out_of_fuel, run, store_with, then};
use super::values::{all_bits, bits, keeping, locals, operands};
use stillframe::{
    AsContext, Caller, Engine, FrameError, FrameHandle, FrameState, FrozenTrace, Func, Instance,
    Linker, Memory, Module, Store, Trap, Val, ValType,
};

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
