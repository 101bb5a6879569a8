//! Random modules, by `wasm-smith`.

use anyhow::Result;
use arbitrary::Unstructured;
use wasm_smith::{Config, Module};

/// What a random module is like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// Code that does not trap, so that much of it is executed.
    Quiet,
    /// Any code.
    Trapping,
    /// Any code, with exceptions.
    Throwing,
}

impl Shape {
    /// All shapes.
    pub const ALL: [Shape; 3] = [Shape::Quiet, Shape::Trapping, Shape::Throwing];
}

/// The functions that modules can import: their names do not matter, their types do.
const IMPORTS: &[u8] = b"(module
    (import \"host\" \"a\" (func))
    (import \"host\" \"b\" (func (param i32) (result i32)))
    (import \"host\" \"c\" (func (param i64 f32) (result f64)))
    (import \"host\" \"d\" (func (param v128) (result v128 i32)))
    (import \"host\" \"e\" (func (param externref funcref) (result externref)))
    (import \"host\" \"f\" (func (result funcref i64))))";

/// The module that these bytes choose.
///
/// # Errors
///
/// If they are too few.
pub fn module_of(bytes: &[u8], shape: Shape) -> Result<Vec<u8>> {
    let config = Config {
        available_imports: Some(wat::parse_bytes(IMPORTS)?.into_owned()),
        max_imports: 6,
        allow_start_export: false,
        canonicalize_nans: true,
        disallow_traps: shape == Shape::Quiet,
        exceptions_enabled: shape == Shape::Throwing,
        // Tags cannot be exported yet.
        export_everything: shape != Shape::Throwing,
        max_tags: 3,
        min_exports: 1,
        gc_enabled: false,
        custom_page_sizes_enabled: false,
        compact_imports_enabled: false,
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        max_instructions: 200,
        min_funcs: 2,
        max_funcs: 12,
        max_memories: 2,
        max_memory32_bytes: 1 << 20,
        max_memory64_bytes: 1 << 20,
        memory_max_size_required: true,
        max_table_elements: 100,
        table_max_size_required: true,
        max_tables: 2,
        ..Config::default()
    };
    Ok(Module::new(config, &mut Unstructured::new(bytes))?.to_bytes())
}
