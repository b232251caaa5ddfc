//! Datagrams offered at a rate, and what of them arrives.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::ping::set_option;
use crate::Namespace;

/// How long a receiver goes on after the last datagram was sent.
const TAIL: Duration = Duration::from_millis(300);

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Offer {
    /// Bytes of a datagram.
    pub payload: usize,
    /// Datagrams that the kernel is given in one piece, to be cut by it (`UDP_SEGMENT`); 1: each by itself.
    pub segments: usize,
    /// Datagrams a second; as far as the machine is fast enough.
    pub per_second: u32,
    /// How long.
    pub time: Duration,
}

/// What became of an [`Offer`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offered {
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams that arrived.
    pub received: u64,
}

/// Sends the datagrams, and counts those that arrive.
pub fn offer(from: &Namespace, to: &Namespace, address: SocketAddr, offer: Offer) -> Result<Offered> {
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let receiver = to.run(|| UdpSocket::bind((any, address.port())))?.context("binding the receiver")?;
    receiver.set_read_timeout(Some(TAIL))?;
    set_option(&receiver, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)?;
    let sender = from.run(|| UdpSocket::bind((any, 0)))?.context("binding the sender")?;
    sender.connect(address)?;
    if offer.segments > 1 {
        let segment = i32::try_from(offer.payload)?;
        set_option(&sender, libc::SOL_UDP, libc::UDP_SEGMENT, segment).context("setting UDP_SEGMENT")?;
    }
    let sending = AtomicBool::new(true);
    thread::scope(|scope| {
        let reader = scope.spawn(|| receive(&receiver, offer.payload, &sending));
        let sent = send(&sender, offer);
        sending.store(false, Ordering::Relaxed);
        let received = reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok(Offered { sent: sent?, received })
    })
}

fn send(socket: &UdpSocket, offer: Offer) -> Result<u64> {
    let piece = vec![0x5a_u8; offer.payload * offer.segments];
    let begin = Instant::now();
    let mut sent = 0;
    while begin.elapsed() < offer.time {
        let due = begin.elapsed().as_secs_f64() * f64::from(offer.per_second);
        #[allow(clippy::cast_precision_loss, reason = "a count of datagrams")]
        if sent as f64 <= due {
            socket.send(&piece).context("sending a datagram")?;
            sent += offer.segments as u64;
        } else {
            thread::sleep(Duration::from_micros(200));
        }
    }
    Ok(sent)
}

/// Counts datagrams of this size until none comes any more after the last was sent. GRO is off: each is read by itself.
fn receive(socket: &UdpSocket, payload: usize, sending: &AtomicBool) -> u64 {
    let mut buffer = vec![0_u8; 65_536];
    let mut received = 0;
    loop {
        match socket.recv(&mut buffer) {
            Ok(length) => received += u64::from(length == payload),
            Err(_) if sending.load(Ordering::Relaxed) => {}
            Err(_) => return received,
        }
    }
}
