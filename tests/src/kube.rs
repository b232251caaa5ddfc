//! An API server of Kubernetes as far as an operator notices: lists in pages, watches, Leases, Events. It keeps objects and checks nothing.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use andromede_testkit::Namespace;
use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// How often a watch looks whether it should end.
const PAUSE: Duration = Duration::from_millis(50);

/// A change: its number, the kind's plural, and what a watch says of it.
type Change = (u64, String, Value);

#[derive(Debug, Default)]
struct Store {
    version: u64,
    /// By plural, namespace and name.
    objects: BTreeMap<(String, String, String), Value>,
    changes: Vec<Change>,
    events: Vec<Value>,
}

#[derive(Debug, Default)]
struct Shared {
    store: Mutex<Store>,
    changed: Condvar,
    stop: AtomicBool,
    /// Does it answer?
    away: AtomicBool,
}

/// The server. It ends with this value.
#[derive(Debug)]
pub struct KubeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

fn lock(shared: &Shared) -> MutexGuard<'_, Store> {
    shared.store.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KubeApi {
    /// Listens on the loopback of a namespace.
    pub fn start(namespace: &Namespace) -> Result<Self> {
        let listener = namespace.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))??;
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared::default());
        let inner = Arc::clone(&shared);
        let acceptor = thread::spawn(move || {
            while !inner.stop.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let inner = Arc::clone(&inner);
                        thread::spawn(move || drop(serve(&inner, stream)));
                    }
                    Err(_) => thread::sleep(Duration::from_millis(5)),
                }
            }
        });
        Ok(Self { shared, address, acceptor: Some(acceptor) })
    }

    /// A file for `--kubeconfig`.
    pub fn kubeconfig(&self) -> String {
        let cluster = json!({"name": "c", "cluster": {"server": format!("http://{}", self.address)}});
        let context = json!({"name": "c", "context": {"cluster": "c", "user": "u"}});
        json!({
            "apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context], "current-context": "c",
            "users": [{"name": "u", "user": {}}],
        })
        .to_string()
    }

    /// Puts an object in place of the one of its name: "pods" and its like, namespace (empty: none), name, and the rest of it.
    pub fn put(&self, plural: &str, namespace: &str, name: &str, object: &Value) {
        put(&mut lock(&self.shared), plural, namespace, name, object.clone());
        self.shared.changed.notify_all();
    }

    /// Deletes an object.
    pub fn delete(&self, plural: &str, namespace: &str, name: &str) {
        let mut store = lock(&self.shared);
        store.version += 1;
        let version = store.version;
        if let Some(mut object) = store.objects.remove(&(plural.to_owned(), namespace.to_owned(), name.to_owned())) {
            object["metadata"]["resourceVersion"] = json!(version.to_string());
            store.changes.push((version, plural.to_owned(), json!({"type": "DELETED", "object": object})));
        }
        drop(store);
        self.shared.changed.notify_all();
    }

    /// The events that were written.
    pub fn events(&self) -> Vec<Value> {
        lock(&self.shared).events.clone()
    }

    /// Hangs up, and answers nobody until it is back.
    pub fn set_away(&self, away: bool) {
        self.shared.away.store(away, Ordering::Relaxed);
        self.shared.changed.notify_all();
    }
}

impl Drop for KubeApi {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.changed.notify_all();
        drop(self.acceptor.take().map(JoinHandle::join));
    }
}

fn put(store: &mut Store, plural: &str, namespace: &str, name: &str, mut object: Value) -> Value {
    store.version += 1;
    let version = store.version;
    let metadata = &mut object["metadata"];
    metadata["name"] = json!(name);
    metadata["resourceVersion"] = json!(version.to_string());
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    let key = (plural.to_owned(), namespace.to_owned(), name.to_owned());
    let kind = if store.objects.insert(key, object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
    store.changes.push((version, plural.to_owned(), json!({"type": kind, "object": object})));
    object
}

/// A request: method, path, query, body.
struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    body: Value,
}

/// Answers requests of one connection until it ends.
fn serve(shared: &Shared, stream: TcpStream) -> Result<()> {
    stream.set_nonblocking(false)?;
    let mut out = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader)? {
        if shared.away.load(Ordering::Relaxed) || shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        if request.query.get("watch").is_some_and(|watch| watch == "true" || watch == "1") {
            return tell(shared, &request, &mut out);
        }
        let (status, body) = answer(shared, &request);
        let body = body.to_string();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        out.write_all((head + &body).as_bytes())?;
    }
    Ok(())
}

fn read(reader: &mut BufReader<TcpStream>) -> Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let method = words.next().context("a method")?.to_owned();
    let (path, query) = words.next().context("a path")?.split_once('?').map_or_else(
        || (line.split_whitespace().nth(1).unwrap_or_default().to_owned(), String::new()),
        |(path, query)| (path.to_owned(), query.to_owned()),
    );
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    Ok(Some(Request {
        method,
        path,
        query: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    }))
}

/// Plural, namespace and name in a path; empty where it names none.
fn place(path: &str) -> (String, String, String) {
    let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    // "api/v1" or "apis/GROUP/VERSION".
    parts.drain(..parts.len().min(if path.starts_with("/apis/") { 3 } else { 2 }));
    let at = |place: usize| parts.get(place).copied().unwrap_or_default().to_owned();
    if parts.first() == Some(&"namespaces") && parts.len() > 2 {
        (at(2), at(1), at(3))
    } else {
        (at(0), String::new(), at(1))
    }
}

fn answer(shared: &Shared, request: &Request) -> (&'static str, Value) {
    let (plural, namespace, name) = place(&request.path);
    let mut store = lock(shared);
    match request.method.as_str() {
        "POST" if plural == "events" => {
            store.events.push(request.body.clone());
            ("201 Created", request.body.clone())
        }
        "POST" | "PUT" => {
            let name = request.body["metadata"]["name"].as_str().unwrap_or_default();
            let key = (plural.clone(), namespace.clone(), name.to_owned());
            let there = store.objects.get(&key).map(|object| object["metadata"]["resourceVersion"].clone());
            let given = &request.body["metadata"]["resourceVersion"];
            if request.method == "POST" && there.is_some() || request.method == "PUT" && there.as_ref() != Some(given) {
                return ("409 Conflict", failure(409, "Conflict"));
            }
            ("200 OK", put(&mut store, &plural, &namespace, name, request.body.clone()))
        }
        _ if !name.is_empty() => match store.objects.get(&(plural, namespace, name)) {
            Some(object) => ("200 OK", object.clone()),
            None => ("404 Not Found", failure(404, "NotFound")),
        },
        _ => {
            let all: Vec<&Value> =
                store.objects.iter().filter(|((kind, ..), _)| *kind == plural).map(|(_, object)| object).collect();
            let number = |key: &str| request.query.get(key).and_then(|text| text.parse::<usize>().ok());
            let from = number("continue").unwrap_or(0);
            let page: Vec<&Value> =
                all.iter().copied().skip(from).take(number("limit").unwrap_or(usize::MAX)).collect();
            let end = from + page.len();
            let next = if end < all.len() { end.to_string() } else { String::new() };
            let metadata = json!({"resourceVersion": store.version.to_string(), "continue": next});
            ("200 OK", json!({"apiVersion": "v1", "kind": "List", "metadata": metadata, "items": page}))
        }
    }
}

fn failure(code: u16, reason: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": reason})
}

/// Tells changes of a kind until the connection or the server ends.
fn tell(shared: &Shared, request: &Request, out: &mut TcpStream) -> Result<()> {
    let (plural, ..) = place(&request.path);
    let mut after: u64 = request.query.get("resourceVersion").and_then(|text| text.parse().ok()).unwrap_or(0);
    out.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    loop {
        let mut text = String::new();
        {
            let store = lock(shared);
            let told = after;
            let fresh = store.changes.iter().filter(|(version, kind, _)| *version > told && *kind == plural);
            for (version, _, change) in fresh {
                let line = format!("{change}\n");
                write!(text, "{:x}\r\n{line}\r\n", line.len())?;
                after = *version;
            }
            if text.is_empty() {
                drop(shared.changed.wait_timeout(store, PAUSE));
            }
        }
        if shared.away.load(Ordering::Relaxed) || shared.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        out.write_all(text.as_bytes())?;
    }
}
