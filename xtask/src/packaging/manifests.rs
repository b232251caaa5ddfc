//! Tests of the manifests for clusters.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs};

use serde::Deserialize as _;
use serde_json::Value;

use crate::workspace;

/// Every object of every manifest.
fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(workspace::root().join("packaging/kubernetes")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for document in serde_norway::Deserializer::from_str(&text) {
            objects.push(Value::deserialize(document).unwrap());
        }
    }
    objects
}

fn object(kind: &str, name: &str) -> Value {
    let is = |object: &Value| object["kind"] == kind && object["metadata"]["name"] == name;
    objects().into_iter().find(is).unwrap()
}

fn strings(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Containers of a daemon set or deployment, those that run first among them.
fn containers(object: &Value) -> Vec<&Value> {
    let pod = &object["spec"]["template"]["spec"];
    ["initContainers", "containers"].into_iter().flat_map(|kind| pod[kind].as_array().into_iter().flatten()).collect()
}

#[test]
fn every_object_says_what_it_is_and_is_there_once() {
    let mut seen = BTreeSet::new();
    for object in objects() {
        let part = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (version, kind, name) = (part("/apiVersion"), part("/kind"), part("/metadata/name"));
        assert!(!version.is_empty() && !kind.is_empty() && !name.is_empty(), "{object}");
        assert!(seen.insert((kind, part("/metadata/namespace"), name)), "twice: {object}");
        // What a selector chooses is what the template makes.
        if let Some(chosen) = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object) {
            let labels = &object["spec"]["template"]["metadata"]["labels"];
            assert!(chosen.iter().all(|(key, value)| labels[key] == *value), "{object}");
        }
    }
}

#[test]
fn containers_are_this_version_may_little_and_mount_what_there_is() {
    let image = format!("localhost/andromede:{}", env!("CARGO_PKG_VERSION"));
    let made = [
        ("DaemonSet", "andromede-agent"),
        ("Deployment", "andromede-controller"),
        ("Deployment", "andromede-operator"),
    ];
    for (kind, name) in made {
        let object = object(kind, name);
        let pod = &object["spec"]["template"]["spec"];
        let named = |value: &Value| value["name"].as_str().map(str::to_owned);
        let volumes: BTreeSet<String> = pod["volumes"].as_array().unwrap().iter().filter_map(named).collect();
        let mut mounted = BTreeSet::new();
        for container in containers(&object) {
            assert_eq!(container["image"], image.as_str());
            let rights = &container["securityContext"];
            assert_eq!(rights["readOnlyRootFilesystem"], true, "{container}");
            assert_eq!(rights["allowPrivilegeEscalation"], false, "{container}");
            assert_eq!(strings(&rights["capabilities"]["drop"]), BTreeSet::from(["ALL"]), "{container}");
            assert!(rights["privileged"].is_null() && container["resources"]["limits"]["memory"].is_string());
            mounted.extend(container["volumeMounts"].as_array().unwrap().iter().filter_map(named));
            let program =
                strings(&container["command"]).into_iter().find(|word| word.starts_with("/usr/bin/")).unwrap();
            assert!(super::programs::Programs::names().any(|name| program.ends_with(name)), "{program}");
        }
        assert_eq!(mounted, volumes, "every volume is mounted, and every mount has one");
    }
}

#[test]
fn the_agent_has_the_rights_of_its_unit_and_every_node_has_one() {
    let daemon = object("DaemonSet", "andromede-agent");
    let unit = fs::read_to_string(workspace::root().join("packaging/systemd/andromede-agent.service")).unwrap();
    let unit = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap().to_owned();
    let agent = containers(&daemon).into_iter().find(|container| container["name"] == "agent").unwrap();
    let added = strings(&agent["securityContext"]["capabilities"]["add"]);
    assert_eq!(added, unit.split(' ').filter_map(|capability| capability.strip_prefix("CAP_")).collect());
    let pod = &daemon["spec"]["template"]["spec"];
    assert_eq!((&pod["hostNetwork"], &pod["tolerations"][0]["operator"]), (&true.into(), &"Exists".into()));
    assert_eq!(pod["priorityClassName"], "system-node-critical");
    let propagated = |mount: &&Value| mount["mountPropagation"] == "HostToContainer";
    let netns = agent["volumeMounts"].as_array().unwrap().iter().find(propagated).unwrap();
    assert_eq!(netns["mountPath"], "/run/netns");
}

#[test]
fn the_list_of_configurations_is_put_in_place_by_the_plugin_itself() {
    let daemon = object("DaemonSet", "andromede-agent");
    let install = &daemon["spec"]["template"]["spec"]["initContainers"][0];
    let words: Vec<&str> = ["command", "args"]
        .into_iter()
        .flat_map(|key| install[key].as_array().unwrap())
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(words.get(..2), Some(["/usr/bin/andromede-cni", "install"].as_slice()));
    let list = words.iter().position(|word| *word == "--conflist").and_then(|place| words.get(place + 1)).unwrap();
    let name = list.rsplit('/').next().unwrap();
    let list = object("ConfigMap", "andromede-cni")["data"][name].clone();
    let list: Value = serde_json::from_str(list.as_str().unwrap()).unwrap();
    assert_eq!(list["plugins"][0]["type"], "andromede-cni");
}
