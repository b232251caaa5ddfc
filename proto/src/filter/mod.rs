//! Filters of lists: a part of google.aip.dev/160.
//!
//! ```text
//! all      = any { "AND" any }
//! any      = one { "OR" one }              OR binds more tightly than AND, as in AIP-160
//! one      = [ "NOT" | "-" ] ( "(" all ")" | comparison )
//! comparison = FIELD OPERATOR VALUE        FIELD is a field's name, or "labels.KEY"
//! ```
//!
//! Operators are `=` `!=` `<` `<=` `>` `>=`, and `:` for "has": an element of a list, a key of a map, or, with `*`, anything
//! at all. A `*` at the beginning or the end of a text stands for anything.

mod token;

use andromede_model::Violation;
use prost_reflect::{DynamicMessage, FieldDescriptor, MapKey, MessageDescriptor, Value};

use token::{Operator, Token, shown, tokens};

use crate::{
    mask::{inner, message_of},
    v1::Resource,
};

/// Most bytes of a filter.
const BYTES: usize = 1_000;
/// Most comparisons, and how deep parentheses go.
const COMPARISONS: usize = 32;
/// See [`COMPARISONS`].
const DEPTH: usize = 8;

/// A filter of resources of one kind.
#[derive(Clone, Debug)]
pub struct Filter(Option<Expression>);

#[derive(Clone, Debug)]
enum Expression {
    All(Vec<Expression>),
    Any(Vec<Expression>),
    Not(Box<Expression>),
    Comparison(Comparison),
}

#[derive(Clone, Debug)]
struct Comparison {
    field: FieldDescriptor,
    /// Key of a map.
    key: Option<String>,
    operator: Operator,
    value: String,
}

impl Filter {
    /// Reads a filter of resources of the kind ("Port"). An empty text lets everything pass.
    pub fn new(kind: &str, text: &str) -> Result<Self, Violation> {
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        let refuse = |rule: String| {
            let fix = "write for example: host = \"hosts/h1\" AND labels.env = \"prod\"";
            Violation::new("filter", text, rule, fix)
        };
        if text.len() > BYTES {
            return Err(refuse(format!("a filter has at most {BYTES} bytes")));
        }
        let message = message_of(kind).map_err(|error| refuse(error.to_string()))?;
        let tokens = tokens(text).map_err(refuse)?;
        let mut reader = Reader { tokens: tokens.into_iter().peekable(), message, comparisons: 0 };
        let read = reader.all(0).map_err(refuse)?;
        match reader.tokens.next() {
            None => Ok(Self(Some(read))),
            Some(token) => Err(refuse(format!("AND or OR is due before {}", shown(&token)))),
        }
    }

    /// Does the resource pass? It is of the kind for which the filter was read.
    pub fn admits(&self, resource: &Resource) -> bool {
        let Some(expression) = &self.0 else { return true };
        inner(resource).is_ok_and(|(_, message)| expression.holds(&message))
    }

    /// Does everything pass?
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

struct Reader {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
    message: MessageDescriptor,
    comparisons: usize,
}

impl Reader {
    /// Takes the next token if it is this word.
    fn word(&mut self, word: &str) -> bool {
        self.tokens.next_if(|token| matches!(token, Token::Text { text, quoted: false } if text == word)).is_some()
    }

    fn all(&mut self, depth: usize) -> Result<Expression, String> {
        let mut parts = vec![self.any(depth)?];
        while self.word("AND") {
            parts.push(self.any(depth)?);
        }
        Ok(Expression::All(parts))
    }

    fn any(&mut self, depth: usize) -> Result<Expression, String> {
        let mut parts = vec![self.one(depth)?];
        while self.word("OR") {
            parts.push(self.one(depth)?);
        }
        Ok(Expression::Any(parts))
    }

    fn one(&mut self, depth: usize) -> Result<Expression, String> {
        if depth >= DEPTH {
            return Err(format!("parentheses and negations go at most {DEPTH} deep"));
        }
        if self.word("NOT") || self.word("-") {
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.tokens.next_if_eq(&Token::Open).is_some() {
            let inner = self.all(depth + 1)?;
            return self
                .tokens
                .next_if_eq(&Token::Close)
                .map(|_| inner)
                .ok_or("a parenthesis is not closed".to_owned());
        }
        self.comparison().map(Expression::Comparison)
    }

    fn comparison(&mut self) -> Result<Comparison, String> {
        self.comparisons += 1;
        if self.comparisons > COMPARISONS {
            return Err(format!("a filter has at most {COMPARISONS} comparisons"));
        }
        let name = match self.tokens.next() {
            Some(Token::Text { text, quoted: false }) => text,
            Some(token) => return Err(format!("the name of a field is due, not {}", shown(&token))),
            None => return Err("the name of a field is due at the end".to_owned()),
        };
        let Some(Token::Operator(operator)) = self.tokens.next() else {
            return Err(format!("an operator is due after {name:?}: = != < <= > >= or :"));
        };
        let Some(Token::Text { text: value, .. }) = self.tokens.next() else {
            return Err(format!("a value is due after {name:?} and the operator"));
        };
        let (field, key) = name.split_once('.').map_or((name.as_str(), None), |(field, key)| (field, Some(key)));
        let field = self.message.get_field_by_name(field).filter(|field| key.is_none() || field.is_map());
        let Some(field) = field else {
            let names: Vec<String> = self.message.fields().map(|field| field.name().to_owned()).collect();
            return Err(format!("a {} has no field {name:?}; it has: {}", self.message.name(), names.join(", ")));
        };
        let comparison = Comparison { field, key: key.map(str::to_owned), operator, value };
        comparison.check(&name).map(|()| comparison)
    }
}

impl Comparison {
    /// Does the operator go with the field?
    fn check(&self, name: &str) -> Result<(), String> {
        let several = self.field.is_list() || (self.field.is_map() && self.key.is_none());
        let number = is_number(&self.field) && !several;
        match self.operator {
            Operator::Has => Ok(()),
            _ if several => Err(format!("{name} holds several values: ask with \":\" for one of them")),
            Operator::Is | Operator::IsNot if !number => Ok(()),
            _ if !number => Err(format!("{name} is no number: compare it with = or !=")),
            _ if self.value.parse::<u64>().is_err() => Err(format!("{name} is compared with a whole number")),
            _ => Ok(()),
        }
    }

    fn holds(&self, message: &DynamicMessage) -> bool {
        let value = message.get_field(&self.field);
        match (value.as_ref(), &self.key) {
            (Value::Map(map), Some(key)) => {
                let found = map.get(&MapKey::String(key.clone()));
                match self.operator {
                    Operator::Has => found.and_then(Value::as_str).is_some_and(|text| fits(text, &self.value)),
                    _ => self.compare(found.unwrap_or(&Value::String(String::new()))),
                }
            }
            (Value::Map(map), None) => map.keys().filter_map(MapKey::as_str).any(|key| fits(key, &self.value)),
            (Value::List(list), _) => {
                let fits = |item: &Value| item.as_str().map_or(self.value == "*", |text| fits(text, &self.value));
                list.iter().any(fits)
            }
            (value, _) if self.operator == Operator::Has && self.value == "*" => {
                message.has_field(&self.field) && !value.as_str().is_some_and(str::is_empty)
            }
            (value, _) => self.compare(value),
        }
    }

    fn compare(&self, found: &Value) -> bool {
        if let Some(text) = found.as_str() {
            return fits(text, &self.value) == (self.operator != Operator::IsNot);
        }
        let found = found.as_u64().or_else(|| found.as_u32().map(u64::from));
        let (Some(found), Ok(wanted)) = (found, self.value.parse::<u64>()) else {
            return self.operator == Operator::IsNot;
        };
        match self.operator {
            Operator::Is | Operator::Has => found == wanted,
            Operator::IsNot => found != wanted,
            Operator::Less => found < wanted,
            Operator::AtMost => found <= wanted,
            Operator::Greater => found > wanted,
            Operator::AtLeast => found >= wanted,
        }
    }
}

fn is_number(field: &FieldDescriptor) -> bool {
    matches!(field.kind(), prost_reflect::Kind::Uint32 | prost_reflect::Kind::Uint64)
}

/// Is the text that of the pattern, where a "*" at its beginning or end stands for anything?
fn fits(text: &str, pattern: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        _ if pattern == "*" => true,
        (Some(_), Some(_)) => text.contains(pattern.trim_matches('*')),
        (Some(end), None) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (None, None) => text == pattern,
    }
}

impl Expression {
    fn holds(&self, message: &DynamicMessage) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.holds(message)),
            Self::Any(parts) => parts.iter().any(|part| part.holds(message)),
            Self::Not(part) => !part.holds(message),
            Self::Comparison(comparison) => comparison.holds(message),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::v1::Port;

    fn port() -> Resource {
        Port {
            name: "tenants/t/networks/n/ports/web-1".to_owned(),
            addresses: vec!["10.0.0.7".to_owned(), "fd00::7".to_owned()],
            host: "hosts/h1".to_owned(),
            revision: 12,
            labels: [("env".to_owned(), "prod".to_owned()), ("a.b/c".to_owned(), String::new())].into(),
            ..Port::default()
        }
        .into()
    }

    #[test]
    fn filters_say_what_they_mean() {
        for (filter, admitted) in [
            ("", true),
            ("host = \"hosts/h1\"", true),
            ("host = hosts/h2", false),
            ("host != hosts/h2", true),
            ("host = hosts/*", true),
            ("name = *web-1", true),
            ("name = *web*", true),
            ("addresses:10.0.0.7", true),
            ("addresses:\"fd00::7\"", true),
            ("addresses:10.0.0.*", true),
            ("addresses:10.0.0.8", false),
            ("security_groups:*", false),
            ("mac:*", false),
            ("host:*", true),
            ("revision >= 12 AND revision < 13", true),
            ("revision > 12", false),
            ("labels:env", true),
            ("labels:none", false),
            ("labels.env = prod", true),
            ("labels.env:*", true),
            ("labels.a.b/c = \"\"", true),
            ("labels.none != prod", true),
            ("NOT labels.env = prod", false),
            ("- host = hosts/h2", true),
            ("host = hosts/h2 OR host = hosts/h1 AND labels:env", true),
            ("host = hosts/h1 OR host = hosts/h3 AND labels:none", false),
            ("(host = hosts/h2 AND labels:env) OR revision = 12", true),
        ] {
            assert_eq!(Filter::new("Port", filter).unwrap().admits(&port()), admitted, "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for filter in [
            "host",
            "host =",
            "= x",
            "host = a b",
            "host = a AND",
            "(host = a",
            "host = a)",
            "host > a",
            "revision > soon",
            "addresses = 10.0.0.7",
            "labels = x",
            "host.x = y",
            "nothing = y",
            "host ! a",
            "host = \"a",
            "\"host\" = a",
        ] {
            let refused = Filter::new("Port", filter).unwrap_err();
            assert_eq!(refused.field, "filter", "{filter}");
        }
        assert!(Filter::new("Port", &"(".repeat(900)).is_err());
        assert!(Filter::new("Port", &"NOT ".repeat(200)).is_err());
        assert!(Filter::new("Port", &vec!["host=a"; 33].join(" OR ")).is_err());
        assert!(Filter::new("Port", &format!("host = {}", "a".repeat(1_000))).is_err());
        assert!(Filter::new("Router", "host = a").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-z():=!<>\"* .\\\\-]{0,60}|.{0,40}") {
            if let Ok(filter) = Filter::new("Port", &text) {
                filter.admits(&port());
            }
        }
    }
}
