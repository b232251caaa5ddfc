//! Cells: the first rule for each pair of classes.

use std::{collections::BTreeMap, sync::Arc};

use andromede_abi::{CellRow, pair, remote_level};
use andromede_model::Remote;

use super::{
    ANY_REMOTE, ANY_SERVICE, Class, Combinations, Ranked, Rules,
    groups::{GroupRule, Members},
    remote, service,
};
use crate::TooLarge;

/// Rules in tables, and what is needed to say who belongs to their groups.
#[derive(Clone, Debug)]
pub(crate) struct Compiled {
    pub(crate) rules: Arc<Rules>,
    pub(crate) members: Arc<Members>,
}

/// The bits of pairs in which classes have cells, by class.
type Pairs = BTreeMap<Class, u32>;

/// Compiles rules that stand in the order in which they decide.
pub(crate) fn compile(rules: &[Ranked<'_>]) -> Result<Compiled, TooLarge> {
    if rules.is_empty() {
        return Ok(Compiled { rules: Arc::default(), members: Arc::default() });
    }
    let services = service::classify(rules)?;
    let prefixes = remote::classify(rules)?;
    let mut tables = Rules { prefixes: prefixes.rows, services: services.rows, cells: BTreeMap::new() };
    let mut members = Members::default();
    let mut of_services = Pairs::new();
    let mut combinations = Combinations(0);
    let each = rules.iter().zip(prefixes.of_rule).zip(services.of_rule);
    for (rank, ((ranked, mut remotes), services)) in each.enumerate() {
        let row = CellRow {
            order: rank as u32,
            rule: ranked.rule.number,
            action: ranked.action() as u8,
            flags: ranked.flags(),
            reserved: 0,
        };
        match &ranked.rule.remote {
            Remote::Any => remotes.push(ANY_REMOTE),
            Remote::Group(group) => {
                for service in &services {
                    *of_services.entry(*service).or_default() |= pair::bit(service.0, remote_level::IDENTITY);
                }
                members.add(group, GroupRule { row, services });
                continue;
            }
            Remote::Cidr(_) | Remote::PrefixList(_) => {}
        }
        combinations.spend(remotes.len().saturating_mul(services.len()))?;
        for service in services {
            for remote in &remotes {
                claim(&mut tables.cells, service, *remote, row);
            }
        }
    }
    members.set_any(&tables.cells);
    fill_pairs(&mut tables, of_services);
    Ok(Compiled { rules: Arc::new(tables), members: Arc::new(members) })
}

/// Gives a cell to a rule, unless an earlier rule has it, or has one that is always read beside it.
fn claim(cells: &mut BTreeMap<(Class, Class), CellRow>, service: Class, remote: Class, row: CellRow) {
    let wider = [(service, ANY_REMOTE), (ANY_SERVICE, remote), (ANY_SERVICE, ANY_REMOTE)];
    if !wider.iter().any(|cell| cells.contains_key(cell)) {
        cells.entry((service, remote)).or_insert(row);
    }
}

/// Writes into the rows of services and prefixes which pairs of levels have cells for their classes.
fn fill_pairs(tables: &mut Rules, mut of_services: Pairs) {
    let mut of_remotes = Pairs::new();
    for (service, remote) in tables.cells.keys() {
        let bit = pair::bit(service.0, remote.0);
        *of_services.entry(*service).or_default() |= bit;
        *of_remotes.entry(*remote).or_default() |= bit;
    }
    let of = |pairs: &Pairs, level: usize, class: u32| pairs.get(&(level, class)).copied().unwrap_or_default();
    for row in tables.services.values_mut() {
        row.pairs = of(&of_services, ANY_SERVICE.0, ANY_SERVICE.1)
            | of(&of_services, andromede_abi::service_level::INNER, row.inner)
            | of(&of_services, andromede_abi::service_level::LEAF, row.leaf);
    }
    for row in tables.prefixes.values_mut() {
        row.pairs = of(&of_remotes, remote_level::TOP, row.top)
            | of(&of_remotes, remote_level::MIDDLE, row.middle)
            | of(&of_remotes, remote_level::LEAF, row.leaf);
    }
}
