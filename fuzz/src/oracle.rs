//! What must hold, said another way: rules that are scanned, and a reading of the frame that shares no code with the
//! packet path.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use andromede_abi::{Address, DropReason};
use andromede_pipeline::{Target, TargetKind, Verdict};

use crate::fabric::address;

/// An ingress rule of the fabric.
pub(crate) struct Rule {
    pub(crate) allow: bool,
    pub(crate) protocol: u8,
    /// Destination port; 0: any.
    pub(crate) port: u16,
    /// Last byte of the remote's address; none: any remote.
    pub(crate) remote: Option<u8>,
}

/// The rules of every port: the first that matches decides, and what none matches is closed.
pub(crate) const RULES: &[Rule] = &[
    Rule { allow: false, protocol: 6, port: 80, remote: Some(4) },
    Rule { allow: true, protocol: 6, port: 80, remote: None },
    Rule { allow: true, protocol: 17, port: 53, remote: None },
    Rule { allow: true, protocol: 1, port: 0, remote: None },
    Rule { allow: true, protocol: 58, port: 0, remote: None },
    Rule { allow: true, protocol: 6, port: 22, remote: Some(3) },
];

/// A packet as it stands in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) source_mac: [u8; 6],
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) protocol: u8,
    /// 0 where the protocol has none.
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    /// What names its datagram, if it is a part of one, and whether it is the first part.
    pub(crate) part: Option<(u32, bool)>,
}

/// Reads a frame without extension headers other than that of a fragment; none if it is no whole IP packet.
pub(crate) fn read(frame: &[u8]) -> Option<Seen> {
    let source_mac = frame.get(6..12)?.try_into().ok()?;
    let ip = frame.get(14..)?;
    let two = |at: usize| ip.get(at..at + 2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let mut part = None;
    let (source, destination, protocol, upper): (IpAddr, IpAddr, u8, &[u8]) = match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(ip.first()? & 0x0f) * 4;
            let place = two(6)?;
            if place & 0x3fff != 0 {
                part = Some((u32::from(two(4)?), place << 3 == 0));
            }
            let four = |at: usize| <[u8; 4]>::try_from(ip.get(at..at + 4)?).ok().map(Ipv4Addr::from);
            (four(12)?.into(), four(16)?.into(), *ip.get(9)?, ip.get(header..)?)
        }
        [0x86, 0xdd] => {
            let sixteen = |at: usize| <[u8; 16]>::try_from(ip.get(at..at + 16)?).ok().map(Ipv6Addr::from);
            let (mut protocol, mut header) = (*ip.get(6)?, 40);
            if protocol == 44 {
                (protocol, header) = (*ip.get(40)?, 48);
                let place = two(42)?;
                if place & 0xfff9 != 0 {
                    part = Some((u32::from(two(44)?) << 16 | u32::from(two(46)?), place & 0xfff8 == 0));
                }
            }
            (sixteen(8)?.into(), sixteen(24)?.into(), protocol, ip.get(header..)?)
        }
        _ => return None,
    };
    let port = |at: usize| upper.get(at..at + 2).map_or(0, |bytes| u16::from_be_bytes([bytes[0], bytes[1]]));
    let headless = part.is_some_and(|(_, first)| !first);
    let (source_port, destination_port) =
        if matches!(protocol, 6 | 17 | 132) && !headless { (port(0), port(2)) } else { (0, 0) };
    Some(Seen { source_mac, source, destination, protocol, source_port, destination_port, part })
}

/// The packet that an ICMP error quotes; none if the frame is no error, or quotes nothing.
pub(crate) fn quoted(frame: &[u8], seen: &Seen) -> Option<Seen> {
    let header = if seen.source.is_ipv4() { usize::from(frame.get(14)? & 0x0f) * 4 } else { 40 };
    let message = frame.get(14 + header..)?;
    let error = match seen.protocol {
        1 => matches!(message.first()?, 3 | 11 | 12),
        58 => *message.first()? < 128,
        _ => false,
    };
    let quote = [frame.get(..14)?, message.get(8..)?].concat();
    if error { read(&quote) } else { None }
}

/// May a connection be opened towards this port of this protocol, from this remote?
fn may_open(protocol: u8, remote: IpAddr, port: u16) -> bool {
    let remote = Address::from(remote);
    let matches = |rule: &&Rule| {
        rule.protocol == protocol
            && (rule.port == 0 || rule.port == port)
            && rule.remote.is_none_or(|end| remote == address(false, end) || remote == address(true, end))
    };
    RULES.iter().find(matches).is_some_and(|rule| rule.allow)
}

/// May the packet reach a port of this host: as part of a connection that its sender opened, or as an answer?
/// An answer to what a port of this host opened needs no ingress rule of that port.
pub(crate) fn may_reach(seen: &Seen, closed: bool, answers: bool) -> bool {
    answers || !closed && may_open(seen.protocol, seen.source, seen.destination_port)
}

/// A drop has a reason, and only a drop: but for a packet that is too big, of which its sender is told (RFC 1191, RFC 8201).
pub(crate) fn check_reason(verdict: &Verdict) {
    let is_told = verdict.target.kind == TargetKind::Reply && verdict.reason == Some(DropReason::TooBig);
    let is_dropped = verdict.target == Target::DROP;
    assert_eq!(verdict.reason.is_some(), is_dropped || is_told, "a drop has a reason, and only a drop: {verdict:?}");
}
