//! SPDX licence expressions (SPDX specification 2.3, annex D), as far as Cargo manifests use them.

use std::collections::BTreeSet;

/// A licence, or several of which one or all apply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// An identifier, `WITH` and its exception included.
    License(String),
    /// All of them apply.
    All(Vec<Expression>),
    /// One of them is chosen.
    Any(Vec<Expression>),
}

impl Expression {
    /// Reads an expression; `/` is the old way of writing `OR`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let mut words = spaced.split_whitespace().peekable();
        let expression = any(&mut words, 0)?;
        words.next().is_none().then_some(expression)
    }

    /// Can the terms be met with these licences only?
    pub(super) fn is_met(&self, allowed: &BTreeSet<&str>) -> bool {
        match self {
            Self::License(name) => allowed.contains(name.as_str()),
            Self::All(parts) => parts.iter().all(|part| part.is_met(allowed)),
            Self::Any(parts) => parts.iter().any(|part| part.is_met(allowed)),
        }
    }
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

/// Deeper than any licence goes.
const DEPTH_MAX: u8 = 8;

fn any(words: &mut Words<'_>, depth: u8) -> Option<Expression> {
    let mut parts = vec![all(words, depth)?];
    while words.next_if_eq(&"OR").is_some() {
        parts.push(all(words, depth)?);
    }
    if parts.len() > 1 { Some(Expression::Any(parts)) } else { parts.pop() }
}

fn all(words: &mut Words<'_>, depth: u8) -> Option<Expression> {
    let mut parts = vec![one(words, depth)?];
    while words.next_if_eq(&"AND").is_some() {
        parts.push(one(words, depth)?);
    }
    if parts.len() > 1 { Some(Expression::All(parts)) } else { parts.pop() }
}

fn one(words: &mut Words<'_>, depth: u8) -> Option<Expression> {
    match words.next()? {
        "(" if depth < DEPTH_MAX => {
            let inside = any(words, depth + 1)?;
            words.next_if_eq(&")").map(|_| inside)
        }
        "(" | ")" | "AND" | "OR" | "WITH" => None,
        name => {
            let mut name = name.to_owned();
            if words.next_if_eq(&"WITH").is_some() {
                name = format!("{name} WITH {}", words.next()?);
            }
            Some(Expression::License(name))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(text: &str, allowed: &[&str]) -> bool {
        Expression::parse(text).unwrap().is_met(&allowed.iter().copied().collect())
    }

    #[test]
    fn one_of_several_is_enough() {
        assert!(met("MIT OR Apache-2.0", &["MIT"]));
        assert!(met("MIT/Apache-2.0", &["Apache-2.0"]));
        assert!(!met("MIT OR Apache-2.0", &["ISC"]));
    }

    #[test]
    fn all_are_needed_and_bind_tighter() {
        assert!(!met("MIT AND Unicode-3.0", &["MIT"]));
        assert!(met("(MIT OR Apache-2.0) AND Unicode-3.0", &["MIT", "Unicode-3.0"]));
        assert!(met("MIT OR Apache-2.0 AND ISC", &["MIT"]));
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert!(!met("Apache-2.0 WITH LLVM-exception", &["Apache-2.0"]));
        assert!(met("Apache-2.0 WITH LLVM-exception OR MIT", &["MIT"]));
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for text in ["", "MIT AND", "(MIT", "MIT)", "OR MIT", "MIT Apache-2.0", "()", "MIT WITH"] {
            assert_eq!(Expression::parse(text), None, "{text}");
        }
        let deep = format!("{}MIT{}", "(".repeat(10_000), ")".repeat(10_000));
        assert_eq!(Expression::parse(&deep), None);
    }
}
