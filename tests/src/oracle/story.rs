//! Events, told to the packet path and to the oracle at once.

use std::{collections::BTreeSet, fmt};

use andromede_abi::{Address, DropReason, HostConfig, NextHop, hook, target};
use andromede_pipeline::{
    Context, Scratch, carry_out, decide,
    memory::{Bytes, Tables},
};
use andromede_plan::Rows;
use andromede_testkit::packet::vxlan;
use anyhow::Result;
use serde_json::Value;

use super::{
    Event, FOREIGN, Fate, GROUPS, HOST, Oracle, Sender, TENANTS,
    packet::Complaint,
    rules::{self, Rule},
};
use crate::twin::{
    END_REMOTE, END_VTEP, End, SmallFabric, UNDERLAY_IFINDEX, ifindex,
    talk::{VNI, outer_ends},
};

const SECOND: u64 = 1_000_000_000;

/// Events in their order.
#[derive(Clone, Default)]
pub struct Story(pub Vec<Event>);

/// Where the two differ.
#[derive(Debug)]
pub struct Difference {
    /// The event.
    pub at: usize,
    /// What the oracle says.
    pub expected: Fate,
    /// What the packet path did.
    pub found: Fate,
}

/// What became of packets.
#[derive(Clone, Debug, Default)]
pub struct Fates {
    /// How many passed, ICMP errors not counted.
    pub passed: usize,
    /// How many ICMP errors passed.
    pub errors: usize,
    /// Why others did not.
    pub dropped: BTreeSet<DropReason>,
}

struct Host {
    fabric: SmallFabric,
    config: HostConfig,
    tables: Tables,
    now: u64,
}

impl Story {
    /// Tells the story; the first difference, or what became of its packets.
    pub fn tell(&self) -> Result<Result<Fates, Difference>> {
        let fabric = SmallFabric::new()?;
        let mut host = Host { config: fabric.host_config(), fabric, tables: Tables::default(), now: 0 };
        let mut oracle = Oracle::default();
        for (tenant, name) in TENANTS.iter().enumerate() {
            host.fabric.set(rules::lists(name))?;
            for group in 0..GROUPS.len() {
                host.set_rules(tenant, group, &[])?;
            }
        }
        let mut fates = Fates::default();
        for (at, event) in self.0.iter().enumerate() {
            let Some((expected, found)) = host.happens(&mut oracle, event)? else { continue };
            if !expected.admits(&found) {
                return Ok(Err(Difference { at, expected, found }));
            }
            match found {
                Fate::Drops(reasons) => fates.dropped.extend(reasons),
                _ if matches!(event, Event::Complain(..)) => fates.errors += 1,
                _ => fates.passed += 1,
            }
        }
        Ok(Ok(fates))
    }

    /// The shortest story that is found in which the two still differ.
    pub fn shorten(mut self) -> Result<(Self, Difference)> {
        let Err(mut difference) = self.tell()? else { anyhow::bail!("there is no difference") };
        self.0.truncate(difference.at + 1);
        let mut length = self.0.len().div_ceil(2);
        loop {
            let mut at = 0;
            while at < self.0.len() {
                let mut shorter = self.clone();
                shorter.0.drain(at..(at + length).min(self.0.len()));
                match shorter.tell()? {
                    Err(found) => {
                        shorter.0.truncate(found.at + 1);
                        (self, difference) = (shorter, found);
                    }
                    Ok(_) => at += length,
                }
            }
            if length == 1 {
                return Ok((self, difference));
            }
            length = length.div_ceil(2);
        }
    }
}

impl Host {
    /// Does what happens; what should become of a packet, and what became of it.
    fn happens(&mut self, oracle: &mut Oracle, event: &Event) -> Result<Option<(Fate, Fate)>> {
        match event {
            Event::Wait(seconds) => {
                self.now += seconds * SECOND;
                oracle.wait(*seconds);
            }
            Event::Rules(tenant, group, rules) => {
                self.set_rules(*tenant, *group, rules)?;
                oracle.set_rules(*tenant, *group, rules);
            }
            Event::Operator(tenant, rules) => {
                self.set(rules::operator_document(TENANTS[*tenant], rules))?;
                oracle.set_operator(*tenant, rules);
            }
            Event::List(tenant, place, prefixes) => {
                self.set(rules::list_document(TENANTS[*tenant], *place, prefixes))?;
                oracle.set_list(*tenant, *place, prefixes);
            }
            Event::Send(tenant, sender, packet) => {
                let found = self.send(*tenant, *sender, packet.frame());
                return Ok(Some((oracle.send(*tenant, *sender, packet), found)));
            }
            Event::Complain(tenant, sender, complaint) => {
                let found = self.send(*tenant, *sender, complaint.frame());
                return Ok(Some((oracle.complain(*tenant, *sender, complaint), found)));
            }
        }
        Ok(None)
    }

    fn set_rules(&mut self, tenant: usize, group: usize, rules: &[Rule]) -> Result<()> {
        self.fabric.set_group(TENANTS[tenant], GROUPS[group], &rules::documents(TENANTS[tenant], rules))?;
        self.tables = tables(self.fabric.rows(), &self.tables);
        Ok(())
    }

    fn set(&mut self, document: Value) -> Result<()> {
        self.fabric.set(vec![document])?;
        self.tables = tables(self.fabric.rows(), &self.tables);
        Ok(())
    }

    fn send(&self, tenant: usize, sender: Sender, frame: Vec<u8>) -> Fate {
        match meet(&self.config, &self.tables, SECOND + self.now, (tenant, sender), frame) {
            Went::Here(end) => Fate::Reaches(end),
            Went::Host(HOST) => Fate::Reaches(END_REMOTE),
            Went::Host(_) => Fate::Reaches(END_VTEP),
            Went::Dropped(reason) => Fate::drops(reason),
        }
    }
}

/// Where a packet went.
pub(super) enum Went {
    /// To this port of this host.
    Here(End),
    /// To a host, by the last byte of its address.
    Host(u8),
    /// Nowhere.
    Dropped(DropReason),
}

/// The rows as tables in memory, with what packets have left in those before.
pub fn tables(rows: &Rows, before: &Tables) -> Tables {
    let rows = rows.clone();
    Tables {
        ports: rows.ports,
        sources: rows.sources,
        locations: rows.locations,
        prefixes: rows.prefixes,
        hosts: rows.hosts,
        members: rows.members,
        networks: rows.networks,
        epochs: rows.epochs,
        policy_identities: rows.policy_identities,
        policy_prefixes: rows.policy_prefixes,
        policy_services: rows.policy_services,
        policy_cells: rows.policy_cells,
        flows: before.flows.clone(),
        fragments: before.fragments.clone(),
        usage: before.usage.clone(),
        ..Tables::default()
    }
}

/// Sends a frame through the packet path.
pub(super) fn meet(config: &HostConfig, tables: &Tables, now: u64, by: (usize, Sender), inner: Vec<u8>) -> Went {
    let (tenant, sender) = by;
    let (hook, interface, frame) = match sender {
        Sender::Workload(end) => (hook::FROM_WORKLOAD, ifindex(tenant, end), inner),
        Sender::Host(host) => {
            let outer = vxlan(&outer_ends(host), 50_000, VNI[tenant], &inner);
            (hook::FROM_UNDERLAY, UNDERLAY_IFINDEX, outer)
        }
    };
    let context = Context::at(hook, interface, now, config);
    let mut scratch = Scratch::EMPTY;
    decide(&Bytes(frame), &context, tables, &mut scratch);
    carry_out(tables, context.now, &mut scratch);
    let verdict = scratch.verdict;
    let record = verdict.record(hook, &scratch);
    match (record.target, verdict.reason) {
        (target::DELIVER, None) => Went::Here(End((record.ifindex - ifindex(tenant, End(0))) as u8)),
        (target::ENCAP, None) => Went::Host(behind(tenant, &record.next_hop)),
        (target::DROP, Some(reason)) => Went::Dropped(reason),
        other => unreachable!("{other:?} is no verdict on a packet"),
    }
}

/// The host that is behind a tunnel.
fn behind(tenant: usize, next_hop: &NextHop) -> u8 {
    assert_eq!(next_hop.vni, VNI[tenant], "the name on the wire is the network's");
    let is = |host: &u8| next_hop.underlay == Address::from(std::net::Ipv4Addr::new(192, 0, 2, *host));
    let host = [HOST, FOREIGN[tenant]].into_iter().find(is);
    assert!(host.is_some(), "{:?} is no member", next_hop.underlay);
    host.unwrap_or_default()
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut now = 0;
        for (number, event) in self.0.iter().enumerate() {
            match event {
                Event::Wait(seconds) => now += seconds,
                Event::Rules(tenant, group, rules) => {
                    writeln!(f, "{number:4} {now:6} s  {} {} have", TENANTS[*tenant], GROUPS[*group])?;
                    told(f, rules)?;
                }
                Event::Operator(tenant, rules) => {
                    writeln!(f, "{number:4} {now:6} s  the operator has for {}", TENANTS[*tenant])?;
                    told(f, rules)?;
                }
                Event::List(tenant, place, prefixes) => {
                    let tenant = TENANTS[*tenant];
                    writeln!(f, "{number:4} {now:6} s  {tenant} list {} is {prefixes:?}", rules::LISTS[*place].0)?;
                }
                Event::Send(tenant, sender, packet) => {
                    writeln!(f, "{number:4} {now:6} s  {} {sender:?}: {packet}", TENANTS[*tenant])?;
                }
                Event::Complain(tenant, sender, complaint) => {
                    let Complaint { from, to, about, .. } = complaint;
                    let tenant = TENANTS[*tenant];
                    writeln!(
                        f,
                        "{number:4} {now:6} s  {tenant} {sender:?}: {} > {} an error about {about}",
                        from.0, to.0
                    )?;
                }
            }
        }
        Ok(())
    }
}

fn told(f: &mut fmt::Formatter<'_>, rules: &[Rule]) -> fmt::Result {
    rules.iter().try_for_each(|rule| writeln!(f, "                 {rule:?}"))
}
