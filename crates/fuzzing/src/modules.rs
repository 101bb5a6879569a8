//! Modules: which ones are supported, random ones, and both made fit for comparing engines.
//!
//! Random modules are made by swarm testing (Groce and others 2012): each chooses which features it
//! uses at all, so that what it uses it uses much.

mod nans;
mod rewrite;

pub use rewrite::{Rewrite, rewrite};

use crate::input::{Choices, Input};
use wasm_smith::{Config, InstructionKind, InstructionKinds};
use wasmparser::{Validator, WasmFeatures};

/// What modules can import, all from `host`. The types are what matters.
const FUNCTIONS: [&str; 7] = [
    "(func)",
    "(func (param i32) (result i32))",
    "(func (param i64 f32) (result f64))",
    "(func (param v128) (result v128 i32))",
    "(func (param externref funcref) (result externref))",
    "(func (result funcref i64))",
    "(func (param f64 f64 i32 i64 i64 i64 i32 i32 i32) (result i64 f32 f64 i32))",
];
const OBJECTS: [&str; 8] = [
    "(global i32)",
    "(global (mut i64))",
    "(global f64)",
    "(global externref)",
    "(memory 1 3)",
    "(memory i64 1 2)",
    "(table 4 20 funcref)",
    "(table i64 2 8 externref)",
];

/// What random modules may import, always from `host`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Imports {
    /// Functions alone.
    Functions,
    /// Functions, globals, memories and tables.
    All,
}

impl Imports {
    /// A module that imports them, but for those in which one of these words occurs.
    fn module(self, without: &[&str]) -> Vec<u8> {
        let objects = if self == Imports::All { &OBJECTS[..] } else { &[] };
        let all = FUNCTIONS.iter().chain(objects);
        let fit = all.filter(|import| !without.iter().any(|word| import.contains(word)));
        let import = |(i, import)| format!("(import \"host\" \"{i}\" {import})");
        let imports: String = fit.enumerate().map(import).collect();
        wat::parse_str(format!("(module {imports})")).expect("a valid module")
    }
}

/// The proposals that the product supports: the list is not taken from it, so that it is compared
/// with this one.
pub fn features() -> WasmFeatures {
    WasmFeatures::WASM2
        | WasmFeatures::RELAXED_SIMD
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::MEMORY64
        | WasmFeatures::THREADS
        | WasmFeatures::EXCEPTIONS
}

/// Whether it is a valid module with these proposals.
pub fn is_valid(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}

/// Whether a valid module was refused because there is too much of something for the code generator.
pub fn is_too_large(error: &anyhow::Error) -> bool {
    let ours = "the function is too large for the code generator";
    let cranelifts = ["Code for function is too large", "Implementation limit exceeded"];
    let text = format!("{error:#}");
    text.contains(ours) || cranelifts.iter().any(|limit| text.contains(limit))
}

/// What a random module may be like.
pub fn config(choices: &mut Choices<'_>, imports: Imports) -> Config {
    // A bit for each, so that few bytes of the input are taken.
    let mut bits = 0;
    for _ in 0..2 {
        bits = bits << 8 | choices.below(256);
    }
    let mut bit = || {
        let set = bits & 1 == 1;
        bits >>= 1;
        set
    };
    let (simd, floats, exceptions, threads) = (bit(), bit(), bit(), bit());
    // The rest of the features are rarely off: they are small, or much depends on them.
    let (memory64, tail_calls, extended_const) = (bit(), bit(), bit());
    let (relaxed, bulk) = (bit(), bit() || bit());
    let (required_max, custom_sections) = (bit(), bit() && bit());
    let start = bit();
    let mut without = Vec::new();
    for (there, words) in
        [(floats, &["f32", "f64"][..]), (simd, &["v128"]), (memory64, &["memory i64", "table i64"])]
    {
        without.extend_from_slice(if there { &[] } else { words });
    }
    // wasm-smith fails where imports alone are as many as there may be, and more are wanted.
    let imported = if imports == Imports::All { 2 } else { 0 };
    Config {
        available_imports: Some(imports.module(&without)),
        allow_start_export: start,
        allow_floats: floats,
        allowed_instructions: kinds(choices),
        disallow_traps: choices.one_in(3),
        exceptions_enabled: exceptions,
        export_everything: true,
        generate_custom_sections: custom_sections,
        simd_enabled: simd,
        relaxed_simd_enabled: simd && relaxed,
        memory64_enabled: memory64,
        threads_enabled: threads,
        tail_call_enabled: tail_calls,
        extended_const_enabled: extended_const,
        bulk_memory_enabled: bulk,
        // Without, wasm-smith 0.263 panics at passive element segments.
        reference_types_enabled: true,
        // What is not supported.
        gc_enabled: false,
        compact_imports_enabled: false,
        custom_page_sizes_enabled: false,
        shared_everything_threads_enabled: false,
        wide_arithmetic_enabled: false,
        // NaNs are made canonical by `rewrite`, in the modules of test suites too.
        canonicalize_nans: false,
        max_instructions: choices.pick(&[15, 60, 200, 500]),
        min_funcs: 1,
        max_funcs: FUNCTIONS.len() + choices.pick(&[2, 8, 20]),
        max_type_size: 10_000,
        min_types: 1,
        max_types: choices.pick(&[4, 15]),
        max_globals: 10,
        max_tags: 4,
        max_data_segments: 6,
        max_element_segments: 6,
        max_elements: 20,
        min_memories: u32::from(!choices.one_in(4)),
        max_memories: imported + choices.pick(&[1, 1, 2]),
        max_memory32_bytes: choices.pick(&[1 << 16, 1 << 18, 1 << 21]),
        max_memory64_bytes: 1 << 18,
        memory_max_size_required: required_max,
        min_tables: u32::from(!choices.one_in(4)),
        max_tables: imported + 2,
        max_table_elements: choices.pick(&[8, 100]),
        table_max_size_required: required_max,
        ..Config::default()
    }
}

/// The kinds of instructions: mostly all, or all but some.
fn kinds(choices: &mut Choices<'_>) -> InstructionKinds {
    if choices.one_in(2) {
        return InstructionKinds::all();
    }
    let all = [
        InstructionKind::Numeric,
        InstructionKind::Vector,
        InstructionKind::Reference,
        InstructionKind::Parametric,
        InstructionKind::Variable,
        InstructionKind::Table,
        InstructionKind::Memory,
        InstructionKind::Control,
    ];
    let out = choices.below(256);
    let kept = all.into_iter().enumerate().filter(|(i, _)| out >> i & 1 == 0).map(|(_, kind)| kind);
    InstructionKinds::new(&kept.collect::<Vec<_>>())
}

/// The module of an input: the one that it holds, as it is and whether valid or not, or a random
/// one that is valid and supported. None if the bytes are too few.
pub fn module(input: &mut Input<'_>, imports: Imports) -> Option<Vec<u8>> {
    match input.given() {
        Some(given) => Some(given.to_vec()),
        None => random(input, imports, None),
    }
}

/// The random module that the bytes of an input choose. With `steps` it ends by itself, with
/// `unreachable`, when it has entered so many functions and loops; a global, which starts with
/// `steps`, counts.
pub fn random(input: &mut Input<'_>, imports: Imports, steps: Option<u32>) -> Option<Vec<u8>> {
    let config = config(&mut input.choices, imports);
    let mut bytes = arbitrary::Unstructured::new(input.rest);
    let mut module = wasm_smith::Module::new(config, &mut bytes).ok()?;
    if let Some(steps) = steps {
        module.ensure_termination(steps).ok()?;
    }
    rewrite(&module.to_bytes(), Rewrite::Supported).ok()
}

/// Writes a module in which a bug was found to the file that the environment variable
/// `FUZZING_KEEP` names, if there is one.
pub(crate) fn keep(wasm: &[u8]) {
    if let Some(path) = std::env::var_os("FUZZING_KEEP") {
        std::fs::write(&path, wasm).unwrap_or_else(|error| panic!("writing {path:?}: {error}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::random_bytes;

    #[test]
    fn random_modules_are_valid_and_differ_in_what_they_use() {
        let (mut made, mut simd, mut exceptions, mut threads) = (0, 0, 0, 0);
        for seed in 0..200 {
            let bytes = random_bytes(seed, 3000);
            let mut input = Input::new(&bytes).unwrap();
            let Some(wasm) = random(&mut input, Imports::All, None) else { continue };
            made += 1;
            let without = |feature| !is_valid(&wasm, features() - feature);
            simd += usize::from(without(WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD));
            exceptions += usize::from(without(WasmFeatures::EXCEPTIONS));
            threads += usize::from(without(WasmFeatures::THREADS));
        }
        assert!(made > 180, "{made}");
        assert!(
            [simd, exceptions, threads].iter().all(|&n| n > 10),
            "{simd} {exceptions} {threads}"
        );
    }

    #[test]
    fn a_comparable_module_exports_all_and_makes_canonical_nans() {
        let wasm = wat::parse_str(
            r#"(module
                (import "host" "f" (func))
                (memory 1)
                (tag (export "tag"))
                (func (param f32) (result f32)
                    (local i64)
                    (f32.add (local.get 0) (local.get 0)))
                (func (export "g") (param v128) (result v128) (f64x2.sqrt (local.get 0)))
                (data (i32.const 0) "x"))"#,
        )
        .unwrap();
        let comparable = exports(&rewrite(&wasm, Rewrite::Comparable).unwrap());
        assert_eq!(comparable, ["f0", "f1", "f2", "m0"]);
        let supported = exports(&rewrite(&wasm, Rewrite::Supported).unwrap());
        assert_eq!(supported, ["g"]);

        let engine = stillframe::Engine::default();
        let wasm = rewrite(&wasm, Rewrite::Comparable).unwrap();
        let module = stillframe::Module::new(&engine, wasm).unwrap();
        let mut store = stillframe::Store::new(&engine, ());
        let host = stillframe::Func::wrap(&mut store, || {});
        let instance = stillframe::Instance::new(&mut store, &module, &[host.into()]).unwrap();
        let add = instance.get_func(&mut store, "f1").unwrap();
        let mut results = [stillframe::Val::I32(0)];
        add.call(&mut store, &[stillframe::Val::F32(0xffc1_2345)], &mut results).unwrap();
        assert_eq!(results[0].unwrap_f32().to_bits(), 0x7fc0_0000);
        add.call(&mut store, &[stillframe::Val::F32(0x8000_0000)], &mut results).unwrap();
        assert_eq!(results[0].unwrap_f32().to_bits(), 0x8000_0000);
        let sqrt = instance.get_func(&mut store, "f2").unwrap();
        let lanes = (u128::from(4f64.to_bits()) << 64) | u128::from((-1f64).to_bits());
        sqrt.call(&mut store, &[lanes.into()], &mut results).unwrap();
        let roots = (u128::from(2f64.to_bits()) << 64) | 0x7ff8_0000_0000_0000;
        assert_eq!(results[0].unwrap_v128().as_u128(), roots);
    }

    /// The names of a module's exports.
    fn exports(wasm: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        for payload in wasmparser::Parser::new(0).parse_all(wasm) {
            if let wasmparser::Payload::ExportSection(exports) = payload.unwrap() {
                names.extend(exports.into_iter().map(|export| export.unwrap().name.to_string()));
            }
        }
        names
    }
}
