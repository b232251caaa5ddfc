//! Real traffic, written here so that a test needs no tools and knows exactly what was sent and seen.
//! Every function opens its sockets in the namespace that it is given.

mod counters;
mod offer;
mod ping;
mod responder;
mod segments;
mod stream;
mod throughput;

use std::time::Duration;

pub use counters::echo_requests;
pub use offer::{Offer, Offered, offer};
pub use ping::{BackgroundPing, Ping, PingReport, ping};
pub use responder::{Responder, tcp_probe, udp_probe};
pub use segments::send_segments;
pub use stream::{BackgroundStream, Sink, StreamReport, send_stream};
pub use throughput::throughput;

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer came: what the answerer calls itself, and how long it took.
    Answered {
        /// Name of the [`Responder`] that answered; empty for a ping.
        by: String,
        /// From the first packet to the answer.
        after: Duration,
    },
    /// The other side refused, with a TCP reset or an ICMP message.
    Refused(String),
    /// Nothing came.
    Silence,
}

impl Outcome {
    /// Did this responder answer?
    pub fn answered_by(&self, name: &str) -> bool {
        matches!(self, Self::Answered { by, .. } if by == name)
    }

    /// Did anybody answer?
    pub const fn is_answered(&self) -> bool {
        matches!(self, Self::Answered { .. })
    }
}

/// Turns the error of a socket call into what it says of the network.
fn outcome_of(error: &std::io::Error) -> Outcome {
    use std::io::ErrorKind as Kind;
    match error.kind() {
        Kind::TimedOut | Kind::WouldBlock => Outcome::Silence,
        _ => Outcome::Refused(error.to_string()),
    }
}
