//! The functions of `wasi_snapshot_preview1`, as host functions.
//!
//! A table of names and parameters; all but one take the guest's memory from its export `memory`,
//! and call the function of that name in `wasi-common` with it. Those functions are futures, which
//! with the synchronous implementation are ready when first polled.

use anyhow::{Context as _, Result};
use stillframe::{Caller, Linker, Memory};
use wasi_common::snapshots::preview_1::wasi_snapshot_preview1 as preview1;
use wasi_common::{I32Exit, WasiCtx};
use wiggle::{GuestMemory, run_in_dummy_executor};

/// The name of the module that guests import these functions from.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// Defines every function of a table in a linker.
macro_rules! define {
    ($linker:ident, $get:ident; $($name:ident($($arg:ident: $ty:ty),*);)*) => {$(
        $linker.func_wrap(
            MODULE,
            stringify!($name),
            move |mut caller: Caller<'_, T>, $($arg: $ty),*| -> Result<i32> {
                let (memory, data) = memory_of(&mut caller, stringify!($name))?
                    .data_and_store_mut(&mut caller);
                let mut memory = GuestMemory::Unshared(memory);
                run_in_dummy_executor(preview1::$name($get(data), &mut memory, $($arg),*))?
                    .context(concat!("in the WASI function ", stringify!($name)))
            },
        )?;
    )*};
}

/// Defines all functions of WASI preview 1 in `linker`. `get` finds the guest's [`WasiCtx`] in the
/// store's data.
///
/// The guest must export its memory as `memory`; a function that finds none returns an error to
/// whoever called the guest. So does one that is given an address outside of the memory, and
/// `proc_exit`, whose error is [`I32Exit`] with the guest's exit code.
///
/// # Errors
///
/// If `linker` has one of the functions and does not allow shadowing.
pub fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Send + Sync + Copy + 'static,
) -> Result<()> {
    // wasi-common's own refuses codes from 126 on, which programs do exit with.
    linker
        .func_wrap(MODULE, "proc_exit", |code: i32| -> Result<()> { Err(I32Exit(code).into()) })?;
    define! { linker, get;
        args_get(argv: i32, argv_buf: i32);
        args_sizes_get(count: i32, size: i32);
        environ_get(environ: i32, environ_buf: i32);
        environ_sizes_get(count: i32, size: i32);
        clock_res_get(id: i32, resolution: i32);
        clock_time_get(id: i32, precision: i64, time: i32);
        fd_advise(fd: i32, offset: i64, len: i64, advice: i32);
        fd_allocate(fd: i32, offset: i64, len: i64);
        fd_close(fd: i32);
        fd_datasync(fd: i32);
        fd_fdstat_get(fd: i32, stat: i32);
        fd_fdstat_set_flags(fd: i32, flags: i32);
        fd_fdstat_set_rights(fd: i32, base: i64, inheriting: i64);
        fd_filestat_get(fd: i32, stat: i32);
        fd_filestat_set_size(fd: i32, size: i64);
        fd_filestat_set_times(fd: i32, atim: i64, mtim: i64, flags: i32);
        fd_pread(fd: i32, iovs: i32, iovs_len: i32, offset: i64, read: i32);
        fd_prestat_get(fd: i32, prestat: i32);
        fd_prestat_dir_name(fd: i32, path: i32, path_len: i32);
        fd_pwrite(fd: i32, iovs: i32, iovs_len: i32, offset: i64, written: i32);
        fd_read(fd: i32, iovs: i32, iovs_len: i32, read: i32);
        fd_readdir(fd: i32, buf: i32, buf_len: i32, cookie: i64, used: i32);
        fd_renumber(fd: i32, to: i32);
        fd_seek(fd: i32, offset: i64, whence: i32, position: i32);
        fd_sync(fd: i32);
        fd_tell(fd: i32, position: i32);
        fd_write(fd: i32, iovs: i32, iovs_len: i32, written: i32);
        path_create_directory(fd: i32, path: i32, path_len: i32);
        path_filestat_get(fd: i32, flags: i32, path: i32, path_len: i32, stat: i32);
        path_filestat_set_times(
            fd: i32, flags: i32, path: i32, path_len: i32, atim: i64, mtim: i64, fst_flags: i32
        );
        path_link(
            old_fd: i32, old_flags: i32, old_path: i32, old_len: i32,
            new_fd: i32, new_path: i32, new_len: i32
        );
        path_open(
            fd: i32, dirflags: i32, path: i32, path_len: i32, oflags: i32,
            rights_base: i64, rights_inheriting: i64, fdflags: i32, opened: i32
        );
        path_readlink(fd: i32, path: i32, path_len: i32, buf: i32, buf_len: i32, used: i32);
        path_remove_directory(fd: i32, path: i32, path_len: i32);
        path_rename(
            fd: i32, old_path: i32, old_len: i32, new_fd: i32, new_path: i32, new_len: i32
        );
        path_symlink(old_path: i32, old_len: i32, fd: i32, new_path: i32, new_len: i32);
        path_unlink_file(fd: i32, path: i32, path_len: i32);
        poll_oneoff(subscriptions: i32, events: i32, count: i32, happened: i32);
        proc_raise(signal: i32);
        sched_yield();
        random_get(buf: i32, buf_len: i32);
        sock_accept(fd: i32, flags: i32, accepted: i32);
        sock_recv(
            fd: i32, iovs: i32, iovs_len: i32, flags: i32, received: i32, received_flags: i32
        );
        sock_send(fd: i32, iovs: i32, iovs_len: i32, flags: i32, sent: i32);
        sock_shutdown(fd: i32, how: i32);
    }
    Ok(())
}

/// The memory of the guest that called `function`.
fn memory_of<T>(caller: &mut Caller<'_, T>, function: &str) -> Result<Memory> {
    caller.get_export("memory").and_then(|export| export.into_memory()).with_context(|| {
        format!("the WASI function {function} needs a memory, and its caller exports none")
    })
}
