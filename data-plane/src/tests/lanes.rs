//! What one request's failure does to a lane, to the next request and to the bill.

use std::time::Duration;

use super::stand::{Act, Stand, answers, hangs_after, status, streams};
use super::{HI, ROLE, STOP, code, draft, header, results};

/// Together under way: what a small service has.
const CONCURRENCY: usize = 8;

async fn stand(a: Vec<Act>, b: Vec<Act>) -> Stand {
    let mut stand = Stand::start(a, b, "").await;
    stand.publish(&draft(1)).await;
    stand
}

fn refusal(status_code: u16, error_code: &str) -> Act {
    let body = format!(r#"{{"error":{{"message":"no","code":"{error_code}"}}}}"#);
    status(status_code, "", &body)
}

/// Sends many requests, some at a time, and says how many failed.
async fn failures(stand: &Stand, count: usize, at_once: usize, stream: bool) -> usize {
    use futures::StreamExt as _;
    let asking = (0..count).map(|_| stand.ask(stream));
    let responses = futures::stream::iter(asking).buffer_unordered(at_once);
    let failed = responses.filter(|response| std::future::ready(response.status() != 200));
    failed.count().await
}

#[tokio::test]
async fn one_callers_refusal_leaves_the_lane_to_the_others() {
    for (status_code, error_code) in [
        (402, "insufficient_balance"),
        (403, "content_policy"),
        (404, "previous_response_not_found"),
    ] {
        let first = vec![refusal(status_code, error_code), answers("4")];
        let stand = stand(first, vec![answers("4")]).await;
        let moved = stand.ask(false).await;
        assert_eq!(moved.status(), 200, "{status_code}");
        assert_eq!(header(&moved, "x-spillway-lane"), "b:large/standard");
        let next = stand.ask(false).await;
        assert_eq!(
            header(&next, "x-spillway-lane"),
            "a:small/standard",
            "{status_code}"
        );
    }
}

#[tokio::test]
async fn a_refused_key_or_model_shuts_the_lane() {
    for (status_code, error_code) in [
        (401, "invalid_api_key"),
        (404, "model_not_found"),
        (429, "insufficient_quota"),
    ] {
        let first = vec![refusal(status_code, error_code), answers("4")];
        let stand = stand(first, vec![answers("4")]).await;
        for _ in 0..2 {
            let response = stand.ask(false).await;
            assert_eq!(header(&response, "x-spillway-lane"), "b:large/standard");
        }
        assert_eq!(stand.a.calls(), 1, "{status_code}");
    }
}

#[tokio::test]
async fn a_refusal_of_every_lane_reaches_the_caller() {
    let last = refusal(403, "content_policy");
    let mut stand = stand(vec![refusal(404, "gone")], vec![last]).await;
    let response = stand.ask(false).await;
    assert_eq!(
        (response.status().as_u16(), code(&response).as_str()),
        (403, "content_policy")
    );
    assert_eq!(results(&stand.outcome().await), ["rejected", "rejected"]);
}

#[tokio::test]
async fn a_lane_that_turns_unavailable_costs_no_request() {
    const WARM: usize = 200;
    for broken in [503, 529, 429] {
        let mut acts = vec![answers("4"); WARM];
        acts.push(status(broken, "", "{}"));
        let stand = stand(acts, vec![answers("4")]).await;
        assert_eq!(failures(&stand, WARM, CONCURRENCY, false).await, 0);
        assert_eq!(stand.a.calls(), WARM);
        assert_eq!(
            failures(&stand, WARM, CONCURRENCY, false).await,
            0,
            "{broken}"
        );
        let tried = stand.a.calls() - WARM;
        assert!(tried <= 2 * CONCURRENCY, "{tried}");
    }
}

#[tokio::test]
async fn requests_that_hang_with_their_lane_all_move_on() {
    let stand = stand(vec![hangs_after(&[ROLE])], vec![streams(&[HI, STOP])]).await;
    let at_once = 40; // Far more than there is budget for.
    assert_eq!(failures(&stand, at_once, at_once, true).await, 0);
    assert_eq!(stand.a.calls(), at_once);
}

#[tokio::test]
async fn only_streams_have_a_first_token() {
    let acts = vec![answers("4"), streams(&[HI, STOP])];
    let mut stand = stand(acts, vec![answers("4")]).await;
    assert_eq!(stand.ask(false).await.status(), 200);
    assert_eq!(stand.outcome().await.first_token_ms, None);
    assert_eq!(stand.ask(true).await.status(), 200);
    assert!(stand.outcome().await.first_token_ms.is_some());
}

#[tokio::test]
async fn what_a_provider_may_bill_is_booked_as_an_estimate() {
    let hanging = || vec![hangs_after(&[ROLE])];
    let mut gone = stand(hanging(), hanging()).await;
    let asking = tokio::time::timeout(Duration::from_millis(300), gone.ask(true));
    assert!(asking.await.is_err());
    let mut late = stand(hanging(), hanging()).await;
    assert_eq!(late.ask(true).await.status(), 504);
    for (stand, ending) in [(&mut gone, "client_gone"), (&mut late, "failed")] {
        let outcome = stand.outcome().await;
        assert_eq!(outcome.ending, ending);
        assert!(outcome.served_lane.is_none(), "{ending}");
        let usage = outcome.usage.unwrap();
        assert!(!usage.reported && usage.input_tokens > 0 && usage.output_tokens == 0);
        assert!(outcome.cost_nano_usd > 0, "{ending}");
    }
}

/// A call without a stream runs on at the provider: budgets must not get its money back.
#[tokio::test]
async fn what_is_left_while_it_is_written_is_booked_as_it_was_expected() {
    let hanging = || vec![hangs_after(&[])];
    let mut gone = stand(hanging(), hanging()).await;
    let asking = tokio::time::timeout(Duration::from_millis(300), gone.ask(false));
    assert!(asking.await.is_err());
    let mut late = stand(hanging(), hanging()).await;
    assert_eq!(late.ask(false).await.status(), 504);
    for (stand, ending) in [(&mut gone, "client_gone"), (&mut late, "failed")] {
        let outcome = stand.outcome().await;
        assert_eq!(outcome.ending, ending);
        let usage = outcome.usage.unwrap();
        assert!(!usage.reported, "{ending}");
        assert_eq!(usage.output_tokens, 100, "the model's typical length");
    }
}

#[tokio::test]
async fn what_was_refused_unread_or_served_elsewhere_is_not_booked() {
    let overloaded = || vec![status(503, "", "{}")];
    let mut refused = stand(overloaded(), overloaded()).await;
    assert_eq!(refused.ask(false).await.status(), 503);
    assert_eq!(refused.outcome().await.cost_nano_usd, 0);
    let mut moved = stand(vec![status(500, "", "{}")], vec![answers("4")]).await;
    let response = moved.ask(false).await;
    assert_eq!(header(&response, "x-spillway-possible-charge"), "1");
    assert_eq!(
        moved.outcome().await.cost_nano_usd,
        15_000_000,
        "the served lane's alone"
    );
}
