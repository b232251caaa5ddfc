//! Golden packets of address resolution: what the packet path answers to ARP and neighbour discovery, byte by byte, in the
//! kernel and in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{Ipv4Addr, Ipv6Addr};

use andromede_abi::{DropReason, target};
use andromede_testkit::packet::{ArpPacket, arp_operation, neighbor_solicitation};
use andromede_tests::twin::{
    END_LOCAL_A as A, END_LOCAL_B as B, END_REMOTE as REMOTE, END_VTEP as FOREIGN, End,
    talk::{GATEWAY_MAC, VNI, conversation, drops, passes, received, sent},
};

#[test]
fn address_resolution_over_ipv4() {
    conversation(|_, twin| {
        let ask = |target: Ipv4Addr| ArpPacket::request(A.mac(), A.v4(), target);
        let answer = passes(twin, "who has a port elsewhere", &sent(A, ask(REMOTE.v4()).frame()), target::REPLY);
        let expected = ArpPacket {
            operation: arp_operation::REPLY,
            sender_mac: REMOTE.mac(),
            sender: REMOTE.v4(),
            target_mac: A.mac(),
            target: A.v4(),
        };
        assert_eq!(answer.frame, expected.frame(), "the port's own address answers");
        let router = passes(twin, "who is the router", &sent(A, ask(End(254).v4()).frame()), target::REPLY);
        assert_eq!(router.frame[6..12], GATEWAY_MAC);
        let foreign = passes(twin, "who is behind the endpoint", &sent(A, ask(FOREIGN.v4()).frame()), target::REPLY);
        assert_eq!(foreign.frame[6..12], FOREIGN.mac());
        drops(
            twin,
            "a probe for one's own address",
            &sent(A, ArpPacket::request(A.mac(), Ipv4Addr::UNSPECIFIED, A.v4()).frame()),
            DropReason::DuplicateAddressProbe,
        );
        drops(
            twin,
            "an announcement of one's own address",
            &sent(A, ask(A.v4()).frame()),
            DropReason::DuplicateAddressProbe,
        );
        drops(twin, "nobody", &sent(A, ask(End(77).v4()).frame()), DropReason::UnknownNeighbor);
        drops(
            twin,
            "in another's name",
            &sent(A, ArpPacket::request(A.mac(), B.v4(), REMOTE.v4()).frame()),
            DropReason::SpoofedNeighbor,
        );
        let mut claim = ask(REMOTE.v4());
        claim.sender_mac = B.mac();
        let mut frame = claim.frame();
        frame[6..12].copy_from_slice(&A.mac());
        drops(twin, "with another's Ethernet address inside", &sent(A, frame), DropReason::SpoofedNeighbor);
        let mut reply = ask(REMOTE.v4());
        (reply.operation, reply.target_mac) = (arp_operation::REPLY, B.mac());
        drops(twin, "an answer that nobody asked of a workload", &sent(A, reply.frame()), DropReason::NeighborIgnored);
        let mut odd = ask(REMOTE.v4()).frame();
        odd[14] = 9;
        drops(twin, "not Ethernet", &sent(A, odd), DropReason::BadArp);
        let leaked = received(2, VNI[0], &ArpPacket::request(REMOTE.mac(), REMOTE.v4(), A.v4()).frame());
        drops(twin, "none comes over the underlay", &leaked, DropReason::UnknownEtherType);
    });
}

#[test]
fn address_resolution_over_ipv6() {
    conversation(|_, twin| {
        let ask = |source, target: End| sent(A, neighbor_solicitation(A.mac(), source, target.v6()));
        let answer = passes(twin, "who has a port elsewhere", &ask(A.v6(), REMOTE), target::REPLY).frame;
        assert_eq!((answer.len(), &answer[..6], &answer[6..12]), (86, &A.mac()[..], &REMOTE.mac()[..]));
        assert_eq!(answer[21], 255, "the hop limit of RFC 4861");
        assert_eq!((answer[54], answer[58]), (136, 0x60), "an advertisement, solicited, overriding");
        assert_eq!(answer[80..86], REMOTE.mac());
        let sum = andromede_testkit::packet::transport_checksum(REMOTE.v6().into(), A.v6().into(), 58, &answer[54..]);
        assert_eq!(sum, 0, "its checksum is right");
        let router = passes(twin, "who is the router", &ask(A.v6(), End(254)), target::REPLY).frame;
        assert_eq!((router[58], &router[6..12]), (0xe0, &GATEWAY_MAC[..]), "a router says so");
        let taken = passes(
            twin,
            "a probe for another's address is answered to all",
            &ask(Ipv6Addr::UNSPECIFIED, B),
            target::REPLY,
        )
        .frame;
        assert_eq!((&taken[..6], taken[58]), (&[0x33, 0x33, 0, 0, 0, 1][..], 0x20));
        drops(twin, "a probe for one's own", &ask(Ipv6Addr::UNSPECIFIED, A), DropReason::DuplicateAddressProbe);
        drops(twin, "nobody", &ask(A.v6(), End(77)), DropReason::UnknownNeighbor);
        drops(twin, "in another's name", &ask(B.v6(), REMOTE), DropReason::SpoofedNeighbor);
        let mut routed = ask(A.v6(), REMOTE);
        routed.frame[21] = 64;
        drops(twin, "one that came through a router", &routed, DropReason::BadNeighbor);
        let mut advertisement = ask(A.v6(), REMOTE);
        advertisement.frame[54] = 136;
        drops(twin, "an advertisement", &advertisement, DropReason::NeighborIgnored);
    });
}
