//! Sets of keys as issuers publish them: JSON Web Key Sets (RFC 7517).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::key::{Algorithm, Key};

/// Most bytes of a set.
pub(super) const BYTES: u64 = 256 << 10;
/// Most keys of a set.
const KEYS: usize = 64;
/// Sizes of the modulus of RSA, in bytes.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1_024;

/// The keys of an issuer that can verify tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeySet {
    /// Each with its `kid`, if it has one.
    keys: Vec<(Option<String>, Key)>,
}

/// Why a set of keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It could not be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is too long.
    #[error("more than {BYTES} bytes; name the file that the issuer publishes as its jwks_uri")]
    Long,
    /// It is no set of keys.
    #[error("no JSON Web Key Set (RFC 7517): an object with the array \"keys\" of at most {KEYS} keys is expected")]
    Form,
    /// A key is not as it must be.
    #[error("keys[{place}].{field}: {rule}")]
    Key {
        /// Its place in the array.
        place: usize,
        /// The member.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// No key is of use.
    #[error(
        "no key that verifies tokens: RSA of 2,048 to 8,192 bits, EC on P-256, or OKP on Ed25519, for signatures; \
         symmetric keys are never used"
    )]
    Empty,
}

/// A member of a key that is not as it must be.
type Wrong = (&'static str, &'static str);

impl KeySet {
    /// Reads a set. Keys of other kinds and for other uses are passed over (RFC 7517 section 5); what looks like one of ours must be
    /// right.
    pub(super) fn read(text: &[u8]) -> Result<Self, KeySetError> {
        let set: Value = serde_json::from_slice(text).map_err(|_| KeySetError::Form)?;
        let members = set.get("keys").and_then(Value::as_array).filter(|keys| keys.len() <= KEYS);
        let mut keys: Vec<(Option<String>, Key)> = Vec::new();
        for (place, member) in members.ok_or(KeySetError::Form)?.iter().enumerate() {
            let wrong = |(field, rule)| KeySetError::Key { place, field, rule };
            let Some(key) = key(member).map_err(wrong)? else { continue };
            let id = member.get("kid").and_then(Value::as_str).map(str::to_owned);
            if id.is_some() && keys.iter().any(|(other, _)| *other == id) {
                return Err(wrong(("kid", "two keys have the same")));
            }
            keys.push((id, key));
        }
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys }) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that a token names; of a token that names none, the only one of the algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let fits = |(own, key): &&(Option<String>, Key)| {
            key.algorithm() == algorithm && id.is_none_or(|id| own.as_deref() == Some(id))
        };
        let mut found = self.keys.iter().filter(fits);
        match (found.next(), found.next()) {
            (Some((_, key)), None) => Some(key),
            _ => None,
        }
    }
}

/// A key; none if it is of no use here.
fn key(member: &Value) -> Result<Option<Key>, Wrong> {
    let text = |field: &str| member.get(field).and_then(Value::as_str).unwrap_or_default();
    if !matches!(text("use"), "" | "sig") {
        return Ok(None);
    }
    let found = match (text("kty"), text("crv")) {
        ("RSA", _) => rsa(member)?,
        ("EC", "P-256") => {
            let mut point = [4; 65];
            let (x, y) = (bytes(member, "x")?, bytes(member, "y")?);
            let (x, y) = (exactly(&x, "x")?, exactly(&y, "y")?);
            for (place, byte) in point.iter_mut().skip(1).zip(x.into_iter().chain(y)) {
                *place = byte;
            }
            Key::P256(point)
        }
        ("OKP", "Ed25519") => Key::Ed25519(exactly(&bytes(member, "x")?, "x")?),
        _ => return Ok(None),
    };
    // RSA keys may be for other algorithms, such as PS256.
    let named = text("alg");
    Ok(Some(found).filter(|key| named.is_empty() || named == key.algorithm().name()))
}

fn rsa(member: &Value) -> Result<Key, Wrong> {
    let number = |field| {
        let bytes = bytes(member, field)?;
        Ok::<_, Wrong>(bytes.into_iter().skip_while(|byte| *byte == 0).collect::<Vec<_>>())
    };
    let (modulus, exponent) = (number("n")?, number("e")?);
    if !MODULUS.contains(&modulus.len()) {
        return Err(("n", "a modulus of 2,048 to 8,192 bits"));
    }
    if exponent.is_empty() || exponent.len() > 4 {
        return Err(("e", "an exponent of at most 32 bits"));
    }
    Ok(Key::Rsa { modulus, exponent })
}

fn bytes(member: &Value, field: &'static str) -> Result<Vec<u8>, Wrong> {
    let text = member.get(field).and_then(Value::as_str).ok_or((field, "is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| (field, "base64url without padding (RFC 7515 section 2)"))
}

fn exactly(bytes: &[u8], field: &'static str) -> Result<[u8; 32], Wrong> {
    bytes.try_into().map_err(|_| (field, "32 bytes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// RFC 7515 appendix A.2.1.
    const MODULUS_2048: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    const RSA_SIGNED: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RSA_SIGNATURE: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    /// RFC 7515 appendix A.3.1.
    const POINT: (&str, &str) =
        ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
    const EC_SIGNED: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const EC_SIGNATURE: &str = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    /// RFC 8037 appendix A.4.
    const ED_POINT: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const ED_SIGNED: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    const ED_SIGNATURE: &str = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    fn set(keys: &[String]) -> Result<KeySet, KeySetError> {
        KeySet::read(format!("{{\"keys\": [{}]}}", keys.join(",")).as_bytes())
    }

    fn rfc() -> [String; 3] {
        [
            format!(r#"{{"kty":"RSA","kid":"r","n":"{MODULUS_2048}","e":"AQAB","alg":"RS256","use":"sig"}}"#),
            format!(r#"{{"kty":"EC","kid":"e","crv":"P-256","x":"{}","y":"{}"}}"#, POINT.0, POINT.1),
            format!(r#"{{"kty":"OKP","kid":"d","crv":"Ed25519","x":"{ED_POINT}"}}"#),
        ]
    }

    #[test]
    fn the_signatures_of_the_standards_verify_and_no_other() {
        let set = set(&rfc()).unwrap();
        for (algorithm, signed, signature) in [
            (Algorithm::Rs256, RSA_SIGNED, RSA_SIGNATURE),
            (Algorithm::Es256, EC_SIGNED, EC_SIGNATURE),
            (Algorithm::EdDsa, ED_SIGNED, ED_SIGNATURE),
        ] {
            let key = set.find(None, algorithm).unwrap();
            let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            assert!(key.verifies(signed.as_bytes(), &signature), "{algorithm:?}");
            assert!(!key.verifies(&signed.as_bytes()[1..], &signature), "{algorithm:?}");
            signature[7] ^= 1;
            assert!(!key.verifies(signed.as_bytes(), &signature), "{algorithm:?}");
            assert!(!key.verifies(signed.as_bytes(), &[]), "{algorithm:?}");
        }
    }

    #[test]
    fn a_key_is_found_by_its_name_and_only_for_its_algorithm() {
        let [rsa, ec, ed] = rfc();
        let found = set(&[rsa.clone(), ec, ed]).unwrap();
        assert_eq!(found.len(), 3);
        assert!(found.find(Some("r"), Algorithm::Rs256).is_some() && found.find(Some("r"), Algorithm::Es256).is_none());
        assert!(found.find(Some("x"), Algorithm::Rs256).is_none());
        let two = set(&[rsa.clone(), rsa.replace("\"r\"", "\"r2\"")]).unwrap();
        assert!(two.find(None, Algorithm::Rs256).is_none(), "which of the two?");
        let same = set(&[rsa.clone(), rsa]).unwrap_err();
        assert_eq!(same, KeySetError::Key { place: 1, field: "kid", rule: "two keys have the same" });
    }

    #[test]
    fn what_is_no_key_of_ours_is_passed_over_and_what_is_wrong_refused() {
        let [rsa, ec, ed] = rfc();
        for other in [
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#
                .to_owned(),
            rsa.replace("\"sig\"", "\"enc\""),
            rsa.replace("RS256", "PS256"),
            ec.replace("P-256", "P-384"),
            "7".to_owned(),
        ] {
            assert_eq!(set(&[other]), Err(KeySetError::Empty));
        }
        for (wrong, field) in [
            (rsa.replace(MODULUS_2048, "AQAB"), "n"),
            (rsa.replace("AQAB", "AAAA"), "e"),
            (rsa.replace("AQAB", "A=="), "e"),
            (ec.replace(POINT.0, "AQAB"), "x"),
            (ed.replace("\"x\"", "\"z\""), "x"),
        ] {
            let refused = set(std::slice::from_ref(&wrong)).unwrap_err();
            assert!(matches!(refused, KeySetError::Key { place: 0, field: found, .. } if found == field), "{wrong}");
        }
        for text in ["", "{}", "[]", r#"{"keys": 1}"#] {
            assert_eq!(KeySet::read(text.as_bytes()), Err(KeySetError::Form), "{text}");
        }
    }
}
