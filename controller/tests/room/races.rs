//! Addresses while several want them and the controller is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use andromede_proto::{
    agent::v1::{Claim, agent_message, controller_message::Message},
    v1::{
        ApplyRequest, CreatePortRequest, DeleteRequest, ListRequest, Port, fabric_service_client::FabricServiceClient,
        port_service_client::PortServiceClient,
    },
};
use tonic::{Code, Status, transport::Channel};

use crate::support::{
    bundle::{empty_tenant, host, leased_subnet, port_message, subnet},
    host::{Known, Session, said},
    program::start,
};

/// The addresses of all ports; no two have one.
async fn addresses(channel: &Channel) -> BTreeMap<String, Vec<String>> {
    let list = ListRequest { page_size: 1_000, ..ListRequest::default() };
    let found = PortServiceClient::new(channel.clone()).list_ports(list).await.unwrap().into_inner().ports;
    let mut all = BTreeSet::new();
    for port in &found {
        assert!(!port.addresses.is_empty() && port.addresses.iter().all(|it| all.insert(it.clone())), "{found:#?}");
    }
    found.into_iter().map(|port| (port.name, port.addresses)).collect()
}

/// What was done and acknowledged.
#[derive(Default)]
struct Done {
    ports: AtomicU64,
    claims: AtomicU64,
    /// Who had each address first. Addresses rest for longer than this test, so that nobody else may ever be given one.
    owners: Mutex<BTreeMap<String, String>>,
}

async fn create(ports: &mut PortServiceClient<Channel>, port: Port) -> Result<Vec<String>, Status> {
    let request = CreatePortRequest { port: Some(port), ..CreatePortRequest::default() };
    Ok(ports.create_port(request).await?.into_inner().addresses)
}

async fn delete(ports: &mut PortServiceClient<Channel>, name: String) -> Result<Vec<String>, Status> {
    ports.delete_port(DeleteRequest { name, ..DeleteRequest::default() }).await.map(|_| Vec::new())
}

/// Makes ports without an address, deletes them, makes them anew, until the controller is gone: what it was acknowledged of each name; none
/// of what may be there or not.
async fn work(channel: Channel, worker: u64, done: &Done) -> BTreeMap<String, Option<Vec<String>>> {
    let mut ports = PortServiceClient::new(channel);
    let mut own = BTreeMap::new();
    for step in 0..100_000_u64 {
        let name = format!("tenants/a/networks/n/ports/w{worker}-{}", step * 7 % 8);
        let answer = if step % 3 == 2 {
            own.insert(name.clone(), None);
            delete(&mut ports, name.clone()).await
        } else {
            create(&mut ports, Port { name: name.clone(), ..Port::default() }).await
        };
        match answer {
            Ok(addresses) => {
                for address in &addresses {
                    let first = done.owners.lock().unwrap().entry(address.clone()).or_insert(name.clone()).clone();
                    assert_eq!(first, name, "{address} was another's");
                }
                own.insert(name, Some(addresses).filter(|addresses| !addresses.is_empty()));
                done.ports.fetch_add(1, Ordering::Relaxed);
            }
            Err(status) if matches!(status.code(), Code::AlreadyExists | Code::NotFound) => {}
            Err(_) => {
                own.insert(name, None);
                break;
            }
        }
    }
    own
}

/// Claims addresses of a leased subnet for pods, half of them in turn, until the controller is gone.
async fn claim(channel: Channel, done: &Done) -> Option<()> {
    let mut known = Known::default();
    let mut session = Session::open(channel, known.hello("h1")).await.unwrap();
    known.apply(session.update().await);
    for id in 1.. {
        let of_turn = |number: &u8| u64::from(*number) % 2 == id % 2;
        let pod = |number: u8| {
            let addresses = vec![format!("10.0.1.{number}")];
            Port { addresses, ..port_message("a", 100 + number, Some(1)) }
        };
        let gone = |number: u8| format!("tenants/a/networks/n/ports/p{}", 100 + number);
        let claim = Claim {
            id,
            written: (2..15).filter(of_turn).map(pod).collect(),
            deleted: (2..15).filter(|number| !of_turn(number)).map(gone).collect(),
        };
        session.sender.send(said(agent_message::Message::Claim(claim))).await.ok()?;
        loop {
            if matches!(session.next().await.ok()??, Message::ClaimAnswer(answer) if answer.id == id) {
                done.claims.fetch_add(1, Ordering::Relaxed);
                break;
            }
        }
    }
    None
}

/// Declares ports with the same addresses, and deletes them, until the controller is gone.
async fn declare(channel: Channel) {
    let mut ports = PortServiceClient::new(channel);
    for step in 0_u64.. {
        let number = 2 + step % 13;
        let name = format!("tenants/a/networks/n/ports/d{number}");
        let answer = if step % 2 == 0 {
            let (addresses, host) = (vec![format!("10.0.1.{number}")], "hosts/h1".to_owned());
            create(&mut ports, Port { name, addresses, host, ..Port::default() }).await
        } else {
            delete(&mut ports, name).await
        };
        let expected = [Code::AlreadyExists, Code::NotFound, Code::InvalidArgument];
        if answer.is_err_and(|status| !expected.contains(&status.code())) {
            return;
        }
    }
}

#[tokio::test]
async fn whatever_races_and_crashes_no_address_has_two_ports_nor_another_too_early() {
    let folder = tempfile::tempdir().unwrap();
    let done = Done::default();
    let mut kept = BTreeMap::new();
    for round in 0..4 {
        let (mut child, _, channel) = start(folder.path()).await;
        if round == 0 {
            let leased = leased_subnet("a", "pods", "10.0.1.0/28", "hosts/h1");
            let own = vec![host(1), subnet("a", "v6", "fd00:10::/64"), leased];
            let resources = [empty_tenant("a"), own].concat();
            let request = ApplyRequest { resources, ..ApplyRequest::default() };
            FabricServiceClient::new(channel.clone()).apply(request).await.unwrap();
        }
        let found = addresses(&channel).await;
        for (name, addresses) in &kept {
            assert_eq!(found.get(name), Some(addresses), "round {round}: acknowledged");
        }
        done.ports.store(0, Ordering::Relaxed);
        done.claims.store(0, Ordering::Relaxed);
        let workers = (0..4).map(|worker| work(channel.clone(), worker, &done));
        let dying = async {
            while done.ports.load(Ordering::Relaxed) < 10 + round * 10 || done.claims.load(Ordering::Relaxed) < 2 {
                tokio::time::sleep(Duration::from_micros(200)).await;
            }
            child.kill().await.unwrap();
        };
        let workers = futures::future::join_all(workers);
        let (did, _, (), ()) = tokio::join!(workers, claim(channel.clone(), &done), declare(channel.clone()), dying);
        for (name, addresses) in did.into_iter().flatten() {
            match addresses {
                Some(addresses) => drop(kept.insert(name, addresses)),
                None => drop(kept.remove(&name)),
            }
        }
    }
    assert!(!kept.is_empty());
}
