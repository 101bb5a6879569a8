//! Two modules: one exports an allocator and its memory, the other imports both. What goes wrong
//! in one is seen through both.
//!
//! Run it with `cargo run -p stillframe --example linking`.

use stillframe::{Engine, Linker, Module, Result, Store};

const ALLOCATOR: &str = r#"
    (module $allocator
        (memory (export "memory") 1)
        (global $next (mut i32) (i32.const 1024))
        (func $check (param $end i32)
            (if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536)))
                (then unreachable)))
        (func (export "alloc") (param $size i32) (result i32)
            (global.get $next)
            (global.set $next (i32.add (global.get $next) (local.get $size)))
            (call $check (global.get $next))))
"#;

const PROGRAM: &str = r#"
    (module $program
        (import "allocator" "memory" (memory 1))
        (import "allocator" "alloc" (func $alloc (param i32) (result i32)))
        ;; The squares from 0 on, in an array; returns its address.
        (func (export "squares") (param $count i32) (result i32)
            (local $array i32) (local $i i32)
            (local.set $array (call $alloc (i32.mul (local.get $count) (i32.const 4))))
            (loop $again
                (i32.store
                    (i32.add (local.get $array) (i32.mul (local.get $i) (i32.const 4)))
                    (i32.mul (local.get $i) (local.get $i)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (local.get $count))))
            (local.get $array)))
"#;

fn main() -> Result<()> {
    let engine = Engine::default();
    let allocator = Module::new(&engine, ALLOCATOR)?;
    let program = Module::new(&engine, PROGRAM)?;
    let mut store = Store::new(&engine, ());
    let mut linker = Linker::new(&engine);

    // Without the allocator the program cannot be instantiated, and the error says what it lacks.
    let error = linker.instantiate(&mut store, &program).expect_err("nothing is defined yet");
    println!("{error}");

    let allocator = linker.instantiate(&mut store, &allocator)?;
    linker.instance(&store, "allocator", allocator)?;
    let program = linker.instantiate(&mut store, &program)?;

    let squares = program.get_typed_func::<u32, u32>(&mut store, "squares")?;
    let array = squares.call(&mut store, 10)? as usize;
    let memory = allocator.get_memory(&mut store, "memory").expect("the allocator exports it");
    let bytes = &memory.data(&store)[array..array + 40];
    let values = bytes.chunks_exact(4).map(|cell| u32::from_le_bytes(cell.try_into().unwrap()));
    println!("squares at {array}: {:?}", values.collect::<Vec<_>>());

    let error = squares.call(&mut store, 20_000).expect_err("there is no room for so many");
    println!("{error}");
    Ok(())
}
