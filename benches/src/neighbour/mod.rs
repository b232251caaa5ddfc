//! `./x bench neighbour`: what one tenant feels of another that floods.

mod live;
mod noise;
mod samples;
mod scene;

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use andromede_testkit::{interrupt, requires};
use anyhow::{Context as _, Result, bail};

use self::{
    samples::{Beside, Figure, Samples},
    scene::{Place, Scene},
};
use crate::{
    bar::Grade,
    cpu::{self, Core},
    report::{self, Machine, Report},
    statistics::Random,
    traffic::{connect, udp::UdpFlow},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; each takes one sample of everything, in another order.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(2..=1000))]
    rounds: u32,
    /// Two rounds of short samples: to see that it works, not to compare.
    #[arg(long, conflicts_with = "rounds")]
    quick: bool,
}

/// How long and how often is measured in a sample.
#[derive(Clone, Copy)]
struct Effort {
    time: Duration,
    connections: u32,
}

/// Where it runs: two processors of the victim's, and one of the noise's.
#[derive(Clone, Copy)]
struct Cores {
    victim: [Core; 2],
    noise: Core,
}

/// Two fabrics that are alike. While one meets the flood, nobody has ever flooded the other, or it is over: the control has no table
/// that the flood has filled.
struct Pair {
    flooded: Scene,
    control: Scene,
}

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    requires::require(&["ip", "tc"])?;
    interrupt::install()?;
    let cores = match cpu::cores()?[..] {
        [first, second, third, ..] => Cores { victim: [first, second], noise: third },
        _ => bail!("three processors are needed: one for the flood, and one for each end that is measured"),
    };
    let (rounds, effort) = if arguments.quick {
        (2, Effort { time: Duration::from_millis(150), connections: 300 })
    } else {
        (arguments.rounds, Effort { time: Duration::from_millis(500), connections: 1_500 })
    };
    say("building two fabrics that are alike");
    let mut pair = Pair { flooded: Scene::build()?, control: Scene::build()? };
    for scene in [&pair.flooded, &pair.control] {
        interrupt::check()?;
        scene.gate([cores.victim[0], cores.noise]).context("nobody may be hurt before anything is timed")?;
    }
    say("the flood fills all it may, and no connection of the other tenant is refused or evicted; measuring");
    let mut samples = Samples::default();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
    let mut random = Random::new(seed);
    for round in 0..rounds {
        if round == 0 || round == rounds / 2 {
            // What is special of one fabric weighs on both sides of the ratio.
            pair = Pair { flooded: pair.control, control: pair.flooded };
            pair.control.quiet()?;
        }
        pair.round(&mut samples, cores, effort, &mut random)?;
        say(&format!("round {} of {rounds}", round + 1));
    }
    for scene in [&pair.flooded, &pair.control] {
        scene.unharmed()?;
    }
    tell(&samples, rounds, arguments)
}

impl Pair {
    /// A sample of everything.
    fn round(&self, samples: &mut Samples, cores: Cores, effort: Effort, random: &mut Random) -> Result<()> {
        let mut figures = Figure::ALL.to_vec();
        random.shuffle(&mut figures);
        for figure in figures {
            for place in Place::ALL {
                let mut besides = Beside::ALL.to_vec();
                random.shuffle(&mut besides);
                for beside in besides {
                    interrupt::check()?;
                    let value = self.sample(figure, place, beside, cores, effort);
                    samples.add(figure, place, beside, value.with_context(|| format!("{figure:?} beside {beside:?}"))?);
                }
            }
        }
        Ok(())
    }

    fn sample(&self, figure: Figure, place: Place, beside: Beside, cores: Cores, effort: Effort) -> Result<f64> {
        let scene = if beside == Beside::Flood { &self.flooded } else { &self.control };
        let (from, to) = scene.victim(place);
        let measure = || match figure {
            Figure::Connect => Ok(connect::cost(from, to, cores.victim[0], effort.connections)?.rate),
            Figure::RoundTrip => {
                let [p90] = UdpFlow::open(from, to, true)?.round_trip(cores.victim, effort.time, [0.9])?;
                Ok(p90)
            }
        };
        let noise = scene.noise(place);
        match beside {
            Beside::Nothing => measure(),
            Beside::Burner => noise.burn(cores.noise, measure),
            Beside::Flood => noise.flood(cores.noise, measure),
        }
    }
}

/// Tables for people, and the file.
fn tell(samples: &Samples, rounds: u32, arguments: &Arguments) -> Result<()> {
    let machine = Machine::this();
    println!("\n{}; {rounds} rounds\n", machine.line());
    println!("{}", samples.table());
    let ratios = samples.ratios();
    println!("{}", report::table_of_ratios("flood", &ratios));
    let missed = ratios.iter().filter(|ratio| ratio.reached == Grade::Missed.title()).count();
    println!("bench: {missed} of {} bars missed", ratios.len());
    if let Some(path) = &arguments.json {
        Report { machine, rows: samples.rows(), ratios }.write(path)?;
    }
    Ok(())
}

/// Tells what is being done.
fn say(what: &str) {
    println!("bench: {what}");
}
