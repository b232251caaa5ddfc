//! What goes on beside a measurement: a flood, or other work of as much processor time.

use std::{
    hint::black_box,
    net::IpAddr,
    panic::resume_unwind,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use andromede_testkit::{
    Workload,
    fabric::INTERFACE,
    packet::{Ends, Tcp, tcp_flag},
    raw::RawSocket,
};
use anyhow::{Context as _, Result};

use crate::{
    cpu::{self, Core},
    statistics::Random,
};

/// Frames of a flood; it begins anew behind the last. Ports are drawn by chance: nearly every frame asks for a connection of its own.
const FRAMES: usize = 32_768;
/// Of as many frames, half are SYNs, one is a SYN with a forged source, and the rest are datagrams.
const MIX: usize = 8;
/// Frames between two looks at whether to stop.
const BATCH: usize = 256;
/// How long it goes on before anything is measured beside it.
const LEAD: Duration = Duration::from_millis(300);

/// Work for one processor that has no pause.
#[derive(Debug)]
pub(super) struct Noise {
    frames: Vec<Vec<u8>>,
    socket: RawSocket,
}

impl Noise {
    /// Frames from one workload to another, from ports and, some, from addresses by chance.
    pub(super) fn new(from: &Workload, to: &Workload) -> Result<Self> {
        let (source, destination) = (from.address(false)?, to.address(false)?);
        let (mac, other) = (from.mac()?, to.mac()?);
        let mut random = Random::new(0x0f10_0d5e);
        let frame = |number: usize| {
            let mut port = || (1_024 + random.below(64_000)) as u16;
            let (from, to) = (port(), port());
            let ends = Ends::new((mac, source), (other, destination));
            match number % MIX {
                0..4 => ends.tcp(&Tcp::new(from, to, tcp_flag::SYN), b""),
                4 => {
                    let forged = IpAddr::from([10, 0, from.to_be_bytes()[1], to.to_be_bytes()[1]]);
                    Ends { source: forged, ..ends }.tcp(&Tcp::new(from, to, tcp_flag::SYN), b"")
                }
                _ => ends.udp(from, to, b"noise"),
            }
        };
        let frames = (0..FRAMES).map(frame).collect();
        Ok(Self { frames, socket: RawSocket::open_to_send(from.namespace(), INTERFACE)? })
    }

    /// Does `measure` while this processor sends the frames.
    pub(super) fn flood<T>(&self, core: Core, measure: impl FnOnce() -> Result<T>) -> Result<T> {
        self.beside(core, |frame| self.socket.send(frame).context("sending a frame of the flood"), measure)
    }

    /// Does `measure` while this processor reads the same frames and sends none: as much of its time, and nothing of the network's.
    pub(super) fn burn<T>(&self, core: Core, measure: impl FnOnce() -> Result<T>) -> Result<T> {
        let read = |frame: &[u8]| {
            for _ in 0..MIX {
                black_box(black_box(frame).iter().fold(0_u32, |sum, byte| sum.rotate_left(5) ^ u32::from(*byte)));
            }
            Ok(())
        };
        self.beside(core, read, measure)
    }

    fn beside<T>(
        &self,
        core: Core,
        act: impl Fn(&[u8]) -> Result<()> + Sync,
        measure: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let busy = scope.spawn(|| -> Result<()> {
                cpu::stay(core)?;
                for batch in self.frames.chunks(BATCH).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    batch.iter().try_for_each(|frame| act(frame))?;
                }
                Ok(())
            });
            thread::sleep(LEAD);
            let measured = measure();
            stop.store(true, Ordering::Relaxed);
            busy.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            measured
        })
    }
}
