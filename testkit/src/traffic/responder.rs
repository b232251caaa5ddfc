//! Servers that say who they are, and probes that ask.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Outcome, outcome_of};
use crate::Namespace;

/// How often a server looks whether it should end.
const PAUSE: Duration = Duration::from_millis(20);

/// Servers in a namespace, on all addresses of both families, that answer every TCP connection and every UDP
/// datagram with their name. They end with this value.
#[derive(Debug)]
pub struct Responder {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Responder {
    /// Listens on these ports; it listens when this returns.
    pub fn start(namespace: &Namespace, name: &str, tcp: &[u16], udp: &[u16]) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for port in tcp {
            let listener = namespace.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, *port)))?;
            let listener = listener.with_context(|| format!("listening on TCP port {port}"))?;
            listener.set_nonblocking(true)?;
            let (stop, name) = (Arc::clone(&stop), name.to_owned());
            threads.push(thread::spawn(move || serve_tcp(&listener, &name, &stop)));
        }
        for port in udp {
            // Two sockets: a dual-stack one would answer IPv4 from a mapped address just as well, but binding both
            // families apart also works where IPv6 is off.
            let any: [IpAddr; 2] = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
            for address in any {
                let socket = namespace.run(|| bind_udp(SocketAddr::new(address, *port)))?;
                let socket = socket.with_context(|| format!("listening on UDP port {port}"))?;
                socket.set_read_timeout(Some(PAUSE))?;
                let (stop, name) = (Arc::clone(&stop), name.to_owned());
                threads.push(thread::spawn(move || serve_udp(&socket, &name, &stop)));
            }
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The ports are free when this is over; a panic of a thread was told where it happened.
            let _ = thread.join();
        }
    }
}

/// Binds a UDP socket that takes its own family only.
fn bind_udp(address: SocketAddr) -> Result<UdpSocket> {
    use nix::sys::socket::{
        AddressFamily, SockFlag, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt::Ipv6V6Only,
    };
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    if address.is_ipv6() {
        setsockopt(&fd, Ipv6V6Only, &true)?;
    }
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrStorage::from(address))?;
    Ok(fd.into())
}

fn serve_tcp(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                // A client that went away meanwhile is no concern of the server's.
                let _ = stream.write_all(name.as_bytes());
            }
            Err(_) => thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn serve_udp(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut buffer = [0u8; 2048];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((_, from)) = socket.recv_from(&mut buffer) {
            // An unreachable client shows in its own test.
            let _ = socket.send_to(name.as_bytes(), from);
        }
    }
}

/// Opens a TCP connection and reads the name of who answers.
pub fn tcp_probe(namespace: &Namespace, to: SocketAddr, limit: Duration) -> Result<Outcome> {
    namespace.run(|| {
        let begin = Instant::now();
        let answer = TcpStream::connect_timeout(&to, limit).and_then(|mut stream| {
            stream.set_read_timeout(Some(limit))?;
            let mut by = String::new();
            stream.read_to_string(&mut by)?;
            Ok(by)
        });
        match answer {
            Ok(by) => Outcome::Answered { by, after: begin.elapsed() },
            Err(error) => outcome_of(&error),
        }
    })
}

/// Sends a datagram, again every 200 ms, and reads the name of who answers.
pub fn udp_probe(namespace: &Namespace, to: SocketAddr, limit: Duration) -> Result<Outcome> {
    namespace.run(|| {
        let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(to)?;
        socket.set_read_timeout(Some(Duration::from_millis(200).min(limit)))?;
        let begin = Instant::now();
        let mut buffer = [0u8; 2048];
        loop {
            let answer = socket.send(b"who?").and_then(|_| socket.recv(&mut buffer));
            match answer {
                Ok(length) => {
                    let by = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned();
                    return Ok(Outcome::Answered { by, after: begin.elapsed() });
                }
                Err(error) if begin.elapsed() >= limit => return Ok(outcome_of(&error)),
                Err(error) if outcome_of(&error) == Outcome::Silence => {}
                Err(error) => return Ok(outcome_of(&error)),
            }
        }
    })?
}
