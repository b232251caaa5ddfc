//! The network configuration on standard input (specification, section 1).

use std::io::{self, Read};

use serde_json::{Map, Value};

use crate::{
    command::is_identifier,
    error::{CniError, Code},
    version::{self, SUPPORTED},
};

/// Most bytes of standard input. A configuration has a few hundred; GC lists every attachment of a host.
const MAX_INPUT: u64 = 16 << 20;

/// What every command but VERSION is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    /// Version of the specification.
    pub(crate) version: String,
    /// Name of the network.
    pub(crate) name: String,
}

/// Reads standard input to its end.
pub(crate) fn read_input(input: impl Read) -> Result<Vec<u8>, CniError> {
    let mut bytes = Vec::new();
    let failed =
        |error: io::Error| CniError::new(Code::InputOutput, "standard input cannot be read", error.to_string());
    input.take(MAX_INPUT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(decoding(format!("standard input is larger than {MAX_INPUT} bytes")));
    }
    Ok(bytes)
}

/// The error for what is not the JSON that it should be.
pub(crate) fn decoding(details: String) -> CniError {
    CniError::new(Code::Decoding, "standard input is not a network configuration", details)
}

/// The JSON object on standard input.
pub(crate) fn object(input: &[u8]) -> Result<Map<String, Value>, CniError> {
    match serde_json::from_slice(input) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(decoding("it is JSON, but not an object".to_owned())),
        Err(error) => Err(decoding(error.to_string())),
    }
}

/// A field that must be text.
pub(crate) fn text<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, CniError> {
    match fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(decoding(format!("{name} is {other}, but should be text"))),
    }
}

/// Reads and checks a configuration.
pub(crate) fn parse(input: &[u8]) -> Result<Configuration, CniError> {
    let fields = object(input)?;
    // Configurations without a version are of 0.1.0, says the specification; nobody speaks it any more.
    let version = text(&fields, "cniVersion")?.unwrap_or("0.1.0").to_owned();
    if !SUPPORTED.contains(&version.as_str()) {
        return Err(version::incompatible(&version));
    }
    let in_version = |error: CniError| CniError { version: Some(version.clone()), ..error };
    let name = text(&fields, "name").map_err(in_version)?.unwrap_or_default();
    if !is_identifier(name) {
        return Err(in_version(CniError::new(
            Code::InvalidConfiguration,
            "the network configuration breaks a rule",
            format!(
                "name {name:?}: a name begins with a letter or digit and goes on with letters, digits, '_', '.' and '-'"
            ),
        )));
    }
    Ok(Configuration { name: name.to_owned(), version })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_configuration_is_read() {
        let read = parse(br#"{"cniVersion": "1.0.0", "name": "intranet", "type": "andromede-cni"}"#).unwrap();
        assert_eq!(read, Configuration { version: "1.0.0".into(), name: "intranet".into() });
    }

    #[test]
    fn what_is_wrong_has_its_code() {
        let cases: [(&[u8], Code); 9] = [
            (b"", Code::Decoding),
            (b"{", Code::Decoding),
            (b"[]", Code::Decoding),
            (b"\xff", Code::Decoding),
            (br#"{"cniVersion": 1}"#, Code::Decoding),
            (br#"{"name": "x"}"#, Code::IncompatibleVersion),
            (br#"{"cniVersion": "2.0.0", "name": "x"}"#, Code::IncompatibleVersion),
            (br#"{"cniVersion": "1.1.0"}"#, Code::InvalidConfiguration),
            (br#"{"cniVersion": "1.1.0", "name": "a b"}"#, Code::InvalidConfiguration),
        ];
        for (input, code) in cases {
            assert_eq!(parse(input).unwrap_err().code, code, "{}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn endless_input_is_refused() {
        assert_eq!(read_input(io::repeat(b' ')).unwrap_err().code, Code::Decoding);
    }
}
