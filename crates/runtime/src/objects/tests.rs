//! Stores in which no wasm runs: what is left of them is memory, handles and pointers between
//! objects, which Miri can follow. `arch` and the system's mappings are what it cannot.

use crate::engine::{EngineShared, RuntimeConfig, TrampolineCode, TrampolineProvider};
use crate::host::{HostCall, HostCode, call_direct};
use crate::module::CompiledModule;
use crate::store::{ExternalHandle, FuncHandle, InstanceHandle, StoreCore};
use crate::value::RawValue;
use anyhow::{Result, bail};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use stillframe_abi::artifact::{Artifact, CompileSettings, FrameState};
use stillframe_abi::frame_table::FrameTableBuilder;
use stillframe_abi::module::{
    ConstExpr, ConstOp, DataSegment, ElemItems, ElemSegment, EntityIndex, Export, Import,
    ModuleInfo, SegmentMode,
};
use stillframe_abi::types::{FuncType, GlobalType, MemoryType, Mutability, TableType, ValType};

/// Trampolines that nobody may run.
struct Never;

// SAFETY: nobody runs them.
unsafe impl TrampolineProvider for Never {
    fn trampolines(&self, _: &FuncType) -> Result<TrampolineCode> {
        Ok(TrampolineCode { text: vec![0xcc; 16], entry: 0, host: 8 })
    }
}

fn engine() -> Arc<EngineShared> {
    EngineShared::new(RuntimeConfig::default(), Box::new(Never), Box::new(()))
}

fn store(engine: &Arc<EngineShared>) -> Box<StoreCore> {
    StoreCore::new(engine, Box::new(7_u32))
}

const FUNCS: TableType = TableType::new(ValType::FuncRef, 3, None);

fn global(ty: ValType) -> GlobalType {
    GlobalType::new(ty, Mutability::Var)
}

fn expr(op: ConstOp) -> ConstExpr {
    ConstExpr { ops: vec![op] }
}

/// A module that imports a function, a table, two globals and a memory of 64 bits, and has as many of
/// its own; segments fill them from one another.
fn module(engine: &Arc<EngineShared>) -> Arc<CompiledModule> {
    let imports = [
        EntityIndex::Func(0),
        EntityIndex::Table(0),
        EntityIndex::Memory(0),
        EntityIndex::Global(0),
        EntityIndex::Global(1),
    ];
    let exports = [
        ("imported func", EntityIndex::Func(0)),
        ("func", EntityIndex::Func(1)),
        ("table", EntityIndex::Table(1)),
        ("memory", EntityIndex::Memory(1)),
        ("v128", EntityIndex::Global(2)),
        ("ref", EntityIndex::Global(3)),
    ];
    let memory = MemoryType::new64(1, Some(3));
    let active = |target, offset| SegmentMode::Active { target, offset: expr(offset) };
    let info = ModuleInfo {
        types: vec![FuncType::new([ValType::I32], [ValType::I32])],
        functions: vec![0, 0],
        num_imported_functions: 1,
        memories: vec![memory; 2],
        num_imported_memories: 1,
        tables: vec![FUNCS; 2],
        num_imported_tables: 1,
        globals: vec![
            global(ValType::I32),
            global(ValType::ExternRef),
            global(ValType::V128),
            global(ValType::FuncRef),
        ],
        num_imported_globals: 2,
        global_inits: vec![expr(ConstOp::V128Const(u128::MAX / 3)), expr(ConstOp::RefFunc(1))],
        table_inits: vec![None],
        elems: vec![
            ElemSegment {
                mode: active(0, ConstOp::GlobalGet(0)),
                ty: ValType::FuncRef,
                items: ElemItems::Funcs(vec![1, 0]),
            },
            ElemSegment {
                mode: SegmentMode::Passive,
                ty: ValType::FuncRef,
                items: ElemItems::Exprs(vec![expr(ConstOp::RefFunc(1)); 2]),
            },
        ],
        // Not constant: Miri has no files in memory, which images are.
        data: vec![DataSegment {
            mode: SegmentMode::Active {
                target: 1,
                offset: ConstExpr {
                    ops: vec![ConstOp::I64Const(2), ConstOp::I64Const(3), ConstOp::I64Add],
                },
            },
            bytes: 1..4,
        }],
        func_ref_slots: vec![u32::MAX, 0],
        num_escaping_functions: 1,
        code: std::iter::once(0..16).collect(),
        bodies: std::iter::once(0..1).collect(),
        imports: imports.map(|index| Import { module: "m".into(), name: "n".into(), index }).into(),
        exports: exports.map(|(name, index)| Export { name: name.into(), index }).into(),
        ..ModuleInfo::default()
    };
    let mut frames = FrameTableBuilder::new();
    frames.push_function(&[]);
    let settings = CompileSettings {
        target: "none".into(),
        flags: vec![],
        fuel: false,
        costs: 0,
        epochs: false,
        frame_state: FrameState::Off,
        frame_writes: false,
        inlining: false,
    };
    let artifact = Artifact {
        settings,
        info,
        text: vec![0xcc; 16],
        frame_table: frames.finish().unwrap(),
        data: b"_abc_".to_vec(),
        dwarf: vec![],
    };
    // SAFETY: the code is never run.
    unsafe { CompiledModule::publish(engine, artifact).unwrap() }
}

/// A host function of type `i32 -> i32`.
fn host_function(
    store: &mut StoreCore,
    closure: impl Fn(HostCall<'_>) -> Result<()> + Send + Sync + 'static,
) -> FuncHandle {
    let ty = FuncType::new([ValType::I32], [ValType::I32]);
    // SAFETY: what the tests give stores an `i32`.
    unsafe { store.add_host_function(&ty, HostCode::sync(closure)).unwrap() }
}

/// Calls a host function as the host does, but for the test of how much stack is left.
fn call(store: &mut StoreCore, func: FuncHandle, n: i32) -> Result<i32> {
    let mut values = [RawValue::i32(n)];
    let func_ref = store.func_ref(func);
    // SAFETY: a host function of this store, with one parameter and one result.
    unsafe { call_direct(store, func_ref, &mut values)? };
    Ok(values[0].as_i32())
}

fn exported(store: &StoreCore, instance: InstanceHandle, name: &str) -> ExternalHandle {
    store.export(instance, name).unwrap_or_else(|| panic!("no `{name}`"))
}

#[test]
fn instances_are_linked_filled_and_reached_while_others_are_added() {
    let engine = engine();
    let module = module(&engine);
    let mut store = store(&engine);
    let func = host_function(&mut store, |call| {
        call.values[0] = RawValue::i32(call.values[0].as_i32() + 1);
        Ok(())
    });
    let object = store.add_extern(Arc::new("object"));
    // SAFETY: null, zero and an object of this store are of the types.
    let (table, zero, reference) = unsafe {
        (
            store.new_table(&FUNCS, RawValue::default()).unwrap(),
            store.new_global(global(ValType::I32), RawValue::i32(1)),
            store.new_global(global(ValType::ExternRef), store.extern_to_raw(Some(object))),
        )
    };
    let memory = store.new_memory(&MemoryType::new64(1, Some(3))).unwrap();
    let mut imports = [
        ExternalHandle::Func(func),
        ExternalHandle::Table(table),
        ExternalHandle::Memory(memory),
        ExternalHandle::Global(zero),
        ExternalHandle::Global(reference),
    ];
    let mut instances = Vec::new();
    // Each imports what the one before exports, while the store's lists grow and move.
    for round in 0..6 {
        let instance = store.instantiate(&module, &imports).unwrap();
        let ExternalHandle::Table(imported) = imports[1] else { unreachable!() };
        let ExternalHandle::Func(own) = exported(&store, instance, "func") else { panic!() };
        assert_eq!(exported(&store, instance, "imported func"), imports[0]);
        // The active segment: its own function, and the imported one, from index 1 on.
        let element = |store: &StoreCore, table, at| {
            let raw = store.table_get(table, at).unwrap();
            // SAFETY: an element of a table of functions of this store.
            unsafe { store.func_from_raw(raw) }
        };
        assert_eq!(element(&store, imported, 1), Some(own));
        let ExternalHandle::Func(expected) = imports[0] else { unreachable!() };
        assert_eq!(element(&store, imported, 2), Some(expected));
        let ExternalHandle::Global(wide) = exported(&store, instance, "v128") else { panic!() };
        assert_eq!(store.global(wide).as_v128(), u128::MAX / 3);
        let ExternalHandle::Memory(own_memory) = exported(&store, instance, "memory") else {
            panic!()
        };
        assert_eq!(&store.memory_bytes(own_memory)[4..9], b"\0abc\0");
        let ExternalHandle::Table(own_table) = exported(&store, instance, "table") else {
            panic!()
        };
        // The passive segment, as generated code asks for it; dropped in every other round.
        if round % 2 == 1 {
            store.instances[instance.index as usize].drop_elem(1);
        }
        let filled = store.init_table(instance.index as usize, 1, 1, 0, 0, 2);
        assert_eq!(filled.is_ok(), round % 2 == 0);
        assert_eq!(element(&store, own_table, 1), (round % 2 == 0).then_some(own));
        assert_eq!(store.definition_of(own), Some((instance, 1)));
        imports[1] = ExternalHandle::Table(own_table);
        imports[2] = ExternalHandle::Memory(own_memory);
        imports[0] = ExternalHandle::Func(own);
        instances.push((instance, own, own_table, own_memory));
        // Where contexts are, and what they point to, does not move.
        for _ in 0..3 {
            host_function(&mut store, |_| Ok(()));
        }
    }
    for &(instance, own, table, memory) in &instances {
        assert_eq!(exported(&store, instance, "func"), ExternalHandle::Func(own));
        assert!(Arc::ptr_eq(store.module_of(instance), &module));
        assert_eq!(store.grow_table_raw(table, 100, 0).unwrap(), Some(3));
        assert_eq!(store.grow_memory(memory, 2).unwrap(), Some(1));
        assert_eq!(store.memory_bytes(memory).len(), 3 << 16);
        assert_eq!(&store.memory_bytes(memory)[5..8], b"abc");
    }
    assert_eq!(call(&mut store, func, 41).unwrap(), 42);
    assert_eq!(*store.extern_object(object).downcast_ref::<&str>().unwrap(), "object");
}

#[test]
fn host_functions_reach_their_store_while_its_call_is_under_way() {
    let engine = engine();
    let mut store = store(&engine);
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    // Calls itself, and adds to all lists of the store that it is called in.
    let slot = Arc::new(std::sync::OnceLock::new());
    let own = slot.clone();
    let func = host_function(&mut store, move |HostCall { store, values, .. }| {
        counted.fetch_add(1, Relaxed);
        let n = values[0].as_i32();
        assert!(store.activations.innermost().is_some());
        *store.data_mut().downcast_mut::<u32>().unwrap() += 1;
        for _ in 0..3 {
            host_function(store, |_| Ok(()));
            store.add_extern(Arc::new(n));
            // SAFETY: a number.
            unsafe { store.new_global(global(ValType::I64), RawValue::i64(n.into())) };
        }
        if n < 0 {
            bail!("negative");
        }
        let below = if n > 0 { call(store, *own.get().unwrap(), n - 1)? } else { 0 };
        values[0] = RawValue::i32(below + n);
        Ok(())
    });
    slot.set(func).unwrap();
    assert_eq!(call(&mut store, func, 5).unwrap(), 15);
    assert_eq!(call(&mut store, func, -1).unwrap_err().to_string(), "negative");
    let panics = host_function(&mut store, |HostCall { store, .. }| {
        host_function(store, |_| Ok(()));
        panic!("a panic of the host's")
    });
    let panic = std::panic::AssertUnwindSafe(|| call(&mut store, panics, 0));
    std::panic::catch_unwind(panic).unwrap_err();
    assert!(store.activations.innermost().is_none(), "the activation has ended");
    assert_eq!(call(&mut store, func, 2).unwrap(), 3);
    assert_eq!(calls.load(Relaxed), 6 + 1 + 3);
    assert_eq!(*store.data().downcast_ref::<u32>().unwrap(), 7 + 10);
    // What the closures hold goes with the store.
    drop(store);
    assert_eq!(Arc::strong_count(&calls), 1);
}

#[test]
fn all_that_a_store_holds_can_move_to_another_thread_between_calls() {
    struct Moves(Box<StoreCore>);
    // SAFETY: as the facade's `Store` of data that is `Send`.
    unsafe impl Send for Moves {}
    let engine = engine();
    let module = module(&engine);
    let mut moves = Moves(store(&engine));
    for round in 0..3 {
        moves = std::thread::scope(|scope| {
            let (engine, module) = (&engine, &module);
            let there = scope.spawn(move || {
                let mut moves = moves;
                let store = &mut moves.0;
                assert!(Arc::ptr_eq(store.engine(), engine));
                let func = host_function(store, |call| {
                    call.values[0] = RawValue::i32(call.values[0].as_i32() * 2);
                    Ok(())
                });
                // SAFETY: null and numbers.
                let (table, one, null) = unsafe {
                    (
                        store.new_table(&FUNCS, RawValue::default()).unwrap(),
                        store.new_global(global(ValType::I32), RawValue::i32(0)),
                        store.new_global(global(ValType::ExternRef), RawValue::default()),
                    )
                };
                let memory = store.new_memory(&MemoryType::new64(1, Some(3))).unwrap();
                let imports = [
                    ExternalHandle::Func(func),
                    ExternalHandle::Table(table),
                    ExternalHandle::Memory(memory),
                    ExternalHandle::Global(one),
                    ExternalHandle::Global(null),
                ];
                store.instantiate(module, &imports).unwrap();
                assert_eq!(call(store, func, round).unwrap(), 2 * round);
                moves
            });
            there.join().unwrap()
        });
    }
    assert_eq!(moves.0.instances().len(), 3);
}
