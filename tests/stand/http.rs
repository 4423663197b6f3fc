//! A small HTTP client for tests.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

fn client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

fn head(response: &http::response::Parts) -> Answer {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in &response.headers {
        let value = value.to_str().unwrap_or("");
        // As HTTP has it: a header that comes twice is one with a list.
        let joined = headers
            .get(name.as_str())
            .map(|first| format!("{first}, {value}"));
        headers.insert(name.to_string(), joined.unwrap_or_else(|| value.to_owned()));
    }
    Answer {
        status: response.status.as_u16(),
        headers,
        body: Bytes::new(),
    }
}

/// One request, the whole answer; an error if the connection fails.
pub(crate) async fn request(
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<Answer, String> {
    let mut builder = http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let request = builder
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let response = client()
        .request(request)
        .await
        .map_err(|error| format!("{error:?}"))?;
    let (parts, body) = response.into_parts();
    let mut answer = head(&parts);
    answer.body = body
        .collect()
        .await
        .map_err(|error| format!("{error:?}"))?
        .to_bytes();
    Ok(answer)
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub(crate) async fn get(url: &str, token: &str) -> Answer {
    request("GET", url, &[("authorization", &bearer(token))], "")
        .await
        .unwrap()
}

pub(crate) async fn post(url: &str, token: &str, body: &Value) -> Answer {
    let headers = [
        ("authorization", &*bearer(token)),
        ("content-type", "application/json"),
    ];
    request("POST", url, &headers, &body.to_string())
        .await
        .unwrap()
}

/// One streaming request: the head, and the body as it comes.
pub(crate) async fn streaming(
    url: &str,
    token: &str,
    body: &Value,
) -> (Answer, hyper::body::Incoming) {
    let request = http::Request::post(url)
        .header("authorization", bearer(token))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .unwrap();
    let (parts, body) = client().request(request).await.unwrap().into_parts();
    (head(&parts), body)
}
