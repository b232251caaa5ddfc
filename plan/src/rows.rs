//! The rows of a host, as a value.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::{
    CellKey, CellRow, HostIndex, HostRow, IdentityClass, IdentityClassKey, LocationKey, LocationRow, MemberKey,
    MemberRow, NetworkIndex, NetworkRow, PolicyPrefixKey, PortRow, PrefixClasses, PrefixKey, Prefixed, ServiceClasses,
    ServiceKey, Slot, SourceKey,
};

macro_rules! tables {
    ($($(#[$doc:meta])* $field:ident $variant:ident $key:ty => $value:ty;)*) => {
        /// All rows that the control path writes on one host, by table and key.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Rows {
            $($(#[$doc])* pub $field: BTreeMap<$key, $value>,)*
            /// `EPOCHS`: epochs of ports and locations, change words of networks. The table is an array: an absent
            /// entry and one that is 0 mean the same. Only steps change it, never [`Rows::insert`].
            pub epochs: BTreeMap<Slot, u32>,
            /// Slots that connections count on, in `USAGE`. They are found, never wanted: such a slot is given to nobody else.
            pub counted: BTreeSet<Slot>,
        }

        /// One row of any table: its key and its value.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Row {
            $($(#[$doc])* $variant($key, $value),)*
        }

        /// The key of one row of any table.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum RowKey {
            $($(#[$doc])* $variant($key),)*
        }

        impl Row {
            /// Its key.
            pub const fn key(&self) -> RowKey {
                match self {
                    $(Self::$variant(key, _) => RowKey::$variant(*key),)*
                }
            }
        }

        impl Rows {
            /// Writes one row.
            pub fn insert(&mut self, row: Row) {
                match row {
                    $(Row::$variant(key, value) => drop(self.$field.insert(key, value)),)*
                }
            }

            /// Removes one row.
            pub fn remove(&mut self, key: &RowKey) {
                match key {
                    $(RowKey::$variant(key) => drop(self.$field.remove(key)),)*
                }
            }

            /// Number of rows of each table, in the order of the fields.
            pub fn lengths(&self) -> Vec<(&'static str, usize)> {
                vec![$((stringify!($field), self.$field.len()),)*]
            }
        }
    };
}

tables! {
    /// `PORTS`: by index of the host-side interface.
    ports Port u32 => PortRow;
    /// `SOURCES`: further addresses of ports; the value is 1.
    sources Source Prefixed<SourceKey> => u32;
    /// `LOCATIONS`: where each address is.
    locations Location LocationKey => LocationRow;
    /// `PREFIXES`: what lies behind foreign tunnel endpoints.
    prefixes Prefix Prefixed<PrefixKey> => LocationRow;
    /// `HOSTS`: how to reach other hosts and foreign tunnel endpoints.
    hosts Host HostIndex => HostRow;
    /// `MEMBERS`: who may send into which network.
    members Member MemberKey => MemberRow;
    /// `NETWORKS`: what holds for a whole network.
    networks Network NetworkIndex => NetworkRow;
    /// `POLICY_IDS`: remote class of an identity.
    policy_identities PolicyIdentity IdentityClassKey => IdentityClass;
    /// `POLICY_PREFIXES`: remote class of an address.
    policy_prefixes PolicyPrefix Prefixed<PolicyPrefixKey> => PrefixClasses;
    /// `POLICY_SERVICES`: service class of protocol and port.
    policy_services PolicyService Prefixed<ServiceKey> => ServiceClasses;
    /// `POLICY_CELLS`: the first rule for a remote class and a service class.
    policy_cells PolicyCell CellKey => CellRow;
}

/// Prefix length of an address in the keys that put a 32-bit number before it.
pub(crate) const fn prefix_length(length: u8, is_v4: bool) -> u32 {
    32 + length as u32 + if is_v4 { 96 } else { 0 }
}
