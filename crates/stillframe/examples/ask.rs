//! A guest that asks: its host function cannot answer and returns an error, which suspends the
//! call. Whoever made the call gets the answer from wherever it is, in its own time, and resumes.
//!
//! Run it with `cargo run -p stillframe --example ask`. Answers can be given as arguments:
//! `cargo run -p stillframe --example ask -- 100 5 3000`.

use std::fmt;
use std::io::{BufRead as _, Write as _};
use stillframe::{
    Caller, Engine, Extern, Linker, Module, Result, Store, TypedResumableCall, Val, bail,
};

/// In how many months savings reach a goal, at so much a month and so many percent a year.
const GUEST: &str = r#"
    (module $savings
        (import "host" "ask" (func $ask (param i32 i32) (result f64)))
        (memory (export "memory") 1)
        (data (i32.const 0) "Saved a month")
        (data (i32.const 16) "Percent a year")
        (data (i32.const 32) "Wanted")
        (func (export "months") (result i32)
            (local $month f64) (local $factor f64) (local $goal f64)
            (local $sum f64) (local $months i32)
            (local.set $month (call $ask (i32.const 0) (i32.const 13)))
            (local.set $factor (f64.add (f64.const 1) (f64.div
                (call $ask (i32.const 16) (i32.const 14)) (f64.const 1200))))
            (local.set $goal (call $ask (i32.const 32) (i32.const 6)))
            (loop $again
                (if (f64.lt (local.get $sum) (local.get $goal)) (then
                    (local.set $sum (f64.add
                        (f64.mul (local.get $sum) (local.get $factor)) (local.get $month)))
                    (local.set $months (i32.add (local.get $months) (i32.const 1)))
                    (br_if $again (i32.lt_u (local.get $months) (i32.const 1200))))))
            (local.get $months)))
"#;

/// The host function's error: what the guest wants to know.
#[derive(Debug)]
struct Question(String);

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest asks: {}", self.0)
    }
}

impl std::error::Error for Question {}

fn ask(mut caller: Caller<'_, ()>, text: u32, len: u32) -> Result<f64> {
    let Some(Extern::Memory(memory)) = caller.get_export("memory") else {
        bail!("the guest exports no memory");
    };
    let mut question = vec![0; len as usize];
    memory.read(&caller, text as usize, &mut question)?;
    Err(Question(String::from_utf8(question)?).into())
}

/// The answer to a question, if there is one: the next argument, or else what the user types.
fn answer(question: &Question, given: &mut impl Iterator<Item = String>) -> Result<Option<f64>> {
    loop {
        print!("{}: ", question.0);
        std::io::stdout().flush()?;
        let mut line = String::new();
        match given.next() {
            Some(argument) => {
                println!("{argument}");
                line = argument;
            }
            None if std::io::stdin().lock().read_line(&mut line)? == 0 => return Ok(None),
            None => {}
        }
        match line.trim().parse() {
            Ok(number) => return Ok(Some(number)),
            Err(_) => println!("(a number, please)"),
        }
    }
}

fn main() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST)?;
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "ask", ask)?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module)?;
    let months = instance.get_typed_func::<(), u32>(&mut store, "months")?;

    let mut given = std::env::args().skip(1);
    let mut call = months.call_resumable(&mut store, ())?;
    loop {
        let asking = match call {
            TypedResumableCall::Finished(months) => {
                println!("That takes {} years and {} months.", months / 12, months % 12);
                return Ok(());
            }
            TypedResumableCall::HostTrap(asking) => asking,
            other => bail!("{other:?}"),
        };
        // What else a host function fails with, it fails with.
        let Some(question) = asking.host_error().downcast_ref::<Question>() else {
            return Err(asking.into_host_error());
        };
        // The guest stands in its call of `ask` for as long as this takes.
        let Some(number) = answer(question, &mut given)? else {
            println!("\nNo answer: the call is dropped, and that is that.");
            return Ok(());
        };
        call = asking.resume(&mut store, &[Val::from(number)])?;
    }
}
