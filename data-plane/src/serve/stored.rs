//! Responses and interactions that a provider keeps.
//!
//! Owns: passing on what is asked about them to the account that their id names. What runs
//! in the background is kept here instead (`background.rs`).

use std::future::Future;

use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{Method, Request, header};
use spillway_routing::account::Account;
use spillway_routing::dialect::Dialect;

use super::{Asking, Shared, background, guarded, refuse};
use crate::Proxy;
use crate::dialect::kept::{Marker, opened};
use crate::exchange;
use crate::failure::{Failure, Kind};
use crate::inbound::{Inbound, request_id};
use crate::upstream::errand;

/// What is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Thing {
    Response,
    Interaction,
}

impl Thing {
    fn dialect(self) -> Dialect {
        match self {
            Self::Response => Dialect::OpenAiResponses,
            Self::Interaction => Dialect::GeminiInteractions,
        }
    }

    /// Where a provider is asked for it.
    fn path(self) -> &'static str {
        match self {
            Self::Response => "/responses",
            Self::Interaction => "/interactions",
        }
    }
}

/// What can be done with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Fetch,
    Delete,
    Cancel,
    ListInput,
}

impl Deed {
    fn method(self) -> Method {
        match self {
            Self::Fetch | Self::ListInput => Method::GET,
            Self::Delete => Method::DELETE,
            Self::Cancel => Method::POST,
        }
    }

    fn tail(self) -> &'static str {
        match self {
            Self::Fetch | Self::Delete => "",
            Self::Cancel => "/cancel",
            Self::ListInput => "/input_items",
        }
    }
}

/// At the account that the id names; else here, as a response that runs in the background.
async fn done<F: Future<Output = Response>>(
    deed: Deed,
    shared: Shared,
    Path(id): Path<String>,
    request: Request<Body>,
    here: impl FnOnce(Shared, Path<String>, Request<Body>) -> F,
) -> Response {
    match opened(&id).1 {
        Some(account) => {
            let thing = Thing::Response;
            pass(&shared.0, (thing, deed), &id, account, request).await
        }
        None => here(shared, Path(id), request).await,
    }
}

pub(super) async fn fetch(shared: Shared, id: Path<String>, request: Request<Body>) -> Response {
    done(Deed::Fetch, shared, id, request, background::fetch).await
}

pub(super) async fn delete(shared: Shared, id: Path<String>, request: Request<Body>) -> Response {
    done(Deed::Delete, shared, id, request, background::delete).await
}

pub(super) async fn cancel(shared: Shared, id: Path<String>, request: Request<Body>) -> Response {
    done(Deed::Cancel, shared, id, request, background::cancel).await
}

pub(super) async fn list_input(
    shared: Shared,
    id: Path<String>,
    request: Request<Body>,
) -> Response {
    let none = |_, _, request| {
        let message = "no provider keeps the input of a response with this id";
        refuse(Failure::client(Kind::UnknownObject, message), request)
    };
    done(Deed::ListInput, shared, id, request, none).await
}

async fn interaction(
    deed: Deed,
    shared: Shared,
    Path(id): Path<String>,
    request: Request<Body>,
) -> Response {
    let Some(account) = opened(&id).1 else {
        let message = "no provider keeps an interaction with this id; take it as it came with the \
                       answer";
        return refuse(Failure::client(Kind::UnknownObject, message), request).await;
    };
    let thing = Thing::Interaction;
    pass(&shared.0, (thing, deed), &id, account, request).await
}

pub(super) async fn fetch_interaction(
    shared: Shared,
    id: Path<String>,
    request: Request<Body>,
) -> Response {
    interaction(Deed::Fetch, shared, id, request).await
}

pub(super) async fn delete_interaction(
    shared: Shared,
    id: Path<String>,
    request: Request<Body>,
) -> Response {
    interaction(Deed::Delete, shared, id, request).await
}

pub(super) async fn cancel_interaction(
    shared: Shared,
    id: Path<String>,
    request: Request<Body>,
) -> Response {
    interaction(Deed::Cancel, shared, id, request).await
}

async fn pass(
    proxy: &Proxy,
    (thing, deed): (Thing, Deed),
    id: &str,
    account: Account,
    request: Request<Body>,
) -> Response {
    let query = request.uri().query().map(str::to_owned);
    let own = request_id();
    let dialect = thing.dialect();
    guarded(own, dialect, async {
        let inbound = Inbound::receive(proxy, own, Asking::of(dialect), request).await?;
        let path = path((thing, deed), opened(id).0, query.as_deref())?;
        exchange::count(proxy, &inbound).await?;
        let (status, body) = errand(proxy, &inbound, account, deed.method(), &path).await?;
        let body = Marker::new(account).mark(body);
        Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
    })
    .await
}

/// The id stands in the path of a URL.
fn path((thing, deed): (Thing, Deed), id: &str, query: Option<&str>) -> Result<String, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if id.is_empty() || !id.bytes().all(plain) {
        let message = "no provider makes such ids; take the id as it came with the response";
        return Err(Failure::client(Kind::UnknownObject, message));
    }
    let pairs = || {
        query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
    };
    let streams = |pair: &str| pair.starts_with("stream=") && pair != "stream=false";
    if pairs().any(streams) {
        let message = "what is kept is not streamed again; leave stream out";
        return Err(Failure::client(Kind::BadRequest, message).about("stream"));
    }
    // Some put their key there.
    let passed: Vec<&str> = pairs().filter(|pair| !pair.starts_with("key=")).collect();
    let query = if passed.is_empty() {
        String::new()
    } else {
        format!("?{}", passed.join("&"))
    };
    Ok(format!("{}/{id}{}{query}", thing.path(), deed.tail()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_cannot_lead_elsewhere() {
        let path = |id: &str, query| path((Thing::Response, Deed::ListInput), id, query).ok();
        let items = path("resp_1", Some("limit=2")).unwrap();
        assert_eq!(items, "/responses/resp_1/input_items?limit=2");
        for wrong in ["", "..", "a/b", "a%2fb", "a?b", "a b"] {
            assert_eq!(path(wrong, None), None, "{wrong}");
        }
        assert_eq!(path("resp_1", Some("limit=2&stream=true")), None);
        let keyless = path("resp_1", Some("key=sk-canary&stream=false"));
        assert_eq!(
            keyless.unwrap(),
            "/responses/resp_1/input_items?stream=false"
        );
    }
}
