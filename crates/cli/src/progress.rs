//! A line on the terminal that says how far compiling is, for modules where that takes a while.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use stillframe::Progress;

/// How long compiling takes before anything is shown.
const PATIENCE: Duration = Duration::from_millis(300);
/// How often the line is drawn anew.
const INTERVAL: Duration = Duration::from_millis(50);
/// How many characters wide the bar is.
const WIDTH: usize = 30;

/// The line. It is drawn by whichever thread has just compiled a function.
pub(crate) struct Bar {
    total: AtomicUsize,
    done: AtomicUsize,
    line: Mutex<Line>,
}

struct Line {
    /// When it is next drawn; never, unless standard error is a terminal.
    due: Option<Instant>,
    drawn: bool,
}

impl Bar {
    /// A line that is drawn for the first time when some patience is used up.
    pub(crate) fn new() -> Bar {
        let due = std::io::stderr().is_terminal().then(|| Instant::now() + PATIENCE);
        let line = Mutex::new(Line { due, drawn: false });
        Bar { total: AtomicUsize::new(0), done: AtomicUsize::new(0), line }
    }

    /// Takes the line away again.
    pub(crate) fn clear(&self) {
        if let Ok(line) = self.line.lock()
            && line.drawn
        {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

impl Progress for Bar {
    fn functions(&self, total: usize) {
        self.total.store(total, Relaxed);
    }

    fn function_done(&self) {
        let done = self.done.fetch_add(1, Relaxed) + 1;
        // Whoever finds another thread drawing leaves it to it.
        let Ok(mut line) = self.line.try_lock() else { return };
        let now = Instant::now();
        if line.due.is_some_and(|due| now >= due) {
            line.due = Some(now + INTERVAL);
            line.drawn = true;
            let text = render(done, self.total.load(Relaxed));
            // A terminal that cannot be written to is no reason not to compile.
            let _ = write!(std::io::stderr(), "\r{text}\x1b[K");
        }
    }
}

/// The line when `done` of `total` functions are compiled.
fn render(done: usize, total: usize) -> String {
    let total = total.max(1);
    let filled = (WIDTH * done / total).min(WIDTH);
    format!("compiling [{:<WIDTH$}] {done} of {total} functions", "=".repeat(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bar_fills_from_left_to_right() {
        assert!(render(0, 10).contains(&format!("[{}]", " ".repeat(WIDTH))));
        assert!(render(5, 10).contains("[===============               ] 5 of 10"));
        assert!(render(10, 10).contains(&format!("[{}] 10 of 10", "=".repeat(WIDTH))));
        assert!(render(0, 0).contains("0 of 1"));
    }
}
