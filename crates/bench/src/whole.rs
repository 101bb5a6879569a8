//! Without a subcommand: everything, in one report and one chart.

use crate::frames::{self, FramesArgs};
use crate::instantiate::{self, InstantiateArgs};
use crate::memory;
use crate::programs::{self, Chart, ProgramsArgs};
use crate::progress::Progress;
use crate::surroundings::{Output, catching, tell};
use crate::switches::{self, SwitchesArgs};
use anyhow::{Context as _, Result, ensure};
use clap::Args;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use stillframe_bench_report::summary::{self, Summary};

/// Arguments of the whole.
#[derive(Args, Debug)]
pub(crate) struct WholeArgs {
    /// Rough numbers: fewer rounds, without the larger programs
    #[arg(long)]
    quick: bool,
    /// Only parts of this name, or guests and rows whose names contain this; may be given again
    #[arg(long, value_name = "TEXT")]
    only: Vec<String>,
    /// Rounds of each part [default: 5 of the programs, 25 of the others; with --quick 1 and 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Write the report into this file [default: target/bench/report.md of the workspace]
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draw the chart into this file [default: beside the report, report.svg]
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Tell the names of the parts and their rows, and measure nothing
    #[arg(long)]
    list: bool,
}

/// A part of the report, with its subcommand's name.
const PARTS: [&str; 5] = ["programs", "instantiate", "memory", "switches", "frames"];

impl WholeArgs {
    /// What of this part is wanted: nothing of it, or the rows whose names contain one of these
    /// texts, where no texts mean all.
    fn wanted(&self, part: &str, names: &[String]) -> Option<Vec<String>> {
        if self.only.is_empty() || self.only.iter().any(|text| text == part) {
            return Some(Vec::new());
        }
        let chooses = |text: &&String| names.iter().any(|name| name.contains(text.as_str()));
        let texts: Vec<_> = self.only.iter().filter(chooses).cloned().collect();
        (!texts.is_empty()).then_some(texts)
    }

    fn names(&self, part: &str) -> Result<Vec<String>> {
        Ok(match part {
            "programs" => programs::names(self.quick)?,
            "instantiate" => instantiate::names(),
            "memory" => memory::names(),
            "switches" => switches::names(),
            _ => frames::names(),
        })
    }
}

/// Does everything.
pub(crate) fn command(args: &WholeArgs) -> Result<()> {
    let names: Vec<_> = PARTS.iter().map(|part| args.names(part)).collect::<Result<_>>()?;
    if args.list {
        list(&names);
        return Ok(());
    }
    let mut wanted = PARTS.iter().zip(&names).map(|(part, names)| args.wanted(part, names));
    let mut next = || wanted.next().flatten();
    let [programs, instantiate, memory, switches, frames] =
        [next(), next(), next(), next(), next()];
    let (markdown, svg) = files(args)?;
    let output = Output::to(Some(&markdown))?;

    let &WholeArgs { quick, rounds, .. } = args;
    let plan = programs.map(|only| ProgramsArgs::of(quick, only, rounds).plan()).transpose()?;
    let chart = plan.as_ref().map(|_| Chart::to(&svg)).transpose()?;
    let instantiate = instantiate.map(|only| InstantiateArgs::of(quick, only, rounds));
    let switches = switches.map(|only| SwitchesArgs::of(quick, only, rounds));
    let frames = frames.map(|only| FramesArgs::of(quick, only, rounds));
    ensure!(
        plan.is_some()
            || instantiate.is_some()
            || memory.is_some()
            || switches.is_some()
            || frames.is_some(),
        "no part is called {:?}, and no row's name contains it: --list tells them",
        args.only
    );
    let mut progress = Progress::new();
    plan.iter().for_each(|plan| plan.announce(&mut progress));
    instantiate.iter().for_each(|args| args.announce(&mut progress));
    memory.iter().for_each(|only| memory::announce(only, &mut progress));
    switches.iter().for_each(|args| args.announce(&mut progress));
    frames.iter().for_each(|args| args.announce(&mut progress));

    let outcome = plan.map(|plan| plan.measure(&mut progress));
    let mut drawn = "";
    if let (Some(chart), Some(outcome)) = (chart, &outcome) {
        chart.draw(&outcome.grids)?;
        drawn = svg.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    }
    let instantiated = instantiate
        .map(|args| (catching(|| instantiate::measure(&args, &mut progress)), "Instantiation"));
    let small = instantiated.as_ref().and_then(|(listing, _)| listing.as_ref().ok());
    let small = small.and_then(instantiate::of_small_module);
    let grids = outcome.as_ref().map_or(&[][..], |outcome| &outcome.grids);
    let lines = summary::lines(grids, small);
    let targets = Summary(&lines).to_string();

    let mut report = String::new();
    if quick {
        report += "- **a quick run: fewer rounds, without the larger programs**\n";
    }
    if !args.only.is_empty() {
        let _ = writeln!(report, "- only what is called {}", args.only.join(", "));
    }
    let _ = write!(report, "\n## Targets\n\n{targets}");
    report += "\nRun time, compile time, code size and load time are geometric means of ratios to \
               wasmtime with its default settings, unless a unit is named.\n";
    if !drawn.is_empty() {
        let _ = write!(
            report,
            "\n![Run time, compared to wasmtime with its default settings]({drawn})\n"
        );
    }
    if let Some(outcome) = outcome {
        let _ = write!(report, "\n## Programs\n\n{outcome}");
    }
    if let Some((listing, title)) = instantiated {
        add(&mut report, title, listing);
    }
    if let Some(only) = memory {
        add(&mut report, "Memory", Ok(memory::measure(&only, memory::HELD, &mut progress)));
    }
    if let Some(args) = switches {
        let table = catching(|| switches::measure(&args, &mut progress));
        add(&mut report, "Switches: entering, leaving, suspending, resuming", table);
    }
    if let Some(args) = frames {
        let table = catching(|| frames::measure(&args, &mut progress));
        add(&mut report, "Frames: finding and reading them", table);
    }
    progress.tell_end();
    output.write(report)?;
    let mut told = format!("{targets}\nThe whole report: {}\n", markdown.display());
    if !drawn.is_empty() {
        let _ = writeln!(told, "The chart:        {}", svg.display());
    }
    tell(&told);
    Ok(())
}

/// Adds a part, or why there is none: it must not take the others with it.
fn add(report: &mut String, title: &str, part: Result<impl std::fmt::Display>) {
    let _ = match part {
        Ok(part) => write!(report, "\n## {title}\n\n{part}"),
        Err(error) => write!(report, "\n## {title}\n\n**failed**: {error:#}\n"),
    };
}

fn list(names: &[Vec<String>]) {
    let mut list = String::new();
    for (part, names) in PARTS.iter().zip(names) {
        let _ = writeln!(list, "{part}:");
        let mut told: Vec<&str> = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with('(')) {
            if !told.contains(&name.as_str()) {
                let _ = writeln!(list, "  {name}");
                told.push(name);
            }
        }
    }
    tell(&list);
}

/// Where the report and the chart go, in folders that exist.
fn files(args: &WholeArgs) -> Result<(PathBuf, PathBuf)> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workspace = workspace.canonicalize().unwrap_or(workspace);
    let by_default = |name: &str| workspace.join("target/bench").join(name);
    let markdown = args.markdown.clone().unwrap_or_else(|| by_default("report.md"));
    // Beside the report, which shows it.
    let svg = args.svg.clone().unwrap_or_else(|| markdown.with_extension("svg"));
    for path in [&markdown, &svg] {
        let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) else {
            continue;
        };
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    Ok((markdown, svg))
}
