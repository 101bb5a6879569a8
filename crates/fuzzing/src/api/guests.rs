//! The guests, and what calls of them do.

use super::data::{Data, Inst};
use crate::Choices;
use stillframe::{Ref, Trap, Val};

/// Whose objects are its own.
pub(super) const OWNER: &str = r#"
(module $owner
  (memory (export "m") 1 9)
  (data (i32.const 0) "\01\02\03")
  (table (export "t") 4 50 funcref)
  (global (export "g") (mut i64) (i64.const 7))
  (func $start (global.set 0 (i64.add (global.get 0) (i64.const 1))))
  (start $start)
  (func $inc (export "inc") (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (elem (i32.const 1) func $inc))
"#;

/// Whose objects are imported.
pub(super) const USER: &str = r#"
(module $user
  (type $unary (func (param i32) (result i32)))
  (import "env" "m" (memory 0))
  (import "env" "t" (table 0 funcref))
  (import "env" "g" (global (mut i64)))
  (import "env" "h" (func $h (param i32) (result i32)))
  (func $inc (export "inc") (type $unary) (i32.add (local.get 0) (i32.const 1)))
  (func (export "poke") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "size") (result i32) (memory.size))
  (func (export "fill") (param i32 i32 i32)
    (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "tset") (param i32) (table.set 0 (local.get 0) (ref.func $inc)))
  (func (export "tnull") (param i32) (table.set 0 (local.get 0) (ref.null func)))
  (func (export "tgrow") (param i32) (result i32) (table.grow 0 (ref.null func) (local.get 0)))
  (func (export "tsize") (result i32) (table.size 0))
  (func (export "tcall") (param i32 i32) (result i32)
    (call_indirect (type $unary) (local.get 1) (local.get 0)))
  (func (export "gset") (param i64) (global.set 0 (local.get 0)))
  (func (export "gget") (result i64) (global.get 0))
  (func $ask (export "ask") (param i32) (result i32) (local f64 v128)
    (local.set 1 (f64.const 1.5))
    (i32.add (i32.const 1) (call $h (local.get 0))))
  (func (export "asks") (param i32) (result i32)
    (i32.sub (call $ask (call $ask (local.get 0))) (i32.const 2)))
  (func (export "spin") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.add (local.get 1) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get 1) (local.get 0))))
    (local.get 1))
  (func $dive (export "dive") (param i32) (result i32)
    (if (result i32) (local.get 0)
      (then (i32.add (call $dive (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
      (else (i32.const 0))))
  (tag $oops)
  (func (export "fail") (param i32) (result i32)
    (block (block (block (block (br_table 0 1 2 3 (local.get 0)))
      (unreachable))
      (return (i32.div_u (i32.const 1) (i32.const 0))))
      (throw $oops))
    (i32.trunc_f32_s (f32.const nan)))
  (func (export "same") (param externref) (result externref) (local.get 0))
  (export "m" (memory 0)) (export "t" (table 0)) (export "g" (global 0)) (export "h" (func $h)))
"#;

/// Addresses that are written and read.
pub(super) const ADDRESSES: [u32; 9] =
    [0, 1, 7, 65_535, 65_536, 131_071, 131_072, 1 << 20, u32::MAX];

/// A call of a function of [`USER`].
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) name: &'static str,
    pub(super) args: Vec<Val>,
    pub(super) inst: Inst,
}

/// What a call comes to.
pub(super) enum Expected {
    Results(Vec<Val>),
    Trap(Trap),
    /// An exception.
    Exception,
    /// It depends on what is not known here.
    Any,
}

impl Guest {
    /// Any call of a function of an instance.
    pub(super) fn choose(choices: &mut Choices<'_>, inst: Inst) -> Guest {
        let address = Val::I32(choices.pick(&ADDRESSES) as i32);
        let index = Val::I32(choices.pick(&[0, 1, 3, 10, 199, -1]));
        let delta = Val::I32(choices.pick(&[0, 1, 2, 100, 65_536, -1]));
        let small = Val::I32(choices.below(100) as i32);
        let number = Val::I64(choices.number() as i64);
        let (name, args) = match choices.below(20) {
            0 | 1 => ("poke", vec![address, small]),
            2 => ("peek", vec![address]),
            3 => ("grow", vec![delta]),
            4 => ("size", vec![]),
            5 => ("fill", vec![Val::I32(0), small, Val::I32(choices.pick(&[1, 2, 100_000]))]),
            6 => ("tset", vec![index]),
            7 => ("tnull", vec![index]),
            8 => ("tgrow", vec![delta]),
            9 => ("tsize", vec![]),
            10 => ("tcall", vec![index, small]),
            11 => ("gset", vec![number]),
            12 => ("gget", vec![]),
            13 => ("ask", vec![small]),
            14 | 15 => ("asks", vec![small]),
            16 => ("spin", vec![Val::I32(choices.pick(&[0, 1, 50, 2000]))]),
            17 => ("dive", vec![Val::I32(choices.pick(&[0, 5, 300, 1_000_000]))]),
            18 => ("fail", vec![Val::I32(choices.below(5) as i32)]),
            _ => ("same", vec![Val::ExternRef(None)]),
        };
        Guest { name, args, inst }
    }

    fn arg(&self, index: usize) -> u32 {
        self.args[index].unwrap_i32() as u32
    }

    /// Whether it can be stopped, or end without fuel.
    pub(super) fn has_checkpoints(&self) -> bool {
        let without = ["poke", "peek", "size", "tset", "tnull", "tsize", "gset", "gget", "fail"];
        !without.contains(&self.name) && self.name != "same"
    }

    /// Whether it calls the host, or what else stands in a table.
    pub(super) fn calls_others(&self) -> bool {
        ["ask", "asks", "tcall"].contains(&self.name)
    }

    /// What it comes to, if it is done now.
    pub(super) fn expected(&self, data: &Data) -> Expected {
        let (memory, table) = (&data.memories[self.inst.memory], &data.tables[self.inst.table]);
        let size = memory.pages << 16;
        let value = |value: u64| Expected::Results(vec![Val::I32(value as u32 as i32)]);
        let nothing = || Expected::Results(vec![]);
        match self.name {
            "poke" | "peek" if u64::from(self.arg(0)) >= size => {
                Expected::Trap(Trap::MemoryOutOfBounds)
            }
            "fill" if u64::from(self.arg(0)) + u64::from(self.arg(2)) > size => {
                Expected::Trap(Trap::MemoryOutOfBounds)
            }
            "tset" | "tnull" if self.arg(0) as usize >= table.elements.len() => {
                Expected::Trap(Trap::TableOutOfBounds)
            }
            "peek" => value(memory.byte(u64::from(self.arg(0))).into()),
            "poke" | "fill" | "tset" | "tnull" | "gset" => nothing(),
            "grow" => match memory.can_grow(self.arg(0).into()) {
                true => value(memory.pages),
                false => value(u64::MAX),
            },
            "size" => value(memory.pages),
            "tgrow" => match table.can_grow(self.arg(0).into()) {
                true => value(table.elements.len() as u64),
                false => value(u64::MAX),
            },
            "tsize" => value(table.elements.len() as u64),
            "tcall" => match table.elements.get(self.arg(0) as usize) {
                None => Expected::Trap(Trap::UndefinedElement),
                Some(Ref::Func(None)) => Expected::Trap(Trap::IndirectCallToNull),
                Some(Ref::Func(Some(func))) if data.incs.contains(func) => {
                    value((self.arg(1) + 1).into())
                }
                Some(_) => Expected::Any,
            },
            "gget" => Expected::Results(vec![data.globals[self.inst.global].value]),
            // What the host answers is one more.
            "ask" => value((self.arg(0) + 2).into()),
            "asks" => value((self.arg(0) + 2).into()),
            "spin" => value(self.arg(0).max(1).into()),
            "dive" => value(self.arg(0).into()),
            "fail" => match self.arg(0) {
                0 => Expected::Trap(Trap::UnreachableCodeReached),
                1 => Expected::Trap(Trap::IntegerDivisionByZero),
                2 => Expected::Exception,
                _ => Expected::Trap(Trap::BadConversionToInteger),
            },
            _ => Expected::Results(self.args.clone()),
        }
    }

    /// It has been done.
    pub(super) fn apply(&self, data: &mut Data) {
        let inst = self.inst;
        let memory = &mut data.memories[inst.memory];
        let elements = &mut data.tables[inst.table].elements;
        match self.name {
            "poke" => memory.set_byte(self.arg(0).into(), self.arg(1) as u8),
            "fill" => {
                for address in ADDRESSES {
                    if (self.arg(0)..self.arg(0) + self.arg(2)).contains(&address) {
                        memory.set_byte(address.into(), self.arg(1) as u8);
                    }
                }
            }
            "grow" if memory.can_grow(self.arg(0).into()) => {
                memory.pages += u64::from(self.arg(0));
            }
            "tset" => elements[self.arg(0) as usize] = Ref::Func(Some(inst.inc)),
            "tnull" => elements[self.arg(0) as usize] = Ref::Func(None),
            "tgrow" if data.tables[inst.table].can_grow(self.arg(0).into()) => {
                let elements = &mut data.tables[inst.table].elements;
                elements.resize(elements.len() + self.arg(0) as usize, Ref::Func(None));
            }
            "gset" => data.globals[inst.global].value = self.args[0],
            _ => {}
        }
    }
}
