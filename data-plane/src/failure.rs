//! Whatever goes wrong with a request, and the one place where it becomes a response.
//!
//! Owns: [`Failure`], its statuses and codes, and the error form of the caller's
//! dialect. Knows nothing of lanes, retries or prompts: messages say what to do and
//! repeat
//! nothing of what the caller sent but a route's name.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use spillway_routing::decide::Refusal;
use spillway_routing::dialect::Dialect;

use crate::allowance::Short;
use crate::dialect::{ErrorParts, error_form, error_message, is_error_form};

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    Client,
    Spillway,
    Upstream,
}

/// Whether the same request could succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not as it is.
    Never,
    /// After a pause.
    Later,
    /// Perhaps, but the attempt may have been charged: the caller must want it.
    MayCharge,
}

/// What happened; each has its status, type and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    BadRequest,
    InvalidStartWithin,
    ServiceTierNotAllowed,
    /// No lane has the tier that is asked for.
    NoTier,
    NoLane,
    Unauthenticated,
    Forbidden,
    UnknownPath,
    /// A file, a batch or a response that is not kept here.
    UnknownObject,
    /// This proxy keeps no jobs.
    NoJobs,
    /// What is kept cannot be reached.
    StoreFailed,
    /// Kept, and not done in time.
    Expired,
    /// Kept, and begun too often.
    GivenUp,
    /// Kept, and no longer wanted.
    Cancelled,
    UnknownModel,
    WrongMethod,
    TooSlow,
    TooLarge,
    Unsupported,
    Loop,
    RateLimited,
    BudgetSpent,
    NoTable,
    Busy,
    LanesOut,
    Overloaded,
    UpstreamFailed,
    UpstreamMisconfigured,
    TimedOut,
    Panicked,
    /// The provider's own refusal of the request, passed on.
    Passed(StatusCode),
}

impl Kind {
    fn form(self) -> (StatusCode, &'static str, &'static str) {
        const BAD: StatusCode = StatusCode::BAD_REQUEST;
        const LIMITED: StatusCode = StatusCode::TOO_MANY_REQUESTS;
        const INVALID: &str = "invalid_request_error";
        const UNAVAILABLE: &str = "service_unavailable_error";
        const UPSTREAM: &str = "upstream_error";
        match self {
            Self::BadRequest => (BAD, INVALID, "invalid_request"),
            // The codes of FlexInference, whose `start_within` this is.
            Self::InvalidStartWithin => (BAD, INVALID, "invalid_start_within"),
            Self::ServiceTierNotAllowed => (BAD, INVALID, "service_tier_not_allowed"),
            Self::NoTier => (BAD, INVALID, "flex_model_not_capable"),
            Self::NoLane => (BAD, INVALID, "no_lane"),
            Self::Unauthenticated => (
                StatusCode::UNAUTHORIZED,
                "authentication_error",
                "invalid_api_key",
            ),
            Self::Forbidden => (
                StatusCode::FORBIDDEN,
                "permission_error",
                "route_not_allowed",
            ),
            Self::UnknownPath => (StatusCode::NOT_FOUND, INVALID, "unknown_path"),
            Self::UnknownObject => (StatusCode::NOT_FOUND, INVALID, "not_found"),
            Self::NoJobs => (StatusCode::NOT_IMPLEMENTED, INVALID, "no_jobs"),
            Self::StoreFailed => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "store_failed"),
            Self::Expired => (StatusCode::GATEWAY_TIMEOUT, "server_error", "expired"),
            Self::GivenUp => (StatusCode::BAD_GATEWAY, "server_error", "given_up"),
            Self::Cancelled => (StatusCode::CONFLICT, INVALID, "cancelled"),
            Self::UnknownModel => (StatusCode::NOT_FOUND, INVALID, "model_not_found"),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, INVALID, "wrong_method"),
            Self::TooSlow => (StatusCode::REQUEST_TIMEOUT, INVALID, "request_too_slow"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, INVALID, "request_too_large"),
            Self::Unsupported => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                INVALID,
                "unsupported_media_type",
            ),
            Self::Loop => (StatusCode::LOOP_DETECTED, "server_error", "request_loop"),
            Self::RateLimited => (LIMITED, "rate_limit_error", "rate_limit_exceeded"),
            // OpenAI's, for just that.
            Self::BudgetSpent => (LIMITED, "insufficient_quota", "insufficient_quota"),
            Self::NoTable => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "no_table"),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "proxy_busy"),
            Self::LanesOut => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, "lanes_out"),
            Self::Overloaded => (
                StatusCode::SERVICE_UNAVAILABLE,
                UNAVAILABLE,
                "upstream_overloaded",
            ),
            Self::UpstreamFailed => (StatusCode::BAD_GATEWAY, UPSTREAM, "upstream_failed"),
            Self::UpstreamMisconfigured => {
                (StatusCode::BAD_GATEWAY, UPSTREAM, "upstream_misconfigured")
            }
            Self::TimedOut => (StatusCode::GATEWAY_TIMEOUT, UPSTREAM, "upstream_timeout"),
            Self::Panicked => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "internal_error",
            ),
            Self::Passed(status) => (status, INVALID, "upstream_refused"),
        }
    }
}

/// A provider's refusal as it came.
#[derive(Clone, Debug, Default)]
pub struct Passed {
    pub headers: HeaderMap,
    pub body: Bytes,
    /// What the provider spoke.
    pub dialect: Dialect,
}

/// A request that gets no answer.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    pub origin: Origin,
    pub retry: Retry,
    pub kind: Kind,
    message: String,
    param: Option<&'static str>,
    retry_after: Option<Duration>,
    passed: Option<Box<Passed>>,
    labels: Option<Box<HeaderMap>>,
    /// What an SDK may act upon.
    details: Option<&'static str>,
    closes: bool,
}

impl Failure {
    /// The proxy ends before the request does.
    pub(crate) fn ending() -> Self {
        let message = "the proxy is shutting down; send the request again, to another one; a \
                       provider may have charged for it";
        // Whatever took longer than the grace was sent long ago.
        let (origin, retry) = (Origin::Spillway, Retry::MayCharge);
        Self::new(origin, retry, Kind::Busy, message.to_owned())
    }

    fn new(origin: Origin, retry: Retry, kind: Kind, message: String) -> Self {
        Self {
            origin,
            retry,
            kind,
            message,
            param: None,
            retry_after: None,
            passed: None,
            labels: None,
            details: None,
            closes: false,
        }
    }

    pub(crate) fn no_table() -> Self {
        let message = "this proxy has no routing table yet; try again in a second";
        Self::spillway(Kind::NoTable, message).after(Duration::from_secs(1))
    }

    /// The key has no more for now.
    pub(crate) fn limited(short: Short) -> Self {
        match short {
            Short::Requests(wait) => {
                let message = "this key's requests of the minute are used up; wait a little";
                Self::client(Kind::RateLimited, message).after(wait)
            }
            Short::Tokens(wait) => {
                let message = "this key's tokens of the minute are used up; wait a little, or \
                               send less";
                Self::client(Kind::RateLimited, message).after(wait)
            }
            Short::Money => {
                let message = "this key's money for the day is spent; ask the operator for more, \
                               or come back tomorrow (UTC)";
                Self::client(Kind::BudgetSpent, message)
            }
        }
    }

    /// The caller must send something else.
    pub fn client(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(Origin::Client, Retry::Never, kind, message.into())
    }

    /// This proxy cannot serve it just now.
    pub fn spillway(kind: Kind, message: impl Into<String>) -> Self {
        Self::new(Origin::Spillway, Retry::Later, kind, message.into())
    }

    /// No lane gave an answer.
    pub fn upstream(kind: Kind, retry: Retry, message: impl Into<String>) -> Self {
        Self::new(Origin::Upstream, retry, kind, message.into())
    }

    /// A provider found fault with the request itself: no other lane would differ.
    pub fn passed(status: StatusCode, passed: Passed) -> Self {
        let message = "the provider refused this request; correct it and send it again";
        let mut failure = Self::client(Kind::Passed(status), message);
        failure.passed = Some(Box::new(passed));
        failure
    }

    /// No plan could be made.
    pub fn refused(refusal: &Refusal, wait: Duration) -> Self {
        match refusal {
            Refusal::UnknownRoute(_) => {
                let message = format!("{refusal}; GET /v1/models lists what can be asked for");
                Self::client(Kind::UnknownModel, message).about("model")
            }
            Refusal::NoTier(_) => {
                let message = format!("{refusal}; leave it out, or ask for another route");
                Self::client(Kind::NoTier, message).about("start_within")
            }
            Refusal::NothingFeasible(_) => Self::client(Kind::NoLane, refusal.to_string()),
            Refusal::AllShut(_) => {
                Self::spillway(Kind::LanesOut, format!("{refusal}; try again later")).after(wait)
            }
        }
    }

    /// Adds to what is said.
    #[must_use]
    pub fn saying(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    /// Adds what an SDK may act upon, as JSON.
    #[must_use]
    pub fn detailed(mut self, details: &'static str) -> Self {
        self.details = Some(details);
        self
    }

    /// The connection cannot be used again.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    #[must_use]
    pub fn about(mut self, param: &'static str) -> Self {
        self.param = Some(param);
        self
    }

    #[must_use]
    pub fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn labelled(mut self, labels: HeaderMap) -> Self {
        self.labels = Some(Box::new(labels));
        self
    }

    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.kind.form().0
    }

    /// The body in the caller's dialect.
    pub(crate) fn body(&self, own: Dialect) -> Bytes {
        let passed = self.passed.as_ref();
        if let Some(passed) = passed.filter(|p| is_error_form(own, p.dialect, &p.body)) {
            return passed.body.clone();
        }
        let said = passed.and_then(|passed| error_message(&passed.body));
        error_form(own, &self.parts(said.as_deref().unwrap_or(&self.message)))
    }

    /// What the error form says.
    pub(crate) fn parts<'a>(&'a self, message: &'a str) -> ErrorParts<'a> {
        let (status, kind, code) = self.kind.form();
        ErrorParts {
            status,
            message,
            kind,
            param: self.param,
            code,
            details: self.details,
        }
    }

    /// The response, in the dialect that the caller speaks.
    pub(crate) fn into_response(self, own: Dialect) -> Response {
        let mut response = (self.status(), self.body(own)).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        if let Some(passed) = self.passed {
            headers.extend(passed.headers);
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
                headers.insert(header::RETRY_AFTER, value);
            }
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        // The official SDKs retry by themselves; a second charge needs their caller's will.
        // And money does not come back within their patience.
        if self.retry == Retry::MayCharge || self.kind == Kind::BudgetSpent {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(labels) = self.labels {
            headers.extend(*labels);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_has_the_dialects_form() {
        let failure = Failure::client(Kind::BadRequest, "say \"model\"\n\ndata: x").about("model");
        let body = failure.body(Dialect::OpenAiChat);
        assert!(!body.contains(&b'\n'));
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["message"], "say \"model\"\n\ndata: x");
        assert_eq!(body["error"]["param"], "model");
        assert_eq!(body["error"]["type"], "invalid_request_error");
    }

    #[test]
    fn a_passed_refusal_keeps_its_body_only_in_the_dialects_form() {
        let given = |body: &'static str| {
            let body = Bytes::from_static(body.as_bytes());
            Failure::passed(
                StatusCode::BAD_REQUEST,
                Passed {
                    body,
                    ..Passed::default()
                },
            )
            .body(Dialect::OpenAiChat)
        };
        assert_eq!(
            given(r#"{"error":{"message":"m"}}"#),
            r#"{"error":{"message":"m"}}"#
        );
        assert!(given("<html>").starts_with(br#"{"error""#));
    }

    #[test]
    fn retry_after_is_at_least_a_second() {
        let failure = Failure::spillway(Kind::LanesOut, "out").after(Duration::from_millis(3));
        let response = failure.into_response(Dialect::OpenAiChat);
        assert_eq!(response.headers()["retry-after"], "1");
    }
}
