//! Tests of signatures: the good ones were made by botocore.

use super::*;

const BODY: &[u8] = br#"{"messages":[{"role":"user","content":[{"text":"one two three"}]}]}"#;
const PATH: &str = "/alpha/model/anthropic.claude-v1%3A0/converse";
const PLAIN: &str = "d6a65d93631e6f8d30f0ae321476bf4ad39a7565684cb8096ff79622b289eb95";
const SCOPE: &str = "20261127/us-east-1/bedrock/aws4_request";

/// A request that botocore signed so, at seven in the morning.
fn signed(names: &str, signature: &str) -> HeaderMap {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=AKIATEST/{SCOPE}, SignedHeaders={names}, \
         Signature={signature}"
    );
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "sim"),
        ("content-type", "application/json"),
        ("x-amz-date", "20261127T070000Z"),
        ("authorization", &authorization),
    ] {
        headers.insert(name, value.parse().unwrap());
    }
    headers
}

fn plain() -> HeaderMap {
    signed("content-type;host;x-amz-date", PLAIN)
}

fn verdict(uri: &str, headers: &HeaderMap, body: &[u8]) -> Result<(), Refusal> {
    check(Signed {
        method: &Method::POST,
        uri: &uri.parse().unwrap(),
        headers,
        body,
    })
}

#[track_caller]
fn refused(verdict: Result<(), Refusal>, code: &str, why: &str) {
    let refusal = verdict.unwrap_err();
    assert_eq!(refusal.status, 403);
    assert_eq!(refusal.code.unwrap_or("AccessDeniedException"), code);
    assert!(refusal.message.contains(why), "{}", refusal.message);
}

#[test]
fn what_botocore_signs_is_its_own() {
    assert_eq!(verdict(PATH, &plain(), BODY), Ok(()));
    let names = "content-type;host;x-amz-date;x-amz-security-token";
    let signature = "adca55e19efa7355109c6a52bcb20b3b3780ba73f8d0eb3063e171f79640c5fd";
    let mut headers = signed(names, signature);
    headers.insert("x-amz-security-token", "tok/en".parse().unwrap());
    assert_eq!(verdict(PATH, &headers, BODY), Ok(()));
    let signature = "7a8ac70252501da282e3124b116efe68b349d1128c8e2e5645e0f85d2746c503";
    let headers = signed("content-type;host;x-amz-date", signature);
    assert_eq!(verdict(&format!("{PATH}?b=2&a"), &headers, BODY), Ok(()));
}

#[test]
fn a_host_can_be_in_the_address() {
    let mut headers = plain();
    headers.remove("host");
    assert_eq!(
        verdict(&format!("http://sim{PATH}"), &headers, BODY),
        Ok(())
    );
}

#[test]
fn a_request_without_one_passes() {
    assert_eq!(verdict(PATH, &HeaderMap::new(), BODY), Ok(()));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer k".parse().unwrap());
    assert_eq!(verdict(PATH, &headers, BODY), Ok(()));
    assert_eq!(access_key("Bearer k"), None);
    let signed = plain();
    let authorization = signed["authorization"].to_str().unwrap();
    assert_eq!(access_key(authorization), Some("AKIATEST"));
}

#[test]
fn whatever_is_changed_breaks_it() {
    let (code, why) = ("InvalidSignatureException", "does not match the signature");
    refused(verdict(PATH, &plain(), b"{}"), code, why);
    refused(
        verdict("/alpha/model/other/converse", &plain(), BODY),
        code,
        why,
    );
    refused(verdict(&format!("{PATH}?a=1"), &plain(), BODY), code, why);
    // A path that is escaped once only.
    let once = PATH.replace("%3A", ":");
    refused(verdict(&once, &plain(), BODY), code, why);
    for (name, value) in [
        ("host", "other"),
        ("content-type", "text/plain"),
        ("x-amz-date", "20261127T080000Z"),
    ] {
        let mut headers = plain();
        headers.insert(name, value.parse().unwrap());
        refused(verdict(PATH, &headers, BODY), code, why);
    }
    let forged = signed("content-type;host;x-amz-date", &PLAIN.replace('d', "e"));
    refused(verdict(PATH, &forged, BODY), code, why);
}

#[test]
fn its_parts_are_checked() {
    let of = |from: &str, to: &str| {
        let mut headers = plain();
        let authorization = headers["authorization"].to_str().unwrap();
        let changed = authorization.replace(from, to);
        headers.insert("authorization", changed.parse().unwrap());
        verdict(PATH, &headers, BODY)
    };
    let (incomplete, invalid) = ("IncompleteSignatureException", "InvalidSignatureException");
    refused(
        of("Signature=", "Sign="),
        incomplete,
        "'Signature' parameter",
    );
    refused(
        of("Credential=", "Creds="),
        incomplete,
        "'Credential' parameter",
    );
    refused(of("/us-east-1", ""), incomplete, "exactly 5");
    refused(
        of("/bedrock/", "/s3/"),
        invalid,
        "correct service: 'bedrock'",
    );
    refused(
        of("/20261127/", "/20261126/"),
        invalid,
        "does not match YYYYMMDD",
    );
    refused(of("host;", ""), invalid, "'Host'");
    let mut headers = plain();
    headers.remove("x-amz-date");
    refused(verdict(PATH, &headers, BODY), incomplete, "X-Amz-Date");
    let mut headers = plain();
    headers.insert("x-amz-security-token", "unsigned".parse().unwrap());
    refused(
        verdict(PATH, &headers, BODY),
        "AccessDeniedException",
        "not signed",
    );
}
