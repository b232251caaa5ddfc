//! `andromedectl completion`.

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use crate::{arguments::Arguments, failure::Failure, terminal};

/// Writes the completion script of a shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(andromedectl completion bash)\n  \
                        andromedectl completion zsh > ~/.zfunc/_andromedectl\n  \
                        andromedectl completion fish > ~/.config/fish/completions/andromedectl.fish")]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: ShellName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    /// Runs the command.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let shell = match self.shell {
            ShellName::Bash => Shell::Bash,
            ShellName::Zsh => Shell::Zsh,
            ShellName::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "andromedectl", &mut script);
        terminal::print(&String::from_utf8_lossy(&script))
    }
}
