//! `./x bench plan`: how long a host takes to compile a large network, and a change of it.

mod world;

use std::{path::PathBuf, time::Instant};

use andromede_plan::{Memory, Rows, changes, compile_with};
use andromede_testkit::interrupt;
use anyhow::{Context as _, Result, ensure};

use crate::{
    cpu,
    report::{Machine, Report, Row, align, figure},
    statistics::{median, quantile},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; each compiles everything anew.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
}

/// Rules of one security group, each of which names another.
const RULES: u32 = 10_000;
/// Ports on the host, half of them with either group.
const PORTS: u32 = 8_000;
/// Ports that join the group that the rules name, each with a set of groups that nobody had.
const JOINING: u32 = 1_000;

/// What is measured.
const FIGURES: [&str; 3] = ["plan_from_nothing_ms", "plan_new_members_ms", "plan_steps_ms"];

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    interrupt::install()?;
    let core = *cpu::cores()?.first().context("a processor")?;
    let (samples, steps) = cpu::on(core, || measure(arguments.rounds))?;
    let machine = Machine::this();
    println!("{}\n", machine.line());
    println!("{}", table(&samples, steps));
    if let Some(path) = &arguments.json {
        let config = format!("andromede, {PORTS} ports, {JOINING} new members");
        let row = |(metric, samples): (&&str, &Vec<f64>)| Row::new(metric, &config, RULES, samples);
        Report { machine, rows: FIGURES.iter().zip(&samples).map(row).collect(), ratios: Vec::new() }.write(path)?;
    }
    Ok(())
}

/// Milliseconds of each figure, and how many steps the change takes.
fn measure(rounds: u32) -> Result<([Vec<f64>; 3], usize)> {
    let before = world::network(RULES, PORTS)?;
    let after = [world::joined(&before, JOINING)?];
    let (facts, attachments, before) = (world::facts()?, world::attachments(&before), [before]);
    let mut samples: [Vec<f64>; 3] = Default::default();
    let mut length = 0;
    for _ in 0..rounds {
        interrupt::check()?;
        let mut memory = Memory::default();
        let sample = |figure: &mut Vec<f64>, begun: Instant| figure.push(begun.elapsed().as_secs_f64() * 1e3);
        let [nothing, members, steps] = &mut samples;
        let begun = Instant::now();
        let found = compile_with(&mut memory, &before, &facts, &attachments, &Rows::default());
        sample(nothing, begun);
        ensure!(found.refused.is_empty(), "the network does not fit: {:?}", found.refused);
        let begun = Instant::now();
        let wanted = compile_with(&mut memory, &after, &facts, &attachments, &found.rows);
        sample(members, begun);
        ensure!(wanted.refused.is_empty(), "the network does not fit any more: {:?}", wanted.refused);
        let begun = Instant::now();
        length = changes(&found.rows, &wanted).len();
        sample(steps, begun);
    }
    Ok((samples, length))
}

fn table(samples: &[Vec<f64>; 3], steps: usize) -> String {
    let titles = [
        format!("{RULES} rules and {PORTS} ports from nothing"),
        format!("{JOINING} new members, compiled"),
        format!("their {steps} steps"),
    ];
    let mut lines = vec![["milliseconds", "median", "min", "max"].map(str::to_owned).to_vec()];
    lines.extend(titles.into_iter().zip(samples).map(|(title, samples)| {
        vec![title, figure(median(samples)), figure(quantile(samples, 0.0)), figure(quantile(samples, 1.0))]
    }));
    align(&lines)
}
