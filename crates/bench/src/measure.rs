//! The clock: what one operation takes under so many Rust frames.
//!
//! Processors predict where returns go from the calls that they have seen. A switch of stacks breaks
//! the pairing, so its price depends on how many Rust frames return after it: measured from a
//! single inlined loop, it would look cheaper than any program will find it.

use anyhow::{Result, anyhow};
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Rust frames between the loop that measures and the operation, none of them inlined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Frames {
    One,
    Four,
}

impl Frames {
    pub(crate) fn count(self) -> u32 {
        match self {
            Frames::One => 1,
            Frames::Four => 4,
        }
    }
}

/// The innermost frame. It has something left to do after the operation, so that it cannot leave
/// its place to the callee's.
#[inline(never)]
fn one<R>(operation: &mut impl FnMut() -> R) -> R {
    let kept = black_box(1);
    let result = operation();
    black_box(kept);
    result
}

#[inline(never)]
fn two<R>(operation: &mut impl FnMut() -> R) -> R {
    let kept = black_box(2);
    let result = one(operation);
    black_box(kept);
    result
}

#[inline(never)]
fn three<R>(operation: &mut impl FnMut() -> R) -> R {
    let kept = black_box(3);
    let result = two(operation);
    black_box(kept);
    result
}

#[inline(never)]
fn four<R>(operation: &mut impl FnMut() -> R) -> R {
    let kept = black_box(4);
    let result = three(operation);
    black_box(kept);
    result
}

/// Nanoseconds that one of `n` operations takes.
pub(crate) fn time(
    n: u32,
    frames: Frames,
    mut operation: impl FnMut() -> Result<()>,
) -> Result<f64> {
    let start = Instant::now();
    match frames {
        Frames::One => (0..n).try_for_each(|_| one(&mut operation))?,
        Frames::Four => (0..n).try_for_each(|_| four(&mut operation))?,
    }
    Ok(nanos_per(start, n))
}

/// The same under one Rust frame, as [`thread_seconds`] has it.
pub(crate) fn thread_time(n: u32, mut operation: impl FnMut() -> Result<()>) -> Result<f64> {
    let start = thread_seconds();
    (0..n).try_for_each(|_| one(&mut operation))?;
    Ok((thread_seconds() - start) * 1e9 / f64::from(n))
}

/// Nanoseconds since `start` for each of `n` operations.
pub(crate) fn nanos_per(start: Instant, n: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(n)
}

/// Seconds of processor time that the calling thread has had. What takes milliseconds is measured
/// with this: it leaves out the time that the thread spent waiting for a processor.
pub(crate) fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Polls a future that yields `n` times before it is ready. Answers what it ended in, and the
/// nanoseconds from one yield to the next; its start and its end are not in them.
pub(crate) fn time_yields<T>(
    n: u32,
    frames: Frames,
    mut future: Pin<&mut impl Future<Output = T>>,
) -> Result<(T, f64)> {
    let mut context = Context::from_waker(Waker::noop());
    let mut poll = || match future.as_mut().poll(&mut context) {
        Poll::Pending => Ok(()),
        Poll::Ready(_) => Err(ended_early()),
    };
    poll()?;
    let nanos = time(n - 1, frames, poll)?;
    match future.as_mut().poll(&mut context) {
        Poll::Ready(ended) => Ok((ended, nanos)),
        Poll::Pending => Err(anyhow!("the call yielded more than {n} times")),
    }
}

/// The call ended while it was still to be suspended some times: the row would not measure what it
/// says.
#[cold]
pub(crate) fn ended_early() -> anyhow::Error {
    anyhow!("the call ended, or stopped for another reason, where it was to stop once more")
}

/// The call did not end where it should have.
#[cold]
pub(crate) fn ended_late() -> anyhow::Error {
    anyhow!("the call stopped more often than it was to stop")
}
