//! The traffic's own small HTTP client for an OpenAI-compatible endpoint.
//!
//! Owns: one request and reading its answer, whole or as a stream. It must not know
//! worlds, quality or load.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::TrafficConfig;

/// Longer answers are failures.
const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// What of an error's body goes into its message.
const EXCERPT_CHARS: usize = 200;
/// What feedback may take: it is a few bytes to a router that answers at once.
const FEEDBACK_TIMEOUT: Duration = Duration::from_secs(10);

/// Why no traffic can be played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrafficError {
    /// The base URL is no `http` URL.
    #[error("base URL {0:?} is not of the form http://host:port/path")]
    BaseUrl(String),
    /// The key or the slice cannot be a header.
    #[error("the {0} cannot be sent in a header")]
    Header(&'static str),
    /// More requests than a run may have.
    #[error("{requests} requests are more than the {most} of one run")]
    TooMany {
        /// Asked for.
        requests: u64,
        /// Allowed.
        most: u64,
    },
}

/// Why one request was not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallFailure {
    #[error("status {status}: {excerpt}")]
    Refused { status: u16, excerpt: String },
    #[error("no complete answer within {0:?}")]
    Timeout(Duration),
    #[error("transport: {0}")]
    Transport(String),
    #[error("status {status}, but {flaw}")]
    Broken { status: u16, flaw: String },
}

impl CallFailure {
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } | Self::Broken { status, .. } => Some(*status),
            Self::Timeout(_) | Self::Transport(_) => None,
        }
    }
}

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) text: String,
    pub(super) tools: Option<Value>,
    pub(super) streaming: bool,
    pub(super) slice: Option<String>,
}

/// A full answer.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) request_id: Option<String>,
    pub(super) model: String,
    pub(super) reported_cost_nano_usd: Option<u64>,
    /// Of streams only.
    pub(super) first_token: Option<Duration>,
    pub(super) total: Duration,
}

/// Asks one endpoint, over kept connections.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    chat: Uri,
    feedback: Uri,
    authorization: Option<header::HeaderValue>,
    model: String,
    request_timeout: Duration,
}

impl Caller {
    pub(super) fn new(config: &TrafficConfig) -> Result<Self, TrafficError> {
        let base = config.base_url.trim_end_matches('/');
        let uri = |path: &str| {
            let uri: Option<Uri> = format!("{base}/{path}").parse().ok();
            uri.filter(|uri| uri.scheme_str() == Some("http") && uri.host().is_some())
                .ok_or_else(|| TrafficError::BaseUrl(config.base_url.clone()))
        };
        let bearer = |key: &String| format!("Bearer {key}").parse();
        if let super::SliceLabel::Fixed(label) = &config.slice {
            let fit = label.parse::<header::HeaderValue>();
            fit.map_err(|_| TrafficError::Header("slice"))?;
        }
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            chat: uri("chat/completions")?,
            feedback: uri("feedback")?,
            authorization: config
                .key
                .as_ref()
                .map(bearer)
                .transpose()
                .map_err(|_| TrafficError::Header("key"))?,
            model: config.model.clone(),
            request_timeout: config.request_timeout,
        })
    }

    /// Asks and reads the whole answer; times count from `since`.
    pub(super) async fn ask(
        &self,
        question: &Question,
        since: Instant,
    ) -> Result<Reply, CallFailure> {
        timeout(self.request_timeout, self.ask_patiently(question, since))
            .await
            .unwrap_or(Err(CallFailure::Timeout(self.request_timeout)))
    }

    async fn ask_patiently(
        &self,
        question: &Question,
        since: Instant,
    ) -> Result<Reply, CallFailure> {
        let mut body = json!({
            "model": self.model,
            "messages": [{"role": "user", "content": question.text}],
            "stream": question.streaming,
        });
        if question.streaming {
            body["stream_options"] = json!({"include_usage": true});
        }
        if let Some(tools) = &question.tools {
            body["tools"] = tools.clone();
        }
        let mut request = self.post(&self.chat, &body);
        if let Some(slice) = question.slice.as_ref().and_then(|s| s.parse().ok()) {
            request.headers_mut().insert("x-spillway-slice", slice);
        }
        let response = self.client.request(request).await.map_err(transport)?;
        let (head, incoming) = response.into_parts();
        let status = head.status.as_u16();
        if status != 200 {
            let text = read_all(incoming).await?;
            let text = String::from_utf8_lossy(&text);
            let excerpt = text.chars().take(EXCERPT_CHARS).collect();
            return Err(CallFailure::Refused { status, excerpt });
        }
        let mut reading = Reading::default();
        let read = if question.streaming {
            read_stream(incoming, &mut reading, since).await
        } else {
            reading.whole(&read_all(incoming).await?)
        };
        read.map_err(|flaw| CallFailure::Broken { status, flaw })?;
        let text = |name: &str| header_text(&head.headers, name);
        Ok(Reply {
            status,
            request_id: text("x-spillway-request-id"),
            model: text("x-spillway-model")
                .or(reading.model)
                .unwrap_or_default(),
            reported_cost_nano_usd: text("x-spillway-cost-usd")
                .and_then(|usd| usd.parse::<f64>().ok())
                .map(|usd| (usd * 1e9).round().max(0.0) as u64),
            first_token: reading.first_token,
            total: since.elapsed(),
        })
    }

    /// Tells the router how good an answer was.
    pub(super) async fn feedback(&self, id: &str, score: f64) -> Result<(), CallFailure> {
        let request = self.post(&self.feedback, &json!({"request_id": id, "score": score}));
        let send = async {
            let response = self.client.request(request).await.map_err(transport)?;
            let status = response.status();
            let text = read_all(response.into_body()).await?;
            if status.is_success() {
                return Ok(());
            }
            let text = String::from_utf8_lossy(&text);
            Err(CallFailure::Refused {
                status: status.as_u16(),
                excerpt: text.chars().take(EXCERPT_CHARS).collect(),
            })
        };
        timeout(FEEDBACK_TIMEOUT, send)
            .await
            .unwrap_or(Err(CallFailure::Timeout(FEEDBACK_TIMEOUT)))
    }

    fn post(&self, uri: &Uri, body: &Value) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        let json = header::HeaderValue::from_static("application/json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(value) = &self.authorization {
            headers.insert(header::AUTHORIZATION, value.clone());
        }
        request
    }
}

fn transport(error: impl std::error::Error) -> CallFailure {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    CallFailure::Transport(text)
}

fn header_text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

async fn read_all(body: Incoming) -> Result<Bytes, CallFailure> {
    match http_body_util::Limited::new(body, ANSWER_BYTES_MAX)
        .collect()
        .await
    {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) => Err(CallFailure::Transport(error.to_string())),
    }
}

async fn read_stream(
    mut body: Incoming,
    reading: &mut Reading,
    since: Instant,
) -> Result<(), String> {
    let mut rest: Vec<u8> = Vec::new();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the stream broke: {error}"))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        bytes += data.len();
        if bytes > ANSWER_BYTES_MAX {
            return Err("the stream is too long".to_owned());
        }
        rest.extend_from_slice(data);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            reading.line(&line, since)?;
        }
    }
    reading.end_of_stream()
}

/// What has been read of an answer.
#[derive(Debug, Default)]
struct Reading {
    model: Option<String>,
    first_token: Option<Duration>,
    content: bool,
    done: bool,
}

impl Reading {
    fn whole(&mut self, body: &[u8]) -> Result<(), String> {
        let answer: Value =
            serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
        self.note(&answer)?;
        let message = answer.pointer("/choices/0/message");
        self.content = message.is_some_and(has_content);
        if self.content {
            Ok(())
        } else {
            Err("the answer has no content".to_owned())
        }
    }

    fn line(&mut self, line: &[u8], since: Instant) -> Result<(), String> {
        let line = line.trim_ascii();
        let Some(data) = line.strip_prefix(b"data:") else {
            return Ok(()); // Comments, other fields and the empty line between events.
        };
        let data = data.trim_ascii();
        if data == b"[DONE]" {
            self.done = true;
            return Ok(());
        }
        let chunk: Value = serde_json::from_slice(data)
            .map_err(|error| format!("an event is no JSON: {error}"))?;
        self.note(&chunk)?;
        if chunk.pointer("/choices/0/delta").is_some_and(has_content) {
            self.content = true;
            self.first_token.get_or_insert_with(|| since.elapsed());
        }
        Ok(())
    }

    fn end_of_stream(&self) -> Result<(), String> {
        match (self.done, self.content) {
            (true, true) => Ok(()),
            (true, false) => Err("the stream has no content".to_owned()),
            (false, _) => Err("the stream ended without [DONE]".to_owned()),
        }
    }

    fn note(&mut self, value: &Value) -> Result<(), String> {
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(format!("the answer is an error: {error}"));
        }
        if self.model.is_none() {
            let model = value.get("model").and_then(Value::as_str);
            self.model = model.map(str::to_owned);
        }
        Ok(())
    }
}

/// Text or a tool call, in a message or a delta.
fn has_content(message: &Value) -> bool {
    let text = message.get("content").and_then(Value::as_str);
    text.is_some_and(|text| !text.is_empty()) || message.get("tool_calls").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Reading, String> {
        let mut reading = Reading::default();
        for line in lines {
            reading.line(line.as_bytes(), Instant::now())?;
        }
        reading.end_of_stream().map(|()| reading)
    }

    #[test]
    fn a_stream_is_an_answer_only_with_content_and_its_end() {
        let role = r#"data: {"model":"m","choices":[{"delta":{"role":"assistant","content":""}}]}"#;
        let text = r#"data: {"model":"m","error":null,"choices":[{"delta":{"content":"hi"}}]}"#;
        let usage = r#"data: {"model":"m","choices":[],"usage":{}}"#;
        let done = "data: [DONE]\r\n";
        let whole = read(&[": comment", role, "", text, usage, done]).unwrap();
        assert_eq!(whole.model.as_deref(), Some("m"));
        assert!(whole.first_token.is_some());
        assert!(read(&[role, text]).unwrap_err().contains("without [DONE]"));
        assert!(read(&[role, done]).unwrap_err().contains("no content"));
        let error = r#"data: {"error":{"message":"no"}}"#;
        assert!(
            read(&[role, text, error, done])
                .unwrap_err()
                .contains("is an error")
        );
        assert!(read(&["data: {"]).unwrap_err().contains("no JSON"));
    }
}
