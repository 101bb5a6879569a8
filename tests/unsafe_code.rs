//! `docs/unsafe.md` and the `SAFETY` comments of the code say the same: each comment begins with the
//! name of a row, each row names the files that rely on it, and every file with unsafe code is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What is passed on to the caller needs no file in its row.
const PASSED_ON: &str = "the caller's";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// The files of the page's rows, by the row's name.
fn rows() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("docs/unsafe.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in page.lines().filter(|line| line.starts_with("| **")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{line}");
        let name = cells[0].trim_matches('*').to_string();
        // The runtime's files are written without `src`, for they are many.
        let path = |file: &str| match file.strip_prefix("runtime/") {
            Some(file) => format!("crates/runtime/src/{file}"),
            None => format!("crates/{file}"),
        };
        let files = cells[1].split('`').skip(1).step_by(2).map(path).collect();
        assert!(rows.insert(name.clone(), files).is_none(), "two rows of name {name}");
    }
    assert!(rows.len() > 10 && rows.contains_key(PASSED_ON));
    rows
}

/// The Rust files of the crates, without those of tests.
fn sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_string();
            if path.is_dir() {
                if !["tests", "target", "examples", "benches"].contains(&&*name) {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") && !["tests.rs", "testing.rs"].contains(&&*name) {
                let text = fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_string();
                sources.push((path, without_tests(&text).to_string()));
            }
        }
    }
    assert!(sources.len() > 200);
    sources
}

/// The text up to the first module of tests; they stand at the end of their files.
fn without_tests(text: &str) -> &str {
    let is_tests = |(at, _): &(usize, &str)| {
        let item = text[*at..].lines().nth(1).unwrap_or_default();
        item.contains("mod ") && item.ends_with('{')
    };
    let end = text.match_indices("#[cfg(test)]").find(is_tests);
    end.map_or(text, |(at, _)| &text[..at])
}

/// The lines with the word `unsafe` in code.
fn unsafe_lines(text: &str) -> Vec<&str> {
    let is_unsafe = |line: &&str| {
        let code = line.split("//").next().unwrap();
        let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
        words.into_iter().any(|word| word == "unsafe")
    };
    text.lines().filter(is_unsafe).collect()
}

/// What stands behind `SAFETY:` in each comment that begins so.
fn comments(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim) {
        if let Some(first) = line.strip_prefix("// SAFETY: ") {
            found.push(first.to_string());
            goes_on = true;
        } else if goes_on && let Some(more) = line.strip_prefix("// ") {
            found.last_mut().unwrap().push_str(&format!(" {more}"));
        } else {
            goes_on = false;
        }
    }
    found
}

#[test]
fn every_safety_comment_names_a_row_that_names_its_file() {
    let rows = rows();
    let mut used = BTreeSet::new();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        for comment in comments(&text) {
            let is_of = |name: &&String| {
                comment
                    .strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.starts_with([':', '.', ',', ';']))
            };
            match rows.keys().find(is_of) {
                Some(name) if name == PASSED_ON || rows[name].contains(&path) => {
                    used.insert((name.clone(), path.clone()));
                }
                Some(name) => wrong.push(format!("{path}: the row of `{name}` has not this file")),
                None => wrong.push(format!("{path}: no row's name begins \"{comment}\"")),
            }
        }
    }
    for (name, files) in rows.iter().filter(|(name, _)| *name != PASSED_ON) {
        for file in files {
            if !used.contains(&(name.clone(), file.clone())) {
                wrong.push(format!("docs/unsafe.md: nothing in {file} relies on `{name}`"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_with_unsafe_code_is_on_the_page() {
    let listed: BTreeSet<String> = rows().into_values().flatten().collect();
    let with_unsafe: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.contains("// SAFETY:"))
        .map(|(path, _)| path)
        .collect();
    // Where everything is passed on, there is no row.
    let missing: Vec<&String> = with_unsafe.difference(&listed).collect();
    let passes_on = ["crates/stillframe/src/raw/cells.rs"];
    assert_eq!(missing, passes_on, "not in docs/unsafe.md, or not needed here any more");
    let gone: Vec<&String> = listed.difference(&with_unsafe).collect();
    assert!(gone.is_empty(), "in docs/unsafe.md, and without unsafe code: {gone:?}");
    // And no unsafe code goes without a comment.
    for (path, text) in sources() {
        let lines = unsafe_lines(&text);
        assert!(
            lines.is_empty()
                || text.contains("// SAFETY:")
                || lines.iter().all(|line| declares(line)),
            "{path} has unsafe code without a SAFETY comment: {lines:?}"
        );
    }
}

/// Whether a line with `unsafe` says that something is so, and does nothing unsafe.
fn declares(line: &str) -> bool {
    line.contains("unsafe fn") || line.contains("unsafe_code") || line.contains("unsafe extern")
}

#[test]
fn crates_that_have_no_unsafe_code_forbid_it() {
    let forbidding = ["abi", "translate", "debug", "oracle", "lockstep", "wasi", "bench/report"];
    for name in forbidding {
        let lib = fs::read_to_string(root().join(format!("crates/{name}/src/lib.rs"))).unwrap();
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{name}");
    }
    // And the page says so.
    let page = fs::read_to_string(root().join("docs/unsafe.md")).unwrap();
    let list = page.lines().find(|line| line.contains(" forbid unsafe code;")).unwrap();
    let named = list.split(" forbid ").next().unwrap();
    let named: Vec<&str> = named.split('`').skip(1).step_by(2).collect();
    assert_eq!(named, forbidding);
    // Those that deny it allow it where the page says.
    let allowing = sources().into_iter().filter(|(_, text)| {
        ["#![allow(unsafe_code)]", "expect(unsafe_code", "#[allow(unsafe_code)]"]
            .iter()
            .any(|allow| text.contains(allow))
    });
    let allowing: BTreeSet<String> = allowing.map(|(path, _)| path).collect();
    let expected = [
        "crates/bench/src/programs/load.rs",
        "crates/cli/src/load.rs",
        "crates/fuzzing/src/api/world.rs",
        "crates/fuzzing/src/artifact/mod.rs",
        "crates/fuzzing/src/translate/mod.rs",
        "crates/stillframe/src/raw/mod.rs",
    ];
    assert_eq!(allowing, expected.map(String::from).into());
}
