//! Per-interface switches of the kernel, in the network namespace of the calling thread.

use std::{fs, io, path::Path};

use tracing::warn;

/// Where the switches are. In a container the first is for reading only; the second is where its manifest mounts that of the host.
/// Either shows the network namespace of the thread that looks.
const SWITCHES: [&str; 2] = ["/proc/sys/net", "/host/proc/sys/net"];

/// Sets `net.<family>.conf.<interface>.<name>`; a switch that this kernel does not have, or that may not be written, is only logged:
/// each has a second barrier behind it.
pub fn set(family: &str, interface: &str, name: &str, value: u8) {
    let at = |root: &str| Path::new(root).join(family).join("conf").join(interface).join(name);
    let write = |root: &str| fs::write(at(root), value.to_string());
    let [own, of_host] = SWITCHES;
    let read_only = |error: &io::Error| error.kind() == io::ErrorKind::ReadOnlyFilesystem;
    match write(own).or_else(|error| if read_only(&error) { write(of_host).map_err(|_| error) } else { Err(error) }) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => warn!(path = %at(own).display(), value, %error, "switch not set"),
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
