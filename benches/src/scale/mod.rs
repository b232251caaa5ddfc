//! `./x bench scale`: what a packet costs with few and with many rules, remote ports and live flows.

mod world;

use std::path::PathBuf;

use andromede_testkit::{interrupt, requires};
use anyhow::{Context as _, Result, ensure};

use self::world::{Keys, Size, World};
use crate::{
    cpu,
    report::{Machine, Report, Row, align, figure},
    statistics::{Random, median},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds at each size; each takes one sample of everything, in another order.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
}

/// The smallest fabric, and then one thing at a time.
const SMALL: Size = Size { rules: 1, ports: 10, flows: 1_000 };

/// What is measured.
const SIZES: [Size; 6] = [
    SMALL,
    Size { rules: 1_000, ..SMALL },
    Size { rules: 100_000, ..SMALL },
    Size { ports: 10_000, ..SMALL },
    Size { ports: 1_000_000, ..SMALL },
    Size { flows: 1_000_000, ..SMALL },
];

/// What a size gave.
struct Point {
    size: Size,
    /// Samples of established packets and of new flows, each with the same key again and again and with keys by chance.
    samples: [Vec<f64>; 4],
    /// Lookups of an established packet, and of a new flow.
    lookups: [u32; 2],
    /// Bytes of all tables.
    memory: u64,
}

/// Names of the samples' figures.
const FIGURES: [&str; 4] =
    ["scale_established_hot_ns", "scale_established_random_ns", "scale_new_hot_ns", "scale_new_random_ns"];

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    requires::require(&["ip"])?;
    interrupt::install()?;
    let core = *cpu::cores()?.first().context("a processor")?;
    let all = || SIZES.into_iter().map(|size| measure(size, arguments.rounds)).collect::<Result<Vec<Point>>>();
    let points = World::namespace()?.run(|| cpu::on(core, all))??;
    let machine = Machine::this();
    println!("{}\n", machine.line());
    println!("{}", table(&points));
    let first = points.first().context("a size")?.lookups;
    for point in &points {
        ensure!(point.lookups == first, "{:?} takes {:?} lookups, but {SMALL:?} {first:?}", point.size, point.lookups);
    }
    println!(
        "bench: an established packet takes {} lookups and a new flow {}, whatever the size (epochs and rows written counted)",
        first[0], first[1]
    );
    if let Some(path) = &arguments.json {
        Report { machine, rows: points.iter().flat_map(rows).collect(), ratios: Vec::new() }.write(path)?;
    }
    Ok(())
}

fn measure(size: Size, rounds: u32) -> Result<Point> {
    let world = World::load(size).with_context(|| format!("{size:?}"))?;
    let mut samples: [Vec<f64>; 4] = Default::default();
    let mut random = Random::new(rounds.into());
    for _ in 0..rounds {
        let mut order = [0, 1, 2, 3];
        random.shuffle(&mut order);
        for index in order {
            interrupt::check()?;
            let keys = if index % 2 == 0 { Keys::Hot } else { Keys::Random };
            let sample = if index < 2 { world.established(keys) } else { world.new_flow(keys) };
            let sample = sample.with_context(|| format!("{size:?}, {}", FIGURES[index]))?;
            // The empty program's time is taken beside each.
            samples[index].push(sample - world.nothing()?);
        }
    }
    Ok(Point { size, samples, lookups: world.lookups()?, memory: world::memory()? })
}

fn table(points: &[Point]) -> String {
    let header = ["rules", "ports", "flows", "established", "random", "new flow", "random", "lookups", "tables, MB"];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(points.iter().map(|point| {
        let Size { rules, ports, flows } = point.size;
        let mut cells: Vec<String> = [rules, ports, flows].iter().map(ToString::to_string).collect();
        cells.extend(point.samples.iter().map(|samples| figure(median(samples))));
        cells.push(format!("{} / {}", point.lookups[0], point.lookups[1]));
        cells.push((point.memory >> 20).to_string());
        cells
    }));
    format!("nanoseconds over an empty program\n{}", align(&lines))
}

fn rows(point: &Point) -> Vec<Row> {
    let name = format!("andromede, {} ports, {} flows", point.size.ports, point.size.flows);
    let mut rows: Vec<Row> = FIGURES
        .iter()
        .zip(&point.samples)
        .map(|(figure, samples)| Row::new(figure, &name, point.size.rules, samples))
        .collect();
    #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
    rows.push(Row::new("scale_tables_bytes", &name, point.size.rules, &[point.memory as f64]));
    rows
}
