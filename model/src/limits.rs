//! How much of everything there may be. Every bound here keeps a table, a message or a check bounded.

/// Resources in one write.
pub const RESOURCES_PER_WRITE: usize = 10_000;
/// Characters of a display name.
pub const DISPLAY_NAME: usize = 256;
/// Labels of a resource.
pub const LABELS: usize = 64;
/// Characters of the key of a label, and of its value.
pub const LABEL_CHARACTERS: usize = 63;
/// Addresses of a port.
pub const ADDRESSES_PER_PORT: usize = 16;
/// Security groups of a port.
pub const GROUPS_PER_PORT: usize = 64;
/// Rules of a security group, or of a policy of the operator.
pub const RULES_PER_GROUP: usize = 10_000;
/// Prefixes of a prefix list.
pub const PREFIXES_PER_LIST: usize = 10_000;
/// Prefix lists of a network.
pub const LISTS_PER_NETWORK: usize = 256;
/// Policies of the operator.
pub const OPERATOR_POLICIES: usize = 256;
/// Networks that a policy of the operator names.
pub const NETWORKS_PER_POLICY: usize = 10_000;
/// Rules of all security groups of a network.
pub const RULES_PER_NETWORK: usize = 250_000;
/// Rules of all policies of the operator: each may concern every network.
pub const OPERATOR_RULES: usize = 100_000;
/// Port ranges of a rule.
pub const PORT_RANGES_PER_RULE: usize = 64;
/// Prefixes behind a foreign tunnel endpoint.
pub const PREFIXES_PER_VTEP: usize = 256;
/// Subnets of a network.
pub const SUBNETS_PER_NETWORK: usize = 2_048;
/// Reservations of a subnet.
pub const RESERVATIONS_PER_SUBNET: usize = 256;
/// Reservations of all subnets of a network.
pub const RESERVATIONS_PER_NETWORK: usize = 8_192;
/// Characters of the description of a reservation.
pub const DESCRIPTION: usize = 256;
/// Ports of a network.
pub const PORTS_PER_NETWORK: usize = 65_536;
/// Security groups of a network.
pub const GROUPS_PER_NETWORK: usize = 4_096;
/// Foreign tunnel endpoints of a network.
pub const VTEPS_PER_NETWORK: usize = 256;
/// Distinct sets of groups that ports of one network have.
pub const IDENTITIES_PER_NETWORK: usize = 8_192;
/// Networks of the fabric.
pub const NETWORKS: usize = 262_144;
/// Hosts of the fabric, foreign tunnel endpoints not counted.
pub const HOSTS: usize = 32_768;
/// Zones of the fabric: a network's row has a bit for each.
pub const ZONES: usize = 127;
/// Jurisdictions, operators and zones, each, that a tenant or a network names.
pub const PLACES_PER_RESIDENCY: usize = 256;
/// Least MTU of a workload, in bytes: what IPv6 demands (RFC 8200, section 5).
pub const MTU_LEAST: u32 = 1_280;
/// Greatest MTU of a workload, in bytes: the largest IPv4 packet less the encapsulation and an inner Ethernet header.
pub const MTU_MOST: u32 = 65_475;
