//! `andromede-controller`.

use std::io::IsTerminal as _;

use andromede_controller::{
    server::Server,
    settings::{Cli, Command, LogFormat, ServeArgs},
    store::Store,
    telemetry::{Collector, Exporter, Spans},
};
use anyhow::Context as _;
use clap::Parser as _;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};
use tracing::Metadata;
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    match &cli.command {
        Command::Serve(arguments) => {
            let collector = arguments.otlp.as_ref().map(|address| Collector::new(address, arguments.otlp_ca.as_ref()));
            let (spans, exporter) = collector.transpose()?.map(Exporter::new).unzip();
            log(&cli, spans)?;
            let runtime = tokio::runtime::Runtime::new().context("the runtime could not start")?;
            runtime.block_on(export(serve(arguments), exporter))
        }
        Command::NewEpoch { store } => {
            log(&cli, None)?;
            let head = Store::open_existing(store)?.raise_epoch()?;
            println!("andromede-controller: the store begins epoch {} at revision {}", head.epoch, head.number);
            Ok(())
        }
    }
}

/// Exports spans while something is done, and what is left of them afterwards.
async fn export(work: impl Future<Output = anyhow::Result<()>>, exporter: Option<Exporter>) -> anyhow::Result<()> {
    let Some(exporter) = exporter else { return work.await };
    let (stop, stopped) = oneshot::channel();
    let exporting = tokio::spawn(exporter.run(stopped));
    let result = work.await;
    // It has ended already if nobody listens.
    let _ = stop.send(());
    exporting.await.context("the export of spans ended unexpectedly")?;
    result
}

async fn serve(arguments: &ServeArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let server = Server::bind(arguments).await?;
    println!("{}", server.banner());
    // Whoever dials from now on is served. That nobody waits for it is no reason not to.
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready]) {
        tracing::warn!(%error, "the service manager was not told that the controller is ready");
    }
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(server.run(shutdown).await?)
}

fn log(cli: &Cli, spans: Option<Spans>) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).with_context(|| format!("--log {:?}", cli.log))?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let log = match cli.log_format {
        LogFormat::Text => log.with_filter(filter).boxed(),
        LogFormat::Json => log.json().with_filter(filter).boxed(),
    };
    // What libraries do within a call is not exported.
    let own = |of: &Metadata<'_>| of.is_span() && of.target().starts_with("andromede_controller");
    let spans = spans.map(|spans| spans.with_filter(filter_fn(own)));
    tracing_subscriber::registry().with(log).with(spans).init();
    Ok(())
}
