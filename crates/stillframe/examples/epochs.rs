//! Epochs: a thread that ticks interrupts a loop that would not end, or lets it go on for a while.
//!
//! Run it with `cargo run -p stillframe --example epochs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use stillframe::{Config, Engine, Instance, Module, Result, Store, Trap, UpdateDeadline};

const GUEST: &str = r#"
    (module $guest
        (global (export "turns") (mut i64) (i64.const 0))
        (func (export "spin")
            (loop $again
                (global.set 0 (i64.add (global.get 0) (i64.const 1)))
                (br $again))))
"#;

fn main() -> Result<()> {
    let engine = Engine::new(Config::new().epoch_interruption(true))?;
    let done = Arc::new(AtomicBool::new(false));
    let ticker = thread::spawn({
        let (engine, done) = (engine.clone(), done.clone());
        move || {
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(10));
                engine.increment_epoch();
            }
        }
    });

    let module = Module::new(&engine, GUEST)?;
    // The store's data: how often the deadline was reached.
    let mut store = Store::new(&engine, 0);
    store.set_epoch_deadline(1);
    let instance = Instance::new(&mut store, &module, &[])?;
    let spin = instance.get_typed_func::<(), ()>(&mut store, "spin")?;
    let turns = instance.get_global(&mut store, "turns").expect("an export of the guest");

    let run = |store: &mut Store<u32>, what: &str| {
        *store.data_mut() = 0;
        let start = Instant::now();
        let error = spin.call(&mut *store, ()).expect_err("the loop has no end");
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt));
        let (elapsed, turns) = (start.elapsed(), turns.get(&mut *store).unwrap_i64());
        println!(
            "{what}: {} after {elapsed:.0?}, {} deadlines and {turns} turns",
            Trap::Interrupt,
            store.data()
        );
    };
    run(&mut store, "one tick");

    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|mut store| {
        *store.data_mut() += 1;
        Ok(match store.data() {
            0..5 => UpdateDeadline::Continue(2),
            _ => UpdateDeadline::Interrupt,
        })
    });
    run(&mut store, "a callback that extends the deadline");

    done.store(true, Ordering::Relaxed);
    ticker.join().expect("the ticker does not panic");
    Ok(())
}
