//! `andromede-controller`.

use std::io::IsTerminal as _;

use andromede_controller::{
    server::Server,
    settings::{Cli, Command, LogFormat, ServeArgs},
    store::Store,
};
use anyhow::Context as _;
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    log(&cli)?;
    match cli.command {
        Command::Serve(arguments) => {
            let runtime = tokio::runtime::Runtime::new().context("the runtime could not start")?;
            runtime.block_on(serve(&arguments))
        }
        Command::NewEpoch { store } => {
            let head = Store::open_existing(&store)?.raise_epoch()?;
            println!("andromede-controller: the store begins epoch {} at revision {}", head.epoch, head.number);
            Ok(())
        }
    }
}

async fn serve(arguments: &ServeArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let server = Server::bind(arguments).await?;
    println!("{}", server.banner());
    let shutdown = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(server.run(shutdown).await?)
}

fn log(cli: &Cli) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&cli.log).with_context(|| format!("--log {:?}", cli.log))?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours);
    match cli.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
