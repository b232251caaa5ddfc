//! Where the project's own programs are.

use std::{env, path::PathBuf};

use anyhow::{Context as _, Result, bail};

/// The program `name` beside the running executable: `target/<profile>/` for a test in `target/<profile>/deps/`.
/// The folder in `ANDROMEDE_BIN` goes first if it is set.
pub fn binary(name: &str) -> Result<PathBuf> {
    let own = env::current_exe().context("finding the running executable")?;
    let mut folders: Vec<PathBuf> = env::var_os("ANDROMEDE_BIN").map(PathBuf::from).into_iter().collect();
    folders.extend(own.ancestors().skip(1).take(2).map(PathBuf::from));
    for folder in &folders {
        let path = folder.join(name);
        if path.is_file() {
            return Ok(path);
        }
    }
    let looked = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
    bail!("{name} is not built (looked in {looked}): cargo build --bins")
}
