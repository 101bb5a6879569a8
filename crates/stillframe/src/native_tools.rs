//! What an engine tells native debuggers and profilers of the code that it publishes.

use crate::config::{Config, ProfilingStrategy};
use anyhow::{Context, Result};
use std::sync::Arc;
use stillframe_debug::{JitDump, NativeCode, PerfMap, elf_image};
use stillframe_runtime::Registration;

/// Whom an engine tells.
pub(crate) struct NativeTools {
    debuggers: bool,
    profiler: Profiler,
}

enum Profiler {
    None,
    JitDump(Arc<JitDump>),
    PerfMap(PerfMap),
}

impl NativeTools {
    /// Opens the files that the configuration asks for.
    pub(crate) fn new(config: &Config) -> Result<NativeTools> {
        let (debuggers, strategy) = config.native_tools();
        let profiler = match strategy {
            ProfilingStrategy::None => Profiler::None,
            ProfilingStrategy::JitDump => Profiler::JitDump(JitDump::of_process()?),
            ProfilingStrategy::PerfMap => Profiler::PerfMap(PerfMap::of_process()?),
        };
        Ok(NativeTools { debuggers, profiler })
    }

    /// Tells of code; `describe` is called if there is somebody to tell. The registration must be
    /// kept for as long as the code is there.
    pub(crate) fn published<'a>(
        &self,
        describe: impl FnOnce() -> NativeCode<'a>,
    ) -> Result<Option<Registration>> {
        if !self.debuggers && matches!(self.profiler, Profiler::None) {
            return Ok(None);
        }
        let code = describe();
        match &self.profiler {
            Profiler::None => {}
            Profiler::JitDump(dump) => dump.add(&code).context("telling the profiler of code")?,
            Profiler::PerfMap(map) => map.add(&code).context("telling the profiler of code")?,
        }
        if !self.debuggers {
            return Ok(None);
        }
        let image = elf_image(&code).context("describing code to debuggers")?;
        Ok(Some(Registration::new(image)))
    }
}
