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
    let mut config = Config::default();
    config.available_imports = Some(wat::parse_bytes(IMPORTS)?.into_owned());
    config.max_imports = 6;
    config.allow_start_export = false;
    config.canonicalize_nans = true;
    config.disallow_traps = shape == Shape::Quiet;
    config.exceptions_enabled = shape == Shape::Throwing;
    // Tags cannot be exported yet.
    config.export_everything = shape != Shape::Throwing;
    config.max_tags = 3;
    config.min_exports = 1;
    config.gc_enabled = false;
    config.custom_page_sizes_enabled = false;
    config.compact_imports_enabled = false;
    config.relaxed_simd_enabled = false;
    config.shared_everything_threads_enabled = false;
    config.threads_enabled = false;
    config.wide_arithmetic_enabled = false;
    config.max_instructions = 200;
    config.min_funcs = 2;
    config.max_funcs = 12;
    config.max_memories = 2;
    config.max_memory32_bytes = 1 << 20;
    config.max_memory64_bytes = 1 << 20;
    config.memory_max_size_required = true;
    config.max_table_elements = 100;
    config.table_max_size_required = true;
    config.max_tables = 2;
    Ok(Module::new(config, &mut Unstructured::new(bytes))?.to_bytes())
}
