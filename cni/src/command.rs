//! What the runtime asks for, and the environment that each command must have (specification, section 2).

use std::ffi::OsString;

use crate::error::{CniError, code};

/// Longest name of an interface in bytes: `IFNAMSIZ` less the final zero (Linux, `include/uapi/linux/if.h`).
const MAX_INTERFACE_NAME: usize = 15;

/// `CNI_COMMAND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Give a container its interface.
    Add,
    /// Take it away.
    Del,
    /// Is it still as it was made?
    Check,
    /// Remove what belongs to no container of a list.
    Gc,
    /// Can ADD be served?
    Status,
    /// Which versions of the specification are spoken?
    Version,
}

/// Commands, their names, and the variables that each needs. `CNI_PATH` is for plugins that call others.
const COMMANDS: [(Command, &str, &[&str]); 6] = [
    (Command::Add, "ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    // A container may be gone before its network is: the namespace is optional.
    (Command::Del, "DEL", &["CNI_CONTAINERID", "CNI_IFNAME"]),
    (Command::Check, "CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]),
    (Command::Gc, "GC", &[]),
    (Command::Status, "STATUS", &[]),
    (Command::Version, "VERSION", &[]),
];

/// What the runtime says in the environment. What a command does not need may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Environment {
    /// `CNI_COMMAND`.
    pub(crate) command: Command,
    /// `CNI_CONTAINERID`.
    pub(crate) container: String,
    /// `CNI_NETNS`.
    pub(crate) netns: String,
    /// `CNI_IFNAME`.
    pub(crate) interface: String,
    /// `CNI_ARGS`.
    pub(crate) arguments: String,
}

impl Environment {
    /// Reads the command and checks the variables that it needs.
    pub(crate) fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let text = |name: &str| -> Result<String, CniError> {
            let value = variable(name).unwrap_or_default();
            value.into_string().map_err(|value| wrong(format!("{name}={} is not UTF-8", value.display())))
        };
        let names: Vec<&str> = COMMANDS.iter().map(|(_, name, _)| *name).collect();
        let asked = text("CNI_COMMAND")?;
        if asked.is_empty() {
            return Err(wrong(format!("CNI_COMMAND is not set; it is one of {}", names.join(", "))));
        }
        let Some((command, _, needed)) = COMMANDS.iter().find(|(_, name, _)| *name == asked) else {
            return Err(wrong(format!("CNI_COMMAND={asked:?} is unknown; it is one of {}", names.join(", "))));
        };
        let mut problems = Vec::new();
        for name in *needed {
            match text(name)? {
                value if value.is_empty() => problems.push(format!("{name} is not set")),
                value => problems.extend(problem(name, &value)),
            }
        }
        if !problems.is_empty() {
            return Err(wrong(format!("{asked}: {}", problems.join("; "))));
        }
        Ok(Self {
            command: *command,
            container: text("CNI_CONTAINERID")?,
            netns: text("CNI_NETNS")?,
            interface: text("CNI_IFNAME")?,
            arguments: text("CNI_ARGS")?,
        })
    }
}

fn wrong(details: String) -> CniError {
    CniError::new(code::INVALID_ENVIRONMENT, "the environment is not as the specification wants it", details)
}

/// What is wrong with the value of a variable.
fn problem(name: &str, value: &str) -> Option<String> {
    let rule = match name {
        "CNI_CONTAINERID" if !is_identifier(value) => {
            "begins with a letter or digit and goes on with letters, digits, '_', '.' and '-'"
        }
        "CNI_IFNAME" if !is_interface_name(value) => {
            "is the name of an interface: at most 15 bytes, not '.' or '..', without '/', ':' and blanks"
        }
        "CNI_NETNS" if !value.starts_with('/') => "is the path of a network namespace",
        _ => return None,
    };
    Some(format!("{name}={value:?} does not fit: it {rule}"))
}

/// The form that the specification gives to container identifiers and network names.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c))
}

/// The form that the kernel gives to names of interfaces (`dev_valid_name`).
fn is_interface_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= MAX_INTERFACE_NAME
        && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, CniError> {
        Environment::read(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        })
    }

    const ADD: [(&str, &str); 4] =
        [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "abc-1"), ("CNI_NETNS", "/run/netns/x"), ("CNI_IFNAME", "eth0")];

    #[test]
    fn every_command_is_known_by_its_name() {
        let environment = read(&ADD).unwrap();
        assert_eq!((environment.command, environment.container.as_str()), (Command::Add, "abc-1"));
        assert_eq!((environment.netns.as_str(), environment.interface.as_str()), ("/run/netns/x", "eth0"));
        for (command, name, _) in COMMANDS {
            let variables: Vec<_> = [("CNI_COMMAND", name)].into_iter().chain(ADD.into_iter().skip(1)).collect();
            assert_eq!(read(&variables).unwrap().command, command);
        }
    }

    #[test]
    fn a_missing_variable_is_named() {
        for missing in 1..ADD.len() {
            let mut variables = ADD.to_vec();
            let (name, _) = variables.remove(missing);
            let error = read(&variables).unwrap_err();
            assert_eq!(error.code, code::INVALID_ENVIRONMENT);
            assert!(error.details.contains(name), "{error}");
        }
        assert!(read(&[]).unwrap_err().details.contains("CNI_COMMAND"));
        assert!(read(&[("CNI_COMMAND", "add")]).is_err(), "names are in capitals");
        assert!(read(&[("CNI_COMMAND", "DEL"), ("CNI_CONTAINERID", "c"), ("CNI_IFNAME", "eth0")]).is_ok());
    }

    #[test]
    fn wrong_values_are_refused() {
        let cases = [
            ("CNI_CONTAINERID", "-x"),
            ("CNI_CONTAINERID", "a/b"),
            ("CNI_IFNAME", "."),
            ("CNI_IFNAME", "a b"),
            ("CNI_IFNAME", "sixteen-bytes-xx"),
            ("CNI_NETNS", "run/netns/x"),
        ];
        for (name, value) in cases {
            let variables: Vec<(&str, &str)> =
                ADD.iter().map(|(other, old)| if *other == name { (*other, value) } else { (*other, *old) }).collect();
            let error = read(&variables).unwrap_err();
            assert!(error.details.contains(name) && error.details.contains(value), "{error}");
        }
    }
}
