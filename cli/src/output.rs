//! Forms of output: tables for people, JSON and YAML for programs.

use andromede_proto::{document, json, v1::Resource};
use clap::ValueEnum;
use prost::{Message, Name};
use serde::Serialize as _;
use serde_json::{Map, Value};

use crate::{
    failure::Failure,
    kind::{Kind, name_of},
    table, terminal,
};

/// How to show a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The columns that matter most
    #[default]
    Table,
    /// All columns
    Wide,
    /// Canonical JSON of the API's messages
    Json,
    /// YAML; resources are written as `andromedectl apply` reads them
    Yaml,
    /// Resource names only, one a line
    Name,
}

impl Format {
    /// A message for a program, if that is what is wanted.
    pub(crate) fn machine<M: Message + Name>(self, message: &M) -> Result<Option<String>, Failure> {
        Ok(match self {
            Self::Json => Some(pretty(&json::to_json(message)?)),
            Self::Yaml => Some(yaml(&json::to_json(message)?)?),
            Self::Table | Self::Wide | Self::Name => None,
        })
    }
}

/// Several resources of one kind.
pub(crate) fn list(format: Format, kind: Kind, resources: &[Resource]) -> Result<String, Failure> {
    Ok(match format {
        Format::Table => table::of(kind, resources, false),
        Format::Wide => table::of(kind, resources, true),
        Format::Name => terminal::lines(resources.iter().map(name_of)),
        Format::Json => {
            let items = resources.iter().map(inner_json).collect::<Result<Vec<_>, _>>()?;
            pretty(&Value::Object(Map::from_iter([(kind.collection().to_owned(), Value::Array(items))])))
        }
        Format::Yaml => documents(resources)?,
    })
}

/// Resources of every kind.
pub(crate) fn everything(format: Format, found: &[(Kind, Vec<Resource>)]) -> Result<String, Failure> {
    let found: Vec<&(Kind, Vec<Resource>)> = found.iter().filter(|(_, resources)| !resources.is_empty()).collect();
    if format == Format::Json {
        let mut all = Map::new();
        for (kind, resources) in found {
            let items = resources.iter().map(inner_json).collect::<Result<Vec<_>, _>>()?;
            all.insert(kind.collection().to_owned(), Value::Array(items));
        }
        return Ok(pretty(&Value::Object(all)));
    }
    let parts = found.into_iter().map(|(kind, resources)| {
        let part = list(format, *kind, resources)?;
        let titled = matches!(format, Format::Table | Format::Wide);
        Ok(if titled { format!("{}s\n{part}", kind.singular()) } else { part })
    });
    let parts = parts.collect::<Result<Vec<_>, Failure>>()?;
    Ok(parts.join(match format {
        Format::Yaml => "---\n",
        Format::Table | Format::Wide => "\n",
        Format::Name | Format::Json => "",
    }))
}

/// One resource.
pub(crate) fn one(format: Format, kind: Kind, resource: &Resource) -> Result<String, Failure> {
    match format {
        Format::Json => Ok(pretty(&inner_json(resource)?)),
        _ => list(format, kind, std::slice::from_ref(resource)),
    }
}

/// Resources as a stream of YAML documents.
pub(crate) fn documents(resources: &[Resource]) -> Result<String, Failure> {
    let texts = resources.iter().map(|resource| yaml(&document::write(resource)?)).collect::<Result<Vec<_>, _>>()?;
    Ok(texts.join("---\n"))
}

/// The message inside the resource: `{"name": ...}`, not `{"port": {"name": ...}}`.
fn inner_json(resource: &Resource) -> Result<Value, Failure> {
    let outer = json::to_json(resource)?;
    let inner = outer.as_object().and_then(|fields| fields.values().find(|value| value.is_object()));
    Ok(inner.cloned().unwrap_or(Value::Null))
}

fn pretty(value: &Value) -> String {
    // A JSON value always has a text form.
    format!("{value:#}\n")
}

fn yaml(value: &Value) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    value
        .serialize(&mut serde_norway::Serializer::new(&mut bytes))
        .map_err(|error| Failure::Refused(format!("the answer cannot be written as YAML: {error}")))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
