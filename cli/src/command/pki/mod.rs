//! `andromedectl pki`: a small certificate authority for a fabric.
//!
//! Who a certificate speaks for is in its subject alternative name, as `andromede://ROLE/NAME`, for a tenant's roles
//! `andromede://ROLE/TENANT/NAME`.

mod authority;
mod files;
mod show;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};

use authority::Wanted;

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
    /// Make the authority by which a controller lets hosts join: hosts-ca.pem and hosts-ca.key
    #[command(
        after_help = "What it issues speaks for hosts only, whatever it says, so that its key may lie with the controller, unlike ca.key:\n  \
        andromede-controller serve --host-ca pki/hosts-ca.pem --host-ca-key pki/hosts-ca.key ...\n\nExamples:\n  \
        andromedectl pki hosts --dir pki"
    )]
    Hosts(Hosts),
    /// Issue a certificate for a controller or a host's agent
    #[command(after_help = "Files: DIR/ROLE-NAME.pem and DIR/ROLE-NAME.key (mode 0600).\n\nExamples:\n  \
        andromedectl pki issue --dir pki --role controller --name main --san 192.0.2.100 --san controller.example.eu\n  \
        andromedectl pki issue --dir pki --role host --name h1")]
    Issue(Issue),
    /// Issue a certificate for a person or a program that uses the API, with its role
    #[command(after_help = "Files: DIR/user-NAME.pem and DIR/user-NAME.key (mode 0600).\n\nExamples:\n  \
        andromedectl pki user alice --dir pki --role operator --validity 90d\n  \
        andromedectl pki user bob --dir pki --role network-engineer\n  \
        andromedectl pki user carol --dir pki --role tenant-admin --tenant mairie")]
    User(User),
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
struct Hosts {
    /// Folder for hosts-ca.pem and hosts-ca.key; made if it is not there
    #[arg(long)]
    dir: PathBuf,
    /// Name of the authority: not that of any other
    #[arg(long, default_value = "Andromede authority for hosts")]
    name: String,
    /// How long it is valid: 30s, 12h, 3650d
    #[arg(long, value_name = "DURATION", default_value = "3650d", value_parser = duration::parse)]
    validity: Duration,
    /// Replace an authority that is there; hosts that joined by it must join again
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
    /// Name of the host ("h1" for hosts/h1) or controller
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
struct User {
    /// Name of the user: letters, digits, '-', '.', '_' and '@'
    #[arg(value_parser = parse_name)]
    name: String,
    /// Folder with ca.pem and ca.key; the certificate goes there too
    #[arg(long)]
    dir: PathBuf,
    /// What the user may do
    #[arg(long)]
    role: UserRole,
    /// The tenant ("mairie" for tenants/mairie) of a tenant-admin or tenant-reader
    #[arg(long, required_if_eq_any = [("role", "tenant-admin"), ("role", "tenant-reader")])]
    tenant: Option<String>,
    /// How long it is valid, at most as long as the authority: 30s, 12h, 365d
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration::parse)]
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
}

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UserRole {
    /// Reads and writes everything
    Operator,
    /// Reads everything
    NetworkEngineer,
    /// Reads and writes what belongs to one tenant
    TenantAdmin,
    /// Reads what belongs to one tenant
    TenantReader,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Host => "host",
        }
    }
}

impl User {
    /// What the URI says behind its scheme: role, tenant, name.
    fn principal(&self) -> Result<String, Failure> {
        let (role, of_tenant) = match self.role {
            UserRole::Operator => ("operator", false),
            UserRole::NetworkEngineer => ("network-engineer", false),
            UserRole::TenantAdmin => ("tenant-admin", true),
            UserRole::TenantReader => ("tenant-reader", true),
        };
        match (&self.tenant, of_tenant) {
            (Some(tenant), true) => {
                check_part("--tenant", "tenant", tenant)?;
                Ok(format!("{role}/{tenant}/{}", self.name))
            }
            (None, false) => Ok(format!("{role}/{}", self.name)),
            (Some(_), false) => {
                Err(Failure::Usage(format!("--tenant: the role {role} is not that of one tenant; leave it out")))
            }
            (None, true) => Err(Failure::Usage(format!("--tenant is missing: the role {role} is that of one tenant"))),
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
            PkiCommand::Init(Init { dir, name, validity, force }) => make(dir, "ca", name, *validity, *force),
            PkiCommand::Hosts(Hosts { dir, name, validity, force }) => make(dir, "hosts-ca", name, *validity, *force),
            PkiCommand::Issue(issue) => {
                if issue.role == Role::Host {
                    check_part("--name", "host", &issue.name)?;
                }
                let paths = files::Pair::new(&issue.dir, &format!("{}-{}", issue.role.name(), issue.name));
                let authority = files::Pair::new(&issue.dir, "ca").read()?;
                let wanted = Wanted {
                    name: &issue.name,
                    principal: &format!("{}/{}", issue.role.name(), issue.name),
                    serves: issue.role == Role::Controller,
                    dialled: &issue.dialled(),
                    validity: issue.validity,
                };
                paths.write(&authority::issue(&authority, &wanted)?, issue.force)?;
                terminal::print(&paths.told())
            }
            PkiCommand::User(user) => {
                let principal = user.principal()?;
                let paths = files::Pair::new(&user.dir, &format!("user-{}", user.name));
                let authority = files::Pair::new(&user.dir, "ca").read()?;
                let wanted = Wanted {
                    name: &user.name,
                    principal: &principal,
                    serves: false,
                    dialled: &[],
                    validity: user.validity,
                };
                paths.write(&authority::issue(&authority, &wanted)?, user.force)?;
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

/// Makes an authority in `DIR/STEM.pem` and `DIR/STEM.key`.
fn make(dir: &Path, stem: &str, name: &str, validity: Duration, force: bool) -> Result<(), Failure> {
    let paths = files::Pair::new(dir, stem);
    let made = authority::make(name, validity)?;
    files::make_folder(dir)?;
    paths.write(&made, force)?;
    terminal::print(&paths.told())
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

/// The name of a host or tenant is a part of a resource name, so it follows the rule of those.
fn check_part(flag: &str, kind: &str, name: &str) -> Result<(), Failure> {
    let starts = name.starts_with(|c: char| c.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if starts && name.len() <= MAX_NAME && name.chars().all(allowed) {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "{flag} {name:?}: the name of a {kind} is 1 to {MAX_NAME} characters of a-z, 0-9 and '-', and begins with a letter; \
         give that of the resource {kind}s/NAME"
    )))
}

/// Is it an address, or a DNS name?
fn address(name: &str) -> Option<IpAddr> {
    name.parse().ok()
}
