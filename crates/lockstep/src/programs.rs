//! Programs in which much happens: structured, always valid, deterministic from a seed.
//!
//! ```text
//!   programs.rs    Program: what its functions share, and its text     types.rs   types of values
//!   body.rs        a function's statements                 expr.rs     expressions
//!   faults.rs      the same function with something put in at one of its operators
//! ```
//!
//! Bodies are text in WebAssembly's flat form, one operator in each line: so a position in the
//! function's operators is a line, and a program that shows a bug can be read.
//!
//! A function calls only functions before it, and loops count down, so that all ends. Conditions,
//! addresses, divisors and conversions are sometimes left to chance: then it may end in a trap.
//! Floats are stored only after every NaN was made the same one, since which NaN arithmetic gives is
//! not determined.

use crate::body;
use crate::faults::Variant;
use crate::rng::Rng;
use crate::types::{Sig, Ty};
use std::fmt::Write as _;

/// The types of functions: of the first [`HOSTS`] ones there is a host function too.
pub(crate) const SIGS: [(&[Ty], &[Ty]); 10] = [
    (&[], &[]),
    (&[Ty::I32], &[Ty::I32]),
    (&[Ty::I64, Ty::F32], &[Ty::F64]),
    (&[Ty::V128], &[Ty::V128, Ty::I32]),
    (&[Ty::Extern, Ty::Func], &[Ty::Extern]),
    (&[], &[Ty::Func, Ty::I64]),
    (&[Ty::I32, Ty::I64, Ty::F32, Ty::F64, Ty::V128], &[Ty::I64]),
    (&[Ty::F64, Ty::Extern], &[Ty::F32, Ty::I32, Ty::I64]),
    (&[Ty::I32, Ty::I32], &[]),
    (&[Ty::V128, Ty::I32, Ty::I64, Ty::V128, Ty::Func], &[Ty::I32]),
];
/// How many host functions there are.
pub(crate) const HOSTS: usize = 6;
/// What the tags carry.
pub(crate) const TAGS: [&[Ty]; 4] = [&[], &[Ty::I32], &[Ty::I64, Ty::F32], &[Ty::Extern, Ty::V128]];
/// The types of the globals that programs use.
pub(crate) const GLOBALS: [Ty; 8] =
    [Ty::I32, Ty::I64, Ty::F32, Ty::F64, Ty::V128, Ty::Func, Ty::Extern, Ty::I32];
/// The number of the first function that a program defines: `$boom` and `$sinks` are before it,
/// which trap.
const FIRST: usize = HOSTS + 2;

/// How many of a program's functions can be inlined: the first ones.
const LEAVES: usize = 3;
/// How many operators they have, about, at most: with a fault in it, it is still small.
const LEAF_SIZE: usize = 14;

/// A function of a program.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) sig: usize,
    /// Beside the parameters.
    pub(crate) locals: Vec<Ty>,
    /// Its operators.
    pub(crate) code: Vec<String>,
    /// Whether it can be inlined, if it is small enough.
    pub(crate) is_leaf: bool,
}

impl Body {
    pub(crate) fn sig(&self) -> Sig {
        SIGS[self.sig]
    }

    /// The types of its locals, parameters first.
    pub(crate) fn all_locals(&self) -> Vec<Ty> {
        self.sig().0.iter().chain(&self.locals).copied().collect()
    }
}

/// A random program.
#[derive(Clone, Debug)]
pub struct Program {
    pub(crate) functions: Vec<Body>,
}

impl Program {
    /// The program of this seed; its functions have about `size` operators each.
    pub fn new(seed: u64, size: usize) -> Program {
        let mut rng = Rng::new(seed);
        let mut functions: Vec<Body> = Vec::new();
        for _ in 0..LEAVES {
            let size = 4 + rng.below(LEAF_SIZE);
            let leaf = body::generate(&mut rng, &functions, size, true);
            functions.push(leaf);
        }
        for _ in 0..4 + rng.below(3) {
            let function = body::generate(&mut rng, &functions, size, false);
            functions.push(function);
        }
        Program { functions }
    }

    /// How many functions it has; they are exported as `f0` and so on, and call only those before
    /// them.
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Which of the functions can be inlined.
    pub fn leaves(&self) -> impl Iterator<Item = usize> {
        (0..self.functions.len()).filter(|&i| self.functions[i].is_leaf)
    }

    /// Whether a function calls another one by name.
    pub fn calls(&self, caller: usize, callee: usize) -> bool {
        self.functions[caller].code.contains(&call_of(callee))
    }

    /// The index in the module of a function.
    pub fn index(function: usize) -> u32 {
        (FIRST + function) as u32
    }

    /// How many operators a function has.
    pub fn operators(&self, function: usize) -> usize {
        // And the `end` of the body.
        self.functions[function].code.len() + 1
    }

    /// The program, with variants of its functions, which are exported by their names.
    pub fn wat(&self, variants: &[Variant]) -> String {
        let mut wat = String::from("(module\n");
        for (i, (params, results)) in SIGS.iter().enumerate() {
            let _ = writeln!(wat, "(type $t{i} (func{}))", signature(params, results));
        }
        for i in 0..HOSTS {
            let _ = writeln!(wat, "(import \"host\" \"h{i}\" (func $h{i} (type $t{i})))");
        }
        for (i, params) in TAGS.iter().enumerate() {
            let _ = writeln!(wat, "(tag $tag{i}{})", signature(params, &[]));
        }
        for (i, ty) in GLOBALS.iter().enumerate() {
            let (name, zero) = (ty.name(), ty.zero());
            let _ = writeln!(wat, "(global $g{i} (export \"g{i}\") (mut {name}) ({zero}))");
        }
        wat += FIXED;
        let functions = (0..self.functions.len()).map(|i| format!(" $f{i}"));
        let hosts = (0..HOSTS).map(|i| format!(" $h{i}"));
        let elements: String = hosts.chain(functions).collect();
        let _ = writeln!(wat, "(elem (table $calls) (i32.const 0) func{elements})");
        for (i, function) in self.functions.iter().enumerate() {
            write_function(&mut wat, &format!("$f{i} (export \"f{i}\")"), function);
        }
        for (i, variant) in variants.iter().enumerate() {
            let (export, faulty) =
                (format!("(export \"{}\")", variant.name()), variant.apply(self));
            let Some(caller) = variant.caller else {
                write_function(&mut wat, &export, &faulty);
                continue;
            };
            let mut caller = self.functions[caller].clone();
            for operator in &mut caller.code {
                if *operator == call_of(variant.function) {
                    *operator = format!("call $variant{i}");
                }
            }
            write_function(&mut wat, &format!("$variant{i}"), &faulty);
            write_function(&mut wat, &export, &caller);
        }
        wat + ")\n"
    }
}

/// What all programs have: memory, tables, and what faults need.
const FIXED: &str = r#"
(global $zero (mut i32) (i32.const 0))
(global $out (mut i32) (i32.const -16))
(global $fuse (mut i32) (i32.const 2))
(global $sum (export "sum") (mut i64) (i64.const 0))
(memory (export "memory") 1 3)
(data (i32.const 0) "\01\00\00\00\02\00\00\00\ff\fe\fd\fc\00\00\00\80\07\06\05\04\03\02\01\00")
(data (i32.const 1024) "\11\22\33\44\55\66\77\88\99\aa\bb\cc\dd\ee\0f\10")
(table $calls 20 funcref)
(table $externs 4 30 externref)
(table $funcs 4 30 funcref)
(func $boom (param i32 i64) (result i32) (local $a f64) (local $b v128)
  (local.set $a (f64.const 2.5)) (local.set $b (v128.const i64x2 3 4))
  (if (i32.eqz (global.get $zero)) (then (unreachable)))
  (drop (local.get $a)) (drop (local.get $b)) (local.get 0))
(func $sinks (param i32 i64) (result i32) (local $a i32) (local $b i64)
  (local.set $a (i32.load (global.get $out))) (local.set $b (i64.add (local.get 1) (i64.const 5)))
  (i32.add (local.get $a) (i32.wrap_i64 (local.get $b))))
"#;

fn signature(params: &[Ty], results: &[Ty]) -> String {
    let list = |word: &str, types: &[Ty]| match types {
        [] => String::new(),
        types => {
            let names: String = types.iter().map(|ty| format!(" {}", ty.name())).collect();
            format!(" ({word}{names})")
        }
    };
    list("param", params) + &list("result", results)
}

/// The type of a block with these parameters and results.
pub(crate) fn block_type(params: &[Ty], results: &[Ty]) -> String {
    signature(params, results)
}

/// The operator that calls a function by name.
fn call_of(function: usize) -> String {
    format!("call $f{function}")
}

fn write_function(wat: &mut String, name: &str, function: &Body) {
    let _ = write!(wat, "(func {name} (type $t{})", function.sig);
    if !function.locals.is_empty() {
        wat.push_str(" (local");
        for ty in &function.locals {
            let _ = write!(wat, " {}", ty.name());
        }
        wat.push(')');
    }
    for operator in &function.code {
        let _ = write!(wat, "\n  {operator}");
    }
    wat.push_str(")\n");
}
