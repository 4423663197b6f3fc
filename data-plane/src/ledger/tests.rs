//! Records close once, with the right account.

use super::*;
use spillway_routing::catalogue::{Tier, Usage};
use spillway_routing::decide::{Draw, decide};
use spillway_routing::outcome::UsageSource;
use spillway_routing::unit::{NanoUsd, Tokens};

fn ledger() -> Arc<Ledger> {
    let metrics = Arc::new(Metrics::new().unwrap());
    let queue = Arc::new(Queue::new(10, true, Arc::clone(&metrics)));
    Arc::new(Ledger::new(
        ProxyId::new("p"),
        metrics,
        queue,
        Arc::default(),
        Arc::default(),
    ))
}

fn entry(ledger: &Arc<Ledger>) -> Entry {
    let table = Arc::new(Table::build(crate::tests::draft(1)).unwrap());
    let facts = Facts {
        route: Some("auto".into()),
        o200k: Tokens(100),
        ..Facts::default()
    };
    let conditions = Conditions::default();
    let at = UnixMillis(1);
    let decision = decide(&table, &facts, &conditions, at, Draw(0)).ok();
    assert!(decision.is_some());
    let id = RequestId([1; 16]);
    ledger.open(Opening {
        id,
        at,
        arrived: Instant::now(),
        table,
        facts,
        conditions,
        text_only: true,
        decision,
    })
}

fn endings(ledger: &Ledger, ending: Ending) -> u64 {
    let (route, model) = ("auto", "small");
    ledger
        .metrics
        .requests
        .with_label_values(&[route, model, ending.name()])
        .get()
}

#[test]
fn an_entry_closes_exactly_once() {
    let ledger = ledger();
    let mut answered = entry(&ledger);
    answered.attempt_starts(0);
    answered.commits(0);
    answered.finish(Ending::Answered, 200);
    answered.finish(Ending::Cut, 200);
    drop(answered);
    assert_eq!(
        (
            endings(&ledger, Ending::Answered),
            endings(&ledger, Ending::Cut)
        ),
        (1, 0)
    );
    let mut dropped = entry(&ledger);
    dropped.commits(0);
    drop(dropped);
    assert_eq!(endings(&ledger, Ending::ClientGone), 1);
    assert_eq!(ledger.metrics.outcomes_queued.get(), 2);
}

#[test]
fn a_panic_and_a_shutdown_are_not_the_clients_fault() {
    let ledger = ledger();
    let mut panicking = entry(&ledger);
    panicking.commits(0);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _entry = panicking;
        panic!("on purpose");
    }));
    assert!(caught.is_err());
    assert_eq!(endings(&ledger, Ending::Failed), 1);
    let mut cut = entry(&ledger);
    cut.commits(0);
    cut.head_goes_out();
    ledger.cut();
    drop(cut);
    assert_eq!(endings(&ledger, Ending::Cut), 1);
}

#[test]
fn cost_and_baseline_follow_what_was_used() {
    let ledger = ledger();
    let mut entry = entry(&ledger);
    entry.commits(0);
    entry.adds_content(400);
    let record = entry.record.as_ref().unwrap();
    let (usage, source) = account::usage(record);
    assert_eq!((usage.input, usage.output), (Tokens(100), Tokens(100)));
    assert_eq!(source, UsageSource::Estimated);
    assert_eq!(account::cost(record, &usage), NanoUsd(200_000));
    assert_eq!(account::baseline(record, &usage), NanoUsd(2_000_000));
    let usage = Usage {
        input: Tokens(10),
        output: Tokens(10),
        ..Usage::default()
    };
    entry.reports(Reported {
        begun: None,
        usage: Some(usage),
        tier: Some(Tier::Flex),
    });
    let record = entry.record.as_ref().unwrap();
    assert_eq!(account::usage(record), (usage, UsageSource::Reported));
    assert_eq!(
        account::billed_lane(record),
        Some(0),
        "no flex lane is known, so the served one"
    );
}

#[test]
fn what_was_sent_in_vain_is_booked_at_the_last_lane_that_may_bill() {
    use AttemptResult::{ClientGone, Failed, Overloaded, TimedOut, Unreachable};
    // Small's input costs 100 000 nano dollars here, large's 1 000 000, and as much the output
    // that is expected of either. Whole answers are written though nobody waits.
    for (stream, results, cost, output) in [
        (true, &[ClientGone][..], 100_000, 0),
        (false, &[ClientGone], 200_000, 100),
        (true, &[TimedOut, ClientGone], 1_000_000, 0),
        (false, &[TimedOut, ClientGone], 2_000_000, 100),
        (false, &[TimedOut, Overloaded], 200_000, 100),
        (false, &[Failed, Overloaded], 100_000, 0),
        (false, &[Overloaded, Unreachable], 0, 0),
    ] {
        let ledger = ledger();
        let mut entry = entry(&ledger);
        entry.change(|record| record.opening.facts.stream = stream);
        for (lane, result) in results.iter().enumerate() {
            entry.attempt_starts(lane).set();
            entry.attempt_ends(*result, None);
        }
        let record = entry.record.as_ref().unwrap();
        let (usage, source) = account::usage(record);
        assert_eq!(account::cost(record, &usage), NanoUsd(cost), "{results:?}");
        assert_eq!(
            (usage.output, source),
            (Tokens(output), UsageSource::Estimated)
        );
        assert_eq!(account::baseline(record, &usage), NanoUsd::ZERO);
    }
}

#[test]
fn an_attempt_that_was_not_sent_is_not_booked() {
    let ledger = ledger();
    let mut entry = entry(&ledger);
    entry.attempt_starts(0);
    entry.attempt_ends(AttemptResult::ClientGone, None);
    let record = entry.record.as_ref().unwrap();
    assert_eq!(account::usage(record).0, Usage::default());
}

#[test]
fn nothing_served_costs_nothing() {
    let ledger = ledger();
    let mut entry = entry(&ledger);
    entry.attempt_starts(1);
    let record = entry.record.as_ref().unwrap();
    let (usage, _) = account::usage(record);
    assert_eq!(account::cost(record, &usage), NanoUsd::ZERO);
    assert_eq!(account::baseline(record, &usage), NanoUsd::ZERO);
}
