//! Every drop has a name. Numbers are never reused; `docs/drop-reasons.md` is generated from this file.

macro_rules! drop_reasons {
    ($($number:literal $id:ident $name:literal $meaning:literal $remedy:literal;)*) => {
        /// Why a packet was dropped.
        #[repr(u16)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DropReason {
            $(#[doc = $meaning] $id = $number,)*
        }

        impl DropReason {
            /// All reasons, by number.
            pub const ALL: &[Self] = &[$(Self::$id),*];

            /// The reason with this number.
            pub const fn from_number(number: u16) -> Option<Self> {
                match number { $($number => Some(Self::$id),)* _ => None }
            }

            /// Its name in metrics, the API and the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $name,)* }
            }

            /// What it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$id => $meaning,)* }
            }

            /// What to look at.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$id => $remedy,)* }
            }
        }
    };
}

drop_reasons! {
    1 Truncated "truncated" "The frame ends before its headers do." "Look at the sender's driver and offloads; capture the frame.";
    2 BadEthernet "bad-ethernet" "The Ethernet header is not one: source is a group address, or a VLAN tag where none may be." "Remove the VLAN tag or the forged source in the workload.";
    3 BadIpHeader "bad-ip-header" "Version, header length or total length of the IP header are wrong." "Capture the frame; the sender is broken or hostile.";
    4 UnknownEtherType "unknown-ethertype" "Neither IPv4, IPv6 nor ARP." "The fabric carries IP only.";
    5 ExtensionHeaders "extension-headers" "More IPv6 extension headers than are followed, or one that is not allowed." "Send without them.";
    6 Fragment "fragment" "A later fragment, which has no ports, of a datagram whose first fragment did not pass here, and no rule lets this protocol pass whatever the ports." "Why did the first not pass? andromedectl drops. Send datagrams no larger than the MTU of the port.";
    7 BadTransport "bad-transport" "The TCP, UDP or ICMP header is cut short or has impossible fields." "Capture the frame; the sender is broken or hostile.";
    8 BadArp "bad-arp" "An ARP packet that is not a well-formed IPv4 over Ethernet one." "Capture the frame; the sender is broken or hostile.";
    9 BadNeighbor "bad-neighbor" "A neighbour discovery message that RFC 4861 says to discard." "Capture the frame; the sender is broken or hostile.";
    10 BadFragment "bad-fragment" "A fragment that is empty, or that is not the last and not a multiple of eight bytes, or that came in a GSO frame." "Capture the frame; the sender is broken or hostile.";
    11 TinyFragment "tiny-fragment" "A first fragment without the whole header of TCP, UDP, SCTP or ICMP: rules could not be asked (RFC 3128, RFC 7112)." "Capture the frame; the sender is broken or hostile.";
    12 HeaderFragment "header-fragment" "A later fragment that begins eight bytes into the datagram, where the transport header still is (RFC 3128)." "Capture the frame; the sender is broken or hostile.";
    13 FragmentOverlap "fragment-overlap" "A fragment that overlaps the first one of its datagram, or repeats it (RFC 5722)." "Capture the frames; the sender is broken or hostile.";
    14 FragmentTooLong "fragment-too-long" "A fragment that reaches beyond the 65,535 bytes of the longest datagram." "Capture the frame; the sender is broken or hostile.";
    15 FragmentedControl "fragmented-control" "A neighbour discovery message or an ICMP error in fragments (RFC 6980)." "Capture the frame; the sender is broken or hostile.";
    16 UnknownPort "unknown-port" "The interface has no port row: its workload is not, or no longer, attached." "andromedectl get ports; is the port bound to this host?";
    17 SpoofedMac "spoofed-mac" "The source Ethernet address is not that of the port." "Use the port's own address, or change the port.";
    18 SpoofedSource "spoofed-source" "The source IP address is not one of the port's." "Use the port's own addresses, or add one to the port.";
    19 SpoofedNeighbor "spoofed-neighbor" "An ARP or neighbour discovery message claims an address that the port does not have." "Use the port's own addresses.";
    20 LinkLocal "link-local" "IPv6 link-local traffic other than neighbour discovery." "Use the network's addresses.";
    21 Group "group-address" "Broadcast or multicast: none leaves a host." "Use unicast.";
    22 DuplicateAddressProbe "duplicate-address-probe" "A probe for the port's own address; silence is the right answer (RFC 4862)." "None is needed.";
    23 UnknownNeighbor "unknown-neighbor" "ARP or a neighbour solicitation for an address that the network does not have." "andromedectl get ports; is the address right?";
    24 NeighborIgnored "neighbor-ignored" "A neighbour discovery or ARP message that needs no answer: advertisements, router solicitations, announcements." "None is needed.";
    32 UnknownDestination "unknown-destination" "The network has no such address." "andromedectl get ports; is the address right?";
    33 NotAttached "not-attached" "The address is a port of this host whose workload is not attached." "Attach it: andromedectl host attach.";
    34 NotHere "not-here" "The frame was sent to this host, which does not hold the destination." "The sender has not caught up: andromedectl status.";
    35 UnknownHost "unknown-host" "The destination's host has no row." "andromedectl status; is the host registered?";
    36 NoService "no-service" "The destination is the network's own router, which offers nothing but address resolution." "Send to a port.";
    37 Loop "loop" "Source and destination are the same." "The sender is broken or hostile.";
    38 NetworkChanging "network-changing" "Several tables of the network are changing together; a new flow waits for its next packet." "None is needed: the sender tries again.";
    39 ForbiddenZone "forbidden-zone" "The destination is on a host of a zone in which the network may not be: place is law." "andromedectl describe the network and the host; place the port in a zone that the network allows.";
    40 InfrastructureAddress "infrastructure-address" "The destination is the infrastructure address of a pod of another network. Only the node that holds the pod sends there." "Pods of one network reach each other by their own addresses; what a pod offers to others goes through a Service.";
    41 NoInfrastructureAddress "no-infrastructure-address" "The workload is known to its node by infrastructure addresses, and the address that it sends from has none: the node could not answer." "Send to the node from the port's first address of a family for which the node's infrastructure network has a subnet.";
    48 UnknownSender "unknown-sender" "The outer source is not a member of the network that the frame names." "A stranger on the underlay, or a host that was removed: andromedectl get hosts.";
    49 SenderNotHolder "sender-not-holder" "The sender is a member of the network, but does not hold the inner source address." "The sender is compromised, or has not caught up: andromedectl status.";
    50 BadVxlan "bad-vxlan" "The VXLAN header is not that of RFC 7348, or the outer header is not one that a member sends." "Capture on the underlay.";
    51 OuterOptions "outer-options" "A frame for the tunnel port with IP options." "A member never sends one: look for a stranger on the underlay.";
    52 OuterFragment "outer-fragment" "A fragment of a frame for the tunnel endpoint." "A member never sends one: look at the underlay's MTU, or for a stranger.";
    53 NoTunnelKey "no-tunnel-key" "A frame from the vxlan device without a tunnel key." "The device was changed by hand: restart the agent.";
    54 NotFromUnderlay "not-from-underlay" "A frame that reached the vxlan device without passing the underlay interface's program." "Somebody sends to the tunnel port over another interface: capture there.";
    64 EgressRule "egress-rule" "A rule of the sender's groups denies it, or none allows it." "andromedectl trace shows the rule.";
    65 IngressRule "ingress-rule" "A rule of the receiver's groups denies it, or none allows it." "andromedectl trace shows the rule.";
    66 NoConnection "no-connection" "A packet that belongs to no connection and cannot open one: TCP without SYN, SCTP without INIT, an ICMP echo reply." "The connection expired or was never allowed; open it anew.";
    67 ConnectionCut "connection-cut" "The connection was cut by a rule change, or the rules no longer allow it." "andromedectl trace shows the rule.";
    68 FlowTableFull "flow-table-full" "There is no room for a new connection." "andromedectl flows; raise the table or lower the load.";
    69 HostNotAdmitted "host-not-admitted" "The node sent to a port that admits nothing from it, or in a name that is not its to use." "For pods: `nodeAccess` in their network configuration. What a node forwards in its own name, or in that of an address of the network, is never admitted.";
    70 UnaskedSynAck "unasked-syn-ack" "A TCP SYN-ACK that answers no SYN." "A backscatter of somebody's forged SYNs, or a connection that expired before it was answered.";
    71 NotAnswered "not-answered" "A segment that no peer sends before the handshake was answered: TCP data, an acknowledgement or a FIN, an SCTP chunk other than INIT." "The connection's state and that of its end differ; let it begin anew.";
    72 UnexpectedOpen "unexpected-open" "A TCP SYN or an SCTP INIT from the side that answers a live connection." "The peer must choose another port, or wait until the connection is over.";
    73 BadIcmpError "bad-icmp-error" "An ICMP error that is too long, or does not quote the headers of a packet that may be answered by one." "Capture the frame; the sender is broken or hostile.";
    74 UnrelatedIcmpError "unrelated-icmp-error" "An ICMP error that quotes no packet of a live connection that its receiver has sent." "None, if the connection is over or its rules have just changed; otherwise somebody forges errors.";
    75 ConnectionChanging "connection-changing" "Another processor is writing or removing the row of this connection at this moment." "None is needed: the sender tries again.";
    80 EncapFailed "encap-failed" "The kernel could not make room for the outer header." "Look at the MTU of the underlay and at memory.";
    81 DecapFailed "decap-failed" "The kernel could not remove the outer header." "Capture on the underlay.";
    82 ReplyFailed "reply-failed" "The kernel could not turn the request into its answer." "Look at memory.";
    83 TooBig "too-big" "The frame is larger than the underlay carries once encapsulated. Its sender is told how large a packet may be, by ICMP." "Set the workload's MTU to that of its port.";
    96 FlowsInbound "flows-inbound" "The port has as many connections opened by others as it may have." "andromedectl flows --port; raise the port's limit.";
    97 FlowsOutbound "flows-outbound" "The port has opened as many connections as it may have." "andromedectl flows --port; raise the port's limit.";
    98 HalfOpen "half-open" "The port has as many unanswered connections of this direction as it may have." "Look for a flood or for a peer that does not answer; they expire by themselves.";
    99 NewFlowRate "new-flow-rate" "More new connections a second than the port may have." "Reuse connections, or raise the port's limit.";
    100 TenantFlows "tenant-flows" "The tenant has as many connections on this host as it may have." "andromedectl flows; spread its ports over more hosts, or raise the tenant's limit.";
    101 TransmitPackets "transmit-packets" "The workload sends more packets a second than it may." "Raise the port's limit.";
    102 TransmitBits "transmit-bits" "The workload sends more bits a second than it may." "Raise the port's limit.";
    103 ReceivePackets "receive-packets" "The workload is sent more packets a second than it may receive." "Raise the port's limit.";
    104 ReceiveBits "receive-bits" "The workload is sent more bits a second than it may receive." "Raise the port's limit.";
    105 BudgetTableFull "budget-table-full" "The host has no room to count what another port or tenant takes." "Spread the ports over more hosts.";
}

/// The part of the walk that decided.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Stage {
    /// Reading the headers.
    Parse = 1,
    /// Comparing the source with the port.
    SourceGuard = 2,
    /// Comparing the sender with the network and the inner source.
    SenderGuard = 3,
    /// Answering ARP and neighbour discovery.
    Hairpin = 4,
    /// A row of the flow table.
    Flow = 5,
    /// Finding the destination.
    Locate = 6,
    /// Rules for what leaves the sender.
    Egress = 7,
    /// Rules for what reaches the receiver.
    Ingress = 8,
    /// Taking a row of the flow table.
    Claim = 9,
    /// Carrying the verdict out.
    Apply = 10,
}

impl Stage {
    /// All stages in the order of the walk.
    pub const ALL: &[Self] = &[
        Self::Parse,
        Self::SourceGuard,
        Self::SenderGuard,
        Self::Hairpin,
        Self::Flow,
        Self::Locate,
        Self::Egress,
        Self::Ingress,
        Self::Claim,
        Self::Apply,
    ];

    /// Its name in traces and events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::SourceGuard => "source-guard",
            Self::SenderGuard => "sender-guard",
            Self::Hairpin => "hairpin",
            Self::Flow => "flow",
            Self::Locate => "locate",
            Self::Egress => "egress",
            Self::Ingress => "ingress",
            Self::Claim => "claim",
            Self::Apply => "apply",
        }
    }

    /// The stage with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|stage| *stage as u8 == number)
    }
}

#[cfg(test)]
mod tests {
    use super::DropReason;

    #[test]
    fn numbers_and_names_are_unique_and_fit_the_totals() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(DropReason::from_number(*reason as u16), Some(*reason));
            assert!(u32::from(*reason as u16) < crate::maps::DROP_TOTALS.rows);
            for other in DropReason::ALL.iter().skip(index + 1) {
                assert_ne!(reason.name(), other.name());
                assert!((*reason as u16) < (*other as u16), "{other:?} is out of order");
            }
        }
    }
}
