//! Documents that are written from the code.

use std::fmt::Write as _;

use andromede_abi::DropReason;
use anyhow::{Context, Result, bail};

use crate::{schema, tidy::Finding, workspace};

/// A generated document: its path and how it is made.
type Document = (&'static str, fn() -> Result<String>);

const DOCUMENTS: &[Document] = &[
    ("docs/drop-reasons.md", || Ok(drop_reasons())),
    ("docs/api.md", schema::reference),
    (schema::LOCK, schema::lock),
];

/// Writes the documents, or with `check` only compares them.
pub(crate) fn run(check: bool) -> Result<()> {
    if check {
        let stale = stale()?;
        for finding in &stale {
            eprintln!("{}: {}", finding.place, finding.what);
        }
        if !stale.is_empty() {
            bail!("docs: {} stale", stale.len());
        }
        println!("docs: {} up to date", DOCUMENTS.len());
        return Ok(());
    }
    for (path, make) in DOCUMENTS {
        let file = workspace::root().join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder of {path}"))?;
        }
        std::fs::write(&file, make()?).with_context(|| format!("cannot write {path}"))?;
        println!("docs: wrote {path}");
    }
    Ok(())
}

/// The documents that are not what the code says.
pub(crate) fn stale() -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (path, make) in DOCUMENTS {
        let found = match std::fs::read_to_string(workspace::root().join(path)) {
            Ok(found) => found,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {path}")),
        };
        if found != make()? {
            findings.push(Finding::new(*path, "is not what the code says: ./x docs"));
        }
    }
    Ok(findings)
}

fn drop_reasons() -> String {
    let mut text = String::from(
        "# Drop reasons\n\n\
         Every packet that Andromède drops has one of these reasons.\n\
         The name stands in `andromedectl drops`, in traces, in metrics and in the API; the number in events and counters.\n\
         Numbers are never reused.\n\n\
         Written by `./x docs` from `abi/src/drop_reason.rs`: change it there.\n\n\
         | number | name | what it means | what to look at |\n\
         | ---: | --- | --- | --- |\n",
    );
    for reason in DropReason::ALL {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} |",
            *reason as u16,
            reason.name(),
            cell(reason.meaning()),
            cell(reason.remedy())
        );
    }
    text
}

/// Text that does not end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_reason_has_a_line_of_its_own() {
        let text = drop_reasons();
        for reason in DropReason::ALL {
            assert_eq!(text.lines().filter(|line| line.contains(&format!("`{}`", reason.name()))).count(), 1);
        }
    }

    #[test]
    fn no_two_reasons_share_a_name() {
        let names: BTreeSet<&str> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::ALL.len());
    }
}
