//! A module that calls a host function, and is called by the host.
//!
//! Run it with `cargo run -p stillframe --example hello`.

use stillframe::{Caller, Engine, Extern, Linker, Module, Result, Store, bail};

const GUEST: &str = r#"
    (module $guest
        (import "host" "print" (func $print (param i32 i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "Hello from WebAssembly!")
        (func (export "greet") (param $times i32) (result i32)
            (local $i i32)
            (loop $again
                (call $print (i32.const 16) (i32.const 23))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $again (i32.lt_u (local.get $i) (local.get $times))))
            (local.get $i)))
"#;

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;

    // The store's data: how many lines the guest has printed.
    let mut store = Store::new(&engine, 0);
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "print", |mut caller: Caller<'_, u32>, ptr: u32, len: u32| {
        let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
            bail!("the guest exports no memory");
        };
        let mut text = vec![0; len as usize];
        memory.read(&caller, ptr as usize, &mut text)?;
        *caller.data_mut() += 1;
        println!("{}: {}", caller.data(), String::from_utf8_lossy(&text));
        Ok(())
    })?;

    let instance = linker.instantiate(&mut store, &module)?;
    let greet = instance.get_typed_func::<u32, u32>(&mut store, "greet")?;
    let times = greet.call(&mut store, 3)?;
    println!("greet returned {times}; the host counted {} lines", store.data());
    Ok(())
}
