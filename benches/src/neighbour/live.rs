//! Connections that live through all of it.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use andromede_testkit::Fabric;
use andromede_tests::bundle::network_name;
use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::scene::VICTIM;
use crate::traffic::Pod;

/// TCP port that they go to: no other connection does.
const PORT: u16 = 700;
/// Connections to each peer.
const EACH: usize = 100;
/// How long a byte may take, retransmissions included.
const PATIENCE: Duration = Duration::from_secs(5);

/// TCP connections of the victim that were there before the flood.
#[derive(Debug)]
pub(super) struct Live(Vec<(TcpStream, TcpStream)>);

impl Live {
    /// Opens them from one pod to the others.
    pub(super) fn open(from: &Pod, to: [&Pod; 2]) -> Result<Self> {
        let mut pairs = Vec::new();
        for pod in to {
            let listener = pod.namespace.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)))??;
            let address = SocketAddr::from((pod.address, PORT));
            for _ in 0..EACH {
                let client = from.namespace.run(|| TcpStream::connect_timeout(&address, PATIENCE))?;
                let client = client.with_context(|| format!("connecting to {address}"))?;
                let (server, _) = listener.accept()?;
                for stream in [&client, &server] {
                    stream.set_read_timeout(Some(PATIENCE))?;
                }
                pairs.push((client, server));
            }
        }
        let live = Self(pairs);
        live.check()?;
        Ok(live)
    }

    /// A byte goes over each, both ways.
    pub(super) fn check(&self) -> Result<()> {
        let pass = |mut from: &TcpStream, mut to: &TcpStream| -> std::io::Result<u8> {
            from.write_all(&[7])?;
            let mut byte = [0];
            to.read_exact(&mut byte)?;
            Ok(byte[0])
        };
        for (client, server) in &self.0 {
            for (from, to) in [(client, server), (server, client)] {
                let passed = pass(from, to).context("a connection of the victim carries nothing any more")?;
                ensure!(passed == 7, "a connection of the victim delivers what nobody sent");
            }
        }
        Ok(())
    }

    /// Their rows in the flow tables of all hosts: whoever is evicted and opened again has another number.
    pub(super) fn rows(&self, fabric: &Fabric) -> Result<BTreeSet<String>> {
        let told = fabric.control().json(&["flows", "--network", &network_name(VICTIM), "--limit", "10000"])?;
        let flows = told.get("flows").and_then(Value::as_array).into_iter().flatten();
        let mine = |flow: &&Value| flow.get("answererPort").and_then(Value::as_u64) == Some(u64::from(PORT));
        let text = |flow: &Value, name: &str| flow.get(name).map(Value::to_string).unwrap_or_default();
        let row = |flow: &Value| text(flow, "host") + &text(flow, "connection");
        let rows: BTreeSet<String> = flows.filter(mine).map(row).collect();
        // Those to the other host have a row on each of the two.
        ensure!(rows.len() == self.0.len() / 2 * 3, "{} rows for {} connections", rows.len(), self.0.len());
        Ok(rows)
    }
}
