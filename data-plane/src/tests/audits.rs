//! Audits beside the traffic: who is asked, what is reported, and what it may cost.

use spillway_proto::pb;
use spillway_routing::audit::Audits;
use spillway_routing::table::Draft;
use spillway_routing::unit::{Bps, NanoUsd};

use super::stand::{Act, Stand, answers, status, streams};
use super::{HI, ROLE, STOP, draft};

fn audited(per_day: NanoUsd, judge: bool) -> Draft {
    Draft {
        audits: Some(Audits {
            share: Bps::ZERO,
            starting: Bps::ONE,
            per_day,
            judge: judge.then(|| "b:large/standard".into()),
        }),
        ..draft(1)
    }
}

async fn stand(a: Vec<Act>, b: Vec<Act>, draft: &Draft) -> Stand {
    let mut stand = Stand::start(a, b, "").await;
    stand.publish(draft).await;
    stand
}

/// A dollar is plenty.
const PLENTY: NanoUsd = NanoUsd(1_000_000_000);
/// Whoever stands under A, the marks differ: 0.8 and 0.2.
const MARKS: &str = r#"{\"scores\":{\"A\":8,\"B\":2}}"#;

fn scores(audit: &pb::Audit) -> Vec<u32> {
    let mut scores: Vec<u32> = audit
        .answers
        .iter()
        .map(|answer| answer.score_bps)
        .collect();
    scores.sort_unstable();
    scores
}

#[tokio::test]
async fn every_model_answers_and_the_judge_scores() {
    let acts = vec![answers("five"), answers(MARKS)];
    // The caller is streamed to; its audit asks for a whole answer.
    let streamed = streams(&[ROLE, HI, STOP, "[DONE]"]);
    let first = vec![streamed, answers("four")];
    let mut stand = stand(first, acts, &audited(PLENTY, true)).await;
    assert_eq!(stand.ask(true).await.status(), 200);
    let audit = stand.audit().await;
    assert_eq!(scores(&audit), [2_000, 8_000]);
    let models: Vec<&str> = audit.answers.iter().map(|a| a.model.as_str()).collect();
    assert!(models.contains(&"small") && models.contains(&"large"));
    // 1,500 tokens at a dollar and at ten dollars a million, as the providers reported.
    let mut costs: Vec<_> = audit
        .answers
        .iter()
        .filter_map(|a| a.cost_nano_usd)
        .collect();
    costs.sort_unstable();
    assert_eq!(costs, [1_500_000, 15_000_000]);
    assert_eq!(stand.outcome().await.status, 200);
    stand
        .until("spillway_audits_total{ended=\"scored\"} 1")
        .await;
    // The judge saw both answers and no model's name, and no audit asks for a stream.
    let received = stand.b.received.lock().unwrap().clone();
    let judged = received
        .iter()
        .find(|call| call.contains("ANSWER A"))
        .unwrap();
    assert!(judged.contains("four") && judged.contains("five") && !judged.contains("small"));
    let streams = |calls: &[String]| calls.iter().any(|call| call.contains("\"stream\":true"));
    assert!(!streams(&received) && !streams(&stand.a.received.lock().unwrap()[1..]));
}

#[tokio::test]
async fn without_money_nobody_is_called() {
    let stand = stand(
        vec![answers("4")],
        vec![answers("4")],
        &audited(NanoUsd(10), true),
    )
    .await;
    assert_eq!(stand.ask(false).await.status(), 200);
    stand
        .until("spillway_audits_total{ended=\"no_money\"} 1")
        .await;
    assert_eq!((stand.a.calls(), stand.b.calls()), (1, 0));
}

#[tokio::test]
async fn without_a_judge_only_forms_are_audited() {
    let schema = r#"{"type":"object","required":["sum"]}"#;
    let body = format!(
        r#"{{"model":"auto","messages":[{{"role":"user","content":"2+2?"}}],"response_format":{{"type":"json_schema","json_schema":{{"name":"n","schema":{schema}}}}}}}"#
    );
    let kept = answers(r#"{\"sum\":4}"#);
    let mut stand = stand(vec![kept], vec![answers("four")], &audited(PLENTY, false)).await;
    assert_eq!(stand.ask(false).await.status(), 200);
    stand
        .until("spillway_audits_total{ended=\"unscored\"} 1")
        .await;
    assert_eq!(stand.b.calls(), 0);
    let response = stand.send("/v1/chat/completions", body).await;
    assert_eq!(response.status(), 200);
    assert_eq!(scores(&stand.audit().await), [0, 10_000]);
}

#[tokio::test]
async fn one_models_failure_ends_neither_request_nor_proxy() {
    let stand = stand(
        vec![answers("4")],
        vec![status(500, "", "{}")],
        &audited(PLENTY, true),
    )
    .await;
    assert_eq!(stand.ask(false).await.status(), 200);
    stand
        .until("spillway_audits_total{ended=\"unscored\"} 1")
        .await;
    assert_eq!(stand.ask(false).await.status(), 200);
}
