//! The schema of the API: its reference page, its rules, and what of it is promised to those who use it.

mod lint;
mod lock;
mod reference;

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, Result, bail};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, field_descriptor_proto::Type,
};

use crate::{tidy::Finding, workspace};

pub(crate) use lock::LOCK;
pub(crate) use reference::reference;

/// The schema of the API and of what agents say, as they are in the tree.
fn load() -> Result<Vec<File>> {
    let root = workspace::root().join("proto");
    let mut paths = Vec::new();
    collect(&root.join("andromede"), &mut paths)?;
    paths.sort();
    let names: Vec<_> = paths.iter().filter_map(|path| path.strip_prefix(&root).ok()).collect();
    let set = protox::compile(names, [&root]).context("the schema cannot be read")?;
    let own = |file: &FileDescriptorProto| file.package().starts_with("andromede.");
    Ok(set.file.into_iter().filter(own).map(File::new).collect())
}

fn collect(folder: &Path, paths: &mut Vec<std::path::PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            paths.push(path);
        }
    }
    Ok(())
}

/// What breaks the rules of the schema.
pub(crate) fn findings() -> Result<Vec<Finding>> {
    Ok(lint::check(&load()?))
}

/// The lock as it should be, or what the schema breaks of the one there is.
pub(crate) fn lock() -> Result<String> {
    let path = workspace::root().join(LOCK);
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    lock::renew(&recorded, &load()?).or_else(|broken| bail!("{LOCK}: {}", broken.join("\n")))
}

/// A file of the schema, with its comments by place.
struct File {
    proto: FileDescriptorProto,
    comments: BTreeMap<Vec<i32>, String>,
}

/// Numbers of fields in `descriptor.proto`, of which the places of comments are made.
mod place {
    pub(super) const MESSAGE: i32 = 4;
    pub(super) const ENUM: i32 = 5;
    pub(super) const SERVICE: i32 = 6;
    pub(super) const FIELD: i32 = 2;
    pub(super) const NESTED: i32 = 3;
    pub(super) const NESTED_ENUM: i32 = 4;
    pub(super) const VALUE: i32 = 2;
    pub(super) const METHOD: i32 = 2;
}

impl File {
    fn new(proto: FileDescriptorProto) -> Self {
        let locations = proto.source_code_info.iter().flat_map(|info| &info.location);
        let comments = locations.map(|it| (it.path.clone(), words(it.leading_comments()))).collect();
        Self { proto, comments }
    }

    /// What the schema says of something; empty: nothing.
    fn comment(&self, path: &[i32]) -> &str {
        self.comments.get(path).map(String::as_str).unwrap_or_default()
    }

    /// All messages, the nested ones among them, with their full names and places; entries of maps are none.
    fn messages(&self) -> Vec<(String, Vec<i32>, &DescriptorProto)> {
        let mut found = Vec::new();
        for (number, message) in self.proto.message_type.iter().enumerate() {
            nested(self.proto.package(), vec![place::MESSAGE, index(number)], message, &mut found);
        }
        found
    }

    /// All enums, the nested ones among them, with their full names and places.
    fn enums(&self) -> Vec<(String, Vec<i32>, &EnumDescriptorProto)> {
        let name = |scope: &str, it: &EnumDescriptorProto| format!("{scope}.{}", it.name());
        let outer = self.proto.enum_type.iter().enumerate();
        let mut found: Vec<_> =
            outer.map(|(number, it)| (name(self.proto.package(), it), vec![place::ENUM, index(number)], it)).collect();
        for (scope, path, message) in self.messages() {
            for (number, it) in message.enum_type.iter().enumerate() {
                let path = [path.as_slice(), &[place::NESTED_ENUM, index(number)]].concat();
                found.push((name(&scope, it), path, it));
            }
        }
        found
    }
}

fn nested<'a>(
    scope: &str,
    path: Vec<i32>,
    message: &'a DescriptorProto,
    found: &mut Vec<(String, Vec<i32>, &'a DescriptorProto)>,
) {
    if message.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry) {
        return;
    }
    let name = format!("{scope}.{}", message.name());
    for (number, inner) in message.nested_type.iter().enumerate() {
        nested(&name, [path.as_slice(), &[place::NESTED, index(number)]].concat(), inner, found);
    }
    found.push((name, path, message));
}

/// A place in a list, as the places of comments have it.
fn index(place: usize) -> i32 {
    i32::try_from(place).unwrap_or(i32::MAX)
}

/// A comment in one line.
fn words(comment: &str) -> String {
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The type of a field as the schema writes it.
fn type_of(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let repeated = field.label() == prost_types::field_descriptor_proto::Label::Repeated;
    let entry = message.nested_type.iter().find(|inner| {
        field.type_name().ends_with(&format!(".{}", inner.name()))
            && inner.options.as_ref().is_some_and(prost_types::MessageOptions::map_entry)
    });
    if let Some([key, value]) = entry.map(|entry| entry.field.as_slice()) {
        return format!("map<{}, {}>", plain(key), plain(value));
    }
    let prefix = match (repeated, field.proto3_optional()) {
        (true, _) => "repeated ",
        (false, true) => "optional ",
        (false, false) => "",
    };
    format!("{prefix}{}", plain(field))
}

fn plain(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum | Type::Group => field.type_name().trim_start_matches('.').to_owned(),
        other => format!("{other:?}").to_lowercase(),
    }
}
