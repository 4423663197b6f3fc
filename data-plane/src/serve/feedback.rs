//! `POST /v1/feedback`: what the app thought of an answer.
//!
//! Owns: the form of a verdict as apps send it. It is joined to its request where
//! outcomes are stored; the proxy keeps no memory of requests.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;
use spillway_routing::id::RequestId;
use spillway_routing::outcome::{Verdict, VerdictSource};
use spillway_routing::unit::Bps;

use crate::Proxy;
use crate::clock;
use crate::failure::{Failure, Kind};
use crate::inbound::Inbound;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Feedback {
    request_id: String,
    score: Option<f64>,
    thumb: Option<Thumb>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Thumb {
    Up,
    Down,
}

pub(super) fn feedback(proxy: &Proxy, inbound: &Inbound) -> Result<Response, Failure> {
    let (request, score) = read(&inbound.body)?;
    let at = clock::now();
    proxy.ledger.queue.push_verdict(Verdict {
        request,
        source: VerdictSource::App,
        score,
        at,
    });
    let accepted = json!({ "request_id": request.to_string(), "score": score.share() });
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

fn read(body: &[u8]) -> Result<(RequestId, Bps), Failure> {
    let bad = |message: &str| Failure::client(Kind::BadRequest, message);
    let feedback: Feedback = serde_json::from_slice(body).map_err(|_| {
        bad("send {\"request_id\": ID} with \"score\": 0..1 or \"thumb\": \"up\" or \"down\"")
    })?;
    let request = feedback.request_id.parse::<RequestId>().map_err(|error| {
        bad(&format!(
            "{error}; it is in the header x-spillway-request-id"
        ))
        .about("request_id")
    })?;
    let score = match (feedback.score, feedback.thumb) {
        (Some(score), None) if (0.0..=1.0).contains(&score) => Bps::from_share(score),
        (Some(_), None) => return Err(bad("score must be between 0 and 1").about("score")),
        (None, Some(Thumb::Up)) => Bps::ONE,
        (None, Some(Thumb::Down)) => Bps::ZERO,
        _ => return Err(bad("send one of score and thumb").about("score")),
    };
    Ok((request, score))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn scores_and_thumbs_are_read_and_all_else_is_explained() {
        let score = |rest: &str| {
            let body = format!(r#"{{"request_id":"{ID}",{rest}}}"#);
            read(body.as_bytes())
                .map(|(_, score)| score.get())
                .map_err(|f| f.status().as_u16())
        };
        assert_eq!(score(r#""score":0.25"#), Ok(2_500));
        assert_eq!(score(r#""thumb":"up""#), Ok(10_000));
        assert_eq!(score(r#""thumb":"down""#), Ok(0));
        for rest in [
            r#""score":2"#,
            r#""thumb":"sideways""#,
            r#""score":1,"thumb":"up""#,
            r#""x":1"#,
        ] {
            assert_eq!(score(rest), Err(400), "{rest}");
        }
        assert!(read(br#"{"request_id":"7","score":1}"#).is_err());
    }
}
