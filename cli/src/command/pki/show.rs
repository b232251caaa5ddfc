//! What a certificate says, in words.

use std::{
    fmt::Write as _,
    net::{Ipv4Addr, Ipv6Addr},
    path::Path,
};

use time::OffsetDateTime;
use x509_parser::{
    certificate::X509Certificate,
    pem::parse_x509_pem,
    prelude::{GeneralName, ParsedExtension},
};

use super::{SCHEME, files};
use crate::failure::Failure;

/// Role, name, addresses, issuer and validity of the first certificate in a file.
pub(super) fn describe(path: &Path) -> Result<String, Failure> {
    let text = files::read(path)?;
    let refused = |rule: &str| Failure::Refused(format!("{}: {rule}", path.display()));
    let (_, pem) = parse_x509_pem(text.as_bytes()).map_err(|_| refused("not a certificate in PEM"))?;
    let certificate = pem.parse_x509().map_err(|_| refused("not an X.509 certificate"))?;
    let validity = certificate.validity();
    let (from, until) = (validity.not_before.to_datetime(), validity.not_after.to_datetime());
    let now = OffsetDateTime::now_utc();
    let state = match () {
        () if now < from => "not valid yet".to_owned(),
        () if now > until => "EXPIRED".to_owned(),
        () => format!("valid, {} days left", (until - now).whole_days()),
    };
    let names = alternative_names(&certificate);
    let (holder, dialled): (Vec<&String>, Vec<&String>) = names.iter().partition(|name| name.starts_with(SCHEME));
    let holder = match holder.first() {
        Some(uri) => uri.trim_start_matches(SCHEME).replacen('/', " ", 1),
        None if certificate.is_ca() => "an authority".to_owned(),
        None => "nobody: it has no andromede:// name".to_owned(),
    };
    let dialled: Vec<&str> = dialled.iter().map(|name| name.as_str()).collect();
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{}", path.display());
    let _ = writeln!(out, "  for         {holder}");
    let _ = writeln!(out, "  subject     {}", certificate.subject());
    let _ = writeln!(out, "  issuer      {}", certificate.issuer());
    if !dialled.is_empty() {
        let _ = writeln!(out, "  dialled as  {}", dialled.join(", "));
    }
    let _ = writeln!(out, "  from        {}", validity.not_before);
    let _ = writeln!(out, "  until       {}", validity.not_after);
    let _ = writeln!(out, "  now         {state}");
    Ok(out)
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let extensions = certificate.extensions().iter();
    let names = extensions.filter_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
        _ => None,
    });
    names.flatten().map(show_name).collect()
}

fn show_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::DNSName(text) | GeneralName::URI(text) => (*text).to_owned(),
        GeneralName::IPAddress(bytes) => <[u8; 4]>::try_from(*bytes)
            .map(|octets| Ipv4Addr::from(octets).to_string())
            .or_else(|_| <[u8; 16]>::try_from(*bytes).map(|octets| Ipv6Addr::from(octets).to_string()))
            .unwrap_or_else(|_| "an address of a wrong length".to_owned()),
        other => other.to_string(),
    }
}
