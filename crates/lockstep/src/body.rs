//! A function's body: statements, which leave the operand stack as it was.

use crate::programs::{Body, HOSTS, SIGS, TAGS, block_type};
use crate::rng::Rng;
use crate::types::Ty;

/// The function that is being written.
pub(crate) struct Gen<'a> {
    pub(crate) rng: &'a mut Rng,
    /// The functions before it, which it can call.
    functions: &'a [Body],
    sig: usize,
    /// Parameters first.
    locals: Vec<Ty>,
    /// How many of them statements set; the others count loops.
    free: usize,
    code: Vec<String>,
    size: usize,
    /// How deep the expression is nested that is being written.
    pub(crate) depth: usize,
    /// The labels around, outermost first, with the operands that a branch there takes; `None` for
    /// loops, to which only their own ends branch.
    labels: Vec<Option<Vec<Ty>>>,
    /// In percent: how often what could trap is left to chance.
    wild: usize,
    /// Whether it is one that can be inlined: nothing in it can stop but by trapping.
    pub(crate) is_leaf: bool,
}

/// A function that can be called: of the host, or of the program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Callee {
    Host(usize),
    Function(usize),
}

/// Writes a function of about `size` operators. A leaf is one that can be inlined, if it is small.
pub(crate) fn generate(rng: &mut Rng, functions: &[Body], size: usize, is_leaf: bool) -> Body {
    let sig = rng.below(SIGS.len());
    let mut locals = SIGS[sig].0.to_vec();
    locals.extend(Ty::ALL);
    // Some functions have more than the words of a set hold.
    let more = if rng.percent(15) && !is_leaf { 70 } else { 6 };
    for _ in 0..rng.below(more) {
        locals.push(Ty::ALL[rng.below(Ty::ALL.len())]);
    }
    let (free, wild) = (locals.len(), [0, 2, 10][rng.below(3)]);
    let labels = vec![Some(SIGS[sig].1.to_vec())];
    let (code, depth) = (Vec::new(), 0);
    let mut g = Gen { rng, functions, sig, locals, free, code, size, depth, labels, wild, is_leaf };
    while !g.is_spent() {
        g.statement();
    }
    g.leave();
    let locals = g.locals[SIGS[sig].0.len()..].to_vec();
    Body { sig, locals, code: g.code, is_leaf }
}

impl Gen<'_> {
    pub(crate) fn emit(&mut self, operator: String) {
        self.code.push(operator);
    }

    /// Whether the function is long enough.
    pub(crate) fn is_spent(&self) -> bool {
        self.code.len() >= self.size
    }

    /// Whether the next operator may trap.
    pub(crate) fn is_wild(&mut self) -> bool {
        self.rng.percent(self.wild)
    }

    fn local_among(&mut self, ty: Ty, among: usize) -> Option<usize> {
        let of_type: Vec<usize> = (0..among).filter(|&local| self.locals[local] == ty).collect();
        (!of_type.is_empty()).then(|| of_type[self.rng.below(of_type.len())])
    }

    /// A local of the type.
    pub(crate) fn local_of(&mut self, ty: Ty) -> Option<usize> {
        self.local_among(ty, self.locals.len())
    }

    /// A local of the type that may be written.
    pub(crate) fn settable(&mut self, ty: Ty) -> Option<usize> {
        self.local_among(ty, self.free)
    }

    /// Begins a construct with a label that takes these operands.
    pub(crate) fn open(&mut self, opener: &str, label: Option<Vec<Ty>>) {
        self.emit(opener.to_string());
        self.labels.push(label);
    }

    pub(crate) fn close(&mut self) {
        self.emit("end".to_string());
        self.labels.pop();
    }

    fn exprs(&mut self, types: &[Ty]) {
        for &ty in types {
            self.expr(ty);
        }
    }

    /// Takes operands of these types from the stack.
    fn take(&mut self, types: &[Ty]) {
        for &ty in types.iter().rev() {
            match self.settable(ty) {
                Some(local) if self.rng.percent(60) => self.emit(format!("local.set {local}")),
                _ => self.emit("drop".to_string()),
            }
        }
    }

    pub(crate) fn sig_of(&self, callee: Callee) -> usize {
        match callee {
            Callee::Host(host) => host,
            Callee::Function(function) => self.functions[function].sig,
        }
    }

    /// A function whose type is as wanted.
    pub(crate) fn callee(&mut self, wanted: impl Fn(&[Ty], &[Ty]) -> bool) -> Option<Callee> {
        let hosts = (0..HOSTS).map(Callee::Host);
        let functions = (0..self.functions.len()).map(Callee::Function);
        let fits = |callee: &Callee| {
            let (params, results) = SIGS[self.sig_of(*callee)];
            wanted(params, results)
        };
        let fitting: Vec<Callee> = hosts.chain(functions).filter(fits).collect();
        (!fitting.is_empty()).then(|| fitting[self.rng.below(fitting.len())])
    }

    /// Calls it, by name or through the table. Its results are left.
    pub(crate) fn call(&mut self, callee: Callee) {
        let operator = self.arguments(callee, "call");
        self.emit(operator);
    }

    /// The arguments of a call, and its operator.
    fn arguments(&mut self, callee: Callee, call: &str) -> String {
        let sig = self.sig_of(callee);
        self.exprs(SIGS[sig].0);
        let is_leaf =
            matches!(callee, Callee::Function(function) if self.functions[function].is_leaf);
        let (name, mut index) = match callee {
            Callee::Host(host) => (format!("$h{host}"), host),
            Callee::Function(function) => (format!("$f{function}"), HOSTS + function),
        };
        if self.rng.percent(if is_leaf { 90 } else { 60 }) {
            return format!("{call} {name}");
        }
        if self.is_wild() {
            index = [index + 1, 19, 1000][self.rng.below(3)];
        }
        self.emit(format!("i32.const {index}"));
        format!("{call}_indirect $calls (type $t{sig})")
    }

    pub(crate) fn statement(&mut self) {
        if self.is_spent() {
            return;
        }
        let depth = std::mem::replace(&mut self.depth, self.labels.len() / 3);
        match self.rng.below(100) {
            36..46 | 59..68 | 78..97 if self.is_leaf => self.store(),
            0..22 => self.set(),
            22..26 => self.set_global(),
            26..36 => self.store(),
            36..46 => self.call_statement(),
            46..53 => self.if_statement(),
            53..59 => self.block(),
            59..68 => self.counted_loop(),
            68..72 => self.switch(),
            72..78 => self.branch(),
            78..86 => self.try_table(),
            86..90 => self.throw(),
            90..97 => self.bulk(),
            _ if self.is_wild() => self.guarded(|g| g.emit("unreachable".to_string())),
            _ => self.set(),
        }
        self.depth = depth;
    }

    fn set(&mut self) {
        let ty = Ty::ALL[self.rng.below(Ty::ALL.len())];
        self.expr(ty);
        let local = self.settable(ty).expect("there is a local of each type");
        self.emit(format!("local.set {local}"));
    }

    fn set_global(&mut self) {
        let global = self.rng.below(crate::programs::GLOBALS.len());
        self.expr(crate::programs::GLOBALS[global]);
        self.emit(format!("global.set $g{global}"));
    }

    fn store(&mut self) {
        let (ty, op) = match self.rng.below(6) {
            0 => (Ty::I32, self.rng.pick(&["i32.store", "i32.store8", "i32.store16"])),
            1 => (Ty::I64, self.rng.pick(&["i64.store", "i64.store32"])),
            2 => (Ty::F32, "f32.store"),
            3 => (Ty::F64, "f64.store"),
            4 => (Ty::V128, "v128.store"),
            _ => (Ty::I32, "i32.store"),
        };
        let offset = self.address();
        self.expr(ty);
        if matches!(ty, Ty::F32 | Ty::F64) {
            // Which NaN it is must not be seen.
            let (name, local) = (ty.name(), self.settable(ty).expect("one of each type"));
            self.emit(format!("local.tee {local}"));
            self.emit(format!("{name}.const 0"));
            self.emit(format!("local.get {local}"));
            self.emit(format!("local.get {local}"));
            self.emit(format!("{name}.eq"));
            self.emit("select".to_string());
        }
        self.emit(format!("{op}{offset}"));
    }

    fn call_statement(&mut self) {
        let leaves: Vec<usize> =
            (0..self.functions.len()).filter(|&i| self.functions[i].is_leaf).collect();
        let callee = match self.rng.percent(25) && !leaves.is_empty() {
            true => Callee::Function(leaves[self.rng.below(leaves.len())]),
            false => self.callee(|_, _| true).expect("there are host functions"),
        };
        self.call(callee);
        self.take(SIGS[self.sig_of(callee)].1);
    }

    /// Does it behind a condition.
    fn guarded(&mut self, inner: impl FnOnce(&mut Self)) {
        self.expr(Ty::I32);
        self.open("if", Some(Vec::new()));
        inner(self);
        self.close();
    }

    fn if_statement(&mut self) {
        self.expr(Ty::I32);
        self.open("if", Some(Vec::new()));
        self.statement();
        if self.rng.percent(50) {
            self.emit("else".to_string());
            self.statement();
        }
        self.close();
    }

    /// A block with parameters and several results, and a way out.
    fn block(&mut self) {
        let (params, results): (&[Ty], &[Ty]) = match self.rng.below(4) {
            0 => (&[Ty::I32, Ty::I64], &[Ty::I64, Ty::I32]),
            1 => (&[Ty::F64], &[Ty::F64, Ty::V128]),
            2 => (&[Ty::Extern], &[Ty::Extern, Ty::Func, Ty::F32]),
            _ => (&[], &[]),
        };
        self.exprs(params);
        self.open(&format!("block{}", block_type(params, results)), Some(results.to_vec()));
        self.statement();
        self.take(params);
        self.statement();
        self.exprs(results);
        self.expr(Ty::I32);
        self.emit("br_if 0".to_string());
        self.take(results);
        self.statement();
        self.exprs(results);
        self.close();
        self.take(results);
    }

    /// A loop that ends, with an operand that goes round.
    fn counted_loop(&mut self) {
        let carried: &[Ty] = match self.rng.below(4) {
            0 => &[Ty::I64],
            1 => &[Ty::V128, Ty::Extern],
            _ => &[],
        };
        let counter = self.locals.len();
        self.locals.push(Ty::I32);
        let rounds = 1 + self.rng.below(3);
        self.emit(format!("i32.const {rounds}"));
        self.emit(format!("local.set {counter}"));
        self.exprs(carried);
        self.open(&format!("loop{}", block_type(carried, carried)), None);
        self.statement();
        self.statement();
        if carried == [Ty::I64] {
            self.expr(Ty::I64);
            self.emit("i64.add".to_string());
        }
        self.statement();
        self.emit(format!("local.get {counter}"));
        self.emit("i32.const 1".to_string());
        self.emit("i32.sub".to_string());
        self.emit(format!("local.tee {counter}"));
        self.emit("br_if 0".to_string());
        self.close();
        self.take(carried);
    }

    fn switch(&mut self) {
        let arms = 2 + self.rng.below(3);
        for _ in 0..arms {
            self.open("block", Some(Vec::new()));
        }
        self.expr(Ty::I32);
        let labels: String = (0..arms + 1).map(|_| format!(" {}", self.rng.below(arms))).collect();
        self.emit(format!("br_table{labels}"));
        for _ in 0..arms {
            self.close();
            self.statement();
        }
    }

    /// A branch out of some constructs, behind a condition.
    fn branch(&mut self) {
        let depth = self.rng.below(self.labels.len().min(6));
        let Some(types) = self.labels[self.labels.len() - 1 - depth].clone() else { return };
        if self.rng.percent(50) {
            self.exprs(&types);
            self.expr(Ty::I32);
            self.emit(format!("br_if {depth}"));
            self.take(&types);
        } else {
            self.guarded(|g| {
                g.exprs(&types);
                if depth + 2 == g.labels.len() && g.rng.percent(50) {
                    g.emit("return".to_string());
                } else {
                    g.emit(format!("br {}", depth + 1));
                }
            });
        }
    }

    /// ```text
    ///   block exit
    ///     block second (results of the second clause)
    ///       block first (results of the first clause)
    ///         try_table (catch.. first) (catch.. second) … end  br exit
    ///       end  …  br exit
    ///     end  …
    ///   end
    /// ```
    fn try_table(&mut self) {
        let clause = |g: &mut Self, label: usize| {
            let tag = g.rng.below(TAGS.len() + 2);
            let (mut clause, mut types) = match TAGS.get(tag) {
                Some(types) => (format!("(catch $tag{tag} {label})"), types.to_vec()),
                None => (format!("(catch_all {label})"), Vec::new()),
            };
            if g.rng.percent(40) {
                clause = clause.replacen("catch_all", "catch_all_ref", 1);
                clause = clause.replacen("catch ", "catch_ref ", 1);
                types.push(Ty::Exn);
            }
            (clause, types)
        };
        let (first, of_first) = clause(self, 0);
        let (second, of_second) = clause(self, 1);
        self.open("block", Some(Vec::new()));
        self.open(&format!("block{}", block_type(&[], &of_second)), Some(of_second.clone()));
        self.open(&format!("block{}", block_type(&[], &of_first)), Some(of_first.clone()));
        self.open(&format!("try_table {first} {second}"), Some(Vec::new()));
        self.statement();
        self.call_statement();
        self.statement();
        if self.rng.percent(30) {
            self.raise();
        }
        self.close();
        self.emit("br 2".to_string());
        self.close();
        self.take(&of_first);
        self.statement();
        self.emit("br 1".to_string());
        self.close();
        self.take(&of_second);
        self.statement();
        self.close();
    }

    /// Throws.
    fn raise(&mut self) {
        if self.rng.percent(25) {
            self.expr(Ty::Exn);
            return self.emit("throw_ref".to_string());
        }
        let tag = self.rng.below(TAGS.len());
        self.exprs(TAGS[tag]);
        self.emit(format!("throw $tag{tag}"));
    }

    fn throw(&mut self) {
        if self.rng.percent(60) {
            self.guarded(Self::raise);
        } else {
            let local = self.local_of(Ty::Exn).expect("one of each type");
            self.emit(format!("local.get {local}"));
            self.emit("ref.is_null".to_string());
            self.emit("i32.eqz".to_string());
            self.open("if", Some(Vec::new()));
            self.emit(format!("local.get {local}"));
            self.emit("throw_ref".to_string());
            self.close();
        }
    }

    fn bulk(&mut self) {
        let ty = [Ty::Extern, Ty::Func][self.rng.below(2)];
        match self.rng.below(6) {
            0 => {
                let pages = self.rng.below(3);
                self.emit(format!("i32.const {pages}"));
                self.emit("memory.grow".to_string());
                self.take(&[Ty::I32]);
            }
            1 => {
                self.address();
                self.expr(Ty::I32);
                self.length();
                self.emit("memory.fill".to_string());
            }
            2 => {
                self.address();
                self.address();
                self.length();
                self.emit("memory.copy".to_string());
            }
            3 => {
                self.expr(ty);
                let more = self.rng.below(3);
                self.emit(format!("i32.const {more}"));
                self.table_op("table.grow", ty);
                self.take(&[Ty::I32]);
            }
            4 => {
                let (start, length) = (self.rng.below(3), self.rng.below(3));
                self.emit(format!("i32.const {start}"));
                self.expr(ty);
                self.emit(format!("i32.const {length}"));
                self.table_op("table.fill", ty);
            }
            _ => {
                self.expr(Ty::I32);
                if !self.is_wild() {
                    self.emit("i32.const 3".to_string());
                    self.emit("i32.and".to_string());
                }
                self.expr(ty);
                self.table_op("table.set", ty);
            }
        }
    }

    /// A number of bytes, constant or not.
    fn length(&mut self) {
        if self.rng.percent(50) {
            let length = self.rng.below(200);
            return self.emit(format!("i32.const {length}"));
        }
        self.expr(Ty::I32);
        self.emit("i32.const 31".to_string());
        self.emit("i32.and".to_string());
    }

    /// The end of the function: results, or a call in tail position.
    fn leave(&mut self) {
        let own = SIGS[self.sig].1;
        let callee = self.callee(|_, results| results == own);
        match callee {
            Some(callee) if self.rng.percent(35) && !self.is_leaf => {
                let operator = self.arguments(callee, "return_call");
                self.emit(operator);
            }
            _ => self.exprs(own),
        }
    }
}
