//! The CNI plugin (Container Network Interface specification 1.1.0): environment and standard input in, one call to the agent, JSON out.
//!
//! It holds no state and does no networking; it checks what it is given, translates it, and translates the answer. Its one command of its
//! own, `install`, puts it where a runtime looks for it.

mod agent;
mod arguments;
mod command;
mod commands;
mod configuration;
mod error;
mod install;
mod result;
mod version;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use command::{Command, Environment};
use error::{CniError, code};

fn main() -> ExitCode {
    // A runtime gives no arguments.
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_some_and(|command| command == "install") {
        return match install::run(arguments) {
            Ok(said) => answer(&said, ExitCode::SUCCESS),
            Err(error) => {
                eprintln!("andromede-cni: {error}");
                ExitCode::FAILURE
            }
        };
    }
    match run() {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(text)) => answer(&text, ExitCode::SUCCESS),
        Err(error) => answer(&error.to_json(), ExitCode::FAILURE),
    }
}

fn answer(text: &str, exit: ExitCode) -> ExitCode {
    // A runtime that closed its end does not want the answer; the exit code still counts.
    let _ = writeln!(io::stdout(), "{text}");
    exit
}

fn run() -> Result<Option<String>, CniError> {
    let environment = Environment::read(|name| env::var_os(name))?;
    let input = configuration::read_input(io::stdin().lock())?;
    if environment.command == Command::Version {
        return version::answer(&input).map(Some);
    }
    let configuration = configuration::parse(&input)?;
    let version = configuration.version.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CniError::new(code::INPUT_OUTPUT, "cannot begin", error.to_string()));
    let done = runtime.and_then(|runtime| runtime.block_on(commands::carry_out(environment, configuration)));
    done.map_err(|error| CniError { version: Some(version), ..error })
}
