//! Errands: requests about what a provider keeps, passed on to the account that keeps it.
//!
//! Owns: finding the account among the table's upstreams, and one call within bounds of
//! time and size. Nothing is decided, tried again or booked: it costs nothing.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::response::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use spillway_routing::account::Account;
use spillway_routing::dialect::Dialect;
use tokio::time::timeout_at;

use super::access::Access;
use super::attempt::{AGENT, VIA};
use super::reader::rest;
use super::retry::retry_after;
use crate::Proxy;
use crate::dialect::{self, Blame};
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;

const WITHIN: Duration = Duration::from_secs(30);
/// Where the provider does not say when to come back.
const WAIT: Duration = Duration::from_secs(1);

/// What the provider answers: what was asked for, or what is wrong with the asking.
pub(crate) async fn errand(
    proxy: &Proxy,
    inbound: &Inbound,
    account: Account,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Failure> {
    inbound.own_keys.placed()?;
    let dialect = inbound.asking.dialect;
    let table = proxy.table()?;
    let own = inbound.own_keys.providers();
    let keeps = table.draft().upstreams.iter().find(|upstream| {
        upstream.dialects.contains(&dialect) && Account::behind(upstream, &own) == Some(account)
    });
    let upstream = keeps.ok_or_else(|| {
        let message = "no provider of the policy keeps what this id names: its account was taken out, or \
                       it was made with a key that the caller brought along";
        Failure::client(Kind::UnknownObject, message)
    })?;
    let misconfigured = |message| Failure::spillway(Kind::UpstreamMisconfigured, message);
    let access = Access::to(upstream, dialect, &proxy.config, &inbound.own_keys);
    let access = access.map_err(misconfigured)?;
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = method;
    let uri = format!("{}{path}", access.base_url).parse::<Uri>();
    let uri = uri.map_err(|_| misconfigured("the provider's base URL is wrong"))?;
    let shown = access.headers(&uri, &Bytes::new()).await;
    let shown = shown.map_err(|_| misconfigured("the request could not be signed"))?;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    headers.insert(header::USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(VIA, inbound.via(proxy));
    headers.extend(inbound.passed());
    headers.extend(shown);
    let until = Instant::now() + WITHIN;
    let failed = |message| Failure::spillway(Kind::UpstreamFailed, message);
    let late = |_| Failure::spillway(Kind::TimedOut, "the provider did not answer in time");
    let sending = proxy.clients.send(request, access.allow_private, || ());
    let answer = timeout_at(until.into(), sending).await.map_err(late)?;
    let answer = answer.map_err(|_| failed("the provider could not be reached"))?;
    let (head, mut body) = answer.into_parts();
    let most = proxy.config.limits.answer_bytes;
    let reading = rest(Bytes::new(), &mut body, WITHIN, most);
    let body = timeout_at(until.into(), reading).await.map_err(late)?;
    let body = body.map_err(|_| failed("the provider's answer broke off"))?;
    answered(&head, body, dialect, access.own_key)
}

/// What the caller is told. Of our key, our limits and its own trouble the provider tells us,
/// not our callers.
fn answered(
    head: &Parts,
    body: Bytes,
    dialect: Dialect,
    own_key: bool,
) -> Result<(StatusCode, Bytes), Failure> {
    let refused = || {
        let message = "the provider does not take this proxy's key";
        Failure::spillway(Kind::UpstreamMisconfigured, message)
    };
    let unusable = dialect::blame(dialect, head.status, &body) == Blame::Configuration;
    match head.status {
        status if status.is_success() => Ok((status, body)),
        StatusCode::BAD_REQUEST if unusable && !own_key => Err(refused()),
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT => {
            Ok((head.status, body))
        }
        status if own_key && status.is_client_error() => Ok((status, body)),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(refused()),
        StatusCode::TOO_MANY_REQUESTS => {
            let message = "the provider has no room for this just now; try again later";
            let wait = retry_after(&head.headers).unwrap_or(WAIT);
            Err(Failure::spillway(Kind::Overloaded, message).after(wait))
        }
        _ => {
            let message = "the provider failed; try again later";
            Err(Failure::spillway(Kind::UpstreamFailed, message))
        }
    }
}
