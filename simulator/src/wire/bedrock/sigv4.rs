//! Signatures of AWS requests (version 4), checked.
//!
//! Owns: the canonical form of a request and its signature, written from AWS's
//! description. The secret of the access key id `K` is `secret-K` here, so that a test
//! needs no table of keys. It must not know what is asked for, nor which keys are taken.
//! How old a signature is does not matter: tests have clocks of their own.

use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::ask::Refusal;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "bedrock";
/// The last part of every scope.
const TERMINATOR: &str = "aws4_request";
/// What a canonical path escapes. The path is escaped already; for every service but S3
/// this is done again, so that `%3A` becomes `%253A`.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

/// A request, as far as it is signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// The access key id of an `authorization` header; `None` where it is no signature.
pub(in crate::wire) fn access_key(authorization: &str) -> Option<&str> {
    let parts = authorization.strip_prefix(ALGORITHM)?;
    let credential = member(parts, "Credential")?;
    Some(
        credential
            .split_once('/')
            .map_or(credential, |(key, _)| key),
    )
}

/// Whether the signature of a request is its own; a request without one passes.
pub(in crate::wire) fn check(request: Signed<'_>) -> Result<(), Refusal> {
    let authorization = value(request, "authorization");
    let Some(parts) = authorization.strip_prefix(ALGORITHM) else {
        return Ok(());
    };
    let part = |name: &str| {
        let missing = format!("Authorization header requires '{name}' parameter.");
        member(parts, name).ok_or_else(|| incomplete(missing))
    };
    let (credential, names, signature) = (
        part("Credential")?,
        part("SignedHeaders")?,
        part("Signature")?,
    );
    let date = value(request, "x-amz-date");
    if date.is_empty() {
        let message = "Authorization header requires existence of either a 'X-Amz-Date' or a \
            'Date' header.";
        return Err(incomplete(message));
    }
    let (access_key, scope) = credential
        .split_once('/')
        .ok_or_else(|| incomplete(format!("Credential must have a scope, got: {credential}")))?;
    let region = check_scope(scope, &date)?;
    check_names(request, names)?;
    let canonical = canonical(request, names);
    let to_sign = format!(
        "{ALGORITHM}\n{date}\n{scope}\n{}",
        hash(canonical.as_bytes())
    );
    let day = date.get(..8).unwrap_or_default();
    let mut key = format!("AWS4secret-{access_key}").into_bytes();
    for step in [day, region, SERVICE, TERMINATOR] {
        key = hmac(&key, step);
    }
    if hex(&hmac(&key, &to_sign)) == signature {
        return Ok(());
    }
    Err(invalid(format!(
        "The request signature we calculated does not match the signature you provided. Check \
         your AWS Secret Access Key and signing method. Consult the service documentation for \
         details.\n\nThe Canonical String for this request should have been\n'{canonical}'\n\n\
         The String-to-Sign should have been\n'{to_sign}'\n"
    )))
}

/// The region of a scope that is one.
fn check_scope<'a>(scope: &'a str, date: &str) -> Result<&'a str, Refusal> {
    let parts: Vec<&str> = scope.split('/').collect();
    let [day, region, service, terminator] = parts[..] else {
        return Err(incomplete(format!(
            "Credential must have exactly 5 slash-delimited elements, e.g. \
             keyid/date/region/service/term, got: '{scope}'"
        )));
    };
    if service != SERVICE {
        return Err(invalid(format!(
            "Credential should be scoped to correct service: '{SERVICE}'. "
        )));
    }
    if terminator != TERMINATOR || region.is_empty() {
        return Err(invalid("Credential should be scoped to a valid region."));
    }
    if !date.starts_with(day) || day.len() != 8 {
        return Err(invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date \
             from HTTP: '{day}' != '{}', from '{date}'.",
            date.get(..8).unwrap_or_default()
        )));
    }
    Ok(region)
}

/// The host and all of Amazon's own headers (a session token above all) must be signed.
fn check_names(request: Signed<'_>, names: &str) -> Result<(), Refusal> {
    let signed = |name: &str| names.split(';').any(|signed| signed == name);
    if !signed("host") {
        let message = "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.";
        return Err(invalid(message));
    }
    let mut all = request.headers.keys().map(http::HeaderName::as_str);
    match all.find(|name| name.starts_with("x-amz-") && !signed(name)) {
        None => Ok(()),
        Some(name) => Err(Refusal::new(
            403,
            format!("There were headers present in the request which were not signed: {name}"),
        )),
    }
}

fn canonical(request: Signed<'_>, names: &str) -> String {
    let path = utf8_percent_encode(request.uri.path(), &ESCAPED);
    let mut query: Vec<String> = request
        .uri
        .query()
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let valued = pair.contains('=');
            if valued {
                pair.to_owned()
            } else {
                format!("{pair}=")
            }
        })
        .collect();
    query.sort();
    let lines = names
        .split(';')
        .map(|name| format!("{name}:{}\n", value(request, name)));
    format!(
        "{}\n{path}\n{}\n{}\n{names}\n{}",
        request.method,
        query.join("&"),
        lines.collect::<String>(),
        hash(request.body)
    )
}

/// The canonical value of a header: all its values, without needless space.
fn value(request: Signed<'_>, name: &str) -> String {
    let all = request.headers.get_all(name).into_iter();
    let texts = all.filter_map(|value| value.to_str().ok());
    let trimmed = texts.map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let values: Vec<String> = trimmed.collect();
    if values.is_empty() && name == "host" {
        // HTTP/2 has it in the address.
        let authority = request.uri.authority();
        return authority.map(ToString::to_string).unwrap_or_default();
    }
    values.join(",")
}

fn member<'a>(parts: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parts
        .split(',')
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value)
}

fn incomplete(message: impl Into<String>) -> Refusal {
    Refusal::new(403, message).coded("IncompleteSignatureException")
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(403, message).coded("InvalidSignatureException")
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    // A key of any length is taken; the empty one stands for what cannot be.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
