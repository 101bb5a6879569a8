//! The run that is cut: several instances in one store, whose calls are carried on in any order.

use super::guest::Guest;
use super::host::{self, Host, Mode, enter};
use super::state::{Called, Left, Run, check};
use super::task::Step;
use super::{Outcome, stir};
use crate::Choices;
use crate::threads::hop;
use anyhow::{Result, ensure};
use stillframe::{AsContextMut, Instance, Store, StoreContextMut};

/// Runs a guest. No runs if they cannot be compared.
pub(super) async fn run(
    guest: Guest,
    mut choices: Choices<'static>,
) -> Result<(Vec<Run>, Outcome)> {
    let lanes = 1 + choices.below(3);
    let host = Host::new(guest.settings.clone(), guest.seed, Some(choices), lanes, guest.calls);
    let mut store = host::store(&guest.cut, host);
    let mut runs = Vec::new();
    for lane in 0..lanes {
        let instantiated = instantiate(&mut store.as_context_mut(), &guest, lane)?;
        runs.push(empty(&guest, instantiated));
        hop().await;
    }
    loop {
        let host = store.data_mut();
        let waiting: Vec<usize> = (0..lanes).filter(|&lane| has_more(host, lane)).collect();
        if waiting.is_empty() {
            break;
        }
        let lane = host.choices.pick(&waiting);
        advance(&mut store.as_context_mut(), lane)?;
        stir::stir(&mut store.as_context_mut())?;
        check(store.data_mut())?;
        if store.data().gave_up {
            return Ok((Vec::new(), store.data().seen));
        }
        if store.data_mut().choices.one_in(3) {
            hop().await;
        }
    }
    ensure!(store.frames().next().is_none(), "no call runs, and there are frames");
    for (lane, run) in runs.iter_mut().enumerate() {
        let of_lane = &mut store.data_mut().lanes[lane];
        (run.calls, run.log) =
            (std::mem::take(&mut of_lane.calls), std::mem::take(&mut of_lane.log));
        if let Some(instance) = of_lane.instance {
            run.left = Left::of(&mut store, lane, instance);
        }
    }
    let is_abandoned: Vec<bool> = store.data().lanes.iter().map(|lane| lane.is_abandoned).collect();
    let mut abandoned = is_abandoned.into_iter();
    runs.retain(|_| !abandoned.next().unwrap_or(false));
    Ok((runs, store.data().seen))
}

/// The run of an instance that has not called anything.
pub(super) fn empty(guest: &Guest, instantiated: Result<(), String>) -> Run {
    Run {
        instantiated,
        calls: Vec::new(),
        counts_fuel: guest.settings.fuel,
        log: Vec::new(),
        left: Left::default(),
    }
}

/// Instantiates a lane's module; returns what it ended in.
fn instantiate(
    store: &mut StoreContextMut<'_, Host>,
    guest: &Guest,
    lane: usize,
) -> Result<Result<(), String>> {
    let imports = host::imports(store, &guest.cut, lane, |store, import, ty| {
        host::func(store, lane, import, ty)
    })?;
    stir::prepare_plain(store)?;
    store.data_mut().lanes[lane].is_running = true;
    let instance = enter(store, lane, Mode::Plain, |store| {
        Instance::new(store.as_context_mut(), &guest.cut, &imports)
    })?;
    store.data_mut().lanes[lane].is_running = false;
    check(store.data_mut())?;
    Ok(match instance {
        Ok(instance) => {
            host::instantiated(store, lane, instance)?;
            Ok(())
        }
        Err(error) => store.data_mut().ended(&error).map(|_| ()),
    })
}

/// Whether a lane has something to do.
pub(super) fn has_more(host: &Host, lane: usize) -> bool {
    let calls = host.calls;
    let lane = &host.lanes[lane];
    lane.instance.is_some() && !lane.is_abandoned && lane.calls.len() < calls
}

/// Begins a lane's next call, or carries on its suspended one.
pub(super) fn advance(store: &mut StoreContextMut<'_, Host>, lane: usize) -> Result<()> {
    let of_lane = &mut store.data_mut().lanes[lane];
    ensure!(!of_lane.is_running, "it runs");
    let task = of_lane.task.take();
    if task.is_none() {
        of_lane.before = of_lane.consumed;
    }
    of_lane.is_running = true;
    let stepped = stir::step(store, lane, task)?;
    let of_lane = &mut store.data_mut().lanes[lane];
    of_lane.is_running = false;
    match stepped {
        Step::Stopped(task) => of_lane.task = Some(task),
        Step::Ended(ended) => {
            let (name, _) = of_lane.funcs[of_lane.calls.len()].clone();
            let consumed = of_lane.consumed - of_lane.before;
            of_lane.calls.push(Called { name, ended, consumed });
        }
    }
    Ok(())
}

/// Looks whether a store is as it should be when no call runs.
pub(super) fn is_idle(store: &Store<Host>) -> Result<()> {
    ensure!(store.frames().next().is_none(), "no call runs, and there are frames");
    ensure!(store.suspended_backtraces().is_empty(), "no call is suspended, and there are some");
    Ok(())
}
