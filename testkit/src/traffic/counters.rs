//! What the kernel of a namespace has seen.

use std::{fs, io};

use anyhow::{Context as _, Result};

use crate::Namespace;

/// Echo requests of both families that a namespace has received so far, answered or not.
pub fn echo_requests(namespace: &Namespace) -> Result<u64> {
    let counters = namespace.run(|| -> io::Result<(String, String)> {
        Ok((
            fs::read_to_string("/proc/thread-self/net/snmp")?,
            fs::read_to_string("/proc/thread-self/net/snmp6").unwrap_or_default(),
        ))
    })?;
    let (v4, v6) = counters.context("reading the counters of a namespace")?;
    let mut icmp = v4.lines().filter(|line| line.starts_with("Icmp:")).map(|line| line.split_whitespace());
    let (names, values) = (icmp.next().into_iter().flatten(), icmp.next().into_iter().flatten());
    let of_v4 = names.zip(values).find(|(name, _)| *name == "InEchos").map_or("0", |(_, value)| value);
    let of_v6 = v6.lines().find_map(|line| line.strip_prefix("Icmp6InEchos")).unwrap_or("0");
    Ok(of_v4.parse::<u64>()? + of_v6.trim().parse::<u64>()?)
}
