//! Compiling rules: from a list that is scanned to tables that are looked up.
//!
//! A *class* stands for a set of rules of one level: all those that match everything in the class. Remotes that the same rules
//! match share a class, and so do services; a cell says which rule is the first for a class of remotes and a class of services.
//! How the tables are read, and what levels are, is written in `abi::policy`.

mod cache;
mod cells;
mod classes;
mod groups;
mod ranked;
mod remote;
mod service;
mod set;
mod set_cost;

use std::{collections::BTreeMap, sync::Arc};

use andromede_abi::{Address, CellRow, PrefixClasses, ServiceClasses, remote_level, service_level};

use crate::TooLarge;

pub(crate) use cache::Cache;
pub(crate) use groups::Groups;
pub use ranked::Policies;
pub(crate) use ranked::{Ranked, of_groups, of_operator};
pub(crate) use set::Sets;
pub use set_cost::SetCost;

/// Ranks of rules, ascending: what a class stands for.
type Ranks = Vec<u32>;

/// A class and its level.
type Class = (usize, u32);

/// The one class of the rules for any service.
const ANY_SERVICE: Class = (service_level::ANY, 0);
/// The one class of the rules for any remote.
const ANY_REMOTE: Class = (remote_level::ANY, 0);

/// Most pairs of a remote class and a service class that one set of rules may have, counted once for each rule that matches both:
/// as many as the table of cells has rows.
const COMBINATIONS: usize = andromede_abi::maps::POLICY_CELLS.rows as usize;

/// Most mentions of a rule in the classes of one set of rules: what nested prefixes and ranges make of many rules.
const MENTIONS: usize = 1 << 22;

/// What is left of [`MENTIONS`] while classes are made.
struct Mentions(usize);

impl Mentions {
    fn spend(&mut self, number: usize) -> Result<(), TooLarge> {
        let most = MENTIONS as u32;
        self.0 += number;
        let error = TooLarge { table: "mentions of rules in classes", rows: self.0, most };
        if self.0 > MENTIONS { Err(error) } else { Ok(()) }
    }
}

/// What is left of [`COMBINATIONS`] while cells are made.
struct Combinations(usize);

impl Combinations {
    fn spend(&mut self, number: usize) -> Result<(), TooLarge> {
        self.0 = self.0.saturating_add(number);
        let most = COMBINATIONS as u32;
        let error = TooLarge { table: "combinations of remotes and services", rows: self.0, most };
        if self.0 > COMBINATIONS { Err(error) } else { Ok(()) }
    }
}

/// What the rules of one set say, whoever belongs to which group: the part of a set that never changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Rules {
    /// Prefix length (32 and that of the address) and address to classes of remotes.
    pub(crate) prefixes: BTreeMap<(u32, Address), PrefixClasses>,
    /// Prefix length, protocol and port, as in a `ServiceKey`, to classes of services.
    pub(crate) services: BTreeMap<(u32, u16, u16), ServiceClasses>,
    /// The first rule for a service and a remote that is no group.
    pub(crate) cells: BTreeMap<(Class, Class), CellRow>,
}

/// The tables of one set, without its number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Content {
    pub(crate) rules: Arc<Rules>,
    pub(crate) groups: Groups,
}
