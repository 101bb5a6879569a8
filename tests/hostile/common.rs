//! Stores in all configurations, and what guests compute in them.

use stillframe::{Config, Engine, Error, FrameState, Func, Instance, Module, Store, Trap, Val};

/// How a guest is compiled.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub fuel: bool,
    pub epochs: bool,
    pub frame_state: FrameState,
    /// As functions are that would take too long to compile as usual.
    pub plain: bool,
}

/// The cheapest way, and the one that adds most to the code.
pub const LITTLE_AND_MUCH: [Way; 2] = [
    Way { fuel: false, epochs: false, frame_state: FrameState::Live, plain: false },
    Way { fuel: true, epochs: true, frame_state: FrameState::All, plain: false },
];

/// All ways.
pub fn ways() -> impl Iterator<Item = Way> {
    let states = [FrameState::Off, FrameState::Live, FrameState::All];
    states.into_iter().flat_map(|frame_state| {
        (0..8).map(move |bits| Way {
            fuel: bits & 1 != 0,
            epochs: bits & 2 != 0,
            frame_state,
            plain: bits & 4 != 0,
        })
    })
}

impl Way {
    pub fn config(&self) -> Config {
        let mut config = Config::new();
        config
            .consume_fuel(self.fuel)
            .epoch_interruption(self.epochs)
            .frame_state(self.frame_state)
            .plain_code(self.plain);
        config
    }

    /// A store whose guests may run for long.
    pub fn store(&self, engine: &Engine) -> Store<()> {
        let mut store = Store::new(engine, ());
        if self.fuel {
            store.set_fuel(FUEL).unwrap();
        }
        store.set_epoch_deadline(1_000);
        store
    }
}

/// More fuel than any guest takes that ends.
pub const FUEL: u64 = 1 << 40;

/// An instance of a module without imports, in a store of its own.
pub fn instance(config: &Config, way: &Way, wasm: &[u8]) -> (Store<()>, Instance) {
    let engine = Engine::new(config).unwrap();
    let module = Module::new(&engine, wasm).unwrap_or_else(|error| panic!("{way:?}: {error:#}"));
    let mut store = way.store(&engine);
    let instance = Instance::new(&mut store, &module, &[]).unwrap();
    (store, instance)
}

/// Calls a function with one result.
pub fn call(store: &mut Store<()>, func: Func, params: &[Val]) -> Result<Val, Error> {
    let mut results = [Val::I32(0)];
    func.call(store, params, &mut results)?;
    Ok(results[0])
}

/// The function `f` of a module computes this for 5, in both ways.
#[track_caller]
pub fn computes(wasm: &[u8], expected: i32) {
    computes_in(&LITTLE_AND_MUCH, wasm, expected);
}

/// The same in these.
#[track_caller]
pub fn computes_in(ways: &[Way], wasm: &[u8], expected: i32) {
    for way in ways {
        let (mut store, instance) = instance(&way.config(), way, wasm);
        let f = instance.get_func(&mut store, "f").unwrap();
        let result = call(&mut store, f, &[Val::I32(5)]).unwrap();
        assert_eq!(result.unwrap_i32(), expected, "{way:?}");
    }
}

/// So many times what `text` writes.
pub fn repeat(times: usize, mut text: impl FnMut(&mut String, usize)) -> String {
    let mut all = String::new();
    (0..times).for_each(|i| text(&mut all, i));
    all
}

/// Which trap an error is.
#[track_caller]
pub fn trap(error: &Error) -> Trap {
    *error.downcast_ref().unwrap_or_else(|| panic!("not a trap: {error:?}"))
}
