//! What is kept of a program that ends before its time: its frozen stack as text, and a core dump.

use crate::args::RunArgs;
use crate::load;
use crate::stack::Stack;
use crate::style::Style;
use anyhow::{Context as _, Error, Result};
use std::fs::File;
use std::path::PathBuf;
use stillframe::{CoreDump, CoreDumpBuilder, FrameError, Frames, FrozenTrace, Store};
use stillframe_wasi::I32Exit;

/// What is wanted, and, once the program has stopped, what was found.
pub(crate) struct PostMortem {
    /// Whether stacks are to be shown.
    shown: bool,
    /// Whether the code keeps all values: a missing one is worth a line then.
    keeps_all: bool,
    style: Style,
    coredump: Option<PathBuf>,
    /// The program's name, for the core dump.
    program: String,
    stack: Option<Stack>,
    /// How many frames the core dump has, if one was to be written.
    dumped: Option<Result<usize>>,
}

impl PostMortem {
    /// What `args` want. `keeps_all` says whether the code keeps all values.
    ///
    /// # Errors
    ///
    /// If the core dump could not be written.
    pub(crate) fn new(args: &RunArgs, keeps_all: bool) -> Result<PostMortem> {
        if let Some(path) = &args.coredump {
            load::check_writable(path)?;
        }
        Ok(PostMortem {
            shown: args.frames.is_some(),
            keeps_all,
            style: Style::of_stderr(),
            coredump: args.coredump.clone(),
            program: args.file().display().to_string(),
            stack: None,
            dumped: None,
        })
    }

    /// Whether stacks are to be shown.
    pub(crate) fn shows_frames(&self) -> bool {
        self.shown
    }

    /// A stack as text, with a newline in front of each line.
    pub(crate) fn render(&self, stack: &Stack) -> String {
        stack.render(self.style, self.keeps_all)
    }

    /// Keeps what can be seen of a call that stands still and will not go on. `frames` is called
    /// for its frames, each time that they are needed.
    pub(crate) fn examine_frames<'a, T: 'static>(
        &mut self,
        store: &'a Store<T>,
        frames: impl Fn() -> Result<Frames<'a>, FrameError>,
    ) -> Result<()> {
        if self.shown {
            self.stack = Some(Stack::of_frames(store, frames()?)?);
        }
        if self.coredump.is_some() {
            let dump = CoreDumpBuilder::new(&self.program).of_frames(store, frames()?);
            self.write(dump.map_err(Error::from));
        }
        Ok(())
    }

    /// Keeps what can be seen of a call that has failed, unless it was examined before, or has
    /// exited: that is an error too, but the program wanted it.
    pub(crate) fn examine_error<T: 'static>(&mut self, store: &Store<T>, error: &Error) {
        if self.stack.is_some() || self.dumped.is_some() || error.is::<I32Exit>() {
            return;
        }
        let Some(trace) = FrozenTrace::of(error) else { return };
        if self.shown {
            self.stack = Some(Stack::of_trace(store, trace));
        }
        if self.coredump.is_some() {
            self.write(Ok(CoreDumpBuilder::new(&self.program).of_trace(store, trace)));
        }
    }

    fn write(&mut self, dump: Result<CoreDump<'_>>) {
        let Some(path) = &self.coredump else { return };
        self.dumped = Some(dump.and_then(|dump| {
            let written = File::create(path).and_then(|mut file| dump.write_to(&mut file));
            written.with_context(|| format!("cannot write {}", path.display()))?;
            Ok(dump.threads.iter().map(|thread| thread.frames.len()).sum())
        }));
    }

    /// The frozen stack, for standard error, if one was found and is wanted: in place of a
    /// backtrace.
    pub(crate) fn stack(&self) -> Option<String> {
        let text = self.render(self.stack.as_ref()?);
        Some(format!("frozen stack, innermost first:{text}"))
    }

    /// What became of the core dump, for standard error.
    pub(crate) fn said_of_dump(&self) -> Option<String> {
        let path = self.coredump.as_ref()?.display();
        Some(match self.dumped.as_ref()? {
            Ok(frames) => {
                let s = if *frames == 1 { "" } else { "s" };
                format!("core dump with {frames} frame{s}: {path}")
            }
            Err(error) => format!("error: {error:#}"),
        })
    }
}
