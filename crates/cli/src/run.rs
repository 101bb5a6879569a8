//! `stillframe run`: one program, its limits, what it may see, and how it ended.

use crate::args::{FramesShown, RunArgs};
use crate::interrupt::Interrupt;
use crate::pauses::Pauses;
use crate::pieces::{self, Limits, Pieces};
use crate::postmortem::PostMortem;
use crate::profile::Profile;
use crate::report::Ending;
use crate::timeout::Timeout;
use crate::{load, values};
use anyhow::{Context as _, Result, bail};
use std::io::Write as _;
use std::process::ExitCode;
use stillframe::{
    Config, Engine, ExternType, FrameState, Func, Instance, Linker, Module, Store, Val,
};
use stillframe_wasi::{WasiCtx, WasiCtxBuilder};

/// Does what `stillframe run` was asked.
pub(crate) fn run(args: &RunArgs) -> Result<ExitCode> {
    let pause_every = args.pause_every()?;
    let (module, metering) = load_module(args)?;
    let mut linker = Linker::new(module.engine());
    stillframe_wasi::add_to_linker(&mut linker, |wasi: &mut WasiCtx| wasi)?;
    let mut store = Store::new(module.engine(), wasi(args)?);
    if metering.fuel {
        store.set_fuel(args.fuel.filter(|_| pause_every.is_none()).unwrap_or(MUCH_FUEL))?;
    }
    let stoppable = args.timeout.is_some() || args.stops_at_interrupt();
    if metering.epochs {
        store.set_epoch_deadline(if stoppable { 1 } else { u64::MAX / 2 });
    }
    check_entry(args, &module)?;
    let mut postmortem = PostMortem::new(args, metering.frames == FrameState::All)?;
    let profile = args.profile.as_ref();
    let profile = profile.map(|file| Profile::new(file, args.profile_interval, args.file()));
    let profile = profile.transpose()?;
    let interrupt = match metering.epochs && args.stops_at_interrupt() {
        true => Some(Interrupt::watch(&mut store)?),
        false => None,
    };

    // From here on, code of the guest runs.
    let timeout = args.timeout.map(|limit| Timeout::start(module.engine(), limit));
    let instance = linker.instantiate(&mut store, &module);
    let pieces = match (pause_every, profile) {
        _ if instance.is_err() => None,
        (Some(piece), _) => Some(Pieces::Pauses(Pauses::new(&mut store, piece, args.verbose)?)),
        (None, Some(mut profile)) => {
            let limit = if args.fuel.is_some() { Some(store.get_fuel()?) } else { None };
            profile.start(&mut store, limit)?;
            Some(Pieces::Profile(profile))
        }
        (None, None) => None,
    };
    let mut caller = Caller { limits: Limits { timeout, interrupt }, pieces, postmortem };
    let ended = instance.and_then(|instance| enter(args, &mut store, instance, &mut caller));
    drop(caller.limits);
    postmortem = caller.postmortem;
    let mut code = ExitCode::SUCCESS;
    if let Err(error) = ended {
        postmortem.examine_error(&store, &error);
        let ending = Ending::with_stack(&error, postmortem.stack());
        if !ending.message.is_empty() {
            eprintln!("{}", ending.message);
        }
        if let Some(said) = postmortem.said_of_dump() {
            eprintln!("{said}");
        }
        code = ExitCode::from(ending.code);
    }
    match caller.pieces {
        Some(Pieces::Pauses(pauses)) => pauses.finish(&store)?,
        Some(Pieces::Profile(profile)) => eprintln!("{}", profile.finish(&store)?),
        None => {}
    }
    Ok(code)
}

/// How the program's functions are called: straight, or with their fuel in pieces.
struct Caller {
    limits: Limits,
    pieces: Option<Pieces>,
    postmortem: PostMortem,
}

impl Caller {
    fn call(
        &mut self,
        store: &mut Store<WasiCtx>,
        func: Func,
        params: &[Val],
        results: &mut [Val],
    ) -> Result<()> {
        let Caller { limits, pieces, postmortem } = self;
        match pieces {
            Some(pieces) => pieces::call(store, func, params, results, pieces, limits, postmortem),
            None => func.call(store, params, results),
        }
    }
}

/// A budget for a program that counts fuel and has no limit: centuries.
const MUCH_FUEL: u64 = i64::MAX as u64;

/// What the code was compiled to allow.
#[derive(Clone, Copy)]
struct Metering {
    fuel: bool,
    epochs: bool,
    frames: FrameState,
}

impl Metering {
    fn engine(self) -> Result<Engine> {
        let mut config = Config::new();
        config.consume_fuel(self.fuel).epoch_interruption(self.epochs).frame_state(self.frames);
        Engine::new(&config)
    }
}

fn load_module(args: &RunArgs) -> Result<(Module, Metering)> {
    let bytes = load::read(args.file())?;
    let frames = match (args.frames, &args.coredump) {
        (Some(FramesShown::All), _) | (None, Some(_)) => FrameState::All,
        (Some(FramesShown::Live), _) | (None, None) => FrameState::Live,
    };
    let needs_fuel = args.fuel.is_some() || args.profile.is_some();
    let needs_epochs = args.timeout.is_some();
    if !load::is_compiled(&bytes) {
        let epochs = needs_epochs || args.stops_at_interrupt();
        let wanted = Metering { fuel: needs_fuel, epochs, frames };
        return Ok((load::compile(&wanted.engine()?, args.file(), &bytes)?, wanted));
    }
    // Code that can do more than is wanted will do: with the limits out of reach.
    let mut refused = None;
    for (fuel, epochs) in [(false, false), (true, false), (false, true), (true, true)] {
        if (needs_fuel && !fuel) || (needs_epochs && !epochs) {
            continue;
        }
        let metering = Metering { fuel, epochs, frames: FrameState::Live };
        match load::deserialize(&metering.engine()?, args.file(), &bytes) {
            Ok(module) => return Ok((module, metering)),
            Err(error) => drop(refused.get_or_insert(error)),
        }
    }
    Err(refused.context("no way to load it")?)
}

fn wasi(args: &RunArgs) -> Result<WasiCtx> {
    let mut builder = WasiCtxBuilder::new();
    builder.inherit_stdio();
    let name = args.file().file_name().unwrap_or(args.file().as_os_str());
    builder.arg(name.to_string_lossy())?;
    if args.invoke.is_none() {
        builder.args(args.args()?)?;
    }
    for (name, value) in &args.env {
        builder.env(name, value)?;
    }
    for (host, guest) in &args.dirs {
        builder.preopened_dir(host, guest)?;
    }
    Ok(builder.build())
}

/// What is called, and with which arguments: checked before the guest runs.
fn check_entry(args: &RunArgs, module: &Module) -> Result<()> {
    let entry = args.invoke.as_deref().unwrap_or("_start");
    let found = module.get_export(entry);
    match (&args.invoke, found.as_ref().and_then(ExternType::func)) {
        (Some(_), Some(ty)) => return values::parse_args(ty, &args.args()?).map(drop),
        (None, Some(ty)) if ty.params().is_empty() => return Ok(()),
        _ => {}
    }
    let functions = module.exports().filter(|export| export.ty().func().is_some());
    let functions: Vec<&str> = functions.map(|export| export.name()).collect();
    let file = args.file().display();
    match (&args.invoke, functions.is_empty()) {
        (_, true) => bail!("{file} exports no functions: there is nothing to run"),
        (Some(name), false) => {
            bail!("{file} exports no function {name:?}; it exports {}", functions.join(", "))
        }
        (None, false) => bail!(
            "{file} is no command: it exports no '_start' without parameters; --invoke calls one \
             of the functions that it exports: {}",
            functions.join(", ")
        ),
    }
}

fn enter(
    args: &RunArgs,
    store: &mut Store<WasiCtx>,
    instance: Instance,
    caller: &mut Caller,
) -> Result<()> {
    let Some(name) = &args.invoke else {
        let start = instance.get_typed_func::<(), ()>(&mut *store, "_start")?;
        return caller.call(store, start.func(), &[], &mut []);
    };
    if let Some(initialize) = instance.get_func(&mut *store, "_initialize") {
        caller.call(store, initialize, &[], &mut [])?;
    }
    let func: Func = instance.get_func(&mut *store, name).context("an export that was there")?;
    let ty = func.ty(&*store);
    let params = values::parse_args(&ty, &args.args()?)?;
    let mut results: Vec<Val> = ty.results().iter().map(|ty| Val::default_for_ty(*ty)).collect();
    caller.call(store, func, &params, &mut results)?;
    let mut out = std::io::stdout().lock();
    for result in &results {
        writeln!(out, "{}", values::show(result)).context("cannot print a result")?;
    }
    Ok(())
}
