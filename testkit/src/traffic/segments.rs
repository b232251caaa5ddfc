//! Datagrams that the kernel cuts from one big buffer (`UDP_SEGMENT`, udp(7)): what QUIC servers send.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::{StreamReport, ping::set_option, stream::Noise};
use crate::Namespace;

/// Datagrams in one call; the kernel takes 64 or more, and 65,507 bytes at most.
const BATCH: usize = 40;

/// Sends `bytes` of noise as datagrams of `segment` bytes, [`BATCH`] in one call. The receiver acknowledges every
/// batch before the next is sent, so that nothing may be lost for want of room. Returns what both sides saw.
pub fn send_segments(
    from: &Namespace,
    to: &Namespace,
    address: SocketAddr,
    segment: usize,
    bytes: u64,
) -> Result<(StreamReport, StreamReport)> {
    ensure!(segment >= 64 && segment * BATCH <= 65_000, "{BATCH} segments of {segment} bytes do not fit one call");
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let receiver = to.run(|| UdpSocket::bind((any, address.port())))??;
    receiver.set_read_timeout(Some(Duration::from_secs(3)))?;
    set_option(&receiver, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;
    let sender = from.run(|| -> Result<UdpSocket> {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(address)?;
        Ok(socket)
    })??;
    sender.set_read_timeout(Some(Duration::from_secs(3)))?;
    set_option(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, i32::try_from(segment)?).context("setting UDP_SEGMENT")?;
    let reader = std::thread::spawn(move || read(&receiver, bytes));
    let sent = write(&sender, segment, bytes);
    let read = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    match (sent, read) {
        (Ok(sent), Ok(read)) => Ok((sent, read)),
        (Err(sent), Err(read)) => bail!("sender: {sent:#}; receiver: {read:#}"),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn write(socket: &UdpSocket, segment: usize, bytes: u64) -> Result<StreamReport> {
    let begin = Instant::now();
    let mut noise = Noise::new(bytes);
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; segment * BATCH];
    let mut sent = 0u64;
    while sent < bytes {
        let length = (buffer.len() as u64).min(bytes - sent) as usize;
        let batch = buffer.get_mut(..length).unwrap_or_default();
        noise.fill(batch);
        hash.update(&*batch);
        socket.send(batch).context("sending a batch")?;
        sent += length as u64;
        let mut answer = [0u8; 8];
        loop {
            socket.recv(&mut answer).with_context(|| format!("no acknowledgement after {sent} bytes"))?;
            if u64::from_be_bytes(answer) >= sent {
                break;
            }
        }
    }
    Ok(StreamReport { bytes: sent, hash: hash.finalize().into(), took: begin.elapsed() })
}

fn read(socket: &UdpSocket, bytes: u64) -> Result<StreamReport> {
    let begin = Instant::now();
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 65_536];
    let mut received = 0u64;
    let mut datagrams = 0usize;
    while received < bytes {
        let (length, from) =
            socket.recv_from(&mut buffer).with_context(|| format!("nothing more after {received} bytes"))?;
        hash.update(buffer.get(..length).unwrap_or_default());
        received += length as u64;
        datagrams += 1;
        if datagrams.is_multiple_of(BATCH) || received >= bytes {
            socket.send_to(&received.to_be_bytes(), from).context("acknowledging")?;
        }
    }
    Ok(StreamReport { bytes: received, hash: hash.finalize().into(), took: begin.elapsed() })
}
