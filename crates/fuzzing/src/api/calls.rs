//! Calls: plain, resumable, asynchronous; nested, kept, resumed, dropped.

use super::data::{Data, charge, same};
use super::guests::{Expected, Guest};
use super::{instances, looks, metering, misuse, objects};
use crate::panics::message;
use crate::resuming::{Resumed, resume};
use crate::threads;
use anyhow::{Context as _, Error, Result, bail, ensure};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{self, Poll, Waker};
use stillframe::{
    AsContextMut, FrameHandle, ResumableCall, ResumeRefused, StoreContextMut, Trap, TypedFunc,
    TypedResumableCall, UncaughtException, Val,
};

type Context<'a> = StoreContextMut<'a, Data>;

/// Calls that are nested, at most.
const DEPTH: usize = 5;
/// Suspended calls that are kept, at most.
const KEPT: usize = 20;

/// A suspended call.
pub(super) struct Kept {
    pub(super) call: ResumableCall,
    results: Vec<Val>,
    guest: Guest,
    /// Its innermost frame, if it has any.
    pub(super) frame: Option<FrameHandle>,
}

/// The error of a host function that was given this number.
#[derive(Debug)]
pub(super) struct Given(pub(super) i32);

/// The error of an epoch callback, and what host functions panic with.
#[derive(Debug)]
pub(super) struct OnPurpose;

impl std::fmt::Display for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "given {}", self.0)
    }
}

impl std::error::Error for Given {}

impl std::fmt::Display for OnPurpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("on purpose")
    }
}

impl std::error::Error for OnPurpose {}

/// One operation in a store.
pub(super) fn operate(mut store: Context<'_>) -> Result<()> {
    let data = store.data_mut();
    if data.left == 0 {
        return Ok(());
    }
    data.left -= 1;
    data.seen.nested += u64::from(data.depth > 0);
    let can_call = data.depth < DEPTH;
    match data.choices.below(32) {
        0..=3 => objects::memory(store),
        4..=6 => objects::table(store),
        7 | 8 => objects::global(store),
        9 => metering::fuel(store),
        10 | 11 => metering::epoch(store),
        12..=14 if can_call => instances::instantiate(store),
        15..=19 if can_call => call(store),
        20..=24 if can_call => call_resumable(store),
        25 if can_call => direct(store),
        26..=28 if can_call => resume_kept(store),
        29 => drop_kept(store),
        30 => misuse::within(store),
        _ => looks::look(store),
    }
}

/// Any call of any instance.
fn any_guest(store: &mut Context<'_>) -> Option<Guest> {
    let data = store.data_mut();
    let inst = data.any(data.insts.len())?;
    let inst = data.insts[inst];
    Some(Guest::choose(&mut data.choices, inst))
}

/// Enters wasm; none if a host function panicked, on purpose.
fn enter<R>(
    store: &mut Context<'_>,
    what: impl FnOnce(&mut Context<'_>) -> R,
) -> Result<Option<R>> {
    charge(store)?;
    store.data_mut().depth += 1;
    let done = catch_unwind(AssertUnwindSafe(|| what(store)));
    store.data_mut().depth -= 1;
    noted(store.data_mut())?;
    charge(store)?;
    match done {
        Ok(done) => Ok(Some(done)),
        Err(panic) => {
            let text = message(&*panic);
            ensure!(text == "on purpose", "it panicked: {text}");
            store.data_mut().seen.panicked += 1;
            Ok(None)
        }
    }
}

/// What a host function or an epoch callback has noted.
pub(super) fn noted(data: &mut Data) -> Result<()> {
    data.failure.take().map_or(Ok(()), Err)
}

/// A call from its beginning to its end, plain or asynchronous.
fn call(mut store: Context<'_>) -> Result<()> {
    let Some(guest) = any_guest(&mut store) else { return Ok(()) };
    let func = guest.inst.instance.get_func(&mut store, guest.name).context("an export")?;
    let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
    let is_later = guest.inst.is_async || store.data_mut().choices.one_in(4);
    let polls = store.data_mut().choices.pick(&[1, 3, 60]);
    let args = guest.args.clone();
    let called = enter(&mut store, |store| match is_later {
        false => Poll::Ready(func.call(store, &args, &mut results)),
        true => {
            let mut call = pin!(func.call_async(&mut *store, &args, &mut results));
            let mut context = task::Context::from_waker(Waker::noop());
            let mut poll = || call.as_mut().poll(&mut context);
            (0..polls).map(|_| poll()).find(Poll::is_ready).unwrap_or(Poll::Pending)
        }
    })?;
    store.data_mut().seen.awaited += u64::from(is_later);
    match called {
        None => ensure!(guest.calls_others(), "a host function panicked that was not called"),
        Some(Poll::Pending) => {
            ensure!(guest.has_checkpoints(), "{guest:?} has yielded");
            store.data_mut().seen.cancelled += 1;
        }
        Some(Poll::Ready(Ok(()))) => returned(&mut store, &guest, &results)?,
        Some(Poll::Ready(Err(error))) => failed(&mut store, &guest, error)?,
    }
    Ok(())
}

/// A call has returned.
fn returned(store: &mut Context<'_>, guest: &Guest, results: &[Val]) -> Result<()> {
    match guest.expected(store.data()) {
        // What it called need not stand in the table any more.
        _ if guest.name == "tcall" => {
            let expected = [Val::I32(guest.args[1].unwrap_i32() + 1)];
            ensure!(same(results, &expected), "{guest:?} returned {results:?}");
        }
        Expected::Results(expected) => {
            ensure!(same(results, &expected), "{guest:?}: {results:?} instead of {expected:?}");
        }
        Expected::Trap(trap) => bail!("{guest:?} returned {results:?}, and did not trap: {trap}"),
        Expected::Exception => bail!("{guest:?} returned {results:?}"),
        Expected::Any => {}
    }
    guest.apply(store.data_mut());
    store.data_mut().seen.returned += 1;
    Ok(())
}

/// A call has ended in an error.
fn failed(store: &mut Context<'_>, guest: &Guest, error: Error) -> Result<()> {
    let data = store.data_mut();
    data.seen.failed += 1;
    let trap = error.downcast_ref::<Trap>().copied();
    let (stops, others) = (guest.has_checkpoints(), guest.calls_others());
    let is_expected = match (trap, guest.expected(data)) {
        (Some(Trap::OutOfFuel), _) => data.settings.fuel && (stops || others),
        (Some(Trap::Interrupt), _) => data.settings.epochs && (stops || others),
        // Calls that are nested too deep.
        (Some(Trap::StackOverflow), _) => data.depth > 0 || guest.name == "dive" || others,
        (Some(trap), Expected::Trap(expected)) => trap == expected,
        (None, Expected::Exception) => error.is::<UncaughtException>(),
        (Some(Trap::IndirectCallToNull | Trap::UndefinedElement), _) => guest.name == "tcall",
        (None, _) if error.is::<OnPurpose>() => data.settings.epochs && stops,
        (None, _) if error.is::<Given>() => others,
        (None, _) => others && format!("{error:#}").contains("async"),
        (Some(_), _) => others,
    };
    ensure!(is_expected, "{guest:?} failed: {error:?}");
    looks::dump_error(store, &error)
}

fn call_resumable(mut store: Context<'_>) -> Result<()> {
    let Some(guest) = any_guest(&mut store) else { return Ok(()) };
    let func = guest.inst.instance.get_func(&mut store, guest.name).context("an export")?;
    let mut results = vec![Val::I32(0); func.ty(&store).results().len()];
    let args = guest.args.clone();
    let typed = func.typed::<i32, i32>(&store).ok().filter(|_| store.data_mut().choices.one_in(2));
    let called = enter(&mut store, |store| match typed {
        Some(typed) => call_typed(store, typed, args[0].unwrap_i32(), &mut results),
        None => func.call_resumable(store, &args, &mut results),
    })?;
    came(&mut store, called, results, guest, Some(true))
}

/// The same for a function whose type is known to Rust; what comes back unfinished is carried on
/// once, and then as any other call.
fn call_typed(
    store: &mut Context<'_>,
    func: TypedFunc<i32, i32>,
    arg: i32,
    results: &mut [Val],
) -> Result<ResumableCall> {
    let is_plain = store.data_mut().choices.one_in(3);
    if is_plain {
        results[0] = Val::I32(func.call(&mut *store, arg)?);
        return Ok(ResumableCall::Finished);
    }
    let mut call = func.call_resumable(&mut *store, arg)?;
    if let TypedResumableCall::HostTrap(stands) = call {
        call = match stands.host_error().downcast_ref() {
            Some(Given(x)) => {
                let answer = [Val::I32(x + 1)];
                match stands.resume(&mut *store, &answer) {
                    Ok(call) => call,
                    Err(error) => {
                        ensure!(error.reason().is_none(), "refused: {error}");
                        return Err(error.into_error());
                    }
                }
            }
            None => TypedResumableCall::HostTrap(stands),
        };
    }
    Ok(match call {
        TypedResumableCall::Finished(result) => {
            results[0] = Val::I32(result);
            ResumableCall::Finished
        }
        TypedResumableCall::HostTrap(call) => ResumableCall::HostTrap(call.into_untyped()),
        TypedResumableCall::OutOfFuel(call) => ResumableCall::OutOfFuel(call.into_untyped()),
        TypedResumableCall::Interrupted(call) => ResumableCall::Interrupted(call.into_untyped()),
    })
}

/// A call that was made or resumed resumably has come back.
fn came(
    store: &mut Context<'_>,
    called: Option<Result<ResumableCall>>,
    results: Vec<Val>,
    guest: Guest,
    moved: Option<bool>,
) -> Result<()> {
    let call = match called {
        None => {
            ensure!(guest.calls_others(), "a host function panicked that was not called");
            return Ok(());
        }
        Some(Ok(ResumableCall::Finished)) => return returned(store, &guest, &results),
        Some(Err(error)) => return failed(store, &guest, error),
        Some(Ok(call)) => call,
    };
    ensure!(guest.has_checkpoints() || guest.calls_others(), "{guest:?} has stopped: {call:?}");
    if let ResumableCall::OutOfFuel(call) = &call {
        let at_once = moved.map_or(call.overdraft() == 0, |moved| !moved);
        let books = &mut store.data_mut().books;
        books.suspended(at_once, call.required_fuel(), call.overdraft())?;
        charge(store)?;
    }
    store.data_mut().seen.suspended += 1;
    let frame = call.frames(&*store)?.next();
    if store.data().kept.len() < KEPT {
        store.data_mut().kept.push(Kept { call, results, guest, frame });
    }
    Ok(())
}

/// A host function that the host calls.
fn direct(mut store: Context<'_>) -> Result<()> {
    let count = store.data().hosts.len();
    let Some(index) = store.data_mut().any(count) else { return Ok(()) };
    let func = store.data().hosts[index];
    ensure!(func.definition(&store).is_none(), "a host function is defined by an instance");
    let (mut results, args) = ([Val::I32(0)], [Val::I32(7)]);
    let called = enter(&mut store, |store| func.call_resumable(store, &args, &mut results))?;
    let resumed = match called {
        Some(Ok(ResumableCall::HostTrap(call))) => {
            ensure!(call.frames(&store)?.next().is_none(), "a call without wasm has frames");
            ensure!(call.host_error().is::<Given>(), "{:?}", call.host_error());
            call.resume(&mut store, &[Val::I32(8)], &mut results).map_err(Error::from)
        }
        Some(called) => called,
        None => return Ok(()),
    };
    match resumed {
        Ok(ResumableCall::Finished) => ensure!(results[0].i32() == Some(8), "{results:?}"),
        Ok(call) => bail!("{call:?} of a host function"),
        Err(error) if error.downcast_ref() == Some(&Trap::StackOverflow) => {}
        Err(error) => return Err(error.context("a host function, called by the host")),
    }
    Ok(())
}

fn resume_kept(mut store: Context<'_>) -> Result<()> {
    let count = store.data().kept.len();
    let Some(index) = store.data_mut().any(count) else { return Ok(()) };
    let Kept { call, mut results, guest, frame } = store.data_mut().kept.swap_remove(index);
    let inputs: Vec<Val> = match &call {
        ResumableCall::HostTrap(call) => match call.host_error().downcast_ref() {
            Some(Given(x)) => vec![Val::I32(x + 1)],
            // An asynchronous one, which has not begun: nobody knows what it was given.
            None => {
                let text = format!("{:#}", call.host_error());
                ensure!(guest.inst.is_async && text.contains("async"), "it failed: {text}");
                return Ok(());
            }
        },
        _ => Vec::new(),
    };
    charge(&mut store)?;
    let mut owed = 0;
    if let ResumableCall::OutOfFuel(call) = &call {
        owed = call.overdraft();
        if !store.data_mut().choices.one_in(4) {
            let fuel = call.required_fuel() + store.data_mut().choices.pick(&[0, 10, 1000]);
            store.set_fuel(fuel)?;
            store.data_mut().books.set(fuel);
        }
        let pays = store.data().books.left() >= call.required_fuel();
        owed = if pays { owed } else { 0 };
    }
    let is_host = matches!(call, ResumableCall::HostTrap(_));
    // What it owes is paid before anything runs, and not at all if there are too many calls.
    let depth = store.data().depth;
    store.data_mut().depth += 1;
    store.data_mut().books.resumed(owed);
    let resumed = catch_unwind(AssertUnwindSafe(|| {
        resume(store.as_context_mut(), call, &inputs, &mut results)
    }));
    store.data_mut().depth -= 1;
    noted(store.data_mut())?;
    let resumed = match resumed {
        Ok(resumed) => resumed,
        Err(panic) => {
            ensure!(message(&*panic) == "on purpose", "it panicked: {}", message(&*panic));
            store.data_mut().seen.panicked += 1;
            charge(&mut store)?;
            return Ok(());
        }
    };
    match resumed {
        Resumed::Refused(call, reason) => {
            store.data_mut().books.resumed_not(owed);
            charge(&mut store)?;
            let fits = match reason {
                ResumeRefused::NotEnoughFuel { .. } => owed == 0,
                ResumeRefused::NestedTooDeep => depth > 0,
                _ => false,
            };
            ensure!(fits, "refused: {reason}");
            store.data_mut().seen.not_resumed += 1;
            store.data_mut().kept.push(Kept { call, results, guest, frame });
            Ok(())
        }
        Resumed::Went(called) => {
            charge(&mut store)?;
            store.data_mut().seen.resumed += 1;
            let moved = frame.map(|frame| !frame.is_valid(&store));
            ensure!(moved != Some(false) || !is_host, "it went on, and its frame is valid");
            came(&mut store, Some(called), results, guest, moved)
        }
    }
}

fn drop_kept(mut store: Context<'_>) -> Result<()> {
    let count = store.data().kept.len();
    let Some(index) = store.data_mut().any(count) else { return Ok(()) };
    let Kept { call, frame, .. } = store.data_mut().kept.swap_remove(index);
    match store.data_mut().choices.one_in(3) {
        true => threads::elsewhere(move || drop(call)),
        false => match call {
            ResumableCall::HostTrap(call) => drop(call.into_host_error()),
            call => drop(call),
        },
    }
    ensure!(!frame.is_some_and(|frame| frame.is_valid(&store)), "a dropped call's frame");
    store.data_mut().seen.dropped += 1;
    Ok(())
}
