//! What a write would do, in words.

use std::fmt::Write as _;

use andromede_proto::v1::{PlanResponse, PlannedChange, resource_change::Kind};

use crate::{
    bundle::count,
    terminal::{self, Palette},
};

/// Most hosts that are named.
const NAMED: usize = 10;
/// Tables below this part of their limit, in percent, are not told unless they grow.
const WORTH_TELLING: u64 = 50;

/// Changes of resources, a line each, and under it a line for each field.
pub(crate) fn changes(changes: &[PlannedChange], palette: Palette) -> String {
    let mut text = String::new();
    for change in changes {
        let sign = match change.kind() {
            Kind::Created => palette.good("+"),
            Kind::Deleted => palette.bad("-"),
            Kind::Updated | Kind::Unchanged | Kind::Unspecified => palette.pending("~"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{sign} {}", change.name);
        for field in &change.fields {
            let shown = |value: &str| if value.is_empty() { "none".to_owned() } else { value.to_owned() };
            let _ = writeln!(text, "    {}: {} -> {}", field.path, shown(&field.before), shown(&field.after));
        }
    }
    text
}

/// A whole plan.
pub(crate) fn plan(plan: &PlanResponse, palette: Palette) -> String {
    let mut text = changes(&plan.changes, palette);
    let of = |kind| plan.changes.iter().filter(|change| change.kind() == kind).count();
    let _ = writeln!(
        text,
        "{} to create, {} to change, {} to delete, {} as it is",
        of(Kind::Created),
        of(Kind::Updated),
        of(Kind::Deleted),
        plan.unchanged
    );
    let (hosts, ports) = (count(plan.hosts.len(), "host"), count(plan.ports as usize, "port"));
    let named: Vec<&str> = plan.hosts.iter().take(NAMED).map(String::as_str).collect();
    let more = plan.hosts.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let names = if named.is_empty() { String::new() } else { format!(" ({}{more})", named.join(", ")) };
    let _ = writeln!(text, "concerns {hosts}{names} and {ports}");
    let rows: Vec<Vec<String>> = (plan.tables.iter())
        .filter(|table| table.before != table.after || table.after * 100 >= table.limit * WORTH_TELLING)
        .map(|it| {
            vec![it.table.clone(), it.host.clone(), it.before.to_string(), it.after.to_string(), it.limit.to_string()]
        })
        .collect();
    if !rows.is_empty() {
        text.push_str(&terminal::table(&["TABLE", "FULLEST ON", "BEFORE", "AFTER", "LIMIT"], rows));
    }
    let _ = writeln!(text, "planned for revision {}; nothing was changed", plan.revision);
    text
}

#[cfg(test)]
mod tests {
    use andromede_proto::v1::{FieldChange, TableUse};

    use super::*;
    use crate::terminal::ColorChoice;

    #[test]
    fn a_plan_is_told_line_by_line() {
        let change =
            |kind: Kind, name: &str| PlannedChange { kind: kind.into(), name: name.to_owned(), fields: Vec::new() };
        let mut moved = change(Kind::Updated, "tenants/t/networks/n/ports/p");
        moved.fields.push(FieldChange {
            path: "host".to_owned(),
            before: String::new(),
            after: "\"hosts/h1\"".to_owned(),
        });
        let table = |table: &str, before, after| TableUse {
            table: table.to_owned(),
            host: "hosts/h1".to_owned(),
            before,
            after,
            limit: 100,
        };
        let told = plan(
            &PlanResponse {
                revision: 7,
                changes: vec![moved, change(Kind::Deleted, "hosts/h9")],
                unchanged: 3,
                hosts: (0..12).map(|number| format!("hosts/h{number}")).collect(),
                ports: 1,
                tables: vec![table("PORTS", 1, 2), table("HOSTS", 1, 1), table("CELLS", 60, 60)],
            },
            Palette::new(ColorChoice::Never),
        );
        for words in [
            "~ tenants/t/networks/n/ports/p\n    host: none -> \"hosts/h1\"\n- hosts/h9\n",
            "0 to create, 1 to change, 1 to delete, 3 as it is",
            "12 hosts (hosts/h0, ",
            " and 2 more) and 1 port\n",
            "planned for revision 7",
        ] {
            assert!(told.contains(words), "{words:?} is missing in\n{told}");
        }
        assert!(told.contains("PORTS") && told.contains("CELLS") && !told.contains("HOSTS  "), "{told}");
    }
}
