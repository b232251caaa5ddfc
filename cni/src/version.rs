//! VERSION, and the versions of the specification.

use serde::Serialize;

use crate::{
    configuration::{object, text},
    error::{CniError, code},
};

/// Versions of the specification that this plugin speaks.
pub(crate) const SUPPORTED: [&str; 3] = ["0.4.0", "1.0.0", NEWEST];

/// The newest of them.
pub(crate) const NEWEST: &str = "1.1.0";

/// The answer to VERSION.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    #[serde(rename = "supportedVersions")]
    supported: [&'a str; 3],
}

/// Answers VERSION in the version that the caller speaks. Old runtimes send nothing at all: they get the newest.
pub(crate) fn answer(input: &[u8]) -> Result<String, CniError> {
    let asked =
        if input.trim_ascii().is_empty() { None } else { text(&object(input)?, "cniVersion")?.map(str::to_owned) };
    let wire = Wire { version: asked.as_deref().unwrap_or(NEWEST), supported: SUPPORTED };
    // Text always has a JSON form.
    Ok(serde_json::to_string(&wire).unwrap_or_default())
}

/// The error for a version that this plugin does not speak.
pub(crate) fn incompatible(version: &str) -> CniError {
    CniError::new(
        code::INCOMPATIBLE_VERSION,
        "the version of the configuration is not supported",
        format!("cniVersion {version:?}: this plugin speaks {}", SUPPORTED.join(", ")),
    )
}
