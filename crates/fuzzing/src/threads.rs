//! A few threads that take turns at running one future.
//!
//! What is to move between threads is written as a future that owns all it works with, and is
//! [anywhere](hop) wherever it may: the next poll is on another thread. So one piece of code can be
//! suspended calls that wander with their store, and asynchronous calls that are polled here and
//! there.

use crate::Choices;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel};
use std::task::{Context, Poll, Waker};

/// Threads beside the one that runs the oracle.
const WORKERS: usize = 3;

/// Polls after which a future is taken to hang.
const MAX_POLLS: u64 = 1_000_000;

type Job = Box<dyn FnOnce() + Send>;

/// Runs a future to its end, each poll on one of the threads. Returns beside its output how often
/// it has gone to another thread.
///
/// # Panics
///
/// If the future panics: with its panic. If it does not end.
pub fn run<R: Send + 'static>(
    mut choices: Choices<'_>,
    future: impl Future<Output = R> + Send + 'static,
) -> (R, u64) {
    let mut future = Box::pin(future);
    let (mut before, mut moves) = (0, 0);
    for _ in 0..MAX_POLLS {
        let thread = choices.below(WORKERS + 1);
        moves += u64::from(thread != before);
        before = thread;
        let (polled, back) = on(thread, move || {
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            (polled, future)
        });
        future = back;
        if let Poll::Ready(output) = polled {
            return (output, moves);
        }
    }
    panic!("it does not end");
}

/// Does something on another thread, which nothing else waits for.
///
/// # Panics
///
/// As `what` does.
pub fn elsewhere<R: Send + 'static>(what: impl FnOnce() -> R + Send + 'static) -> R {
    std::thread::spawn(what).join().unwrap_or_else(|panic| resume_unwind(panic))
}

/// Does something on one of the threads: 0 is this one. They are shared by all runs, so it must not
/// wait for another one of them.
///
/// # Panics
///
/// As `what` does.
fn on<R: Send + 'static>(thread: usize, what: impl FnOnce() -> R + Send + 'static) -> R {
    static THREADS: OnceLock<Vec<Sender<Job>>> = OnceLock::new();
    if thread == 0 {
        return what();
    }
    let threads = THREADS.get_or_init(|| (0..WORKERS).map(|_| worker()).collect());
    let (sender, receiver) = channel();
    let job = Box::new(move || {
        // Nothing of `what` is used again if it panics.
        let done = catch_unwind(AssertUnwindSafe(what));
        sender.send(done).expect("somebody waits for it");
    });
    threads[(thread - 1) % WORKERS].send(job).expect("the thread lives");
    receiver.recv().expect("it is done").unwrap_or_else(|panic| resume_unwind(panic))
}

fn worker() -> Sender<Job> {
    let (sender, receiver) = channel::<Job>();
    std::thread::spawn(move || receiver.into_iter().for_each(|job| job()));
    sender
}

/// Lets what comes next be on any thread.
pub async fn hop() {
    let mut gone = false;
    poll_fn(|_| match std::mem::replace(&mut gone, true) {
        true => Poll::Ready(()),
        false => Poll::Pending,
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_future_is_polled_on_several_threads_in_turn() {
        let future = async {
            let mut seen = HashSet::new();
            for _ in 0..50 {
                seen.insert(std::thread::current().id());
                hop().await;
            }
            seen.len()
        };
        let (threads, moves) = run(Choices::new(b"seed"), future);
        assert_eq!(threads, WORKERS + 1);
        assert!((20..=51).contains(&moves), "{moves}");
    }

    #[test]
    #[should_panic(expected = "on purpose")]
    fn a_panic_there_is_a_panic_here() {
        on(1, || panic!("on purpose"));
    }
}
