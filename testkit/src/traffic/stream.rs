//! TCP streams whose every byte is checked.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use sha2::{Digest as _, Sha256};

use crate::Namespace;

/// A stream that makes no progress for this long has failed.
const STALL: Duration = Duration::from_secs(20);

/// What one side of a stream saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamReport {
    /// Bytes written or read.
    pub bytes: u64,
    /// SHA-256 of them.
    pub hash: [u8; 32],
    /// From the first to the last.
    pub took: Duration,
}

impl StreamReport {
    /// Gigabits (10^9) in a second.
    pub fn gigabits_per_second(&self) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let bits = self.bytes as f64 * 8.0;
        bits / 1e9 / self.took.as_secs_f64().max(1e-9)
    }

    /// Did the other side see the same bytes?
    pub fn same_bytes(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.hash == other.hash
    }
}

/// Bytes that never repeat in step with a segment's size, so that a lost, doubled or moved piece changes the hash.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(super) fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(8) {
            // Xorshift, Marsaglia 2003.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            for (byte, noise) in chunk.iter_mut().zip(self.0.to_le_bytes()) {
                *byte = noise;
            }
        }
    }
}

/// Waits until the port is free: a process that is being started holds a copy of every socket until it runs its own program, also of a
/// listener that was closed meanwhile.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let begin = Instant::now();
    loop {
        match TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && begin.elapsed() < STALL => {
                thread::sleep(Duration::from_millis(20));
            }
            done => return done,
        }
    }
}

/// A server that takes one stream after the other and hashes it.
#[derive(Debug)]
pub struct Sink {
    stop: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
    reports: mpsc::Receiver<Result<StreamReport>>,
    thread: Option<JoinHandle<()>>,
}

impl Sink {
    /// Listens on a port of all addresses.
    pub fn start(namespace: &Namespace, port: u16) -> Result<Self> {
        let listener = namespace.run(|| listen(port))?.with_context(|| format!("listening on TCP port {port}"))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let received = Arc::new(AtomicU64::new(0));
        let (sender, reports) = mpsc::channel();
        let (asked, counter) = (Arc::clone(&stop), Arc::clone(&received));
        let thread = thread::spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                let Ok((stream, _)) = listener.accept() else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                if sender.send(swallow(stream, &counter, &asked)).is_err() {
                    return;
                }
            }
        });
        Ok(Self { stop, received, reports, thread: Some(thread) })
    }

    /// Bytes that have arrived so far, of all streams.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// The report on the next stream that ended.
    pub fn report(&self) -> Result<StreamReport> {
        self.reports.recv_timeout(STALL * 2).context("no stream has ended")?
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // The port is free when this is over; a panic of the thread was told where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn swallow(mut stream: TcpStream, received: &AtomicU64, stop: &AtomicBool) -> Result<StreamReport> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let begin = Instant::now();
    let mut last = begin;
    let mut hash = Sha256::new();
    let mut bytes = 0u64;
    let mut buffer = vec![0u8; 256 << 10];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                hash.update(buffer.get(..length).unwrap_or_default());
                bytes += length as u64;
                received.fetch_add(length as u64, Ordering::Relaxed);
                last = Instant::now();
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if stop.load(Ordering::Relaxed) || last.elapsed() > STALL {
                    return Err(anyhow!("the stream stalled after {bytes} bytes"));
                }
            }
            Err(error) => return Err(anyhow!(error).context(format!("reading after {bytes} bytes"))),
        }
    }
    // The answer tells the sender that all has been read.
    stream.write_all(b"!").context("answering")?;
    Ok(StreamReport { bytes, hash: hash.finalize().into(), took: begin.elapsed() })
}

/// Sends this many bytes of noise and waits until the [`Sink`] has read them.
pub fn send_stream(namespace: &Namespace, to: SocketAddr, bytes: u64) -> Result<StreamReport> {
    namespace.run(|| pour(to, |sent| sent < bytes, bytes))?
}

/// Sends while `more` says so, at most `limit` bytes.
fn pour(to: SocketAddr, more: impl Fn(u64) -> bool, limit: u64) -> Result<StreamReport> {
    let mut stream =
        TcpStream::connect_timeout(&to, Duration::from_secs(10)).with_context(|| format!("connecting to {to}"))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_read_timeout(Some(STALL))?;
    let begin = Instant::now();
    let mut noise = Noise::new(0x2545_f491_4f6c_dd1d ^ limit);
    let mut hash = Sha256::new();
    let mut sent = 0u64;
    let mut buffer = vec![0u8; 256 << 10];
    while more(sent) {
        let length = (buffer.len() as u64).min(limit - sent) as usize;
        let piece = buffer.get_mut(..length).unwrap_or_default();
        noise.fill(piece);
        hash.update(&*piece);
        stream.write_all(piece).with_context(|| format!("writing after {sent} bytes"))?;
        sent += length as u64;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0u8; 1];
    stream.read_exact(&mut answer).context("waiting until all is read")?;
    Ok(StreamReport { bytes: sent, hash: hash.finalize().into(), took: begin.elapsed() })
}

/// A stream that goes on until it is stopped.
#[derive(Debug)]
pub struct BackgroundStream {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<StreamReport>>>,
}

impl BackgroundStream {
    /// Connects and begins to send.
    pub fn start(namespace: &Namespace, to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = namespace.spawn(move || pour(to, |_| !asked.load(Ordering::Relaxed), u64::MAX));
        Self { stop, thread: Some(thread) }
    }

    /// Has it ended, which it should not by itself?
    pub fn ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Sends no more, waits until all is read, and tells what was sent.
    pub fn stop(mut self) -> Result<StreamReport> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a stream stops once")?;
        thread.join().map_err(|_| anyhow!("the sending thread panicked"))?
    }
}

impl Drop for BackgroundStream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
