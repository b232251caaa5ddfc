//! Names as people shorten them: `--tenant mairie --network intranet` and the last part, or the whole name.

use clap::Args;

use crate::{
    connection::Channel,
    failure::Failure,
    kind::{Kind, name_of},
    resources,
};

/// Where to look.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Scope {
    /// Tenant: "mairie" or "tenants/mairie"
    #[arg(short, long, env = "ANDROMEDE_TENANT", hide_env_values = true)]
    pub(crate) tenant: Option<String>,
    /// Network: "intranet", "mairie/intranet" or "tenants/mairie/networks/intranet"
    #[arg(short, long, env = "ANDROMEDE_NETWORK", hide_env_values = true)]
    pub(crate) network: Option<String>,
}

impl Scope {
    /// Last parts of tenant and network; "-" stands for any.
    fn parts(&self) -> Result<(String, String), Failure> {
        let tenant = self.tenant.as_deref().map(|name| name.strip_prefix("tenants/").unwrap_or(name));
        let network = self.network.as_deref().map(|name| match name.split('/').collect::<Vec<_>>()[..] {
            [network] => Ok((None, network)),
            [tenant, network] | ["tenants", tenant, "networks", network] => Ok((Some(tenant), network)),
            _ => Err(Failure::Usage(format!(
                "--network {name:?}: write intranet, mairie/intranet or tenants/mairie/networks/intranet"
            ))),
        });
        let (of_network, network) = network.transpose()?.unwrap_or((None, "-"));
        let tenant = match (tenant, of_network) {
            (Some(one), Some(other)) if one != other => {
                return Err(Failure::Usage(format!("--tenant {one} is not the tenant of --network {other}/{network}")));
            }
            (one, other) => one.or(other).unwrap_or("-"),
        };
        for part in [tenant, network] {
            if part.is_empty() || part.contains('/') {
                return Err(Failure::Usage(format!("{part:?} is not the name of a tenant or network")));
            }
        }
        Ok((tenant.to_owned(), network.to_owned()))
    }

    /// The parent for a list of this kind; "" where it has none or everything is wanted.
    pub(crate) fn parent(&self, kind: Kind) -> Result<String, Failure> {
        let (tenant, network) = self.parts()?;
        Ok(match (kind.path().len(), tenant.as_str(), network.as_str()) {
            (1, ..) | (_, "-", "-") => String::new(),
            (2, ..) => format!("tenants/{tenant}"),
            _ => format!("tenants/{tenant}/networks/{network}"),
        })
    }

    /// What the names of networks begin with that were asked for: all those of a tenant, or the one that was named.
    pub(crate) async fn networks(&self, channel: &Channel) -> Result<Networks, Failure> {
        if let Some(network) = self.network(channel).await? {
            return Ok(Networks { whole: Some(network), prefix: None });
        }
        let tenant = self.tenant.as_deref().map(|name| name.strip_prefix("tenants/").unwrap_or(name));
        Ok(Networks { whole: None, prefix: tenant.map(|tenant| format!("tenants/{tenant}/")) })
    }

    /// The network that was named, if one was.
    async fn network(&self, channel: &Channel) -> Result<Option<String>, Failure> {
        match &self.network {
            Some(_) => {
                let (tenant, network) = self.parts()?;
                Self { tenant: Some(tenant), network: None }.resolve(channel, Kind::Network, &network).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// The whole name of a resource: as it is if it is whole, else the only one of that name.
    pub(crate) async fn resolve(&self, channel: &Channel, kind: Kind, name: &str) -> Result<String, Failure> {
        if name.contains('/') {
            return whole(kind, name);
        }
        if let Some(name) = self.without_asking(kind, name)? {
            return Ok(name);
        }
        let parent = self.parent(kind)?;
        let all = resources::list(channel, kind, &parent).await?;
        let suffix = format!("/{name}");
        let mut found: Vec<&str> = all.iter().map(name_of).filter(|other| other.ends_with(&suffix)).collect();
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only.to_owned()),
            (None, _) => Err(Failure::NotFound(format!(
                "no {} {name:?}{}; andromedectl get {} lists them",
                kind.singular(),
                if parent.is_empty() { String::new() } else { format!(" in {parent}") },
                kind.collection()
            ))),
            (Some(last), false) => {
                found.push(last);
                Err(Failure::Usage(format!(
                    "{name:?} may be {}; give the whole name, or --tenant and --network",
                    found.join(" or ")
                )))
            }
        }
    }

    /// The whole name where flags suffice for it.
    pub(crate) fn without_asking(&self, kind: Kind, name: &str) -> Result<Option<String>, Failure> {
        let (tenant, network) = self.parts()?;
        Ok(match (kind.path(), tenant.as_str(), network.as_str()) {
            ([top], ..) => Some(format!("{top}/{name}")),
            ([_, collection], tenant, _) if tenant != "-" => Some(format!("tenants/{tenant}/{collection}/{name}")),
            ([_, _, collection], tenant, network) if tenant != "-" && network != "-" => {
                Some(format!("tenants/{tenant}/networks/{network}/{collection}/{name}"))
            }
            _ => None,
        })
    }
}

/// Which networks were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Networks {
    whole: Option<String>,
    prefix: Option<String>,
}

impl Networks {
    /// The one network that was asked for, or "".
    pub(crate) fn only(&self) -> &str {
        self.whole.as_deref().unwrap_or_default()
    }

    /// Was this one asked for?
    pub(crate) fn contain(&self, network: &str) -> bool {
        match (&self.whole, &self.prefix) {
            (Some(whole), _) => whole == network,
            (None, Some(prefix)) => network.starts_with(prefix),
            (None, None) => true,
        }
    }
}

/// A whole name, checked to be of the kind; of a network, "mairie/intranet" will do.
pub(crate) fn whole(kind: Kind, name: &str) -> Result<String, Failure> {
    if Kind::from_name(name) == Some(kind) {
        return Ok(name.to_owned());
    }
    let parts: Vec<&str> = name.split('/').collect();
    match (kind.path(), &parts[..]) {
        ([_, second], [tenant, last]) if !tenant.is_empty() && !last.is_empty() && Kind::from_name(name).is_none() => {
            Ok(format!("tenants/{tenant}/{second}/{last}"))
        }
        ([_, _, third], [tenant, network, last]) if parts.iter().all(|part| !part.is_empty()) => {
            Ok(format!("tenants/{tenant}/networks/{network}/{third}/{last}"))
        }
        (path, _) => {
            let form: Vec<String> = path.iter().map(|collection| format!("{collection}/NAME")).collect();
            Err(Failure::Usage(format!("{name:?} is not the name of a {}; write {}", kind.singular(), form.join("/"))))
        }
    }
}

/// A whole name without its collections: "mairie/intranet/web".
pub(crate) fn short(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    if !parts.len().is_multiple_of(2) {
        return name.to_owned();
    }
    parts.into_iter().skip(1).step_by(2).collect::<Vec<_>>().join("/")
}

/// The last part of a whole name: "web".
pub(crate) fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The network of a whole name, short: "mairie/intranet"; "" if it is in none.
pub(crate) fn network_of(name: &str) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    match parts[..] {
        ["tenants", tenant, "networks", network, ..] => format!("{tenant}/{network}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn scope(tenant: Option<&str>, network: Option<&str>) -> Scope {
        Scope { tenant: tenant.map(Into::into), network: network.map(Into::into) }
    }

    #[test]
    fn parents_follow_the_flags() {
        let cases = [
            (scope(None, None), Kind::Port, ""),
            (scope(Some("t"), None), Kind::Port, "tenants/t/networks/-"),
            (scope(None, Some("n")), Kind::Port, "tenants/-/networks/n"),
            (scope(Some("tenants/t"), Some("n")), Kind::SecurityGroup, "tenants/t/networks/n"),
            (scope(None, Some("t/n")), Kind::Subnet, "tenants/t/networks/n"),
            (scope(None, Some("tenants/t/networks/n")), Kind::Subnet, "tenants/t/networks/n"),
            (scope(Some("t"), None), Kind::Network, "tenants/t"),
            (scope(Some("t"), None), Kind::Host, ""),
        ];
        for (scope, kind, parent) in cases {
            assert_eq!(scope.parent(kind).unwrap(), parent, "{scope:?}");
        }
        assert!(scope(Some("a"), Some("b/n")).parent(Kind::Port).is_err(), "flags that contradict each other");
        assert!(scope(None, Some("a/b/c")).parent(Kind::Port).is_err());
    }

    #[test]
    fn whole_names_are_taken_as_they_are() {
        assert_eq!(whole(Kind::Port, "tenants/t/networks/n/ports/p").unwrap(), "tenants/t/networks/n/ports/p");
        assert_eq!(whole(Kind::Port, "t/n/p").unwrap(), "tenants/t/networks/n/ports/p");
        assert_eq!(whole(Kind::Network, "t/n").unwrap(), "tenants/t/networks/n");
        assert!(whole(Kind::Port, "hosts/h1").is_err());
        assert!(whole(Kind::Network, "hosts/h1").is_err());
        assert!(whole(Kind::Port, "t//p").is_err());
        assert_eq!(short("tenants/t/networks/n/ports/p"), "t/n/p");
        assert_eq!(network_of("tenants/t/networks/n/ports/p"), "t/n");
    }

    #[test]
    fn networks_are_narrowed_by_tenant_or_name() {
        let of_tenant = Networks { whole: None, prefix: Some("tenants/t/".into()) };
        assert!(of_tenant.contain("tenants/t/networks/n") && !of_tenant.contain("tenants/tt/networks/n"));
        assert!(!of_tenant.contain(""), "what concerns no network is of no tenant");
        let one = Networks { whole: Some("tenants/t/networks/n".into()), prefix: None };
        assert!(one.contain("tenants/t/networks/n") && !one.contain("tenants/t/networks/nn"));
        assert!(Networks::default().contain(""));
    }

    #[test]
    fn flags_may_suffice() {
        let scope = scope(Some("t"), Some("n"));
        assert_eq!(scope.without_asking(Kind::Port, "p").unwrap().unwrap(), "tenants/t/networks/n/ports/p");
        assert_eq!(Scope::default().without_asking(Kind::Port, "p").unwrap(), None);
        assert_eq!(Scope::default().without_asking(Kind::Host, "h1").unwrap().unwrap(), "hosts/h1");
    }
}
