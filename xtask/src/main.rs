//! The project's own tasks. `./x` sees to the toolchain and the tools, then calls this.

mod bench;
mod ci;
mod demo;
mod deny;
mod docs;
mod fuzz;
mod kernels;
mod kube;
mod packaging;
mod schema;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, checks, tests and shows Andromède.
#[derive(Parser)]
#[command(name = "x", bin_name = "./x", disable_help_subcommand = true, arg_required_else_help = false)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Show this help.
    Help,
    /// Check the house rules: imports, sizes, README, documents. In CI.
    Tidy,
    /// Check licences, sources and duplicates of third-party crates against deny.toml. In CI.
    Deny,
    /// Write the generated documents. In CI with --check.
    Docs {
        /// Change nothing: fail if a document is not what the code says.
        #[arg(long)]
        check: bool,
    },
    /// Run every test, those on the real kernel included (needs root). In CI.
    Test {
        /// Handed to `cargo test` (for example: `./x test -p andromede-plan`, `./x test -- --nocapture`).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Run everything that must be green before a merge, cheap to dear.
    Ci {
        /// Go on after a step that failed.
        #[arg(long)]
        keep_going: bool,
    },
    /// Show the fabric at work: a controller, three hosts, two tenants with the same addresses, real traffic (needs root).
    Demo(demo::Arguments),
    /// Run tests on Debian 12's kernel 6.1 in a virtual machine. In CI.
    Kernels(kernels::Arguments),
    /// Run a real Kubernetes of two nodes whose only network is Andromède, and check it (needs root; the first time builds Kubernetes,
    /// 5 to 10 minutes). Not in CI.
    Kube(kube::Arguments),
    /// Measure what a packet costs beside the kernel's own ways (needs root; `./x bench --help`). Not in CI.
    Bench {
        /// Handed to the benches (for example: `./x bench datapath --quick`).
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Write the Debian packages: agent, controller, andromedectl.
    Deb(packaging::Arguments),
    /// Write the image for containers, from nothing, as an archive that `podman load` and `ctr images import` read.
    Image(packaging::Arguments),
    /// Look for inputs that break the parser or the walk (needs nightly Rust and cargo-fuzz). Not in CI.
    Fuzz {
        /// The target; without one, each in turn.
        target: Option<String>,
        /// Seconds a target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command.unwrap_or(Command::Help) {
        Command::Help => help(),
        Command::Tidy => tidy::run(),
        Command::Deny => deny::run(),
        Command::Docs { check } => docs::run(check),
        Command::Test { arguments } => test::run(&arguments, || {}),
        Command::Ci { keep_going } => ci::run(keep_going),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::Kube(arguments) => kube::run(&arguments),
        Command::Bench { arguments } => bench::run(&arguments),
        Command::Deb(arguments) => packaging::deb(&arguments),
        Command::Image(arguments) => packaging::image(&arguments),
        Command::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("x: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn help() -> anyhow::Result<()> {
    <Arguments as clap::CommandFactory>::command().print_long_help()?;
    println!("{}", ci::SUMMARY);
    Ok(())
}
