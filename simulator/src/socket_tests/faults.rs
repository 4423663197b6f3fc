//! Every fault as a raw client sees it, and what it bills.
//!
//! It must not use the crate's own client.

use super::{body, chat, chat_in_vain, the_attempt};
use crate::ledger::{Attempt, Outcome};
use crate::script::{Fault, FaultKind, RetryAfter};
use crate::stand::{End, Heard, start};

/// One attempt with this fault.
async fn suffer(fault: Fault, stream: bool) -> (Heard, Attempt) {
    let running = start().await;
    let hangs = matches!(
        fault,
        Fault::HangBeforeHeaders | Fault::HangAfterHeaders | Fault::HangAfter { .. }
    );
    running.script("alpha").unwrap().fail(fault);
    let heard = if hangs {
        chat_in_vain(&running, &body("small", stream)).await
    } else {
        chat(&running, &body("small", stream)).await
    };
    let attempt = the_attempt(&running.ledger()).await;
    running.stop().await.unwrap();
    (heard, attempt)
}

fn contents(heard: &Heard) -> usize {
    let spoken = "\"delta\":{\"content\":\"";
    heard
        .events()
        .iter()
        .filter(|event| event.contains(spoken))
        .count()
}

#[track_caller]
fn free(attempt: &Attempt, kind: FaultKind) {
    assert_eq!(attempt.outcome, Outcome::Faulted(kind));
    assert_eq!((attempt.input_tokens, attempt.output_tokens), (0, 0));
    assert_eq!(attempt.cost_nano_usd, 0);
}

#[tokio::test]
async fn statuses_come_with_their_form_and_retry_after() {
    for stream in [false, true] {
        for code in [429, 500, 502, 503, 504, 529] {
            let (heard, attempt) = suffer(Fault::status(code), stream).await;
            assert_eq!((heard.status, heard.end), (Some(code), End::Tidy));
            assert!(heard.json()["error"]["message"].is_string());
            assert!(!heard.head.contains("retry-after"));
            assert_eq!(attempt.outcome, Outcome::Refused(code));
            assert_eq!(attempt.cost_nano_usd, 0);
        }
    }
    let (heard, _) = suffer(Fault::rate_limited(17), false).await;
    assert!(heard.head.contains("retry-after: 17"), "{}", heard.head);
    let own = Fault::Status {
        code: 503,
        retry_after: Some(RetryAfter::Millis(250)),
        body: Some("busy".to_owned()),
    };
    let (heard, _) = suffer(own, true).await;
    assert!(heard.head.contains("retry-after-ms: 250"));
    assert_eq!(heard.text(), "busy");
}

#[tokio::test]
async fn a_hang_before_headers_is_silence() {
    for stream in [false, true] {
        let (heard, attempt) = suffer(Fault::HangBeforeHeaders, stream).await;
        assert_eq!((heard.status, heard.end), (None, End::Silent));
        free(&attempt, FaultKind::HangBeforeHeaders);
        assert!(
            attempt.client_gone_ms.is_some(),
            "the client's close was not seen"
        );
    }
}

#[tokio::test]
async fn a_hang_after_headers_is_headers_and_silence() {
    let (heard, attempt) = suffer(Fault::HangAfterHeaders, true).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Silent));
    assert_eq!(heard.events().len(), 1);
    assert!(heard.text().contains("\"role\":\"assistant\""));
    free(&attempt, FaultKind::HangAfterHeaders);
    assert!(attempt.client_gone_ms.is_some());
    let (heard, attempt) = suffer(Fault::HangAfterHeaders, false).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Silent));
    assert!(heard.body.is_empty());
    free(&attempt, FaultKind::HangAfterHeaders);
}

#[tokio::test]
async fn a_stall_in_the_middle_bills_what_was_said() {
    let (heard, attempt) = suffer(Fault::HangAfter { content_chunks: 2 }, true).await;
    assert_eq!((contents(&heard), heard.end), (2, End::Silent));
    assert_eq!(attempt.outcome, Outcome::Faulted(FaultKind::HangAfter));
    assert_eq!((attempt.input_tokens, attempt.output_tokens), (7, 2));
}

#[tokio::test]
async fn a_reset_is_a_reset() {
    for stream in [false, true] {
        let (heard, attempt) = suffer(Fault::Reset, stream).await;
        assert_eq!((heard.status, heard.end), (None, End::Reset));
        free(&attempt, FaultKind::Reset);
        assert_eq!(attempt.client_gone_ms, None);
    }
}

#[tokio::test]
async fn a_cut_stream_lacks_its_end_and_bills_what_was_said() {
    for content_chunks in [1, 3] {
        let (heard, attempt) = suffer(Fault::CutAfter { content_chunks }, true).await;
        assert_eq!((heard.status, heard.end), (Some(200), End::Closed));
        assert_eq!(contents(&heard), content_chunks);
        assert!(!heard.text().contains("[DONE]"));
        assert!(!heard.text().contains("\"stop\""));
        assert_eq!(attempt.outcome, Outcome::Faulted(FaultKind::CutAfter));
        assert_eq!(attempt.output_tokens, content_chunks as u64);
        let cost = 7 * 100 + content_chunks as u64 * 400;
        assert_eq!(attempt.cost_nano_usd, cost);
        assert_eq!(attempt.client_gone_ms, None);
    }
    let (heard, attempt) = suffer(Fault::CutAfter { content_chunks: 99 }, true).await;
    assert_eq!((contents(&heard), heard.end), (4, End::Closed));
    assert_eq!(attempt.output_tokens, 4);
}

#[tokio::test]
async fn a_cut_whole_answer_is_half_a_body_and_free() {
    let (heard, attempt) = suffer(Fault::CutAfter { content_chunks: 1 }, false).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Closed));
    assert!(heard.text().starts_with("{\"id\""));
    free(&attempt, FaultKind::CutAfter);
}

#[tokio::test]
async fn a_cut_before_content_is_a_role_and_free() {
    let (heard, attempt) = suffer(Fault::CutBeforeContent, true).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Closed));
    assert_eq!(heard.events().len(), 1);
    assert_eq!(contents(&heard), 0);
    free(&attempt, FaultKind::CutBeforeContent);
    let (heard, attempt) = suffer(Fault::CutBeforeContent, false).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Closed));
    assert!(heard.body.is_empty());
    free(&attempt, FaultKind::CutBeforeContent);
}

#[tokio::test]
async fn an_error_in_the_stream_ends_it_tidily_without_done() {
    let (heard, attempt) = suffer(Fault::ErrorInStream { content_chunks: 1 }, true).await;
    assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
    let events = heard.events();
    let last = events.last().unwrap();
    assert!(last.starts_with("{\"error\""), "{last}");
    assert_eq!(contents(&heard), 1);
    assert_eq!(attempt.outcome, Outcome::Faulted(FaultKind::ErrorInStream));
    assert_eq!(attempt.output_tokens, 1);
    let (heard, attempt) = suffer(Fault::ErrorInStream { content_chunks: 0 }, false).await;
    assert!(heard.json()["error"].is_object());
    free(&attempt, FaultKind::ErrorInStream);
}

#[tokio::test]
async fn bodies_that_are_no_answers() {
    for stream in [false, true] {
        let (heard, attempt) = suffer(Fault::Garbage, stream).await;
        assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
        assert!(heard.head.contains("text/html") && heard.text().contains("<html>"));
        free(&attempt, FaultKind::Garbage);

        let (heard, attempt) = suffer(Fault::EmptyBody, stream).await;
        assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
        assert!(heard.body.is_empty());
        free(&attempt, FaultKind::EmptyBody);

        let (heard, attempt) = suffer(Fault::TruncatedJson, stream).await;
        assert_eq!((heard.status, heard.end), (Some(200), End::Tidy));
        let text = heard.text();
        let json = text.strip_prefix("data: ").unwrap_or(&text);
        assert!(json.starts_with('{'), "{json}");
        assert!(serde_json::from_str::<serde_json::Value>(json).is_err());
        free(&attempt, FaultKind::TruncatedJson);
    }
}

#[tokio::test]
async fn done_at_once_says_nothing() {
    let (heard, attempt) = suffer(Fault::DoneAtOnce, true).await;
    assert_eq!(heard.events(), ["[DONE]"]);
    assert_eq!(heard.end, End::Tidy);
    free(&attempt, FaultKind::DoneAtOnce);
    let (heard, attempt) = suffer(Fault::DoneAtOnce, false).await;
    assert_eq!(heard.json()["choices"], serde_json::json!([]));
    free(&attempt, FaultKind::DoneAtOnce);
}

#[tokio::test]
async fn a_fault_passes_and_the_provider_answers_again() {
    let running = start().await;
    let script = running.script("alpha").unwrap();
    script.fail_next(2, Fault::rate_limited(1));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(chat(&running, &body("small", false)).await.status);
    }
    assert_eq!(statuses, [Some(429), Some(429), Some(200)]);
    assert_eq!(running.ledger().totals().answered, 1);
    assert!(running.script("nobody").is_none());
}
