//! What a packet, a pod and a change cost: Andromède beside the kernel's own ways, on the machine that runs this. `./x bench` builds and starts it.

mod bar;
mod cni;
mod cpu;
mod datapath;
mod document;
mod members;
mod neighbour;
mod plan;
mod plot;
mod report;
mod scale;
mod statistics;
mod traffic;
mod walk;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures what a packet costs.
#[derive(Parser)]
#[command(name = "andromede-bench", bin_name = "./x bench")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Giving a container its network and taking it away, beside Debian's bridge and host-local.
    Cni(cni::Arguments),
    /// Traffic between workloads: Andromède with 1,000 rules beside plain routing and the kernel's overlays and firewalls.
    Datapath(datapath::Arguments),
    /// The packet path alone: what deciding, opening a flow and a tunnel cost, each repeated on one frame.
    Walk(walk::Arguments),
    /// What an established packet and a new flow cost with few and with many rules, remote ports and live flows.
    Scale(scale::Arguments),
    /// What a tenant that floods does to another: connects and round trips beside it, and beside as much other work.
    Neighbour(neighbour::Arguments),
    /// Compiling a large network into the tables of a host, and a change of it.
    Plan(plan::Arguments),
    /// A thousand ports that join a group: from the API into the tables of the kernel.
    Members(members::Arguments),
    /// Write the figures of a run into docs/performance.md, and draw them.
    Document(document::Arguments),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Cni(arguments) => cni::run(&arguments),
        Command::Datapath(arguments) => datapath::run(&arguments),
        Command::Walk(arguments) => walk::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments),
        Command::Neighbour(arguments) => neighbour::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Members(arguments) => members::run(&arguments),
        Command::Document(arguments) => document::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
