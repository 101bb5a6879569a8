//! The compiled module: in memory, and on disk as an ELF file.
//!
//! ```text
//!   ELF    .text                 machine code, functions at ModuleInfo::code
//!          .stillframe.header    format version and CompileSettings   (postcard)
//!          .stillframe.info      ModuleInfo                           (postcard)
//!          .stillframe.frames    the frame table
//!          .stillframe.data      bytes of the data segments
//!          .debug_*              the guest's DWARF, as its custom sections had it
//!   "sf-check" and 32 bytes      BLAKE3 of all bytes before
//! ```
//!
//! Other tools can read the ELF part; the trailer makes any damaged bit an error. The checksum
//! guards against accidents, not against an attacker: an artifact is native code, and loading one
//! means to trust it.

use crate::module::ModuleInfo;
use anyhow::{Context, Result, bail, ensure};
use object::write::{Object, StandardSegment};
use object::{
    Architecture, BinaryFormat, Endianness, Object as _, ObjectSection as _, SectionKind,
};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// The version of the format, of `ModuleInfo`, of the frame table, of `VMContext` and of
/// `VMRuntimeLimits`: raised whenever one of them changes.
pub const FORMAT_VERSION: u32 = 4;

const TRAILER_MAGIC: &[u8; 8] = b"sf-check";
const TRAILER_SIZE: usize = 8 + 32;

/// What generated code was compiled for. Code runs only in an engine with the same settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompileSettings {
    /// The target, such as `x86_64-linux`.
    pub target: String,
    /// Processor features that the code may use and other flags of the code generator, sorted,
    /// each as `name=value`.
    pub flags: Vec<String>,
    /// Whether the code counts fuel.
    pub fuel: bool,
    /// Hash of the table of operator costs, if the code counts fuel.
    pub costs: u64,
    /// Whether the code tests epochs.
    pub epochs: bool,
    /// What frames keep of locals and operands.
    pub frame_state: FrameState,
    /// Whether the code reads locals and operands again that a debugger may have written.
    pub frame_writes: bool,
    /// Whether small functions are inlined.
    pub inlining: bool,
}

/// What the frames of frozen calls show beside the functions they are of.
///
/// Code writes a frame's state to memory only where the frame can be found frozen: at calls and at
/// checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub enum FrameState {
    /// Backtraces only: which functions, and where in them.
    Off,
    /// The instance, the operands, and the locals that the program may still read; of the others,
    /// those that happen to be known.
    #[default]
    Live,
    /// The instance, all locals and all operands.
    All,
}

impl CompileSettings {
    /// Why code compiled with `self` cannot run in an engine with `engine`, or `None` if it can.
    pub fn mismatch(&self, engine: &CompileSettings) -> Option<String> {
        let differs = |what: &str, ours: &dyn std::fmt::Debug, theirs: &dyn std::fmt::Debug| {
            Some(format!("it was compiled with {what} {ours:?}, this engine has {theirs:?}"))
        };
        if self.target != engine.target {
            return differs("target", &self.target, &engine.target);
        }
        if self.fuel != engine.fuel {
            return differs("fuel", &self.fuel, &engine.fuel);
        }
        if self.costs != engine.costs {
            return Some("it was compiled with another table of operator costs".into());
        }
        if self.epochs != engine.epochs {
            return differs("epochs", &self.epochs, &engine.epochs);
        }
        if self.frame_state != engine.frame_state {
            return differs("frame state", &self.frame_state, &engine.frame_state);
        }
        if self.frame_writes != engine.frame_writes {
            return differs("frame writes", &self.frame_writes, &engine.frame_writes);
        }
        if self.inlining != engine.inlining {
            return differs("inlining", &self.inlining, &engine.inlining);
        }
        if self.flags != engine.flags {
            let mut why = String::from("it was compiled with other code generator flags:");
            for flag in self.flags.iter().filter(|f| !engine.flags.contains(f)) {
                let _ = write!(why, " {flag}");
            }
            return Some(why);
        }
        None
    }
}

/// A compiled module.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    /// What the code was compiled for.
    pub settings: CompileSettings,
    /// What the module says of itself.
    pub info: ModuleInfo,
    /// Machine code, position-independent, all calls resolved.
    pub text: Vec<u8>,
    /// The frame table.
    pub frame_table: Vec<u8>,
    /// Bytes of the data segments.
    pub data: Vec<u8>,
    /// The guest's DWARF: `(section name with its dot, bytes)`.
    pub dwarf: Vec<(String, Vec<u8>)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    settings: CompileSettings,
}

impl Artifact {
    /// The artifact as a file.
    ///
    /// # Errors
    ///
    /// If a part does not fit the file format.
    pub fn to_elf(&self) -> Result<Vec<u8>> {
        let mut elf = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let mut add = |name: &str, kind: SectionKind, bytes: &[u8], align: u64| {
            let segment = elf.segment_name(StandardSegment::Data).to_vec();
            let id = elf.add_section(segment, name.as_bytes().to_vec(), kind);
            elf.append_section_data(id, bytes, align);
        };
        let header = Header { version: FORMAT_VERSION, settings: self.settings.clone() };
        add(".text", SectionKind::Text, &self.text, 4096);
        add(".stillframe.header", SectionKind::Other, &postcard::to_stdvec(&header)?, 1);
        add(".stillframe.info", SectionKind::Other, &postcard::to_stdvec(&self.info)?, 1);
        add(".stillframe.frames", SectionKind::Other, &self.frame_table, 1);
        add(".stillframe.data", SectionKind::Other, &self.data, 1);
        for (name, bytes) in &self.dwarf {
            add(name, SectionKind::Debug, bytes, 1);
        }
        let mut bytes = elf.write().context("writing the artifact as ELF")?;
        let sum = blake3::hash(&bytes);
        bytes.extend_from_slice(TRAILER_MAGIC);
        bytes.extend_from_slice(sum.as_bytes());
        Ok(bytes)
    }

    /// Whether these bytes look like an artifact: ELF, with a section of ours. Says nothing about
    /// whether they are whole.
    pub fn is_artifact(bytes: &[u8]) -> bool {
        bytes.starts_with(b"\x7fELF")
            && object::File::parse(bytes)
                .is_ok_and(|elf| elf.section_by_name(".stillframe.header").is_some())
    }

    /// Reads a file that [`Artifact::to_elf`] wrote, for an engine with the settings `engine`.
    ///
    /// # Errors
    ///
    /// If the bytes are not an artifact, are damaged, have another format version, or were
    /// compiled with other settings.
    pub fn from_elf(bytes: &[u8], engine: &CompileSettings) -> Result<Artifact> {
        ensure!(bytes.starts_with(b"\x7fELF"), "not a Stillframe artifact: no ELF file");
        let body_len = bytes.len().checked_sub(TRAILER_SIZE).context("the artifact is cut off")?;
        let (body, trailer) = bytes.split_at(body_len);
        let sum = trailer.strip_prefix(TRAILER_MAGIC).context(
            "the artifact is cut off, or not a Stillframe artifact: no checksum at its end",
        )?;
        ensure!(blake3::hash(body).as_bytes() == sum, "the artifact is damaged: wrong checksum");
        let elf = object::File::parse(body).context("the artifact is not readable as ELF")?;
        let section = |name: &str| -> Result<&[u8]> {
            let section = elf.section_by_name(name);
            let section = section.with_context(|| format!("the artifact has no section {name}"))?;
            section.data().with_context(|| format!("reading the artifact's section {name}"))
        };
        let header = section(".stillframe.header")?;
        // The version comes first in the header, so it can be read whatever follows it.
        let (version, _) = postcard::take_from_bytes::<u32>(header).context("artifact header")?;
        if version != FORMAT_VERSION {
            bail!("the artifact has format version {version}, this library {FORMAT_VERSION}");
        }
        let header: Header = postcard::from_bytes(header).context("artifact header")?;
        if let Some(why) = header.settings.mismatch(engine) {
            bail!("the artifact does not fit this engine: {why}");
        }
        let info = postcard::from_bytes(section(".stillframe.info")?).context("artifact info")?;
        let mut dwarf = Vec::new();
        for section in elf.sections() {
            let name = section.name().context("artifact section name")?;
            if name.starts_with(".debug_") {
                dwarf.push((name.to_string(), section.data()?.to_vec()));
            }
        }
        Ok(Artifact {
            settings: header.settings,
            info,
            text: section(".text")?.to_vec(),
            frame_table: section(".stillframe.frames")?.to_vec(),
            data: section(".stillframe.data")?.to_vec(),
            dwarf,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> CompileSettings {
        CompileSettings {
            target: "x86_64-linux".into(),
            flags: vec!["has_avx=true".into()],
            fuel: true,
            costs: 7,
            epochs: false,
            frame_state: FrameState::Live,
            frame_writes: false,
            inlining: true,
        }
    }

    fn artifact() -> Artifact {
        Artifact {
            settings: settings(),
            info: ModuleInfo { name: Some("m".into()), ..ModuleInfo::default() },
            text: vec![0xc3; 100],
            frame_table: vec![0, 0, 0, 0, 0, 0, 0, 0],
            data: b"hello".to_vec(),
            dwarf: vec![(".debug_info".into(), vec![1, 2, 3])],
        }
    }

    #[test]
    fn round_trips() {
        let bytes = artifact().to_elf().unwrap();
        assert!(Artifact::is_artifact(&bytes));
        assert_eq!(Artifact::from_elf(&bytes, &settings()).unwrap(), artifact());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let bytes = artifact().to_elf().unwrap();
        // Miri takes a second for each checksum.
        for at in (0..bytes.len()).step_by(if cfg!(miri) { 1999 } else { 1 }) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            assert!(Artifact::from_elf(&damaged, &settings()).is_err(), "bit in byte {at}");
            assert!(Artifact::from_elf(&bytes[..at], &settings()).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn other_settings_are_refused_with_the_reason() {
        let bytes = artifact().to_elf().unwrap();
        let engine = CompileSettings { fuel: false, ..settings() };
        let error = Artifact::from_elf(&bytes, &engine).unwrap_err().to_string();
        assert!(error.contains("compiled with fuel true, this engine has false"), "{error}");
        let engine = CompileSettings { inlining: false, ..settings() };
        let error = Artifact::from_elf(&bytes, &engine).unwrap_err().to_string();
        assert!(error.contains("compiled with inlining true, this engine has false"), "{error}");
        let engine = CompileSettings { flags: vec![], ..settings() };
        let error = Artifact::from_elf(&bytes, &engine).unwrap_err().to_string();
        assert!(error.contains("has_avx=true"), "{error}");
    }
}
