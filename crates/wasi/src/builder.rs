//! What one guest may see of the world: a builder for [`WasiCtx`].

use crate::clock;
use anyhow::{Context as _, Result, ensure};
use std::path::Path;
use std::time::Duration;
use wasi_common::sync::{self, Dir};
use wasi_common::{RngCore, Table, WasiCtx, WasiFile};

/// Makes a [`WasiCtx`].
///
/// A new one shows the guest nothing but the system's clocks and random numbers: no arguments, no
/// environment, no folders, an empty standard input, and outputs that go nowhere.
///
/// ```no_run
/// # use stillframe_wasi::WasiCtxBuilder;
/// let wasi = WasiCtxBuilder::new()
///     .args(["convert", "in.svg", "out.png"])?
///     .env("LANG", "C")?
///     .inherit_stdio()
///     .preopened_dir("pictures", ".")?
///     .build();
/// # Ok::<(), anyhow::Error>(())
/// ```
pub struct WasiCtxBuilder {
    wasi: WasiCtx,
}

impl WasiCtxBuilder {
    /// A builder whose guest has the system's clocks.
    pub fn new() -> WasiCtxBuilder {
        let random = sync::random_ctx();
        let (clocks, sched) = (sync::clocks_ctx(), sync::sched_ctx());
        WasiCtxBuilder { wasi: WasiCtx::new(random, clocks, sched, Table::new()) }
    }

    /// A builder whose guest has the time that `now` answers: since 1970 for its wall clock, and
    /// since its start for its monotonic clock. A guest that sleeps goes on at once, and one that
    /// waits for a file or a time is told that it cannot.
    ///
    /// With this and [`WasiCtxBuilder::random`], two runs of a guest on the same input do the same.
    pub fn with_clock(now: impl Fn() -> Duration + Send + Sync + 'static) -> WasiCtxBuilder {
        let random = sync::random_ctx();
        let (clocks, sched) = clock::made_by(now);
        WasiCtxBuilder { wasi: WasiCtx::new(random, clocks, sched, Table::new()) }
    }

    /// Where the guest's random numbers come from, instead of the system.
    pub fn random(&mut self, source: impl RngCore + Send + Sync + 'static) -> &mut Self {
        let mut random = self.wasi.random.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *random = Box::new(source);
        drop(random);
        self
    }

    /// Adds an argument. The first is the program's own name.
    ///
    /// # Errors
    ///
    /// If it has a NUL in it, or if the arguments together exceed 4 GiB.
    pub fn arg(&mut self, arg: impl AsRef<str>) -> Result<&mut Self> {
        let arg = arg.as_ref();
        ensure!(!arg.contains('\0'), "the argument {arg:?} has a NUL in it");
        self.wasi.push_arg(arg)?;
        Ok(self)
    }

    /// Adds arguments. The first of all is the program's own name.
    ///
    /// # Errors
    ///
    /// As [`WasiCtxBuilder::arg`].
    pub fn args(&mut self, args: impl IntoIterator<Item = impl AsRef<str>>) -> Result<&mut Self> {
        for arg in args {
            self.arg(arg)?;
        }
        Ok(self)
    }

    /// Adds a variable to the guest's environment.
    ///
    /// # Errors
    ///
    /// If the name is empty or has a `=` in it, if either has a NUL, or if the variables together
    /// exceed 4 GiB.
    pub fn env(&mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Result<&mut Self> {
        let (name, value) = (name.as_ref(), value.as_ref());
        ensure!(!name.is_empty(), "an environment variable without a name (value {value:?})");
        ensure!(!name.contains('='), "the environment variable's name {name:?} has a `=` in it");
        ensure!(
            !name.contains('\0') && !value.contains('\0'),
            "the environment variable {name:?} has a NUL in it"
        );
        self.wasi.push_env(name, value)?;
        Ok(self)
    }

    /// What the guest reads from as its standard input.
    pub fn stdin(&mut self, file: Box<dyn WasiFile>) -> &mut Self {
        self.wasi.set_stdin(file);
        self
    }

    /// What the guest writes to as its standard output.
    pub fn stdout(&mut self, file: Box<dyn WasiFile>) -> &mut Self {
        self.wasi.set_stdout(file);
        self
    }

    /// What the guest writes to as its standard error.
    pub fn stderr(&mut self, file: Box<dyn WasiFile>) -> &mut Self {
        self.wasi.set_stderr(file);
        self
    }

    /// Gives the guest this process's standard input, output and error.
    pub fn inherit_stdio(&mut self) -> &mut Self {
        use wasi_common::sync::stdio;
        self.stdin(Box::new(stdio::stdin()))
            .stdout(Box::new(stdio::stdout()))
            .stderr(Box::new(stdio::stderr()))
    }

    /// Opens a folder of the host for the guest, which calls it `guest` and may read, write, make
    /// and delete files in it, but not leave it.
    ///
    /// # Errors
    ///
    /// If `host` cannot be opened as a folder.
    pub fn preopened_dir(
        &mut self,
        host: impl AsRef<Path>,
        guest: impl AsRef<str>,
    ) -> Result<&mut Self> {
        let host = host.as_ref();
        let dir = Dir::open_ambient_dir(host, sync::ambient_authority())
            .with_context(|| format!("cannot open the folder {}", host.display()))?;
        let dir = Box::new(sync::dir::Dir::from_cap_std(dir));
        self.wasi
            .push_preopened_dir(dir, guest.as_ref())
            .with_context(|| format!("cannot hand on the folder {}", host.display()))?;
        Ok(self)
    }

    /// The context. The builder is as new afterwards.
    pub fn build(&mut self) -> WasiCtx {
        std::mem::take(self).wasi
    }
}

impl Default for WasiCtxBuilder {
    fn default() -> WasiCtxBuilder {
        WasiCtxBuilder::new()
    }
}

impl std::fmt::Debug for WasiCtxBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WasiCtxBuilder").finish_non_exhaustive()
    }
}
