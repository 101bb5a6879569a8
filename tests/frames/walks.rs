//! Walks: all frames are found, in order, wherever wasm stands.

use super::common::{Data, engine, run, run_in, store, store_of, store_with, then};
use stillframe::{AsContext, Caller, Func, Instance, Linker, Module, Result, Store};

/// Function names and offsets, by handles and by a backtrace.
fn both(caller: &Caller<'_, Data>) -> [Vec<(String, u32)>; 2] {
    let by_handle = caller.frames().map(|frame| {
        let name = frame.func_name(caller).unwrap().unwrap_or("?").to_string();
        (name, frame.wasm_pc(caller).unwrap())
    });
    let trace = stillframe::WasmBacktrace::capture(caller);
    let by_trace = trace
        .frames()
        .iter()
        .map(|frame| (frame.func_name().unwrap_or("?").to_string(), frame.module_offset() as u32));
    [by_handle.collect(), by_trace.collect()]
}

#[test]
fn handles_are_where_a_backtrace_says() {
    let mut store = store();
    for depth in 0..70 {
        then(&mut store, move |caller| {
            let [by_handle, by_trace] = both(caller);
            assert_eq!(by_handle, by_trace);
            assert_eq!(by_handle.len(), depth as usize + 3);
            let names: Vec<_> = by_handle.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!((names[0], *names.last().unwrap()), ("bottom", "run"));
            assert!(names[1..names.len() - 1].iter().all(|name| *name == "down"));
            Ok(0)
        });
        run(&mut store).call(&mut store, (depth, 1)).unwrap();
    }
}

#[test]
fn a_recursion_of_100000_is_walked_to_its_end() {
    const DEPTH: i32 = 100_000;
    let mut store = store_of(&engine(|config| {
        config.max_wasm_stack(64 << 20);
    }));
    then(&mut store, |caller| {
        let frames: Vec<_> = caller.frames().collect();
        assert_eq!(frames.len(), DEPTH as usize + 3);
        assert_eq!(frames[0].func_name(&*caller)?, Some("bottom"));
        assert_eq!(frames[DEPTH as usize + 2].func_name(&*caller)?, Some("run"));
        for i in [0, 1, 5000, DEPTH as usize + 1] {
            assert_eq!(frames[i].parent(&*caller)?.as_ref(), Some(&frames[i + 1]));
        }
        #[expect(clippy::mutable_key_type, reason = "hashes are of what does not change")]
        let distinct: std::collections::HashSet<_> = frames.iter().collect();
        assert_eq!(distinct.len(), frames.len());
        assert!(frames.iter().all(|frame| frame.activation() == frames[0].activation()));
        Ok(0)
    });
    run(&mut store).call(&mut store, (DEPTH, 1)).unwrap();
}

/// Looking at the innermost frames alone, and stopping, leaves nothing behind.
#[test]
fn walks_can_stop_anywhere_and_be_begun_again() {
    let mut store = store();
    then(&mut store, |caller| run_in(caller).call(caller, (40, 1)));
    then(&mut store, |caller| {
        let all: Vec<_> = caller.frames().collect();
        for n in 0..all.len() + 2 {
            let some: Vec<_> = caller.frames().take(n).collect();
            assert_eq!(some, all[..n.min(all.len())]);
        }
        let mut frames = caller.frames();
        assert_eq!(frames.by_ref().count(), all.len());
        assert_eq!((frames.next(), frames.next()), (None, None));
        Ok(0)
    });
    run(&mut store).call(&mut store, (50, 1)).unwrap();
}

/// In the trampoline of a host function too, where fuel and epochs are tested before it is called.
#[test]
fn the_frame_of_a_trampoline_is_none_of_wasm() {
    let mut store = store_of(&engine(|config| {
        config.consume_fuel(true);
    }));
    let func = store.data().instance.unwrap().get_func(&mut store, "run").unwrap();
    let params = [1.into(), 1.into()];
    let mut results = [stillframe::Val::I32(0)];
    store.set_fuel(0).unwrap();
    let mut call = func.call_resumable(&mut store, &params, &mut results).unwrap();
    let mut tops = Vec::new();
    while let stillframe::ResumableCall::OutOfFuel(paused) = call {
        let frames: Vec<_> = paused.frames(&store).unwrap().collect();
        let names: Vec<_> = frames
            .iter()
            .map(|frame| frame.func_name(&store).unwrap().unwrap().to_string())
            .collect();
        let traced = paused.backtrace(&store).unwrap();
        assert_eq!(traced.frames().len(), names.len());
        tops.push(names);
        store.set_fuel(paused.required_fuel()).unwrap();
        call = paused.resume(&mut store, &mut results).unwrap();
    }
    // Entry and loop of `bottom`, and the trampoline that it calls.
    let bottom = ["bottom", "down", "down", "run"].map(String::from).to_vec();
    assert_eq!(tops.iter().filter(|names| **names == bottom).count(), 3);
    assert!(tops.contains(&vec!["run".to_string()]));
}

/// A chain of instances of two modules, calling each other straight and through the host.
#[test]
fn chains_cross_modules_and_instances() {
    let mut store = store();
    let engine = store.engine().clone();
    let link = Module::new(
        &engine,
        r#"(module $link
             (import "" "next" (func $next (param i32 i32) (result i32)))
             (func $link (export "run") (param i32 i32) (result i32)
               (call $next (local.get 0) (local.get 1))))"#,
    )
    .unwrap();
    let first = store.data().instance.unwrap();
    let mut run = first.get_func(&mut store, "run").unwrap();
    let mut instances = vec![first];
    for i in 0..4 {
        if i == 2 {
            // Through the host, in a call of its own.
            let inner = run.typed::<(i32, i32), i32>(&store).unwrap();
            run = Func::wrap(&mut store, move |caller: Caller<'_, Data>, a: i32, b: i32| {
                inner.call(caller, (a, b))
            });
        }
        let instance = Instance::new(&mut store, &link, &[run.into()]).unwrap();
        run = instance.get_func(&mut store, "run").unwrap();
        instances.push(instance);
    }
    then(&mut store, move |caller| {
        let frames: Vec<_> = caller.frames().collect();
        let modules: Vec<_> = frames
            .iter()
            .map(|frame| frame.module(&*caller).unwrap().name().unwrap().to_string())
            .collect();
        assert_eq!(modules, ["guest", "guest", "guest", "link", "link", "link", "link"]);
        for (frame, instance) in frames[2..].iter().zip(&instances) {
            if let Ok(found) = frame.instance(&*caller) {
                assert_eq!(found, *instance);
            }
        }
        let inner = frames.iter().filter(|frame| frame.activation() == frames[0].activation());
        assert_eq!(inner.count(), 5);
        Ok(0)
    });
    run.typed::<(i32, i32), i32>(&store).unwrap().call(&mut store, (0, 1)).unwrap();
}

#[test]
fn tail_calls_leave_no_frames() {
    let mut store = store_with(
        &engine(|_| ()),
        r#"(module
             (import "host" "h" (func $h (result i32)))
             (func $last (result i32) (i32.add (call $h) (i32.const 1)))
             (func $middle (result i32) (return_call $last))
             (func (export "run") (param i32 i32) (result i32) (call $middle)))"#,
    );
    then(&mut store, |caller| {
        let indices: Vec<_> =
            caller.frames().map(|frame| frame.func_index(&*caller).unwrap()).collect();
        assert_eq!(indices, [1, 3]);
        Ok(1)
    });
    assert_eq!(run(&mut store).call(&mut store, (0, 0)).unwrap(), 2);
}

/// What the name section and the source say is said of handles too; start functions have frames.
#[test]
fn a_start_function_has_frames() {
    let engine = engine(|_| ());
    let module = Module::new(
        &engine,
        r#"(module (import "host" "h" (func $h)) (func $go (call $h)) (start $go))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    let look = |mut caller: Caller<'_, usize>| -> Result<()> {
        let frames: Vec<_> = caller.frames().collect();
        assert_eq!(frames[0].func_name(caller.as_context())?, Some("go"));
        *caller.data_mut() = frames.len();
        Ok(())
    };
    linker.func_wrap("host", "h", look).unwrap();
    let mut store = Store::new(&engine, 0);
    linker.instantiate(&mut store, &module).unwrap();
    assert_eq!(*store.data(), 1);
}
