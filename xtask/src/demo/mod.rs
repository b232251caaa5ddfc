//! `./x demo`: a controller, three hosts and two tenants with the same addresses, on one machine, under real traffic.

mod checks;
mod drops;
mod expect;
mod fabric;
mod place;
mod plain;
mod table;

use std::time::{Duration, Instant};

use andromede_testkit::{interrupt, requires, traffic::throughput};
use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// How long a stream is measured at a time.
const STREAM: Duration = Duration::from_secs(1);

/// How often each of the two streams is measured, in turns: what else the machine does weighs on both.
const ROUNDS: usize = 5;

/// Options of the demo.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave everything running and print commands to try.
    #[arg(long, conflicts_with = "clean")]
    keep: bool,
    /// Remove what an earlier demo left, and do nothing else.
    #[arg(long)]
    clean: bool,
    /// Build nothing: the programs were built before. A build of the programs alone shares little with one of everything, because
    /// some third-party crates have other features then.
    #[arg(long, hide = true)]
    built: bool,
}

/// Runs the demo.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let missing = requires::missing(&["ip", "ss"]);
    if !missing.is_empty() {
        bail!("the demo cannot run on this machine, which lacks:\n  - {}", missing.join("\n  - "));
    }
    if arguments.clean {
        place::remove_all()?;
        println!("demo: nothing of it is left");
        return Ok(());
    }
    if !arguments.built {
        say("building (the first time takes minutes)");
        workspace::run(&mut workspace::cargo(&["build", "--bins", "--locked"]))?;
    }
    interrupt::install()?;
    place::remove_all()?;
    let begin = Instant::now();
    let demo = fabric::Demo::start()?;
    say(&format!("the fabric is in force after {:.1} s; checking who reaches whom", begin.elapsed().as_secs_f32()));
    let results = checks::run(&demo)?;
    println!("\n{}", table::of_tenants(&demo, &results));
    say("measuring one TCP stream, ten seconds");
    println!("{}", streams(&demo)?);
    if arguments.keep {
        println!("{}", demo.keep()?);
    } else {
        demo.remove()?;
    }
    let passed = results.iter().filter(|result| result.passed).count();
    println!("demo: {passed} of {} checks passed", results.len());
    if passed != results.len() {
        bail!("{} checks failed", results.len() - passed);
    }
    Ok(())
}

/// Tells what is being done.
fn say(what: &str) {
    println!("demo: {what}");
}

/// The middle of an odd number of figures.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// One TCP stream through the fabric, and the same through routers on the same underlay.
fn streams(demo: &fabric::Demo) -> Result<String> {
    let (from, to) = demo.stream_ends()?;
    let plain = plain::Plain::new(demo)?;
    let (mut through, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        interrupt::check()?;
        let rate = throughput(from.namespace(), to.namespace(), (to.v4, expect::STREAM_PORT).into(), STREAM);
        through.push(rate.context("streaming through the fabric")?);
        without.push(plain.throughput(STREAM).context("streaming without the fabric")?);
    }
    let (through, plain) = (median(through), median(without));
    Ok(format!(
        "one TCP stream, {} on {} to {} on {}: {through:.2} Gbit/s through the fabric, {plain:.2} Gbit/s through plain \
         routers on the same underlay ({:.0} %); medians of {ROUNDS} seconds each, taken in turns\n",
        from.title(),
        from.host,
        to.title(),
        to.host,
        through / plain.max(1e-9) * 100.0
    ))
}
