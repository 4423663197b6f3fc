//! The door to what is kept: responses in the background, files and batches.
//!
//! Owns: what all requests about them have in common: who asks, whether this proxy keeps
//! any, and which names are looked for at all.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use spillway_routing::dialect::Dialect;

use super::{Asking, guarded};
use crate::Proxy;
use crate::failure::{Failure, Kind};
use crate::inbound::{Inbound, request_id};
use crate::jobs::{Jobs, StoreError};

/// Their errors have OpenAI's form, as they have.
pub(super) const DIALECT: Dialect = Dialect::OpenAiResponses;

/// Lets a request in and does what it asks for.
pub(super) async fn asked<F>(
    proxy: &Proxy,
    request: Request<Body>,
    work: impl FnOnce(Arc<Jobs>, Inbound) -> F,
) -> Response
where
    F: Future<Output = Result<Response, Failure>>,
{
    let id = request_id();
    guarded(id, DIALECT, async {
        let inbound = Inbound::receive(proxy, id, Asking::of(DIALECT), request).await?;
        work(Arc::clone(jobs(proxy)?), inbound).await
    })
    .await
}

pub(super) fn jobs(proxy: &Proxy) -> Result<&Arc<Jobs>, Failure> {
    let message = "this proxy keeps no jobs; the operator sets folder or bucket of proxy.jobs to \
                   a place that all proxies share";
    let jobs = proxy.jobs.as_ref();
    jobs.ok_or_else(|| Failure::client(Kind::NoJobs, message))
}

/// What is kept cannot be reached.
pub(super) fn failed(error: StoreError) -> Failure {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "jobs cannot be kept or read"
    );
    let message = "what is kept cannot be reached just now; try again later";
    Failure::spillway(Kind::StoreFailed, message).after(Duration::from_secs(1))
}

/// Names become paths: only such as this proxy makes are looked for.
pub(super) fn is_name(id: &str, kind: &str) -> bool {
    let rest = id.strip_prefix(kind);
    rest.is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_become_paths() {
        assert!(is_name(&crate::jobs::new_id("file-"), "file-"));
        for wrong in [
            "file-",
            "file-../../etc/passwd",
            "resp_00000000000000000000000000000000",
        ] {
            assert!(!is_name(wrong, "file-"), "{wrong}");
        }
    }
}
