//! Expressions: operators that leave one value.

use crate::body::Gen;
use crate::programs::{GLOBALS, SIGS};
use crate::types::Ty;

/// How deep expressions are nested.
const DEPTH: usize = 5;

impl Gen<'_> {
    /// An expression of a type.
    pub(crate) fn expr(&mut self, ty: Ty) {
        self.depth += 1;
        if self.depth > DEPTH || self.is_spent() {
            self.leaf(ty);
        } else {
            match self.rng.below(100) {
                0..25 => self.leaf(ty),
                25..40 => self.unary(ty),
                40..60 => self.binary(ty),
                60..70 => self.load(ty),
                70..79 if self.is_leaf => self.load(ty),
                70..79 => self.call_for(ty),
                79..85 => self.select(ty),
                85..91 => self.if_for(ty),
                91..94 => self.block_for(ty),
                _ => self.tee(ty),
            }
        }
        self.depth -= 1;
    }

    fn leaf(&mut self, ty: Ty) {
        let local = self.local_of(ty);
        let global = GLOBALS.iter().position(|&global| global == ty);
        match (self.rng.below(10), local, global) {
            (0..6, Some(local), _) => self.emit(format!("local.get {local}")),
            (6..8, _, Some(global)) => self.emit(format!("global.get $g{global}")),
            (8, ..) if matches!(ty, Ty::Extern | Ty::Func) && !self.is_leaf => {
                let index = self.rng.below(4);
                self.emit(format!("i32.const {index}"));
                self.table_op("table.get", ty);
            }
            _ => {
                let constant = ty.constant(self.rng);
                self.emit(constant);
            }
        }
    }

    /// An operator on the table of references of a type.
    pub(crate) fn table_op(&mut self, op: &str, ty: Ty) {
        let table = if ty == Ty::Extern { "$externs" } else { "$funcs" };
        self.emit(format!("{op} {table}"));
    }

    fn unary(&mut self, ty: Ty) {
        let wild = self.is_wild();
        let (from, op) = match ty {
            Ty::I32 => match self.rng.below(9) {
                0 => (Ty::I64, "i32.wrap_i64"),
                1 => (Ty::F64, if wild { "i32.trunc_f64_s" } else { "i32.trunc_sat_f64_s" }),
                2 => (Ty::F32, if wild { "i32.trunc_f32_u" } else { "i32.trunc_sat_f32_u" }),
                3 => (Ty::V128, "i32x4.extract_lane 3"),
                4 => (Ty::Extern, "ref.is_null"),
                5 => (Ty::Func, "ref.is_null"),
                6 => (Ty::I64, "i64.eqz"),
                _ => (Ty::I32, self.rng.pick(&["i32.eqz", "i32.clz", "i32.extend8_s"])),
            },
            Ty::I64 => match self.rng.below(5) {
                0 => (Ty::I32, "i64.extend_i32_s"),
                1 => (Ty::I32, "i64.extend_i32_u"),
                2 => (Ty::F32, if wild { "i64.trunc_f32_s" } else { "i64.trunc_sat_f32_s" }),
                3 => (Ty::V128, "i64x2.extract_lane 1"),
                _ => (Ty::I64, self.rng.pick(&["i64.popcnt", "i64.extend16_s"])),
            },
            Ty::F32 => match self.rng.below(3) {
                0 => (Ty::I32, "f32.convert_i32_s"),
                1 => (Ty::F64, "f32.demote_f64"),
                _ => (Ty::F32, self.rng.pick(&["f32.neg", "f32.sqrt", "f32.floor"])),
            },
            Ty::F64 => match self.rng.below(3) {
                0 => (Ty::I64, "f64.convert_i64_u"),
                1 => (Ty::F32, "f64.promote_f32"),
                _ => (Ty::F64, self.rng.pick(&["f64.abs", "f64.sqrt", "f64.trunc"])),
            },
            Ty::V128 => match self.rng.below(3) {
                0 => (Ty::I32, "i32x4.splat"),
                1 => (Ty::I64, "i64x2.splat"),
                _ => (Ty::V128, self.rng.pick(&["v128.not", "i8x16.abs", "i16x8.neg"])),
            },
            Ty::Func | Ty::Extern | Ty::Exn => return self.leaf(ty),
        };
        self.expr(from);
        self.emit(op.to_string());
    }

    fn binary(&mut self, ty: Ty) {
        let (from, op) = match ty {
            Ty::I32 => match self.rng.below(6) {
                0 => (Ty::I64, self.rng.pick(&["i64.lt_s", "i64.eq"])),
                1 => (Ty::F64, self.rng.pick(&["f64.lt", "f64.ne"])),
                2 => return self.divide(ty),
                _ => (Ty::I32, self.rng.pick(&I32_OPS)),
            },
            Ty::I64 if self.rng.percent(15) => return self.divide(ty),
            Ty::I64 => (ty, self.rng.pick(&["i64.add", "i64.sub", "i64.xor", "i64.rotl"])),
            Ty::F32 => (ty, self.rng.pick(&["f32.add", "f32.mul", "f32.div", "f32.min"])),
            Ty::F64 => (ty, self.rng.pick(&["f64.sub", "f64.mul", "f64.max"])),
            Ty::V128 => (ty, self.rng.pick(&["i32x4.add", "v128.xor", "i8x16.swizzle"])),
            Ty::Func | Ty::Extern | Ty::Exn => return self.select(ty),
        };
        self.expr(from);
        self.expr(from);
        self.emit(op.to_string());
    }

    fn divide(&mut self, ty: Ty) {
        let name = ty.name();
        self.expr(ty);
        self.expr(ty);
        if !self.is_wild() {
            self.emit(format!("{name}.const 1"));
            self.emit(format!("{name}.or"));
        }
        let op = self.rng.pick(&["div_u", "rem_u", "rem_s", "div_u"]);
        self.emit(format!("{name}.{op}"));
    }

    /// An address for 16 bytes, and an offset.
    pub(crate) fn address(&mut self) -> String {
        self.expr(Ty::I32);
        if !self.is_wild() {
            self.emit("i32.const 0x8fff".to_string());
            self.emit("i32.and".to_string());
        }
        match self.rng.percent(50) {
            true => format!(" offset={}", self.rng.below(1000)),
            false => String::new(),
        }
    }

    fn load(&mut self, ty: Ty) {
        let op: &str = match ty {
            Ty::I32 => self.rng.pick(&["i32.load", "i32.load8_s", "i32.load16_u", "i32.load"]),
            Ty::I64 => self.rng.pick(&["i64.load", "i64.load32_s", "i64.load8_u", "i64.load16_s"]),
            Ty::F32 => "f32.load",
            Ty::F64 => "f64.load",
            Ty::V128 => self.rng.pick(&["v128.load", "v128.load8x8_s", "v128.load32_splat"]),
            Ty::Func | Ty::Extern | Ty::Exn => return self.leaf(ty),
        };
        let offset = self.address();
        self.emit(format!("{op}{offset}"));
    }

    /// A call whose only result, or whose first one, is of the type.
    fn call_for(&mut self, ty: Ty) {
        let Some(callee) = self.callee(|_, results| results.first() == Some(&ty)) else {
            return self.leaf(ty);
        };
        self.call(callee);
        for _ in &SIGS[self.sig_of(callee)].1[1..] {
            self.emit("drop".to_string());
        }
    }

    fn select(&mut self, ty: Ty) {
        self.expr(ty);
        self.expr(ty);
        self.expr(Ty::I32);
        self.emit(format!("select (result {})", ty.name()));
    }

    fn if_for(&mut self, ty: Ty) {
        self.expr(Ty::I32);
        self.open(&format!("if (result {})", ty.name()), Some(vec![ty]));
        self.statement();
        self.expr(ty);
        self.emit("else".to_string());
        self.expr(ty);
        self.close();
    }

    fn block_for(&mut self, ty: Ty) {
        self.open(&format!("block (result {})", ty.name()), Some(vec![ty]));
        self.statement();
        self.expr(ty);
        self.expr(Ty::I32);
        self.emit("br_if 0".to_string());
        self.close();
    }

    fn tee(&mut self, ty: Ty) {
        self.expr(ty);
        if let Some(local) = self.settable(ty) {
            self.emit(format!("local.tee {local}"));
        }
    }
}

const I32_OPS: [&str; 9] = [
    "i32.add", "i32.sub", "i32.mul", "i32.and", "i32.xor", "i32.shl", "i32.lt_s", "i32.gt_u",
    "i32.eq",
];
