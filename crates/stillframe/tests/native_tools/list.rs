//! The list of object files that debuggers walk: what is in it, and when.

use crate::{NAMES, guest, linker, symbols};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use stillframe::{Config, Engine, Module, Store};

#[repr(C)]
struct Entry {
    next: *const Entry,
    previous: *const Entry,
    image: *const u8,
    image_size: u64,
}

#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *const Entry,
    first: *const Entry,
}

unsafe extern "C" {
    #[link_name = "__jit_debug_descriptor"]
    static mut DESCRIPTOR: Descriptor;
}

/// Held by tests that look at the list, which is the process's.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The images in the list.
pub(crate) fn listed(_: &MutexGuard<'_, ()>) -> Vec<Vec<u8>> {
    let mut images = Vec::new();
    // SAFETY: tests that change the list hold the lock, and entries live while they are in it.
    unsafe {
        let list = &raw const DESCRIPTOR;
        assert_eq!(((*list).version, (*list).action), (1, 0));
        let mut entry = (*list).first;
        while !entry.is_null() {
            let size = (*entry).image_size as usize;
            images.push(std::slice::from_raw_parts((*entry).image, size).to_vec());
            entry = (*entry).next;
        }
    }
    images
}

fn names(image: &[u8]) -> Vec<String> {
    symbols(image).into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn modules_and_trampolines_are_listed_while_they_live() {
    let alone = alone();
    assert_eq!(listed(&alone).len(), 0);
    let engine = Engine::new(Config::new().native_debug_info(true)).unwrap();
    let module = Module::new(&engine, guest()).unwrap();
    let other = Module::new(&engine, "(module $other (func $only))").unwrap();
    let images = listed(&alone);
    assert_eq!(
        [names(&images[0]), names(&images[1])],
        [vec!["only".into()], NAMES.map(String::from).to_vec()]
    );
    assert_eq!(images.len(), 2);
    let size = symbols(&images[1]).iter().map(|(_, _, size)| size).sum::<u64>() as usize;
    assert!(size <= module.code_size() && size + 16 * NAMES.len() > module.code_size());

    // A module's code stays as long as an instance of it.
    let mut store = Store::new(&engine, ());
    let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, i32>(&mut store, "run").unwrap();
    assert_eq!(run.call(&mut store, 3).unwrap(), 6);
    drop((module, other));
    let images = listed(&alone);
    let mut seen: Vec<_> = images.iter().map(|image| names(image)).collect();
    seen.sort();
    let ty = "(i32) -> (i32)";
    assert_eq!(
        seen,
        [
            NAMES.map(String::from).to_vec(),
            vec![
                format!("stillframe trampoline host-to-wasm {ty}"),
                format!("stillframe trampoline wasm-to-host {ty}"),
            ],
        ]
    );
    drop(store);
    assert_eq!(listed(&alone).len(), 1, "the engine's trampolines");
    drop((engine, run, instance));
    assert_eq!(listed(&alone).len(), 0);
}

#[test]
fn nobody_is_told_unless_asked_to() {
    let alone = alone();
    let engine = Engine::default();
    let module = Module::new(&engine, guest()).unwrap();
    let mut store = Store::new(&engine, ());
    linker(&engine).instantiate(&mut store, &module).unwrap();
    assert_eq!(listed(&alone).len(), 0);
    let map = format!("/tmp/perf-{}.map", std::process::id());
    assert!(!Path::new(&map).exists(), "{map}");
}

#[test]
fn loaded_artifacts_are_listed_too() {
    let alone = alone();
    let bytes = Engine::default().precompile_module(&guest()).unwrap();
    let engine = Engine::new(Config::new().native_debug_info(true)).unwrap();
    // SAFETY: made just now.
    let module = unsafe { Module::deserialize(&engine, bytes) }.unwrap();
    assert_eq!(names(&listed(&alone)[0]), NAMES);
    drop(module);
    assert_eq!(listed(&alone).len(), 0);
}

#[test]
fn thousands_of_modules_come_and_go_in_any_order() {
    let alone = alone();
    let engine = Engine::new(Config::new().native_debug_info(true)).unwrap();
    let bytes = engine.precompile_module(b"(module (func $f) (func $g))").unwrap();
    let (mut kept, mut state) = (Vec::new(), 1u32);
    for i in 0..5000 {
        // SAFETY: made above.
        kept.push(unsafe { Module::deserialize(&engine, &bytes) }.unwrap());
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        if kept.len() > 300 {
            kept.swap_remove(state as usize % kept.len());
        }
        if i % 500 == 0 {
            let images = listed(&alone);
            assert_eq!(images.len(), kept.len());
            assert!(images.iter().all(|image| names(image) == ["f", "g"]));
        }
    }
    drop(kept);
    assert_eq!(listed(&alone).len(), 0);
}
