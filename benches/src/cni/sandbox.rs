//! What a kubelet waits for: containerd makes the sandbox of a pod, by either plugin, in turns.

use std::{thread, time::Instant};

use andromede_testkit::Fabric;
use andromede_tests::{containerd::Containerd, cri::Wish};
use anyhow::Result;
use serde_json::Value;

use super::{CONFIGS, REST, milliseconds};

/// Milliseconds of each, in the order of [`CONFIGS`].
pub(super) fn measure(fabric: &Fabric, plugins: &[Value; 2], count: u16) -> Result<[Vec<f64>; 2]> {
    let list = |name: &str, plugin: &Value| {
        let mut plugin = plugin.clone();
        if let Some(fields) = plugin.as_object_mut() {
            // They belong to the list.
            fields.retain(|field, _| !["cniVersion", "name"].contains(&field.as_str()));
        }
        serde_json::json!({"cniVersion": "1.0.0", "name": name, "plugins": [plugin]})
    };
    let handlers: Vec<(&str, Value)> =
        CONFIGS.iter().zip(plugins).map(|(name, plugin)| (*name, list(name, plugin))).collect();
    let containerd = Containerd::start(fabric, 1, &handlers)?;
    let mut took = [Vec::new(), Vec::new()];
    for number in 0..count {
        for (handler, took) in CONFIGS.into_iter().zip(&mut took) {
            let name = format!("{handler}-{number}");
            let begun = Instant::now();
            let sandbox = containerd.cri().run(&Wish { name: &name, handler, ports: Vec::new() })?;
            took.push(milliseconds(begun.elapsed()));
            thread::sleep(REST);
            containerd.cri().remove(&sandbox)?;
            thread::sleep(REST);
        }
    }
    Ok(took)
}
