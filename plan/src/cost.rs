//! How large tables become, and whether they may.

use std::collections::{BTreeMap, BTreeSet};

use andromede_abi::maps::{self, Table};
use andromede_model::{Direction, Host, NetworkView, Port, SecurityGroupName};
use thiserror::Error;

use crate::{Attachment, HostFacts, Rows, compile, policy};

/// A table that would have more rows than it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "table {table} would have {rows} rows and holds {most}; let ports share groups, or spread networks over more hosts"
)]
pub struct TooLarge {
    /// Name of the table, or of what is bounded while rules are compiled.
    pub table: &'static str,
    /// Rows that it would have.
    pub rows: usize,
    /// Rows that it holds.
    pub most: u32,
}

/// Number of rows in each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    /// The table and its rows.
    pub tables: Vec<(Table, usize)>,
}

impl Cost {
    /// What networks cost on a host when the workloads of all its ports are attached: asked before a write is committed. It takes
    /// as long as compiling them.
    pub fn of_host(views: &[NetworkView], host: &Host) -> Result<Self, TooLarge> {
        let here = |port: &&Port| port.host.as_ref() == Some(&host.name);
        let ports = views.iter().flat_map(|view| view.ports.values()).filter(here);
        let attachment = |(ifindex, port): (u32, &Port)| (port.name.clone(), Attachment { ifindex, tap: false });
        let attachments = (1..).zip(ports).map(attachment).collect();
        let gateways = BTreeMap::new();
        let facts = HostFacts {
            host: host.index,
            underlay: host.underlay,
            underlay_ifindex: 1,
            gateways,
            flow_rows: maps::FLOWS.rows,
        };
        Ok(Self::of(&compile(views, &facts, &attachments, &Rows::default())?.rows))
    }

    /// What the rules of these groups cost, of the direction that costs more: asked before a write is committed. Ports of one
    /// host that have the same groups share this.
    pub fn of_groups(view: &NetworkView, groups: &BTreeSet<SecurityGroupName>) -> Result<Self, TooLarge> {
        let rows = |direction| policy::rows(view, groups, direction);
        let (egress, ingress) = (rows(Direction::Egress)?, rows(Direction::Ingress)?);
        let (egress, ingress) = (Self::of(&egress), Self::of(&ingress));
        let greater = |(one, other): (&(Table, usize), &(Table, usize))| (one.0, one.1.max(other.1));
        Ok(Self { tables: egress.tables.iter().zip(&ingress.tables).map(greater).collect() })
    }

    /// What these rows cost.
    pub fn of(rows: &Rows) -> Self {
        Self {
            tables: vec![
                (maps::PORTS, rows.ports.len()),
                (maps::SOURCES, rows.sources.len()),
                (maps::LOCATIONS, rows.locations.len()),
                (maps::PREFIXES, rows.prefixes.len()),
                (maps::HOSTS, rows.hosts.len()),
                (maps::MEMBERS, rows.members.len()),
                (maps::NETWORKS, rows.networks.len()),
                (maps::EPOCHS, rows.highest_slot().map_or(0, |slot| slot as usize + 1)),
                (maps::POLICY_IDENTITIES, rows.policy_identities.len()),
                (maps::POLICY_PREFIXES, rows.policy_prefixes.len()),
                (maps::POLICY_SERVICES, rows.policy_services.len()),
                (maps::POLICY_CELLS, rows.policy_cells.len()),
            ],
        }
    }

    /// The first table that would be too large, if there is one.
    pub fn fits(&self) -> Result<(), TooLarge> {
        let over = self.tables.iter().find(|(table, rows)| *rows > table.rows as usize);
        over.map_or(Ok(()), |(table, rows)| Err(TooLarge { table: table.name, rows: *rows, most: table.rows }))
    }
}
