//! Wire formats: offsets, numbers and headers, one protocol a file.

pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod icmp;
pub mod ip;
pub mod ip_protocol;
pub mod neighbor;
pub mod sctp;
pub mod tcp;
pub mod udp;
pub mod vxlan;
