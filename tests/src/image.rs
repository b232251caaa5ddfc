//! The image of the containers in tests: a static busybox.

use std::{fs, path::Path};

use andromede_testkit::image::Image;
use anyhow::{Context as _, Result};

/// Its name.
pub const NAME: &str = "localhost/andromede/box:1";

/// Program of the image: it does all that a test needs by its first argument.
pub const BUSYBOX: &str = "/bin/busybox";

/// What the image runs if nothing else is asked for.
const ENTRY: [&str; 3] = [BUSYBOX, "sleep", "3600"];

/// Writes the archive, with a folder beside it for its parts.
pub fn write(folder: &Path, archive: &Path) -> Result<()> {
    let tree = folder.join("tree");
    for part in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
        fs::create_dir_all(tree.join(part))?;
    }
    let busybox = andromede_testkit::requires::find_tool("busybox").context("busybox is not on the path")?;
    fs::copy(&busybox, tree.join("bin/busybox"))?;
    Image { name: NAME, entry: &ENTRY, path: "/bin", labels: &[] }.write(&tree, folder, archive)
}
