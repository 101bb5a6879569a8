//! `run --timeout`: a thread that moves the engine's epoch on when the time is up.

use crate::EXIT_TRAP;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use stillframe::Engine;

/// How long a program that waits in a host function, where it sees no epoch, may go on doing so.
const GRACE: Duration = Duration::from_secs(1);

/// Stops a program when its time is up, unless it was dropped before.
pub(crate) struct Timeout {
    /// Dropped to say that the program has ended; nothing is ever sent.
    running: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
    up: Arc<AtomicBool>,
}

impl Timeout {
    /// From now on, the programs of `engine` have `limit`. Their stores must have a deadline of one
    /// epoch from now.
    pub(crate) fn start(engine: &Engine, limit: Duration) -> Timeout {
        let engine = engine.clone();
        let (running, ended) = mpsc::channel::<()>();
        let up = Arc::new(AtomicBool::new(false));
        let time_is_up = up.clone();
        let thread = thread::spawn(move || {
            if ended.recv_timeout(limit) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            time_is_up.store(true, Ordering::Relaxed);
            engine.increment_epoch();
            if ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
                eprintln!("error: the program is over its timeout, and waits in a host function");
                std::process::exit(EXIT_TRAP.into());
            }
        });
        Timeout { running: Some(running), thread: Some(thread), up }
    }

    /// Whether the time is up.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

impl Drop for Timeout {
    fn drop(&mut self) {
        drop(self.running.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say: a panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}
