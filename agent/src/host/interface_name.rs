//! Names of the interfaces that the agent makes.

use andromede_model::Uid;
use sha2::{Digest as _, Sha256};

/// Name of the external vxlan device.
pub const OVERLAY: &str = "amd-vxlan";

/// How the names of host-side interfaces begin.
const PREFIX: &str = "amd";

/// What stands before the port's name in the alias of its host-side interface.
const ALIAS: &str = "andromede port ";

/// Most bytes of an alias: `IFALIASZ` less the final zero (linux/if.h).
const LONGEST_ALIAS: usize = 255;

/// Most bytes of an interface name: `IFNAMSIZ` less the final zero (linux/if.h).
const LONGEST: usize = 15;

/// Name of the host side of a port's interface: 48 bits of a hash of the port's name, so that it is the same after every restart.
pub fn host_side(port: &str) -> String {
    let digest = Sha256::digest(port.as_bytes());
    digest.iter().take(6).fold(PREFIX.to_owned(), |name, byte| format!("{name}{byte:02x}"))
}

/// Alias of the host side: it names the port in full, and which of those that had the name over time.
pub fn alias(port: &str, uid: Uid) -> String {
    let whole = format!("{ALIAS}{port} {uid}");
    // No port is that long and that young at once; the name is what matters more.
    if whole.len() <= LONGEST_ALIAS { whole.trim_end().to_owned() } else { format!("{ALIAS}{port}") }
}

/// The port that an alias names.
pub fn port_of_alias(alias: &str) -> Option<&str> {
    alias.strip_prefix(ALIAS)?.split(' ').next()
}

/// Identifier of the port that an alias names; unset if it says none.
pub fn uid_of_alias(alias: &str) -> Uid {
    let uid = alias.strip_prefix(ALIAS).and_then(|rest| rest.split_once(' '));
    uid.and_then(|(_, uid)| uid.parse().ok()).unwrap_or_default()
}

/// Is this a name that the kernel takes (`dev_valid_name`, net/core/dev.c)?
pub fn is_valid(name: &str) -> bool {
    let character = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    !name.is_empty() && name.len() <= LONGEST && name != "." && name != ".." && name.bytes().all(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let one = host_side("tenants/mairie/networks/intranet/ports/web");
        let two = host_side("tenants/mairie/networks/intranet/ports/web2");
        assert!(is_valid(&one) && is_valid(&two) && is_valid(OVERLAY));
        assert_eq!(one.len(), LONGEST);
        assert_ne!(one, two);
        assert_eq!(one, host_side("tenants/mairie/networks/intranet/ports/web"));
    }

    #[test]
    fn the_alias_leads_back_to_the_port() {
        let uid = Uid { epoch: 1, revision: 57 };
        for uid in [uid, Uid::UNSET] {
            let alias = alias("tenants/t/networks/n/ports/p", uid);
            assert_eq!(port_of_alias(&alias), Some("tenants/t/networks/n/ports/p"));
            assert_eq!(uid_of_alias(&alias), uid);
        }
        assert_eq!(port_of_alias("something else"), None);
        assert_eq!(uid_of_alias("something else"), Uid::UNSET);
        let longest = format!("tenants/{0}/networks/{0}/ports/{0}", "x".repeat(63));
        for uid in [uid, Uid { epoch: u64::MAX, revision: u64::MAX }] {
            let alias = alias(&longest, uid);
            assert!(alias.len() <= LONGEST_ALIAS, "{alias}");
            assert_eq!(port_of_alias(&alias), Some(longest.as_str()));
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for name in ["", ".", "..", "a/b", "a:b", "a b", "sixteen-bytes-xx", "ét"] {
            assert!(!is_valid(name), "{name}");
        }
        assert!(is_valid("eth0") && is_valid("fifteen-bytes-x"));
    }
}
