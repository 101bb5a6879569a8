//! Resuming a call of whatever kind.

use anyhow::Error;
use stillframe::{AsContextMut, ResumableCall, ResumeError, ResumeRefused, Val};

/// What became of an attempt to resume.
pub(crate) enum Resumed {
    /// It has gone on, to this.
    Went(Result<ResumableCall, Error>),
    /// It has not.
    Refused(ResumableCall, ResumeRefused),
}

/// Resumes a call; `inputs` are for one that stands in a host function.
pub(crate) fn resume(
    store: impl AsContextMut,
    call: ResumableCall,
    inputs: &[Val],
    outputs: &mut [Val],
) -> Resumed {
    match call {
        ResumableCall::Finished => Resumed::Went(Ok(ResumableCall::Finished)),
        ResumableCall::HostTrap(call) => {
            came(call.resume(store, inputs, outputs), ResumableCall::HostTrap)
        }
        ResumableCall::OutOfFuel(call) => {
            came(call.resume(store, outputs), ResumableCall::OutOfFuel)
        }
        ResumableCall::Interrupted(call) => {
            came(call.resume(store, outputs), ResumableCall::Interrupted)
        }
    }
}

fn came<C>(
    resumed: Result<ResumableCall, ResumeError<C>>,
    wrap: impl Fn(C) -> ResumableCall,
) -> Resumed {
    match resumed {
        Ok(call) => Resumed::Went(Ok(call)),
        Err(error) => match error.reason().copied() {
            Some(reason) => {
                Resumed::Refused(wrap(error.into_call().expect("it was refused")), reason)
            }
            None => Resumed::Went(Err(error.into_error())),
        },
    }
}
