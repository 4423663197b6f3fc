//! A request as it comes in, before anything is decided.
//!
//! Owns: its id, who sent it, and its body within bounds of size, rate and memory.
//! Refuses before reading whatever need not be read. Knows no dialect.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Version, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use spillway_routing::dialect::Dialect;
use spillway_routing::id::RequestId;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use crate::Proxy;
use crate::auth::{self, Caller};
use crate::chat::Asking;
use crate::clock;
use crate::failure::{Failure, Kind};
use crate::jobs::Job;
use crate::own_keys::OwnKeys;
use crate::upstream::VIA;

/// A body may pause so long, and is only then asked for its rate.
const BODY_PAUSE_MAX: Duration = Duration::from_secs(10);
/// Of a body that nobody reads so much is taken from the line, for so long.
const UNREAD_BYTES_MAX: usize = 1 << 20;
const UNREAD_WITHIN: Duration = Duration::from_secs(2);
/// Slower than this is an attack or a dead line.
const BODY_BYTES_PER_SECOND_MIN: usize = 1_024;
/// Proxies a request may have passed; their names are bounded with it.
const VIA_BYTES_MAX: usize = 1_024;
/// Room for bodies is counted in units of this.
const ROOM_UNIT: usize = 1_024;

/// Headers that label a request, beside its tags.
const LABELS: [&str; 4] = [
    "x-spillway-slice",
    "x-spillway-class",
    "x-spillway-min-quality",
    "x-spillway-start-within",
];
const TAG: &str = "x-spillway-tag-";

/// A request that was let in.
pub(crate) struct Inbound {
    pub(crate) id: RequestId,
    /// When all of it was here: how long a client sends is not the lanes' time.
    pub(crate) arrived: Instant,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// What the path said.
    pub(crate) asking: Asking,
    pub(crate) caller: Caller,
    /// Provider keys that the caller brought along.
    pub(crate) own_keys: OwnKeys,
    /// Room taken among all bodies; given back when the request is done with its own.
    #[expect(dead_code, reason = "held for its drop")]
    room: OwnedSemaphorePermit,
}

/// A new request's id: made here, never taken from a client.
pub(crate) fn request_id() -> RequestId {
    // The generator of this thread: the system's own takes a call of it for each id.
    let random = rand::random::<[u8; 10]>();
    let id = uuid::Builder::from_unix_timestamp_millis(clock::now().0, &random);
    RequestId(id.into_uuid().into_bytes())
}

impl Inbound {
    pub(crate) async fn receive(
        proxy: &Proxy,
        id: RequestId,
        asking: Asking,
        request: Request<Body>,
    ) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let limit = proxy.config.limits.body_bytes;
        let table = proxy.current.load();
        let table = table.as_ref().map(AsRef::as_ref);
        let (keys, required) = (&proxy.config.keys, proxy.config.require_keys);
        let caller = auth::caller(keys, required, table, &head.headers);
        let admitted = caller.and_then(|caller| {
            check_media(&head.headers)?;
            check_loop(proxy, &head.headers)?;
            let known = |key: &[u8]| auth::is_known(keys, table, key);
            let own_keys = OwnKeys::read(&head.headers, asking.dialect, &proxy.config, known)?;
            let announced = announced(&head.headers, limit)?;
            // What is asked for with GET has none.
            let most = if body.is_end_stream() { 0 } else { limit };
            Ok((caller, own_keys, room(proxy, announced.unwrap_or(most))?))
        });
        let (caller, own_keys, room) = match admitted {
            Ok(admitted) => admitted,
            Err(failure) => return Err(unread(failure, head.version, body).await),
        };
        let body = read(body, limit).await?;
        Ok(Self {
            id,
            arrived: Instant::now(),
            headers: head.headers,
            body,
            asking,
            caller,
            own_keys,
            room,
        })
    }

    /// A request that was kept, and is done now.
    pub(crate) fn kept(proxy: &Proxy, job: &Job) -> Result<Self, Failure> {
        let table = proxy.table()?;
        let caller = auth::again(&proxy.config.keys, &table, &job.key)?;
        let body = Bytes::copy_from_slice(job.body.get().as_bytes());
        let labels = job.labels.iter().filter_map(|(name, value)| {
            let name = HeaderName::try_from(name.as_str()).ok()?;
            Some((name, HeaderValue::try_from(value.as_str()).ok()?))
        });
        Ok(Self {
            id: request_id(),
            arrived: Instant::now(),
            headers: labels.collect(),
            room: room(proxy, body.len())?,
            body,
            asking: Asking::of(job.dialect()),
            caller,
            own_keys: OwnKeys::default(),
        })
    }

    /// Of the headers, those that label the request: what is kept with a job.
    pub(crate) fn labels(&self) -> Vec<(String, String)> {
        let labels = self.headers.iter().filter_map(|(name, value)| {
            let known = LABELS.contains(&name.as_str()) || name.as_str().starts_with(TAG);
            let value = value.to_str().ok().filter(|_| known)?;
            Some((name.to_string(), value.to_owned()))
        });
        labels.collect()
    }

    /// Headers that belong to the caller's dialect, for a lane that speaks it too.
    pub(crate) fn passed(&self) -> HeaderMap {
        let names: &[&'static str] = match self.asking.dialect {
            Dialect::OpenAiChat
            | Dialect::OpenAiResponses
            | Dialect::OpenAiEmbeddings
            | Dialect::OpenAiImages => &["openai-beta"],
            Dialect::AnthropicMessages => &["anthropic-version", "anthropic-beta"],
            Dialect::GeminiInteractions => &["api-revision"],
            Dialect::GeminiGenerate | Dialect::BedrockConverse => &[],
        };
        let given = names.iter().filter_map(|name| {
            let value = self.headers.get(*name)?;
            Some((HeaderName::from_static(name), value.clone()))
        });
        given.collect()
    }

    /// The chain of proxies this request came through, with this one at its end.
    pub(crate) fn via(&self, proxy: &Proxy) -> HeaderValue {
        let known = self.headers.get(VIA).and_then(|via| via.to_str().ok());
        let chain = known.map_or_else(
            || proxy.id.to_string(),
            |known| format!("{known},{}", proxy.id),
        );
        HeaderValue::from_str(&chain).unwrap_or(HeaderValue::from_static(""))
    }
}

/// Refuses a request whose body was not read. What is left of it would end the connection
/// under the next request, so it is taken from the line where it is short, else the
/// client is told that the connection ends.
pub(crate) async fn unread(failure: Failure, version: Version, body: Body) -> Failure {
    let drained = timeout(UNREAD_WITHIN, read(body, UNREAD_BYTES_MAX)).await;
    let tidy = matches!(drained, Ok(Ok(_)));
    // Streams of HTTP/2 end by themselves.
    if tidy || version >= Version::HTTP_2 {
        failure
    } else {
        failure.closing()
    }
}

/// Who sends a file, and room for it: a body of many parts, read by whoever takes it.
pub(crate) fn sender(
    proxy: &Proxy,
    headers: &HeaderMap,
) -> Result<(Caller, OwnedSemaphorePermit), Failure> {
    let table = proxy.current.load();
    let table = table.as_ref().map(AsRef::as_ref);
    let (keys, required) = (&proxy.config.keys, proxy.config.require_keys);
    let caller = auth::caller(keys, required, table, headers)?;
    let limit = proxy.config.limits.body_bytes;
    let announced = announced(headers, limit)?;
    Ok((caller, room(proxy, announced.unwrap_or(limit))?))
}

fn check_media(headers: &HeaderMap) -> Result<(), Failure> {
    let encoded = headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|e| e != "identity");
    if encoded {
        let message = "encoded bodies are not taken; send it without content-encoding";
        return Err(Failure::client(Kind::Unsupported, message));
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], HeaderValue::as_bytes);
    if kind.len() >= 10 && kind[..10].eq_ignore_ascii_case(b"multipart/") {
        let message = "multipart bodies are not taken; send application/json";
        return Err(Failure::client(Kind::Unsupported, message));
    }
    Ok(())
}

fn check_loop(proxy: &Proxy, headers: &HeaderMap) -> Result<(), Failure> {
    let via = headers.get(VIA).map_or(&b""[..], HeaderValue::as_bytes);
    let names_this = via
        .split(|b| *b == b',')
        .any(|name| name == proxy.id.as_str().as_bytes());
    if names_this || via.len() > VIA_BYTES_MAX {
        let message = "this request came through this proxy before; a provider points back at it";
        return Err(Failure::client(Kind::Loop, message));
    }
    Ok(())
}

fn too_large(limit: usize) -> Failure {
    let message = format!("the body is larger than {limit} bytes; send less");
    Failure::client(Kind::TooLarge, message)
}

/// The announced length, refused before reading when it is too large.
fn announced(headers: &HeaderMap, limit: usize) -> Result<Option<usize>, Failure> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else {
        return Ok(None);
    };
    let length = value
        .to_str()
        .ok()
        .and_then(|text| text.parse::<u64>().ok());
    match length.and_then(|length| usize::try_from(length).ok()) {
        Some(length) if length <= limit => Ok(Some(length)),
        _ => Err(too_large(limit)),
    }
}

/// The semaphore that counts all bodies' room.
pub(crate) fn room_of(bytes: usize) -> Arc<tokio::sync::Semaphore> {
    let units = (bytes / ROOM_UNIT).min(tokio::sync::Semaphore::MAX_PERMITS);
    Arc::new(tokio::sync::Semaphore::new(units))
}

fn room(proxy: &Proxy, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let units = u32::try_from(bytes.div_ceil(ROOM_UNIT)).unwrap_or(u32::MAX);
    Arc::clone(&proxy.room)
        .try_acquire_many_owned(units)
        .map_err(|_| {
            let message = "this proxy holds as many bodies as it may; try again in a second";
            Failure::spillway(Kind::Busy, message).after(Duration::from_secs(1))
        })
}

async fn read(mut body: Body, limit: usize) -> Result<Bytes, Failure> {
    let started = Instant::now();
    let announced = body.size_hint().exact().unwrap_or_default();
    let announced = usize::try_from(announced).unwrap_or(limit).min(limit);
    let mut whole = Vec::new();
    loop {
        let frame = timeout(BODY_PAUSE_MAX, body.frame())
            .await
            .map_err(|_| too_slow())?;
        let Some(frame) = frame else {
            return Ok(Bytes::from(whole));
        };
        let broken = |_| Failure::client(Kind::BadRequest, "the body broke off; send it again");
        let Ok(bytes) = frame.map_err(broken)?.into_data() else {
            continue;
        };
        if whole.len() + bytes.len() > limit {
            return Err(too_large(limit));
        }
        // Most come in one piece.
        if whole.is_empty() && body.is_end_stream() {
            return Ok(bytes);
        }
        if whole.is_empty() {
            whole.reserve_exact(announced);
        }
        whole.extend_from_slice(&bytes);
        let elapsed = started.elapsed();
        let due = BODY_BYTES_PER_SECOND_MIN.saturating_mul(elapsed.as_secs() as usize);
        if elapsed > BODY_PAUSE_MAX && whole.len() < due {
            return Err(too_slow());
        }
    }
}

fn too_slow() -> Failure {
    Failure::client(Kind::TooSlow, "the body came too slowly; send it faster")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn what_need_not_be_read_is_refused_before() {
        let status = |result: Result<(), Failure>| result.map_err(|f| f.status().as_u16());
        assert_eq!(
            status(check_media(&headers("content-encoding", "gzip"))),
            Err(415)
        );
        assert_eq!(
            status(check_media(&headers(
                "content-type",
                "Multipart/form-data; boundary=-"
            ))),
            Err(415)
        );
        assert_eq!(
            status(check_media(&headers("content-type", "application/json"))),
            Ok(())
        );
        let length = |value: &str| announced(&headers("content-length", value), 10).is_ok();
        assert!(length("10") && !length("11") && !length("99999999999999999999"));
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_cut_off_at_the_limit() {
        let whole = |bytes: &'static [u8]| read(Body::from(bytes), 4);
        assert_eq!(whole(b"1234").await.unwrap(), "1234");
        assert_eq!(whole(b"12345").await.unwrap_err().status().as_u16(), 413);
    }
}
