//! Health, readiness and metrics over plain HTTP, for whoever watches the controller: these pages and nothing else.
//!
//! | page | 200 | 503 |
//! | --- | --- | --- |
//! | `/healthz` | the program runs and answers | never |
//! | `/readyz` | the store can be read, holds what is published, and the writer takes writes | why not, in words |
//! | `/metrics` | [`crate::metrics`] | never |
//! | `/metrics/usage` | what each network used, by its name; 404 unless it was asked for | never |

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};

use crate::{metrics::Sources, store::Store, writer::WriterAlive};

/// Most bytes of a request.
const REQUEST_BYTES: usize = 8 << 10;
/// How long a request and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most requests at a time.
const AT_ONCE: usize = 8;
/// Pause after the system could not accept a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// What the pages are made of.
#[derive(Clone, Debug)]
pub struct Health {
    /// The metrics.
    pub sources: Sources,
    /// Is what each network used served, too?
    pub by_network: bool,
    /// The log.
    pub store: Arc<Store>,
    /// Whether the writer is there.
    pub writer: WriterAlive,
}

impl Health {
    /// Serves the pages until the controller ends.
    pub async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            let Ok((stream, _)) = accepted else {
                // No descriptors are left, perhaps: they come back.
                sleep(PAUSE).await;
                continue;
            };
            let health = self.clone();
            tokio::spawn(async move {
                // Whoever asks too slowly, or goes, gets nothing.
                drop(timeout(PATIENCE, health.answer(stream)).await);
                drop(place);
            });
        }
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<()> {
        let Some(path) = path(&mut stream).await? else {
            return reply(&mut stream, "400 Bad Request", "GET /healthz, /readyz or /metrics\n").await;
        };
        match path.as_str() {
            "/healthz" => reply(&mut stream, "200 OK", "ok\n").await,
            "/readyz" => match self.ready().await {
                Ok(()) => reply(&mut stream, "200 OK", "ready\n").await,
                Err(why) => reply(&mut stream, "503 Service Unavailable", &(why + "\n")).await,
            },
            "/metrics" => {
                let sources = self.sources.clone();
                let text = spawn_blocking(move || sources.text()).await.unwrap_or_default();
                reply(&mut stream, "200 OK", &text).await
            }
            "/metrics/usage" if self.by_network => reply(&mut stream, "200 OK", &self.sources.usage.text()).await,
            _ => reply(&mut stream, "404 Not Found", "there are /healthz, /readyz and /metrics\n").await,
        }
    }

    /// Can it do what it is there for? Otherwise why not.
    async fn ready(&self) -> Result<(), String> {
        if !self.writer.is_alive() {
            return Err("the writer has ended: nothing can be written; look at the log".to_owned());
        }
        let published = self.sources.publisher.model().revision();
        let store = Arc::clone(&self.store);
        let head = spawn_blocking(move || store.head()).await.map_err(|error| error.to_string())?;
        let head = head.map_err(|error| format!("the store cannot be read: {error}"))?;
        if head.number < published {
            return Err(format!("the store ends at revision {}, and {published} is published", head.number));
        }
        Ok(())
    }
}

/// The path of a GET request; none if it is something else.
async fn path(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    let mut part = [0; 1_024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part).await?;
        if read == 0 || request.len().saturating_add(read) > REQUEST_BYTES {
            return Ok(None);
        }
        request.extend_from_slice(part.get(..read).unwrap_or_default());
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = std::str::from_utf8(line).unwrap_or_default().split(' ');
    let parts = (words.next(), words.next(), words.next());
    let (Some("GET"), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) = parts else { return Ok(None) };
    Ok(Some(path.split('?').next().unwrap_or_default().to_owned()))
}

async fn reply(stream: &mut TcpStream, status: &str, text: &str) -> io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        text.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}
