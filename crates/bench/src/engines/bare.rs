//! No runtime at all: what the measuring takes by itself, to hold the other columns against.

use super::Sample;
use crate::guest::{Stop, check};
use crate::handover;
use crate::measure::time;
use crate::row::{Kind, Row};
use anyhow::{Error, Result};
use std::hint::black_box;

pub(super) fn prepare(row: Row, n: u32) -> Result<Option<Sample>> {
    let Row { frames, .. } = row;
    Ok(Some(match row.kind {
        // The loop and the Rust frames.
        Kind::Enter => Box::new(move || {
            let mut count = 0;
            let nanos = time(n, frames, || {
                count = black_box(count + 1);
                Ok(())
            })?;
            check(count, n)?;
            Ok(nanos)
        }),
        // An error is made, and dropped.
        Kind::HostError => Box::new(move || {
            time(n, frames, || check(black_box(Error::new(Stop)).is::<Stop>(), true))
        }),
        // An integer goes to the other thread.
        Kind::HandOver => Box::new(move || {
            let (number, nanos) = handover::hand_over(0, n, |number| Ok(number + 1))?;
            check(number, handover::steps(n))?;
            Ok(nanos)
        }),
        _ => return Ok(None),
    }))
}
