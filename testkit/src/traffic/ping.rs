//! Echo requests of both families, RFC 792 and RFC 4443.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto, socket,
    },
};

use super::Outcome;
use crate::{Namespace, packet::icmp_echo};

/// How to ping.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// How many requests.
    pub count: u64,
    /// From one request to the next.
    pub interval: Duration,
    /// How long to wait for answers after the last request.
    pub patience: Duration,
    /// Bytes behind the ICMP header, at least 8.
    pub size: usize,
    /// IPv4: set Don't Fragment, and fail where the interface's MTU is too small. IPv6 never fragments here.
    pub dont_fragment: bool,
}

impl Default for Ping {
    fn default() -> Self {
        Self {
            count: 1,
            interval: Duration::from_millis(10),
            patience: Duration::from_millis(700),
            size: 56,
            dont_fragment: false,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct PingReport {
    /// Requests sent.
    pub sent: u64,
    /// Numbers of requests that were never answered.
    pub lost: Vec<u64>,
    /// Answers that came twice.
    pub duplicates: u64,
    /// Times from request to answer, in the order of the answers.
    pub times: Vec<Duration>,
    /// Errors of sending, such as "message too long".
    pub send_errors: Vec<String>,
}

impl PingReport {
    /// Requests that were answered.
    pub fn received(&self) -> u64 {
        self.times.len() as u64
    }

    /// The same as a probe's outcome: answered if any request was.
    pub fn outcome(&self) -> Outcome {
        match (self.times.first(), self.send_errors.first()) {
            (Some(time), _) => Outcome::Answered { by: String::new(), after: *time },
            (None, Some(error)) => Outcome::Refused(error.clone()),
            (None, None) => Outcome::Silence,
        }
    }
}

/// Pings an address from a namespace. With a count of 1 it ends with the answer.
pub fn ping(namespace: &Namespace, to: IpAddr, options: Ping) -> Result<PingReport> {
    namespace.run(|| Pinger::new(to, options)?.run(&AtomicBool::new(false)))?
}

/// A ping that goes on until it is stopped.
#[derive(Debug)]
pub struct BackgroundPing {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<PingReport>>>,
}

impl BackgroundPing {
    /// Starts pinging at this interval.
    pub fn start(namespace: &Namespace, to: IpAddr, interval: Duration) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let options = Ping { count: u64::MAX, interval, patience: Duration::from_secs(2), ..Ping::default() };
        let thread = namespace.spawn(move || Pinger::new(to, options)?.run(&asked));
        Self { stop, thread: Some(thread) }
    }

    /// Sends no more, waits for the last answers and tells.
    pub fn stop(mut self) -> Result<PingReport> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a ping stops once")?;
        thread.join().map_err(|_| anyhow!("the pinging thread panicked"))?
    }
}

impl Drop for BackgroundPing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Pinger {
    fd: OwnedFd,
    to: SocketAddr,
    id: u16,
    options: Ping,
    /// When each request was sent; none once it was answered.
    waiting: Vec<Option<Instant>>,
    report: PingReport,
}

impl Pinger {
    fn new(to: IpAddr, options: Ping) -> Result<Self> {
        static NEXT_ID: AtomicU16 = AtomicU16::new(1);
        let (family, protocol) = match to {
            IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
            IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
        };
        let fd =
            socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).context("opening a raw ICMP socket")?;
        if options.dont_fragment && to.is_ipv4() {
            set_option(&fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
        }
        set_option(&fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20)?;
        let mixed = (std::process::id() as u16).rotate_left(7) ^ NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let to = SocketAddr::new(to, 0);
        Ok(Self { fd, to, id: mixed, options, waiting: Vec::new(), report: PingReport::default() })
    }

    fn run(mut self, stop: &AtomicBool) -> Result<PingReport> {
        let begin = Instant::now();
        while self.report.sent < self.options.count && !stop.load(Ordering::Relaxed) {
            self.send();
            let factor = u32::try_from(self.report.sent).unwrap_or(u32::MAX);
            let last = self.report.sent == self.options.count;
            let next = if last { Instant::now() } else { begin + self.options.interval * factor };
            self.collect(next, false)?;
        }
        self.collect(Instant::now() + self.options.patience, true)?;
        let open = self.waiting.iter().enumerate().filter(|(_, since)| since.is_some());
        self.report.lost = open.map(|(number, _)| number as u64).collect();
        Ok(self.report)
    }

    fn send(&mut self) {
        let number = self.report.sent;
        let mut payload = vec![0xa5; self.options.size.max(8)];
        payload.splice(..8, number.to_be_bytes());
        // The kernel fills in the checksum of ICMPv6, which needs the source address.
        let message = icmp_echo(self.to.ip(), self.to.ip(), true, self.id, number as u16, &payload);
        let flags = MsgFlags::MSG_DONTWAIT;
        // Before sending: within one machine the answer may be there when the call returns.
        self.waiting.push(Some(Instant::now()));
        let sent = match self.to {
            SocketAddr::V4(v4) => sendto(self.fd.as_raw_fd(), &message, &address4(v4), flags),
            SocketAddr::V6(v6) => sendto(self.fd.as_raw_fd(), &message, &address6(v6), flags),
        };
        self.report.sent += 1;
        if let Err(error) = sent {
            self.report.send_errors.push(error.desc().to_owned());
        }
    }

    /// Takes answers until the time is up, or, if wanted, until none is missing.
    fn collect(&mut self, end: Instant, until_all: bool) -> Result<()> {
        let mut buffer = vec![0u8; 70_000];
        loop {
            if until_all && self.report.times.len() == self.waiting.len() {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            let mut poll = libc::pollfd { fd: self.fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            let wait = libc::timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
            // SAFETY: one `pollfd` and one `timespec` are handed over, both alive.
            let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const wait, std::ptr::null()) };
            if ready <= 0 {
                return if ready == 0 { Ok(()) } else { Err(io::Error::last_os_error().into()) };
            }
            match recv(self.fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => self.take(buffer.get(..length).unwrap_or_default()),
                // An ICMP error that came for one of the requests.
                Err(error) if error != Errno::EAGAIN => self.report.send_errors.push(error.desc().to_owned()),
                Err(_) => {}
            }
        }
    }

    fn take(&mut self, packet: &[u8]) {
        // A raw IPv4 socket gives the IP header as well.
        let (skip, answer) = match (self.to, packet.first()) {
            (SocketAddr::V4(_), Some(first)) => (usize::from(first & 15) * 4, 0),
            _ => (0, 129),
        };
        let Some(message) = packet.get(skip..) else { return };
        let [kind, _, _, _, a, b, _, _, number @ ..] = message else { return };
        if *kind != answer || u16::from_be_bytes([*a, *b]) != self.id {
            return;
        }
        let Some(number) = number.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)) else { return };
        match self.waiting.get_mut(number as usize).map(Option::take) {
            Some(Some(since)) => self.report.times.push(since.elapsed()),
            Some(None) => self.report.duplicates += 1,
            None => {}
        }
    }
}

fn address4(v4: SocketAddrV4) -> SockaddrIn {
    SockaddrIn::from(v4)
}

fn address6(v6: SocketAddrV6) -> SockaddrIn6 {
    SockaddrIn6::from(v6)
}

/// Sets an integer option of a socket.
pub(super) fn set_option(fd: &impl std::os::fd::AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    let size = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is an int and of the size that is told.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, std::ptr::from_ref(&value).cast(), size) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
