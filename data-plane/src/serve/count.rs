//! `count_tokens` and `countTokens`: how long a request is, without sending it.
//!
//! Owns: the two forms of the answer. The count is the one that decisions go by, in the
//! tokenizer family of the model that would be chosen just now; no provider is asked.

use std::time::Instant;

use axum::Json;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::dialect::Dialect;

use crate::Proxy;
use crate::chat::Body;
use crate::clock;
use crate::exchange;
use crate::failure::Failure;
use crate::inbound::Inbound;

/// Google's SDKs put the request into this field where it has more than contents.
const WRAPPED: &str = "generateContentRequest";

pub(super) async fn count(proxy: &Proxy, mut inbound: Inbound) -> Result<Response, Failure> {
    let table = proxy.table()?;
    if let Some(inner) = Body::parse(&inbound.body)?.raw(WRAPPED) {
        inbound.body = inner.to_owned().into();
    }
    let facts = exchange::read(proxy, &inbound).await?.facts;
    let now = Instant::now();
    let conditions = proxy.conditions(&table, now);
    let draw = Draw::of(inbound.id);
    let decision = decide(&table, &facts, &conditions, clock::now(), draw)
        .map_err(|refusal| Failure::refused(&refusal, proxy.health.wait(&table, now)))?;
    let lane = decision
        .plan
        .first()
        .and_then(|step| table.lane_index(&step.lane));
    let family = lane.map(|lane| table.model_of(lane).family);
    let tokens = family.map_or(facts.o200k, |family| facts.input(family)).0;
    Ok(Json(match inbound.asking.dialect {
        Dialect::GeminiGenerate => json!({
            "totalTokens": tokens,
            "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": tokens }],
        }),
        _ => json!({ "input_tokens": tokens }),
    })
    .into_response())
}
