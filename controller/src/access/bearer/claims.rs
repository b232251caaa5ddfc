//! What a token says once its signature is known to be good: for whom, until when, and who the caller is.

use serde_json::Value;

use super::BearerError;
use crate::{
    access::principal::{Principal, Role},
    settings::TokenArgs,
};

/// How far the clocks of issuer and controller may be apart, in seconds.
pub(super) const LEEWAY: i64 = 30;
/// Stands before the name of whoever calls by a token, so that no issuer can name somebody who has a certificate.
const PREFIX: &str = "token:";

/// A caller, for as long as its token says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Who it is.
    pub principal: Principal,
    /// Until when: seconds since 1970.
    pub until: i64,
}

/// Reads the claims (RFC 7519 section 4.1) at a time, in seconds since 1970.
pub(super) fn read(claims: &Value, settings: &TokenArgs, now: i64) -> Result<Bearer, BearerError> {
    let wrong = |claim: &str, rule: &'static str| BearerError::Claim { claim: claim.to_owned(), rule };
    if claims.get("iss").and_then(Value::as_str) != settings.token_issuer.as_deref() {
        return Err(wrong("iss", "must be the issuer that the controller trusts"));
    }
    if !audiences(claims).any(|found| Some(found) == settings.token_audience.as_deref()) {
        return Err(wrong("aud", "must be or hold the audience that the controller stands for"));
    }
    let time = |claim: &'static str| match claims.get(claim) {
        None => Ok(None),
        // Some issuers write fractions.
        Some(value) => {
            let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64));
            seconds.map(Some).ok_or_else(|| wrong(claim, "must be a number of seconds since 1970"))
        }
    };
    let until = time("exp")?.ok_or_else(|| wrong("exp", "must say when the token ends"))?.saturating_add(LEEWAY);
    if now >= until {
        return Err(wrong("exp", "the token has ended; get another"));
    }
    if time("nbf")?.is_some_and(|from| now < from.saturating_sub(LEEWAY)) {
        return Err(wrong("nbf", "the token is not valid yet; compare the clocks"));
    }
    let name =
        claims.pointer(&settings.token_name_claim).and_then(Value::as_str).filter(|name| Principal::is_name(name));
    let name = name.ok_or_else(|| {
        wrong(
            &settings.token_name_claim,
            "must be a name of 1 to 122 letters, digits and \"-._@\": --token-name-claim chooses another",
        )
    })?;
    let role = role(claims, settings)?;
    Ok(Bearer { principal: Principal { role, name: format!("{PREFIX}{name}") }, until })
}

fn audiences(claims: &Value) -> impl Iterator<Item = &str> {
    texts(claims.get("aud"))
}

/// A text, or the texts of an array.
fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let (one, many) = match value {
        Some(Value::String(text)) => (Some(text.as_str()), None),
        Some(Value::Array(values)) => (None, Some(values)),
        _ => (None, None),
    };
    one.into_iter().chain(many.into_iter().flatten().filter_map(Value::as_str))
}

/// The one role that the token gives. Entries without the prefix are for others; one with it that is not understood gives nothing.
fn role(claims: &Value, settings: &TokenArgs) -> Result<Role, BearerError> {
    let claim = &settings.token_role_claim;
    let wrong = |rule| BearerError::Claim { claim: claim.clone(), rule };
    let mut found =
        texts(claims.pointer(claim)).filter_map(|text| text.strip_prefix(settings.token_role_prefix.as_str()));
    let text = found.next().ok_or_else(|| wrong("gives no role of this fabric"))?;
    if found.any(|other| other != text) {
        return Err(wrong("gives several roles; a call is made in one: ask for a token with that one"));
    }
    let (kind, tenant) = text.split_once('/').map_or((text, None), |(kind, tenant)| (kind, Some(tenant)));
    let mut tenant = tenant;
    let role = Role::of_user(kind, || tenant.take());
    role.filter(|_| tenant.is_none()).ok_or_else(|| {
        wrong("gives a role that is none of operator, network-engineer, tenant-admin/TENANT, tenant-reader/TENANT")
    })
}
