//! A scheduler: guests share a thread, round robin, in slices of fuel. Run it with `cargo run -p
//! stillframe --example scheduler`.

use std::collections::VecDeque;
use stillframe::{Config, Engine, Instance, Module, Result, Store, TypedResumableCall, bail};

/// How many steps it takes a number to reach 1, if even ones are halved and odd ones go to 3n + 1.
const GUEST: &str = r#"
    (module (func (export "steps") (param $n i64) (result i32) (local $steps i32)
        (loop $again
            (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
            (local.set $n
                (if (result i64) (i64.eqz (i64.and (local.get $n) (i64.const 1)))
                    (then (i64.shr_u (local.get $n) (i64.const 1)))
                    (else (i64.add (i64.mul (local.get $n) (i64.const 3)) (i64.const 1)))))
            (br_if $again (i64.ne (local.get $n) (i64.const 1))))
        (local.get $steps)))
"#;
const SLICE: u64 = 1000;
const PLENTY: u64 = 1_000_000;

fn main() -> Result<()> {
    let engine = Engine::new(Config::new().consume_fuel(true))?;
    let module = Module::new(&engine, GUEST)?;
    let (mut guests, mut ready) = (Vec::new(), VecDeque::new());
    for n in [27, 97, 7, 871, 6_171, 16, 77_031, 9, 837_799, 8_400_511] {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, &module, &[])?;
        let steps = instance.get_typed_func::<u64, u32>(&mut store, "steps")?;
        store.set_fuel(PLENTY)?;
        let straight = (steps.call(&mut store, n)?, store.fuel_consumed()?);
        // Without fuel, the call is suspended before its first operator.
        store.set_fuel(0)?;
        ready.push_back((guests.len(), steps.call_resumable(&mut store, n)?, store));
        guests.push((n, straight, String::new()));
    }

    let mut turn = 0;
    while let Some((guest, call, mut store)) = ready.pop_front() {
        let (_, straight, timeline) = &mut guests[guest];
        match call {
            TypedResumableCall::OutOfFuel(call) => {
                *timeline = format!("{timeline:.<turn$}#");
                turn += 1;
                // More than a slice if its next step is larger; it pays what it has overdrawn.
                store.add_fuel(SLICE.max(call.required_fuel()))?;
                ready.push_back((guest, call.resume(&mut store)?, store));
            }
            TypedResumableCall::Finished(steps) => {
                assert_eq!((steps, store.fuel_consumed()? - straight.1), *straight);
            }
            other => bail!("{other:?}"),
        }
    }
    for (n, (steps, units), timeline) in guests {
        println!("{n:>7}: {steps:>3} steps, {units:>5} units  {timeline}");
    }
    Ok(())
}
