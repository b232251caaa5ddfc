//! The command line as a whole.

use clap::{Parser, Subcommand};

use crate::{command, connection::Connection, terminal::ColorChoice};

const AFTER_HELP: &str = "\
Names may be whole (tenants/mairie/networks/intranet/ports/web), short (mairie/intranet/web),
or the last part alone where that is clear; --tenant and --network say where to look.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 nobody answers, 4 no such resource.

Examples:
  andromedectl apply -f examples/two-tenants.yaml --wait
  andromedectl get ports --network mairie/intranet -o wide
  andromedectl status
  andromedectl drops --recent
  andromedectl log -f --verdict deny
  andromedectl trace --from mairie/intranet/web --to 10.0.0.12 --proto tcp --dport 80";

/// Asks and tells an Andromède fabric
#[derive(Debug, Parser)]
#[command(name = "andromedectl", version, about, after_help = AFTER_HELP)]
#[command(max_term_width = 120, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// When to colour the output
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create or replace resources from files: all of them, or nothing
    Apply(command::apply::Apply),
    /// Show what apply would do: resources field by field, hosts and ports, sizes of tables
    Plan(command::plan::Plan),
    /// Show who changed what, the newest first
    History(command::history::History),
    /// Check that the history holds together
    Audit(command::audit::Audit),
    /// Show what is different between two revisions
    Diff(command::history::Diff),
    /// Make everything as it was at a revision, in a commit of its own
    Rollback(command::history::Rollback),
    /// List resources of a kind, or show some of them
    Get(command::get::Get),
    /// Show a resource and all that concerns it
    #[command(visible_alias = "desc")]
    Describe(command::describe::Describe),
    /// Delete resources
    #[command(visible_alias = "rm")]
    Delete(command::delete::Delete),
    /// Add, replace and remove some rules of a security group
    Rules(command::rules::Rules),
    /// Show how far every host is
    Status(command::status::Status),
    /// Show how full subnets are, and when they will be
    Subnets(command::subnets::Subnets),
    /// Show what was dropped, where and why
    Drops(command::drops::Drops),
    /// Show the connections that hosts track
    Flows(command::flows::Flows),
    /// Show what rules with `log` let pass and refused
    Log(command::log::Log),
    /// Show how often rules decided
    Hits(command::hits::Hits),
    /// Show what tenants used: packets, bytes and connections, by day and place
    Usage(command::usage::Usage),
    /// Walk a packet through the rows of the real hosts and tell every step
    Trace(command::trace::Trace),
    /// Attach workloads on this host, through its agent; let hosts join, drain, fence and remove them
    Host(command::host::Host),
    /// Make and show certificates
    Pki(command::pki::Pki),
    /// Write the completion script of a shell
    Completion(command::completion::Completion),
}
