//! Colours, where there is somebody to see them.

use std::borrow::Cow;
use std::io::IsTerminal as _;

/// Whether what is written gets colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Style {
    colours: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    /// The name of a function.
    Function,
    /// A position in a source file.
    Position,
    /// The name of a local.
    Name,
    /// A type.
    Type,
    /// What is beside the point.
    Aside,
}

impl Style {
    /// No colours.
    pub(crate) const PLAIN: Style = Style { colours: false };

    /// What suits standard error: colours on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn of_stderr() -> Style {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Style { colours: !unwanted && std::io::stderr().is_terminal() }
    }

    /// The text, in the colour of `part`.
    pub(crate) fn paint(self, part: Part, text: &str) -> Cow<'_, str> {
        if !self.colours {
            return Cow::Borrowed(text);
        }
        // Of the 8 colours that every terminal has, in its user's shades.
        let code = match part {
            Part::Function => "1",
            Part::Position => "36",
            Part::Name => "32",
            Part::Type | Part::Aside => "2",
        };
        Cow::Owned(format!("\x1b[{code}m{text}\x1b[0m"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_end_where_the_text_ends() {
        assert_eq!(Style::PLAIN.paint(Part::Name, "x"), "x");
        let painted = Style { colours: true }.paint(Part::Function, "f");
        assert_eq!(painted, "\x1b[1mf\x1b[0m");
    }
}
