//! When a connection is over for want of packets.

use andromede_abi::{FlowRow, flow_state};

use crate::wire::ip_protocol;

const SECOND: u64 = 1_000_000_000;

/// An established TCP connection: 2 hours 4 minutes (RFC 5382, REQ-5).
const TCP_ESTABLISHED: u64 = 7_440 * SECOND;
/// A TCP connection that opens or closes: 4 minutes (RFC 5382, REQ-5).
const TCP_TRANSITORY: u64 = 240 * SECOND;
/// A TCP connection that was closed by both sides or reset: late packets only.
const TCP_CLOSED: u64 = 10 * SECOND;
/// UDP that was answered: 5 minutes (RFC 4787, REQ-5).
const UDP_REPLIED: u64 = 300 * SECOND;
/// UDP that was not answered: 2 minutes (RFC 4787, REQ-5: not less).
const UDP_ONE_WAY: u64 = 120 * SECOND;
/// Everything else: 1 minute (RFC 5508, REQ-1, for ICMP queries).
const OTHER: u64 = 60 * SECOND;
/// How long a cut connection is remembered, so that its answerer cannot open it again: as long as UDP that was answered.
const CUT: u64 = 300 * SECOND;

/// Nanoseconds without a packet after which this row is over.
#[inline(always)]
pub const fn flow_lifetime(protocol: u8, row: &FlowRow) -> u64 {
    const BOTH: u32 = flow_state::FIN_FORWARD | flow_state::FIN_BACKWARD;
    if row.state & flow_state::CUT != 0 {
        return CUT;
    }
    match protocol {
        ip_protocol::TCP => {
            if row.state & flow_state::RESET != 0 || row.state & BOTH == BOTH {
                TCP_CLOSED
            } else if row.state & flow_state::ESTABLISHED != 0 && row.state & BOTH == 0 {
                TCP_ESTABLISHED
            } else {
                TCP_TRANSITORY
            }
        }
        ip_protocol::UDP | ip_protocol::SCTP => {
            if row.state & flow_state::REPLIED != 0 {
                UDP_REPLIED
            } else {
                UDP_ONE_WAY
            }
        }
        _ => OTHER,
    }
}
