//! What a run has done, and what it leaves behind.

use super::host::Host;
use super::values::show;
use anyhow::{Context as _, Error, Result, ensure};
use stillframe::{Extern, Instance, Store, Trap, UncaughtException, Val};

/// The results of a call, or what it ended in.
pub(super) type Ending = Result<Vec<String>, String>;

/// A call, and how it ended.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Called {
    pub(super) name: String,
    pub(super) ended: Ending,
    /// Units that it has consumed, without those of other instances.
    pub(super) consumed: u64,
}

/// A run of an instance.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// What instantiating ended in, if it failed.
    pub(super) instantiated: Result<(), String>,
    pub(super) calls: Vec<Called>,
    /// Whether `consumed` counts.
    pub(super) counts_fuel: bool,
    /// Calls of host functions, and what they did.
    pub(super) log: Vec<String>,
    pub(super) left: Left,
}

/// What an instance exports beside functions, as it is at the end.
#[derive(Clone, Default)]
pub(super) struct Left {
    memories: Vec<Vec<u8>>,
    globals: Vec<String>,
    tables: Vec<Vec<String>>,
}

impl Run {
    /// Compares another run with this one, which is right.
    pub(super) fn compare(&self, other: &Run) -> Result<()> {
        let (right, wrong) = (&self.instantiated, &other.instantiated);
        ensure!(right == wrong, "instantiating: {wrong:?} instead of {right:?}");
        for (i, (right, wrong)) in self.log.iter().zip(&other.log).enumerate() {
            ensure!(right == wrong, "event {i} is {wrong} instead of {right}");
        }
        for (right, wrong) in self.calls.iter().zip(&other.calls) {
            let Called { name, ended, consumed } = right;
            ensure!(*name == wrong.name && *ended == wrong.ended, "{wrong:?} instead of {right:?}");
            ensure!(
                *consumed == wrong.consumed || !other.counts_fuel,
                "{name} consumed {} units instead of {consumed}",
                wrong.consumed
            );
        }
        let counts = |run: &Run| (run.calls.len(), run.log.len());
        let (right, wrong) = (counts(self), counts(other));
        ensure!(right == wrong, "{wrong:?} calls and events instead of {right:?}");
        self.left.compare(&other.left)
    }
}

impl Left {
    /// What an instance has now.
    pub(super) fn of(store: &mut Store<Host>, lane: usize, instance: Instance) -> Left {
        let exports: Vec<Extern> =
            instance.exports(&*store).map(|export| export.into_extern()).collect();
        let mut left = Left::default();
        for export in exports {
            match export {
                Extern::Memory(memory) => left.memories.push(memory.data(&*store).to_vec()),
                Extern::Global(global) => {
                    let value = global.get(&mut *store);
                    left.globals.push(show(&*store, lane, &value));
                }
                Extern::Table(table) => {
                    let elements = (0..table.size(&*store)).map(|i| {
                        let element = table.get(&mut *store, i).expect("within its size");
                        show(&*store, lane, &Val::from(element))
                    });
                    left.tables.push(elements.collect());
                }
                Extern::Func(_) => {}
            }
        }
        left
    }

    fn compare(&self, other: &Left) -> Result<()> {
        let (right, wrong) = (&self.globals, &other.globals);
        ensure!(right == wrong, "globals are {wrong:?} instead of {right:?}");
        let (right, wrong) = (&self.tables, &other.tables);
        ensure!(right == wrong, "tables are {wrong:?} instead of {right:?}");
        for (i, (right, wrong)) in self.memories.iter().zip(&other.memories).enumerate() {
            let (a, b) = (right.len(), wrong.len());
            ensure!(a == b, "memory {i} has {b} bytes instead of {a}");
            let at = right.iter().zip(wrong).position(|(a, b)| a != b);
            ensure!(at.is_none(), "memory {i} differs at {at:?}");
        }
        Ok(())
    }
}

impl std::fmt::Debug for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Left").field("globals", &self.globals).finish_non_exhaustive()
    }
}

/// What a call ended in, as text: which trap, that an exception was not caught.
pub(super) fn kind(error: &Error) -> String {
    if let Some(trap) = error.downcast_ref::<Trap>() {
        return format!("{trap:?}");
    }
    match error.downcast_ref::<UncaughtException>() {
        Some(_) => "exception".into(),
        None => error.root_cause().to_string(),
    }
}

/// Whether the runs must not be compared from here on: that depends on the engine's settings.
pub(super) fn is_no_contract(error: &Error) -> bool {
    matches!(error.downcast_ref(), Some(Trap::StackOverflow | Trap::OutOfFuel))
}

/// The failure that a host function has noted, if there is one.
pub(super) fn check(host: &mut Host) -> Result<()> {
    host.failure.take().map_or(Ok(()), Err).context("noted by a host function")
}
