//! What a host may write: ports of workloads to whom it gave addresses of subnets that are leased to it, and nothing else.
//!
//! A claim is taken port by port: what is good of it is written at once, the rest is refused by name, so that one bad port does not keep
//! the others from the fabric. A refusal depends on what the host said and on its own leases only; it tells no name of others.

mod settle;

use andromede_model::{AnyName, HostName, NameError, Port, Resource, Violation};
use andromede_proto::agent::v1::{Claim, ClaimAnswer, ClaimRefusal};

pub use settle::{Settled, settle};

use crate::{
    access::{Principal, Role},
    change::{Change, Refused, WriteError},
    writer::Writer,
};

/// Most ports in one claim.
const PORTS: usize = 1_000;

/// Carries a claim out, and says what became of it.
pub async fn carry_out(writer: Writer, host: HostName, claim: Claim) -> ClaimAnswer {
    let id = claim.id;
    match write(&writer, &host, claim).await {
        Ok(refused) => {
            for Refused { name, reason } in &refused {
                tracing::warn!(%host, name, reason, "port of a claim refused");
            }
            let refusal = |it: Refused| ClaimRefusal { port: it.name, reason: without_names(&it.reason) };
            ClaimAnswer { id, error: String::new(), refused: refused.into_iter().map(refusal).collect() }
        }
        Err(error) => {
            let error = match error {
                WriteError::Invalid(violations) => in_words(&violations),
                other => other.to_string(),
            };
            tracing::warn!(%host, error, "claim refused");
            ClaimAnswer { id, error: without_names(&error), refused: Vec::new() }
        }
    }
}

fn in_words(violations: &[Violation]) -> String {
    violations.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The text without names of resources: the model names who has an address already, and the host may not know of it.
fn without_names(text: &str) -> String {
    let is_name = |word: &&str| word.contains("tenants/") || word.contains("hosts/");
    text.split(' ').map(|word| if is_name(&word) { "…" } else { word }).collect::<Vec<_>>().join(" ")
}

/// Writes what can be written, and says what could not.
async fn write(writer: &Writer, host: &HostName, claim: Claim) -> Result<Vec<Refused>, WriteError> {
    let number = claim.written.len().saturating_add(claim.deleted.len());
    if number > PORTS {
        let rule = format!("a claim has at most {PORTS} ports");
        return Err(WriteError::Invalid(vec![Violation::new("claim", number, rule, "claim them in several")]));
    }
    let mut refused = Vec::new();
    let mut written = Vec::with_capacity(claim.written.len());
    for port in claim.written {
        let name = port.name.clone();
        match Port::try_from(port) {
            Ok(port) => written.push(Resource::from(port)),
            Err(violations) => refused.push(Refused { name, reason: in_words(&violations) }),
        }
    }
    let mut deleted = Vec::with_capacity(claim.deleted.len());
    for name in claim.deleted {
        match name.parse().map(AnyName::Port) {
            Ok(name) => deleted.push(name),
            Err(error) => {
                let error: NameError = error;
                refused.push(Refused { name, reason: error.violation("deleted").to_string() });
            }
        }
    }
    // Whoever opened the session is that host, with or without a certificate.
    let principal = Principal { role: Role::Host(None), name: host.id().to_owned() };
    let change = Change { written, deleted, ..Change::new(principal, "claim") };
    refused.extend(writer.write(change).await?.refused);
    Ok(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_names_nobody() {
        assert_eq!(
            without_names("10.0.1.9: an address belongs to one port; tenants/a/networks/n/ports/x has it"),
            "10.0.1.9: an address belongs to one port; … has it"
        );
    }
}
