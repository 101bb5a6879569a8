//! What is going on, and for how long still: lines on standard error.
//!
//! Every step says beforehand what it would take on some machine, in seconds; how long the steps
//! so far really took says how this machine compares.

use std::time::Instant;

pub(crate) struct Progress {
    start: Instant,
    /// Of all steps that are expected, and of those that are done.
    expected: f64,
    done: f64,
}

impl Progress {
    pub(crate) fn new() -> Progress {
        Progress { start: Instant::now(), expected: 0.0, done: 0.0 }
    }

    /// Steps that would take so long are to come.
    pub(crate) fn expect(&mut self, seconds: f64) {
        self.expected += seconds;
    }

    /// Steps that had been expected to take so long are done.
    pub(crate) fn done(&mut self, seconds: f64) {
        self.done += seconds;
    }

    /// Tells what is being done now.
    pub(crate) fn tell(&self, what: &str) {
        let seconds = self.seconds();
        // What a machine is like shows after some steps.
        const ENOUGH: f64 = 3.0;
        let left = match self.done >= ENOUGH && seconds > 1.0 {
            true => left((self.expected - self.done).max(0.0) * seconds / self.done),
            false => String::new(),
        };
        eprintln!("{seconds:6.1} s  {what}{left}");
    }

    /// Tells that this was all.
    pub(crate) fn tell_end(&self) {
        eprintln!("{:6.1} s  done", self.seconds());
    }

    /// Since the beginning.
    pub(crate) fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }
}

fn left(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 1.0 => String::new(),
        seconds if seconds < 100.0 => format!("  (about {seconds:.0} s left)"),
        seconds => format!("  (about {:.0} min left)", seconds / 60.0),
    }
}
