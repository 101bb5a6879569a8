//! Writes seeds for the fuzz targets: `seeds -- fuzz/corpus`, in the project's root. With a number
//! behind it, so many for each.
//!
//! Each is a module with choices before it: those of the specification's test suite and of the
//! proposals, and what there is of text in `tests/` and `crates/`. Modules that are malformed or
//! invalid are for `translate` only, which gets the texts too.

#[path = "../tests/common/mod.rs"]
mod common;

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use stillframe_fuzzing::input::CHOICES;

/// The targets that take modules: all but `api`.
const TARGETS: [&str; 5] = ["translate", "differential", "suspend", "frames", "artifact"];

/// Larger ones are left out: what takes long finds little.
const MAX_LEN: usize = 16 << 10;

fn main() -> Result<()> {
    let corpus: PathBuf = std::env::args().nth(1).context("which folder?")?.into();
    let number = std::env::args().nth(2).map(|number| number.parse::<usize>());
    let number = number.transpose().context("the second argument is how many")?;
    let (mut good, mut all) = (BTreeMap::new(), BTreeMap::new());
    for (wrong, seeds) in [(false, &mut good), (true, &mut all)] {
        for module in common::suite(wrong) {
            add(seeds, &module.script, &module.wasm, true);
        }
    }
    let mut files = Vec::new();
    for folder in ["tests", "crates"] {
        texts(Path::new(folder), &mut files)?;
    }
    for file in files {
        let text = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        if let Ok(wasm) = wat::parse_bytes(&text) {
            add(&mut good, &name, &wasm, true);
            add(&mut all, &name, &wasm, true);
        }
        // Without choices, which for `translate` means: as it is.
        add(&mut all, &name, &text, false);
    }
    for target in TARGETS {
        let seeds = if target == "translate" { &all } else { &good };
        let folder = corpus.join(target);
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        // Of all kinds some.
        let step = number.map_or(1, |number| seeds.len().div_ceil(number.max(1)).max(1));
        let seeds: Vec<_> = seeds.iter().step_by(step).collect();
        for (name, bytes) in &seeds {
            let path = folder.join(name);
            fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        }
        let bytes: usize = seeds.iter().map(|(_, bytes)| bytes.len()).sum();
        println!("{target}: {} seeds, {bytes} bytes", seeds.len());
    }
    Ok(())
}

/// Adds a seed. Its choices are zeros, or its hash.
fn add(seeds: &mut BTreeMap<String, Vec<u8>>, name: &str, bytes: &[u8], chosen: bool) {
    if bytes.len() > MAX_LEN {
        return;
    }
    let (hash, name) = (blake3::hash(bytes), name.trim_end_matches(".wast"));
    let choices = if chosen { *hash.as_bytes() } else { [0; CHOICES] };
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    seeds.insert(format!("{name}-{}", &hash.to_hex()[..12]), [&choices, bytes].concat());
}

/// The files with text of modules in a folder, and in those below it.
fn texts(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            texts(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "wat") {
            files.push(path);
        }
    }
    Ok(())
}
