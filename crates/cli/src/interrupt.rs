//! Ctrl-C, where the program that it stops is to be looked at: the signal moves the engine's epoch
//! on, and the program stops at its next checkpoint, with its frames as they are.
//!
//! ```text
//!   first SIGINT   ─► pressed, epoch + 1 ─► checkpoint: the epoch callback answers `Interrupted`
//!                     └─ not noticed within a second: it waits in a host function; exit
//!   second SIGINT  ─► exit
//! ```
//!
//! The handlers run on a thread of the `ctrlc` crate; all that happens in the signal handler
//! itself is that this thread is woken.

use crate::EXIT_INTERRUPTED;
use anyhow::{Context as _, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;
use std::time::Duration;
use stillframe::{Engine, Store, UpdateDeadline};

/// How long a program that waits in a host function, where it sees no epoch, may go on doing so.
const GRACE: Duration = Duration::from_secs(1);

/// Why a program ended: its user wanted it so.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stopped by SIGINT")
    }
}

impl std::error::Error for Interrupted {}

/// Waits for Ctrl-C.
pub(crate) struct Interrupt(Arc<Flags>);

#[derive(Default)]
struct Flags {
    pressed: AtomicBool,
    /// The program has stopped: because of it, or by itself.
    noticed: AtomicBool,
}

impl Interrupt {
    /// From now on, SIGINT stops the wasm in `store`, whose deadline must be one epoch from now.
    /// Can be called once in a process. Who else moves the epoch on interrupts the program as usual.
    pub(crate) fn watch<T: 'static>(store: &mut Store<T>) -> Result<Interrupt> {
        let flags = Arc::new(Flags::default());
        let (at_checkpoint, at_signal) = (flags.clone(), flags.clone());
        store.epoch_deadline_callback(move |_| match at_checkpoint.pressed.load(SeqCst) {
            true => {
                at_checkpoint.noticed.store(true, SeqCst);
                Err(Interrupted.into())
            }
            false => Ok(UpdateDeadline::Interrupt),
        });
        let engine = store.engine().clone();
        ctrlc::set_handler(move || pressed(&at_signal, &engine))
            .context("cannot wait for SIGINT")?;
        Ok(Interrupt(flags))
    }

    /// Whether the program is to be stopped; it counts as noticed then.
    pub(crate) fn is_pressed(&self) -> bool {
        let pressed = self.0.pressed.load(SeqCst);
        if pressed {
            self.0.noticed.store(true, SeqCst);
        }
        pressed
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.noticed.store(true, SeqCst);
    }
}

/// Runs for each SIGINT, one after the other.
fn pressed(flags: &Arc<Flags>, engine: &Engine) {
    if flags.pressed.swap(true, SeqCst) {
        std::process::exit(EXIT_INTERRUPTED.into());
    }
    engine.increment_epoch();
    let flags = flags.clone();
    thread::spawn(move || {
        thread::sleep(GRACE);
        if !flags.noticed.load(SeqCst) {
            eprintln!("interrupted: the program waits in a host function");
            std::process::exit(EXIT_INTERRUPTED.into());
        }
    });
}
