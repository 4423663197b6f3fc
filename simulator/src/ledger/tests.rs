//! Tests of what is billed and found again.

use super::*;

const PRICE: Price = Price {
    input_nano_usd: 10,
    output_nano_usd: 100,
};

fn entry(ledger: &Ledger) -> Entry {
    let mut entry = ledger.open(
        "alpha",
        Wire::OpenAiChat,
        Some("sk-1"),
        Some("r-1".to_owned()),
    );
    entry.identify("m", true, "hello");
    let usage = Usage {
        input_tokens: 7,
        ..Usage::default()
    };
    entry.price(PRICE, ServiceTier::Flex, &usage);
    entry
}

fn end(outcome: Option<Outcome>, sent: u64) -> Attempt {
    let ledger = Ledger::new(Instant::now());
    let mut entry = entry(&ledger);
    entry.sent(sent);
    if let Some(outcome) = outcome {
        entry.finish(outcome);
    }
    drop(entry);
    ledger.attempts().remove(0)
}

#[test]
fn each_end_bills_what_the_rule_says() {
    assert_eq!(end(Some(Outcome::Answered), 5).cost_nano_usd, 570);
    let tier = end(Some(Outcome::Answered), 5).service_tier;
    assert_eq!(tier, ServiceTier::Flex);
    assert_eq!(end(Some(Outcome::Refused(429)), 5).cost_nano_usd, 0);
    let cut = Outcome::Faulted(FaultKind::CutAfter);
    assert_eq!(end(Some(cut), 2).cost_nano_usd, 270);
    assert_eq!(end(Some(cut), 0).cost_nano_usd, 0);
    let gone = end(None, 3);
    assert_eq!(
        (gone.outcome, gone.cost_nano_usd),
        (Outcome::ClientGone, 370)
    );
    assert!(gone.client_gone_ms.is_some());
}

#[test]
fn a_finished_entry_is_not_closed_again_by_its_drop() {
    let attempt = end(Some(Outcome::Answered), 1);
    assert_eq!(attempt.client_gone_ms, None);
    assert_eq!(attempt.outcome, Outcome::Answered);
}

#[test]
fn totals_filter_and_join_by_request_id() {
    let ledger = Ledger::new(Instant::now());
    entry(&ledger).finish(Outcome::Answered);
    entry(&ledger).finish(Outcome::Refused(503));
    let open = entry(&ledger);
    assert_eq!(ledger.in_flight(), 1);
    drop(open);
    assert_eq!(ledger.totals().attempts, 3);
    assert_eq!(ledger.totals().cost_nano_usd, 140);
    assert_eq!(ledger.of_request("r-1").len(), 3);
    assert_eq!(
        ledger.count(|attempt| attempt.outcome == Outcome::Answered),
        1
    );
    let keys: Vec<_> = ledger.attempts().iter().map(|a| a.key_hash).collect();
    assert_eq!(keys, [Some(Ledger::key_hash("sk-1")); 3]);
}
