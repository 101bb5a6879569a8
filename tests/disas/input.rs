//! The inputs: what their headers say.

use super::listing::Part;
use stillframe_abi::artifact::FrameState;
use stillframe_translate::CompilerOptions;

/// An input's header: the lines that start with `;;!`.
///
/// ```text
/// ;;! What it is, on any number of lines.
/// ;;! show: loop $name        (or `function $name`; any number of them)
/// ;;! configurations: all     (or some, by name, with commas)
/// ```
#[derive(Debug, PartialEq)]
pub(super) struct Header {
    /// The functions that are shown, and what of each.
    pub(super) show: Vec<(Part, String)>,
    /// In which configurations.
    pub(super) configurations: Vec<Configuration>,
}

/// A configuration, by its name in [`CONFIGURATIONS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Configuration {
    pub(super) name: &'static str,
    fuel: bool,
    epochs: bool,
    frames: FrameState,
}

/// All configurations that there are.
pub(super) const CONFIGURATIONS: [Configuration; 7] = [
    configuration("plain", false, false, FrameState::Off),
    configuration("fuel", true, false, FrameState::Off),
    configuration("epoch", false, true, FrameState::Off),
    configuration("fuel + epoch", true, true, FrameState::Off),
    configuration("Live", false, false, FrameState::Live),
    configuration("All", false, false, FrameState::All),
    configuration("fuel + epoch + Live", true, true, FrameState::Live),
];

const fn configuration(
    name: &'static str,
    fuel: bool,
    epochs: bool,
    frames: FrameState,
) -> Configuration {
    Configuration { name, fuel, epochs, frames }
}

impl Configuration {
    /// Everything else is as users get it.
    pub(super) fn options(&self) -> CompilerOptions {
        CompilerOptions {
            fuel: self.fuel,
            epochs: self.epochs,
            frame_state: self.frames,
            parallel: false,
            ..CompilerOptions::default()
        }
    }
}

impl Header {
    /// Reads the header of an input; what is wrong with it, otherwise.
    pub(super) fn parse(wat: &str) -> Result<Header, String> {
        let mut header = Header { show: Vec::new(), configurations: Vec::new() };
        for line in wat.lines().filter_map(|line| line.strip_prefix(";;! ")) {
            if let Some(show) = line.strip_prefix("show: ") {
                let (part, name) = match show.split_once(" $") {
                    Some(("function", name)) => (Part::Function, name),
                    Some(("loop", name)) => (Part::Loops, name),
                    _ => return Err(format!("neither `function $name` nor `loop $name`: {show}")),
                };
                header.show.push((part, name.to_string()));
            } else if line == "configurations: all" {
                header.configurations.extend(CONFIGURATIONS);
            } else if let Some(names) = line.strip_prefix("configurations: ") {
                for name in names.split(", ") {
                    let found = CONFIGURATIONS.iter().find(|known| known.name == name);
                    let found = found.ok_or_else(|| format!("there is no configuration {name}"))?;
                    header.configurations.push(*found);
                }
            }
        }
        if header.show.is_empty() || header.configurations.is_empty() {
            return Err("the header has no `;;! show:` or no `;;! configurations:`".into());
        }
        Ok(header)
    }
}

#[test]
fn headers_are_read_and_what_they_do_not_know_is_an_error() {
    let header = Header::parse(";;! Text.\n;;! show: loop $f\n;;! configurations: All, plain\n");
    let header = header.unwrap();
    assert_eq!(header.show, [(Part::Loops, "f".to_string())]);
    let names: Vec<&str> = header.configurations.iter().map(|it| it.name).collect();
    assert_eq!(names, ["All", "plain"]);

    let error = |text: &str| Header::parse(text).unwrap_err();
    assert_eq!(error(";;! show: function $f\n"), error(";;! configurations: all\n"));
    let wrong = error(";;! show: function $f\n;;! configurations: fast\n");
    assert_eq!(wrong, "there is no configuration fast");
    assert_eq!(
        error(";;! show: block $f\n"),
        "neither `function $name` nor `loop $name`: block $f"
    );
}
