//! Errors in the form of the specification, section 5, "Error".

use andromede_proto::local::v1;
use serde::Serialize;

use crate::version::NEWEST;

/// An error that a runtime understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {details}")]
pub(crate) struct CniError {
    /// Version of the specification that the caller speaks, as far as it is known.
    pub(crate) version: Option<String>,
    /// What kind of error it is: one of [`code`], or a number of the agent.
    pub(crate) code: u32,
    /// In a few words.
    pub(crate) message: String,
    /// What is wrong exactly, and what to do.
    pub(crate) details: String,
}

/// Codes of the specification that the plugin itself gives.
pub(crate) mod code {
    /// The configuration is in a version of the specification that the plugin does not speak.
    pub(crate) const INCOMPATIBLE_VERSION: u32 = 1;
    /// A field of the configuration that the plugin does not know.
    pub(crate) const UNSUPPORTED_FIELD: u32 = 2;
    /// The environment is incomplete or wrong.
    pub(crate) const INVALID_ENVIRONMENT: u32 = 4;
    /// Standard input could not be read.
    pub(crate) const INPUT_OUTPUT: u32 = 5;
    /// Standard input is not the JSON that it should be.
    pub(crate) const DECODING: u32 = 6;
    /// The network configuration breaks a rule.
    pub(crate) const INVALID_CONFIGURATION: u32 = 7;
    /// The agent is away; it will be back.
    pub(crate) const TRY_AGAIN: u32 = 11;
    /// STATUS: the plugin cannot serve ADD.
    pub(crate) const NOT_AVAILABLE: u32 = 50;
}

/// The error on the wire.
#[derive(Serialize)]
struct Wire<'a> {
    #[serde(rename = "cniVersion")]
    version: &'a str,
    code: u32,
    msg: &'a str,
    details: &'a str,
}

impl From<v1::CniError> for CniError {
    fn from(error: v1::CniError) -> Self {
        Self { version: None, code: error.code, message: error.message, details: error.details }
    }
}

impl CniError {
    /// An error that does not know yet which version the caller speaks.
    pub(crate) fn new(code: u32, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self { version: None, code, message: message.into(), details: details.into() }
    }

    /// A configuration that breaks a rule.
    pub(crate) fn configuration(details: impl Into<String>) -> Self {
        Self::new(code::INVALID_CONFIGURATION, "the network configuration breaks a rule", details)
    }

    /// What is not the JSON that it should be.
    pub(crate) fn decoding(details: impl Into<String>) -> Self {
        Self::new(code::DECODING, "standard input is not a network configuration", details)
    }

    /// The error as a runtime reads it.
    pub(crate) fn to_json(&self) -> String {
        let wire = Wire {
            version: self.version.as_deref().unwrap_or(NEWEST),
            code: self.code,
            msg: &self.message,
            details: &self.details,
        };
        // Text and numbers always have a JSON form.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}
