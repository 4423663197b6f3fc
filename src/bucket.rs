//! Buckets: from `s3://BUCKET/PREFIX` to an object store and the place in it.
//!
//! Owns: which kinds of buckets there are, where their keys come from (the variables that
//! every tool for S3 reads), and how long is waited for them. Knows nothing of what they
//! hold.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use object_store::aws::AmazonS3Builder;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use spillway_history::History;

use crate::config::environment;

const SCHEME: &str = "s3://";
/// A request to a bucket, and all its tries together.
const WITHIN: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// The bucket that a URL means, and the prefix in it. Nothing is asked of it yet. The two
/// stay apart: behind a `PrefixStore` DataFusion finds no files, and says nothing.
pub(crate) fn open(url: &str) -> Result<(Arc<dyn ObjectStore>, String), String> {
    let place = url.strip_prefix(SCHEME);
    let place = place.ok_or_else(|| format!("{url:?} is no s3://BUCKET or s3://BUCKET/PREFIX"))?;
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    if bucket.is_empty() {
        return Err(format!("{url:?} names no bucket"));
    }
    let waiting = ClientOptions::new()
        .with_timeout(WITHIN)
        .with_connect_timeout(CONNECT_WITHIN);
    // These would take the place of what `from_env` read of it.
    let plain = environment("AWS_ALLOW_HTTP").is_some_and(|allow| allow == "true");
    let store = AmazonS3Builder::from_env()
        .with_bucket_name(bucket)
        .with_client_options(waiting)
        .with_allow_http(plain)
        .with_retry(RetryConfig {
            retry_timeout: WITHIN,
            ..RetryConfig::default()
        })
        .build()
        .map_err(|error| format!("{url:?} cannot be used: {error}"))?;
    Ok((Arc::new(store), prefix.trim_matches('/').to_owned()))
}

/// History in a folder or in a bucket.
pub(crate) fn history(place: &Path) -> anyhow::Result<History> {
    let bucket = place.to_str().filter(|place| place.starts_with(SCHEME));
    let history = match bucket {
        Some(url) => {
            let (store, prefix) = open(url).map_err(anyhow::Error::msg)?;
            History::open(store, &prefix)
        }
        None => History::local(place),
    };
    history.context("the history cannot be opened")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_bucket_says_what_would_be_one() {
        for url in ["gs://bucket", "/var/lib", "s3://", "s3:///prefix"] {
            let flaw = open(url).unwrap_err();
            assert!(
                flaw.contains(url) && flaw.to_lowercase().contains("bucket"),
                "{flaw}"
            );
        }
        let (store, prefix) = open("s3://b/team a/").unwrap();
        assert_eq!(
            (store.to_string().as_str(), prefix.as_str()),
            ("AmazonS3(b)", "team a")
        );
        assert_eq!(open("s3://b").unwrap().1, "");
    }
}
