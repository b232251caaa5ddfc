//! A change leads from the rows found to the rows wanted, closes before it opens, and may be interrupted anywhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::{collections::BTreeSet, net::IpAddr};

use andromede_abi::meter_place;
use andromede_model::{Admitted, Host};
use andromede_plan::{HostFacts, RowKey, Rows, Step, Wanted, changes, compile};
use common::{
    host,
    lookup::{self, Passed, Service, packet},
    world::{World, addresses, next_world, world},
};
use proptest::{prelude::*, sample::select, strategy::ValueTree};

fn wanted(world: &World, found: &Rows) -> Wanted {
    compile(&[world.view()], &world.facts(), &world.attachments(), found).unwrap()
}

fn settle(world: &World, mut rows: Rows) -> Rows {
    for step in changes(&rows, &wanted(world, &rows)) {
        rows.apply(&step);
    }
    rows
}

/// The rows without the table of epochs, which keeps words of slots that are free.
fn tables(rows: &Rows) -> Rows {
    let mut rows = rows.clone();
    rows.epochs.clear();
    rows
}

/// A packet that somebody tries to send.
#[derive(Clone, Copy, Debug)]
struct Attempt {
    /// Local port, or none: from the underlay.
    port: Option<usize>,
    underlay: u8,
    from: IpAddr,
    to: IpAddr,
    service: Service,
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let one = (prop::option::weighted(0.7, 0..6usize), any::<u8>(), select(addresses()), select(addresses()), packet());
    let one = one.prop_map(|(port, underlay, mut from, to, service)| {
        if let Some(port) = port {
            // Mostly its own address, of the family of the destination.
            let own = if to.is_ipv4() { format!("10.0.0.{}", 10 + port) } else { format!("fd00:10::{:x}", 10 + port) };
            from = own.parse().unwrap();
        }
        Attempt { port, underlay, from, to, service }
    });
    prop::collection::vec(one.prop_filter("one family", |one| one.from.is_ipv4() == one.to.is_ipv4()), 60)
}

fn attempt(rows: &Rows, attempt: &Attempt) -> Option<Passed> {
    let Attempt { port, underlay, from, to, service } = *attempt;
    if let Some(port) = port {
        return lookup::outbound(rows, World::ifindex(port), from, to, service);
    }
    let last = [1u8, 2, 11, 12, 21, 22, 200][usize::from(underlay) % 7];
    lookup::inbound(rows, 4096, IpAddr::from([192, 0, 2, last]).into(), from, to, service)
}

fn pair() -> impl Strategy<Value = (World, World)> {
    world().prop_flat_map(|world| (Just(world.clone()), next_world(&world)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_change_leads_to_what_is_wanted((old, new) in pair()) {
        let found = settle(&old, Rows::default());
        let goal = wanted(&new, &found);
        let mut rows = found.clone();
        for step in changes(&found, &goal) {
            rows.apply(&step);
        }
        prop_assert_eq!(tables(&rows), tables(&goal.rows));
        for row in rows.locations.values().chain(rows.prefixes.values()) {
            prop_assert_eq!(rows.epochs.get(&row.slot).copied().unwrap_or_default(), row.epoch);
        }
        for row in rows.ports.values() {
            prop_assert_eq!(rows.epochs.get(&row.slot).copied().unwrap_or_default(), row.epoch);
            prop_assert_eq!(rows.epochs.get(&row.network_slot).copied().unwrap_or_default() % 2, 0);
            prop_assert_ne!(row.slot, row.network_slot);
        }
        prop_assert_eq!(changes(&rows, &wanted(&new, &rows)), vec![]);
    }

    #[test]
    fn nothing_passes_that_both_the_old_and_the_new_rows_refuse((old, new) in pair(), tries in attempts()) {
        let found = settle(&old, Rows::default());
        let wanted = wanted(&new, &found);
        let steps = changes(&found, &wanted);
        let mut last = found.clone();
        for step in &steps {
            last.apply(step);
        }
        let refused: Vec<_> =
            tries.iter().filter(|one| attempt(&found, one).is_none() && attempt(&last, one).is_none()).collect();
        let mut rows = found;
        for (place, step) in steps.iter().enumerate() {
            rows.apply(step);
            for one in &refused {
                prop_assert!(attempt(&rows, one).is_none(), "{one:?} passes after step {place} of {steps:#?}");
            }
        }
    }

    #[test]
    fn a_flow_that_the_old_and_the_new_rows_permit_is_never_refused((old, new) in pair(), tries in attempts()) {
        let found = settle(&old, Rows::default());
        let steps = changes(&found, &wanted(&new, &found));
        let mut last = found.clone();
        for step in &steps {
            last.apply(step);
        }
        let flows: Vec<(Attempt, Passed)> = tries.iter().filter_map(|one| {
            let before = attempt(&found, one)?;
            attempt(&last, one).filter(|after| after.same_way(&before)).map(|_| (*one, before))
        }).collect();
        let stays = (0..6).all(|port| old.addresses(port) == new.addresses(port))
            && old.underlays == new.underlays
            && old.places == new.places
            && old.vtep.is_none()
            && new.vtep.is_none()
            && !steps.iter().any(|step| {
                matches!(step, Step::Remove(RowKey::Port(_) | RowKey::Location(_) | RowKey::Source(_)))
            });
        let mut rows = found;
        for (place, step) in steps.iter().enumerate() {
            rows.apply(step);
            for (one, passed) in &flows {
                // While the word is odd a flow of what goes away or leads elsewhere would wait; others need not even that.
                let waits = lookup::is_changing(&rows) && !stays;
                let permitted = !passed.is_stale(&rows) || waits || attempt(&rows, one).is_some();
                prop_assert!(permitted, "{one:?} is refused after step {place} of {steps:#?}");
            }
        }
    }

    #[test]
    fn a_flow_that_is_not_stale_would_pass_again_the_same_way(
        (old, new) in pair(),
        third in world(),
        tries in attempts(),
        crash in any::<prop::sample::Index>(),
    ) {
        let mut rows = settle(&old, Rows::default());
        let mut flows: Vec<(Attempt, Passed)> = Vec::new();
        let note = |rows: &Rows, flows: &mut Vec<(Attempt, Passed)>| {
            flows.extend(tries.iter().filter_map(|one| Some((*one, attempt(rows, one)?))));
        };
        note(&rows, &mut flows);
        let steps = changes(&rows, &wanted(&new, &rows));
        // The agent ends after some step; another goes on towards the same or a third revision.
        let done = if steps.is_empty() { 0 } else { crash.index(steps.len()) };
        for step in &steps[..done] {
            rows.apply(step);
            note(&rows, &mut flows);
        }
        let goal = if crash.index(2) == 0 { &new } else { &third };
        for step in changes(&rows, &wanted(goal, &rows)) {
            rows.apply(&step);
            note(&rows, &mut flows);
        }
        prop_assert_eq!(changes(&rows, &wanted(goal, &rows)), vec![]);
        for (one, passed) in flows {
            if !passed.is_stale(&rows) {
                let again = attempt(&rows, &one);
                prop_assert!(again.is_some_and(|again| again.same_way(&passed)), "{one:?} {passed:?} {again:?}");
            }
        }
    }
}

#[test]
fn an_unchanged_port_keeps_its_slot_and_its_epoch() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let world = world().new_tree(&mut runner).unwrap().current();
    let found = settle(&world, Rows::default());
    let mut later = world.clone();
    later.ports[5] = None;
    let before = wanted(&world, &found);
    let after = wanted(&later, &found);
    for (name, slot) in &after.slots {
        assert_eq!(before.slots[name], *slot);
    }
    assert!(!changes(&found, &after).iter().any(|step| matches!(step, Step::Grace)) || world.ports[5].is_some());
}

#[test]
fn a_law_that_narrows_reaches_what_lives_wherever_the_agent_ends() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut elsewhere = 0;
    for _ in 0..40 {
        let mut old = world().new_tree(&mut runner).unwrap().current();
        old.places.admitted = Admitted::Anywhere;
        let mut new = old.clone();
        new.places.admitted = Admitted::Zones(BTreeSet::new());
        let tries = attempts().new_tree(&mut runner).unwrap().current();
        let before = settle(&old, Rows::default());
        let flows: Vec<(Attempt, Passed)> =
            tries.iter().filter_map(|one| Some((*one, attempt(&before, one)?))).collect();
        let steps = changes(&before, &wanted(&new, &before));
        for done in 0..=steps.len() {
            let mut rows = before.clone();
            steps[..done].iter().for_each(|step| rows.apply(step));
            for step in changes(&rows, &wanted(&new, &rows)) {
                rows.apply(&step);
            }
            for (one, passed) in &flows {
                let again = attempt(&rows, one);
                let goes_on = again.is_some_and(|again| again.same_way(passed));
                assert!(passed.is_stale(&rows) || goes_on, "{one:?} {passed:?} {again:?} after an end behind {done}");
                elsewhere += u32::from(!goes_on);
            }
        }
    }
    assert!(elsewhere > 0, "nothing was elsewhere");
}

#[test]
fn a_network_is_metered_by_place_and_what_lived_before_is_judged_again() {
    let mut view = host::view(2, &[Vec::new()]);
    let own = Host { zone_index: 7, ..host::host() };
    for (number, zone_index) in [(2, 7), (3, 8)] {
        let name: andromede_model::HostName = format!("hosts/h{number}").parse().unwrap();
        let underlay = std::net::Ipv4Addr::new(192, 0, 2, number);
        view.hosts.insert(name.clone(), Host { name, underlay, index: number.into(), zone_index, ..host::host() });
    }
    view.hosts.insert(own.name.clone(), own);
    let (facts, attachments) = (host::facts(), host::attachments(&view));
    let before = compile(std::slice::from_ref(&view), &facts, &attachments, &Rows::default()).unwrap();
    let places: Vec<_> = before.rows.hosts.iter().map(|(host, row)| (*host, row.place)).collect();
    assert_eq!(places, [(2, meter_place::SAME_ZONE.into()), (3, meter_place::OTHER_ZONE.into())]);
    assert_eq!(before.rows.networks[&1].meter, 0);
    let metered = HostFacts { meters: [(1, 5)].into(), ..facts };
    let after = compile(std::slice::from_ref(&view), &metered, &attachments, &before.rows).unwrap();
    assert_eq!(after.rows.networks[&1].meter, 5);
    for row in before.rows.ports.values() {
        assert_ne!(before.rows.epochs[&row.slot], after.rows.epochs[&row.slot], "its connections are judged again");
    }
    let quiet = compile(std::slice::from_ref(&view), &metered, &attachments, &after.rows).unwrap();
    assert_eq!(changes(&after.rows, &quiet), []);
}
