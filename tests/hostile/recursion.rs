//! Recursion without end, of every kind and in every configuration: it ends in a trap, in the function
//! whose frame does not fit any more, having consumed what was executed; and the store goes on.

use super::common::{FUEL, Way, trap, ways};
use stillframe::{
    AsContextMut, Caller, Config, Engine, Error, Extern, FrameState, FrozenTrace, Func, Instance,
    Linker, Module, Store, Trap,
};

/// Functions `(param i32) (result i32)` that call themselves or each other for ever; `fine`, which does
/// not. Named behind each: what a level costs, with the entry.
const RECURSIONS: &str = r#"
(module
  (type $t (func (param i32) (result i32)))
  (tag $e)
  (table 1 1 funcref) (elem (i32.const 0) $indirect)
  (func $direct (export "direct") (type $t)                                              ;; 5
    local.get 0 i32.const 1 i32.add call $direct i32.const 1 i32.add)
  (func $indirect (export "indirect") (type $t)                                          ;; 6
    local.get 0 i32.const 1 i32.add i32.const 0 call_indirect (type $t) i32.const 1 i32.add)
  (func $ping (export "mutual") (type $t)                                                ;; 5
    local.get 0 i32.const 1 i32.add call $pong i32.const 1 i32.add)
  (func $pong (type $t)                                                                  ;; 5
    local.get 0 i32.const 1 i32.sub call $ping i32.const 1 i32.sub)
  (func $guarded (export "guarded") (type $t)                                            ;; 4
    (block (try_table (catch_all 0) (return (call $guarded (local.get 0)))))
    (i32.const -1))
  (func $wide (export "wide") (type $t)                                                  ;; 15
    (local v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128 v128)
    (local.set 1 (i32x4.splat (local.get 0))) (local.set 2 (i32x4.splat (local.get 0)))
    (local.set 3 (i32x4.splat (local.get 0))) (local.set 4 (i32x4.splat (local.get 0)))
    (drop (call $wide (local.get 0)))
    (i32x4.extract_lane 0 (i32x4.add (i32x4.add (local.get 1) (local.get 2))
      (i32x4.add (local.get 3) (local.get 4)))))
  (func $tail (export "tail") (type $t)                                                  ;; 5
    local.get 0 i32.const 1 i32.add return_call $tail)
  (func $tail_indirect (type $t)
    local.get 0 i32.const 0 return_call_indirect (type $t))
  (func (export "fine") (type $t) (i32.add (local.get 0) (i32.const 1))))
"#;

/// The recursions, what their levels cost, and their functions.
const KINDS: [(&str, u64, [&str; 2]); 5] = [
    ("direct", 5, ["direct"; 2]),
    ("indirect", 6, ["indirect"; 2]),
    ("mutual", 5, ["ping", "pong"]),
    ("guarded", 4, ["guarded"; 2]),
    ("wide", 15, ["wide"; 2]),
];

fn run(store: &mut Store<()>, instance: Instance, name: &str) -> Result<i32, Error> {
    let func = instance.get_typed_func::<i32, i32>(&mut *store, name).unwrap();
    func.call(store, 0)
}

/// Runs into the end of a stack of so many bytes, and says how many frames there were.
fn overflow(way: &Way, kind: &(&str, u64, [&str; 2]), stack: usize) -> usize {
    let (name, cost, functions) = kind;
    let engine = Engine::new(way.config().max_wasm_stack(stack)).unwrap();
    let module = Module::new(&engine, RECURSIONS).unwrap();
    let mut store = way.store(&engine);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    let mut depth = 0;
    for _ in 0..2 {
        let before = if way.fuel { store.fuel_consumed().unwrap() } else { 0 };
        let error = run(&mut store, instance, name).unwrap_err();
        let what = format!("{name}, {way:?}");
        assert_eq!(trap(&error), Trap::StackOverflow, "{what}");
        let trace = FrozenTrace::of(&error).unwrap();
        depth = trace.frames().len() + trace.omitted();
        for (i, frame) in trace.frames().iter().take(64).enumerate() {
            // Functions that call each other take turns, whichever was the last.
            let first = usize::from(trace.frames()[0].func_name() != Some(functions[0]));
            assert_eq!(frame.func_name(), Some(functions[(first + i) % 2]), "{what}");
            let known = way.frame_state != FrameState::Off;
            assert!(!known || frame.instance() == Some(instance), "{what}");
        }
        assert_eq!(trace.frames().last().unwrap().func_name(), Some(functions[0]), "{what}");
        if way.fuel {
            // The last one has not been entered.
            let consumed = store.fuel_consumed().unwrap() - before;
            assert_eq!(consumed, (depth as u64 - 1) * cost, "{depth} frames, {what}");
        }
        // Nothing of it is left.
        assert_eq!(run(&mut store, instance, "fine").unwrap(), 1, "{what}");
    }
    depth
}

#[test]
fn recursion_ends_where_the_stack_ends() {
    for way in ways() {
        for kind in &KINDS {
            let (small, large) = (overflow(&way, kind, 64 << 10), overflow(&way, kind, 128 << 10));
            // A frame has at least a return address and a frame pointer.
            assert!((20..=64 << 10 >> 4).contains(&small), "{small} frames, {kind:?}, {way:?}");
            // The runtime takes a part of its own.
            assert!(
                large > small * 3 / 2 && large <= small * 5 / 2 + 1,
                "{small}, {large}, {kind:?}, {way:?}"
            );
        }
    }
}

#[test]
fn recursion_in_tail_calls_takes_no_stack_and_ends_when_something_is_used_up() {
    for way in ways().filter(|way| way.fuel || way.epochs) {
        let engine = Engine::new(way.config().max_wasm_stack(32 << 10)).unwrap();
        let module = Module::new(&engine, RECURSIONS).unwrap();
        let mut store = way.store(&engine);
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        if way.fuel {
            store.set_fuel(1_000_000).unwrap();
            let before = store.fuel_consumed().unwrap();
            let error = run(&mut store, instance, "tail").unwrap_err();
            assert_eq!(trap(&error), Trap::OutOfFuel, "{way:?}");
            let consumed = store.fuel_consumed().unwrap() - before;
            assert_eq!(consumed, 1_000_000, "a level costs 5: {way:?}");
            let trace = FrozenTrace::of(&error).unwrap();
            assert_eq!(trace.frames().len(), 1, "{way:?}");
            assert_eq!(trace.frames()[0].func_name(), Some("tail"));
            store.set_fuel(FUEL).unwrap();
        } else {
            let ticking = engine.clone();
            store.set_epoch_deadline(3);
            let ticks = std::thread::spawn(move || {
                (0..3).for_each(|_| {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                    ticking.increment_epoch();
                })
            });
            let error = run(&mut store, instance, "tail").unwrap_err();
            assert_eq!(trap(&error), Trap::Interrupt, "{way:?}");
            ticks.join().unwrap();
            store.set_epoch_deadline(1_000);
        }
        assert_eq!(run(&mut store, instance, "fine").unwrap(), 1, "{way:?}");
    }
}

#[test]
fn recursion_through_host_functions_ends_at_the_limit_of_nested_calls() {
    const LEVELS: usize = 40;
    for way in ways() {
        let engine = Engine::new(way.config().max_nested_calls(LEVELS)).unwrap();
        let module = Module::new(
            &engine,
            r#"(module (import "" "again" (func $again (param i32) (result i32)))
            (func $f (export "f") (param i32) (result i32)
                local.get 0 i32.const 1 i32.add call $again))"#,
        )
        .unwrap();
        let mut store = way.store(&engine);
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("", "again", |mut caller: Caller<'_, ()>, x: i32| {
                let Some(Extern::Func(f)) = caller.get_export("f") else {
                    panic!("it is exported")
                };
                f.typed::<i32, i32>(&caller)?.call(caller.as_context_mut(), x)
            })
            .unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for _ in 0..2 {
            let before = if way.fuel { store.fuel_consumed().unwrap() } else { 0 };
            let error = run(&mut store, instance, "f").unwrap_err();
            assert_eq!(trap(&error), Trap::StackOverflow, "{way:?}");
            let frames = FrozenTrace::of(&error).unwrap().frames();
            assert_eq!(frames.len(), LEVELS, "{way:?}");
            let activations = frames.iter().map(|frame| frame.activation());
            assert!(activations.eq(0..LEVELS), "each has one of its own: {way:?}");
            if way.fuel {
                let consumed = store.fuel_consumed().unwrap() - before;
                assert_eq!(consumed, 5 * LEVELS as u64, "{way:?}");
            }
        }
    }
}

#[test]
fn recursion_of_host_functions_that_call_each_other_in_wasm_of_two_instances() {
    let engine = Engine::new(Config::new().max_nested_calls(50)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "" "other" (func $other (result i32)))
        (func (export "f") (result i32) (i32.add (call $other) (i32.const 1))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, Vec::<Instance>::new());
    let other = |at: usize| {
        move |mut caller: Caller<'_, Vec<Instance>>| {
            let instance = caller.data()[at];
            let f = instance.get_typed_func::<(), i32>(&mut caller, "f")?;
            f.call(&mut caller, ())
        }
    };
    for at in [1, 0] {
        let other = Func::wrap(&mut store, other(at));
        let instance = Instance::new(&mut store, &module, &[other.into()]).unwrap();
        store.data_mut().push(instance);
    }
    let (first, second) = (store.data()[0], store.data()[1]);
    for _ in 0..3 {
        let f = first.get_typed_func::<(), i32>(&mut store, "f").unwrap();
        let error = f.call(&mut store, ()).unwrap_err();
        assert_eq!(trap(&error), Trap::StackOverflow);
        let frames = FrozenTrace::of(&error).unwrap().frames();
        let instances: Vec<_> =
            frames.iter().rev().map(|frame| frame.instance().unwrap()).collect();
        assert_eq!(instances.len(), 50);
        assert!(instances.chunks(2).all(|pair| pair == [first, second]));
    }
}

#[test]
fn a_start_function_that_recurses_ends_the_instantiation() {
    for way in ways() {
        let engine = Engine::new(&way.config()).unwrap();
        let module = Module::new(&engine, "(module (func $f call $f) (start $f))").unwrap();
        let mut store = way.store(&engine);
        for _ in 0..2 {
            let error = Instance::new(&mut store, &module, &[]).unwrap_err();
            assert_eq!(trap(&error), Trap::StackOverflow, "{way:?}");
            let frames = FrozenTrace::of(&error).unwrap().frames();
            assert!(frames.iter().all(|frame| frame.func_name() == Some("f")), "{way:?}");
        }
        let fine = Module::new(&engine, "(module (func $f) (start $f))").unwrap();
        Instance::new(&mut store, &fine, &[]).unwrap();
    }
}
