//! How much one TCP stream carries.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use crate::Namespace;

/// Sends one TCP stream for some time and returns gigabits (10^9) in a second as its receiver counts them.
pub fn throughput(from: &Namespace, to: &Namespace, address: SocketAddr, time: Duration) -> Result<f64> {
    let listener = to.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, address.port())))??;
    let receiver = std::thread::spawn(move || -> Result<f64> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut buffer = vec![0u8; 512 << 10];
        let begin = Instant::now();
        let mut bytes = 0u64;
        loop {
            match stream.read(&mut buffer)? {
                0 => break,
                length => bytes += length as u64,
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a figure for people")]
        let bits = bytes as f64 * 8.0;
        Ok(bits / 1e9 / begin.elapsed().as_secs_f64().max(1e-9))
    });
    from.run(|| -> Result<()> {
        // Should this fail, the receiver would wait for a connection for ever: it is then left to the process's end.
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).context("connecting")?;
        stream.set_write_timeout(Some(Duration::from_secs(10)))?;
        let buffer = vec![0x5au8; 512 << 10];
        let begin = Instant::now();
        while begin.elapsed() < time {
            stream.write_all(&buffer).context("writing")?;
        }
        Ok(())
    })??;
    receiver.join().map_err(|_| anyhow!("the receiving thread panicked"))?
}
