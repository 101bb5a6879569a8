//! Engines, modules and stores, made, used, mixed up and dropped in any order.

use super::calls::{Kept, noted, operate};
use super::data::Data;
use super::guests::{OWNER, USER};
use super::{Outcome, misuse};
use crate::configs::Settings;
use crate::panics::expected;
use crate::{Choices, threads};
use anyhow::{Context as _, Result, bail, ensure};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use stillframe::{
    AsContextMut, Engine, EngineWeak, FrameHandle, Instance, Linker, Module, ResumeRefused, Store,
    Val,
};

/// Engines at once, at most.
const ENGINES: usize = 3;
/// Stores at once, at most.
const STORES: usize = 4;
/// Settings for which what was compiled is kept, at most.
const COMPILED_KEPT: usize = 500;
/// Operations on the world.
const OPERATIONS: usize = 60;

struct World<'a> {
    choices: Choices<'a>,
    engines: Vec<Made>,
    stores: Vec<Store<Data>>,
    /// Suspended calls whose stores are gone, and handles of their frames.
    orphans: Vec<Kept>,
    handles: Vec<FrameHandle>,
    /// All engines that there have been.
    weak: Vec<EngineWeak>,
    token: Arc<()>,
    seen: Outcome,
}

/// An engine, with modules.
struct Made {
    engine: Engine,
    settings: Settings,
    modules: [Module; 2],
}

/// Runs a world.
pub(super) fn run(choices: Choices<'_>) -> Result<Outcome> {
    let mut world = World {
        choices,
        engines: Vec::new(),
        stores: Vec::new(),
        orphans: Vec::new(),
        handles: Vec::new(),
        weak: Vec::new(),
        token: Arc::new(()),
        seen: Outcome { worlds: 1, ..Outcome::default() },
    };
    world.new_engine()?;
    world.new_store();
    for _ in 0..OPERATIONS {
        world.step()?;
    }
    world.end()
}

impl World<'_> {
    fn step(&mut self) -> Result<()> {
        match self.choices.below(24) {
            0 => self.new_engine()?,
            1 => self.drop_engine(),
            2 | 3 => self.new_store(),
            4 if self.choices.one_in(2) => self.drop_store(),
            5 => self.reload()?,
            6 | 7 => self.mix_up()?,
            8 => self.mix_engines()?,
            9 => self.use_orphans()?,
            10 | 11 => self.move_store()?,
            _ => {
                let Some(index) = self.any_store() else { return Ok(()) };
                many(&mut self.stores[index])?;
            }
        }
        Ok(())
    }

    fn any_store(&mut self) -> Option<usize> {
        (!self.stores.is_empty()).then(|| self.choices.below(self.stores.len()))
    }

    fn new_engine(&mut self) -> Result<()> {
        if self.engines.len() >= ENGINES {
            return Ok(());
        }
        let settings = Settings::choose(&mut self.choices);
        let mut config = settings.config();
        config.max_nested_calls(self.choices.pick(&[1000, 1000, 2, 4]));
        config.max_wasm_stack(self.choices.pick(&[1 << 20, 64 << 10]));
        config.frame_cache_size(self.choices.pick(&[4096, 0, 1]));
        let engine = Engine::new(&config)?;
        let modules = modules(&engine, &settings)?;
        ensure!(Module::new(&engine, "(module (func (drop)))").is_err(), "an invalid module");
        self.weak.push(engine.weak());
        self.engines.push(Made { engine, settings, modules });
        self.seen.engines += 1;
        Ok(())
    }

    /// Gives handles up; stores and modules that are left keep the engine.
    fn drop_engine(&mut self) {
        if self.engines.len() > 1 {
            let index = self.choices.below(self.engines.len());
            drop(self.engines.swap_remove(index));
        }
    }

    fn new_store(&mut self) {
        if self.stores.len() >= STORES {
            return;
        }
        let made = &self.engines[self.choices.below(self.engines.len())];
        let (settings, modules) = (made.settings.clone(), made.modules.clone());
        let choices = Choices::new(&self.choices.number().to_le_bytes()).into_owned();
        let data = Data::new(choices, settings, modules, self.token.clone());
        let mut store = Store::new(&made.engine, data);
        store.limiter(|data| &mut data.limits);
        store.set_epoch_deadline(self.choices.pick(&[0, 1, 1 << 40]));
        if made.settings.fuel {
            let fuel = self.choices.pick(&[0, 500, 1 << 40]);
            store.set_fuel(fuel).expect("it counts fuel");
            store.data_mut().books.set(fuel);
        }
        self.stores.push(store);
        self.seen.stores += 1;
    }

    /// Drops a store. Some of its suspended calls live on.
    fn drop_store(&mut self) {
        let Some(index) = self.any_store() else { return };
        let mut store = self.stores.swap_remove(index);
        let mut kept = std::mem::take(&mut store.data_mut().kept);
        let lives = self.choices.below(kept.len() + 1);
        self.orphans.extend(kept.drain(..lives));
        self.seen.orphans += lives as u64;
        store.data_mut().kept = kept;
        self.handles.append(&mut store.data_mut().handles);
        self.seen += store.data().seen;
        match self.choices.below(3) {
            0 => drop(store.into_data()),
            1 => threads::elsewhere(move || drop(store)),
            _ => drop(store),
        }
    }

    /// A module goes through bytes.
    fn reload(&mut self) -> Result<()> {
        let from = self.choices.below(self.engines.len());
        let to = self.choices.below(self.engines.len());
        let bytes = self.engines[from].modules[1].serialize()?;
        let module = of_bytes(&self.engines[to].engine, &bytes);
        let (a, b) = (&self.engines[from].settings, &self.engines[to].settings);
        // Other settings than the compiler's do not matter.
        ensure!(module.is_ok() || a != b, "refused by an engine that is alike: {:?}", module.err());
        if let Ok(module) = module {
            self.engines[to].modules[1] = module;
            self.seen.reloaded += 1;
        }
        Ok(())
    }

    /// Objects and calls of one store are used with another one.
    fn mix_up(&mut self) -> Result<()> {
        if self.stores.len() < 2 {
            return Ok(());
        }
        let mut other = self.stores.swap_remove(self.choices.below(self.stores.len()));
        let index = self.choices.below(self.stores.len());
        let store = &mut self.stores[index];
        let mixed = match self.choices.one_in(3) {
            true => misuse::resumed_elsewhere(store, &mut other),
            false => misuse::between(store, &mut other),
        };
        self.stores.push(other);
        mixed
    }

    /// Modules of one engine are used with another one.
    fn mix_engines(&mut self) -> Result<()> {
        if self.engines.len() < 2 {
            return Ok(());
        }
        let made = self.engines.swap_remove(self.choices.below(self.engines.len()));
        let module = &made.modules[0];
        let other = &self.engines[self.choices.below(self.engines.len())].engine;
        let mut store = Store::new(other, ());
        let text = match self.choices.one_in(2) {
            true => expected(|| drop(Instance::new(&mut store, module, &[]))).err(),
            false => {
                let linker = Linker::<()>::new(other);
                expected(|| drop(linker.instantiate_pre(module))).err()
            }
        };
        let text = text.context("a module of another engine was used")?;
        ensure!(text.contains("of another engine"), "it panicked: {text}");
        self.seen.panics += 1;
        self.engines.push(made);
        Ok(())
    }

    /// Suspended calls whose store is gone can be looked at, resumed in vain, and dropped.
    fn use_orphans(&mut self) -> Result<()> {
        let Some(mut kept) = self.orphans.pop() else { return Ok(()) };
        std::hint::black_box(format!("{:?}", kept.call));
        let Some(index) = self.any_store() else { return Ok(()) };
        let store = &mut self.stores[index];
        for handle in &self.handles {
            ensure!(!handle.is_valid(&*store), "a handle of a store that is gone is valid");
        }
        use crate::resuming::{Resumed, resume};
        kept.call = match resume(&mut *store, kept.call, &[Val::I32(0)], &mut [Val::I32(0)]) {
            Resumed::Refused(call, ResumeRefused::WrongStore) => call,
            Resumed::Refused(_, reason) => bail!("refused elsewhere with {reason}"),
            Resumed::Went(_) => bail!("it went on elsewhere"),
        };
        match self.choices.one_in(2) {
            true => threads::elsewhere(move || drop(kept)),
            false => self.orphans.insert(0, kept),
        }
        Ok(())
    }

    /// A store, with all that is suspended in it, is used on another thread.
    fn move_store(&mut self) -> Result<()> {
        let Some(index) = self.any_store() else { return Ok(()) };
        let mut store = self.stores.swap_remove(index);
        let (store, done) = threads::elsewhere(move || {
            let done = many(&mut store);
            (store, done)
        });
        self.stores.push(store);
        self.seen.moves += 1;
        done
    }

    /// Everything is dropped, in any order, and then nothing is left.
    fn end(mut self) -> Result<Outcome> {
        while !(self.stores.is_empty() && self.orphans.is_empty() && self.engines.is_empty()) {
            match self.choices.below(3) {
                0 => self.drop_store(),
                1 => drop(self.orphans.pop()),
                _ => drop(self.engines.pop()),
            }
        }
        // They keep the modules of their frames.
        self.handles.clear();
        let tokens = Arc::strong_count(&self.token);
        ensure!(tokens == 1, "{} objects of the host's are left", tokens - 1);
        let left = self.weak.iter().filter(|weak| weak.upgrade().is_some()).count();
        ensure!(left == 0, "{left} engines are left");
        Ok(self.seen)
    }
}

#[allow(unsafe_code)]
fn of_bytes(engine: &Engine, bytes: &[u8]) -> Result<Module> {
    // SAFETY: trusted code: the bytes were made by `Module::serialize` in this process, and nobody
    // has changed them.
    unsafe { Module::deserialize(engine, bytes) }
}

/// The guests, compiled for an engine. What was compiled for these settings once comes from bytes:
/// compiling is most of the time otherwise.
fn modules(engine: &Engine, settings: &Settings) -> Result<[Module; 2]> {
    static COMPILED: Mutex<BTreeMap<String, [Vec<u8>; 2]>> = Mutex::new(BTreeMap::new());
    let key = format!("{settings:?}");
    let known = || COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some([owner, user]) = known().get(&key) {
        return Ok([of_bytes(engine, owner)?, of_bytes(engine, user)?]);
    }
    let modules = [Module::new(engine, OWNER)?, Module::new(engine, USER)?];
    let bytes = [modules[0].serialize()?, modules[1].serialize()?];
    let mut known = known();
    if known.len() < COMPILED_KEPT {
        known.insert(key, bytes);
    }
    Ok(modules)
}

/// Some operations in a store, outside of all calls.
fn many(store: &mut Store<Data>) -> Result<()> {
    store.data_mut().left = store.data().left.max(60);
    for _ in 0..8 {
        operate(store.as_context_mut())?;
        noted(store.data_mut())?;
    }
    ensure!(store.frames().next().is_none(), "no call runs, and there are frames");
    ensure!(store.data().depth == 0, "calls are left");
    Ok(())
}
