//! A filter that drops everything, behind the programs of the packet path.
//!
//! It is one instruction of classic BPF in a clsact filter of the lowest rank: it needs no program file, no pin and no agent, and runs
//! only where no program gave a verdict. So with every program detached a workload's frame, or a frame that the vxlan device
//! decapsulated, still goes nowhere. Reverse path filter and forwarding switches alone would let broadcasts through to the host's sockets.

use rtnetlink::{
    Handle,
    packet_core::{DefaultNla, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload},
    packet_route::{
        RouteNetlinkMessage,
        tc::{TcAttribute, TcHandle, TcHeader, TcMessage, TcOption},
    },
};

use super::netlink::{Netlink, NetlinkError};

/// Rank of the filter: behind any filter of the packet path.
pub const PRIORITY: u16 = 65_000;

/// `TCA_BPF_OPS_LEN`, `TCA_BPF_OPS`, `TCA_BPF_FLAGS` and its `TCA_BPF_FLAG_ACT_DIRECT` (`linux/pkt_cls.h`).
const BPF_OPS_LEN: u16 = 4;
const BPF_OPS: u16 = 5;
const BPF_FLAGS: u16 = 8;
const ACT_DIRECT: u32 = 1;
/// `ETH_P_ALL`, network byte order, as the message's info field wants it.
const ALL_PROTOCOLS: u16 = 3_u16.to_be();
/// One `sock_filter`: `BPF_RET | BPF_K` with `TC_ACT_SHOT`.
const RETURN_SHOT: ([u8; 2], [u8; 2], [u8; 4]) = (6_u16.to_ne_bytes(), [0; 2], 2_u32.to_ne_bytes());

/// Puts the filter at the ingress of an interface; no error if it is there.
pub async fn install(netlink: &Netlink, ifindex: u32) -> Result<(), NetlinkError> {
    install_at(netlink, ifindex, TcHandle::MIN_INGRESS).await
}

/// Puts the filter at the egress of an interface as well, where the host has a route over it; no error if it is there.
pub async fn install_outwards(netlink: &Netlink, ifindex: u32) -> Result<(), NetlinkError> {
    install_at(netlink, ifindex, TcHandle::MIN_EGRESS).await
}

async fn install_at(netlink: &Netlink, ifindex: u32, side: u16) -> Result<(), NetlinkError> {
    let handle = netlink.handle();
    let index = i32::try_from(ifindex).unwrap_or(0);
    let clsact = TcMessage::from_parts(
        TcHeader {
            index,
            handle: TcHandle { major: 0xffff, minor: 0 },
            parent: TcHandle::CLSACT,
            ..TcHeader::default()
        },
        vec![TcAttribute::Kind("clsact".to_owned())],
    );
    let what = format!("put a clsact qdisc on interface {ifindex}");
    request(handle.clone(), RouteNetlinkMessage::NewQueueDiscipline(clsact), what).await?;

    let what = format!("put the static drop on interface {ifindex}");
    request(handle, RouteNetlinkMessage::NewTrafficFilter(filter(index, side)), what).await
}

fn filter(index: i32, side: u16) -> TcMessage {
    let (code, jumps, value) = RETURN_SHOT;
    let options = [
        DefaultNla::new(BPF_OPS_LEN, 1_u16.to_ne_bytes().to_vec()),
        DefaultNla::new(BPF_OPS, [code.as_slice(), &jumps, &value].concat()),
        DefaultNla::new(BPF_FLAGS, ACT_DIRECT.to_ne_bytes().to_vec()),
    ];
    TcMessage::from_parts(
        TcHeader {
            index,
            handle: TcHandle { major: 0, minor: 1 },
            parent: TcHandle { major: 0xffff, minor: side },
            info: u32::from(PRIORITY) << 16 | u32::from(ALL_PROTOCOLS),
            ..TcHeader::default()
        },
        vec![
            TcAttribute::Kind("bpf".to_owned()),
            TcAttribute::Options(options.into_iter().map(TcOption::Other).collect()),
        ],
    )
}

async fn request(mut handle: Handle, message: RouteNetlinkMessage, what: String) -> Result<(), NetlinkError> {
    use futures::StreamExt as _;
    let mut request = NetlinkMessage::from(message);
    request.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    let mut answers = handle
        .request(request)
        .map_err(|error| NetlinkError { action: what.clone(), source: std::io::Error::other(error.to_string()) })?;
    while let Some(answer) = answers.next().await {
        if let NetlinkPayload::Error(error) = answer.payload {
            let source = error.to_io();
            match source.raw_os_error() {
                Some(0 | libc::EEXIST) => {}
                _ => return Err(NetlinkError { action: what, source }),
            }
        }
    }
    Ok(())
}
