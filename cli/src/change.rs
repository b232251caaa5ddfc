//! What a write did, in words.

use std::fmt::Write as _;

use andromede_proto::v1::{ApplyResponse, resource_change::Kind as Change};

use crate::{
    failure::Failure,
    kind::Kind,
    output::Format,
    terminal::{self, Palette},
};

/// The answer to a write, in the form that was asked for.
pub(crate) fn told(answer: &ApplyResponse, dry_run: bool, format: Format, palette: Palette) -> Result<String, Failure> {
    Ok(match format.machine(answer)? {
        Some(text) => text,
        None if format == Format::Name => terminal::lines(answer.changes.iter().map(|it| it.name.as_str())),
        None => in_words(answer, dry_run, palette),
    })
}

fn in_words(answer: &ApplyResponse, dry_run: bool, palette: Palette) -> String {
    let mut text = String::new();
    for change in &answer.changes {
        let kind = Kind::from_name(&change.name).map_or("resource", Kind::singular);
        let verb = match change.kind() {
            Change::Created => palette.good("created"),
            Change::Updated => palette.pending("updated"),
            Change::Unchanged => palette.faint("unchanged"),
            Change::Deleted => palette.bad("deleted"),
            Change::Unspecified => "touched".to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{kind} {} {verb}", change.name);
    }
    let counted = counts(answer);
    if dry_run {
        let _ = writeln!(text, "dry run, nothing was changed: {counted}");
    } else {
        let _ = writeln!(text, "revision {}: {counted}", answer.revision);
    }
    text
}

/// "2 created, 1 unchanged"; what did not happen is left out.
fn counts(answer: &ApplyResponse) -> String {
    let verbs = [
        (Change::Created, "created"),
        (Change::Updated, "updated"),
        (Change::Deleted, "deleted"),
        (Change::Unchanged, "unchanged"),
    ];
    let counts: Vec<String> = verbs
        .iter()
        .map(|(kind, verb)| (answer.changes.iter().filter(|change| change.kind() == *kind).count(), verb))
        .filter(|(count, _)| *count > 0)
        .map(|(count, verb)| format!("{count} {verb}"))
        .collect();
    if counts.is_empty() { "nothing to do".to_owned() } else { counts.join(", ") }
}
