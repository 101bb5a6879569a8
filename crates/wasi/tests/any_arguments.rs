//! A guest may call WASI with whatever it likes: it gets an error number, or an error that ends it,
//! but no panic comes out of the host.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use stillframe::{Engine, FuncType, Linker, Module, Store, Val, ValType};
use stillframe_wasi::{MODULE, ReadPipe, WasiCtx, WasiCtxBuilder};

const FUNCTIONS: [&str; 46] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_advise",
    "fd_allocate",
    "fd_close",
    "fd_datasync",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_fdstat_set_rights",
    "fd_filestat_get",
    "fd_filestat_set_size",
    "fd_filestat_set_times",
    "fd_pread",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_pwrite",
    "fd_read",
    "fd_readdir",
    "fd_renumber",
    "fd_seek",
    "fd_sync",
    "fd_tell",
    "fd_write",
    "path_create_directory",
    "path_filestat_get",
    "path_filestat_set_times",
    "path_link",
    "path_open",
    "path_readlink",
    "path_remove_directory",
    "path_rename",
    "path_symlink",
    "path_unlink_file",
    "poll_oneoff",
    "proc_exit",
    "proc_raise",
    "random_get",
    "sched_yield",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

/// A module that exports each function as a function of its own that calls it, and a memory with a
/// few numbers and names in it.
fn passing_on(types: &[(&str, FuncType)]) -> String {
    let mut wat = String::from("(module\n");
    for (name, ty) in types {
        let list = |word: &str, types: &[ValType]| {
            let types: Vec<String> = types.iter().map(ValType::to_string).collect();
            if types.is_empty() { String::new() } else { format!("({word} {})", types.join(" ")) }
        };
        let ty = list("param", ty.params()) + &list("result", ty.results());
        let _ = writeln!(wat, r#"(import "{MODULE}" "{name}" (func ${name} {ty}))"#);
    }
    for (name, ty) in types {
        let params: String = ty.params().iter().map(|ty| format!(" {ty}")).collect();
        let results: String = ty.results().iter().map(|ty| format!(" {ty}")).collect();
        let gets: String = (0..ty.params().len()).map(|i| format!("(local.get {i})")).collect();
        let _ = writeln!(
            wat,
            r#"(func (export "{name}") (param{params}) (result{results}) (call ${name} {gets}))"#
        );
    }
    wat + r#"(memory (export "memory") 1)
        (data (i32.const 0) "\08\00\00\00\04\00\00\00/../.\00\ff\fe")
        (data (i32.const 64) "\00\10\00\00\ff\ff\ff\ff\01\00\00\00\ff\ff\ff\7f"))"#
}

fn number(seed: &mut u64, limit: usize) -> usize {
    // Marsaglia's xorshift: the same numbers in every run.
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    (*seed % limit as u64) as usize
}

fn argument(seed: &mut u64, ty: ValType) -> Val {
    const SMALL: [i32; 12] = [0, 1, 2, 3, 4, 5, 8, 64, 1000, 65535, i32::MAX, i32::MIN];
    const LARGE: [i64; 8] = [0, 1, 2, 64, 4096, -1, i64::MAX, i64::MIN];
    match ty {
        ValType::I32 => Val::I32(SMALL[number(seed, SMALL.len())].wrapping_sub(1)),
        _ => Val::I64(LARGE[number(seed, LARGE.len())]),
    }
}

#[test]
fn any_arguments_end_in_a_number_or_an_error() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    stillframe_wasi::add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi).unwrap();
    let mut store = Store::new(&engine, WasiCtxBuilder::new().build());
    let types = FUNCTIONS.map(|name| {
        let func = linker.get(&mut store, MODULE, name).and_then(|found| found.into_func());
        (name, func.unwrap_or_else(|| panic!("there is no {name}")).ty(&store))
    });
    let module = Module::new(&engine, passing_on(&types)).unwrap();

    let mut seed = 0x5eed;
    let (mut numbers, mut errors) = (0, 0);
    for _ in 0..300 {
        // Its sleeps are over at once.
        let mut wasi = WasiCtxBuilder::with_clock(|| Duration::from_secs(1));
        let dir = tempfile::tempdir().unwrap();
        wasi.args(["a", "b"]).unwrap().stdin(Box::new(ReadPipe::from("input")));
        wasi.preopened_dir(dir.path(), "/").unwrap();
        let mut store = Store::new(&engine, wasi.build());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        for _ in 0..200 {
            let (name, ty) = &types[number(&mut seed, types.len())];
            let args: Vec<Val> = ty.params().iter().map(|ty| argument(&mut seed, *ty)).collect();
            let mut results: Vec<Val> =
                ty.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
            let func = instance.get_func(&mut store, name).unwrap();
            let call = || func.call(&mut store, &args, &mut results);
            match catch_unwind(AssertUnwindSafe(call)) {
                Ok(Ok(())) => numbers += 1,
                Ok(Err(_)) => errors += 1,
                Err(_) => panic!("{name} panicked with {args:?}"),
            }
        }
    }
    assert!(numbers > 1000 && errors > 1000, "{numbers} numbers, {errors} errors");
}
