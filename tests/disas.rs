//! The machine code of small guests in each configuration, against what is written beside them: so
//! a change that adds an instruction to a hot loop is seen in review.
//!
//! `tests/disas/NAME.wat` is an input, `tests/disas/NAME.asm` what the code generator makes of it. A
//! change to the code generator that is meant is accepted by
//!
//! ```text
//! STILLFRAME_BLESS=1 cargo test --workspace --test disas
//! ```
//!
//! which writes the files anew. The code generator uses what the processor has, but inputs avoid
//! operators for which that makes a difference (floating point, vectors, shifts by a variable,
//! counting of bits, and-not): the test refuses instructions that not every x86-64 processor has.

mod disas {
    mod code;
    mod diff;
    mod input;
    mod listing;
    mod loops;
    mod meanings;

    use diff::diff;
    use input::Header;
    use std::fmt::Write as _;
    use std::path::{Path, PathBuf};
    use stillframe_translate::Compiler;

    /// The variable that accepts the code as it is.
    const BLESS: &str = "STILLFRAME_BLESS";

    fn inputs() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("disas");
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut inputs: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "wat")).collect();
        inputs.sort();
        inputs
    }

    /// What is shown of an input, in all configurations of its header.
    fn listing(path: &Path) -> String {
        let name = path.file_name().unwrap().display();
        let wat = std::fs::read_to_string(path).unwrap();
        let header = Header::parse(&wat).unwrap_or_else(|why| panic!("{name}: {why}"));
        let wasm = wat::parse_str(&wat).unwrap_or_else(|why| panic!("{name}: {why}"));
        let mut out = format!(
            ";; Machine code of {name}, written by `{BLESS}=1 cargo test --workspace \
             --test disas`.\n"
        );
        for configuration in &header.configurations {
            let compiler = Compiler::new(configuration.options()).unwrap();
            let artifact = compiler.compile(&wasm, &()).unwrap();
            writeln!(out, "\n;; ==== {} ====", configuration.name).unwrap();
            for (part, function) in &header.show {
                out.push('\n');
                out.push_str(&listing::list(&artifact, function, *part));
            }
        }
        out
    }

    #[test]
    fn machine_code_is_as_it_was() {
        let bless = std::env::var_os(BLESS).is_some_and(|value| value != "0");
        let mut changed = String::new();
        let inputs = inputs();
        assert!(!inputs.is_empty(), "there are no inputs");
        for input in inputs {
            let found = listing(&input);
            let file = input.with_extension("asm");
            if bless {
                std::fs::write(&file, found).unwrap();
                continue;
            }
            let expected = std::fs::read_to_string(&file).unwrap_or_default();
            if found != expected {
                let name = file.file_name().unwrap().display();
                let difference = diff(&expected, &found);
                write!(changed, "\ntests/disas/{name}:\n{difference}").unwrap();
            }
        }
        assert!(
            changed.is_empty(),
            "the machine code has changed; if it was meant to, write it anew with {BLESS}=1.\n\
             {changed}"
        );
    }
}
