//! Child processes with limits, and stores in all configurations.

use std::process::Command;
use stillframe::{Config, Engine, Error, FrameState, Func, Instance, Module, Store, Trap, Val};

/// Whether this process is the child that shall run the test with this path. If not, runs that, with a
/// minute of processor time and 4 GiB.
pub fn in_child(name: &str) -> bool {
    const CHILD: &str = "STILLFRAME_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    // Not address space, of which each memory takes 8 GiB.
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -t 60; ulimit -d 4194304; exec "$@""#, "sh"]);
    command.arg(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(CHILD, "1");
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).chars().take(3000).collect::<String>();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "{stdout}");
    false
}

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

/// Which trap an error is.
#[track_caller]
pub fn trap(error: &Error) -> Trap {
    *error.downcast_ref().unwrap_or_else(|| panic!("not a trap: {error:?}"))
}
