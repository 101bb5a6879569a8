//! Machine code as text that changes only when the code does: labels in place of addresses, names in
//! place of what calls reach.

use super::code::FunctionCode;
use super::loops::hot_loops;
use super::meanings::Meanings;
use iced_x86::{
    CpuidFeature, Formatter, FormatterOptions, Instruction, IntelFormatter, MemorySizeOptions,
    Mnemonic, NumberBase, OpKind, Register, SymbolResolver, SymbolResult,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use stillframe_abi::artifact::Artifact;

/// What of a function is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// All of it.
    Function,
    /// Its outermost loops, without the slow paths of checkpoints.
    Loops,
}

/// Where comments start.
const COMMENT_COLUMN: usize = 44;

/// The code of a function, given by its name in the name section.
pub(super) fn list(artifact: &Artifact, name: &str, part: Part) -> String {
    let info = &artifact.info;
    let named = info.func_names.iter().find(|(_, found)| found == name);
    let (index, _) = named.unwrap_or_else(|| panic!("there is no function ${name}"));
    let defined = (*index as usize).checked_sub(info.num_imported_functions);
    let defined = defined.unwrap_or_else(|| panic!("${name} is imported"));
    let code = FunctionCode::decode(&artifact.text, &info.code[defined]);
    code.instructions.values().for_each(|instruction| refuse_host_features(name, instruction));
    let meanings = Meanings::of(&code, info);

    let total = format!("{} instructions, {} bytes", code.instructions.len(), code.size());
    let (pieces, title) = match part {
        Part::Function => (vec![code.blocks.keys().copied().collect()], format!(": {total}")),
        Part::Loops => {
            let pieces = hot_loops(&code, |block| meanings.slow.contains(&block));
            assert!(!pieces.is_empty(), "${name} has no loop");
            let shown: usize = pieces.iter().flatten().map(|block| code.blocks[block].len()).sum();
            let what = if pieces.len() == 1 { "loop" } else { "loops" };
            (pieces, format!(", its {what}: {shown} instructions (the function: {total})"))
        }
    };
    let mut out = format!(";; ${name}{title}\n");
    let mut printer = Printer::new(artifact, &code, &pieces);
    for (number, piece) in pieces.iter().enumerate() {
        if number > 0 {
            out.push_str("  ...\n");
        }
        let mut expected = None;
        for block in piece {
            // What lies between two blocks is not shown, and no table is.
            if expected.is_some_and(|expected| expected != *block) {
                out.push_str("  ...\n");
            }
            if let Some(label) = printer.labels.get(block) {
                writeln!(out, "{label}:").unwrap();
            }
            for instruction in &code.blocks[block] {
                let comment = printer.comment(&code, &meanings, instruction);
                let text = printer.text(instruction);
                match comment {
                    None => writeln!(out, "  {text}").unwrap(),
                    Some(comment) => {
                        let width = COMMENT_COLUMN - 2;
                        writeln!(out, "  {text:<width$} ; {comment}").unwrap();
                    }
                }
                expected = Some(instruction.next_ip());
            }
            if code.tables.contains_key(&code.blocks[block].last().unwrap().ip()) {
                expected = None;
            }
        }
    }
    out
}

/// Panics at an instruction that not every x86-64 processor has: with it, the code would depend on
/// the machine that compiles. (Floating point and vectors do: they have two encodings.)
fn refuse_host_features(name: &str, instruction: &Instruction) {
    const EVERYWHERE: [CpuidFeature; 8] = [
        CpuidFeature::INTEL8086,
        CpuidFeature::INTEL186,
        CpuidFeature::INTEL286,
        CpuidFeature::INTEL386,
        CpuidFeature::INTEL486,
        CpuidFeature::X64,
        CpuidFeature::CMOV,
        CpuidFeature::MULTIBYTENOP,
    ];
    let extra = instruction.cpuid_features().iter().find(|feature| !EVERYWHERE.contains(feature));
    if let Some(extra) = extra.filter(|_| !is_context_in_vector(instruction)) {
        panic!(
            "${name} has {:?}, which needs {extra:?}: the code of other machines would not be the \
             same. Choose other operators.",
            instruction.mnemonic()
        );
    }
}

/// Whether the instruction is what puts a checkpoint's context into a vector register, from another
/// register or from the frame. It is as long in either encoding, and shown alike
/// ([`Printer::text`]).
fn is_context_in_vector(instruction: &Instruction) -> bool {
    match instruction.mnemonic() {
        Mnemonic::Movq | Mnemonic::Vmovq => instruction.op1_register().is_gpr64(),
        Mnemonic::Movsd | Mnemonic::Vmovsd => instruction.memory_base() == Register::RSP,
        _ => false,
    }
}

/// Formats instructions, with the names of what they refer to.
struct Printer {
    labels: BTreeMap<u64, String>,
    formatter: IntelFormatter,
}

impl Printer {
    fn new(artifact: &Artifact, code: &FunctionCode, pieces: &[BTreeSet<u64>]) -> Printer {
        let labels = labels(code, pieces);
        let mut names = labels.clone();
        for (defined, range) in artifact.info.code.iter().enumerate() {
            let index = (artifact.info.num_imported_functions + defined) as u32;
            let name = match artifact.info.func_name(index) {
                Some(name) => format!("${name}"),
                None => format!("function {index}"),
            };
            names.entry(u64::from(range.start)).or_insert(name);
        }
        for jump in code.tables.keys() {
            names.insert(code.instructions[jump].next_ip(), "table".into());
        }
        let mut formatter = IntelFormatter::with_options(Some(Box::new(Names(names))), None);
        set_style(formatter.options_mut());
        Printer { labels, formatter }
    }

    fn text(&mut self, instruction: &Instruction) -> String {
        let mut text = String::new();
        self.formatter.format(instruction, &mut text);
        match is_context_in_vector(instruction) {
            true => text.trim_start_matches('v').to_string(),
            false => text,
        }
    }

    fn comment(
        &self,
        code: &FunctionCode,
        meanings: &Meanings,
        instruction: &Instruction,
    ) -> Option<String> {
        if let Some(targets) = code.tables.get(&instruction.ip()) {
            let targets: Vec<&str> = targets.iter().map(|to| self.labels[to].as_str()).collect();
            return Some(targets.join(", "));
        }
        meanings.comments.get(&instruction.ip()).cloned()
    }
}

/// Names for all targets of jumps: `L1` and so on for those that are shown, and for the others
/// `slow1` where control may come back from there, `out1` where it does not, each in the order in
/// which they are met.
fn labels(code: &FunctionCode, pieces: &[BTreeSet<u64>]) -> BTreeMap<u64, String> {
    let shown: BTreeSet<u64> = pieces.iter().flatten().copied().collect();
    let (mut inside, mut elsewhere) = (BTreeSet::new(), Vec::new());
    for block in &shown {
        let last = code.blocks[block].last().expect("blocks are not empty");
        for target in code.jumps(last) {
            if shown.contains(&target) {
                inside.insert(target);
            } else if !elsewhere.contains(&target) {
                elsewhere.push(target);
            }
        }
    }
    let mut labels = BTreeMap::new();
    for (number, target) in inside.into_iter().enumerate() {
        labels.insert(target, format!("L{}", number + 1));
    }
    let (mut slow, mut out) = (0, 0);
    for target in elsewhere {
        let name = if comes_back(code, target, &shown) {
            slow += 1;
            format!("slow{slow}")
        } else {
            out += 1;
            format!("out{out}")
        };
        labels.insert(target, name);
    }
    labels
}

fn comes_back(code: &FunctionCode, from: u64, to: &BTreeSet<u64>) -> bool {
    let mut seen = BTreeSet::new();
    let mut pending = vec![from];
    while let Some(block) = pending.pop() {
        if to.contains(&block) {
            return true;
        }
        if seen.insert(block) {
            pending.extend(code.next_blocks(block));
        }
    }
    false
}

struct Names(BTreeMap<u64, String>);

impl SymbolResolver for Names {
    fn symbol(
        &mut self,
        instruction: &Instruction,
        _: u32,
        _: Option<u32>,
        address: u64,
        _: u32,
    ) -> Option<SymbolResult<'_>> {
        // Other immediates and displacements are numbers, and no addresses.
        if !instruction.is_ip_rel_memory_operand() && instruction.op0_kind() != OpKind::NearBranch64
        {
            return None;
        }
        Some(SymbolResult::with_str(address, self.0.get(&address)?))
    }
}

fn set_style(options: &mut FormatterOptions) {
    options.set_number_base(NumberBase::Decimal);
    options.set_first_operand_char_index(8);
    options.set_space_after_operand_separator(true);
    options.set_memory_size_options(MemorySizeOptions::Minimal);
    options.set_show_branch_size(false);
    options.set_signed_immediate_operands(true);
    options.set_rip_relative_addresses(false);
}

#[test]
#[should_panic(expected = "$f has Popcnt, which needs POPCNT")]
fn instructions_that_some_processors_lack_are_refused() {
    let code = FunctionCode::decode(&[0xf3, 0x0f, 0xb8, 0xc0, 0xc3], &(0..5)); // popcnt eax, eax
    code.instructions.values().for_each(|instruction| refuse_host_features("f", instruction));
}
