//! The guests and the model for accesses at a memory's end: what the specification says of each.

use stillframe::{Engine, Instance, Memory, Module, Store, Trap, Val};

/// A store with an instance whose memory `m` is tried, and whose memory `n` must stay as it is.
pub struct Guest {
    pub store: Store<()>,
    pub instance: Instance,
    pub memory: Memory,
    neighbour: Memory,
    pub is_64: bool,
}

/// Bytes at both ends of a memory that hold a pattern and are compared.
const WATCHED: usize = 2 << 16;

/// What byte `at` holds at first, if it is watched.
pub fn pattern(at: usize) -> u8 {
    (at as u8).wrapping_mul(31) ^ (at >> 8) as u8 ^ 0x5a
}

impl Guest {
    /// Instantiates `body` between two memories; `imports` are given as they are.
    pub fn new(engine: &Engine, wat: &str, is_64: bool, imported: Option<u32>) -> Guest {
        let module = Module::new(engine, wat).unwrap();
        Guest::of(&module, is_64, imported)
    }

    pub fn of(module: &Module, is_64: bool, imported: Option<u32>) -> Guest {
        let mut store = Store::new(module.engine(), ());
        let imports: Vec<_> = imported
            .map(|pages| Memory::new(&mut store, stillframe::MemoryType::new(pages, None)).unwrap())
            .into_iter()
            .map(Into::into)
            .collect();
        let instance = Instance::new(&mut store, module, &imports).unwrap();
        let [memory, neighbour] =
            ["m", "n"].map(|name| instance.get_memory(&mut store, name).unwrap());
        let mut guest = Guest { store, instance, memory, neighbour, is_64 };
        guest.neighbour.data_mut(&mut guest.store).fill(0x77);
        guest.restore();
        guest
    }

    /// The size in bytes.
    pub fn len(&self) -> usize {
        self.memory.data_size(&self.store)
    }

    /// The parts of the memory that are watched.
    fn watched(&self) -> [std::ops::Range<usize>; 2] {
        let len = self.len();
        let low = len.min(WATCHED);
        [0..low, len.saturating_sub(WATCHED).max(low)..len]
    }

    /// What byte `at` holds before anybody writes to it.
    pub fn first(&self, at: usize) -> u8 {
        let watched = self.watched().iter().any(|range| range.contains(&at));
        if watched { pattern(at) } else { 0 }
    }

    /// Writes the pattern.
    pub fn restore(&mut self) {
        let watched = self.watched();
        let bytes = self.memory.data_mut(&mut self.store);
        for at in watched.into_iter().flatten() {
            bytes[at] = pattern(at);
        }
    }

    /// That the watched bytes hold what they should: the pattern, but for `written` from `at` on.
    #[track_caller]
    pub fn check(&self, at: usize, written: &[u8], what: &dyn Fn() -> String) {
        let bytes = self.memory.data(&self.store);
        for range in self.watched() {
            for i in range.step_by(8) {
                let expected: [u8; 8] = std::array::from_fn(|k| {
                    let i = i + k;
                    let own = i.checked_sub(at).and_then(|i| written.get(i));
                    own.copied().unwrap_or_else(|| pattern(i))
                });
                assert_eq!(bytes[i..i + 8], expected, "at {i:#x}: {}", what());
            }
        }
        self.check_neighbour(what);
    }

    /// That the memory beside it is as it was.
    #[track_caller]
    pub fn check_neighbour(&self, what: &dyn Fn() -> String) {
        let bytes = self.neighbour.data(&self.store);
        assert!(bytes.iter().all(|byte| *byte == 0x77), "the neighbour: {}", what());
    }

    /// A value of the memory's index type.
    pub fn index(&self, value: u64) -> Val {
        if self.is_64 { Val::I64(value as i64) } else { Val::I32(value as i32) }
    }

    /// Calls a function; `None` if it has trapped because of a memory's bounds.
    #[track_caller]
    pub fn call(&mut self, name: &str, args: &[Val], results: &mut [Val]) -> Option<()> {
        let func = self.instance.get_func(&mut self.store, name).unwrap();
        match func.call(&mut self.store, args, results) {
            Ok(()) => Some(()),
            Err(error) => {
                let trap = error.downcast_ref::<Trap>();
                assert_eq!(trap, Some(&Trap::MemoryOutOfBounds), "{name}{args:?}: {error:?}");
                None
            }
        }
    }
}
