//! What passes an interface, as a pcap file and as tshark reads it.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::{Namespace, raw::RawSocket};

/// A frame and when it was seen.
#[derive(Clone, Debug)]
pub struct Captured {
    /// Since 1970.
    pub time: Duration,
    /// The frame from its Ethernet header on.
    pub frame: Vec<u8>,
}

/// A capture that runs until it is stopped.
#[derive(Debug)]
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Vec<Captured>>>>,
}

impl Capture {
    /// Begins to record what an interface sends and receives. It records from the moment this returns.
    pub fn start(namespace: &Namespace, interface: &str) -> Result<Self> {
        let socket = RawSocket::open(namespace, interface, false)?;
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut frames = Vec::new();
            loop {
                // What was queued before the stop is still read.
                match socket.receive(Duration::from_millis(20))? {
                    Some(frame) => {
                        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                        frames.push(Captured { time, frame });
                    }
                    None if asked.load(Ordering::Relaxed) => return Ok(frames),
                    None => {}
                }
            }
        });
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends the recording and returns it.
    pub fn stop(mut self) -> Result<Vec<Captured>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("a capture stops once")?;
        thread.join().map_err(|_| anyhow!("the capturing thread panicked"))?
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes a pcap file (link type Ethernet).
pub fn write_pcap(path: &Path, frames: &[Captured]) -> Result<()> {
    let header: [u32; 6] = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 262_144, 1];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    for Captured { time, frame } in frames {
        let length = u32::try_from(frame.len())?;
        for word in [time.as_secs() as u32, time.subsec_micros(), length, length] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend(frame);
    }
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}

/// Lets tshark dissect a pcap file, checksums validated: one line for each frame that `filter` (in its display
/// language) accepts, with these fields.
pub fn tshark(path: &Path, filter: &str, fields: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(path).args(["-n", "-Y", filter, "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a"]);
    for layer in ["ip", "udp", "tcp"] {
        command.arg("-o").arg(format!("{layer}.check_checksum:TRUE"));
    }
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.output().context("starting tshark (apt-get install tshark)")?;
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "tshark failed: {stderr}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}
