//! `./x bench members`: how long it takes until a thousand ports that join a group, each by a call of its own, are in force: from the
//! API through the controller and the agents into the tables of the kernel. The rules that name the group are not compiled for it.

use std::{
    fmt::Write as _,
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use andromede_proto::v1::{self, fabric_service_client::FabricServiceClient, resource::Kind};
use andromede_testkit::{
    Fabric, FabricOptions,
    fabric::{Control, hosts_bundle},
    interrupt,
};
use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{
    report::{Machine, Report, Row, align, figure},
    statistics::{median, quantile},
};

/// Options.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures to this file as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Rounds; in each all ports join the group and leave it again.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Rules of the group that names the others.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rules: u32,
}

/// Ports that join and leave, each with a group of its own besides: no two are alike.
const PORTS: u32 = 1_000;
/// Calls under way at one time.
const TOGETHER: usize = 64;
/// How long a round may take.
const PATIENCE: Duration = Duration::from_mins(2);
/// Where everything is.
const NETWORK: &str = "tenants/bench/networks/n";

/// Runs the bench.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    interrupt::install()?;
    let fabric = Fabric::start(FabricOptions { hosts: 2, ..FabricOptions::default() })?;
    fabric.apply(&bundle(arguments.rules)?)?;
    let _server = fabric.attach(1, &format!("{NETWORK}/ports/server"))?;
    fabric.wait_in_force()?;
    let control = fabric.control();
    let measured = control.namespace().run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(measure(control, arguments.rounds))
    });
    let (committed, in_force) = measured?.with_context(|| fabric.logs())?;
    let machine = Machine::this();
    println!("{}\n", machine.line());
    println!("{}", table(&committed, &in_force));
    if let Some(path) = &arguments.json {
        let config = format!("andromede, {PORTS} ports join a group and leave it");
        let row = |metric: &str, samples: &[f64]| Row::new(metric, &config, arguments.rules, samples);
        let rows = vec![row("members_committed_s", &committed), row("members_in_force_s", &in_force)];
        Report { machine, rows, ratios: Vec::new() }.write(path)?;
    }
    Ok(())
}

/// A server whose rules name the group `friends`, and ports elsewhere that do not have it yet.
fn bundle(rules: u32) -> Result<String> {
    let mut text = hosts_bundle(2);
    write!(text, "---\nkind: Tenant\nname: tenants/bench\n---\nkind: Network\nname: {NETWORK}\n")?;
    write!(text, "---\nkind: Subnet\nname: {NETWORK}/subnets/s\ncidr: 10.0.0.0/16\n")?;
    write!(text, "---\nkind: SecurityGroup\nname: {NETWORK}/securityGroups/friends\nrules: []\n")?;
    write!(text, "---\nkind: SecurityGroup\nname: {NETWORK}/securityGroups/server\nrules:\n")?;
    for rule in 1..=rules {
        let remote = format!("remoteGroup: {NETWORK}/securityGroups/friends");
        writeln!(
            text,
            "  - {{name: r{rule}, direction: ingress, action: allow, protocol: tcp, ports: ['{rule}'], {remote}}}"
        )?;
    }
    write!(text, "---\nkind: Port\nname: {NETWORK}/ports/server\naddresses: [10.0.0.10]\nhost: hosts/h1\n")?;
    writeln!(text, "securityGroups: [{NETWORK}/securityGroups/server]")?;
    for number in 0..PORTS {
        write!(text, "---\nkind: SecurityGroup\nname: {NETWORK}/securityGroups/own{number}\nrules: []\n")?;
        let port = port(number, false);
        write!(
            text,
            "---\nkind: Port\nname: {}\naddresses: [{}]\nhost: {}\n",
            port.name,
            port.addresses.concat(),
            port.host
        )?;
        writeln!(text, "securityGroups: [{}]", port.security_groups.join(", "))?;
    }
    Ok(text)
}

fn port(number: u32, is_member: bool) -> v1::Port {
    let group = |name: &str| format!("{NETWORK}/securityGroups/{name}");
    let own = group(&format!("own{number}"));
    v1::Port {
        name: format!("{NETWORK}/ports/p{number}"),
        addresses: vec![format!("10.0.{}.{}", 1 + number / 250, 1 + number % 250)],
        host: "hosts/h2".to_owned(),
        security_groups: if is_member { vec![group("friends"), own] } else { vec![own] },
        ..v1::Port::default()
    }
}

/// A connection as the administrator.
async fn dial(control: &Control) -> Result<Channel> {
    let read = |path: PathBuf| fs::read(&path).with_context(|| format!("reading {}", path.display()));
    let identity = Identity::from_pem(read(control.certificate("user", "admin"))?, read(control.key("user", "admin"))?);
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(control.authority())?)).identity(identity);
    Ok(Endpoint::from_shared(Control::url())?.tls_config(tls)?.connect().await?)
}

/// Seconds of each half round, from the first call until all calls are answered, and until every host has applied all of them.
async fn measure(control: &Control, rounds: u32) -> Result<(Vec<f64>, Vec<f64>)> {
    let channel = dial(control).await?;
    let (mut committed, mut in_force) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for is_member in [true, false] {
            interrupt::check()?;
            let begun = Instant::now();
            let revision = change(&channel, is_member).await?;
            committed.push(begun.elapsed().as_secs_f64());
            applied(&channel, revision, begun).await?;
            in_force.push(begun.elapsed().as_secs_f64());
        }
    }
    Ok((committed, in_force))
}

/// Every port joins or leaves, by a call of its own; the last revision comes back.
async fn change(channel: &Channel, is_member: bool) -> Result<u64> {
    let mut calls: JoinSet<Result<u64, tonic::Status>> = JoinSet::new();
    let mut last = 0;
    for number in 0..PORTS {
        if calls.len() >= TOGETHER
            && let Some(revision) = calls.join_next().await
        {
            last = last.max(revision??);
        }
        let mut client = FabricServiceClient::new(channel.clone());
        let resources = vec![v1::Resource { kind: Some(Kind::Port(port(number, is_member))) }];
        let request = v1::ApplyRequest { resources, ..v1::ApplyRequest::default() };
        calls.spawn(async move { Ok(client.apply(request).await?.into_inner().revision) });
    }
    while let Some(revision) = calls.join_next().await {
        last = last.max(revision??);
    }
    Ok(last)
}

/// Waits until both hosts have applied a revision.
async fn applied(channel: &Channel, revision: u64, begun: Instant) -> Result<()> {
    let mut client = FabricServiceClient::new(channel.clone());
    loop {
        let status = client.get_status(v1::GetStatusRequest {}).await?.into_inner();
        if status.hosts.iter().all(|host| host.applied_revision >= revision && host.error.is_empty()) {
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "not in force after {PATIENCE:?}: {status:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn table(committed: &[f64], in_force: &[f64]) -> String {
    let mut lines = vec![["seconds", "median", "min", "max"].map(str::to_owned).to_vec()];
    for (title, samples) in [("committed", committed), ("in force on every host", in_force)] {
        let figures = [median(samples), quantile(samples, 0.0), quantile(samples, 1.0)];
        let title = format!("{PORTS} membership changes, {title}");
        lines.push(std::iter::once(title).chain(figures.map(figure)).collect());
    }
    align(&lines)
}
