//! The store's data, and the host functions.
//!
//! A store has several instances of the guest, each in a *lane*, with its own calls, log and fuel.
//! What host functions do that the guest can see is chosen by the seed, and the same in all runs:
//! what they answer, and that some of them call an exported function of their instance. What else
//! they do is chosen by [`Host::choices`], and must not be seen.

use super::books::Books;
use super::state::{Called, Ending, is_no_contract, kind};
use super::task::{self, Task};
use super::values::{show_all, values};
use super::{Outcome, stir};
use crate::Choices;
use crate::configs::Settings;
use anyhow::{Context as _, Error, Result, anyhow, ensure};
use stillframe::{
    AsContextMut, Caller, Extern, ExternType, Func, FuncType, Global, Instance, Memory, Module,
    Ref, Store, StoreContextMut, StoreLimits, StoreLimitsBuilder, Table, Trap, Val,
};

/// More fuel than any guest takes.
pub(super) const PLENTY: u64 = 1 << 40;
/// An epoch deadline that is not reached.
pub(super) const FAR: u64 = 1 << 40;
/// How deep an instance's own calls are nested.
const DEPTH: usize = 2;

/// The data of a store.
pub(super) struct Host {
    pub(super) choices: Choices<'static>,
    pub(super) seed: u64,
    pub(super) settings: Settings,
    /// Whether nothing is to happen but what the guest can see.
    pub(super) is_straight: bool,
    pub(super) lanes: Vec<Lane>,
    /// How many of its exported functions each lane calls.
    pub(super) calls: usize,
    /// The lane whose wasm runs.
    pub(super) current: usize,
    pub(super) books: Books,
    /// The calls from the host into wasm that run, outermost first.
    pub(super) modes: Vec<Mode>,
    /// Whether an epoch callback is asked that has not been replaced.
    pub(super) is_asked: bool,
    /// How much more may happen.
    pub(super) left: u32,
    limits: StoreLimits,
    /// What was found to be wrong.
    pub(super) failure: Option<Error>,
    /// The straight run has come to something that depends on the engine's settings.
    pub(super) gave_up: bool,
    pub(super) seen: Outcome,
}

/// An instance, and what it does.
#[derive(Default)]
pub(super) struct Lane {
    pub(super) instance: Option<Instance>,
    /// What it imports, if that is functions.
    pub(super) hosts: Vec<Func>,
    /// What it exports.
    pub(super) funcs: Vec<(String, Func)>,
    pub(super) log: Vec<String>,
    /// Calls of host functions so far.
    pub(super) counter: u64,
    /// Calls of its own that run in host functions.
    pub(super) depth: usize,
    /// Units that its wasm has consumed.
    pub(super) consumed: u64,
    /// Units that it had consumed when the latest call from outside began.
    pub(super) before: u64,
    /// The call that a host function made, and left to whoever carries on the one around it.
    pub(super) escaped: Option<Task>,
    /// Its call, while it is suspended.
    pub(super) task: Option<Task>,
    /// Whether its wasm, or a host function of its, runs.
    pub(super) is_running: bool,
    pub(super) calls: Vec<Called>,
    /// Its call was dropped: what it does is not compared.
    pub(super) is_abandoned: bool,
}

/// How wasm was entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    Plain,
    Resumable,
    Async,
}

/// The error of a host function that would have returned the answer of this number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instead(pub(super) u64);

/// The error of a host function whose own call is suspended: it answers when that has ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped(pub(super) u64);

macro_rules! errors {
    ($($ty:ident)*) => {$(
        impl std::fmt::Display for $ty {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{self:?}")
            }
        }

        impl std::error::Error for $ty {}
    )*};
}
errors!(Instead Escaped);

impl Host {
    /// The data of a store for so many lanes.
    pub(super) fn new(
        settings: Settings,
        seed: u64,
        choices: Option<Choices<'static>>,
        lanes: usize,
        calls: usize,
    ) -> Host {
        Host {
            is_straight: choices.is_none(),
            choices: choices.unwrap_or_else(|| Choices::new(&[])),
            seed,
            settings,
            lanes: (0..lanes).map(|_| Lane::default()).collect(),
            calls,
            current: 0,
            books: Books::default(),
            modes: Vec::new(),
            is_asked: false,
            left: 300,
            limits: StoreLimitsBuilder::new().memory_size(4 << 20).table_elements(10_000).build(),
            failure: None,
            gave_up: false,
            seen: Outcome::default(),
        }
    }

    /// A call ended in an error: whether runs can be compared behind it.
    pub(super) fn ended(&mut self, error: &Error) -> Ending {
        self.gave_up |= match self.is_straight {
            true => is_no_contract(error),
            // Where the straight run has not, the frames are larger: other settings.
            false => error.downcast_ref() == Some(&Trap::StackOverflow),
        };
        Err(kind(error))
    }

    /// Whether a call runs that would end in a trap at an epoch deadline.
    pub(super) fn runs_plainly(&self) -> bool {
        self.modes.contains(&Mode::Plain)
    }

    /// Whether a call runs that would end in a trap without fuel.
    pub(super) fn must_have_fuel(&self) -> bool {
        self.modes.iter().any(|mode| *mode != Mode::Resumable)
    }
}

/// A store, with enough of everything.
pub(super) fn store(module: &Module, host: Host) -> Store<Host> {
    let mut store = Store::new(module.engine(), host);
    store.limiter(|host| &mut host.limits);
    store.set_epoch_deadline(FAR);
    store
}

/// Sets the store's fuel, if it has any.
pub(super) fn set_fuel(store: &mut StoreContextMut<'_, Host>, fuel: u64) -> Result<()> {
    if store.data().settings.fuel {
        store.set_fuel(fuel)?;
        store.data_mut().books.set(fuel);
    }
    Ok(())
}

/// Adds to the store's fuel, if it has any.
pub(super) fn add_fuel(store: &mut StoreContextMut<'_, Host>, fuel: u64) -> Result<()> {
    if store.data().settings.fuel {
        store.add_fuel(fuel)?;
        store.data_mut().books.add(fuel);
    }
    Ok(())
}

/// Wasm may have run: what was consumed is the current lane's.
pub(super) fn charge(store: &mut StoreContextMut<'_, Host>) -> Result<()> {
    if store.data().settings.fuel {
        let (consumed, left) = (store.fuel_consumed()?, store.get_fuel()?);
        let host = store.data_mut();
        host.lanes[host.current].consumed += host.books.look(consumed, left)?;
    }
    Ok(())
}

/// Does what enters wasm for a lane, in this mode.
pub(super) fn enter<R>(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    mode: Mode,
    what: impl FnOnce(&mut StoreContextMut<'_, Host>) -> R,
) -> Result<R> {
    charge(store)?;
    let before = std::mem::replace(&mut store.data_mut().current, lane);
    store.data_mut().modes.push(mode);
    let done = what(store);
    store.data_mut().modes.pop();
    charge(store)?;
    store.data_mut().current = before;
    Ok(done)
}

/// Makes an instance for a lane, with objects of its own for all imports. The functions are host
/// functions, made by `func`.
pub(super) fn imports(
    store: &mut StoreContextMut<'_, Host>,
    module: &Module,
    lane: usize,
    mut func: impl FnMut(&mut StoreContextMut<'_, Host>, usize, FuncType) -> Func,
) -> Result<Vec<Extern>> {
    let mut imports = Vec::new();
    for (i, import) in module.imports().enumerate() {
        imports.push(match import.ty() {
            ExternType::Func(ty) => {
                let func = func(store, i, ty);
                store.data_mut().lanes[lane].hosts.push(func);
                func.into()
            }
            ExternType::Global(ty) => {
                let value = values(store, lane, 1 << 40 | i as u64, &[ty.content()]);
                Global::new(store.as_context_mut(), ty, value[0])?.into()
            }
            ExternType::Memory(ty) => Memory::new(store.as_context_mut(), ty)?.into(),
            ExternType::Table(ty) => {
                let null = Ref::null(ty.element());
                Table::new(store.as_context_mut(), ty, null)?.into()
            }
        });
    }
    Ok(imports)
}

/// The instance is there: notes it, and what it exports.
pub(super) fn instantiated(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    instance: Instance,
) -> Result<()> {
    let exports: Vec<_> = instance
        .exports(&*store)
        .filter_map(|export| {
            let name = export.name().to_string();
            Some((name, export.into_extern().into_func()?))
        })
        .collect();
    let lane = &mut store.data_mut().lanes[lane];
    (lane.instance, lane.funcs) = (Some(instance), exports);
    Ok(())
}

/// A host function that the guest calls as any other.
pub(super) fn func(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    import: usize,
    ty: FuncType,
) -> Func {
    let own = ty.clone();
    Func::new(store.as_context_mut(), ty, move |mut caller: Caller<'_, Host>, args, results| {
        let mut store = caller.as_context_mut();
        let answered = called(&mut store, lane, import, args)
            .and_then(|number| answer(&mut store, lane, import, number).map(|end| (number, end)));
        match answered {
            Ok((number, End::Return)) => {
                results.copy_from_slice(&values(&mut store, lane, number, own.results()));
                Ok(())
            }
            Ok((_, End::Fail(error))) => Err(error),
            Err(error) => Err(differs(&mut store, error)),
        }
    })
}

/// What a host function does in the end.
enum End {
    Return,
    Fail(Error),
}

/// Notes what was found to be wrong; the error ends the call.
pub(super) fn differs(store: &mut StoreContextMut<'_, Host>, error: Error) -> Error {
    store.data_mut().failure.get_or_insert(error);
    anyhow!("the runs differ")
}

/// A host function was called: notes it, and returns the number of its answer.
pub(super) fn called(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    import: usize,
    args: &[Val],
) -> Result<u64> {
    charge(store)?;
    ensure!(store.data().current == lane, "a host function of another instance is called");
    let args = show_all(store, lane, args);
    let lane = &mut store.data_mut().lanes[lane];
    lane.counter += 1;
    lane.log.push(format!("host {import}{args:?}"));
    Ok(lane.counter)
}

/// The function that a host function is to call, if it is: which, and the number of its arguments.
pub(super) fn nested(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    import: usize,
    number: u64,
) -> Option<(Func, u64)> {
    let lane = &store.data().lanes[lane];
    let wanted = import.is_multiple_of(2) && number % 4 == 1 && lane.depth < DEPTH;
    if !wanted || lane.instance.is_none() || lane.funcs.is_empty() {
        return None;
    }
    let (_, func) = lane.funcs[number as usize % lane.funcs.len()];
    Some((func, number | 1 << 32))
}

/// A call that a host function made has ended.
pub(super) fn nested_ended(host: &mut Host, lane: usize, ended: &Ending) {
    let lane = &mut host.lanes[lane];
    lane.depth -= 1;
    lane.log.push(format!("nested: {ended:?}"));
}

/// Calls a function plainly, to its end.
pub(super) fn call_plain(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    func: Func,
    number: u64,
) -> Result<Ending> {
    let ty = func.ty(&*store);
    let args = values(store, lane, number, ty.params());
    let mut results = vec![Val::I32(0); ty.results().len()];
    if !store.data().is_straight {
        stir::prepare_plain(store)?;
    }
    let ended = enter(store, lane, Mode::Plain, |store| {
        func.call(store.as_context_mut(), &args, &mut results)
    })?;
    Ok(match ended {
        Ok(()) => Ok(show_all(store, lane, &results)),
        Err(error) => store.data_mut().ended(&error),
    })
}

/// What a host function does before it answers, and how.
fn answer(
    store: &mut StoreContextMut<'_, Host>,
    lane: usize,
    import: usize,
    number: u64,
) -> Result<End> {
    let mode = *store.data().modes.last().context("the mode of a call")?;
    stir::stir(store)?;
    if let Some((func, args)) = nested(store, lane, import, number) {
        store.data_mut().lanes[lane].depth += 1;
        store.data_mut().seen.nested += 1;
        let is_plain = store.data().is_straight || store.data_mut().choices.one_in(3);
        let ended = match is_plain {
            true => call_plain(store, lane, func, args)?,
            false => match task::run_nested(store, lane, func, args, mode)? {
                Some(ended) => ended,
                None => return Ok(End::Fail(Escaped(number).into())),
            },
        };
        nested_ended(store.data_mut(), lane, &ended);
        stir::stir(store)?;
    }
    let can_fail = mode == Mode::Resumable && !store.data().is_straight;
    if can_fail && store.data().left > 0 && store.data_mut().choices.one_in(3) {
        return Ok(End::Fail(Instead(number).into()));
    }
    Ok(End::Return)
}
