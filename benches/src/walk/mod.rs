//! `./x bench walk`: parts of the packet path, each run again and again on one frame by `BPF_PROG_TEST_RUN`.

mod case;

use std::path::PathBuf;

use andromede_testkit::{interrupt, requires};
use anyhow::{Context as _, Result};

use self::case::{Bench, Case};
use crate::{
    cpu,
    report::{Machine, Report, Row, align, figure},
    statistics::{Random, median, quantile},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; each takes one sample of everything, in another order.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Time only the figures whose names begin so, behind `walk_` (for example `underlay`).
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    only: Vec<String>,
}

impl Arguments {
    /// What to time: everything, unless told; and always the empty program, which the rest is compared with.
    fn cases(&self) -> Vec<Case> {
        let name = |case: Case| case.figure().trim_start_matches("walk_");
        let wanted = |case: &Case| {
            self.only.is_empty()
                || *case == Case::Nothing
                || self.only.iter().any(|prefix| name(*case).starts_with(prefix))
        };
        Case::ALL.into_iter().filter(wanted).collect()
    }
}

/// What is asked of an established packet's decision: nanoseconds over an empty program, and the goal.
const ESTABLISHED: (f64, f64) = (110.0, 60.0);

/// What is asked of a new flow: nanoseconds over the insert of its row.
const NEW: f64 = 200.0;

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    requires::require(&["ip"])?;
    interrupt::install()?;
    let core = *cpu::cores()?.first().context("a processor")?;
    let samples = Bench::namespace()?.run(|| cpu::on(core, || measure(&arguments.cases(), arguments.rounds)))??;
    let machine = Machine::this();
    println!("{}\n", machine.line());
    println!("{}", table(&samples));
    println!("{}", judged(&samples));
    if let Some(path) = &arguments.json {
        let row = |(case, samples): &(Case, Vec<f64>)| Row::new(case.figure(), "andromede", 0, samples);
        Report { machine, rows: samples.iter().map(row).collect(), ratios: Vec::new() }.write(path)?;
    }
    Ok(())
}

type Samples = Vec<(Case, Vec<f64>)>;

fn measure(cases: &[Case], rounds: u32) -> Result<Samples> {
    let bench = Bench::load()?;
    let mut samples: Samples = cases.iter().map(|case| (*case, Vec::new())).collect();
    let mut random = Random::new(rounds.into());
    for _ in 0..rounds {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        random.shuffle(&mut order);
        for index in order {
            interrupt::check()?;
            let Some((case, samples)) = samples.get_mut(index) else { continue };
            samples.push(bench.sample(*case).with_context(|| format!("{case:?}"))?);
        }
    }
    Ok(samples)
}

fn of(samples: &Samples, wanted: Case) -> Option<f64> {
    samples.iter().find(|(case, _)| *case == wanted).map(|(_, samples)| median(samples))
}

fn table(samples: &Samples) -> String {
    let nothing = of(samples, Case::Nothing).unwrap_or(0.0);
    let header = ["nanoseconds", "median", "min", "max", "over empty"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    for (case, samples) in samples {
        let over = if case.in_kernel() { figure(median(samples) - nothing) } else { String::new() };
        let [middle, low, high] = [0.5, 0.0, 1.0].map(|part| figure(quantile(samples, part)));
        lines.push(vec![case.title().to_owned(), middle, low, high, over]);
    }
    align(&lines)
}

fn judged(samples: &Samples) -> String {
    let (bar, goal) = ESTABLISHED;
    let word = |value: f64| match value {
        value if value <= goal => "goal",
        value if value <= bar => "bar",
        _ => "MISSED",
    };
    let over = |case, less| Some(of(samples, case)? - of(samples, less)?);
    let mut lines = Vec::new();
    for case in [Case::Workload, Case::Underlay, Case::WorkloadLookup, Case::UnderlayLookup] {
        if let Some(over) = over(case, Case::Nothing) {
            let title = case.title();
            lines.push(format!("{title}: {over:.0} ns over empty, bar {bar:.0}, goal {goal:.0}: {}", word(over)));
        }
    }
    if let Some(over) = over(Case::Opening, Case::Insert) {
        let reached = if over <= NEW { "bar" } else { "MISSED" };
        lines.push(format!("{}: {over:.0} ns over its insert, bar {NEW:.0}: {reached}", Case::Opening.title()));
    }
    lines.join("\n")
}
