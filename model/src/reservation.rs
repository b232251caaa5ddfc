//! Reservations of addresses.

use serde::{Deserialize, Serialize};

use crate::{PortName, Prefix, ReservationName};

/// Addresses of a subnet that no port is given unless it names them, and no host gives to pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Its name, unique in the subnet.
    pub name: ReservationName,
    /// The addresses: a part of the subnet. Those of one subnet do not overlap.
    pub cidr: Prefix,
    /// The only port that may have them, which is given one of them if it chooses none; it need not be there. None: any port that names
    /// them.
    pub port: Option<PortName>,
    /// For people.
    pub description: String,
}
