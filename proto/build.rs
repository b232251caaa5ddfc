//! Generates the messages and services from the schema, without protoc.

use std::{env, error::Error, path::PathBuf};

const SCHEMA: [&str; 22] = [
    "andromede/v1/places.proto",
    "andromede/v1/resources.proto",
    "andromede/v1/methods.proto",
    "andromede/v1/tenant_service.proto",
    "andromede/v1/network_service.proto",
    "andromede/v1/subnet_service.proto",
    "andromede/v1/port_service.proto",
    "andromede/v1/security_group_service.proto",
    "andromede/v1/prefix_list_service.proto",
    "andromede/v1/operator_policy_service.proto",
    "andromede/v1/zone_service.proto",
    "andromede/v1/host_service.proto",
    "andromede/v1/vtep_service.proto",
    "andromede/v1/fabric_service.proto",
    "andromede/v1/history_service.proto",
    "andromede/v1/diagnostics_service.proto",
    "andromede/v1/join_token_service.proto",
    "andromede/v1/usage_service.proto",
    "andromede/agent/v1/agent.proto",
    "andromede/agent/v1/join.proto",
    "andromede/local/v1/local.proto",
    "andromede/local/v1/pods.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    for file in SCHEMA {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(SCHEMA, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&descriptors))?;
    let mut config = tonic_prost_build::Config::new();
    // Messages know their full names: `json` looks them up in the schema.
    config.enable_type_names();
    // In order, so that a message has one encoding: requests are compared by it.
    config.btree_map([".andromede.v1"]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}
