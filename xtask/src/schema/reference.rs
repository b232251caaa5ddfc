//! The reference page of the API, out of the comments of the schema.

use std::fmt::Write as _;

use anyhow::Result;

use super::{File, index, load, place, type_of};

/// What people write against; agents and programs on a host speak the rest.
const PACKAGE: &str = "andromede.v1";

/// The page.
pub(crate) fn reference() -> Result<String> {
    let mut files = load()?;
    files.retain(|file| file.proto.package() == PACKAGE);
    files.sort_by_key(|file| file.proto.name().to_owned());
    let mut text = String::from(
        "# The API andromede.v1\n\n\
         gRPC services of the controller, in the manner of [google.aip.dev](https://google.aip.dev).\n\
         Errors carry the details of `google.rpc`: `BadRequest` for each field that is wrong, `PreconditionFailure` for what is still in use, \
         `QuotaFailure`, `ResourceInfo`, and `ErrorInfo` with the reason `ETAG_MISMATCH`.\n\n\
         Written by `./x docs` from `proto/andromede/v1/`: change it there.\n\n## Services\n",
    );
    for file in &files {
        services(&mut text, file);
    }
    text.push_str("\n## Messages\n");
    let mut messages: Vec<_> = files
        .iter()
        .flat_map(|file| file.messages().into_iter().map(move |(name, path, it)| (name, file, path, it)))
        .collect();
    messages.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (name, file, path, message) in messages {
        let _ = write!(text, "\n### {}\n\n{}\n", short(&name), file.comment(&path));
        if !message.field.is_empty() {
            text.push_str("\n| field | type | number | |\n| --- | --- | ---: | --- |\n");
        }
        for (number, field) in message.field.iter().enumerate() {
            let comment = file.comment(&[path.as_slice(), &[place::FIELD, index(number)]].concat());
            let kind = type_of(message, field);
            let _ = writeln!(
                text,
                "| `{}` | {} | {} | {} |",
                field.name(),
                cell(&linked(&kind)),
                field.number(),
                cell(comment)
            );
        }
    }
    text.push_str("\n## Enums\n");
    for file in &files {
        for (name, path, found) in file.enums() {
            let _ = write!(
                text,
                "\n### {}\n\n{}\n\n| value | number | |\n| --- | ---: | --- |\n",
                short(&name),
                file.comment(&path)
            );
            for (number, value) in found.value.iter().enumerate() {
                let comment = file.comment(&[path.as_slice(), &[place::VALUE, index(number)]].concat());
                let _ = writeln!(text, "| `{}` | {} | {} |", value.name(), value.number(), cell(comment));
            }
        }
    }
    Ok(text)
}

fn services(text: &mut String, file: &File) {
    for (number, service) in file.proto.service.iter().enumerate() {
        let path = [place::SERVICE, index(number)];
        let _ = write!(
            text,
            "\n### {}\n\n{}\n\n| method | takes | gives | |\n| --- | --- | --- | --- |\n",
            service.name(),
            file.comment(&path)
        );
        for (number, method) in service.method.iter().enumerate() {
            let comment = file.comment(&[path.as_slice(), &[place::METHOD, index(number)]].concat());
            let stream = if method.server_streaming() { "stream of " } else { "" };
            let _ = writeln!(
                text,
                "| `{}` | {} | {stream}{} | {} |",
                method.name(),
                linked(method.input_type().trim_start_matches('.')),
                linked(method.output_type().trim_start_matches('.')),
                cell(comment)
            );
        }
    }
}

/// A name without the package.
fn short(name: &str) -> &str {
    name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name)
}

/// A type, with a link to it if it stands on this page.
fn linked(kind: &str) -> String {
    let (prefix, name) = kind.rsplit_once(' ').unwrap_or(("", kind));
    let space = if prefix.is_empty() { "" } else { " " };
    match name.strip_prefix(PACKAGE) {
        Some(rest) if !kind.starts_with("map<") => {
            let name = rest.trim_start_matches('.');
            format!("{prefix}{space}[{name}](#{})", name.to_lowercase().replace('.', ""))
        }
        _ => kind.to_owned(),
    }
}

/// Text that does not end a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "\\<")
}
