//! A fault or a suspension at every operator that is executed: wasm pc, fuel, and whatever can be
//! read of the frames are the interpreter's.
//!
//! The first functions of a program are small leaves, which are inlined where others call them. Faults
//! are put in them too, and then a caller is called: so in bodies that are inlined.
//!
//! `LOCKSTEP_ALL=1` puts all faults at each operator, which takes some minutes.

use std::collections::BTreeMap;
use stillframe::{FrameState, OptLevel};
use stillframe_lockstep::{Fault, Lockstep, Pair, Program, Report, Settings, Variant};

/// The positions in the operators of `function` that a call of `called` with this seed executes.
fn executed(pair: &Pair<'_>, called: usize, function: usize, seed: u64) -> Vec<usize> {
    let (_, executed) = pair.call(&format!("f{called}"), seed).unwrap();
    let index = Program::index(function);
    let of_function = pair.module().function(index).unwrap();
    let position = |&(func, pc): &(u32, u32)| (func == index).then(|| of_function.position(pc));
    executed.iter().filter_map(position).map(Option::unwrap).collect()
}

/// Puts faults at each operator of the programs' functions that is executed: all of them, or one in
/// `sparse`, another one at each operator. All variants of a program are of one module.
fn run(
    settings: Settings,
    size: usize,
    seeds: std::ops::Range<u64>,
    sparse: usize,
) -> BTreeMap<String, Report> {
    let sparse = if std::env::var_os("LOCKSTEP_ALL").is_some() { 1 } else { sparse };
    let lockstep = Lockstep::new(settings.clone()).unwrap();
    let mut reports: BTreeMap<String, Report> = BTreeMap::new();
    for seed in seeds {
        let program = Program::new(seed, size);
        let load = |variants: &[Variant]| {
            let wat = program.wat(variants);
            let wasm = wat::parse_str(&wat).unwrap_or_else(|error| panic!("{error}\n{wat}"));
            lockstep.load(&wasm).unwrap_or_else(|error| panic!("{error:#}"))
        };
        let base = load(&[]);
        let mut variants = Vec::new();
        for called in 0..program.functions() {
            let inlined = program.leaves().filter(|&leaf| program.calls(called, leaf));
            for function in inlined.chain([called]) {
                let caller = (function != called).then_some(called);
                for position in executed(&base, called, function, seed) {
                    let first = (position + called + seed as usize) % sparse;
                    let faults = Fault::ALL.iter().skip(first).step_by(sparse);
                    let variant = |&fault| Variant { function, position, caller, fault };
                    variants.extend(faults.map(variant));
                }
            }
        }
        let pair = load(&variants);
        for variant in &variants {
            let report = reports.entry(format!("{:?}", variant.fault)).or_default();
            match pair.call(&variant.name(), seed) {
                Ok((more, _)) => report.add(&more),
                Err(error) => panic!(
                    "seed {seed}, {variant:?}, {settings:?}: {error:#}\n{}",
                    program.wat(&[*variant])
                ),
            }
        }
    }
    reports
}

/// What was compared with all faults. Says how much could be read where the processor trapped.
fn total(reports: &BTreeMap<String, Report>) -> Report {
    let mut total = Report::default();
    reports.values().for_each(|report| total.add(report));
    assert_eq!(reports.len(), Fault::ALL.len(), "{reports:#?}");
    eprintln!("{} faults: {} locals known, {} not", total.faults, total.known, total.unknown);
    total
}

/// Faults have happened, all of those that trap always.
fn all_happened(reports: &BTreeMap<String, Report>) {
    for (fault, report) in reports {
        match fault.as_str() {
            "CallHost" => assert!(report.host_calls > 20, "{fault}: {report:?}"),
            "SecondDivision" | "SecondLoad" => {}
            _ => assert!(report.traps + report.uncaught > 10, "{fault}: {report:?}"),
        }
    }
}

#[test]
fn five_faults_at_each_operator_of_a_small_program() {
    let reports = run(Settings::new(FrameState::All), 10, 0..1, 7);
    all_happened(&reports);
    assert!(total(&reports).known > 300);
}

#[test]
fn with_all_state_all_that_is_promised_is_there_at_every_operator() {
    let reports = run(Settings::new(FrameState::All), 70, 0..3, 17);
    all_happened(&reports);
    let total = total(&reports);
    assert_eq!(total.not_live, 0);
    assert!(total.known > 2_000 && total.faults > 500, "{total:?}");
}

#[test]
fn with_live_state_what_is_live_is_there_at_every_operator() {
    let reports = run(Settings::new(FrameState::Live), 70, 3..6, 17);
    all_happened(&reports);
    assert!(reports["SecondLoad"].faults > 0, "{reports:#?}");
    let total = total(&reports);
    assert!(total.known > 1_000 && total.faults > 500, "{total:?}");
}

#[test]
fn without_state_pcs_and_fuel_are_right_at_every_operator() {
    let total = total(&run(Settings::new(FrameState::Off), 70, 6..7, 17));
    assert_eq!((total.known, total.operands), (0, 0));
    assert!(total.faults > 100, "{total:?}");
}

#[test]
fn with_writes_the_program_goes_on_with_what_was_written_to_every_operator() {
    for (frame_state, seeds) in [(FrameState::Live, 7..8), (FrameState::All, 8..9)] {
        let settings = Settings { frame_writes: true, ..Settings::new(frame_state) };
        let total = total(&run(settings, 70, seeds, 17));
        assert!(total.writes > 500 && total.faults > 50, "{total:?}");
    }
}

#[test]
fn optimisation_metering_and_epochs_change_nothing_at_any_operator() {
    let settings = Settings::new(FrameState::Live);
    let unoptimised = Settings { opt_level: OptLevel::None, ..settings.clone() };
    let unmetered = Settings { fuel: false, ..settings.clone() };
    let epochs = Settings { epochs: true, ..settings };
    for (settings, seed) in [(unoptimised, 9), (unmetered, 10), (epochs, 11)] {
        let total = total(&run(settings, 70, seed..seed + 1, 17));
        assert!(total.faults > 50, "{total:?}");
    }
}
