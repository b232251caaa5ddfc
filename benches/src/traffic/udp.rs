//! Small datagrams: what one costs, and how long it takes to come back.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Pod;
use crate::{
    cpu::{self, Core, Meter},
    statistics::quantile,
};

/// Payload of a frame of 64 bytes, its checksum not counted: Ethernet 14, IPv4 20, UDP 8.
const PAYLOAD: usize = 22;

/// Datagrams that are sent before they are received: few enough for any socket's queue.
const BATCH: u64 = 64;

/// How long a first datagram may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Two sockets that send to each other.
#[derive(Debug)]
pub(crate) struct UdpFlow {
    from: UdpSocket,
    to: UdpSocket,
}

impl UdpFlow {
    /// Opens sockets with ports that were not used before. One datagram is sent and received; only if it is `replied` does
    /// one go back, without which a firewall never takes the flow for established.
    pub(crate) fn open(from: &Pod, to: &Pod, replied: bool) -> Result<Self> {
        let bind = |pod: &Pod| pod.namespace.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)));
        let flow = Self { from: bind(from)??, to: bind(to)?? };
        flow.from.connect((to.address, flow.to.local_addr()?.port()))?;
        flow.to.connect((from.address, flow.from.local_addr()?.port()))?;
        pass(&flow.from, &flow.to).context("no datagram arrives")?;
        if replied {
            pass(&flow.to, &flow.from).context("no answer arrives")?;
        }
        for socket in [&flow.from, &flow.to] {
            socket.set_nonblocking(true)?;
        }
        Ok(flow)
    }

    /// Processor time of one datagram in microseconds: of sending it, of both hosts on its way, and of receiving it.
    pub(crate) fn cost(&self, core: Core, time: Duration) -> Result<f64> {
        cpu::on(core, || {
            let meter = Meter::start(core)?;
            let (mut sent, mut received) = (0_u64, 0_u64);
            let mut buffer = [0_u8; PAYLOAD];
            while meter.wall() < time {
                for _ in 0..BATCH {
                    self.from.send(&buffer).context("sending a datagram")?;
                    sent += 1;
                }
                while received < sent && spin(self.to.recv(&mut buffer))? {
                    received += 1;
                }
            }
            let cost = meter.processor()?;
            // What the kernel gave to another thread may come a little later.
            ensure!(received + BATCH >= sent, "{received} of {sent} datagrams arrived");
            #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
            let count = received as f64;
            Ok(cost.as_secs_f64() * 1e6 / count)
        })
    }

    /// Times from sending a datagram until its answer is there, microseconds, below which these parts (0 to 1) of them lie. Both ends
    /// spin, each on its processor.
    pub(crate) fn round_trip<const N: usize>(
        &self,
        cores: [Core; 2],
        time: Duration,
        parts: [f64; N],
    ) -> Result<[f64; N]> {
        let stop = AtomicBool::new(false);
        let times = thread::scope(|scope| {
            let echo = scope.spawn(|| cpu::on(cores[1], || self.echo(&stop)));
            let times = cpu::on(cores[0], || self.ask(time));
            stop.store(true, Ordering::Relaxed);
            echo.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            times
        })?;
        Ok(parts.map(|part| quantile(&times, part)))
    }

    fn echo(&self, stop: &AtomicBool) -> Result<()> {
        let mut buffer = [0_u8; PAYLOAD];
        while !stop.load(Ordering::Relaxed) {
            if spin(self.to.recv(&mut buffer))? {
                self.to.send(&buffer)?;
            }
        }
        Ok(())
    }

    fn ask(&self, time: Duration) -> Result<Vec<f64>> {
        let mut times = Vec::with_capacity(1 << 17);
        let mut buffer = [0_u8; PAYLOAD];
        let begin = Instant::now();
        while begin.elapsed() < time {
            let sent = Instant::now();
            self.from.send(&buffer)?;
            while !spin(self.from.recv(&mut buffer))? {
                ensure!(sent.elapsed() < PATIENCE, "an answer was lost after {} round trips", times.len());
            }
            times.push(sent.elapsed().as_secs_f64() * 1e6);
        }
        Ok(times)
    }
}

/// Has something been received?
fn spin(received: std::io::Result<usize>) -> Result<bool> {
    match received {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error).context("receiving a datagram"),
    }
}

/// Sends a datagram until one arrives.
fn pass(from: &UdpSocket, to: &UdpSocket) -> Result<()> {
    to.set_read_timeout(Some(Duration::from_millis(200)))?;
    let begin = Instant::now();
    let mut buffer = [0_u8; PAYLOAD];
    while begin.elapsed() < PATIENCE {
        from.send(&buffer)?;
        if to.recv(&mut buffer).is_ok() {
            return Ok(());
        }
    }
    bail!("from {:?} to {:?}", from.local_addr()?, to.local_addr()?)
}
