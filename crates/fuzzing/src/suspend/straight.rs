//! The run that says what is right: plain calls with enough fuel, and nothing in between.

use super::guest::Guest;
use super::host::{self, Host, Mode, call_plain, enter, set_fuel};
use super::state::{Called, Left, Run, check};
use anyhow::{Context as _, Result};
use stillframe::{AsContextMut, Instance};

/// Runs a guest. What does not end within its fuel, or uses up its stack, is left out: `calls` of
/// the guest says what is run then. None if nothing is left.
pub(super) fn run(guest: &mut Guest) -> Result<Option<Run>> {
    while guest.calls > 0 {
        let (run, gave_up) = once(guest).with_context(|| format!("straight: {guest:?}"))?;
        if !gave_up {
            return Ok(Some(run));
        }
        guest.calls = run.calls.len().saturating_sub(1);
    }
    Ok(None)
}

/// Returns too whether the last call is one that cannot be compared.
fn once(guest: &Guest) -> Result<(Run, bool)> {
    let mut settings = guest.settings.clone();
    settings.fuel = true;
    let host = Host::new(settings, guest.seed, None, 1, guest.calls);
    let mut store = host::store(&guest.straight, host);
    let mut context = store.as_context_mut();
    set_fuel(&mut context, guest.fuel)?;
    let imports = host::imports(&mut context, &guest.straight, 0, |store, import, ty| {
        host::func(store, 0, import, ty)
    })?;
    let instance = enter(&mut context, 0, Mode::Plain, |store| {
        Instance::new(store.as_context_mut(), &guest.straight, &imports)
    })?;
    check(context.data_mut())?;
    let mut run = Run {
        instantiated: Ok(()),
        calls: Vec::new(),
        counts_fuel: true,
        log: Vec::new(),
        left: Left::default(),
    };
    match instance {
        Ok(instance) => {
            host::instantiated(&mut context, 0, instance)?;
            for call in 0..guest.calls {
                let lane = &context.data().lanes[0];
                let ((name, func), before) = (lane.funcs[call].clone(), lane.consumed);
                let ended = call_plain(&mut context, 0, func, 1 << 33 | call as u64)?;
                check(context.data_mut())?;
                let consumed = context.data().lanes[0].consumed - before;
                run.calls.push(Called { name, ended, consumed });
                if context.data().gave_up {
                    return Ok((run, true));
                }
            }
            run.left = Left::of(&mut store, 0, instance);
        }
        Err(error) => {
            let ended = context.data_mut().ended(&error);
            run.instantiated = ended.map(|_| ());
        }
    }
    run.log = std::mem::take(&mut store.data_mut().lanes[0].log);
    Ok((run, store.data().gave_up))
}
