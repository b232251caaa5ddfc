//! Ethernet addresses of leases.

use std::net::IpAddr;

use andromede_model::{GATEWAY_MAC, MacAddress, NetworkView};
use sha2::{Digest as _, Sha256};

use super::{error::PodError, lease::Entry};

/// First two bytes of the Ethernet address of a lease: locally administered, and none that the model gives out.
const MAC_PREFIX: [u8; 2] = [0x0e, 0xad];
/// How many Ethernet addresses are tried for a lease that chooses none: of 2^32, and a network has at most 65,536 ports.
const MACS_TRIED: u32 = 64;

/// Checks an Ethernet address that was asked for.
pub(super) fn free_mac(mac: MacAddress, view: &NetworkView, entries: &[Entry]) -> Result<MacAddress, PodError> {
    let network = &view.network.name;
    let mut leased = entries.iter().flat_map(|entry| entry.lease.ports());
    let leased = leased.any(|leased| leased.mac == mac && leased.port.network() == *network);
    if mac == GATEWAY_MAC || leased || view.ports.values().any(|port| port.mac == mac) {
        return Err(PodError::Mac { mac: mac.to_string(), why: "it is in use in this network".to_owned() });
    }
    Ok(mac)
}

/// An Ethernet address for a lease that asks for none.
pub(super) fn generated_mac(
    addresses: &[IpAddr],
    view: &NetworkView,
    entries: &[Entry],
) -> Result<MacAddress, PodError> {
    let mut candidates = (0..MACS_TRIED).map(|salt| mac_of(addresses, salt));
    candidates.find(|mac| free_mac(*mac, view, entries).is_ok()).ok_or_else(|| PodError::Mac {
        mac: mac_of(addresses, 0).to_string(),
        why: format!("it and {MACS_TRIED} others that were generated are in use in this network"),
    })
}

/// An Ethernet address that goes with addresses: with salt 0 the IPv4 address itself, if there is one, else 32 bits of a hash.
fn mac_of(addresses: &[IpAddr], salt: u32) -> MacAddress {
    let hashed = |octets: &[u8]| {
        let digest = Sha256::new().chain_update(octets).chain_update(salt.to_be_bytes()).finalize();
        digest.iter().take(4).fold(0, |word, byte| word << 8 | u32::from(*byte))
    };
    let word = match addresses.first() {
        Some(IpAddr::V4(v4)) if salt == 0 => v4.to_bits(),
        Some(IpAddr::V4(v4)) => hashed(&v4.octets()),
        Some(IpAddr::V6(v6)) => hashed(&v6.octets()),
        None => hashed(&[]),
    };
    let ([a, b], [c, d, e, f]) = (MAC_PREFIX, word.to_be_bytes());
    MacAddress::new([a, b, c, d, e, f]).unwrap_or(MacAddress::UNSET)
}
