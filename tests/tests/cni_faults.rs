//! The CNI plugin when something goes wrong around it: the controller away, the agent killed, the machine started anew, everybody at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use andromede_dataplane::Pins;
use andromede_testkit::{
    Fabric,
    fabric::binary,
    traffic::{Ping, Responder, ping, tcp_probe},
    underlay::UPLINK,
    wait,
};
use andromede_tests::{
    bundle::network_name,
    cni::{Container, Outcome, Runtime, TENANT, known_ports, pod_fabric, pod_network},
    usage::tables,
};
use nix::{
    mount::{MsFlags, mount},
    sys::signal::Signal,
};
use serde_json::json;

const LONG: Duration = Duration::from_mins(1);

fn is_as_made(runtime: &Runtime, container: &Container, add: &Outcome) -> bool {
    runtime.with("prevResult", add.output.clone()).run("CHECK", container).unwrap().succeeded
}

fn registered(fabric: &Fabric, count: usize) {
    let known = || (known_ports(fabric).unwrap() == count).then_some(());
    wait::until("the controller knows the ports of pods", LONG, known).unwrap();
}

#[test]
fn without_a_controller_pods_start_and_are_registered_once_it_is_back() {
    let mut fabric = pod_fabric(2).unwrap();
    let (h1, h2) = (Runtime::new(&fabric, 1).unwrap(), Runtime::new(&fabric, 2).unwrap());
    let far = Container::new("far").unwrap();
    h2.add(&far).unwrap();
    registered(&fabric, 1);
    fabric.wait_in_force().unwrap();
    fabric.control_mut().stop(Signal::SIGTERM).unwrap();
    let (server, near) = (Container::new("server").unwrap(), Container::new("near").unwrap());
    let to = h1.add(&server).unwrap();
    let near_add = h1.add(&near).unwrap();
    let _server = Responder::start(&server.namespace, "server", &[80], &[]).unwrap();
    let probe = |from: &Container, address| {
        tcp_probe(&from.namespace, SocketAddr::new(address, 80), Duration::from_secs(2)).unwrap()
    };
    for address in to.addresses() {
        assert!(probe(&near, address).answered_by("server"), "on the same host it works at once: {address}");
        assert!(!probe(&far, address).is_answered(), "another host does not know it: {address}");
    }
    assert!(is_as_made(&h1, &near, &near_add));
    assert!(h1.run("DEL", &near).unwrap().succeeded);
    fabric.control_mut().restart().unwrap();
    registered(&fabric, 2);
    fabric.wait_in_force().unwrap();
    for address in to.addresses() {
        assert!(probe(&far, address).answered_by("server"), "{address}");
    }
}

#[test]
fn a_killed_agent_finds_its_pods_again_and_a_machine_started_anew_gives_the_same_addresses() {
    let mut fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let (one, two) = (Container::new("one").unwrap(), Container::new("two").unwrap());
    let first = runtime.add(&one).unwrap();
    let second = runtime.add(&two).unwrap();
    registered(&fabric, 2);
    fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
    fabric.resume_agent(1).unwrap();
    fabric.wait_in_force().unwrap();
    assert!(is_as_made(&runtime, &one, &first) && is_as_made(&runtime, &two, &second));

    // Reboot: the kernel forgets everything, namespaces are new ones, the state folder stays.
    fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
    drop((one, two));
    fabric.forget_kernel_state(1).unwrap();
    fabric.resume_agent(1).unwrap();
    let one = Container::new("one").unwrap();
    let again = runtime.add(&one).unwrap();
    assert_eq!(again.addresses(), first.addresses(), "the lease is the container's");
    assert!(is_as_made(&runtime, &one, &again));
    // The runtime deletes what did not come back.
    assert!(runtime.call("DEL", "two", "").unwrap().succeeded);
    registered(&fabric, 1);
}

/// What a host has because of its pods: interfaces, places of programs, rows of each table of configuration, and ports that the agent knows.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    interfaces: Vec<String>,
    programs: usize,
    rows: Vec<(&'static str, usize)>,
    ports: usize,
}

impl Left {
    fn of(fabric: &Fabric) -> Self {
        let agent = fabric.agent(1).unwrap();
        let links = String::from_utf8(agent.namespace().exec("ip -o link show").unwrap().stdout).unwrap();
        let name =
            |line: &str| line.split(": ").nth(1).unwrap_or_default().split('@').next().unwrap_or_default().to_owned();
        let place = agent.place();
        let mount = place.pins.as_ref().unwrap();
        let pins = Pins::new(mount.folder(), &place.instance.parse().unwrap());
        let rows = tables(fabric, 1, |tables| {
            macro_rules! count {
                ($($table:ident)*) => { vec![$((stringify!($table), tables.$table.count().unwrap())),*] };
            }
            count!(ports sources locations prefixes networks policy_identities policy_prefixes policy_services policy_cells)
        });
        let status = agent.status(fabric.control()).unwrap();
        Self {
            interfaces: links.lines().map(name).collect(),
            programs: mount.run(|| pins.attachments().unwrap().len()).unwrap(),
            rows: rows.unwrap(),
            ports: status.get("ports").and_then(|ports| ports.as_array()).map_or(0, Vec::len),
        }
    }
}

/// Memory that the agent has in use, KiB.
fn resident(fabric: &Fabric) -> u64 {
    let id = fabric.agent(1).unwrap().id().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim_end_matches("kB").trim().parse().unwrap()
}

/// `ANDROMEDE_CHURN_SECONDS=300` goes on for five minutes, with 200 pods.
#[test]
fn a_hundred_additions_and_deletions_at_once_all_succeed_and_leave_nothing() {
    let churn = std::env::var("ANDROMEDE_CHURN_SECONDS").ok().map(|text| Duration::from_secs(text.parse().unwrap()));
    // Of the second round only what it leaves counts.
    let count = |round| match (churn, round) {
        (Some(_), _) => 200,
        (None, 0) => 100,
        (None, _) => 10,
    };
    let fabric = pod_fabric(1).unwrap();
    if churn.is_some() {
        // Addresses rest for half a minute: what comes and goes so fast needs more of them than a /24 has.
        let more = format!(
            "kind: Subnet\nname: {}/subnets/h1-more\ncidr: 10.2.0.0/20\nhost: hosts/h1\n",
            network_name(TENANT)
        );
        fabric.apply(pod_network(1).with(&more).text()).unwrap();
    }
    let runtime = Runtime::new(&fabric, 1).unwrap().with("nodeAccess", true.into());
    let before = Left::of(&fabric);
    let begun = Instant::now();
    let (mut rounds, mut first) = (0_u32, 0);
    while rounds < 2 || churn.is_some_and(|churn| begun.elapsed() < churn) {
        let made = (0..count(rounds)).map(|number| Container::new(&format!("c{rounds}-{number}")).unwrap());
        round(&fabric, &runtime, &made.collect::<Vec<_>>());
        let is_clean = || (Left::of(&fabric) == before).then_some(());
        let clean = wait::until("nothing is left", Duration::from_secs(10), is_clean);
        assert!(clean.is_ok(), "after round {rounds}: {:?}, before {before:?}", Left::of(&fabric));
        rounds += 1;
        if rounds == 2 {
            first = resident(&fabric);
        }
    }
    let last = resident(&fabric);
    assert!(last < first + first / 4 + 8_192, "the agent had {first} KiB after two rounds, {last} after {rounds}");
}

/// All pods come at once, and all go at once.
fn round(fabric: &Fabric, runtime: &Runtime, containers: &[Container]) {
    let all = |command: &str| -> Vec<Outcome> {
        std::thread::scope(|scope| {
            let run = |container| scope.spawn(move || runtime.run(command, container).unwrap());
            let running: Vec<_> = containers.iter().map(run).collect();
            running.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    let adds = all("ADD");
    let failed: Vec<_> = adds.iter().filter(|add| !add.succeeded).map(|add| &add.output).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let addresses: BTreeSet<_> = adds.iter().flat_map(Outcome::addresses).collect();
    assert_eq!(addresses.len(), containers.len() * 2, "each has two of its own");
    registered(fabric, containers.len());
    let last = containers.len() - 1;
    assert!(is_as_made(runtime, &containers[last], &adds[last]));
    assert!(all("DEL").iter().all(|outcome| outcome.succeeded));
    registered(fabric, 0);
}

#[test]
fn a_lost_list_of_leases_unplugs_no_pod() {
    let mut fabric = pod_fabric(1).unwrap();
    let runtime = Runtime::new(&fabric, 1).unwrap();
    let (server, client) = (Container::new("server").unwrap(), Container::new("client").unwrap());
    let to = runtime.add(&server).unwrap();
    let add = runtime.add(&client).unwrap();
    registered(&fabric, 2);
    let _server = Responder::start(&server.namespace, "server", &[80], &[]).unwrap();
    let address = SocketAddr::new(to.addresses()[0], 80);
    let answers = || tcp_probe(&client.namespace, address, Duration::from_secs(2)).unwrap().answered_by("server");
    assert!(answers());
    let state = fabric.agent(1).unwrap().place().folder.join("state");

    // The file is damaged while the agent is away: it is made again from the list of workloads.
    fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
    std::fs::write(state.join("leases"), "damaged").unwrap();
    fabric.resume_agent(1).unwrap();
    fabric.wait_in_force().unwrap();
    assert!(answers() && is_as_made(&runtime, &client, &add));
    registered(&fabric, 2);

    // Both are: nothing is known of the pods, and nothing of them is touched.
    fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
    std::fs::write(state.join("leases"), "damaged").unwrap();
    std::fs::write(state.join("attachments"), "damaged").unwrap();
    fabric.resume_agent(1).unwrap();
    let error = || {
        let status = fabric.agent(1).unwrap().status(fabric.control()).ok()?;
        status["error"].as_str().filter(|error| error.contains("list of leases was lost")).map(ToOwned::to_owned)
    };
    let error = wait::until("the agent says what is wrong", LONG, error).unwrap();
    assert!(error.contains("/ports/pod-"), "{error}");
    assert!(answers(), "the pods go on");
    registered(&fabric, 2);
    assert!(!runtime.run("ADD", &Container::new("other").unwrap()).unwrap().succeeded);
    // Once they are deleted the host is as it should be.
    assert!(runtime.run("DEL", &server).unwrap().succeeded && runtime.run("DEL", &client).unwrap().succeeded);
    registered(&fabric, 0);
    runtime.add(&Container::new("third").unwrap()).unwrap();
}

/// A program that becomes the agent with the rights that its systemd unit gives it.
fn confined(folder: &Path) -> PathBuf {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/andromede-agent.service");
    let unit = fs::read_to_string(unit).unwrap();
    let rights = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    let rights: Vec<String> =
        rights.split(' ').map(|right| format!("+{}", right.trim_start_matches("CAP_").to_lowercase())).collect();
    let agent = binary("andromede-agent").unwrap();
    let script = format!(
        "#!/bin/sh\nexec setpriv --no-new-privs --bounding-set -all,{} {} \"$@\"\n",
        rights.join(","),
        agent.display()
    );
    let path = folder.join("confined-agent");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// What the unit says is enough: pods of both families that the node reaches come, are what they were made as, and go.
#[test]
fn an_agent_with_no_more_than_the_rights_of_its_unit_serves_pods() {
    let mut fabric = pod_fabric(1).unwrap();
    fabric.agent_mut(1).unwrap().stop(Signal::SIGTERM).unwrap();
    let agent = confined(fabric.folder());
    fabric.resume_agent_as(1, agent).unwrap();
    fabric.wait_in_force().unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", fabric.agent(1).unwrap().id().unwrap())).unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    assert_eq!(u64::from_str_radix(effective.trim(), 16).unwrap().count_ones(), 4, "it is confined");
    let runtime = Runtime::new(&fabric, 1).unwrap().with("nodeAccess", json!(true));
    let container = Container::new("confined").unwrap();
    // As runtimes name it: by a mount of its own. A way by another's process needs one right more (proc(5), "ptrace access mode").
    let netns = fabric.folder().join("h1/netns");
    fs::write(&netns, "").unwrap();
    let bind = || mount(Some(&container.namespace.path()), &netns, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    fabric.agent(1).unwrap().place().pins.as_ref().unwrap().run(bind).unwrap().unwrap();
    let call = |runtime: &Runtime, command| runtime.call(command, &container.id, &netns.display().to_string()).unwrap();
    let add = call(&runtime, "ADD");
    assert!(add.succeeded, "{}", add.output);
    assert!(call(&runtime.with("prevResult", add.output.clone()), "CHECK").succeeded);
    let node = fabric.agent(1).unwrap().namespace();
    node.ip(&format!("addr add 2001:db8::1/64 dev {UPLINK} nodad")).unwrap();
    for address in add.addresses() {
        let answered = || ping(node, address, Ping::default()).unwrap().outcome().is_answered().then_some(());
        wait::until("the node's ping is answered", LONG, answered).unwrap();
    }
    assert!(call(&runtime, "DEL").succeeded);
    let log = fabric.agent(1).unwrap().log();
    assert!(!log.contains("switch not set"), "{log}");
}
