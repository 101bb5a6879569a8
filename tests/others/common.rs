//! Guests in a few lines.

use stillframe::{Config, Engine, Error, Extern, Instance, Module, OptLevel, Store, Trap, Val};

/// More fuel than any call here takes.
pub const PLENTY: u64 = 1 << 40;

/// An engine with these settings.
pub fn engine(set: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    set(&mut config);
    Engine::new(&config).unwrap()
}

/// An engine that counts fuel.
pub fn metered() -> Engine {
    engine(|config| {
        config.consume_fuel(true);
    })
}

/// Engines whose code differs as much as it can.
pub fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for level in [OptLevel::None, OptLevel::Speed] {
        for (fuel, inlining) in [(false, true), (true, true), (true, false)] {
            engines.push(engine(|config| {
                config.cranelift_opt_level(level).consume_fuel(fuel).inlining(inlining);
            }));
        }
    }
    engines
}

/// A module, which must compile.
#[track_caller]
pub fn module(engine: &Engine, wat: &str) -> Module {
    Module::new(engine, wat).unwrap_or_else(|error| panic!("{error:?}\n{wat}"))
}

/// A store with an instance of a module with these imports, and `PLENTY` if it counts.
#[track_caller]
pub fn guest(
    engine: &Engine,
    wat: &str,
    imports: impl FnOnce(&mut Store<()>) -> Vec<Extern>,
) -> (Store<()>, Instance) {
    let module = module(engine, wat);
    let mut store = Store::new(engine, ());
    let _ = store.set_fuel(PLENTY);
    let imports = imports(&mut store);
    let instance = Instance::new(&mut store, &module, &imports).unwrap();
    (store, instance)
}

/// The same without imports.
#[track_caller]
pub fn alone(engine: &Engine, wat: &str) -> (Store<()>, Instance) {
    guest(engine, wat, |_| Vec::new())
}

/// Calls an exported function.
#[track_caller]
pub fn call<T: 'static>(
    store: &mut Store<T>,
    instance: Instance,
    name: &str,
    args: &[Val],
) -> Result<Vec<Val>, Error> {
    let func = instance.get_func(&mut *store, name).unwrap_or_else(|| panic!("no `{name}`"));
    let mut results = vec![Val::I32(0); func.ty(&*store).results().len()];
    func.call(store, args, &mut results)?;
    Ok(results)
}

/// The trap in which a call ended.
#[track_caller]
pub fn trap_of<R: std::fmt::Debug>(called: Result<R, Error>) -> Trap {
    let error = called.expect_err("it should trap");
    *error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("not a trap: {error:?}"))
}

/// The message of the panic in which `body` ends.
#[track_caller]
pub fn panic_of<R>(body: impl FnOnce() -> R) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
    let payload = panic.err().expect("it should panic");
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => payload.downcast::<&str>().expect("a text").to_string(),
    }
}
