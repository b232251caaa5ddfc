//! TCP streams: how much they carry, and what a gigabit costs.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    panic::resume_unwind,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::Pod;
use crate::cpu::{self, Core, Meter};

/// Bytes that are written or read at once.
const PIECE: usize = 128 << 10;

/// How long a stream may take to reach its speed; what it does before is not counted.
const WARM_UP: Duration = Duration::from_millis(100);

/// A connection, both of its ends.
#[derive(Debug)]
pub(crate) struct TcpFlow {
    from: TcpStream,
    to: TcpStream,
}

/// What a stream did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    bytes: u64,
    processor: Duration,
    wall: Duration,
}

impl Carried {
    /// Gigabits (10^9).
    fn gigabits(self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let bytes = self.bytes as f64;
        bytes * 8.0 / 1e9
    }

    /// Processor time of a gigabit, milliseconds.
    pub(crate) fn cost(self) -> f64 {
        self.processor.as_secs_f64() * 1e3 / self.gigabits()
    }

    /// Gigabits that one processor carries in a second of its time.
    pub(crate) fn per_core(self) -> f64 {
        self.gigabits() / self.processor.as_secs_f64()
    }

    /// Gigabits a second.
    pub(crate) fn rate(self) -> f64 {
        self.gigabits() / self.wall.as_secs_f64()
    }
}

impl TcpFlow {
    /// Connects.
    pub(crate) fn open(from: &Pod, to: &Pod) -> Result<Self> {
        let listener = to.namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        let address = (to.address, listener.local_addr()?.port()).into();
        let limit = Duration::from_secs(5);
        let connected = from.namespace.run(|| TcpStream::connect_timeout(&address, limit))?;
        let connected = connected.with_context(|| format!("connecting to {address}"))?;
        let (accepted, _) = listener.accept()?;
        for end in [&connected, &accepted] {
            end.set_nonblocking(true)?;
        }
        Ok(Self { from: connected, to: accepted })
    }

    /// Sends and receives in turns on one processor: all that a stream costs is done there.
    pub(crate) fn one_core(&self, core: Core, time: Duration) -> Result<Carried> {
        cpu::on(core, || {
            self.carry(core, WARM_UP)?;
            self.carry(core, time)
        })
    }

    fn carry(&self, core: Core, time: Duration) -> Result<Carried> {
        let mut buffer = vec![0x5a_u8; PIECE];
        let meter = Meter::start(core)?;
        let (mut bytes, mut last) = (0_u64, Instant::now());
        while meter.wall() < time {
            let written = (&self.from).write(&buffer).or_else(not_yet).context("writing")?;
            let mut read = 0_u64;
            loop {
                match (&self.to).read(&mut buffer).or_else(not_yet).context("reading")? {
                    0 => break,
                    length => read += length as u64,
                }
            }
            bytes += read;
            if written == 0 && read == 0 {
                // Another thread of the kernel has the packets.
                thread::yield_now();
                ensure!(last.elapsed() < Duration::from_secs(3), "the stream stalls");
            } else {
                last = Instant::now();
            }
        }
        Ok(Carried { bytes, processor: meter.processor()?, wall: meter.wall() })
    }

    /// Gigabits a second from a processor to another.
    pub(crate) fn two_cores(&self, cores: [Core; 2], time: Duration) -> Result<f64> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| cpu::on(cores[0], || self.pour(&stop)));
            let carried = cpu::on(cores[1], || {
                self.drain(WARM_UP)?;
                self.drain(time)
            });
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            carried.map(Carried::rate)
        })
    }

    fn pour(&self, stop: &AtomicBool) -> Result<()> {
        let buffer = vec![0x5a_u8; PIECE];
        while !stop.load(Ordering::Relaxed) {
            (&self.from).write(&buffer).or_else(not_yet).context("writing")?;
        }
        Ok(())
    }

    fn drain(&self, time: Duration) -> Result<Carried> {
        let mut buffer = vec![0_u8; PIECE];
        let begin = Instant::now();
        let mut bytes = 0_u64;
        while begin.elapsed() < time {
            bytes += (&self.to).read(&mut buffer).or_else(not_yet).context("reading")? as u64;
        }
        ensure!(bytes > 0, "the stream carries nothing");
        Ok(Carried { bytes, processor: Duration::ZERO, wall: begin.elapsed() })
    }
}

/// Gigabits a second of several connections at once, each with both ends on one processor.
pub(crate) fn together(flows: &[TcpFlow], cores: &[Core], time: Duration) -> Result<f64> {
    let barrier = Barrier::new(flows.len());
    let carried: Result<Vec<Carried>> = thread::scope(|scope| {
        let barrier = &barrier;
        let start = |(flow, core): (&'_ TcpFlow, Core)| -> Result<Carried> {
            cpu::on(core, || {
                barrier.wait();
                flow.carry(core, WARM_UP)?;
                flow.carry(core, time)
            })
        };
        let pairs = flows.iter().zip(cores.iter().copied().cycle());
        let started: Vec<_> = pairs.map(|pair| scope.spawn(move || start(pair))).collect();
        started.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    Ok(carried?.into_iter().map(Carried::rate).sum())
}

/// Nothing could be written or read now.
fn not_yet(error: std::io::Error) -> std::io::Result<usize> {
    if error.kind() == ErrorKind::WouldBlock { Ok(0) } else { Err(error) }
}
