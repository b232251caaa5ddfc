//! Carrying out the changes of a header: the same code in the kernel and in memory.

use andromede_abi::{Address, Mac};

use crate::{
    frame::Frame,
    verdict::Edit,
    wire::{arp, ethernet, ip, ip_protocol, neighbor},
};

/// Writes the changes into the frame; none if the frame is too short for them.
#[inline(always)]
pub fn apply_edit<F: Frame>(frame: &mut F, edit: &Edit) -> Option<()> {
    match edit {
        Edit::None => Some(()),
        Edit::Destination(mac) => destination(frame, *mac),
        Edit::ArpReply(mac) => arp_reply(frame, *mac),
        Edit::NeighborAdvertisement { mac, router } => advertisement(frame, *mac, *router),
    }
}

#[inline(always)]
fn destination<F: Frame>(frame: &mut F, mac: Mac) -> Option<()> {
    let there: Mac = frame.load(ethernet::DESTINATION)?;
    if there == mac {
        return Some(());
    }
    frame.store(ethernet::DESTINATION, mac)
}

#[inline(always)]
fn arp_reply<F: Frame>(frame: &mut F, mac: Mac) -> Option<()> {
    let request: arp::Addresses = frame.load(arp::ADDRESSES)?;
    let reply = arp::Addresses {
        sender_mac: mac,
        sender: request.target,
        target_mac: request.sender_mac,
        target: request.sender,
    };
    frame.store(ethernet::DESTINATION, request.sender_mac)?;
    frame.store(ethernet::SOURCE, mac)?;
    frame.store(arp::OPERATION, arp::REPLY)?;
    frame.store(arp::ADDRESSES, reply)
}

/// Turns a solicitation into its advertisement (RFC 4861, sections 4.4 and 7.2.4). In the kernel a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn advertisement<F: Frame>(frame: &mut F, mac: Mac, router: bool) -> Option<()> {
    const IP: usize = ethernet::HEADER;
    const MESSAGE: usize = IP + ip::V6_HEADER;
    const TARGET: usize = MESSAGE + 8;
    const OPTION: usize = MESSAGE + neighbor::MESSAGE;
    let sender_mac: Mac = frame.load(ethernet::SOURCE)?;
    let sender = Address(frame.load(IP + 8)?);
    let target: [u32; 4] = frame.load(TARGET)?;
    frame.resize(neighbor::ADVERTISEMENT_FRAME)?;
    let probe = sender.is_unspecified();
    let receiver = if probe { neighbor::ALL_NODES } else { sender.0 };
    let receiver_mac = if probe { neighbor::ALL_NODES_MAC } else { sender_mac };
    let flags =
        neighbor::OVERRIDE | if probe { 0 } else { neighbor::SOLICITED } | if router { neighbor::ROUTER } else { 0 };
    let [m0, m1, m2, m3, m4, m5] = mac;
    let option = [
        neighbor::TARGET_ADDRESS_OPTION,
        u16::from_ne_bytes([m0, m1]),
        u16::from_ne_bytes([m2, m3]),
        u16::from_ne_bytes([m4, m5]),
    ];
    let kind = ((neighbor::ADVERTISEMENT as u16) << 8).to_be();
    // The pseudo-header of RFC 8200, section 8.1, has source and target twice: as addresses and in the message.
    let mut sum = sum_of(target).wrapping_mul(2).wrapping_add(sum_of(receiver));
    sum = sum.wrapping_add((neighbor::ADVERTISEMENT_PAYLOAD as u16).to_be() as u32);
    sum = sum.wrapping_add((ip_protocol::ICMPV6 as u16).to_be() as u32);
    sum = sum.wrapping_add(kind as u32).wrapping_add(ip::halves(flags.to_be()));
    let [o0, o1, o2, o3] = option;
    sum = sum.wrapping_add(o0 as u32).wrapping_add(o1 as u32).wrapping_add(o2 as u32).wrapping_add(o3 as u32);
    let length = neighbor::ADVERTISEMENT_PAYLOAD << 16 | (ip_protocol::ICMPV6 as u32) << 8 | neighbor::HOP_LIMIT as u32;
    frame.store(ethernet::DESTINATION, receiver_mac)?;
    frame.store(ethernet::SOURCE, mac)?;
    frame.store(IP, [0x6000_0000_u32.to_be(), length.to_be()])?;
    frame.store(IP + 8, target)?;
    frame.store(IP + 24, receiver)?;
    frame.store(MESSAGE, [kind, ip::checksum(sum)])?;
    frame.store(MESSAGE + 4, flags.to_be())?;
    frame.store(OPTION, option)
}

#[inline(always)]
const fn sum_of(words: [u32; 4]) -> u32 {
    let [a, b, c, d] = words;
    ip::halves(a).wrapping_add(ip::halves(b)).wrapping_add(ip::halves(c)).wrapping_add(ip::halves(d))
}
