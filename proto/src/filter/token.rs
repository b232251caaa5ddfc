//! Words, operators and parentheses of a filter.

/// What compares a field with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Is,
    IsNot,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Has,
}

/// A part of a filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Text { text: String, quoted: bool },
    Operator(Operator),
    Open,
    Close,
}

/// A token as an error calls it.
pub(super) fn shown(token: &Token) -> String {
    match token {
        Token::Text { text, .. } => format!("{text:?}"),
        Token::Operator(_) => "an operator".to_owned(),
        Token::Open => "\"(\"".to_owned(),
        Token::Close => "\")\"".to_owned(),
    }
}

/// The tokens of a filter, or why it has none.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(first) = rest.next() {
        let mut with_equals = |yes, no| if rest.next_if_eq(&'=').is_some() { yes } else { no };
        tokens.push(match first {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '=' => Token::Operator(Operator::Is),
            ':' => Token::Operator(Operator::Has),
            '<' => Token::Operator(with_equals(Operator::AtMost, Operator::Less)),
            '>' => Token::Operator(with_equals(Operator::AtLeast, Operator::Greater)),
            '!' => {
                rest.next_if_eq(&'=').ok_or("\"!\" is followed by \"=\"")?;
                Token::Operator(Operator::IsNot)
            }
            '"' => {
                let mut quoted = String::new();
                loop {
                    match rest.next().ok_or("a quote is not closed")? {
                        '"' => break,
                        '\\' => quoted.push(rest.next().ok_or("a quote is not closed")?),
                        other => quoted.push(other),
                    }
                }
                Token::Text { text: quoted, quoted: true }
            }
            other => {
                let mut plain = String::from(other);
                // An address of IPv6 is quoted: a colon is an operator.
                while let Some(next) = rest.next_if(|c| !c.is_whitespace() && !"()=!<>:\"".contains(*c)) {
                    plain.push(next);
                }
                Token::Text { text: plain, quoted: false }
            }
        });
    }
    Ok(tokens)
}
