//! The house rules, each a pure function from what is there to what is wrong with it.

mod imports;
mod readme;
mod sizes;
mod text;
mod unused;

use anyhow::{Result, bail};

use crate::{docs, schema, workspace};

/// One broken rule, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// File, with a line where there is one.
    pub(crate) place: String,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

/// Checks every rule and prints every finding.
pub(crate) fn run() -> Result<()> {
    let files = workspace::files()?;
    let mut packages = Vec::new();
    for manifest in workspace::MANIFESTS {
        if workspace::root().join(manifest).is_file() {
            packages.extend(workspace::metadata(manifest, false)?.packages);
        }
    }
    let mut findings = imports::check(&packages);
    findings.extend(unused::check(&packages, &files, &workspace::root()));
    findings.extend(unused::check_explanations(&packages, &files));
    findings.extend(unused::check_workspace(&packages, &files)?);
    for file in &files {
        findings.extend(sizes::check(file));
        findings.extend(text::check(file));
    }
    findings.extend(readme::check(&files));
    findings.extend(docs::stale()?);
    findings.extend(schema::findings()?);
    findings.sort();
    for finding in &findings {
        eprintln!("{}: {}", finding.place, finding.what);
    }
    if findings.is_empty() {
        println!("tidy: {} files, {} crates, nothing to say", files.len(), packages.len());
        return Ok(());
    }
    bail!("tidy: {} findings", findings.len())
}
