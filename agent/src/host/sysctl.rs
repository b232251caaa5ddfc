//! Per-interface switches of the kernel, in the network namespace of the calling thread.

use std::{fs, io, path::Path};

use tracing::warn;

/// Sets `net.<family>.conf.<interface>.<name>`; a switch that this kernel does not have, or that may not be written, is only logged:
/// each has a second barrier behind it.
pub fn set(family: &str, interface: &str, name: &str, value: u8) {
    let path = Path::new("/proc/sys/net").join(family).join("conf").join(interface).join(name);
    match fs::write(&path, value.to_string()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(path = %path.display(), value, %error, "switch not set"),
    }
}

/// Takes an interface out of the host's own IP: nothing is forwarded from it, no address can appear on it, and what arrives on it
/// has no route back (strict reverse path filter, RFC 3704, section 2.2).
pub fn isolate(interface: &str) {
    set("ipv4", interface, "forwarding", 0);
    set("ipv4", interface, "rp_filter", 1);
    set("ipv4", interface, "arp_ignore", 8);
    set("ipv4", interface, "accept_redirects", 0);
    set("ipv4", interface, "send_redirects", 0);
    set("ipv6", interface, "forwarding", 0);
    set("ipv6", interface, "accept_ra", 0);
    set("ipv6", interface, "disable_ipv6", 1);
}
