//! The CNI plugin (Container Network Interface specification 1.1.0): environment and standard input in, JSON out.
//!
//! So far it answers VERSION. Of everything else it says, in the specification's own form, that it is not there yet;
//! what it is given is checked first, so that a runtime that is set up wrongly hears so today.

mod command;
mod configuration;
mod error;
mod version;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use command::Command;
use error::CniError;

fn main() -> ExitCode {
    let (text, code) = match run() {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (error.to_json(), ExitCode::FAILURE),
    };
    // A runtime that closed its end does not want the answer; the exit code still counts.
    let _ = writeln!(io::stdout(), "{text}");
    code
}

fn run() -> Result<String, CniError> {
    let command = Command::from_environment(|name| env::var_os(name))?;
    let input = configuration::read_input(io::stdin().lock())?;
    if command == Command::Version {
        return version::answer(&input);
    }
    let configuration = configuration::parse(&input)?;
    Err(CniError::not_there_yet(command, &configuration))
}
