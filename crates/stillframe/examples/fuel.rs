//! Metering: how much a guest executes, and what happens when it wants more than it was given.
//!
//! Run it with `cargo run -p stillframe --example fuel`.

use stillframe::{Config, Engine, Instance, Module, Result, Store, Trap, WasmBacktrace};

const GUEST: &str = r#"
    (module $guest
        (func $fib (export "fib") (param $n i32) (result i32)
            (if (result i32) (i32.lt_u (local.get $n) (i32.const 2))
                (then (local.get $n))
                (else (i32.add
                    (call $fib (i32.sub (local.get $n) (i32.const 1)))
                    (call $fib (i32.sub (local.get $n) (i32.const 2))))))))
"#;

fn main() -> Result<()> {
    let engine = Engine::new(Config::new().consume_fuel(true))?;
    let module = Module::new(&engine, GUEST)?;
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &module, &[])?;
    let fib = instance.get_typed_func::<u32, u32>(&mut store, "fib")?;

    let budget = 100_000;
    for n in [5, 10, 15, 20, 25] {
        store.set_fuel(budget)?;
        let before = store.fuel_consumed()?;
        let result = fib.call(&mut store, n);
        let consumed = store.fuel_consumed()? - before;
        match result {
            Ok(value) => println!("fib({n:2}) = {value:4}, which took {consumed} units of fuel"),
            Err(error) if error.downcast_ref() == Some(&Trap::OutOfFuel) => {
                let backtrace = error.downcast_ref::<WasmBacktrace>();
                let depth = backtrace.map_or(0, |backtrace| backtrace.frames().len());
                println!(
                    "fib({n:2}): {} after {consumed} units, {depth} calls deep",
                    Trap::OutOfFuel
                );
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
