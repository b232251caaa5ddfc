//! Images for containers, made by hand: one layer, in an archive of the Open Container Initiative's layout. The same files give the same
//! image.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

/// What an image says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Its name, with the part behind the colon.
    pub name: &'a str,
    /// What it runs if nothing else is asked for.
    pub entry: &'a [&'a str],
    /// Where it looks for programs.
    pub path: &'a str,
    /// Labels.
    pub labels: &'a [(&'a str, &'a str)],
}

impl Image<'_> {
    /// Writes the archive of an image that holds what the folder `tree` holds. Its parts come into the folder `work`, which is empty.
    pub fn write(&self, tree: &Path, work: &Path, archive: &Path) -> Result<()> {
        let blobs = work.join("layout/blobs/sha256");
        fs::create_dir_all(&blobs)?;
        let layer = work.join("layer.tar");
        pack(tree, &layer)?;

        let put = |content: &[u8], kind: &str| -> Result<Value> {
            let digest = Sha256::digest(content).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
            fs::write(blobs.join(&digest), content)?;
            let media = format!("application/vnd.oci.image.{kind}");
            Ok(json!({"mediaType": media, "digest": format!("sha256:{digest}"), "size": content.len()}))
        };
        let layer = put(&fs::read(&layer)?, "layer.v1.tar")?;
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let labels: Map<String, Value> =
            self.labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let settings = json!({"Entrypoint": self.entry, "Env": [format!("PATH={}", self.path)], "Labels": labels});
        let config = json!({"architecture": architecture, "os": "linux", "config": settings,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]}});
        let config = put(config.to_string().as_bytes(), "config.v1+json")?;
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": [layer]});
        let mut manifest = put(manifest.to_string().as_bytes(), "manifest.v1+json")?;
        manifest["annotations"] =
            json!({"io.containerd.image.name": self.name, "org.opencontainers.image.ref.name": self.name});
        let layout = work.join("layout");
        fs::write(layout.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())?;
        fs::write(layout.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        pack(&layout, archive)
    }
}

/// All that a folder holds, as an archive.
fn pack(folder: &Path, archive: &Path) -> Result<()> {
    let mut tar = Command::new("tar");
    tar.arg("--create").arg("--file").arg(archive).arg("--directory").arg(folder);
    let output = tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner", "."]).output();
    let output = output.context("starting tar")?;
    ensure!(output.status.success(), "tar failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
