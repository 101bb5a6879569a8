//! Perf maps: `/tmp/perf-<process id>.map`, by which `perf report` names code without `perf
//! inject`. A line for each function: address and size in hexadecimal, and the name.

use super::NativeCode;
use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The process's perf map.
#[derive(Debug)]
pub struct PerfMap {
    path: PathBuf,
    file: File,
}

impl PerfMap {
    /// Opens the process's map, or makes it. All JITs of a process append to it.
    ///
    /// # Errors
    ///
    /// If it cannot be made, or is a symbolic link.
    pub fn of_process() -> Result<PerfMap> {
        // perf looks there, whatever TMPDIR says.
        PerfMap::open(Path::new(&format!("/tmp/perf-{}.map", std::process::id())))
    }

    fn open(path: &Path) -> Result<PerfMap> {
        // Everybody can write to /tmp: what is there may be somebody's trap.
        let mut options = File::options();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options
            .open(path)
            .with_context(|| format!("making the perf map `{}`", path.display()))?;
        Ok(PerfMap { path: path.into(), file })
    }

    /// Writes down the functions of this code.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn add(&self, code: &NativeCode<'_>) -> Result<()> {
        let mut lines = String::new();
        for function in &code.functions {
            let (address, size) = (code.address_of(function), function.code.len());
            let _ = writeln!(lines, "{address:x} {size:x} {}", function.name);
        }
        let written = (&self.file).write_all(lines.as_bytes());
        written.with_context(|| format!("writing to `{}`", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{sample, sample_text};
    use super::*;

    #[test]
    fn a_line_for_each_function_is_appended() {
        let path = std::env::temp_dir().join(format!("stillframe-{}.map", std::process::id()));
        std::fs::write(&path, "10 10 of another JIT\n").unwrap();
        let text = sample_text();
        PerfMap::open(&path).unwrap().add(&sample(&text)).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(written, "10 10 of another JIT\n10010 20 main::run\n10040 10 entry\n");
    }

    #[test]
    fn a_symbolic_link_is_an_error() {
        let path = std::env::temp_dir().join(format!("stillframe-{}-link", std::process::id()));
        let target = path.with_extension("target");
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = PerfMap::open(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&target).unwrap();
        assert!(format!("{error:#}").contains("making the perf map"), "{error:#}");
    }
}
