//! An image for containers, made by hand: one layer with a static busybox, in an archive of the Open Container Initiative's layout.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// Its name.
pub const NAME: &str = "localhost/andromede/box:1";

/// Program of the image: it does all that a test needs by its first argument.
pub const BUSYBOX: &str = "/bin/busybox";

/// What the image runs if nothing else is asked for.
const ENTRY: [&str; 3] = [BUSYBOX, "sleep", "3600"];

/// Writes the archive, with a folder beside it for its parts.
pub fn write(folder: &Path, archive: &Path) -> Result<()> {
    let (tree, layout) = (folder.join("tree"), folder.join("layout"));
    for part in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(tree.join(part))?;
    }
    let blobs = layout.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let busybox = andromede_testkit::requires::find_tool("busybox").context("busybox is not on the path")?;
    fs::copy(&busybox, tree.join("bin/busybox"))?;
    let layer = folder.join("layer.tar");
    pack(&tree, &layer)?;

    let put = |content: &[u8], kind: &str| -> Result<Value> {
        let digest = Sha256::digest(content).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
        fs::write(blobs.join(&digest), content)?;
        let media = format!("application/vnd.oci.image.{kind}");
        Ok(json!({"mediaType": media, "digest": format!("sha256:{digest}"), "size": content.len()}))
    };
    let layer = put(&fs::read(&layer)?, "layer.v1.tar")?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    let config = json!({"architecture": architecture, "os": "linux", "config": {"Entrypoint": ENTRY, "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
    let config = put(config.to_string().as_bytes(), "config.v1+json")?;
    let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config, "layers": [layer]});
    let mut manifest = put(manifest.to_string().as_bytes(), "manifest.v1+json")?;
    manifest["annotations"] = json!({"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": NAME});
    fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
    fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    pack(&layout, archive)
}

/// All that a folder holds, as an archive.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(archive).arg("--directory").arg(folder).args(["--owner=0", "--group=0", "."]);
    let output = tar.output().context("starting tar")?;
    ensure!(output.status.success(), "tar failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
