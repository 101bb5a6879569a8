//! Fuel, epochs and limits.

use super::calls::operate;
use super::data::{Data, charge};
use anyhow::{Result, anyhow, ensure};
use stillframe::{AsContextMut, StoreContextMut, UpdateDeadline};

type Context<'a> = StoreContextMut<'a, Data>;

pub(super) fn fuel(mut store: Context<'_>) -> Result<()> {
    let choices = &mut store.data_mut().choices;
    let fuel = choices.pick(&[0, 1, 20, 500, 1 << 20, 1 << 40, 1 << 63, u64::MAX]);
    let what = choices.below(4);
    if !store.data().settings.fuel {
        ensure!(store.set_fuel(fuel).is_err() && store.add_fuel(fuel).is_err(), "not metered");
        ensure!(store.get_fuel().is_err() && store.fuel_consumed().is_err(), "not metered");
        ensure!(store.fuel_async_yield_interval(None).is_err(), "not metered");
        return Ok(());
    }
    match what {
        0 => {
            store.set_fuel(fuel)?;
            store.data_mut().books.set(fuel);
        }
        1 | 2 => {
            store.add_fuel(fuel)?;
            store.data_mut().books.add(fuel);
        }
        _ => {
            ensure!(store.fuel_async_yield_interval(Some(0)).is_err(), "an interval of 0 units");
            store.fuel_async_yield_interval((fuel > 0).then_some(fuel))?;
        }
    }
    charge(&mut store)?;
    Ok(())
}

pub(super) fn epoch(mut store: Context<'_>) -> Result<()> {
    let what = store.data_mut().choices.below(8);
    match what {
        0..=2 => store.engine().increment_epoch(),
        3 | 4 => {
            let ticks = store.data_mut().choices.pick(&[0, 1, 2, 1 << 40, u64::MAX]);
            store.set_epoch_deadline(ticks);
        }
        5 => store.epoch_deadline_suspend(),
        6 => match store.data_mut().choices.one_in(3) {
            true => store.epoch_deadline_trap(),
            false => store.epoch_deadline_async_yield_and_update(1),
        },
        _ => {
            let token = store.data().token.clone();
            store.epoch_deadline_callback(move |mut store| {
                let _held = &token;
                let answer = asked(store.as_context_mut());
                answer.map_err(|error| {
                    store.data_mut().failure.get_or_insert(error);
                    anyhow!("a failure was found")
                })?
            });
        }
    }
    Ok(())
}

/// What an epoch callback answers; the outer error is a failure.
fn asked(mut store: Context<'_>) -> Result<Result<UpdateDeadline>> {
    charge(&mut store)?;
    let data = store.data_mut();
    data.seen.callbacks += 1;
    if data.left == 0 {
        return Ok(Ok(UpdateDeadline::Continue(1 << 40)));
    }
    data.left -= 1;
    let ticks = data.choices.pick(&[1, 2, 1 << 40, u64::MAX]);
    let answer = data.choices.below(10);
    if answer < 3 && data.depth < 4 {
        operate(store.as_context_mut())?;
    }
    Ok(match answer {
        8 => Ok(UpdateDeadline::Interrupt),
        9 => Err(super::calls::OnPurpose.into()),
        _ if answer.is_multiple_of(2) => Ok(UpdateDeadline::Yield(ticks)),
        _ => Ok(UpdateDeadline::Continue(ticks)),
    })
}
