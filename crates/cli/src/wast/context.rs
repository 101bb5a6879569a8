//! What a script has made so far: its store, its instances, and the names it gave them.

use super::{Options, spectest};
use anyhow::{Context as _, Result, anyhow};
use std::collections::HashMap;
use stillframe::{Config, Engine, Func, Instance, Linker, Module, Store, Val};
use wast::token::Id;
use wast::{QuoteWat, Wat};

/// The data of the script's store: none.
pub(super) type Data = ();

/// The state of a running script. All its instances live in one store, as they may share memories
/// and tables.
pub(super) struct Context<'a> {
    options: Options,
    engine: Engine,
    pub(super) store: Store<Data>,
    pub(super) linker: Linker<Data>,
    /// The instance that directives without a name mean; none after a module that failed.
    current: Option<Instance>,
    instances: HashMap<&'a str, Instance>,
    /// What `module definition` made: by name, and the latest under no name.
    definitions: HashMap<Option<&'a str>, Module>,
}

impl<'a> Context<'a> {
    pub(super) fn new(options: Options) -> Result<Context<'a>> {
        let mut config = Config::new();
        config
            .consume_fuel(options.fuel.is_some())
            .epoch_interruption(options.epochs)
            .plain_code(options.plain_code)
            .single_pass(options.single_pass);
        let engine = Engine::new(&config)?;
        let mut store = Store::new(&engine, ());
        if options.epochs {
            // The epoch stands still: any deadline in the future will do.
            store.set_epoch_deadline(1);
        }
        let mut linker = Linker::new(&engine);
        linker.allow_shadowing(true);
        spectest::define(&mut linker, &mut store)?;
        Ok(Context {
            options,
            engine,
            store,
            linker,
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
        })
    }

    /// Compiles a module of the script.
    pub(super) fn compile(&self, module: &mut QuoteWat<'_>) -> Result<Module> {
        Module::new(&self.engine, encode(module)?)
    }

    /// Compiles a module that stands in the script as text without quotes.
    pub(super) fn compile_wat(&self, module: &mut Wat<'_>) -> Result<Module> {
        let bytes = module.encode().map_err(|error| anyhow!(error.message()))?;
        Module::new(&self.engine, bytes)
    }

    /// Keeps a module for later instantiation.
    pub(super) fn define(&mut self, name: Option<Id<'a>>, module: Module) {
        self.definitions.insert(None, module.clone());
        if let Some(name) = name {
            self.definitions.insert(Some(name.name()), module);
        }
    }

    /// A module that was kept: the one of that name, or the latest.
    pub(super) fn definition(&self, name: Option<Id<'a>>) -> Result<Module> {
        let name = name.map(|id| id.name());
        self.definitions.get(&name).cloned().with_context(|| match name {
            Some(name) => format!("there is no module definition ${name}"),
            None => "there is no module definition".to_string(),
        })
    }

    /// Instantiates a module, without making it the current one.
    pub(super) fn instantiate(&mut self, module: &Module) -> Result<Instance> {
        self.refuel()?;
        self.linker.instantiate(&mut self.store, module)
    }

    /// Makes an instance, or that there is none, current.
    pub(super) fn set_current(&mut self, name: Option<Id<'a>>, instance: Option<Instance>) {
        self.current = instance;
        match (name, instance) {
            (Some(name), Some(instance)) => drop(self.instances.insert(name.name(), instance)),
            (Some(name), None) => drop(self.instances.remove(name.name())),
            (None, _) => {}
        }
    }

    /// The instance of that name, or the current one.
    pub(super) fn instance(&self, name: Option<Id<'a>>) -> Result<Instance> {
        match name {
            Some(name) => {
                let found = self.instances.get(name.name()).copied();
                found.with_context(|| format!("there is no instance ${}", name.name()))
            }
            None => self.current.context("there is no instance, or the latest module failed"),
        }
    }

    /// Calls a function of any type.
    pub(super) fn call(&mut self, func: Func, params: &[Val]) -> Result<Vec<Val>> {
        self.refuel()?;
        let ty = func.ty(&self.store);
        let mut results: Vec<Val> =
            ty.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
        func.call(&mut self.store, params, &mut results)?;
        Ok(results)
    }

    fn refuel(&mut self) -> Result<()> {
        if let Some(fuel) = self.options.fuel {
            self.store.set_fuel(fuel)?;
        }
        Ok(())
    }
}

/// The bytes of a module, whichever way the script has it.
pub(super) fn encode(module: &mut QuoteWat<'_>) -> Result<Vec<u8>> {
    module.encode().map_err(|error| anyhow!(error.message()))
}
