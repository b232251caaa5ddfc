//! Bundles: streams of YAML documents, one resource each, and where each came from.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use andromede_proto::{document, v1::Resource};
use serde::Deserialize as _;
use tonic::Status;

use crate::{
    failure::Failure,
    kind::{Kind, name_of},
};

/// Most bytes of one file; ten thousand resources are far less.
const MAX_FILE: u64 = 64 << 20;

/// Most errors that are told at once.
const MAX_TOLD: usize = 50;

/// Where a resource was read.
#[derive(Clone, Debug)]
struct Origin {
    file: String,
    /// Counted from 1.
    document: usize,
    /// What it is, as far as it says: "Port tenants/t/networks/n/ports/p".
    title: String,
}

/// Resources, in the order in which they were read.
#[derive(Debug, Default)]
pub(crate) struct Bundle {
    pub(crate) resources: Vec<Resource>,
    origins: Vec<Origin>,
}

impl Bundle {
    /// Reads files, folders of files, and `-` for standard input; tells everything that is wrong with them at once.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut bundle = Self::default();
        let mut errors = Vec::new();
        for path in paths {
            for file in files_at(path)? {
                let name =
                    if is_standard_input(&file) { "standard input".to_owned() } else { file.display().to_string() };
                bundle.add(&name, &text_of(&file)?, &mut errors);
            }
        }
        if errors.is_empty() && bundle.resources.is_empty() {
            errors.push("there is no resource in it; a document begins with `kind: Port`".to_owned());
        }
        if errors.is_empty() { Ok(bundle) } else { Err(refused(&errors, 0)) }
    }

    fn add(&mut self, file: &str, text: &str, errors: &mut Vec<String>) {
        for (index, document) in serde_norway::Deserializer::from_str(text).enumerate() {
            let number = index + 1;
            let value = serde_norway::Value::deserialize(document)
                .map_err(|error| error.to_string())
                .and_then(|value| serde_json::to_value(value).map_err(|error| error.to_string()));
            let value = match value {
                Ok(serde_json::Value::Null) => continue,
                Ok(value) => value,
                Err(error) => {
                    errors.push(format!("{file}, document {number}: not YAML: {error}"));
                    // What follows a broken document cannot be told apart from it.
                    return;
                }
            };
            let origin = Origin { file: file.to_owned(), document: number, title: title(&value) };
            match document::read(&value) {
                Ok(resource) => {
                    self.resources.push(resource);
                    self.origins.push(origin);
                }
                Err(found) => errors.extend(found.iter().map(|error| origin.tell(&error.to_string()))),
            }
        }
    }

    /// The server's violations, told by file and document instead of by number in the request.
    pub(crate) fn explain(&self, violations: &[(String, String)], status: &Status) -> Failure {
        let lines: Vec<String> =
            violations.iter().map(|(field, description)| self.locate(field, description)).collect();
        refused(&lines, found_in_all(status.message()))
    }

    fn locate(&self, field: &str, description: &str) -> String {
        let told = || {
            let rest = field.strip_prefix("resources[")?;
            let (index, path) = rest.split_once(']')?;
            let origin = self.origins.get(index.parse::<usize>().ok()?)?;
            // The next part is the kind, which the document has already said.
            let inner = path.trim_start_matches('.').split_once('.').map_or("", |(_, inner)| inner);
            Some(origin.tell(&if inner.is_empty() {
                description.to_owned()
            } else {
                format!("{inner}: {description}")
            }))
        };
        told().unwrap_or_else(|| format!("{field}: {description}"))
    }

    /// Kinds and names, each after those that it refers to.
    pub(crate) fn names(&self) -> Vec<(Kind, String)> {
        let mut names: Vec<(Kind, String)> = self
            .resources
            .iter()
            .filter_map(|resource| Some((Kind::of(resource)?, name_of(resource).to_owned())))
            .collect();
        names.sort_by_key(|(kind, _)| *kind);
        names
    }
}

impl Origin {
    fn tell(&self, text: &str) -> String {
        let title = if self.title.is_empty() { String::new() } else { format!(" ({})", self.title) };
        format!("{}, document {}{title}: {text}", self.file, self.document)
    }
}

/// All errors that the server found, of which not all fit into its answer: its message ends in "(and 7 more)" after the
/// first.
fn found_in_all(message: &str) -> usize {
    let more = message.rsplit_once("(and ").and_then(|(_, rest)| rest.strip_suffix(" more)"));
    more.and_then(|digits| digits.parse::<usize>().ok()).map_or(0, |others| others.saturating_add(1))
}

/// A refusal of these errors, of which there are `total` if that is more.
fn refused(errors: &[String], total: usize) -> Failure {
    let total = total.max(errors.len());
    let more = total - errors.len().min(MAX_TOLD);
    let mut text = format!("refused, nothing was changed; {} to correct:", count(total, "error"));
    for error in errors.iter().take(MAX_TOLD) {
        text.push_str("\n  ");
        text.push_str(error);
    }
    if more > 0 {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  and {more} more");
    }
    Failure::Refused(text)
}

/// "1 error", "2 errors".
pub(crate) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn title(value: &serde_json::Value) -> String {
    let text = |field: &str| value.get(field).and_then(serde_json::Value::as_str).unwrap_or_default();
    let title = format!("{} {}", text("kind"), text("name"));
    title.trim().chars().take(200).collect()
}

fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The file itself, or the YAML and JSON files of a folder, by name.
fn files_at(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if is_standard_input(path) || !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).map_err(|error| Failure::file(path, &error))?;
    let mut files = Vec::new();
    for entry in entries {
        let file = entry.map_err(|error| Failure::file(path, &error))?.path();
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if matches!(extension, "yaml" | "yml" | "json") {
            files.push(file);
        }
    }
    files.sort();
    if files.is_empty() {
        return Err(Failure::Refused(format!("{}: no .yaml, .yml or .json file in it", path.display())));
    }
    Ok(files)
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if is_standard_input(path) {
        std::io::stdin().lock().take(MAX_FILE + 1).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text))
    };
    read.map_err(|error| Failure::file(path, &error))?;
    if text.len() as u64 > MAX_FILE {
        return Err(Failure::Refused(format!("{}: larger than {MAX_FILE} bytes; split it", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use super::*;

    fn read(text: &str) -> (Bundle, Vec<String>) {
        let mut bundle = Bundle::default();
        let mut errors = Vec::new();
        bundle.add("x.yaml", text, &mut errors);
        (bundle, errors)
    }

    const TWO: &str =
        "# first\n---\nkind: Tenant\nname: tenants/t\n---\nkind: Host\nname: hosts/h1\nunderlayAddress: 192.0.2.1\n";

    #[test]
    fn documents_are_read_in_order() {
        let (bundle, errors) = read(TWO);
        assert_eq!(errors, Vec::<String>::new());
        assert_eq!(bundle.resources.iter().map(name_of).collect::<Vec<_>>(), ["tenants/t", "hosts/h1"]);
    }

    #[test]
    fn errors_name_file_document_resource_and_field() {
        let (_, errors) =
            read("kind: Tenant\nname: tenants/t\n---\nkind: Host\nname: hosts/h1\nunderlay: x\n---\nkind: Hst\n");
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors[0].starts_with("x.yaml, document 2 (Host hosts/h1): underlay: \"x\":"), "{errors:?}");
        assert!(errors[1].starts_with("x.yaml, document 3 (Hst): kind:"), "{errors:?}");
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        for text in ["kind: [", "a: 1\na: 2\n", "? [1]\n: 2\n", "kind: !x Port\n", "\u{0}"] {
            let (bundle, errors) = read(text);
            assert!(bundle.resources.is_empty());
            assert_eq!(errors.len(), 1, "{text:?}: {errors:?}");
        }
    }

    #[test]
    fn errors_that_did_not_fit_are_counted() {
        assert_eq!(found_in_all("a: b; c (and 9 more)"), 10);
        assert_eq!(found_in_all("a: b; c"), 0);
        let told = refused(&vec!["x".to_owned(); 60], 100).to_string();
        assert!(told.contains("100 errors") && told.ends_with("and 50 more"), "{told}");
    }

    #[test]
    fn the_servers_violations_are_told_by_document() {
        let (bundle, _) = read(TWO);
        let told = bundle.locate("resources[1].host.underlay_address", "\"x\": no address");
        assert!(told.ends_with("(Host hosts/h1): underlay_address: \"x\": no address"), "{told}");
        assert!(bundle.locate("resources[0].tenant", "no").ends_with("(Tenant tenants/t): no"));
        assert_eq!(bundle.locate("resources[7].tenant", "no"), "resources[7].tenant: no");
        assert_eq!(bundle.locate("page_size", "no"), "page_size: no");
    }
}
