//! Handing something to another thread and back.
//!
//! Both threads wait by looking again and again: waking a sleeping thread takes microseconds, and
//! would hide what is asked here.

use crate::measure::nanos_per;
use anyhow::{Context as _, Result};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;
use std::time::Instant;

/// Hand-overs before the clock starts: the second thread must have started, and have been in wasm.
const WARM_UP: u32 = 50;

/// How often [`hand_over`] steps when asked for `n` hand-overs.
pub(crate) fn steps(n: u32) -> u32 {
    n + WARM_UP
}

/// Hands `parcel` to a second thread and back, in `n` (an even number) hand-overs after a few for
/// warming up. Who gets it does `step` with it. Answers the parcel and the nanoseconds of one
/// hand-over with its step.
pub(crate) fn hand_over<P: Send>(
    parcel: P,
    n: u32,
    step: impl Fn(P) -> Result<P> + Sync,
) -> Result<(P, f64)> {
    let (to_second, at_second) = sync_channel::<P>(1);
    let (to_first, at_first) = sync_channel::<Result<P>>(1);
    thread::scope(|scope| {
        let step = &step;
        scope.spawn(move || {
            while let Some(parcel) = receive(&at_second) {
                if to_first.send(step(parcel)).is_err() {
                    break;
                }
            }
        });
        let there_and_back = |parcel: P| {
            let gone = "the second thread is gone";
            to_second.send(parcel).ok().context(gone)?;
            step(receive(&at_first).context(gone)??)
        };
        let mut parcel = parcel;
        for _ in 0..WARM_UP / 2 {
            parcel = there_and_back(parcel)?;
        }
        let start = Instant::now();
        for _ in 0..n / 2 {
            parcel = there_and_back(parcel)?;
        }
        let nanos = nanos_per(start, n);
        // The second thread ends when nobody can send to it any more.
        drop(to_second);
        Ok((parcel, nanos))
    })
}

/// The next parcel; `None` if there will be none.
fn receive<P>(channel: &Receiver<P>) -> Option<P> {
    // Lets others run now and then: with too few processors, the other thread may be one of them.
    const LOOKS_PER_TURN: u32 = 256;
    loop {
        for _ in 0..LOOKS_PER_TURN {
            match channel.try_recv() {
                Ok(parcel) => return Some(parcel),
                Err(TryRecvError::Empty) => std::hint::spin_loop(),
                Err(TryRecvError::Disconnected) => return None,
            }
        }
        thread::yield_now();
    }
}
