//! What the runtime asks for, and the environment that each command must have (specification, section 2).

use std::ffi::OsString;

use crate::error::{CniError, Code};

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

/// Commands, their names, and the variables that each needs.
const COMMANDS: [(Command, &str, &[&str]); 6] = [
    (Command::Add, "ADD", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    // A container may be gone before its network is: the namespace is optional.
    (Command::Del, "DEL", &["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"]),
    (Command::Check, "CHECK", &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"]),
    (Command::Gc, "GC", &["CNI_PATH"]),
    (Command::Status, "STATUS", &["CNI_PATH"]),
    (Command::Version, "VERSION", &[]),
];

impl Command {
    /// Its name in `CNI_COMMAND`.
    pub(crate) fn name(self) -> &'static str {
        COMMANDS.iter().find(|(command, ..)| *command == self).map_or("", |(_, name, _)| name)
    }

    /// Reads the command and checks the variables that it needs.
    pub(crate) fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, CniError> {
        let text = |name: &str| -> Result<Option<String>, CniError> {
            let Some(value) = variable(name).filter(|value| !value.is_empty()) else { return Ok(None) };
            value.into_string().map(Some).map_err(|value| wrong(format!("{name}={} is not UTF-8", value.display())))
        };
        let names: Vec<&str> = COMMANDS.iter().map(|(_, name, _)| *name).collect();
        let Some(asked) = text("CNI_COMMAND")? else {
            return Err(wrong(format!("CNI_COMMAND is not set; it is one of {}", names.join(", "))));
        };
        let Some((command, _, needed)) = COMMANDS.iter().find(|(_, name, _)| *name == asked) else {
            return Err(wrong(format!("CNI_COMMAND={asked:?} is unknown; it is one of {}", names.join(", "))));
        };
        let mut problems = Vec::new();
        for name in *needed {
            match text(name)? {
                None => problems.push(format!("{name} is not set")),
                Some(value) => problems.extend(problem(name, &value)),
            }
        }
        if problems.is_empty() { Ok(*command) } else { Err(wrong(format!("{asked}: {}", problems.join("; ")))) }
    }
}

fn wrong(details: String) -> CniError {
    CniError::new(Code::InvalidEnvironment, "the environment is not as the specification wants it", details)
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

    fn read(variables: &[(&str, &str)]) -> Result<Command, CniError> {
        Command::from_environment(|name| {
            variables.iter().find(|(other, _)| *other == name).map(|(_, value)| OsString::from(value))
        })
    }

    const ADD: [(&str, &str); 5] = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", "abc-1"),
        ("CNI_NETNS", "/run/netns/x"),
        ("CNI_IFNAME", "eth0"),
        ("CNI_PATH", "/opt/cni/bin"),
    ];

    #[test]
    fn every_command_is_known_by_its_name() {
        for (command, name, _) in COMMANDS {
            assert_eq!(command.name(), name);
        }
        assert_eq!(read(&ADD).unwrap(), Command::Add);
        assert_eq!(read(&[("CNI_COMMAND", "VERSION")]).unwrap(), Command::Version);
    }

    #[test]
    fn a_missing_variable_is_named() {
        for missing in 1..ADD.len() {
            let mut variables = ADD.to_vec();
            let (name, _) = variables.remove(missing);
            let error = read(&variables).unwrap_err();
            assert_eq!(error.code, Code::InvalidEnvironment);
            assert!(error.details.contains(name), "{error}");
        }
        assert!(read(&[]).unwrap_err().details.contains("CNI_COMMAND"));
        assert!(read(&[("CNI_COMMAND", "add")]).is_err(), "names are in capitals");
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
