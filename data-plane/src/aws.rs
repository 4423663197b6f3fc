//! Requests signed for AWS (Signature Version 4).
//!
//! Owns: where the keys come from (the environment's, a role's, the machine's own), and
//! the signature. Knows no dialect. `object_store` fetches, renews and signs: it does the
//! same for buckets.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredentialProvider};
use object_store::client::{HttpRequest, HttpRequestBody};
use sha2::{Digest, Sha256};

/// What AWS calls the thing that a request is signed for.
const SERVICE: &str = "bedrock";
/// The variables that every tool for AWS reads its keys from.
const VARIABLES: [&str; 9] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
];

/// An identity at AWS; its keys are fetched when they are needed and kept while they hold.
#[derive(Clone)]
pub struct AwsKeys(AwsCredentialProvider);

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKeys(..)")
    }
}

/// No keys could be had, or what is to be signed is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsigned {
    #[error("AWS's keys could not be had")]
    NoKeys(#[from] object_store::Error),
    #[error("the address is wrong")]
    Address(#[from] http::Error),
}

impl AwsKeys {
    /// The identity that the environment names, else the machine's own. Nothing is asked
    /// of AWS yet; an error says what is wrong.
    pub fn found(env: &dyn Fn(&str) -> Option<String>) -> Result<Self, String> {
        // The builder finds identities for buckets; which bucket does not matter.
        let mut builder = AmazonS3Builder::new().with_bucket_name("none");
        let region = env("AWS_REGION").or_else(|| env("AWS_DEFAULT_REGION"));
        if let Some(region) = region {
            builder = builder.with_region(region);
        }
        for name in VARIABLES {
            if let (Some(value), Ok(key)) = (
                env(name),
                AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()),
            ) {
                builder = builder.with_config(key, value);
            }
        }
        let built = builder.build().map_err(|error| error.to_string())?;
        Ok(Self(built.credentials().clone()))
    }

    /// The headers that say who asks.
    pub(crate) async fn sign(
        &self,
        uri: &Uri,
        body: &Bytes,
        region: &str,
    ) -> Result<HeaderMap, Unsigned> {
        let keys = self.0.get_credential().await?;
        let request = http::Request::builder().method(Method::POST).uri(uri);
        let mut request: HttpRequest = request.body(HttpRequestBody::empty())?;
        let digest = Sha256::digest(body);
        AwsAuthorizer::new(&keys, SERVICE, region).authorize(&mut request, Some(&digest));
        let mut headers = std::mem::take(request.headers_mut());
        // The connection sets its own.
        headers.remove(http::header::HOST);
        for value in headers.values_mut() {
            value.set_sensitive(true);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> AwsKeys {
        let env = |name: &str| match name {
            "AWS_ACCESS_KEY_ID" => Some("AKID".to_owned()),
            "AWS_SECRET_ACCESS_KEY" => Some("canary".to_owned()),
            "AWS_SESSION_TOKEN" => Some("token".to_owned()),
            _ => None,
        };
        AwsKeys::found(&env).unwrap()
    }

    #[tokio::test]
    async fn a_request_is_signed_for_its_region() {
        let uri = Uri::from_static(
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/a%3A0/converse",
        );
        let body = Bytes::from_static(b"{}");
        let headers = keys().sign(&uri, &body, "eu-west-1").await.unwrap();
        let shown = headers["authorization"].to_str().unwrap();
        assert!(
            shown.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
            "{shown}"
        );
        assert!(shown.contains("/eu-west-1/bedrock/aws4_request"), "{shown}");
        assert_eq!(headers["x-amz-security-token"], "token");
        assert!(!headers.contains_key("host"));
    }

    #[tokio::test]
    async fn nothing_shows_in_debug_output() {
        let uri = Uri::from_static("https://h/");
        let headers = keys().sign(&uri, &Bytes::new(), "eu-west-1").await.unwrap();
        let shown = format!("{:?} {headers:?}", keys());
        assert!(
            !shown.contains("canary") && !shown.contains("AKID"),
            "{shown}"
        );
    }
}
