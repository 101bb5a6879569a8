//! The list of guests, read from text: a line each, `name | group | parameter | answer | what it is`.

use anyhow::{Context as _, Result, bail, ensure};

/// What a guest mostly does.
pub const GROUPS: [&str; 12] = [
    "calls",
    "loops",
    "branches",
    "memory",
    "float",
    "simd",
    "dispatch",
    "parsing",
    "hashing",
    "sorting",
    "compression",
    "host",
];

/// A guest whose function `run` takes an `i32` and answers an `i64`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Guest {
    /// The name, which its file has too.
    pub name: String,
    /// One of [`GROUPS`].
    pub group: &'static str,
    /// What `run` is called with.
    pub parameter: i32,
    /// What it must answer.
    pub answer: i64,
    /// What it is, for people.
    pub description: String,
}

/// Reads the list, in which empty lines and lines that start with `#` say nothing. The guests come
/// out in the order of [`GROUPS`], and within a group in that of the lines.
///
/// # Errors
///
/// If a line is not as it should be, or two have the same name.
pub fn parse(text: &str) -> Result<Vec<Guest>> {
    let mut guests: Vec<Guest> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let guest = parse_line(line).with_context(|| format!("line {}: {line:?}", at + 1))?;
        let again = guests.iter().any(|other| other.name == guest.name);
        ensure!(!again, "line {}: a second guest called {}", at + 1, guest.name);
        guests.push(guest);
    }
    guests.sort_by_key(|guest| GROUPS.iter().position(|&group| group == guest.group));
    Ok(guests)
}

fn parse_line(line: &str) -> Result<Guest> {
    let fields: Vec<_> = line.splitn(5, '|').map(str::trim).collect();
    let [name, group, parameter, answer, description] = fields[..] else {
        bail!("{} fields, not 5 with `|` between them", fields.len());
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    ensure!(!name.is_empty() && name.chars().all(plain), "a name is letters, digits, `_`, `-`");
    let known = GROUPS.into_iter().find(|&known| known == group);
    Ok(Guest {
        name: name.into(),
        group: known.with_context(|| format!("no group is called {group:?}"))?,
        parameter: parameter.parse().context("the parameter is no i32")?,
        answer: answer.parse().context("the answer is no i64")?,
        description: description.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_guests_in_the_order_of_groups() {
        let text =
            "# a comment\n\nsort2 | sorting | -1 | -7 | sorts | well\nfib|calls|32|1|calls\n";
        let guests = parse(text).unwrap();
        assert_eq!(guests.len(), 2);
        assert_eq!((guests[0].name.as_str(), guests[0].parameter), ("fib", 32));
        assert_eq!((guests[1].group, guests[1].answer), ("sorting", -7));
        assert_eq!(guests[1].description, "sorts | well");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let wrong = |text: &str| format!("{:#}", parse(text).unwrap_err());
        assert!(wrong("\nfib | calls | 32 | 1").contains("line 2"), "a field is missing");
        assert!(wrong("fib | call | 32 | 1 | x").contains("no group is called \"call\""));
        assert!(wrong("fib | calls | many | 1 | x").contains("parameter"));
        assert!(wrong("fib | calls | 1 | 9223372036854775808 | x").contains("answer"));
        assert!(wrong("../fib | calls | 1 | 1 | x").contains("name"));
        assert!(wrong("a | calls | 1 | 1 | x\na | host | 1 | 1 | x").contains("second guest"));
    }

    #[test]
    fn the_list_that_is_there_can_be_read() {
        let guests = parse(include_str!("../../guests/guests.txt")).unwrap();
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../guests");
        for guest in guests {
            let is_there = |ending| folder.join(format!("{}.{ending}", guest.name)).is_file();
            assert!(is_there("wat") || is_there("wasm"), "{} has no file", guest.name);
        }
    }
}
