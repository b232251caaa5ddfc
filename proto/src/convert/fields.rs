//! Reading fields and collecting what is wrong with them.

use std::{collections::BTreeMap, fmt::Display, net::IpAddr, str::FromStr};

use andromede_model::{Labels, NameError, ValueError, Violation, parse_address};

/// A model type that a message can be read as.
pub trait FromMessage: Sized {
    /// The message.
    type Message;

    /// Reads it; none after a violation, which `fields` has collected.
    fn read(message: Self::Message, fields: &mut Fields<'_>) -> Option<Self>;
}

/// An error that says which rule a value breaks.
pub(super) trait Explained {
    fn violation(self, field: String) -> Violation;
}

impl Explained for NameError {
    fn violation(self, field: String) -> Violation {
        NameError::violation(self, field)
    }
}

impl Explained for ValueError {
    fn violation(self, field: String) -> Violation {
        ValueError::violation(self, field)
    }
}

/// Where we are in a message, and what was found wrong so far.
pub struct Fields<'a> {
    path: String,
    violations: &'a mut Vec<Violation>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(path: &str, violations: &'a mut Vec<Violation>) -> Self {
        Self { path: path.to_owned(), violations }
    }

    /// The path of a field of this message.
    fn at(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    /// The same collector, one message deeper.
    pub(super) fn inside(&mut self, field: &str) -> Fields<'_> {
        Fields { path: self.at(field), violations: self.violations }
    }

    /// Notes that the value of a field breaks a rule.
    pub(super) fn refuse<T>(
        &mut self,
        field: &str,
        value: impl Display,
        rule: impl Into<String>,
        fix: impl Into<String>,
    ) -> Option<T> {
        self.violations.push(Violation::new(self.at(field), value, rule, fix));
        None
    }

    /// Notes an error of a field.
    pub(super) fn check<T, E: Explained>(&mut self, field: &str, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.violations.push(error.violation(self.at(field)));
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn text<T>(&mut self, field: &str, text: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Explained,
    {
        if text.is_empty() {
            return self.refuse(field, "", "the field must be given", "give it a value");
        }
        self.check(field, text.parse())
    }

    /// A text that may be empty.
    #[allow(clippy::option_option, reason = "the outer none is an error, the inner one an empty field")]
    pub(super) fn optional_text<T>(&mut self, field: &str, text: &str) -> Option<Option<T>>
    where
        T: FromStr,
        T::Err: Explained,
    {
        if text.is_empty() { Some(None) } else { self.check(field, text.parse()).map(Some) }
    }

    /// An address of either family.
    pub(super) fn address(&mut self, field: &str, text: &str) -> Option<IpAddr> {
        if text.is_empty() {
            return self.refuse(field, "", "the field must be given", "give it an address");
        }
        self.check(field, parse_address(text))
    }

    /// An IPv4 address.
    pub(super) fn ipv4(&mut self, field: &str, text: &str) -> Option<std::net::Ipv4Addr> {
        match self.address(field, text)? {
            IpAddr::V4(v4) => Some(v4),
            IpAddr::V6(v6) => {
                self.refuse(field, v6, "tunnel endpoints have IPv4 addresses", "give the host's IPv4 address")
            }
        }
    }

    /// Labels, by key.
    pub(super) fn labels(&mut self, labels: BTreeMap<String, String>) -> Option<Labels> {
        match Labels::new(labels) {
            Ok(labels) => Some(labels),
            Err((key, error)) if key.is_empty() => self.check("labels", Err(error)),
            Err((key, error)) => self.check(&format!("labels[{key:?}]"), Err(error)),
        }
    }

    /// A list of texts.
    pub(super) fn texts<T>(&mut self, field: &str, texts: &[String]) -> Vec<T>
    where
        T: FromStr,
        T::Err: Explained,
    {
        let place = |(place, text): (usize, &String)| self.text(&format!("{field}[{place}]"), text);
        texts.iter().enumerate().filter_map(place).collect()
    }

    /// A list of messages.
    pub(super) fn list<T: FromMessage>(&mut self, field: &str, messages: Vec<T::Message>) -> Vec<T> {
        let place = |(place, message)| T::read(message, &mut self.inside(&format!("{field}[{place}]")));
        messages.into_iter().enumerate().filter_map(place).collect()
    }

    /// A message that must be there.
    pub(super) fn message<T: FromMessage>(&mut self, field: &str, message: Option<T::Message>) -> Option<T> {
        match message {
            Some(message) => T::read(message, &mut self.inside(field)),
            None => self.refuse(field, "", "the field must be given", "give it a value"),
        }
    }
}
