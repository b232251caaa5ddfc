//! How many packets were dropped, and why.

use std::time::Duration;

use andromede_testkit::{Fabric, wait};
use anyhow::{Context as _, Result};
use serde_json::Value;

/// How long counters may take to be told.
const PATIENCE: Duration = Duration::from_secs(20);

/// Packets dropped for a reason so far, on all hosts.
pub fn dropped(fabric: &Fabric, reason: &str) -> Result<u64> {
    let drops = fabric.control().json(&["drops"])?;
    let counts = drops.get("counts").and_then(Value::as_array).into_iter().flatten();
    let of_reason = counts.filter(|count| count.get("reason").and_then(Value::as_str) == Some(reason));
    // The JSON form of a 64-bit number is a string.
    let packets = |count: &Value| match count.get("packets") {
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        Some(number) => number.as_u64().unwrap_or(0),
        None => 0,
    };
    Ok(of_reason.map(packets).sum())
}

/// Waits until at least `more` packets beyond `before` were dropped for a reason.
pub fn dropped_more(fabric: &Fabric, reason: &str, before: u64, more: u64) -> Result<()> {
    let mut last = String::new();
    let reached = wait::until("the drop is counted", PATIENCE, || {
        last = dropped(fabric, reason).map_or_else(|error| format!("{error:#}"), |count| count.to_string());
        last.parse::<u64>().is_ok_and(|count| count >= before + more).then_some(())
    });
    let told =
        || format!("{reason}: {before} before, then {last}; the drops are {:?}", fabric.control().ctl(&["drops"]));
    reached.with_context(told)
}

/// Reasons that say: there was no room or no budget for it.
const STARVED: [&str; 6] =
    ["flows-inbound", "flows-outbound", "half-open", "new-flow-rate", "tenant-flows", "flow-table-full"];

/// Packets of a tenant's ports that were dropped because of a budget of connections, or for want of room: one entry for each port and
/// reason, as `drops -o json` tells it.
pub fn starved(fabric: &Fabric, tenant: &str) -> Result<Vec<Value>> {
    let drops = fabric.control().json(&["drops"])?;
    let counts = drops.get("counts").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |count: &Value, field: &str| count.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let of_tenant = |count: &Value| text(count, "port").starts_with(&format!("tenants/{tenant}/"));
    let starved = |count: &Value| STARVED.contains(&text(count, "reason").as_str());
    Ok(counts.into_iter().filter(|count| of_tenant(count) && starved(count)).collect())
}
