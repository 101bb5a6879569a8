//! What happens meanwhile: nothing of it may be seen by the guest.

use super::host::{FAR, Host, Mode, PLENTY, add_fuel, charge, set_fuel};
use super::task::{Step, Task, some_fuel};
use super::{cut, host};
use anyhow::{Result, ensure};
use stillframe::{AsContextMut, StoreContextMut, UpdateDeadline};

/// Other instances' calls that are carried on in host functions of one another.
const NESTING: usize = 6;

/// Something happens, in a host function, in an epoch callback or outside of all calls.
pub(super) fn stir(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    if store.data().is_straight || store.data().left == 0 {
        return Ok(());
    }
    spend(store);
    let (is_plain, must_have_fuel) = {
        let host = store.data();
        (host.runs_plainly(), host.must_have_fuel())
    };
    match store.data_mut().choices.below(14) {
        0 | 1 => store.engine().increment_epoch(),
        2 => {
            let ticks = store.data_mut().choices.pick(&[0, 1, 2, FAR, u64::MAX]);
            store.set_epoch_deadline(ticks);
        }
        3 if !is_plain => epoch_action(store),
        4..=6 => advance_another(store)?,
        7 => drop_another(store)?,
        8 if !must_have_fuel => {
            let fuel = store.data_mut().choices.pick(&[0, 1, 50, 3000, PLENTY, u64::MAX]);
            some_fuel(store, fuel)?;
        }
        8 => add_fuel(store, 1)?,
        9 => {
            let suspended = store.suspended_backtraces();
            std::hint::black_box(format!("{suspended:?}"));
        }
        10 => {
            for frame in store.frames() {
                ensure!(frame.is_valid(&*store), "a frame of a call that runs is stale");
                frame.locals(&*store)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// Less may happen from now on.
pub(super) fn spend(store: &mut StoreContextMut<'_, Host>) {
    let left = &mut store.data_mut().left;
    *left = left.saturating_sub(1);
}

/// What happens at an epoch deadline, from now on.
fn epoch_action(store: &mut StoreContextMut<'_, Host>) {
    // With this, asynchronous calls would yield at each checkpoint.
    let is_later = store.data().modes.contains(&Mode::Async);
    match !is_later && store.data_mut().choices.one_in(3) {
        true => store.epoch_deadline_suspend(),
        false => epoch_action_later(store),
    }
}

/// The same, for asynchronous calls.
pub(super) fn epoch_action_later(store: &mut StoreContextMut<'_, Host>) {
    match store.data_mut().choices.one_in(2) {
        true => {
            let ticks = store.data_mut().choices.pick(&[1, 2, FAR]);
            store.epoch_deadline_async_yield_and_update(ticks);
        }
        false => epoch_callback(store),
    }
}

/// A callback is asked at epoch deadlines, from now on.
fn epoch_callback(store: &mut StoreContextMut<'_, Host>) {
    store.epoch_deadline_callback(|mut store| {
        let asked = asked(&mut store);
        asked.map_err(|error| host::differs(&mut store, error))
    });
}

fn asked(store: &mut StoreContextMut<'_, Host>) -> Result<UpdateDeadline> {
    charge(store)?;
    store.data_mut().seen.callbacks += 1;
    // Wasm that reaches a deadline while a callback is asked traps, unless there is another action.
    let replaced = store.data_mut().choices.one_in(2);
    match replaced {
        true if store.data().runs_plainly() => epoch_callback(store),
        true => epoch_action(store),
        false => {}
    }
    let before = std::mem::replace(&mut store.data_mut().is_asked, !replaced);
    stir(store)?;
    store.data_mut().is_asked = before;
    if store.data().left == 0 {
        return Ok(UpdateDeadline::Continue(FAR));
    }
    spend(store);
    let host = store.data_mut();
    let ticks = host.choices.pick(&[0, 1, 2, 5, FAR]);
    let can_stop = host.modes.last().is_some_and(|mode| *mode != Mode::Plain);
    Ok(match can_stop && host.choices.one_in(2) {
        true => UpdateDeadline::Yield(ticks),
        // A deadline of 0 ticks would be reached at once, again and again.
        false => UpdateDeadline::Continue(ticks.max(1)),
    })
}

/// A plain call is to be made: it must not run out of anything.
pub(super) fn prepare_plain(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    set_fuel(store, PLENTY)?;
    epoch_callback(store);
    Ok(())
}

/// Fuel for a resumable call to start with.
pub(super) fn fuel_for_start(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    if store.data().must_have_fuel() {
        return Ok(());
    }
    if store.data().left == 0 {
        return set_fuel(store, PLENTY);
    }
    let fuel = store.data_mut().choices.pick(&[0, 0, 1, 10, 100, 1000, PLENTY]);
    some_fuel(store, fuel)
}

/// Fuel for a call that needs so much.
pub(super) fn fuel_for(store: &mut StoreContextMut<'_, Host>, required: u64) -> Result<()> {
    let more = match store.data().left {
        0 => PLENTY,
        _ => store.data_mut().choices.pick(&[0, 0, 0, 1, 7, 100, 2000]),
    };
    let missing = required.saturating_sub(store.data().books.left());
    match store.data().books.is_empty() && store.data_mut().choices.one_in(3) {
        true if !store.data().must_have_fuel() => set_fuel(store, required.saturating_add(more)),
        _ => pay(store, missing.saturating_add(more)),
    }
}

/// Adds to the store's fuel so much that it has so much more, whatever it owes.
fn pay(store: &mut StoreContextMut<'_, Host>, fuel: u64) -> Result<()> {
    let wanted = store.data().books.left().saturating_add(fuel);
    add_fuel(store, fuel)?;
    match wanted.checked_sub(store.data().books.left()) {
        Some(owed) if owed > 0 => set_fuel(store, wanted),
        _ => Ok(()),
    }
}

/// A call is to be carried on. When much has happened, no more is to.
pub(super) fn before_resuming(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    spend(store);
    if store.data().left == 0 {
        store.set_epoch_deadline(FAR);
        if store.data().books.left() < PLENTY / 2 {
            set_fuel(store, PLENTY)?;
        }
    }
    Ok(())
}

/// Carries on the call of another instance.
fn advance_another(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    let host = store.data();
    if host.modes.len() >= NESTING || host.modes.contains(&Mode::Async) || host.is_asked {
        return Ok(());
    }
    let Some(lane) = another(store) else { return Ok(()) };
    store.data_mut().seen.beside += 1;
    cut::advance(store, lane)
}

/// A lane that can be carried on.
fn another(store: &mut StoreContextMut<'_, Host>) -> Option<usize> {
    let host = store.data_mut();
    let lane = host.choices.below(host.lanes.len());
    (!host.lanes[lane].is_running && cut::has_more(host, lane)).then_some(lane)
}

/// Drops the call of another instance; the first one's calls are always compared.
fn drop_another(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    if !store.data_mut().choices.one_in(3) {
        return Ok(());
    }
    let Some(lane) = another(store) else { return Ok(()) };
    if lane == 0 {
        return Ok(());
    }
    let Some(task) = store.data_mut().lanes[lane].task.take() else { return Ok(()) };
    store.data_mut().lanes[lane].is_abandoned = true;
    store.data_mut().seen.dropped += 1;
    let host = store.data_mut();
    let (elsewhere, inner_first) = (host.choices.one_in(3), host.choices.one_in(2));
    task.drop_on(store.as_context_mut(), elsewhere, inner_first)
}

/// The first step of a task, or the next one.
pub(super) fn step(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    task: Option<Task>,
) -> Result<Step> {
    match task {
        Some(task) => task.step(store),
        None => {
            let of_lane = &store.data().lanes[lane];
            let call = of_lane.calls.len();
            let (_, func) = of_lane.funcs[call];
            Task::start(store, lane, func, 1 << 33 | call as u64)
        }
    }
}
