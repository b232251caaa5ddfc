//! Errors in the form of the specification, section 5, "Error".

use serde::Serialize;

use crate::{command::Command, configuration::Configuration, version::NEWEST};

/// An error that a runtime understands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {details}")]
pub(crate) struct CniError {
    /// Version of the specification that the caller speaks, as far as it is known.
    pub(crate) version: Option<String>,
    /// What kind of error it is.
    pub(crate) code: Code,
    /// In a few words.
    pub(crate) message: String,
    /// What is wrong exactly, and what to do.
    pub(crate) details: String,
}

/// Codes: below 100 those of the specification, from 100 on those of this plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// The configuration is in a version of the specification that the plugin does not speak.
    IncompatibleVersion = 1,
    /// The environment is incomplete or wrong.
    InvalidEnvironment = 4,
    /// Standard input could not be read.
    InputOutput = 5,
    /// Standard input is not the JSON that it should be.
    Decoding = 6,
    /// The network configuration breaks a rule.
    InvalidConfiguration = 7,
    /// STATUS: the plugin cannot serve ADD.
    NotAvailable = 50,
    /// The command is not there yet.
    NotImplemented = 100,
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

impl CniError {
    /// An error that does not know yet which version the caller speaks.
    pub(crate) fn new(code: Code, message: impl Into<String>, details: impl Into<String>) -> Self {
        Self { version: None, code, message: message.into(), details: details.into() }
    }

    /// What every command but VERSION is told so far.
    pub(crate) fn not_there_yet(command: Command, configuration: &Configuration) -> Self {
        let code = if command == Command::Status { Code::NotAvailable } else { Code::NotImplemented };
        Self {
            version: Some(configuration.version.clone()),
            code,
            message: format!("{} is not there yet", command.name()),
            details: format!(
                "network {:?}: this version of andromede-cni answers VERSION only; \
                 attach workloads by `andromedectl host attach`",
                configuration.name
            ),
        }
    }

    /// The error as a runtime reads it.
    pub(crate) fn to_json(&self) -> String {
        let wire = Wire {
            version: self.version.as_deref().unwrap_or(NEWEST),
            code: self.code as u32,
            msg: &self.message,
            details: &self.details,
        };
        // Text and numbers always have a JSON form.
        serde_json::to_string(&wire).unwrap_or_default()
    }
}
