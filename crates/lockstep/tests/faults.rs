//! A fault or a suspension at every operator that is executed: wasm pc, fuel, and whatever can be
//! read of the frames are the interpreter's.
//!
//! Functions are not inlined yet; once they are, `f1` and so on, which are called by those behind
//! them, are where faults have to be put in bodies that are inlined.

use std::collections::BTreeMap;
use stillframe::FrameState;
use stillframe_lockstep::{Fault, Lockstep, Pair, Program, Report, Settings, Variant};

/// The positions in a function's operators that a call with this seed executes.
fn executed(pair: &Pair<'_>, function: usize, seed: u64) -> Vec<usize> {
    let (_, executed) = pair.call(&format!("f{function}"), seed).unwrap();
    let index = Program::index(function);
    let of_function = pair.module().function(index).unwrap();
    let position = |&(func, pc): &(u32, u32)| (func == index).then(|| of_function.position(pc));
    executed.iter().filter_map(position).map(Option::unwrap).collect()
}

/// Puts these faults at each operator of the programs' functions that is executed; `chosen` says
/// which of them at which operator. All variants of a function are of one module.
fn run(
    settings: Settings,
    seeds: std::ops::Range<u64>,
    chosen: impl Fn(usize, usize) -> bool,
) -> BTreeMap<String, Report> {
    let lockstep = Lockstep::new(settings.clone()).unwrap();
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    for seed in seeds {
        let program = Program::new(seed, 60);
        let load = |variants: &[Variant]| {
            let wat = program.wat(variants);
            let wasm = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
            lockstep.load(&wasm).unwrap_or_else(|error| panic!("{error:#}"))
        };
        let base = load(&[]);
        let mut variants = Vec::new();
        for function in 0..program.functions() {
            for position in executed(&base, function, seed) {
                let faults = Fault::ALL.iter().enumerate();
                let faults = faults.filter(|(i, _)| chosen(*i, position + function));
                variants.extend(faults.map(|(_, &fault)| Variant { function, position, fault }));
            }
        }
        let t0 = std::time::Instant::now();
        let pair = load(&variants);
        eprintln!("load {} variants: {:?}", variants.len(), t0.elapsed());
        let t0 = std::time::Instant::now();
        for variant in &variants {
            match pair.call(&variant.name(), seed) {
                Ok((report, _)) => {
                    *reports.entry(format!("{:?}", variant.fault)).or_default() += report;
                }
                Err(error) => panic!(
                    "seed {seed}, {variant:?}, {settings:?}: {error:#}\n{}",
                    program.wat(&[*variant])
                ),
            }
        }
        eprintln!("run: {:?}", t0.elapsed());
    }
    for (fault, report) in &reports {
        eprintln!("{fault}: {report:?}");
    }
    reports
}

fn total(reports: &BTreeMap<String, Report>) -> Report {
    let mut total = Report::default();
    reports.values().for_each(|report| total.add(report));
    eprintln!("faults of the processor: {} locals known, {} not", total.known, total.unknown);
    total
}

#[test]
fn every_fault_at_every_operator_with_all_state() {
    let reports = run(Settings::new(FrameState::All), 0..1, |fault, at| (fault + at) % 17 == 0);
    assert_eq!(reports.len(), Fault::ALL.len());
    for (fault, report) in &reports {
        assert!(
            report.traps + report.uncaught > 10 || report.host_calls > 50,
            "{fault}: {report:?}"
        );
    }
    let total = total(&reports);
    assert!(total.known > 0);
}
