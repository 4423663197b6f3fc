//! Requests signed for AWS (Signature Version 4).
//!
//! Owns: where the keys come from (the environment's, a role's, the machine's own), and
//! the signature. Knows no dialect. `object_store` fetches, renews and signs: it does the
//! same for buckets.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri};
use object_store::aws::{
    AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, AwsCredential, AwsCredentialProvider,
};
use object_store::client::{HttpRequest, HttpRequestBody};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::timeout;

/// Keys are renewed five minutes before they run out, so that those that were given hold for
/// so long at least.
const HOLD_FOR: Duration = Duration::from_secs(240);
/// A request waits so long for keys, where there are others, and where there are none.
const RENEWED_WITHIN: Duration = Duration::from_millis(200);
const KEYS_WITHIN: Duration = Duration::from_secs(3);
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
pub struct AwsKeys {
    source: AwsCredentialProvider,
    held: Arc<Mutex<Held>>,
}

/// What is known of an identity's keys.
#[derive(Default)]
struct Held {
    /// As they were when they could be had last.
    keys: Option<Arc<AwsCredential>>,
    had_at: Option<Instant>,
    under_way: Option<watch::Receiver<bool>>,
}

impl Held {
    fn usable(&self, now: Instant) -> Option<Arc<AwsCredential>> {
        let holds = |had: Instant| now.saturating_duration_since(had) < HOLD_FOR;
        self.keys.clone().filter(|_| self.had_at.is_some_and(holds))
    }
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AwsKeys(..)")
    }
}

/// No keys could be had, or what is to be signed is no request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unsigned {
    #[error("there are no keys of AWS now")]
    NoKeys,
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
            let Some(value) = env(name) else { continue };
            let value = value.trim();
            // Some become headers, and whoever signs takes it that they can.
            if HeaderValue::from_str(value).is_err() {
                return Err(format!("variable {name} cannot stand in a header"));
            }
            if let Ok(key) = AmazonS3ConfigKey::from_str(&name.to_ascii_lowercase()) {
                builder = builder.with_config(key, value);
            }
        }
        let built = builder.build().map_err(|error| error.to_string())?;
        Ok(Self {
            source: built.credentials().clone(),
            held: Arc::default(),
        })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys of now. Where they cannot be renewed the last ones are taken, as long as
    /// they hold.
    async fn keys(&self) -> Result<Arc<AwsCredential>, Unsigned> {
        let (mut fetched, known) = {
            let mut held = self.held();
            let under_way = held.under_way.clone();
            let fetched = under_way.unwrap_or_else(|| self.fetch(&mut held));
            (fetched, held.usable(Instant::now()).is_some())
        };
        let within = if known { RENEWED_WITHIN } else { KEYS_WITHIN };
        // Whether there are some tells more than whether it came in time.
        let _ = timeout(within, fetched.wait_for(|done| *done)).await;
        let keys = self.held().usable(Instant::now());
        keys.ok_or(Unsigned::NoKeys)
    }

    /// One at a time, whoever waits for it or stops waiting.
    fn fetch(&self, held: &mut Held) -> watch::Receiver<bool> {
        let (done, fetched) = watch::channel(false);
        held.under_way = Some(fetched.clone());
        let keys = self.clone();
        tokio::spawn(async move {
            let got = keys.source.get_credential().await;
            let mut held = keys.held();
            held.under_way = None;
            match got {
                Ok(got) => (held.keys, held.had_at) = (Some(got), Some(Instant::now())),
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "AWS's keys could not be had");
                }
            }
            drop(held);
            done.send_replace(true);
        });
        fetched
    }

    /// The headers that say who asks.
    pub(crate) async fn sign(
        &self,
        uri: &Uri,
        body: &Bytes,
        region: &str,
    ) -> Result<HeaderMap, Unsigned> {
        let keys = self.keys().await?;
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
    use futures::future::BoxFuture;
    use object_store::CredentialProvider;

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

    #[derive(Debug)]
    struct Broken(Mutex<u32>);

    type Answer<'a> = BoxFuture<'a, object_store::Result<Arc<AwsCredential>>>;

    impl CredentialProvider for Broken {
        type Credential = AwsCredential;

        fn get_credential<'a, 'b>(&'a self) -> Answer<'b>
        where
            'a: 'b,
            Self: 'b,
        {
            *self.0.lock().unwrap() += 1;
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test]
    async fn a_source_that_hangs_is_asked_once_and_the_last_keys_serve_on() {
        let source = Arc::new(Broken(Mutex::default()));
        let keys = AwsKeys {
            source: Arc::clone(&source) as _,
            held: Arc::default(),
        };
        let last = self::keys().keys().await.unwrap();
        let now = Instant::now();
        {
            let mut held = keys.held();
            (held.keys, held.had_at) = (Some(last), Some(now));
        }
        let all = futures::future::join_all((0..50).map(|_| keys.keys())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(*source.0.lock().unwrap(), 1);
        // However late the first one asks, and however that fails.
        assert!(keys.held().usable(now + HOLD_FOR).is_none());
    }

    #[test]
    fn what_cannot_stand_in_a_header_is_refused_at_the_start() {
        let with = |key: &'static str| {
            AwsKeys::found(&move |name| match name {
                "AWS_ACCESS_KEY_ID" => Some(key.to_owned()),
                "AWS_SECRET_ACCESS_KEY" => Some("canary".to_owned()),
                _ => None,
            })
        };
        assert!(with("AKID\n").is_ok(), "white space around it is nothing");
        let flaw = with("AK\nID").unwrap_err();
        assert!(flaw.contains("AWS_ACCESS_KEY_ID"), "{flaw}");
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
