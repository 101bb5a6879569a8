//! What the fuzz targets share: how an oracle becomes a target, and how inputs are mutated.

use stillframe_fuzzing::input::CHOICES;
use stillframe_fuzzing::{modules, panics};
use wasm_mutate::WasmMutate;

/// Makes a module of `stillframe-fuzzing` a fuzz target: its `run` must not fail.
#[macro_export]
macro_rules! target {
    ($oracle:ident) => {
        libfuzzer_sys::fuzz_target!(|data: &[u8]| {
            if let Err(error) = stillframe_fuzzing::$oracle::run(data) {
                panic!("{error:?}");
            }
        });
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            $crate::mutate(data, size, max_size, seed)
        });
    };
}

/// Mutates an input, and returns its new size. If it holds a module, then once in four times only
/// the choices before it, and twice the module as a module, so that it stays a valid one, where it is
/// one; all else as bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let holds_module = data.get(CHOICES..size).is_some_and(|rest| rest.starts_with(b"\0asm"));
    match seed % 4 {
        // Other choices for the same module.
        0 if holds_module => {
            libfuzzer_sys::fuzzer_mutate(&mut data[..CHOICES], CHOICES, CHOICES);
            size
        }
        1 | 2 if holds_module => mutate_module(data, size, max_size, seed)
            .unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size)),
        _ => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}

fn mutate_module(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> Option<usize> {
    let module = &data[CHOICES..size];
    // What is malformed can make it take gigabytes.
    if !modules::is_valid(module, modules::features()) {
        return None;
    }
    // It panics at some modules (types that blocks have by index, malformed sections).
    let mutated = panics::expected(|| {
        let mut mutate = WasmMutate::default();
        mutate.seed(seed.into()).fuel(1000);
        mutate.run(module).ok()?.next()?.ok()
    });
    let mutated = mutated.ok()??;
    let size = CHOICES + mutated.len();
    if size > max_size {
        return None;
    }
    data[CHOICES..size].copy_from_slice(&mutated);
    Some(size)
}
