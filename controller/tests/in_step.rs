//! Many hosts that come and go while everything changes end in step with the log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use andromede_controller::{fold::fold, store::Store};
use andromede_proto::{
    agent::v1::controller_message,
    v1::{ApplyRequest, fabric_service_client::FabricServiceClient},
};
use support::{
    Controller,
    bundle::{empty_tenant, group, host, port},
    host::{Known, Session, host_name},
};
use tokio::{sync::watch, task::JoinSet};
use tonic::transport::Channel;

const HOSTS: u8 = 20;
const TENANTS: [&str; 4] = ["a", "b", "c", "d"];
const WRITES: u32 = 80;

/// A host that hears a few updates, goes away, and comes back with what it knows, until the end; then it hears the rest.
async fn follow(channel: Channel, number: u8, mut ended: watch::Receiver<bool>) -> Known {
    let name = format!("h{number}");
    let mut known = Known::default();
    for round in 1.. {
        let over = *ended.borrow();
        let mut session = Session::open(channel.clone(), known.hello(&name)).await.unwrap();
        known.store_epoch = session.welcome.store_epoch;
        known.apply(session.update().await);
        session.report(known.revision).await;
        if over {
            return known;
        }
        for _ in 0..(u32::from(number) + round) % 7 {
            tokio::select! {
                message = session.next() => match message.unwrap() {
                    Some(controller_message::Message::Update(update)) => known.apply(update),
                    other => panic!("no update but {other:?}"),
                },
                _ = ended.wait_for(|ended| *ended) => break,
            }
            session.report(known.revision).await;
        }
    }
    known
}

/// The writes of one tenant: ports wander over the hosts and leave them, and rules change.
async fn write(mut fabric: FabricServiceClient<Channel>, tenant: &'static str, seed: u32) {
    let mut random = seed;
    for number in 0..WRITES {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let choice = random >> 16;
        let change = if choice.is_multiple_of(10) {
            group(tenant, "web", &[["80", "443", "8080"][number as usize % 3]])
        } else {
            let host = (!(choice / 16).is_multiple_of(5)).then_some((choice % u32::from(HOSTS) + 1) as u8);
            port(tenant, (choice / 256 % 30 + 2) as u8, host)
        };
        fabric.apply(ApplyRequest { resources: vec![change], ..ApplyRequest::default() }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hosts_that_come_and_go_end_in_step() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::plaintext(folder.path()).await;
    let mut first: Vec<_> = (1..=HOSTS).map(host).collect();
    first.extend(TENANTS.into_iter().flat_map(empty_tenant));
    controller.apply(first).await.unwrap();
    let (end, ended) = watch::channel(false);
    let mut hosts = JoinSet::new();
    for number in 1..=HOSTS {
        let (channel, ended) = (controller.channel().await, ended.clone());
        hosts.spawn(async move { (number, follow(channel, number, ended).await) });
    }
    let mut writers = JoinSet::new();
    for (tenant, seed) in TENANTS.into_iter().zip(1..) {
        writers.spawn(write(controller.fabric().await, tenant, seed));
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    end.send_replace(true);
    let mut known = BTreeMap::new();
    while let Some(done) = hosts.join_next().await {
        let (number, state) = done.unwrap();
        known.insert(number, state);
    }
    controller.stop().await;

    let (model, _) = fold(&Store::open(folder.path()).unwrap()).unwrap();
    assert!(model.revision() > u64::from(WRITES));
    assert_eq!(known.len(), usize::from(HOSTS));
    for (number, state) in known {
        let name = host_name(&format!("hosts/h{number}"));
        let wanted: BTreeMap<_, _> = model
            .networks_of(&name)
            .into_iter()
            .map(|network| (network.clone(), model.view(&network).unwrap()))
            .collect();
        assert_eq!(state.views, wanted, "{name}");
        assert_eq!(state.revision, model.revision(), "{name}");
    }
}
