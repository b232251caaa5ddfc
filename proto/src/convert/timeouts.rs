//! How long connections are remembered.

use andromede_model::Timeouts;

use super::fields::{Fields, FromMessage};
use crate::v1;

impl FromMessage for Timeouts {
    type Message = v1::ConnectionTimeouts;

    fn read(message: v1::ConnectionTimeouts, fields: &mut Fields<'_>) -> Option<Self> {
        let default = Self::default();
        let or = |seconds: u32, default: u32| if seconds == 0 { default } else { seconds };
        let timeouts = Self {
            tcp_established: or(message.tcp_established_seconds, default.tcp_established),
            tcp_transitory: or(message.tcp_transitory_seconds, default.tcp_transitory),
            tcp_closed: or(message.tcp_closed_seconds, default.tcp_closed),
            udp_replied: or(message.udp_replied_seconds, default.udp_replied),
            udp_one_way: or(message.udp_one_way_seconds, default.udp_one_way),
            other: or(message.other_seconds, default.other),
        };
        let wrong: Vec<_> = timeouts.wrong().collect();
        let right = wrong.is_empty();
        for (field, error) in wrong {
            fields.check::<(), _>(field, Err(error));
        }
        right.then_some(timeouts)
    }
}

impl From<Timeouts> for v1::ConnectionTimeouts {
    fn from(timeouts: Timeouts) -> Self {
        Self {
            tcp_established_seconds: timeouts.tcp_established,
            tcp_transitory_seconds: timeouts.tcp_transitory,
            tcp_closed_seconds: timeouts.tcp_closed,
            udp_replied_seconds: timeouts.udp_replied,
            udp_one_way_seconds: timeouts.udp_one_way,
            other_seconds: timeouts.other,
        }
    }
}
