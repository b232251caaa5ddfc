//! `andromedectl`: what network engineers ask of the fabric, and tell it.
//!
//! Each command is a file in `command/`: arguments, one or two calls, and how the answer is shown. The network's own
//! logic is on the other side of the API.

mod arguments;
mod bundle;
mod change;
mod command;
mod connection;
mod duration;
mod failure;
mod kind;
#[cfg(test)]
mod manual;
mod output;
mod planned;
mod resources;
mod scope;
mod table;
mod terminal;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // Wrong arguments end here with exit code 2, help and version with 0.
    let arguments = arguments::Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            terminal::remark(&format!("andromedectl: {error}"));
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(command::run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_closed_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::remark(&format!("andromedectl: {failure}"));
            failure.exit_code()
        }
    }
}
