//! A host that was fenced is out: its peers take nothing of it and send it nothing, and its addresses are used again only once they all know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::time::Duration;

use andromede_testkit::{FabricOptions, traffic::BackgroundPing, wait};
use andromede_tests::{
    Bundle, TwoTenants,
    bundle::port_name,
    dropped, dropped_more,
    scene::{both, v4},
};
use nix::sys::signal::Signal;

const PATIENCE: Duration = Duration::from_secs(40);

/// `red/b` elsewhere.
fn moved(host: u8) -> String {
    Bundle::default().port("red", "b", host, 12, &["open"]).text().to_owned()
}

#[test]
fn nothing_of_a_fenced_host_is_taken_and_nothing_of_it_used_too_early() {
    let mut scene = TwoTenants::start_with(FabricOptions { hosts: 3, ..FabricOptions::default() }).unwrap();
    for to in both(11) {
        assert!(scene.red_b.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    let connected = BackgroundPing::start(scene.red_b.namespace(), v4(11), Duration::from_millis(20));

    // Host 1 hears nothing for a while: what is on host 2 stays there.
    scene.fabric.agent_mut(1).unwrap().stop(Signal::SIGTERM).unwrap();
    let fenced = scene.fabric.control().ctl(&["host", "fence", "h2"]).unwrap();
    assert!(fenced.contains("fenced") && fenced.contains("red/net/b"), "{fenced}");
    let waited = scene.fabric.control().run(&["status", "--wait=all", "--wait-timeout", "1s"], "").unwrap();
    assert!(!waited.status.success(), "host 1 does not know");
    let refused = scene.fabric.control().apply_refused(&moved(3)).unwrap();
    assert!(refused.contains("hosts/h1 have yet to apply"), "{refused}");
    let refused = scene.fabric.control().run(&["host", "remove", "h2", "--release"], "").unwrap();
    assert!(!refused.status.success());

    // It comes back: from then on host 2 is a stranger to it, connections that were there or not.
    let before = dropped(&scene.fabric, "unknown-sender").unwrap();
    scene.fabric.resume_agent(1).unwrap();
    scene.fabric.control().ctl(&["status", "--wait=all", "--wait-timeout", "40s"]).unwrap();
    for to in both(11) {
        assert!(!scene.red_b.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    dropped_more(&scene.fabric, "unknown-sender", before, 3).unwrap();
    assert!(!connected.stop().unwrap().lost.is_empty());
    for to in both(12) {
        assert!(!scene.red_a.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    // The two on host 1 have each other, as before.
    for to in both(13) {
        assert!(scene.red_a.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    // Its certificate opens nothing, whatever it tries.
    wait::until("host 2 is told", PATIENCE, || {
        scene.fabric.agent(2).unwrap().tail().contains("was fenced").then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", scene.fabric.logs()));

    // The address is used again, and the one who had it is not heard, however it calls.
    scene.fabric.control().apply(&moved(3)).unwrap();
    scene.fabric.control().wait_in_force(2, PATIENCE).unwrap();
    let again = scene.fabric.attach(3, &port_name("red", "b")).unwrap();
    scene.fabric.control().wait_in_force(2, PATIENCE).unwrap();
    for to in both(12) {
        assert!(scene.red_a.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    for to in both(11) {
        assert!(again.ping(to).unwrap().outcome().is_answered(), "{to}");
        assert!(!scene.red_b.ping(to).unwrap().outcome().is_answered(), "{to}");
    }
    // What is left of it goes with it.
    let removed = scene.fabric.control().ctl(&["host", "remove", "h2", "--release"]).unwrap();
    assert!(removed.contains("host hosts/h2 deleted") && removed.contains("blue/networks/net/ports/b"), "{removed}");
}
