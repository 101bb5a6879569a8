//! The columns: which engine, and what is switched on beside its default settings.

use std::fmt;

/// An engine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// This project.
    Stillframe,
    /// Wasmtime.
    Wasmtime,
    /// Wasmi, an interpreter.
    Wasmi,
}

/// What frames can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frames {
    /// Nothing.
    Off,
    /// The values that are still needed; Stillframe's `FrameState::Live`.
    Live,
    /// All values; Stillframe's `FrameState::All`, wasmtime's `guest_debug`.
    All,
    /// As `Live`, and values can be written.
    LiveWrites,
}

/// One column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Configuration {
    /// Whose code.
    pub engine: Engine,
    /// Whether it counts fuel.
    pub fuel: bool,
    /// Whether it tests epochs.
    pub epoch: bool,
    /// Whether its frames can be read.
    pub frames: Frames,
    /// Whether an inliner that is off by default is on.
    pub inlining: bool,
}

const fn of(engine: Engine, fuel: bool, epoch: bool, frames: Frames) -> Configuration {
    Configuration { engine, fuel, epoch, frames, inlining: false }
}

const fn ours(fuel: bool, epoch: bool, frames: Frames) -> Configuration {
    of(Engine::Stillframe, fuel, epoch, frames)
}

const fn wasmtime(fuel: bool, epoch: bool, frames: Frames) -> Configuration {
    of(Engine::Wasmtime, fuel, epoch, frames)
}

impl Configuration {
    /// What all are compared to: wasmtime with its default settings.
    pub const REFERENCE: Configuration = wasmtime(false, false, Frames::Off);

    /// All, in the order of the columns.
    pub const ALL: [Configuration; 18] = [
        Configuration::REFERENCE,
        Configuration { inlining: true, ..Configuration::REFERENCE },
        wasmtime(true, false, Frames::Off),
        wasmtime(false, true, Frames::Off),
        wasmtime(true, true, Frames::Off),
        wasmtime(false, false, Frames::All),
        wasmtime(true, true, Frames::All),
        ours(false, false, Frames::Off),
        ours(true, false, Frames::Off),
        ours(false, true, Frames::Off),
        ours(true, true, Frames::Off),
        ours(false, false, Frames::Live),
        ours(false, false, Frames::All),
        ours(true, true, Frames::Live),
        ours(false, false, Frames::LiveWrites),
        ours(true, true, Frames::LiveWrites),
        of(Engine::Wasmi, false, false, Frames::Off),
        of(Engine::Wasmi, true, false, Frames::Off),
    ];

    /// What is switched on, such as `fuel+epoch+Live`; `plain` if nothing is.
    pub fn setting(&self) -> String {
        let frames = match (self.engine, self.frames) {
            (_, Frames::Off) => None,
            (Engine::Wasmtime, _) => Some("guest_debug"),
            (_, Frames::Live) => Some("Live"),
            (_, Frames::All) => Some("All"),
            (_, Frames::LiveWrites) => Some("Live+writes"),
        };
        let parts = [
            self.inlining.then_some("inlining"),
            self.fuel.then_some("fuel"),
            self.epoch.then_some("epoch"),
            frames,
        ];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        if parts.is_empty() { "plain".into() } else { parts.join("+") }
    }

    /// Those of `all` that `texts` choose: one whose name is the text, or else all whose names
    /// contain it, whatever the case of letters. All of them if there are no texts.
    pub fn chosen(all: &[Configuration], texts: &[String]) -> Vec<Configuration> {
        let names = |configuration: &Configuration| configuration.to_string().to_lowercase();
        let wanted = |configuration: &Configuration| {
            texts.iter().any(|text| {
                let text = text.to_lowercase();
                let is_a_name = all.iter().any(|other| names(other) == text);
                let name = names(configuration);
                if is_a_name { name == text } else { name.contains(&text) }
            })
        };
        all.iter().copied().filter(|one| texts.is_empty() || wanted(one)).collect()
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Engine::Stillframe => "Stillframe",
            Engine::Wasmtime => "wasmtime",
            Engine::Wasmi => "wasmi",
        })
    }
}

/// The engine and the setting.
impl fmt::Display for Configuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.engine, self.setting())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(texts: &[&str]) -> Vec<String> {
        let texts: Vec<_> = texts.iter().map(|text| text.to_string()).collect();
        let chosen = Configuration::chosen(&Configuration::ALL, &texts);
        chosen.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_are_distinct_and_say_what_is_on() {
        let names = chosen(&[]);
        assert_eq!(names.len(), Configuration::ALL.len());
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "two columns are called {name}");
        }
        assert_eq!(names[0], "wasmtime plain");
        assert_eq!(names[6], "wasmtime fuel+epoch+guest_debug");
        assert!(names.iter().any(|name| name == "Stillframe fuel+epoch+Live+writes"));
    }

    #[test]
    fn a_whole_name_chooses_one_and_a_part_all_that_have_it() {
        assert_eq!(chosen(&["stillframe fuel"]), ["Stillframe fuel"]);
        assert_eq!(chosen(&["WASMI"]), ["wasmi plain", "wasmi fuel"]);
        assert_eq!(chosen(&["all", "wasmtime plain"]), ["wasmtime plain", "Stillframe All"]);
        assert!(chosen(&["nothing of the kind"]).is_empty());
    }
}
