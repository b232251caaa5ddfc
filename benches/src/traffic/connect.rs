//! Short connections: open, one byte, close.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
};

use anyhow::{Context as _, Result, ensure};

use super::Pod;
use crate::cpu::{self, Core, Meter};

/// Lets connections of this pod use nearly all ports, because each shall be one that no table remembers; and lets it give up
/// after seconds, where a SYN is lost.
pub(crate) fn prepare(pod: &Pod) -> Result<()> {
    let set = |name: &str, value: &str| fs::write(format!("/proc/sys/net/ipv4/{name}"), value);
    pod.namespace
        .run(|| set("ip_local_port_range", "1024 65535").and_then(|()| set("tcp_syn_retries", "2")))?
        .context("setting how a pod connects")
}

/// What connections cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Processor time of one in microseconds, of both ends and both hosts.
    pub(crate) processor: f64,
    /// Connections a second, on one processor.
    pub(crate) rate: f64,
}

/// Opens this many connections one after the other, sends a byte over each, and closes it; both ends on one processor.
pub(crate) fn cost(from: &Pod, to: &Pod, core: Core, count: u32) -> Result<Cost> {
    let listener = to.namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
    let address = SocketAddr::from((to.address, listener.local_addr()?.port()));
    from.namespace.run(|| -> Result<Cost> {
        cpu::stay(core)?;
        let meter = Meter::start(core)?;
        for number in 0..count {
            one(&listener, address).with_context(|| format!("connection {number} to {address}"))?;
        }
        Ok(Cost {
            processor: meter.processor()?.as_secs_f64() * 1e6 / f64::from(count),
            rate: f64::from(count) / meter.wall().as_secs_f64(),
        })
    })?
}

/// The server closes first: it keeps what the protocol remembers of a closed connection, and the client's port is free.
fn one(listener: &TcpListener, address: SocketAddr) -> Result<()> {
    let mut client = TcpStream::connect(address).context("connecting")?;
    let (mut server, _) = listener.accept().context("accepting")?;
    let mut byte = [7_u8; 1];
    client.write_all(&byte).context("writing")?;
    server.read_exact(&mut byte).context("reading")?;
    drop(server);
    ensure!(client.read(&mut byte).context("waiting for the end")? == 0, "more came than was sent");
    Ok(())
}
