//! Carrying out the changes of a header: the same code in the kernel and in memory.

use andromede_abi::{Address, Mac};

use crate::{
    frame::Frame,
    scratch::Scratch,
    too_big, translation,
    verdict::{Edit, EditKind},
    wire::{arp, ethernet, ip, ip_protocol, neighbor},
};

/// Writes the changes that were decided into the frame; none if the frame is too short for them.
#[inline(always)]
pub fn apply_edit<F: Frame>(frame: &mut F, scratch: &Scratch) -> Option<()> {
    let edit = &scratch.verdict.edit;
    if edit.is_translation() { translate(frame, scratch) } else { apply_plain_edit(frame, edit) }
}

/// As [`apply_edit`], of a frame that is not translated.
#[inline(always)]
pub fn apply_plain_edit<F: Frame>(frame: &mut F, edit: &Edit) -> Option<()> {
    match edit.kind {
        EditKind::ArpReply => arp_reply(frame, edit.mac),
        EditKind::HostAdvertisement | EditKind::RouterAdvertisement => advertisement(frame, *edit),
        EditKind::TooBig => too_big::write(frame, *edit),
        _ => readdress(frame, edit),
    }
}

/// As [`apply_edit`], of a frame between the node and a workload that it knows by another address.
#[inline(always)]
pub fn translate<F: Frame>(frame: &mut F, scratch: &Scratch) -> Option<()> {
    let edit = &scratch.verdict.edit;
    if edit.kind == EditKind::TranslateDestination {
        frame.store(ethernet::DESTINATION, edit.mac)?;
    }
    translation::write(frame, scratch)
}

/// As [`apply_edit`], of a frame that is not an answer: its destination is all that may change.
#[inline(always)]
pub fn readdress<F: Frame>(frame: &mut F, edit: &Edit) -> Option<()> {
    if edit.kind != EditKind::Destination {
        return Some(());
    }
    let there: Mac = frame.load(ethernet::DESTINATION)?;
    if there == edit.mac {
        return Some(());
    }
    frame.store(ethernet::DESTINATION, edit.mac)
}

#[inline(always)]
fn arp_reply<F: Frame>(frame: &mut F, mac: Mac) -> Option<()> {
    let [s0, s1, s2, sp0, sp1, _, _, _, tp0, tp1]: arp::Addresses = frame.load(arp::ADDRESSES)?;
    let [m0, m1, m2] = ethernet::words(mac);
    frame.store(ethernet::DESTINATION, [s0, s1, s2])?;
    frame.store(ethernet::SOURCE, [m0, m1, m2])?;
    frame.store(arp::OPERATION, arp::REPLY)?;
    frame.store(arp::ADDRESSES, [m0, m1, m2, tp0, tp1, s0, s1, s2, sp0, sp1])
}

/// Turns a solicitation into its advertisement (RFC 4861, sections 4.4 and 7.2.4). In the kernel a function of its own, for its stack.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn advertisement<F: Frame>(frame: &mut F, edit: Edit) -> Option<()> {
    const IP: usize = ethernet::HEADER;
    const MESSAGE: usize = IP + ip::V6_HEADER;
    const TARGET: usize = MESSAGE + 8;
    const OPTION: usize = MESSAGE + neighbor::MESSAGE;
    let sender_mac: [u16; 3] = frame.load(ethernet::SOURCE)?;
    let sender = Address(frame.load(IP + 8)?);
    let target: [u32; 4] = frame.load(TARGET)?;
    frame.resize(neighbor::ADVERTISEMENT_FRAME)?;
    let probe = sender.is_unspecified();
    let receiver = if probe { neighbor::ALL_NODES } else { sender.0 };
    let receiver_mac = if probe { ethernet::words(neighbor::ALL_NODES_MAC) } else { sender_mac };
    let flags = neighbor::OVERRIDE
        | if probe { 0 } else { neighbor::SOLICITED }
        | if edit.kind == EditKind::RouterAdvertisement { neighbor::ROUTER } else { 0 };
    let mac = ethernet::words(edit.mac);
    let [m0, m1, m2] = mac;
    let option = [neighbor::TARGET_ADDRESS_OPTION, m0, m1, m2];
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
