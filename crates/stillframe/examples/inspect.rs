//! A host function that prints the variables of the guest that called it, and changes one: the guest
//! looks for a square root, and the host helps it.
//!
//! Run it with `cargo run -p stillframe --example inspect`.

use stillframe::{
    Caller, Config, Engine, FrameHandle, FrameLocal, Linker, Module, Result, Store, Val,
};

/// Newton's method, from a bad guess; `probe` is called in each round.
const GUEST: &str = r#"
    (module $newton
        (import "host" "probe" (func $probe))
        (func $improve (param $of f64) (param $guess f64) (result f64)
            (call $probe)
            (f64.mul (f64.const 0.5)
                (f64.add (local.get $guess) (f64.div (local.get $of) (local.get $guess)))))
        (func $root (export "root") (param $of f64) (result f64)
            (local $guess f64) (local $rounds i32)
            (local.set $guess (f64.const 1e12))
            (loop $again
                (local.set $rounds (i32.add (local.get $rounds) (i32.const 1)))
                (local.set $guess (call $improve (local.get $of) (local.get $guess)))
                (br_if $again (f64.gt
                    (f64.abs (f64.sub
                        (f64.mul (local.get $guess) (local.get $guess)) (local.get $of)))
                    (f64.const 1e-9))))
            (local.get $guess)))
"#;

/// What a host function has seen.
#[derive(Default)]
struct Seen {
    rounds: usize,
    helped: bool,
}

/// `name = value`, or why there is none.
fn show(local: &FrameLocal) -> String {
    let name = local.name.as_deref().unwrap_or("?");
    match local.value {
        Ok(Val::F64(bits)) => format!("{name} = {}", f64::from_bits(bits)),
        Ok(Val::I32(value)) => format!("{name} = {value}"),
        Ok(value) => format!("{name} = {value:?}"),
        Err(why) => format!("{name}: {why}"),
    }
}

/// Prints the stack, innermost frame first.
fn print(caller: &Caller<'_, Seen>) -> Result<()> {
    for frame in caller.frames() {
        let locals: Vec<_> = frame.locals(caller)?.iter().map(show).collect();
        println!("  {:<8} {}", frame.func_name(caller)?.unwrap_or("?"), locals.join(", "));
    }
    Ok(())
}

/// The local of this name.
fn find(caller: &Caller<'_, Seen>, frame: &FrameHandle, name: &str) -> Result<FrameLocal> {
    let local = frame.locals(caller)?.into_iter().find(|local| local.name.as_deref() == Some(name));
    local.ok_or_else(|| stillframe::Error::msg(format!("no local is named `{name}`")))
}

fn probe(mut caller: Caller<'_, Seen>) -> Result<()> {
    caller.data_mut().rounds += 1;
    println!("round {}:", caller.data().rounds);
    print(&caller)?;
    if caller.data().rounds == 3 {
        // The innermost frame is that of `improve`.
        let Some(improve) = caller.frames().next() else { return Ok(()) };
        let of = find(&caller, &improve, "of")?.value?.unwrap_f64();
        let guess = find(&caller, &improve, "guess")?;
        println!("  (that is far off: `guess` is set to {})", of / 2.0);
        improve.set_local(&mut caller, guess.index, Val::from(of / 2.0))?;
        caller.data_mut().helped = true;
    }
    Ok(())
}

fn main() -> Result<()> {
    // Writing to frames is a choice: it costs hot loops some speed.
    let engine = Engine::new(Config::new().frame_writes(true))?;
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "probe", probe)?;
    let mut store = Store::new(&engine, Seen::default());
    let instance = linker.instantiate(&mut store, &module)?;
    let root = instance.get_typed_func::<f64, f64>(&mut store, "root")?;
    let result = root.call(&mut store, 2.0)?;
    assert!(store.data().helped && (result * result - 2.0).abs() < 1e-9);
    println!("The square root of 2 is {result}, found in {} rounds.", store.data().rounds);
    Ok(())
}
