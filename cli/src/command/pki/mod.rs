//! `andromedectl pki`: a small certificate authority for a fabric.
//!
//! Who a certificate speaks for is in its subject alternative name, as `andromede://ROLE/NAME`.

mod authority;
mod files;
mod show;

use std::{net::IpAddr, path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueEnum};

use crate::{duration, failure::Failure, terminal};

/// Scheme of the URI that carries role and name.
const SCHEME: &str = "andromede://";

/// Longest name in a certificate, in characters: the most that a host may have.
const MAX_NAME: usize = 63;

/// Makes and shows certificates.
#[derive(Debug, Args)]
pub(crate) struct Pki {
    #[command(subcommand)]
    command: PkiCommand,
}

#[derive(Debug, Subcommand)]
enum PkiCommand {
    /// Make a certificate authority: ca.pem, which everybody may read, and ca.key, which nobody may
    #[command(after_help = "Examples:\n  andromedectl pki init --dir pki\n  \
                            andromedectl pki init --dir pki --name 'Ville de Lyon' --validity 3650d")]
    Init(Init),
    /// Issue a certificate for a controller, a host's agent or a user
    #[command(after_help = "Files: DIR/ROLE-NAME.pem and DIR/ROLE-NAME.key (mode 0600).\n\nExamples:\n  \
        andromedectl pki issue --dir pki --role controller --name main --san 192.0.2.100 --san controller.example.eu\n  \
        andromedectl pki issue --dir pki --role host --name h1\n  \
        andromedectl pki issue --dir pki --role user --name alice --validity 90d")]
    Issue(Issue),
    /// Show for whom and until when a certificate is valid
    #[command(after_help = "Examples:\n  andromedectl pki show pki/host-h1.pem")]
    Show(Show),
}

#[derive(Debug, Args)]
struct Init {
    /// Folder for ca.pem and ca.key; made if it is not there
    #[arg(long)]
    dir: PathBuf,
    /// Name of the authority, for people
    #[arg(long, default_value = "Andromede certificate authority")]
    name: String,
    /// How long it is valid: 30s, 12h, 3650d
    #[arg(long, value_name = "DURATION", default_value = "3650d", value_parser = duration::parse)]
    validity: Duration,
    /// Replace an authority that is there; everything it issued becomes worthless
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Issue {
    /// Folder with ca.pem and ca.key; the certificate goes there too
    #[arg(long)]
    dir: PathBuf,
    /// What the certificate is for
    #[arg(long)]
    role: Role,
    /// Name of the host ("h1" for hosts/h1), user or controller
    #[arg(long, value_parser = parse_name)]
    name: String,
    /// Address or DNS name under which a controller is dialled; may be repeated. Default for a controller: localhost, 127.0.0.1 and `::1`
    #[arg(long = "san", value_name = "ADDR", value_delimiter = ',')]
    alternative_names: Vec<String>,
    /// How long it is valid, at most as long as the authority: 30s, 12h, 365d
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = duration::parse)]
    validity: Duration,
    /// Replace a certificate that is there
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
struct Show {
    /// Certificates in PEM
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// What a certificate lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// Serves the API
    Controller,
    /// Opens the session of one host, and nothing else
    Host,
    /// Calls the API
    User,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Host => "host",
            Self::User => "user",
        }
    }
}

fn parse_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-._@".contains(c);
    if text.is_empty() || text.len() > MAX_NAME || !text.chars().all(allowed) {
        return Err(format!("a name is 1 to {MAX_NAME} characters of a-z, A-Z, 0-9, '-', '.', '_' and '@'"));
    }
    Ok(text.to_owned())
}

impl Pki {
    /// Runs the command; nothing here needs a controller.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        match &self.command {
            PkiCommand::Init(init) => {
                let paths = files::Pair::new(&init.dir, "ca");
                let made = authority::make(&init.name, init.validity)?;
                files::make_folder(&init.dir)?;
                paths.write(&made, init.force)?;
                terminal::print(&paths.told())
            }
            PkiCommand::Issue(issue) => {
                if issue.role == Role::Host {
                    check_host_name(&issue.name)?;
                }
                let paths = files::Pair::new(&issue.dir, &format!("{}-{}", issue.role.name(), issue.name));
                let authority = files::Pair::new(&issue.dir, "ca").read()?;
                let made = authority::issue(&authority, issue.role, &issue.name, &issue.dialled(), issue.validity)?;
                paths.write(&made, issue.force)?;
                terminal::print(&paths.told())
            }
            PkiCommand::Show(show) => {
                for file in &show.files {
                    terminal::print(&show::describe(file)?)?;
                }
                Ok(())
            }
        }
    }
}

impl Issue {
    /// Names and addresses under which the holder is dialled.
    fn dialled(&self) -> Vec<String> {
        if self.alternative_names.is_empty() && self.role == Role::Controller {
            return vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        }
        self.alternative_names.clone()
    }
}

/// A host's name is a part of a resource name, so it follows the rule of those.
fn check_host_name(name: &str) -> Result<(), Failure> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    if starts && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "--name {name:?}: the name of a host is 1 to 63 characters of a-z, 0-9 and '-', and begins with a letter; \
         give that of the resource hosts/NAME"
    )))
}

/// Is it an address, or a DNS name?
fn address(name: &str) -> Option<IpAddr> {
    name.parse().ok()
}
