//! `./x bench datapath`: the same traffic through five ways of joining pods, in turns.

mod bars;
mod gate;
mod metric;
mod samples;
mod scene;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use andromede_testkit::{interrupt, requires};
use anyhow::{Context as _, Result};

use self::{
    metric::{Effort, JUMBO, MTU, Metric},
    samples::Samples,
    scene::{Config, Scene},
};
use crate::{
    bar::Grade,
    cpu,
    report::{self, Machine, Report},
    statistics::Random,
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; each takes one sample of everything, in another order.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Two rounds of short samples: to see that it works, not to compare.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
    /// Measure only the figures whose names begin so (for example `udp`).
    #[arg(long, value_name = "PREFIX", value_delimiter = ',')]
    only: Vec<String>,
    /// Build only these, and Andromède (for example `plain,br1000`).
    #[arg(long, value_name = "CONFIG", value_delimiter = ',')]
    beside: Vec<String>,
    /// Compare with the agent in this folder too: another build of it, for example of the commit before.
    #[arg(long, value_name = "FOLDER")]
    against: Option<PathBuf>,
}

impl Arguments {
    /// What to build: everything, unless told.
    fn configs(&self) -> Vec<Config> {
        let wanted = |config: &Config| match config {
            Config::Andromede => true,
            Config::Against => self.against.is_some(),
            _ => self.beside.is_empty() || self.beside.iter().any(|name| name == config.title()),
        };
        Config::ALL.into_iter().filter(wanted).collect()
    }

    /// What to measure: everything, unless told.
    fn metrics(&self) -> Vec<Metric> {
        let begins = |figure: &str| self.only.is_empty() || self.only.iter().any(|prefix| figure.starts_with(prefix));
        Metric::ALL.into_iter().filter(|metric| metric.figures().iter().any(|figure| begins(figure))).collect()
    }
}

/// Everything that was built: a pair of scenes for each way.
struct Stage {
    config: Config,
    usual: Scene,
    jumbo: Scene,
}

impl Stage {
    fn build(config: Config, against: Option<&Path>) -> Result<Self> {
        interrupt::check()?;
        say(&format!("building {} twice, underlay MTU {MTU} and {JUMBO}", config.title()));
        let stage = Self { config, usual: config.build(MTU, against)?, jumbo: config.build(JUMBO, against)? };
        stage.jumbo.set_wire(true)?;
        for scene in [&stage.usual, &stage.jumbo] {
            interrupt::check()?;
            gate::check(scene).context("payloads must arrive whole before anything is timed")?;
        }
        Ok(stage)
    }

    const fn scene(&self, metric: Metric) -> &Scene {
        if metric.mtu() == JUMBO { &self.jumbo } else { &self.usual }
    }
}

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    requires::require(&["ip", "bridge", "ethtool", "nft", "iptables-nft-restore", "iperf3"])?;
    interrupt::install()?;
    let cores = cpu::cores()?;
    let (configs, metrics) = (arguments.configs(), arguments.metrics());
    let against = arguments.against.as_deref();
    let (rounds, effort) = if arguments.quick {
        (2, Effort { time: Duration::from_millis(150), connections: 500 })
    } else {
        (arguments.rounds, Effort { time: Duration::from_millis(500), connections: 1_000 })
    };
    let begin = Instant::now();
    let stages = configs
        .iter()
        .map(|config| Stage::build(*config, against).with_context(|| format!("building {}", config.title())))
        .collect::<Result<Vec<_>>>()?;
    say(&format!("everything stands and delivers after {:.0} s; measuring", begin.elapsed().as_secs_f32()));
    let samples = measure(&stages, &metrics, &cores, rounds, effort)?;
    let machine = Machine::this();
    println!("\n{}; {rounds} rounds, {:.0} s\n", machine.line(), begin.elapsed().as_secs_f32());
    println!("{}", samples.table(&configs));
    let ratios = samples.ratios();
    println!("{}", report::table_of_ratios("andromede", &ratios));
    let missed = ratios.iter().filter(|ratio| ratio.reached == Grade::Missed.title()).count();
    println!("bench: {missed} of {} bars missed", ratios.len());
    if let Some(path) = &arguments.json {
        Report { machine, rows: samples.rows(), ratios }.write(path)?;
    }
    Ok(())
}

/// Takes all samples: in every round everything once, metric by metric and way by way in an order drawn anew.
fn measure(stages: &[Stage], metrics: &[Metric], cores: &[cpu::Core], rounds: u32, effort: Effort) -> Result<Samples> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let mut random = Random::new(seed);
    let mut samples = Samples::default();
    for round in 1..=rounds {
        let mut metrics = metrics.to_vec();
        random.shuffle(&mut metrics);
        for metric in metrics {
            let mut order: Vec<&Stage> = stages.iter().collect();
            random.shuffle(&mut order);
            for stage in order {
                interrupt::check()?;
                let values = metric.sample(stage.scene(metric), cores, effort);
                let values = values.with_context(|| format!("{:?} of {}", metric, stage.config.title()))?;
                if let Some(values) = values {
                    samples.add(metric, stage.config, &values);
                }
            }
        }
        say(&format!("round {round} of {rounds}"));
    }
    Ok(samples)
}

/// Tells what is being done.
fn say(what: &str) {
    println!("bench: {what}");
}
