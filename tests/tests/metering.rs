//! What a bill says is what passed: every packet and byte once, whatever restarts in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use andromede_model::Day;
use andromede_testkit::{
    Fabric, FabricOptions, Workload,
    fabric::hosts_bundle,
    traffic::{Sink, send_segments, send_stream},
    wait,
};
use andromede_tests::{
    Bundle,
    bundle::{ANYTHING_IN, port_name},
    scene::{v4, v6},
};
use nix::sys::signal::Signal;

/// Packets, bytes and connections.
type Used = [u64; 3];

/// Places: what they are called in JSON, and the last part of the address that is behind them.
const PLACES: [(&str, u8); 3] =
    [("USAGE_PLACE_SAME_HOST", 13), ("USAGE_PLACE_SAME_ZONE", 12), ("USAGE_PLACE_OTHER_ZONE", 14)];

/// Two hosts in a zone and one in another. `a` and `c` are on h1, `b` on h2, `d` on h3.
struct Scene {
    a: Workload,
    others: [Workload; 3],
    fabric: Fabric,
    /// The test may go on until after midnight.
    since: String,
}

impl Scene {
    fn start() -> Self {
        let fabric = Fabric::start(FabricOptions { hosts: 3, ..FabricOptions::default() }).unwrap();
        let zone = |name: &str| format!("---\nkind: Zone\nname: zones/{name}\njurisdiction: FR\noperator: nuage\n");
        let hosts: Vec<String> = hosts_bundle(3).split("---\n").skip(1).map(str::to_owned).collect();
        let placed = hosts.iter().zip(["par1", "par1", "par2"]);
        let placed = placed.map(|(host, zone)| format!("---\n{host}zone: zones/{zone}\n"));
        let mut bundle = Bundle::default().with(&format!("{}{}", zone("par1"), zone("par2")).replacen("---\n", "", 1));
        for host in placed {
            bundle = bundle.with(host.trim_start_matches("---\n"));
        }
        let bundle = bundle
            .tenant("red", 4001)
            .group("red", "open", &[ANYTHING_IN])
            .port("red", "a", 1, 11, &["open"])
            .port("red", "b", 2, 12, &["open"])
            .port("red", "c", 1, 13, &["open"])
            .port("red", "d", 3, 14, &["open"]);
        fabric.apply(bundle.text()).unwrap();
        let attach = |host: u8, port: &str| fabric.attach(host, &port_name("red", port)).unwrap();
        let (a, others) = (attach(1, "a"), [attach(1, "c"), attach(2, "b"), attach(3, "d")]);
        fabric.wait_in_force().unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self { a, others, fabric, since: Day::of_unix_seconds(now).to_string() }
    }

    /// What the tenant used of each place, in the order of [`PLACES`].
    fn used(&self) -> [Used; 3] {
        let arguments = ["usage", "--tenant", "red", "--from", &self.since, "--to", "9999-12-31"];
        let answer = self.fabric.control().json(&arguments).unwrap();
        let records = answer["records"].as_array().cloned().unwrap_or_default();
        PLACES.map(|(place, _)| {
            let mut used = Used::default();
            for record in records.iter().filter(|record| record["place"] == place) {
                assert_eq!(record["network"], "tenants/red/networks/net");
                for (word, field) in used.iter_mut().zip(["packets", "bytes", "flows"]) {
                    *word += record[field].as_str().map_or(0, |number| number.parse::<u64>().unwrap());
                }
            }
            used
        })
    }

    /// Waits until all that is expected is told: hosts are asked at most twice a second.
    fn expect(&self, expected: [Used; 3], when: &str) {
        let told = wait::until("all is told", Duration::from_secs(10), || (self.used() == expected).then_some(()));
        assert!(told.is_ok(), "{when}: told {:?}, expected {expected:?}\n{}", self.used(), self.fabric.logs());
    }

    /// What is told once nothing more comes: a connection's last packets may be on their way, and answers are kept for half a second.
    fn settled(&self) -> [Used; 3] {
        let mut last = self.used();
        let told = wait::until("the counts stand still", Duration::from_secs(20), || {
            std::thread::sleep(Duration::from_millis(1_200));
            let before = std::mem::replace(&mut last, self.used());
            (before == last).then_some(last)
        });
        told.unwrap()
    }

    /// Datagrams by `UDP_SEGMENT` to every other port, in both families, and their acknowledgements; what they count to each place.
    fn datagrams(&self, port: u16) -> Used {
        let mut used = Used::default();
        for address in [v4 as fn(u8) -> IpAddr, v6] {
            for (other, (_, last)) in self.others.iter().zip(PLACES) {
                let to = SocketAddr::new(address(last), port);
                send_segments(self.a.namespace(), other.namespace(), to, 1_000, 400_000).unwrap();
            }
            // Ethernet, IP, UDP. A datagram of eight bytes acknowledges forty.
            let headers = if address(0).is_ipv4() { 14 + 20 + 8 } else { 14 + 40 + 8 };
            let sum = [400 + 10, 400 * (1_000 + headers) + 10 * (8 + headers), 1];
            used = std::array::from_fn(|word| used[word] + sum[word]);
        }
        used
    }
}

fn plus(one: [Used; 3], more: Used) -> [Used; 3] {
    one.map(|used| std::array::from_fn(|word| used[word] + more[word]))
}

/// What every segment of a stream costs the same: no options but timestamps, nothing sent again to probe.
fn plain_tcp(workload: &Workload) {
    for switch in ["tcp_sack", "tcp_early_retrans"] {
        let path = format!("/proc/sys/net/ipv4/{switch}");
        workload.namespace().run(|| std::fs::write(&path, "0")).unwrap().unwrap();
    }
}

/// Segments that the namespace sent again, since it was made (`RetransSegs`, RFC 4022).
fn sent_again(workload: &Workload) -> u64 {
    let text = workload.namespace().run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let found = names.split(' ').zip(numbers.split(' ')).find(|(name, _)| *name == "RetransSegs");
    found.unwrap().1.parse().unwrap()
}

/// A stream from `a`, cut into segments somewhere below the stack; what is told after it.
/// What is sent again is sent and counted, but nobody says how long it was: such a stream is followed by another.
fn stream(scene: &Scene, place: usize) -> [Used; 3] {
    const BYTES: u64 = 4_000_000;
    let (to, (_, last)) = (&scene.others[place], PLACES[place]);
    for _ in 0..5 {
        let before = scene.settled();
        let again = [&scene.a, to].map(sent_again);
        let sink = Sink::start(to.namespace(), 9000).unwrap();
        send_stream(scene.a.namespace(), SocketAddr::new(v4(last), 9000), BYTES).unwrap();
        sink.report().unwrap();
        drop(sink);
        let after = scene.settled();
        if [&scene.a, to].map(sent_again) != again {
            continue;
        }
        let [packets, bytes, flows]: Used = std::array::from_fn(|word| after[place][word] - before[place][word]);
        // Ethernet, IPv4, TCP with timestamps; both SYNs have eight bytes more. One byte is answered.
        assert_eq!(bytes, BYTES + 1 + packets * (14 + 20 + 32) + 2 * 8, "{packets} packets");
        assert!(packets > BYTES / 1_500 && flows == 1, "{packets} packets, {flows} connections");
        return after;
    }
    panic!("segments of five streams were sent again");
}

#[test]
fn a_bill_says_what_passed_over_restarts() {
    let mut scene = Scene::start();
    assert_eq!(scene.used(), [Used::default(); 3], "attaching and address resolution cost nothing");
    let once = scene.datagrams(7001);
    let mut expected = plus([Used::default(); 3], once);
    scene.expect(expected, "at first");
    // What passes while no agent is there, and was told by the one before, is counted once.
    scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
    let again = scene.datagrams(7002);
    expected = plus(expected, again);
    scene.fabric.resume_agent(1).unwrap();
    scene.fabric.wait_in_force().unwrap();
    scene.expect(expected, "after an agent was killed");
    // A controller that begins anew has what it had, and asks for the rest.
    scene.fabric.control_mut().stop(Signal::SIGKILL).unwrap();
    let meanwhile = scene.datagrams(7003);
    expected = plus(expected, meanwhile);
    scene.fabric.control_mut().restart().unwrap();
    scene.fabric.wait_in_force().unwrap();
    scene.expect(expected, "after the controller was killed");
    scene.others.iter().chain([&scene.a]).for_each(plain_tcp);
    for place in 0..PLACES.len() {
        expected = stream(&scene, place);
    }
    // A tenant's reader is told the same of its own, and nothing of others.
    scene.fabric.control().user("reader", &["--role", "tenant-reader", "--tenant", "red"]).unwrap();
    let ask = |tenant: &str| {
        let mut command = scene.fabric.control().command_as("user", "reader").unwrap();
        command.args(["usage", "--tenant", tenant, "-o", "csv"]).output().unwrap()
    };
    let own = String::from_utf8(ask("red").stdout).unwrap();
    let [packets, bytes, flows] = expected[2];
    let line = format!(",tenants/red,tenants/red/networks/net,other-zone,{packets},{bytes},{flows}");
    assert!(own.lines().any(|found| found.ends_with(&line)), "{own}\n{line}");
    assert!(!ask("blue").status.success());
}
