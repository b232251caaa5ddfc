//! Rules tell what they decide: `andromedectl log` and `hits`, on real hosts, under floods, over restarts, and to whom it concerns.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    fabric::INTERFACE,
    packet::Ends,
    process::{Lifetime, Process},
    raw::RawSocket,
    traffic::{Responder, tcp_probe, udp_probe},
    wait,
};
use andromede_tests::{
    Bundle,
    bundle::{group_name, port_name},
    scene::v4,
};
use nix::sys::signal::Signal;
use serde_json::Value;

const SHORT: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);
/// What ports may tell in a second, and at once.
const OF_PORT: u64 = 100;

const OUT: &str = "{name: out, direction: egress, action: allow, log: true}";
const WEB: &str = "{name: web, direction: ingress, action: allow, protocol: tcp, ports: ['80'], log: true}";
const SSH: &str = "{name: ssh, direction: ingress, action: deny, protocol: tcp, ports: ['22'], log: true}";
const NOISE: &str = "{name: noise, direction: ingress, action: deny, protocol: udp, ports: ['53'], log: true}";
const OPEN: &str = "{name: open, direction: ingress, action: allow, protocol: udp, ports: ['5000'], log: true}";
const QUIET: &str = "{name: quiet, direction: ingress, action: allow, protocol: tcp, ports: ['443']}";

/// A client on h1; a server and another port of the same groups on h2; and a tenant that has nothing to do with them.
struct Scene {
    client: Workload,
    server: Workload,
    other: Workload,
    _responder: Responder,
    fabric: Fabric,
}

fn bundle(server: &[&str]) -> Bundle {
    Bundle::hosts(2)
        .tenant("red", 4001)
        .group("red", "client", &[OUT])
        .group("red", "server", server)
        .port("red", "client", 1, 11, &["client"])
        .port("red", "server", 2, 12, &["server"])
        .port("red", "other", 2, 13, &["server"])
        .tenant("blue", 4002)
        .group("blue", "server", server)
        .port("blue", "server", 2, 12, &["server"])
}

impl Scene {
    fn start(server: &[&str]) -> Self {
        let fabric = Fabric::start(FabricOptions::default()).unwrap();
        fabric.apply(bundle(server).text()).unwrap();
        let attach = |host, port| fabric.attach(host, &port_name("red", port)).unwrap();
        let (client, server, other) = (attach(1, "client"), attach(2, "server"), attach(2, "other"));
        fabric.wait_in_force().unwrap();
        let responder = Responder::start(server.namespace(), "server", &[80, 443], &[]).unwrap();
        Self { client, server, other, _responder: responder, fabric }
    }

    fn ask(&self, last: u8, port: u16, limit: Duration) -> bool {
        let to = SocketAddr::new(v4(last), port);
        tcp_probe(self.client.namespace(), to, limit).unwrap().answered_by("server")
    }

    fn dial(&self, last: u8, port: u16) -> bool {
        self.ask(last, port, PATIENCE)
    }

    fn no_answer(&self, last: u8, port: u16) -> bool {
        !self.ask(last, port, SHORT)
    }

    /// Sends so many datagrams to a port of a workload, each from a port of its own.
    fn flood(&self, to: &Workload, last: u8, port: u16, count: u64) {
        let socket = RawSocket::open(self.client.namespace(), INTERFACE, true).unwrap();
        let ends = Ends::new((self.client.mac().unwrap(), v4(11)), (to.mac().unwrap(), v4(last)));
        for number in 0..count {
            socket.send(&ends.udp(10_000 + number as u16, port, b"noise")).unwrap();
        }
    }

    /// Events of a rule at a port, as `log -o json` tells them.
    fn events(&self, port: &str, rule: &str) -> Vec<Value> {
        let port = port_name("red", port);
        let told = self.fabric.control().json(&["log", "--port", &port, "--rule", rule]).unwrap();
        told.get("events").and_then(Value::as_array).cloned().unwrap_or_default()
    }

    /// Waits until a rule has told so many events at a port.
    fn told(&self, port: &str, rule: &str, count: usize) -> Vec<Value> {
        let mut last = Vec::new();
        let reached = wait::until("the events are told", PATIENCE, || {
            last = self.events(port, rule);
            (last.len() >= count).then_some(())
        });
        reached.unwrap_or_else(|error| panic!("{rule} at {port}: {error:#}; {last:?}"));
        last
    }

    /// What `hits -o json` tells of a rule of the server's group, by host.
    fn counts(&self, rule: &str) -> Vec<Value> {
        let told = self.fabric.control().json(&["hits", "--group", &group_name("red", "server")]).unwrap();
        let rules = told.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
        rules.into_iter().filter(|hits| hits["rule"] == format!("server/{rule}")).collect()
    }

    /// Hits of a rule of the server's group on all hosts; none if it is not counted.
    fn hits(&self, rule: &str) -> Option<u64> {
        let counts = self.counts(rule);
        (!counts.is_empty()).then(|| counts.iter().map(|it| number(it.get("hits"))).sum())
    }

    /// The number of a rule of the server's group that is counted on one host.
    fn number_of(&self, rule: &str) -> u64 {
        let counts = self.counts(rule);
        assert_eq!(counts.len(), 1, "{counts:?}");
        number(counts[0].get("ruleNumber"))
    }

    /// Waits until a rule has so many hits.
    fn counted(&self, rule: &str, count: u64) {
        let mut last = None;
        let reached = wait::until("the hits are counted", PATIENCE, || {
            last = self.hits(rule);
            (last == Some(count)).then_some(())
        });
        reached.unwrap_or_else(|error| panic!("{rule}: {error:#}; {last:?}"));
    }

    /// Events of a port's rules that were not told.
    fn lost(&self, port: &str) -> u64 {
        let told = self.fabric.control().json(&["log", "--port", &port_name("red", port)]).unwrap();
        let lost = told.get("lost").and_then(Value::as_array).cloned().unwrap_or_default();
        lost.iter().map(|lost| number(lost.get("events"))).sum()
    }

    /// What a user of a tenant is told.
    fn as_tenant(&self, user: &str, arguments: &[&str]) -> Value {
        let mut command = self.fabric.control().command_as("user", user).unwrap();
        let output = command.args(arguments).args(["-o", "json"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The JSON form of a 64-bit number is a string; what is 0 is left out.
fn number(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::String(text)) => text.parse().unwrap(),
        Some(other) => other.as_u64().unwrap(),
        None => 0,
    }
}

#[test]
fn a_rule_tells_what_it_lets_in_and_what_it_refuses() {
    let scene = Scene::start(&[WEB, SSH, QUIET]);
    assert!(scene.dial(12, 80) && scene.dial(12, 443) && scene.no_answer(12, 22));
    let web = scene.told("server", "server/web", 1);
    let [event] = web.as_slice() else { panic!("one connection is one event: {web:?}") };
    let text = |field: &str| event[field].as_str().unwrap_or_default();
    assert_eq!((text("host"), text("direction"), text("action")), ("hosts/h2", "DIRECTION_INGRESS", "ACTION_ALLOW"));
    assert_eq!((text("source"), text("destination")), ("10.0.0.11", "10.0.0.12"));
    assert_eq!((event["protocol"].as_u64(), event["destinationPort"].as_u64()), (Some(6), Some(80)));
    assert_eq!(
        (text("owner"), text("port")),
        (group_name("red", "server").as_str(), port_name("red", "server").as_str())
    );
    assert!(number(event.get("connection")) != 0 && number(event.get("timeUnixNanos")) > 0);
    let ssh = scene.told("server", "ssh", 1);
    assert!(ssh.iter().all(|event| event["action"] == "ACTION_DENY" && event["destinationPort"] == 22), "{ssh:?}");
    assert!(scene.events("server", "quiet").is_empty(), "a rule that does not say `log` tells nothing");
    let out = scene.told("client", "client/out", 3);
    assert!(out.iter().all(|event| event["host"] == "hosts/h1" && event["direction"] == "DIRECTION_EGRESS"), "{out:?}");
    scene.counted("web", 1);
    scene.counted("quiet", 1);
    assert_eq!(scene.hits("ssh"), Some(ssh.len() as u64), "each refused packet is a hit and an event");
    let page = scene.fabric.control().ctl(&["describe", "sg", &group_name("red", "server")]).unwrap();
    let line = page.lines().find(|line| line.contains("server/web")).unwrap();
    assert!(page.contains("HITS") && line.trim_end().ends_with('1'), "{page}");
}

#[test]
fn who_follows_the_log_is_told_each_event_once() {
    let scene = Scene::start(&[WEB, SSH]);
    assert!(scene.dial(12, 80));
    scene.told("server", "web", 1);
    let mut command = scene.fabric.control().command_as("user", "admin").unwrap();
    command.args(["log", "-f", "--port", &port_name("red", "server"), "-o", "json"]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut follower = Process::start_for(command, &path, Lifetime::Parent).unwrap();
    let told = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let wait_for = |count: usize| {
        let reached = wait::until("the events are followed", PATIENCE, || (told().len() >= count).then_some(()));
        reached.unwrap_or_else(|error| panic!("{error:#}: {:?}", told()));
    };
    wait_for(1);
    assert!(scene.dial(12, 80));
    wait_for(2);
    assert!(!scene.dial(12, 22));
    let refused = scene.told("server", "ssh", 1).len();
    wait_for(2 + refused);
    std::thread::sleep(Duration::from_millis(2_500));
    follower.end(Signal::SIGTERM).unwrap();
    let told = told();
    let mut numbers: Vec<u64> = told.iter().map(|event| number(event.get("sequence"))).collect();
    assert!(numbers.is_sorted(), "{told:?}");
    numbers.dedup();
    assert_eq!(numbers.len(), told.len(), "each once: {told:?}");
    assert_eq!(told.iter().filter(|event| event["rule"] == "server/web").count(), 2);
}

#[test]
fn a_count_goes_on_while_its_rule_is_there_and_ends_with_it() {
    let mut scene = Scene::start(&[WEB, SSH]);
    assert!(scene.dial(12, 80));
    scene.counted("web", 1);
    let before = scene.number_of("web");
    assert!(before >= 1024, "below are the numbers that say what no rule decides");
    // Other rules come and go, the order changes, controller and agent begin anew.
    scene.fabric.apply(bundle(&[QUIET, SSH, NOISE, WEB]).text()).unwrap();
    scene.fabric.control_mut().restart().unwrap();
    scene.fabric.apply(bundle(&[NOISE, WEB, QUIET]).text()).unwrap();
    scene.fabric.wait_in_force().unwrap();
    scene.fabric.agent_mut(2).unwrap().stop(Signal::SIGKILL).unwrap();
    assert!(scene.dial(12, 80), "what happens without an agent is counted too");
    scene.fabric.resume_agent(2).unwrap();
    scene.fabric.wait_in_force().unwrap();
    scene.counted("web", 2);
    assert!(scene.dial(12, 80));
    scene.counted("web", 3);
    assert_eq!(scene.number_of("web"), before, "the rule is the same");
    let told = scene.told("server", "server/web", 1);
    assert!(told.iter().all(|event| number(event.get("ruleNumber")) == before), "{told:?}");
    // The rule goes, and comes again: it is another.
    scene.fabric.apply(bundle(&[SSH]).text()).unwrap();
    scene.fabric.wait_in_force().unwrap();
    assert!(scene.no_answer(12, 80));
    assert_eq!(scene.hits("web"), None);
    scene.fabric.apply(bundle(&[SSH, WEB]).text()).unwrap();
    scene.fabric.wait_in_force().unwrap();
    assert!(scene.dial(12, 80));
    scene.counted("web", 1);
    assert!(scene.number_of("web") > before, "no number is used again");
}

#[test]
fn a_flood_is_counted_to_the_last_and_takes_nothing_from_the_log_of_others() {
    // All of them together stay below what the sender may have half-open.
    const FLOOD: u64 = 1_500;
    let scene = Scene::start(&[WEB, SSH, NOISE, OPEN]);
    scene.flood(&scene.server, 12, 53, FLOOD);
    scene.counted("noise", FLOOD);
    let told = scene.events("server", "noise").len() as u64;
    let lost = scene.lost("server");
    assert!(lost > 0 && lost <= FLOOD - OF_PORT, "{lost} of {FLOOD} were too many");
    assert!(told >= OF_PORT && told <= FLOOD - lost, "{told} told, {lost} lost");
    // In the same moments the other port of the host tells what concerns it.
    scene.flood(&scene.server, 12, 53, 500);
    udp_probe(scene.client.namespace(), SocketAddr::new(v4(13), 53), SHORT).unwrap();
    scene.told("other", "noise", 1);
    assert_eq!(scene.lost("other"), 0);
    // Neither does a flood of what is refused silently keep a rule from telling, nor a flood that rules let in keep a drop from it.
    std::thread::sleep(Duration::from_secs(2));
    scene.flood(&scene.other, 13, 9_999, FLOOD);
    assert!(scene.no_answer(13, 22));
    scene.told("other", "ssh", 1);
    std::thread::sleep(Duration::from_secs(2));
    scene.flood(&scene.server, 12, 5_000, FLOOD);
    let forged = Ends::new((scene.server.mac().unwrap(), v4(66)), (scene.client.mac().unwrap(), v4(11)));
    let socket = RawSocket::open(scene.server.namespace(), INTERFACE, true).unwrap();
    socket.send(&forged.udp(1, 2, b"forged")).unwrap();
    let port = port_name("red", "server");
    let dropped = wait::until("the drop is told", PATIENCE, || {
        let drops = scene.fabric.control().json(&["drops", "--port", &port]).ok()?;
        let recent = drops.get("recent").and_then(Value::as_array).cloned().unwrap_or_default();
        recent.iter().any(|event| event["reason"] == "spoofed-source").then_some(())
    });
    dropped.unwrap();
}

#[test]
fn a_tenant_is_told_of_its_own_rules_and_of_nobody_elses() {
    const LAW: &str = "kind: OperatorPolicy\nname: operatorPolicies/law\nrules:\n  \
        - {name: no-smtp, direction: egress, action: deny, protocol: tcp, ports: ['25'], log: true}\n";
    let scene = Scene::start(&[WEB, SSH]);
    scene.fabric.apply(LAW).unwrap();
    scene.fabric.wait_in_force().unwrap();
    for tenant in ["red", "blue"] {
        scene.fabric.control().user(tenant, &["--role", "tenant-reader", "--tenant", tenant]).unwrap();
    }
    assert!(scene.dial(12, 80) && scene.no_answer(12, 25));
    scene.told("client", "law/no-smtp", 1);
    scene.told("server", "web", 1);
    let rules = |told: &Value, list: &str| {
        let all = told.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().map(|it| it["rule"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let red = rules(&scene.as_tenant("red", &["log"]), "events");
    assert!(red.contains(&"server/web".to_owned()) && red.contains(&"client/out".to_owned()), "{red:?}");
    assert!(!red.contains(&"law/no-smtp".to_owned()), "the operator's rules are not told to tenants: {red:?}");
    assert_eq!(rules(&scene.as_tenant("blue", &["log"]), "events"), [""; 0]);
    let red = rules(&scene.as_tenant("red", &["hits"]), "rules");
    assert!(red.contains(&"server/web".to_owned()) && !red.contains(&"law/no-smtp".to_owned()), "{red:?}");
    // Another tenant's port, group and hosts are not there.
    let of_red = group_name("red", "server");
    for arguments in
        [&["log", "--port", &port_name("red", "server")][..], &["hits", "--group", &of_red], &["log", "--host", "h1"]]
    {
        let output = scene.fabric.control().command_as("user", "blue").unwrap().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(4), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
