//! `andromedectl get`.

use clap::Args;

use crate::{connection::Connection, failure::Failure, kind::Kind, output, resources, scope::Scope, terminal};

/// The word that means every kind.
const EVERYTHING: &str = "all";

/// Lists resources of a kind, or shows some of them.
#[derive(Debug, Args)]
#[command(
    after_help = "Kinds: tenants (ten), networks (net), subnets (sub), securityGroups (sg), ports (po), hosts (ho), vteps (vt), all\n\n\
                        Examples:\n  andromedectl get networks\n  andromedectl get po -n mairie/intranet -o wide\n  \
                        andromedectl get port web -n mairie/intranet -o yaml\n  \
                        andromedectl get tenants/mairie/networks/intranet/securityGroups/web -o json\n  \
                   andromedectl get all -o yaml > everything.yaml"
)]
pub(crate) struct Get {
    /// Kind of resource, "all", or a whole resource name
    kind: String,
    /// Names; none: all of the kind
    names: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t)]
    output: output::Format,
}

impl Get {
    /// Runs the command.
    pub(crate) async fn run(&self, connection: &Connection) -> Result<(), Failure> {
        if self.kind == EVERYTHING && self.names.is_empty() {
            return self.everything(connection).await;
        }
        let (kind, names) = kind_and_names(&self.kind, &self.names)?;
        let channel = connection.dial().await?;
        if names.is_empty() {
            let found = resources::list(&channel, kind, &self.scope.parent(kind)?).await?;
            return terminal::print(&output::list(self.output, kind, &found)?);
        }
        let mut found = Vec::new();
        for name in &names {
            let name = self.scope.resolve(&channel, kind, name).await?;
            found.push(resources::get(&channel, kind, &name).await?);
        }
        let text = match &found[..] {
            [only] => output::one(self.output, kind, only)?,
            several => output::list(self.output, kind, several)?,
        };
        terminal::print(&text)
    }
}

impl Get {
    /// Every kind: as YAML, a bundle that makes it all again.
    async fn everything(&self, connection: &Connection) -> Result<(), Failure> {
        let channel = connection.dial().await?;
        let mut found = Vec::new();
        for kind in Kind::ALL {
            found.push((kind, resources::list(&channel, kind, &self.scope.parent(kind)?).await?));
        }
        terminal::print(&output::everything(self.output, &found)?)
    }
}

/// `port web`, `ports`, or a whole name, which tells its kind.
pub(super) fn kind_and_names(first: &str, rest: &[String]) -> Result<(Kind, Vec<String>), Failure> {
    if !first.contains('/') {
        return Ok((Kind::parse(first)?, rest.to_vec()));
    }
    let Some(kind) = Kind::from_name(first) else {
        return Err(Failure::Usage(format!(
            "{first:?} is neither a kind nor a whole resource name; write: port {first}, or tenants/NAME/networks/NAME"
        )));
    };
    Ok((kind, std::iter::once(first.to_owned()).chain(rest.iter().cloned()).collect()))
}
