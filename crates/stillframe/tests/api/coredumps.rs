//! Core dumps: which instances, memories, globals, frames and values they have.

use crate::instantiate;
use stillframe::coredump::{CoreValue, GlobalValue, ReferenceKind};
use stillframe::{
    Caller, Config, CoreDump, CoreDumpBuilder, Engine, Extern, FrameError, FrameState, Instance,
    Linker, Module, ResumableCall, Store, Val,
};

/// The dump, written and read again: they must be the same.
fn reread(dump: CoreDump<'_>) -> CoreDump<'static> {
    let bytes = dump.to_bytes().unwrap();
    let read = CoreDump::parse(&bytes).unwrap().into_owned();
    assert_eq!(read, dump);
    read
}

#[test]
fn instances_share_memories_and_globals_and_have_those_that_are_not_exported() {
    let engine = Engine::default();
    let exporter = Module::new(
        &engine,
        r#"(module $exporter
             (memory 1) (memory (export "m") 2 5)
             (global i64 (i64.const 7)) (global (export "g") (mut i32) (i32.const 1)))"#,
    );
    let importer = Module::new(
        &engine,
        r#"(module $importer
             (import "e" "m" (memory 2)) (import "e" "g" (global $g (mut i32)))
             (memory 1)
             (global funcref (ref.null func)) (global v128 (v128.const i64x2 1 2))
             (func (export "f")
               (global.set $g (i32.const 2))
               (i32.store (i32.const 131068) (i32.const -1))
               (unreachable)))"#,
    );
    let (exporter, importer) = (exporter.unwrap(), importer.unwrap());
    let mut store = Store::new(&engine, ());
    let exported = Instance::new(&mut store, &exporter, &[]).unwrap();
    let imports = ["m", "g"].map(|name| exported.get_export(&mut store, name).unwrap());
    let instance = Instance::new(&mut store, &importer, &imports).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    let error = f.call(&mut store, &[], &mut []).unwrap_err();

    let dump = reread(CoreDumpBuilder::new("program").of_error(&store, &error).unwrap());
    assert_eq!(dump.executable_name, "program");
    assert_eq!(dump.modules, ["exporter", "importer"]);
    let [first, second] = &dump.instances[..] else { panic!("{:?}", dump.instances) };
    assert_eq!((first.module, &*first.memories, &*first.globals), (0, &[0, 1][..], &[0, 1][..]));
    assert_eq!((second.module, &*second.memories), (1, &[1, 2][..]));
    assert_eq!(second.globals, [1, 2, 3]);
    let null = GlobalValue::Reference(ReferenceKind::Func);
    let lanes = GlobalValue::V128(1 | 2 << 64);
    assert_eq!(dump.globals, [GlobalValue::I64(7), GlobalValue::I32(2), null, lanes]);
    let sizes: Vec<_> = dump.memories.iter().map(|m| (m.pages(), m.maximum())).collect();
    assert_eq!(sizes, [(1, None), (2, Some(5)), (1, None)]);
    let mut last = [0; 4];
    assert!(dump.memories[1].read(131068, &mut last));
    assert_eq!(last, [0xff; 4]);
    let [thread] = &dump.threads[..] else { panic!("{:?}", dump.threads) };
    assert_eq!((thread.name.as_str(), thread.frames.len()), ("main", 1));
    assert_eq!((thread.frames[0].instance, thread.frames[0].func_index), (1, 0));
}

#[test]
fn frames_have_their_offset_in_the_function_and_what_the_format_can_hold() {
    let mut config = Config::new();
    config.frame_state(FrameState::All);
    let engine = Engine::new(&config).unwrap();
    // The body of `$inner` begins with the number of runs of locals, and a run's length and type.
    // So `unreachable` is at 3 + 2 (i32.const) + 2 (local.get).
    let module = Module::new(
        &engine,
        r#"(module
             (import "" "" (func))
             (func $inner (param i32 i64 f32 f64 externref) (local v128)
               (i32.const 5) (local.get 5) (unreachable))
             (func (export "outer")
               (call $inner (i32.const -1) (i64.const -2) (f32.const 0.5) (f64.const nan)
                 (ref.null extern))))"#,
    );
    let mut store = Store::new(&engine, ());
    let import = stillframe::Func::wrap(&mut store, || {});
    let instance = Instance::new(&mut store, &module.unwrap(), &[import.into()]).unwrap();
    let outer = instance.get_func(&mut store, "outer").unwrap();
    let error = outer.call(&mut store, &[], &mut []).unwrap_err();
    let dump = reread(CoreDumpBuilder::new("p").of_error(&store, &error).unwrap());
    // A module without a name, alone in its program, is the program.
    assert_eq!(dump.modules, ["p"]);
    let [inner, outer] = &dump.threads[0].frames[..] else { panic!("{:?}", dump.threads) };
    assert_eq!((inner.func_index, inner.code_offset), (1, 7));
    assert_eq!(
        inner.locals,
        [
            CoreValue::I32(-1),
            CoreValue::I64(-2),
            CoreValue::F32(0.5f32.to_bits()),
            CoreValue::F64(0x7ff8_0000_0000_0000),
            CoreValue::Missing,
            CoreValue::Missing,
        ]
    );
    assert_eq!(inner.stack, [CoreValue::I32(5), CoreValue::Missing]);
    // 1 for no locals, then 2 each for i32.const and i64.const, 5, 9, and 2 for ref.null.
    assert_eq!((outer.func_index, outer.code_offset), (2, 21));
    assert_eq!((outer.locals.len(), outer.stack.len()), (0, 0));
}

#[test]
fn suspended_calls_and_host_functions_give_dumps_of_frozen_frames() {
    let engine = Engine::new(Config::new().consume_fuel(true)).unwrap();
    let module = Module::new(
        &engine,
        r#"(module
             (import "host" "dump" (func $dump))
             (func (export "f") (param i32) (call $dump) (drop (local.get 0)))
             (func (export "spin") (local i64)
               (loop (local.set 0 (i64.add (local.get 0) (i64.const 1))) (br 0))))"#,
    );
    let mut linker = Linker::new(&engine);
    let dump = |mut caller: Caller<'_, Vec<u8>>| {
        let dump = CoreDumpBuilder::new("p").of_frames(&caller, caller.frames())?;
        let bytes = dump.to_bytes()?;
        *caller.data_mut() = bytes;
        stillframe::Result::Ok(())
    };
    linker.func_wrap("host", "dump", dump).unwrap();
    let mut store = Store::new(&engine, Vec::new());
    store.set_fuel(1000).unwrap();
    let instance = linker.instantiate(&mut store, &module.unwrap()).unwrap();
    let f = instance.get_func(&mut store, "f").unwrap();
    f.call(&mut store, &[Val::I32(9)], &mut []).unwrap();
    let read = CoreDump::parse(store.data()).unwrap();
    assert_eq!(read.threads[0].frames[0].locals, [CoreValue::I32(9)]);

    let spin = instance.get_func(&mut store, "spin").unwrap();
    store.set_fuel(101).unwrap();
    let call = spin.call_resumable(&mut store, &[], &mut []).unwrap();
    assert!(matches!(call, ResumableCall::OutOfFuel(_)));
    let builder = CoreDumpBuilder::new("p");
    let read = reread(builder.of_frames(&store, call.frames(&store).unwrap()).unwrap());
    // 1 for entering, and rounds of 5: get, const, add, set and br.
    assert_eq!(read.threads[0].frames[0].locals, [CoreValue::I64(20)]);

    let other = Store::new(&engine, Vec::<u8>::new());
    let frames = call.frames(&store).unwrap();
    assert_eq!(builder.of_frames(&other, frames).unwrap_err(), FrameError::WrongStore);
}

#[test]
fn frames_whose_instance_is_not_known_have_the_only_one_or_an_empty_one() {
    let engine = Engine::new(Config::new().frame_state(FrameState::Off)).unwrap();
    let wat = r#"(module (memory 1) (func (export "f") (param i32) unreachable))"#;
    let module = Module::new(&engine, wat).unwrap();
    let mut store = Store::new(&engine, ());
    let mut dump_of_trap = || {
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let f = instance.get_func(&mut store, "f").unwrap();
        let error = f.call(&mut store, &[Val::I32(1)], &mut []).unwrap_err();
        reread(CoreDumpBuilder::new("p").of_error(&store, &error).unwrap())
    };
    let only = dump_of_trap();
    assert_eq!((only.instances.len(), only.threads[0].frames[0].instance), (1, 0));
    assert_eq!(only.threads[0].frames[0].locals, [CoreValue::Missing]);
    let one_of_two = dump_of_trap();
    assert_eq!((one_of_two.instances.len(), one_of_two.threads[0].frames[0].instance), (3, 2));
    assert!(one_of_two.instances[2].memories.is_empty());
}

#[test]
fn errors_that_are_not_of_wasm_give_no_dump() {
    let (store, _) = instantiate("(module)");
    let builder = CoreDumpBuilder::new("p");
    assert!(builder.of_error(&store, &stillframe::Error::msg("of the host")).is_none());
}

#[test]
fn functions_know_where_they_are_defined() {
    let (mut store, definer) = instantiate(r#"(module (func) (func (export "f")))"#);
    let f = definer.get_func(&mut store, "f").unwrap();
    let module = Module::new(
        store.engine(),
        r#"(module (import "" "" (func (param))) (import "" "" (func $f))
             (export "f" (func $f)) (func (export "g")))"#,
    );
    let host = stillframe::Func::wrap(&mut store, || {});
    let imports: [Extern; 2] = [host.into(), f.into()];
    let user = Instance::new(&mut store, &module.unwrap(), &imports).unwrap();
    let again = user.get_func(&mut store, "f").unwrap();
    let g = user.get_func(&mut store, "g").unwrap();
    assert_eq!(f.definition(&store), Some((definer, 1)));
    assert_eq!(again.definition(&store), Some((definer, 1)));
    assert_eq!(g.definition(&store), Some((user, 2)));
    assert_eq!(host.definition(&store), None);
}
