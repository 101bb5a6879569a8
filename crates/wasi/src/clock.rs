//! Time that the embedder makes: clocks over a function, and a scheduler that never waits.
//!
//! `wasi-common`'s own scheduler waits in the operating system and relies on the guest's clock
//! having moved on by then, which such a clock need not have done.

use cap_std::time::{Instant, SystemClock, SystemTime};
use std::sync::Arc;
use std::time::Duration;
use wasi_common::clocks::WasiMonotonicOffsetClock;
use wasi_common::{
    Error, ErrorExt as _, Poll, WasiClocks, WasiMonotonicClock, WasiSched, WasiSystemClock,
};

type Now = Arc<dyn Fn() -> Duration + Send + Sync>;

/// The clocks and the scheduler of a guest whose time is what `now` answers.
pub(crate) fn made_by(
    now: impl Fn() -> Duration + Send + Sync + 'static,
) -> (WasiClocks, Box<dyn WasiSched>) {
    let now: Now = Arc::new(now);
    // What the guest is told is the distance from here, and so `now` itself.
    let zero = Instant::from_std(std::time::Instant::now());
    let clocks = WasiClocks {
        system: Some(Box::new(Wall(now.clone()))),
        monotonic: Some(WasiMonotonicOffsetClock {
            creation_time: zero,
            abs_clock: Box::new(Monotonic { now, zero }),
        }),
    };
    (clocks, Box::new(NeverWaits))
}

struct Wall(Now);

impl WasiSystemClock for Wall {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self, _precision: Duration) -> SystemTime {
        SystemClock::UNIX_EPOCH + (self.0)()
    }
}

struct Monotonic {
    now: Now,
    zero: Instant,
}

impl WasiMonotonicClock for Monotonic {
    fn resolution(&self) -> Duration {
        Duration::from_nanos(1)
    }

    fn now(&self, _precision: Duration) -> Instant {
        self.zero + (self.now)()
    }
}

struct NeverWaits;

#[wiggle::async_trait]
impl WasiSched for NeverWaits {
    async fn poll_oneoff<'a>(&self, _poll: &mut Poll<'a>) -> Result<(), Error> {
        Err(Error::not_supported())
    }

    async fn sched_yield(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn sleep(&self, _duration: Duration) -> Result<(), Error> {
        Ok(())
    }
}
