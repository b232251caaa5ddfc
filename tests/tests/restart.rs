//! Promise 3: forwarding goes on while the agent restarts, is replaced or crashes, and while no controller is reachable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{net::SocketAddr, time::Duration};

use andromede_testkit::{
    FabricOptions,
    fabric::binary,
    traffic::{BackgroundPing, BackgroundStream, Sink},
    wait,
};
use andromede_tests::{
    Bundle, TwoTenants,
    bundle::port_name,
    dropped, dropped_more,
    scene::{both, v4, v6},
};
use nix::sys::signal::Signal;

/// From one ping to the next: what `ping -f` does where answers take a fraction of it.
const FLOOD: Duration = Duration::from_micros(500);

/// Runs `act` under pings across hosts and within one, in both families, and under two TCP streams; nothing may be lost.
fn nothing_is_lost(scene: &mut TwoTenants, act: impl FnOnce(&mut TwoTenants)) {
    let sink = Sink::start(scene.red_b.namespace(), 9000).unwrap();
    let (a, b) = (scene.red_a.namespace().clone(), scene.red_b.namespace().clone());
    let pings: Vec<(String, BackgroundPing)> = [(&a, v4(12)), (&a, v6(12)), (&a, v4(13)), (&b, v6(11))]
        .map(|(from, to)| (to.to_string(), BackgroundPing::start(from, to, FLOOD)))
        .into();
    let stream = BackgroundStream::start(&a, SocketAddr::new(v4(12), 9000));
    std::thread::sleep(Duration::from_millis(500));
    let before = sink.received();
    act(scene);
    std::thread::sleep(Duration::from_millis(500));
    assert!(sink.received() > before && !stream.ended(), "the stream goes on");
    for (to, ping) in pings {
        let report = ping.stop().unwrap();
        assert!(report.sent > 500, "{to}: {} sent", report.sent);
        assert!(report.lost.is_empty(), "{to}: {} of {} lost: {:?}", report.lost.len(), report.sent, report.lost);
        assert_eq!(report.duplicates, 0, "{to}");
        assert_eq!(report.send_errors, Vec::<String>::new(), "{to}");
    }
    let sent = stream.stop().unwrap();
    assert!(sent.same_bytes(&sink.report().unwrap()), "every byte arrived");
}

fn restart(scene: &mut TwoTenants, signal: Signal, pause: Duration) {
    for number in [1, 2] {
        scene.fabric.agent_mut(number).unwrap().stop(signal).unwrap();
    }
    std::thread::sleep(pause);
    for number in [1, 2] {
        scene.fabric.resume_agent(number).unwrap();
    }
    scene.fabric.wait_in_force().unwrap();
}

fn under_restarts(attachment: &'static str) {
    let options = FabricOptions { attachment, ..FabricOptions::default() };
    let mut scene = TwoTenants::start_with(options).unwrap();
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        nothing_is_lost(&mut scene, |scene| restart(scene, signal, Duration::from_millis(300)));
    }
    // A new build: another file that is the same program.
    let build = scene.fabric.folder().join("andromede-agent");
    std::fs::copy(binary("andromede-agent").unwrap(), &build).unwrap();
    nothing_is_lost(&mut scene, |scene| {
        scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGTERM).unwrap();
        scene.fabric.resume_agent_as(1, build).unwrap();
        scene.fabric.wait_in_force().unwrap();
    });
}

#[test]
fn agents_restart_under_traffic_with_tcx() {
    under_restarts("tcx");
}

#[test]
fn agents_restart_under_traffic_with_clsact() {
    under_restarts("clsact");
}

#[test]
fn rules_hold_while_the_agent_is_away_and_no_packet_passes_unjudged() {
    let bundle = |rules: &[&str]| {
        Bundle::hosts(2)
            .tenant("red", 4001)
            .group("red", "closed", &[])
            .group("red", "server", rules)
            .port("red", "a", 1, 11, &["closed"])
            .port("red", "b", 2, 12, &["server"])
    };
    let mut fabric = andromede_testkit::Fabric::start(FabricOptions::default()).unwrap();
    fabric.apply(bundle(&["{name: echo, direction: ingress, action: allow, protocol: icmp}"]).text()).unwrap();
    let a = fabric.attach(1, &port_name("red", "a")).unwrap();
    let b = fabric.attach(2, &port_name("red", "b")).unwrap();
    fabric.wait_in_force().unwrap();
    let allowed = BackgroundPing::start(a.namespace(), v4(12), FLOOD);
    let refused = [
        BackgroundPing::start(a.namespace(), v6(12), FLOOD),
        BackgroundPing::start(b.namespace(), v4(11), FLOOD),
        BackgroundPing::start(b.namespace(), v6(11), FLOOD),
    ];
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        for number in [1, 2] {
            fabric.agent_mut(number).unwrap().stop(signal).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            fabric.resume_agent(number).unwrap();
        }
    }
    fabric.wait_in_force().unwrap();
    let report = allowed.stop().unwrap();
    assert!(report.lost.is_empty() && report.sent > 500, "{:?} of {} lost", report.lost, report.sent);
    for ping in refused {
        let report = ping.stop().unwrap();
        assert_eq!(report.received(), 0, "{} of {} passed unjudged", report.received(), report.sent);
    }
}

#[test]
fn forwarding_goes_on_while_the_controller_is_away() {
    let mut scene = TwoTenants::start().unwrap();
    nothing_is_lost(&mut scene, |scene| {
        scene.fabric.control_mut().stop(Signal::SIGKILL).unwrap();
        std::thread::sleep(Duration::from_secs(1));
        scene.fabric.control_mut().restart().unwrap();
        scene.fabric.wait_in_force().unwrap();
    });
}

#[test]
fn an_agent_that_starts_while_the_controller_is_away_programs_its_host() {
    let mut scene = TwoTenants::start().unwrap();
    scene.fabric.control_mut().stop(Signal::SIGKILL).unwrap();
    nothing_is_lost(&mut scene, |scene| {
        scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGKILL).unwrap();
        scene.fabric.resume_agent(1).unwrap();
    });
    // As after a reboot: no program, no table and no interface is left, only what the agent stored.
    scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGTERM).unwrap();
    scene.fabric.forget_kernel_state(1).unwrap();
    scene.fabric.resume_agent(1).unwrap();
    let again = scene.fabric.attach(1, &port_name("red", "a")).unwrap();
    for to in both(12) {
        let outcome = again.ping(to).unwrap().outcome();
        assert!(outcome.is_answered(), "{to} after a reboot without a controller: {outcome:?}");
    }
}

#[test]
fn programs_that_somebody_takes_away_are_put_back() {
    let options = FabricOptions { attachment: "clsact", ..FabricOptions::default() };
    let scene = TwoTenants::start_with(options).unwrap();
    let h1 = scene.fabric.agent(1).unwrap().namespace();
    let devices = h1.exec("ip -o link show").unwrap();
    let devices = String::from_utf8_lossy(&devices.stdout).into_owned();
    let names =
        devices.lines().filter_map(|line| line.split(": ").nth(1)?.split('@').next()).filter(|name| *name != "lo");
    let mut taken = 0;
    for name in names {
        taken += u32::from(h1.exec(&format!("tc qdisc delete dev {name} clsact")).is_ok());
    }
    assert!(taken >= 4, "{taken} devices had filters: {devices}");
    let back = wait::until("traffic passes again", Duration::from_secs(10), || {
        let passes = both(12).into_iter().all(|to| scene.red_a.ping(to).unwrap().outcome().is_answered());
        (passes && scene.red_a.ping(v4(13)).unwrap().outcome().is_answered()).then_some(())
    });
    assert!(back.is_ok(), "{}", scene.fabric.logs());
    // Not only forwarding is back, the guard is as well.
    let before = dropped(&scene.fabric, "spoofed-source").unwrap();
    scene.red_a.namespace().ip("addr add 10.0.0.66/24 dev eth0").unwrap();
    scene.red_a.namespace().ip("route add 10.0.0.12/32 dev eth0 src 10.0.0.66").unwrap();
    assert!(!scene.red_a.ping(v4(12)).unwrap().outcome().is_answered(), "a forged source passes");
    dropped_more(&scene.fabric, "spoofed-source", before, 1).unwrap();
}

#[test]
fn a_port_that_is_deleted_or_detached_is_cut_off() {
    let scene = TwoTenants::start().unwrap();
    assert!(scene.red_a.ping(v4(12)).unwrap().outcome().is_answered());
    assert!(scene.blue_a.ping(v4(12)).unwrap().outcome().is_answered());
    scene.fabric.control().ctl(&["delete", &port_name("red", "b")]).unwrap();
    scene.fabric.wait_in_force().unwrap();
    for to in both(12) {
        assert!(!scene.red_a.ping(to).unwrap().outcome().is_answered(), "{to} answers although its port is gone");
    }
    assert!(!scene.red_b.ping(v4(11)).unwrap().outcome().is_answered(), "the deleted port still sends");
    assert!(scene.blue_a.ping(v4(12)).unwrap().outcome().is_answered(), "the other tenant is none the worse");
    scene.fabric.agent(1).unwrap().detach(&port_name("red", "c"), scene.fabric.control()).unwrap();
    assert!(!scene.red_a.ping(v4(13)).unwrap().outcome().is_answered(), "a detached workload answers");
}
