//! The program as its users run it: arguments and files in, text, JSON and an exit code out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod fake;

use fake::{
    Fake,
    run::{ask, json, run},
};

#[test]
fn apply_tells_every_change_and_waits_until_it_is_in_force() {
    let fake = Fake::default();
    let bundle = "kind: Tenant\nname: tenants/a\n---\nkind: Tenant\nname: tenants/b\ndisplayName: B\n";
    let done = ask(fake.serve(), &["apply", "-f", "-", "--wait"], bundle);
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(
        lines,
        [
            "tenant tenants/a created",
            "tenant tenants/b created",
            "revision 7: 2 created",
            "revision 7: in force on 2 of 3 hosts, 1 out of touch",
        ]
    );
    let log = fake.log.lock().unwrap();
    assert!(log[0].contains("validate_only: false") && log[0].contains("display_name: \"B\""), "{log:?}");
    assert_eq!(log.len(), 3, "it was asked until it was in force: {log:?}");
}

#[test]
fn waiting_for_all_hosts_names_those_out_of_touch() {
    let fake = Fake::default();
    let arguments = ["apply", "-f", "-", "--wait=all", "--wait-timeout", "1s"];
    let done = ask(fake.serve(), &arguments, "kind: Tenant\nname: tenants/a\n");
    assert_eq!(done.code, 1, "{done:?}");
    let expected = "revision 7: in force on 2 of 3 hosts, 1 out of touch after 1s\n  hosts/h3: applied 5, out of touch, heard of never";
    assert!(done.err.contains(expected), "{done:?}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let fake = Fake::default();
    let done = ask(fake.serve(), &["apply", "-f", "-", "--dry-run", "--wait"], "kind: Tenant\nname: tenants/a\n");
    assert!(done.out.ends_with("dry run, nothing was changed: 1 created\n"), "{done:?}");
    let log = fake.log.lock().unwrap();
    assert!(log.len() == 1 && log[0].contains("validate_only: true"), "{log:?}");
}

#[test]
fn a_refusal_names_file_document_and_field() {
    let fake = Fake::default();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.yaml");
    std::fs::write(&file, "kind: Tenant\nname: tenants/a\n---\nkind: Host\nname: hosts/h1\nunderlayAddress: x\n")
        .unwrap();
    let done = ask(fake.serve(), &["apply", "-f", file.to_str().unwrap()], "");
    assert_eq!(done.code, 1);
    let expected = format!(
        "{}, document 2 (Host hosts/h1): underlay_address: \"x\": an IPv4 address; write 192.0.2.1",
        file.display()
    );
    assert!(done.err.contains(&expected), "{}", done.err);
    assert_eq!(done.out, "");
}

#[test]
fn a_wrong_file_never_reaches_the_controller() {
    let fake = Fake::default();
    let done = ask(fake.serve(), &["apply", "-f", "-"], "kind: Tenant\nnaem: tenants/a\n");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("standard input, document 1 (Tenant): naem"), "{}", done.err);
    assert!(fake.log.lock().unwrap().is_empty());
}

#[test]
fn get_lists_and_filters_and_pages() {
    let controller = Fake::default().serve();
    let all = ask(controller, &["get", "po"], "");
    assert_eq!(all.code, 0, "{all:?}");
    assert!(all.out.starts_with("NETWORK"), "{}", all.out);
    assert_eq!(all.out.lines().count(), 4, "both pages: {}", all.out);
    let of_tenant = ask(controller, &["get", "ports", "--tenant", "mairie", "-o", "name"], "");
    assert_eq!(
        of_tenant.out,
        "tenants/mairie/networks/intranet/ports/web\ntenants/mairie/networks/intranet/ports/db\n"
    );
    let listed = json(&ask(controller, &["get", "ports", "-o", "json"], ""));
    assert_eq!(listed["ports"][0]["addresses"][0], "10.0.0.12");
    assert_eq!(listed["ports"][0]["revision"], "3", "canonical JSON writes 64-bit numbers as strings");
}

#[test]
fn names_may_be_short_where_that_is_clear() {
    let controller = Fake::default().serve();
    let db = json(&ask(controller, &["get", "port", "db", "-o", "json"], ""));
    assert_eq!(db["name"], "tenants/mairie/networks/intranet/ports/db");
    let web = json(&ask(controller, &["get", "port", "hopital/soins/web", "-o", "json"], ""));
    assert_eq!(web["name"], "tenants/hopital/networks/soins/ports/web");
    let whole = json(&ask(controller, &["get", "tenants/hopital/networks/soins/ports/web", "-o", "json"], ""));
    assert_eq!(whole, web);
    let unclear = ask(controller, &["get", "port", "web"], "");
    assert_eq!(unclear.code, 2, "{unclear:?}");
    assert!(unclear.err.contains("tenants/mairie") && unclear.err.contains("tenants/hopital"), "{}", unclear.err);
    assert_eq!(ask(controller, &["get", "port", "nobody"], "").code, 4);
    assert_eq!(ask(controller, &["get", "port", "mairie/intranet/nobody"], "").code, 4);
}

#[test]
fn yaml_can_be_applied_again() {
    let controller = Fake::default().serve();
    let yaml = ask(controller, &["get", "ports", "-o", "yaml"], "").out;
    assert_eq!(yaml.matches("kind: Port").count(), 3, "{yaml}");
    assert_eq!(yaml.matches("---").count(), 2, "{yaml}");
    assert!(yaml.starts_with("kind: Port\nname: tenants/mairie/networks/intranet/ports/web\naddresses:\n"), "{yaml}");
}

#[test]
fn delete_is_one_write() {
    let fake = Fake::default();
    let controller = fake.serve();
    let done = ask(controller, &["delete", "port", "db", "hopital/soins/web"], "");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("port tenants/mairie/networks/intranet/ports/db deleted\n"), "{}", done.out);
    assert!(done.out.ends_with("revision 7: 2 deleted\n"), "{}", done.out);
    assert_eq!(fake.log.lock().unwrap().iter().filter(|asked| asked.starts_with("ApplyRequest")).count(), 1);
    assert_eq!(ask(controller, &["delete", "port", "x/y/z"], "").code, 4);
    let passed_over = ask(controller, &["delete", "port", "x/y/z", "--ignore-not-found"], "");
    assert_eq!((passed_over.code, passed_over.out.as_str()), (0, "nothing to delete\n"));
    assert_eq!(ask(controller, &["delete", "port"], "").code, 2);
}

#[test]
fn a_bundle_is_deleted_whole_what_refers_first() {
    let fake = Fake::default();
    let bundle = "kind: Tenant\nname: tenants/a\n---\nkind: Port\nname: tenants/mairie/networks/intranet/ports/db\n";
    let done = ask(fake.serve(), &["delete", "-f", "-", "--dry-run"], bundle);
    assert_eq!(done.code, 0, "{done:?}");
    let asked = fake.log.lock().unwrap()[0].clone();
    assert!(asked.contains(r#"deleted: ["tenants/mairie/networks/intranet/ports/db", "tenants/a"]"#), "{asked}");
    assert!(asked.contains("validate_only: true"), "{asked}");
}

#[test]
fn status_compares_wanted_with_applied() {
    let controller = Fake::default().serve();
    let done = ask(controller, &["status"], "");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("h2     pending    7        6         1"), "{}", done.out);
    assert!(done.out.ends_with("revision 7: in force on 1 of 2 hosts\n"), "{}", done.out);
    let status = json(&ask(controller, &["status", "-o", "json"], ""));
    assert_eq!(status["hosts"][0]["connected"], true);
}

#[test]
fn drops_come_with_reason_and_rule() {
    let controller = Fake::default().serve();
    let done = ask(controller, &["drops"], "");
    assert_eq!(done.code, 0, "{done:?}");
    let lines: Vec<&str> = done.out.lines().collect();
    assert!(lines[1].contains("spoofed-source") && lines[1].ends_with("40"), "most first: {lines:?}");
    assert!(done.err.contains("hosts/h3 did not answer: not connected"), "{}", done.err);
    let recent = ask(controller, &["drops", "--recent"], "").out;
    assert!(recent.contains("tcp 10.0.0.11:0 > 10.0.0.13:80"), "{recent}");
    let one = json(&ask(controller, &["drops", "--reason", "ingress-rule", "-o", "json"], ""));
    assert_eq!(one["counts"].as_array().unwrap().len(), 1);
}

#[test]
fn the_log_of_rules_is_told_and_what_is_missing_in_it() {
    let controller = Fake::default().serve();
    let done = ask(controller, &["log"], "");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("deny      servers/ssh   tcp 10.0.0.11:49152 > 10.0.0.13:22"), "{}", done.out);
    assert_eq!(done.err, "17 events of mairie/intranet/db on h2 are missing: there were too many\n");
    let allowed = json(&ask(controller, &["log", "--verdict", "allow", "-o", "json"], ""));
    let rules: Vec<_> = allowed["events"].as_array().unwrap().iter().map(|event| &event["rule"]).collect();
    assert_eq!(rules, ["servers/sql"]);
    let none = ask(controller, &["log", "--rule", "servers/http"], "");
    assert_eq!(none.out, "no rule with `log` decided lately\n");
    assert_eq!(ask(controller, &["log", "-n", "other/net"], "").out, none.out, "another network's are not told");
}

#[test]
fn hits_are_summed_over_hosts() {
    let controller = Fake::default().serve();
    let done = ask(controller, &["hits"], "");
    let lines: Vec<Vec<&str>> = done.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[1..], [["mairie/intranet", "servers/r1024", "5"], ["mairie/intranet", "servers/r1025", "0"]]);
    let unused = ask(controller, &["hits", "--unused"], "").out;
    assert!(unused.contains("r1025") && !unused.contains("r1024"), "{unused}");
    let by_host = ask(controller, &["hits", "-o", "wide"], "").out;
    assert_eq!(by_host.lines().count(), 4, "{by_host}");
}

#[test]
fn trace_tells_the_walk() {
    let fake = Fake::default();
    let controller = fake.serve();
    let done = ask(controller, &["trace", "--from", "mairie/intranet/web", "--to", "db", "--dport", "80"], "");
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.out.contains("dropped: ingress-rule by default-ingress\nlook at: allow it\n"), "{}", done.out);
    assert!(!done.out.contains('\x1b'), "no colours into a pipe");
    let asked = fake.log.lock().unwrap().last().unwrap().clone();
    assert!(asked.contains("destination: \"10.0.0.13\"") && asked.contains("protocol: \"tcp\""), "{asked}");
    let as_documented = ["trace", "--port", "db", "--to", "fd00:10::1", "--proto", "udp", "--port-number", "53"];
    assert_eq!(ask(controller, &as_documented, "").code, 0);
    assert_eq!(ask(controller, &["trace", "--from", "db", "--to", "10.0.0.1", "--proto", "tcp"], "").code, 2);
}

#[test]
fn workloads_are_attached_through_the_agents_socket() {
    let fake = Fake::default();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    fake.serve_socket(&socket);
    let socket = socket.to_str().unwrap();
    let attached = run(&["host", "attach", "t/n/p", "--netns", "web", "--socket", socket], "");
    assert_eq!(attached.code, 0, "{attached:?}");
    assert!(attached.out.contains("mtu        1450"), "{}", attached.out);
    let asked = fake.log.lock().unwrap()[0].clone();
    assert!(asked.contains("tenants/t/networks/n/ports/p") && asked.contains("\"/run/netns/web\""), "{asked}");
    assert_eq!(run(&["host", "detach", "--port", "t/n/p", "--socket", socket], "").code, 0);
    let status = json(&run(&["host", "status", "--socket", socket, "-o", "json"], ""));
    assert_eq!(status["host"], "hosts/h1");
    let drops = run(&["host", "drops", "--port", "t/n/p", "--socket", socket], "");
    assert_eq!((drops.code, drops.out.as_str()), (0, "nothing was dropped\n"), "{drops:?}");
    assert_eq!(run(&["host", "flows", "--socket", socket], "").out, "no connections\n");
    let metrics = run(&["host", "metrics", "--socket", socket], "");
    assert!(metrics.out.contains("\nandromede_host_ports 1\n"), "{metrics:?}");
    assert_eq!(run(&["host", "log", "--socket", socket], "").out, "no rule with `log` decided lately\n");
    assert_eq!(run(&["host", "hits", "--socket", socket], "").out, "no rule is counted\n");
    assert_eq!(run(&["host", "drops", "--port", "p", "--socket", socket], "").code, 2, "which network?");
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let nobody = ["--controller", "http://127.0.0.1:1", "--insecure-plaintext"];
    assert_eq!(run(&[&nobody[..], &["status"]].concat(), "").code, 3);
    assert_eq!(run(&["host", "status", "--socket", "/nowhere/agent.sock"], "").code, 3);
    for usage in [
        &["get"][..],
        &["get", "routers"],
        &["status", "--controller", "http://192.0.2.1:7470", "--insecure-plaintext"],
        &["status", "--controller", "http://127.0.0.1:7470"],
        &["status", "--controller", "https://127.0.0.1"],
        &["status", "--controller", "https://127.0.0.1:7470"],
        &["apply"],
    ] {
        let done = run(usage, "");
        assert_eq!(done.code, 2, "{usage:?}: {done:?}");
        assert!(!done.err.is_empty());
    }
    assert_eq!(run(&["apply", "-f", "/nowhere.yaml"], "").code, 1);
}

#[test]
fn every_command_has_help_with_examples() {
    for command in [
        &["apply"][..],
        &["get"],
        &["describe"],
        &["delete"],
        &["status"],
        &["drops"],
        &["flows"],
        &["log"],
        &["hits"],
        &["trace"],
        &["host", "attach"],
        &["host", "detach"],
        &["host", "status"],
        &["host", "drops"],
        &["host", "flows"],
        &["host", "log"],
        &["host", "hits"],
        &["pki", "init"],
        &["pki", "issue"],
        &["pki", "show"],
        &["completion"],
    ] {
        let help = run(&[command, &["--help"]].concat(), "");
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Examples:\n  "), "{command:?}:\n{}", help.out);
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completion", shell], "").out.contains("andromedectl"), "{shell}");
    }
}

#[test]
fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let pki = folder.path().join("a/pki");
    let dir = pki.to_str().unwrap();
    assert_eq!(run(&["pki", "issue", "--dir", dir, "--role", "host", "--name", "h1"], "").code, 1, "no authority yet");
    assert_eq!(run(&["pki", "init", "--dir", dir], "").code, 0);
    assert_eq!(run(&["pki", "init", "--dir", dir], "").code, 1, "an authority is not replaced by accident");
    assert_eq!(run(&["pki", "issue", "--dir", dir, "--role", "host", "--name", "h1"], "").code, 0);
    assert_eq!(run(&["pki", "issue", "--dir", dir, "--role", "host", "--name", "h1", "--force"], "").code, 0);
    for name in ["H1", "1h", "a/b", "", "hosts/h1"] {
        let done = run(&["pki", "issue", "--dir", dir, "--role", "host", "--name", name], "");
        assert_eq!(done.code, 2, "{name:?}: {done:?}");
    }
    let mode = |name: &str| pki.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("host-h1.key"), mode("host-h1.pem")), (0o600, 0o600, 0o644));
    assert_eq!(std::fs::read_dir(&pki).unwrap().count(), 4, "nothing temporary is left");
    let shown = run(&["pki", "show", pki.join("host-h1.pem").to_str().unwrap()], "");
    assert!(shown.out.contains("for         host h1"), "{shown:?}");
}

#[test]
fn a_users_certificate_names_a_role_and_the_tenant_of_a_tenants_role() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_str().unwrap();
    assert_eq!(run(&["pki", "init", "--dir", dir], "").code, 0);
    let user = |arguments: &[&str]| run(&[&["pki", "user", "--dir", dir, "--force"], arguments].concat(), "");
    for (arguments, shown) in [
        (&["alice", "--role", "operator"][..], "operator alice"),
        (&["alice", "--role", "network-engineer"], "network-engineer alice"),
        (&["alice", "--role", "tenant-admin", "--tenant", "mairie"], "tenant-admin mairie/alice"),
        (&["alice", "--role", "tenant-reader", "--tenant", "mairie"], "tenant-reader mairie/alice"),
    ] {
        assert_eq!(user(arguments).code, 0, "{arguments:?}");
        let found = run(&["pki", "show", folder.path().join("user-alice.pem").to_str().unwrap()], "");
        assert!(found.out.contains(shown), "{found:?}");
    }
    for arguments in [
        &["alice"][..],
        &["alice", "--role", "root"],
        &["alice", "--role", "tenant-admin"],
        &["alice", "--role", "operator", "--tenant", "mairie"],
        &["alice", "--role", "tenant-admin", "--tenant", "tenants/mairie"],
        &["alice", "--role", "tenant-admin", "--tenant", "-"],
        &["a/b", "--role", "operator"],
    ] {
        assert_eq!(user(arguments).code, 2, "{arguments:?}");
    }
}

#[test]
fn the_example_is_a_bundle() {
    let fake = Fake::default();
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/two-tenants.yaml");
    let done = ask(fake.serve(), &["apply", "-f", example, "--dry-run"], "");
    // The fake refuses its hosts: what counts is that all of it was read and sent.
    assert_eq!(done.code, 1, "{done:?}");
    let log = fake.log.lock().unwrap();
    assert_eq!(log[0].matches("Resource {").count(), 23, "{}", log[0]);
}

#[test]
fn a_token_is_not_sent_where_others_can_read_it_and_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let fake = Fake::default();
    for (content, rule) in [("e30.e30.c2VjcmV0\n", "without TLS"), ("two\nlines", "without TLS")] {
        std::fs::write(&file, content).unwrap();
        let done = ask(fake.serve(), &["--token-file", file.to_str().unwrap(), "status"], "");
        assert!(done.code == 2 && done.err.contains(rule), "{done:?}");
        assert!(done.err.contains("chmod 600"), "{done:?}");
    }
    let tls = ["--tls-ca", "/dev/null", "--controller", "https://127.0.0.1:1", "--token-file", file.to_str().unwrap()];
    let done = run(&[&tls[..], &["status"]].concat(), "");
    assert!(done.code == 2 && done.err.contains("holds no token"), "{done:?}");
    std::fs::write(&file, "e30.e30.c2VjcmV0\n").unwrap();
    let done = run(&[&tls[..], &["--tls-cert", "x", "status"]].concat(), "");
    assert!(done.code == 2 && done.err.contains("leave one of them out"), "{done:?}");
    let done = run(&[&tls[..], &["status"]].concat(), "");
    assert!(done.code != 0 && !done.err.contains("missing"), "no certificate is needed: {done:?}");
    assert!(!format!("{done:?}").contains("c2VjcmV0"), "{done:?}");
    assert!(fake.log.lock().unwrap().is_empty());
}
