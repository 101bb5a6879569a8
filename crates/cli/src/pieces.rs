//! A call that gets its fuel in pieces: for `--resume`, which tells where it stands after each, and
//! `--profile`, which counts that.

use crate::interrupt::{Interrupt, Interrupted};
use crate::pauses::Pauses;
use crate::postmortem::PostMortem;
use crate::profile::Profile;
use crate::timeout::Timeout;
use anyhow::{Error, Result, bail};
use stillframe::{Func, ResumableCall, ResumableCallOutOfFuel, Store, Trap, Val};
use stillframe_wasi::I32Exit;

/// Who hands out the pieces.
pub(crate) enum Pieces {
    /// `--resume`
    Pauses(Pauses),
    /// `--profile`
    Profile(Profile),
}

impl Pieces {
    /// Looks at a call that has used up its piece, and answers how much fuel it gets to go on;
    /// `None` if it is not to go on.
    fn next<T>(
        &mut self,
        store: &Store<T>,
        call: &ResumableCallOutOfFuel,
        postmortem: &PostMortem,
    ) -> Result<Option<u64>> {
        // What was overdrawn has to be paid too.
        let missing = call.required_fuel() - store.get_fuel()?;
        match self {
            Pieces::Pauses(pauses) => pauses.next(store, call, missing, postmortem).map(Some),
            Pieces::Profile(profile) => profile.next(store, call, missing),
        }
    }
}

/// As many pieces as it takes to have `missing` units more, at least one; in units.
pub(crate) fn whole(piece: u64, missing: u64) -> u64 {
    missing.div_ceil(piece).max(1).saturating_mul(piece)
}

/// What else can end a call.
pub(crate) struct Limits {
    pub(crate) timeout: Option<Timeout>,
    pub(crate) interrupt: Option<Interrupt>,
}

impl Limits {
    /// Why a call that stands still is not to go on, if it is not. It would be found out a piece
    /// later.
    fn reached(&self) -> Option<Error> {
        if self.interrupt.as_ref().is_some_and(Interrupt::is_pressed) {
            return Some(Interrupted.into());
        }
        let up = self.timeout.as_ref().is_some_and(Timeout::is_up);
        up.then(|| Trap::Interrupt.into())
    }
}

/// Calls `func`, and lets it go on each time that it has used up its piece.
pub(crate) fn call<T: 'static>(
    store: &mut Store<T>,
    func: Func,
    params: &[Val],
    results: &mut [Val],
    pieces: &mut Pieces,
    limits: &mut Limits,
    postmortem: &mut PostMortem,
) -> Result<()> {
    let mut call = func.call_resumable(&mut *store, params, results)?;
    loop {
        call = match call {
            ResumableCall::Finished => return Ok(()),
            ResumableCall::OutOfFuel(paused) => {
                let more = pieces.next(store, &paused, postmortem)?;
                let out_of_fuel = || more.is_none().then(|| Trap::OutOfFuel.into());
                if let Some(error) = limits.reached().or_else(out_of_fuel) {
                    // Looking takes time that is not the program's.
                    limits.timeout = None;
                    postmortem.examine_frames(store, || paused.frames(&*store))?;
                    return Err(error.context(paused.backtrace(&*store)?));
                }
                store.add_fuel(more.unwrap_or_default())?;
                paused.resume(&mut *store, results)?
            }
            // The program exits, or the system interface failed.
            ResumableCall::HostTrap(ended) => {
                limits.timeout = None;
                if !ended.host_error().is::<I32Exit>() {
                    postmortem.examine_frames(store, || ended.frames(&*store))?;
                }
                let backtrace = ended.backtrace(&*store)?;
                return Err(ended.into_host_error().context(backtrace));
            }
            ResumableCall::Interrupted(call) => bail!("an epoch suspended it: {call:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_added_whole_until_there_is_enough() {
        assert_eq!(whole(10, 1), 10);
        assert_eq!(whole(10, 10), 10);
        assert_eq!(whole(10, 11), 20);
        assert_eq!(whole(1, 5), 5);
        assert_eq!(whole(u64::MAX - 1, u64::MAX), u64::MAX);
    }
}
