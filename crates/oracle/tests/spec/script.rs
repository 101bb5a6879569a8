//! Runs a script of the suite: its directives one after the other, each to an outcome.

use super::value;
use anyhow::{Context as _, Result, anyhow, bail, ensure};
use std::collections::HashMap;
use std::sync::Arc;
use stillframe_oracle::{
    Extern, FuncType, GlobalType, HeapType, InstanceId, Limits, Machine, Module, Outcome, RefType,
    TableType, TrapKind, ValType, Value,
};
use wast::lexer::Lexer;
use wast::parser::{self, ParseBuffer};
use wast::token::Id;
use wast::{QuoteWat, Wast, WastDirective, WastExecute, WastInvoke, Wat};

/// What came of a directive: the line in which it begins, and why it failed if it did.
pub type Line = (usize, Option<String>);

/// Runs a script.
pub fn run(text: &str) -> Result<Vec<Line>> {
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer)?;
    let script: Wast<'_> = parser::parse(&buffer)?;
    let mut context = Context::new()?;
    let mut lines = Vec::new();
    for mut directive in script.directives {
        let (line, _) = directive.span().linecol_in(text);
        let failure = context.run(&mut directive).err().map(|error| format!("{error:#}"));
        lines.push((line + 1, failure));
    }
    Ok(lines)
}

/// What a script has made so far.
struct Context<'a> {
    machine: Machine,
    /// What can be imported.
    registered: HashMap<(String, String), Extern>,
    current: Option<InstanceId>,
    instances: HashMap<&'a str, InstanceId>,
    definitions: HashMap<Option<&'a str>, Arc<Module>>,
}

impl<'a> Context<'a> {
    fn new() -> Result<Context<'a>> {
        let mut context = Context {
            machine: Machine::new(),
            registered: HashMap::new(),
            current: None,
            instances: HashMap::new(),
            definitions: HashMap::new(),
        };
        context.machine.max_depth = 2000;
        context.spectest()?;
        Ok(context)
    }

    /// The module `spectest`, which every script may import.
    fn spectest(&mut self) -> Result<()> {
        use ValType::{F32, F64, I32, I64};
        let mut add = |name: &str, entity: Extern| {
            self.registered.insert(("spectest".into(), name.into()), entity);
        };
        for (name, params) in [
            ("print", vec![]),
            ("print_i32", vec![I32]),
            ("print_i64", vec![I64]),
            ("print_f32", vec![F32]),
            ("print_f64", vec![F64]),
            ("print_i32_f32", vec![I32, F32]),
            ("print_f64_f64", vec![F64, F64]),
        ] {
            add(name, Extern::Func(self.machine.host_func(FuncType::new(params, []))));
        }
        for (name, content, value) in [
            ("global_i32", I32, Value::I32(666)),
            ("global_i64", I64, Value::I64(666)),
            ("global_f32", F32, Value::F32(666.6_f32.to_bits())),
            ("global_f64", F64, Value::F64(666.6_f64.to_bits())),
        ] {
            let ty = GlobalType { content, mutable: false };
            add(name, Extern::Global(self.machine.new_global(ty, value)));
        }
        for (name, is_64) in [("table", false), ("table64", true)] {
            let element = RefType { nullable: true, heap: HeapType::Func };
            let ty = TableType { element, limits: Limits { is_64, min: 10, max: Some(20) } };
            add(name, Extern::Table(self.machine.new_table(ty, Value::FuncRef(None))));
        }
        let ty = Limits { is_64: false, min: 1, max: Some(2) };
        add("memory", Extern::Memory(self.machine.new_memory(ty)?));
        Ok(())
    }

    fn run(&mut self, directive: &mut WastDirective<'a>) -> Result<()> {
        match directive {
            WastDirective::Module(module) => {
                let name = module.name();
                self.set_current(name, None);
                let module = compile(module)?;
                let instance = self.instantiate(&module)?;
                self.set_current(name, Some(instance));
            }
            WastDirective::ModuleDefinition(module) => {
                let name = module.name().map(|id| id.name());
                let compiled = compile(module)?;
                self.definitions.insert(None, compiled.clone());
                self.definitions.insert(name, compiled);
            }
            WastDirective::ModuleInstance { instance: name, module, .. } => {
                self.set_current(*name, None);
                let module = self.definitions.get(&module.map(|id| id.name()));
                let module = module.context("there is no such module definition")?.clone();
                let instance = self.instantiate(&module)?;
                self.set_current(*name, Some(instance));
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(*module)?;
                for export in self.machine.module(instance).clone().exports.iter() {
                    let entity = self.machine.entity(instance, export.kind, export.index);
                    self.registered.insert((name.to_string(), export.name.clone()), entity);
                }
            }
            WastDirective::Invoke(invoke) => {
                self.invoke(invoke)?;
            }
            WastDirective::AssertReturn { exec, results, .. } => match self.execute(exec)? {
                Outcome::Finished(values) => value::check(results, &values)?,
                other => bail!("it ended with {other:?}"),
            },
            WastDirective::AssertTrap { exec, message, .. } => {
                let ended = self.execute(exec);
                check_trap(ended, message)?;
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let ended = self.invoke(call);
                check_trap(ended, message)?;
            }
            WastDirective::AssertException { exec, .. } => {
                let ended = self.execute(exec)?;
                ensure!(matches!(ended, Outcome::Threw(_)), "it ended with {ended:?}");
            }
            WastDirective::AssertMalformed { module, .. }
            | WastDirective::AssertMalformedCustom { module, .. }
            | WastDirective::AssertInvalidCustom { module, .. } => check_refused(compile(module))?,
            WastDirective::AssertInvalid { module, .. } => {
                // Malformed it must not be.
                module.encode()?;
                check_refused(compile(module))?;
            }
            WastDirective::AssertUnlinkable { module, message, .. } => {
                let module = compile_wat(module)?;
                let Err(error) = self.instantiate(&module) else { bail!("it was instantiated") };
                let text = format!("{error:#}");
                ensure!(text.contains(*message), "expected {message:?}, got {text}");
            }
            WastDirective::AssertSuspension { .. } => bail!("stack switching is not supported"),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                bail!("threads are not supported")
            }
        }
        Ok(())
    }

    fn set_current(&mut self, name: Option<Id<'a>>, instance: Option<InstanceId>) {
        self.current = instance;
        match (name, instance) {
            (Some(name), Some(instance)) => drop(self.instances.insert(name.name(), instance)),
            (Some(name), None) => drop(self.instances.remove(name.name())),
            (None, _) => {}
        }
    }

    fn instance(&self, name: Option<Id<'a>>) -> Result<InstanceId> {
        match name {
            Some(name) => self.instances.get(name.name()).copied(),
            None => self.current,
        }
        .context("there is no such instance, or the latest module failed")
    }

    fn instantiate(&mut self, module: &Arc<Module>) -> Result<InstanceId> {
        let mut imports = Vec::new();
        for import in &module.imports {
            let key = (import.module.clone(), import.name.clone());
            let entity = self.registered.get(&key);
            imports.push(*entity.with_context(|| format!("unknown import {key:?}"))?);
        }
        let instance = self.machine.instantiate(module, &imports)?;
        if let Some(start) = self.machine.start_func(instance) {
            match self.machine.call(start, Vec::new(), |_, _, _| Vec::new())? {
                Outcome::Finished(_) => {}
                Outcome::Trapped(trap) => return Err(trap.into()),
                Outcome::Threw(_) => bail!("the start function threw an exception"),
            }
        }
        Ok(instance)
    }

    fn execute(&mut self, execute: &mut WastExecute<'a>) -> Result<Outcome> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(module) => {
                let module = compile_wat(module)?;
                self.instantiate(&module)?;
                Ok(Outcome::Finished(Vec::new()))
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(*module)?;
                match self.machine.export(instance, global) {
                    Some(Extern::Global(global)) => {
                        Ok(Outcome::Finished(vec![self.machine.global(global)]))
                    }
                    other => bail!("{global:?} is {other:?}"),
                }
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'a>) -> Result<Outcome> {
        let instance = self.instance(invoke.module)?;
        let func = match self.machine.export(instance, invoke.name) {
            Some(Extern::Func(func)) => func,
            other => bail!("{:?} is {other:?}", invoke.name),
        };
        let args = invoke.args.iter().map(value::argument).collect::<Result<_>>()?;
        self.machine.call(func, args, |_, _, _| Vec::new())
    }
}

fn compile(module: &mut QuoteWat<'_>) -> Result<Arc<Module>> {
    let bytes = module.encode().map_err(|error| anyhow!(error.message()))?;
    Module::shared(&bytes)
}

fn compile_wat(module: &mut Wat<'_>) -> Result<Arc<Module>> {
    let bytes = module.encode().map_err(|error| anyhow!(error.message()))?;
    Module::shared(&bytes)
}

fn check_trap(ended: Result<Outcome>, expected: &str) -> Result<()> {
    let trap = match ended {
        Ok(Outcome::Trapped(trap)) => trap,
        Ok(other) => bail!("expected the trap {expected:?}, it ended with {other:?}"),
        Err(error) => match error.downcast_ref::<TrapKind>() {
            Some(trap) => *trap,
            None => return Err(error.context(format!("expected the trap {expected:?}"))),
        },
    };
    let actual = trap.to_string();
    // The suite says more than we do of some traps, and less of others.
    let same = expected.starts_with(&actual) || actual.starts_with(expected);
    let null = trap == TrapKind::NullReference && expected.starts_with("null ");
    ensure!(same || null, "expected the trap {expected:?}, got {actual:?}");
    Ok(())
}

/// Which error it was is not compared. But a module that is refused because something is not
/// supported was not found to be wrong.
fn check_refused(compiled: Result<Arc<Module>>) -> Result<()> {
    let Err(error) = compiled else { bail!("the module was accepted") };
    let text = format!("{error:#}");
    let unsupported = ["not enabled", "not supported", "unsupported"];
    ensure!(!unsupported.iter().any(|lack| text.contains(lack)), "it was not looked at: {text}");
    Ok(())
}
