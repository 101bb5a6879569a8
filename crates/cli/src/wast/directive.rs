//! Each kind of directive: what it does, and when it has passed.

use super::context::{Context, encode};
use super::value;
use anyhow::{Context as _, Error, Result, bail, ensure};
use stillframe::{Module, Trap, UncaughtException, Val};
use wast::{WastDirective, WastExecute, WastInvoke};

/// How scripts spell this directive.
pub(super) fn name(directive: &WastDirective<'_>) -> &'static str {
    match directive {
        WastDirective::Module(_) => "module",
        WastDirective::ModuleDefinition(_) => "module definition",
        WastDirective::ModuleInstance { .. } => "module instance",
        WastDirective::AssertMalformed { .. } => "assert_malformed",
        WastDirective::AssertInvalid { .. } => "assert_invalid",
        WastDirective::AssertMalformedCustom { .. } => "assert_malformed_custom",
        WastDirective::AssertInvalidCustom { .. } => "assert_invalid_custom",
        WastDirective::Register { .. } => "register",
        WastDirective::Invoke(_) => "invoke",
        WastDirective::AssertTrap { .. } => "assert_trap",
        WastDirective::AssertReturn { .. } => "assert_return",
        WastDirective::AssertExhaustion { .. } => "assert_exhaustion",
        WastDirective::AssertUnlinkable { .. } => "assert_unlinkable",
        WastDirective::AssertException { .. } => "assert_exception",
        WastDirective::AssertSuspension { .. } => "assert_suspension",
        WastDirective::Thread(_) => "thread",
        WastDirective::Wait { .. } => "wait",
    }
}

impl<'a> Context<'a> {
    /// Runs a directive. An error says why it has not passed.
    pub(super) fn run(&mut self, directive: &mut WastDirective<'a>) -> Result<()> {
        match directive {
            WastDirective::Module(module) => {
                let name = module.name();
                // If this fails, directives that follow must not meet the instance before it.
                self.set_current(name, None);
                let module = self.compile(module)?;
                let instance = self.instantiate(&module)?;
                self.set_current(name, Some(instance));
                Ok(())
            }
            WastDirective::ModuleDefinition(module) => {
                let compiled = self.compile(module)?;
                self.define(module.name(), compiled);
                Ok(())
            }
            WastDirective::ModuleInstance { instance: name, module, .. } => {
                self.set_current(*name, None);
                let module = self.definition(*module)?;
                let instance = self.instantiate(&module)?;
                self.set_current(*name, Some(instance));
                Ok(())
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instance(*module)?;
                self.linker.instance(&mut self.store, name, instance)?;
                Ok(())
            }
            WastDirective::Invoke(invoke) => self.invoke(invoke).map(drop),
            WastDirective::AssertReturn { exec, results, .. } => {
                let actual = self.execute(exec)?;
                value::check_results(&self.store, results, &actual)
            }
            WastDirective::AssertTrap { exec, message, .. } => {
                let ended = self.execute(exec);
                self.check_trap(ended, message)
            }
            WastDirective::AssertExhaustion { call, message, .. } => {
                let ended = self.invoke(call);
                self.check_trap(ended, message)
            }
            WastDirective::AssertMalformed { module, message, .. }
            | WastDirective::AssertMalformedCustom { module, message, .. }
            | WastDirective::AssertInvalidCustom { module, message, .. } => {
                check_refused(self.compile(module), message)
            }
            WastDirective::AssertInvalid { module, message, .. } => {
                // Malformed it must not be.
                encode(module)?;
                check_refused(self.compile(module), message)
            }
            WastDirective::AssertUnlinkable { module, message, .. } => {
                let module = self.compile_wat(module)?;
                check_unlinkable(self.instantiate(&module).map(drop), message)
            }
            WastDirective::AssertException { exec, .. } => match self.execute(exec) {
                Err(error) if error.is::<UncaughtException>() => Ok(()),
                Err(error) => Err(error.context("expected an exception")),
                Ok(_) => bail!("expected an exception, it ended normally"),
            },
            WastDirective::AssertSuspension { .. } => bail!("stack switching is not supported"),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => {
                bail!("threads are not supported")
            }
        }
    }

    fn execute(&mut self, execute: &mut WastExecute<'a>) -> Result<Vec<Val>> {
        match execute {
            WastExecute::Invoke(invoke) => self.invoke(invoke),
            WastExecute::Wat(module) => {
                let module = self.compile_wat(module)?;
                self.instantiate(&module)?;
                Ok(Vec::new())
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(*module)?;
                let found = instance.get_global(&mut self.store, global);
                let found = found.with_context(|| format!("there is no global {global:?}"))?;
                Ok(vec![found.get(&mut self.store)])
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'a>) -> Result<Vec<Val>> {
        let instance = self.instance(invoke.module)?;
        let func = instance.get_func(&mut self.store, invoke.name);
        let func = func.with_context(|| format!("there is no function {:?}", invoke.name))?;
        let params: Result<Vec<Val>> =
            invoke.args.iter().map(|arg| value::argument(&mut self.store, arg)).collect();
        self.call(func, &params?)
    }

    fn check_trap(&self, ended: Result<Vec<Val>>, expected: &str) -> Result<()> {
        let error = match ended {
            Ok(values) => bail!(
                "expected the trap {expected:?}, but it returned: {}",
                value::show_all(&self.store, &values)
            ),
            Err(error) => error,
        };
        let Some(trap) = error.downcast_ref::<Trap>() else {
            return Err(error.context(format!("expected the trap {expected:?}, got an error")));
        };
        let actual = trap.to_string();
        // The suite says more than we do of some traps, and less of others.
        ensure!(
            expected.starts_with(&actual) || actual.starts_with(expected),
            "expected the trap {expected:?}, got {actual:?}"
        );
        Ok(())
    }
}

/// What a module was refused for is not compared: the suite's words are those of its interpreter.
/// But a module that we refuse because we lack something was not found to be wrong.
fn check_refused(compiled: Result<Module>, expected: &str) -> Result<()> {
    match compiled {
        Ok(_) => bail!("expected {expected:?}, but the module was accepted"),
        Err(error) if is_lack_of_support(&error) => {
            Err(error.context(format!("expected {expected:?}, but it was not looked at")))
        }
        Err(_) => Ok(()),
    }
}

fn is_lack_of_support(error: &Error) -> bool {
    let text = format!("{error:#}");
    ["not enabled", "not supported", "unsupported"].iter().any(|lack| text.contains(lack))
}

fn check_unlinkable(linked: Result<()>, expected: &str) -> Result<()> {
    let Err(error) = linked else {
        bail!("expected {expected:?}, but the module was instantiated");
    };
    let text = format!("{error:#}");
    ensure!(text.contains(expected), "expected {expected:?}, got: {text}");
    Ok(())
}
