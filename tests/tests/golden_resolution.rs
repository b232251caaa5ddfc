//! Golden packets of what a workload meets on its own host: answers to ARP and neighbour discovery, and the node itself. Byte by byte, in
//! the kernel and in memory.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::net::{Ipv4Addr, Ipv6Addr};

use andromede_abi::{DropReason, rule, target};
use andromede_dataplane::Hook;
use andromede_testkit::packet::{ArpPacket, Ends, Tcp, arp_operation, neighbor_solicitation, tcp_flag};
use andromede_tests::twin::{
    END_INFRASTRUCTURE as KNOWN, END_LOCAL_A as A, END_LOCAL_B as B, END_NODE as NODE, END_REMOTE as REMOTE,
    END_VTEP as FOREIGN, End, Met, Outcome, Twin, ifindex,
    talk::{GATEWAY_MAC, VNI, conversation, drops, passes, received, sent, tcp, v4, v6},
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

/// An address that no network has.
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// What the node forwards to a port.
fn forwarded(to: End, frame: Vec<u8>) -> Met {
    Met::new(Hook::FromHost, ifindex(0, to), frame)
}

#[test]
fn what_a_node_forwards_is_judged_by_the_rules_of_its_pod() {
    conversation(|_, twin| {
        let ends = |to: End| Ends::new((NODE.mac(), OUTSIDE), (to.mac(), to.v4()));
        let asked = passes(twin, "a rule admits echoes", &forwarded(A, ends(A).echo(true, 7, 1, b"")), target::DELIVER);
        assert!(asked.record.rule >= rule::FIRST, "{:?}", asked.record);
        let answer = ends(A).reversed().echo(false, 7, 1, b"");
        let mut from_pod = answer.clone();
        from_pod[6..12].copy_from_slice(&A.mac());
        passes(twin, "the answer goes back by the node", &sent(A, from_pod), target::HOST);
        let closed = forwarded(A, ends(A).tcp(&tcp(tcp_flag::SYN), b""));
        drops(twin, "no rule admits it", &closed, DropReason::IngressRule);
        let opened = sent(A, Ends::new((A.mac(), A.v4()), (GATEWAY_MAC, OUTSIDE)).udp(1, 2, b""));
        drops(twin, "a pod opens nothing to there", &opened, DropReason::UnknownDestination);
        drops(twin, "this port is no pod", &forwarded(B, ends(B).udp(1, 2, b"")), DropReason::HostNotAdmitted);
        for (whose, source) in
            [("the node's name", NODE), ("a neighbour's", B), ("another host's", REMOTE), ("nobody's", End(77))]
        {
            drops(twin, whose, &forwarded(A, v4(source, A).echo(true, 7, 2, b"")), DropReason::HostNotAdmitted);
        }
        let claimed = received(2, VNI[0], &ends(A).udp(1, 2, b""));
        drops(twin, "another host in its name", &claimed, DropReason::SenderNotHolder);
    });
}

/// What the node itself sends to a port.
fn of_node(to: End, frame: Vec<u8>) -> Met {
    Met { own: true, ..Met::new(Hook::FromHost, ifindex(0, to), frame) }
}

#[test]
fn the_node_probes_its_pods_whatever_their_rules_say() {
    conversation(|_, twin| {
        let syn = v4(NODE, A).tcp(&tcp(tcp_flag::SYN), b"");
        let mut unaddressed = syn.clone();
        unaddressed[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
        let probe = passes(twin, "no rule lets a SYN in", &of_node(A, unaddressed), target::DELIVER);
        assert_eq!((probe.record.rule, probe.record.ifindex, &probe.frame), (rule::NODE, ifindex(0, A), &syn));
        let back = |flags, payload| sent(A, v4(A, NODE).tcp(&Tcp::new(80, 40_000, flags), payload));
        let syn_ack = back(tcp_flag::SYN | tcp_flag::ACK, b"");
        let answer = passes(twin, "the answer goes to the node", &syn_ack, target::HOST);
        assert_eq!(answer.frame, syn_ack.frame, "as it is");
        let request = v4(NODE, A).tcp(&tcp(tcp_flag::ACK), b"GET");
        passes(twin, "the request follows", &of_node(A, request.clone()), target::DELIVER);
        let forged = Met { own: false, ..of_node(A, request) };
        drops(twin, "in the same connection, but forwarded", &forged, DropReason::HostNotAdmitted);
        passes(twin, "and its answer", &back(tcp_flag::ACK, b"200"), target::HOST);

        let datagram = v6(NODE, A).udp(9, 9, b"probe");
        passes(twin, "over IPv6 too", &of_node(A, datagram.clone()), target::DELIVER);
        let told = v6(A, NODE).icmp_error((1, 4), &datagram);
        passes(twin, "an error about it", &sent(A, told), target::HOST);

        drops(twin, "forwarded", &Met { own: false, ..of_node(A, syn) }, DropReason::HostNotAdmitted);
        let not_own = [("another host's", REMOTE), ("a neighbour's", B), ("nobody's", End(77)), ("foreign", FOREIGN)];
        for (whose, source) in not_own {
            let named = of_node(A, v4(source, A).udp(1, 2, b""));
            drops(twin, whose, &named, DropReason::HostNotAdmitted);
        }
        let mut outside = v4(NODE, A);
        outside.source = OUTSIDE.into();
        drops(
            twin,
            "outside's, who is behind the node",
            &of_node(A, outside.udp(1, 2, b"")),
            DropReason::HostNotAdmitted,
        );
        let other = of_node(B, v4(NODE, B).udp(1, 2, b""));
        drops(twin, "this port is no pod", &other, DropReason::HostNotAdmitted);
        drops(twin, "on the way to another port", &of_node(A, v4(NODE, B).udp(1, 2, b"")), DropReason::HostNotAdmitted);
        let asks = of_node(A, neighbor_solicitation(NODE.mac(), NODE.v6(), A.v6()));
        drops(twin, "a node knows where its pods are", &asks, DropReason::NeighborIgnored);
    });
}

#[test]
fn a_pod_reaches_its_node_where_its_rules_let_it() {
    conversation(|_, twin| {
        let to_node = |port, flags| v4(A, NODE).tcp(&Tcp::new(40_000, port, flags), b"");
        let from_node = |port, flags| of_node(A, v4(NODE, A).tcp(&Tcp::new(port, 40_000, flags), b""));
        let syn_ack = tcp_flag::SYN | tcp_flag::ACK;
        passes(twin, "no rule denies it", &sent(A, to_node(10250, tcp_flag::SYN)), target::HOST);
        passes(twin, "the node answers", &from_node(10250, syn_ack), target::DELIVER);
        drops(twin, "telnet is denied", &sent(A, to_node(23, tcp_flag::SYN)), DropReason::EgressRule);
        drops(twin, "and its answer is nobody's", &from_node(23, syn_ack), DropReason::UnaskedSynAck);
        let resolved = ArpPacket::request(A.mac(), A.v4(), NODE.v4());
        let answer = passes(twin, "who has the node's address", &sent(A, resolved.frame()), target::REPLY);
        assert_eq!(answer.frame[6..12], GATEWAY_MAC);

        let other = sent(B, v4(B, NODE).tcp(&tcp(tcp_flag::SYN), b""));
        drops(twin, "this port is no pod", &other, DropReason::UnknownDestination);
        let mut named = v4(A, REMOTE);
        named.source = NODE.v4().into();
        drops(twin, "in the node's name", &sent(A, named.udp(1, 2, b"")), DropReason::SpoofedSource);
        let over = received(2, VNI[0], &v4(REMOTE, NODE).udp(1, 2, b""));
        drops(twin, "from another host", &over, DropReason::NotHere);
        let claimed = received(2, VNI[0], &v4(NODE, A).udp(1, 2, b""));
        drops(twin, "another host in the node's name", &claimed, DropReason::SenderNotHolder);
    });
}

/// A frame between the node and the pod of the second tenant that it knows by another address: as the node has it, and as the pod has it.
struct Both {
    node: Vec<u8>,
    pod: Vec<u8>,
}

/// What either end sends to the other, by what both families have in common.
struct Translated<'a> {
    twin: &'a Twin,
    /// Towards the pod: as the node sees the ends, and as the pod does.
    node: Ends,
    pod: Ends,
}

impl Translated<'_> {
    /// What the node sends.
    fn request(&self, frame: impl Fn(&Ends) -> Vec<u8>) -> Both {
        Both { node: frame(&self.node), pod: frame(&self.pod) }
    }

    /// What the pod sends; the node sees that it came from the pod's own interface.
    fn answer(&self, frame: impl Fn(&Ends) -> Vec<u8>) -> Both {
        let back = Ends { source_mac: A.mac(), ..self.node.reversed() };
        Both { node: frame(&back), pod: frame(&self.pod.reversed()) }
    }

    fn arrives(&self, says: &str, both: &Both) -> Outcome {
        let met = Met { own: true, ..Met::new(Hook::FromHost, ifindex(1, A), both.node.clone()) };
        let outcome = passes(self.twin, says, &met, target::DELIVER);
        assert_eq!(outcome.frame, both.pod, "{says}: as the pod has it, every byte");
        outcome
    }

    fn returns(&self, says: &str, both: &Both) {
        let outcome =
            passes(self.twin, says, &Met::new(Hook::FromWorkload, ifindex(1, A), both.pod.clone()), target::HOST);
        assert_eq!(outcome.frame, both.node, "{says}: as the node has it, every byte");
    }

    /// All that is translated, in either direction.
    fn talk(&self, unreachable: (u8, u8)) {
        let outcome = self.arrives("a probe", &self.request(|ends| ends.tcp(&tcp(tcp_flag::SYN), b"")));
        assert_eq!(outcome.record.rule, rule::NODE, "whatever the rules say");
        let segment = |flags| Tcp::new(80, 40_000, flags);
        let syn_ack = self.answer(|ends| ends.tcp(&segment(tcp_flag::SYN | tcp_flag::ACK), b""));
        self.returns("its answer", &syn_ack);
        self.arrives("the request", &self.request(|ends| ends.tcp(&tcp(tcp_flag::ACK), b"GET / odd")));
        self.returns("the response", &self.answer(|ends| ends.tcp(&segment(tcp_flag::ACK), b"200")));
        self.arrives("an echo", &self.request(|ends| ends.echo(true, 7, 1, b"are you there")));
        self.returns("its reply", &self.answer(|ends| ends.echo(false, 7, 1, b"are you there")));

        let datagram = self.request(|ends| ends.udp(9, 53, b"?"));
        self.arrives("a datagram", &datagram);
        let told = Both {
            node: Ends { source_mac: A.mac(), ..self.node.reversed() }.icmp_error(unreachable, &datagram.node),
            pod: self.pod.reversed().icmp_error(unreachable, &datagram.pod),
        };
        self.returns("the pod's error about it", &told);
        let asked = self.answer(|ends| ends.udp(53, 54, b"the pod asks"));
        self.returns("a datagram of the pod", &asked);
        let told = Both {
            node: self.node.icmp_error(unreachable, &asked.node),
            pod: self.pod.icmp_error(unreachable, &asked.pod),
        };
        self.arrives("the node's error about it", &told);
        self.arrives("an error about a segment", &{
            Both {
                node: self.node.icmp_error(unreachable, &syn_ack.node),
                pod: self.pod.icmp_error(unreachable, &syn_ack.pod),
            }
        });

        let payload = |ends: &Ends| ends.udp(7, 53, &[0x5a; 64]).split_off(if ends.source.is_ipv4() { 34 } else { 54 });
        let first = self.request(|ends| ends.piece(77, 17, &payload(ends), 0..32));
        self.arrives("the first piece of a datagram, with its checksum", &first);
        self.arrives("and the rest, without", &self.request(|ends| ends.piece(77, 17, &payload(ends), 32..72)));
        self.arrives("a protocol without ports", &self.request(|ends| ends.ip(47, &[0; 8])));
    }
}

#[test]
fn a_node_knows_a_pod_of_a_tenant_by_another_address() {
    conversation(|_, twin| {
        let inside = |ends: Ends| Ends { destination_mac: A.mac(), ..ends };
        Translated { twin, node: v4(NODE, KNOWN), pod: inside(v4(NODE, A)) }.talk((3, 3));
        Translated { twin, node: v6(NODE, KNOWN), pod: inside(v6(NODE, A)) }.talk((1, 4));
        // A datagram without a checksum has none afterwards.
        let bare = |ends: Ends| {
            let mut frame = ends.udp(10, 53, b"?");
            frame[40..42].fill(0);
            frame
        };
        let without = Both { node: bare(v4(NODE, KNOWN)), pod: bare(inside(v4(NODE, A))) };
        Translated { twin, node: v4(NODE, KNOWN), pod: v4(NODE, A) }.arrives("without a checksum", &without);
    });
}

#[test]
fn an_infrastructure_address_is_for_the_pods_own_node() {
    conversation(|_, twin| {
        let of_node = |frame| Met { own: true, ..Met::new(Hook::FromHost, ifindex(1, A), frame) };
        let syn = |ends: Ends| ends.tcp(&tcp(tcp_flag::SYN), b"");
        drops(
            twin,
            "its own address means another to the node",
            &of_node(syn(v4(NODE, A))),
            DropReason::HostNotAdmitted,
        );
        drops(twin, "somebody else's", &of_node(syn(v6(NODE, B))), DropReason::HostNotAdmitted);
        let known = of_node(syn(v4(NODE, KNOWN)));
        passes(twin, "it is for this port", &known, target::DELIVER);
        drops(twin, "not for another", &Met { ifindex: ifindex(0, A), ..known }, DropReason::InfrastructureAddress);
        // The network that the address is of, and the tenant's own, which may have it too, or has none.
        for from in [A, B] {
            drops(twin, "a neighbour", &sent(from, syn(v4(from, KNOWN))), DropReason::InfrastructureAddress);
        }
        let distant = received(2, VNI[0], &v4(REMOTE, KNOWN).udp(1, 53, b""));
        drops(twin, "another host's", &distant, DropReason::InfrastructureAddress);
        let tenant = |frame| Met::new(Hook::FromWorkload, ifindex(1, B), frame);
        drops(twin, "within the tenant's own", &tenant(syn(v4(B, KNOWN))), DropReason::UnknownDestination);
        let itself = Met::new(Hook::FromWorkload, ifindex(1, A), syn(v4(A, KNOWN)));
        drops(twin, "the pod itself", &itself, DropReason::UnknownDestination);
        let named =
            Met::new(Hook::FromWorkload, ifindex(1, A), Ends { source_mac: A.mac(), ..v4(KNOWN, NODE) }.udp(1, 2, b""));
        drops(twin, "in the name that only the node uses", &named, DropReason::SpoofedSource);

        // What the node forwards is judged by the tenant's rules, by whoever it comes from.
        let outside = |to: End| Ends::new((NODE.mac(), OUTSIDE), (to.mac(), to.v4()));
        let forwarded = |frame| Met { own: false, ..of_node(frame) };
        let asked = forwarded(outside(KNOWN).echo(true, 7, 1, b""));
        let echo = passes(twin, "a rule admits echoes", &asked, target::DELIVER);
        assert_eq!(echo.frame, outside(A).echo(true, 7, 1, b""));
        let closed = forwarded(syn(outside(KNOWN)));
        drops(twin, "no rule admits it", &closed, DropReason::IngressRule);
        drops(twin, "in the node's name", &forwarded(syn(v4(NODE, KNOWN))), DropReason::HostNotAdmitted);
    });
}
