//! The entry point: options, the target, and the compilation of a whole module.

use crate::compile::Worker;
use crate::costs::OperatorCosts;
use crate::env::{Metering, ModuleEnv};
use crate::inline::Inlinables;
use crate::link::ArtifactBuilder;
use crate::module::{self, ParsedModule};
use crate::trampoline::{self, TrampolineText};
use anyhow::{Context as _, Error, Result, anyhow, ensure};
use cranelift_codegen::isa::OwnedTargetIsa;
use cranelift_codegen::settings::{self, Configurable};
use rayon::prelude::*;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use stillframe_abi::artifact::{Artifact, CompileSettings, FrameState};
use stillframe_abi::module::ModuleInfo;
use stillframe_abi::types::FuncType;
use stillframe_abi::vmctx::VMOffsets;
use wasmparser::{FuncToValidate, FuncValidatorAllocations, FunctionBody, ValidatorResources};

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
compile_error!("Stillframe generates code for x86-64 Linux only, and runs where it compiles");

/// What code is compiled for.
#[derive(Clone, Debug)]
pub struct CompilerOptions {
    /// Whether code counts fuel.
    pub fuel: bool,
    /// Whether code tests epochs.
    pub epochs: bool,
    /// What operators cost, if code counts fuel.
    pub costs: OperatorCosts,
    /// How much Cranelift optimises.
    pub opt_level: OptLevel,
    /// Whether the functions of a module are compiled in parallel, on rayon's global pool.
    pub parallel: bool,
    /// Whether artifacts keep the guest's DWARF.
    pub dwarf: bool,
    /// What frames keep of locals and operands.
    pub frame_state: FrameState,
    /// Whether code reads locals and operands again that a debugger may have written.
    pub frame_writes: bool,
    /// Whether small functions are translated in the place of their calls. Not with `frame_writes`.
    pub inlining: bool,
    /// Whether all functions are compiled in the plain way, which is else for those that would take
    /// too long as usual. For tests.
    pub plain: bool,
    /// Whether registers of plain code are always allocated in a single pass. For tests.
    pub single_pass: bool,
}

impl Default for CompilerOptions {
    /// No metering, optimised for speed, compiled in parallel, with DWARF; frames keep what is live.
    fn default() -> CompilerOptions {
        CompilerOptions {
            fuel: false,
            epochs: false,
            costs: OperatorCosts::default(),
            opt_level: OptLevel::Speed,
            parallel: true,
            dwarf: true,
            frame_state: FrameState::default(),
            frame_writes: false,
            inlining: true,
            plain: false,
            single_pass: false,
        }
    }
}

/// How much Cranelift optimises.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OptLevel {
    /// Compiles fastest.
    None,
    /// Runs fastest.
    Speed,
    /// Runs fast, with less code.
    SpeedAndSize,
}

/// Hears how far a compilation is. Called from several threads.
pub trait Progress: Sync {
    /// The module has `total` functions to compile.
    fn functions(&self, total: usize) {
        let _ = total;
    }

    /// One more of them is compiled.
    fn function_done(&self) {}
}

/// Nobody listens.
impl Progress for () {}

/// Compiles modules for this machine.
pub struct Compiler {
    options: CompilerOptions,
    metering: Metering,
    isa: OwnedTargetIsa,
    /// For functions that are compiled in the plain way, as [`ModuleEnv`] says.
    plain_isa: OwnedTargetIsa,
    single_pass_isa: OwnedTargetIsa,
    settings: CompileSettings,
}

type Body<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

impl Compiler {
    /// A compiler for this machine.
    ///
    /// # Errors
    ///
    /// If the processor lacks SSE4.1, or Cranelift does not support it.
    pub fn new(options: CompilerOptions) -> Result<Compiler> {
        let isa = host_isa(&options, options.opt_level, "backtracking")?;
        let plain_isa = host_isa(&options, OptLevel::None, "backtracking")?;
        let single_pass_isa = host_isa(&options, OptLevel::None, "single_pass")?;
        let metering =
            Metering { fuel: options.fuel, epochs: options.epochs, costs: options.costs.clone() };
        // A frame without state has nothing that could be written, and must say so.
        let frame_writes = options.frame_writes && options.frame_state != FrameState::Off;
        let settings = CompileSettings {
            target: "x86_64-linux".into(),
            flags: code_flags(&isa),
            fuel: options.fuel,
            costs: if options.fuel { options.costs.stable_hash() } else { 0 },
            epochs: options.epochs,
            frame_state: options.frame_state,
            frame_writes,
            inlining: options.inlining && !frame_writes,
        };
        Ok(Compiler { options, metering, isa, plain_isa, single_pass_isa, settings })
    }

    /// What this compiler's code is compiled for. Its artifacts run in engines with the same
    /// settings.
    pub fn settings(&self) -> &CompileSettings {
        &self.settings
    }

    /// Units of fuel that the runtime must give out at a time, because code leaves it to the slow
    /// path of its checkpoints to look at the epoch; `None` if code tests epochs, or need not.
    pub fn epoch_slice(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.metering.epoch_slice()?)
    }

    /// Compiles a module, given in the binary format.
    ///
    /// # Errors
    ///
    /// If the module is malformed, not valid, uses what is not supported, or exceeds a limit of
    /// the code generator. Of several functions with errors the first is reported.
    pub fn compile(&self, wasm: &[u8], progress: &dyn Progress) -> Result<Artifact> {
        let ParsedModule { mut info, bodies, data, dwarf } = module::parse(wasm)?;
        progress.functions(bodies.len());
        let env = self.env(&info, &bodies);
        let workers = Mutex::new(Vec::new());
        let functions = self.for_each_body(&info, bodies, |validator, body| {
            let worker = workers.lock().expect("no panic while locked").pop();
            let mut worker = worker.unwrap_or_else(Worker::new);
            let function = worker.compile(&env, validator, &body)?;
            workers.lock().expect("no panic while locked").push(worker);
            progress.function_done();
            Ok(function)
        })?;
        drop(workers);

        let mut builder = ArtifactBuilder::new(&*self.isa, &info)?;
        for function in functions {
            builder.push(&function)?;
        }
        let linked = builder.finish()?;
        info.code = linked.code;
        Ok(Artifact {
            settings: self.settings.clone(),
            info,
            text: linked.text,
            frame_table: linked.frame_table,
            data,
            dwarf: if self.options.dwarf { dwarf } else { Vec::new() },
        })
    }

    /// Validates a module, function bodies included.
    ///
    /// # Errors
    ///
    /// If it is malformed, not valid, or uses a proposal that is not supported.
    pub fn validate(&self, wasm: &[u8]) -> Result<()> {
        let ParsedModule { info, bodies, .. } = module::parse(wasm)?;
        self.for_each_body(&info, bodies, |validator, body| {
            let mut validator = validator.into_validator(FuncValidatorAllocations::default());
            Ok(validator.validate(&body)?)
        })?;
        Ok(())
    }

    /// The trampolines between the host and functions of this type.
    ///
    /// # Errors
    ///
    /// If the type exceeds a limit of the code generator.
    pub fn trampolines(&self, ty: &FuncType) -> Result<TrampolineText> {
        trampoline::make(&*self.isa, &self.metering, ty)
    }

    /// The Cranelift IR of function `index` of a module, as it is translated, and its machine code
    /// as text. For tests and for the curious.
    ///
    /// # Errors
    ///
    /// As [`Compiler::compile`]; and if the module defines no such function.
    pub fn disassemble(&self, wasm: &[u8], index: u32) -> Result<(String, String)> {
        let ParsedModule { info, bodies, .. } = module::parse(wasm)?;
        let env = self.env(&info, &bodies);
        let body = bodies.into_iter().find(|(validator, _)| validator.index == index);
        let (validator, body) =
            body.with_context(|| format!("the module defines no function {index}"))?;
        let disassembled = Worker::new().disassemble(&env, validator, &body);
        disassembled.map_err(|error| in_function(error, &info, index))
    }

    fn env<'a>(&'a self, info: &'a ModuleInfo, bodies: &[Body<'a>]) -> ModuleEnv<'a> {
        let offsets = VMOffsets::new(info);
        let CompileSettings { frame_state, frame_writes, .. } = self.settings;
        let CompilerOptions { plain, single_pass, .. } = self.options;
        let (isa, metering) = (&*self.isa, &self.metering);
        let (plain_isa, single_pass_isa) = (&*self.plain_isa, &*self.single_pass_isa);
        let inlinable = match self.settings.inlining {
            true => Inlinables::of(info, bodies),
            false => Inlinables::default(),
        };
        ModuleEnv {
            info,
            offsets,
            isa,
            plain_isa,
            single_pass_isa,
            plain,
            single_pass,
            metering,
            inlinable,
            frame_state,
            frame_writes,
        }
    }

    /// Does `work` for every function body, in parallel if so configured, and collects what it
    /// makes in order. The error is that of the first function that has one, whatever the order of
    /// execution: functions behind one that has failed are skipped, those before it are not.
    fn for_each_body<'a, T: Send>(
        &self,
        info: &ModuleInfo,
        bodies: Vec<Body<'a>>,
        work: impl Fn(FuncToValidate<ValidatorResources>, FunctionBody<'a>) -> Result<T> + Sync,
    ) -> Result<Vec<T>> {
        let failed = AtomicUsize::new(usize::MAX);
        let one = |(defined, (validator, body)): (usize, Body<'a>)| {
            if defined > failed.load(Ordering::Relaxed) {
                return None;
            }
            let index = validator.index;
            let done = work(validator, body).map_err(|error| in_function(error, info, index));
            if done.is_err() {
                failed.fetch_min(defined, Ordering::Relaxed);
            }
            Some(done)
        };
        let done: Vec<Option<Result<T>>> = match self.options.parallel {
            true => bodies.into_par_iter().enumerate().map(one).collect(),
            false => bodies.into_iter().enumerate().map(one).collect(),
        };
        // What was skipped comes after an error.
        done.into_iter().flatten().collect()
    }
}

/// Says in which function `error` is.
fn in_function(error: Error, info: &ModuleInfo, index: u32) -> Error {
    let function = match info.func_name(index) {
        Some(name) => format!("function {index} (`{name}`)"),
        None => format!("function {index}"),
    };
    match error.is::<wasmparser::Error>() {
        true => module::invalid(error.context(function)),
        false => error.context(format!("compiling {function}")),
    }
}

/// The code generator for this machine, with a level of optimisation and an allocator of registers.
fn host_isa(
    options: &CompilerOptions,
    opt_level: OptLevel,
    registers: &str,
) -> Result<OwnedTargetIsa> {
    let mut flags = settings::builder();
    let mut set = |name: &str, value: &str| {
        flags.set(name, value).with_context(|| format!("Cranelift's flag {name}={value}"))
    };
    set(
        "opt_level",
        match opt_level {
            OptLevel::None => "none",
            OptLevel::Speed => "speed",
            OptLevel::SpeedAndSize => "speed_and_size",
        },
    )?;
    set("regalloc_algorithm", registers)?;
    set("is_pic", "false")?;
    set("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" })?;
    // Frames are walked by frame pointers, and faults found in the frame table: no unwind tables.
    set("preserve_frame_pointers", "true")?;
    set("unwind_info", "false")?;
    // Prologues test the stack limit instead.
    set("enable_probestack", "false")?;
    // More results than registers are returned through memory.
    set("enable_multi_ret_implicit_sret", "true")?;
    // The fuel counter's.
    set("enable_pinned_reg", if options.fuel { "true" } else { "false" })?;

    let builder = cranelift_native::builder().map_err(|why| anyhow!("this processor: {why}"))?;
    let isa = builder.finish(settings::Flags::new(flags)).context("this processor")?;
    let sse41 =
        isa.isa_flags().iter().any(|flag| flag.name == "has_sse41" && flag.as_bool() == Some(true));
    ensure!(sse41, "this processor has no SSE4.1, which generated code needs");
    Ok(isa)
}

/// All flags that bear on generated code, as `name=value`, sorted.
fn code_flags(isa: &OwnedTargetIsa) -> Vec<String> {
    const NOT_IN_CODE: [&str; 5] = [
        "enable_incremental_compilation_cache_checks",
        "enable_verifier",
        "machine_code_cfg_info",
        "regalloc_checker",
        "regalloc_verbose_logs",
    ];
    let flags = isa.flags().iter().chain(isa.isa_flags());
    let flags = flags.filter(|flag| !NOT_IN_CODE.contains(&flag.name));
    let mut flags: Vec<String> = flags.map(|flag| flag.to_string()).collect();
    flags.sort();
    flags
}
