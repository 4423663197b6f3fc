//! The overview against a small set computed by hand, and how fast it is.

use std::time::Instant;

use spillway_routing::head::Abstention;
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::outcome::{Ending, Outcome, VerdictSource};
use spillway_routing::unit::{Bps, Millis, NanoUsd, UnixMillis};

use super::stand::{HOUR, NINE, Stand, batch, clock, outcome, verdict};
use crate::shelf::Shelf;
use crate::{Endings, History, HistoryError, RequestFilter};

/// Number, ending, model, cost.
fn row(number: u64, ending: Ending, model: Option<&str>, cost: u64) -> Outcome {
    let mut row = outcome(number);
    row.ending = ending;
    row.served_model = model.map(ModelId::new);
    row.cost = NanoUsd(cost);
    row
}

async fn small_set() -> Stand {
    let stand = Stand::new();
    let mut rows = [
        row(10, Ending::Answered, Some("small"), 100),
        row(20, Ending::Answered, Some("small"), 200),
        row(30, Ending::Answered, Some("large"), 1_000),
        row(3_700, Ending::Failed, None, 0),
        row(3_710, Ending::Cut, Some("large"), 500),
    ];
    let again = rows[2].attempts[0].clone();
    rows[2].attempts.push(again);
    rows[3].facts.route = Some(RouteId::new("chat"));
    rows[1].decision.as_mut().unwrap().abstention = Some(Abstention::FewLabels);
    rows[0].decision.as_mut().unwrap().explored = true;
    rows[3].first_token = None;
    stand
        .history
        .append_outcomes(&batch(1, 3), &rows[..3])
        .await
        .unwrap();
    stand
        .history
        .append_outcomes(&batch(4, 5), &rows[3..])
        .await
        .unwrap();
    let verdicts = [
        verdict(10, VerdictSource::Judge, 2_000, 900),
        verdict(10, VerdictSource::App, 9_000, 100),
        verdict(10, VerdictSource::App, 8_000, 200),
        verdict(30, VerdictSource::Verifier, 10_000, 100),
    ];
    stand
        .history
        .append_verdicts(&batch(1, 4), &verdicts)
        .await
        .unwrap();
    stand
}

async fn check(stand: &Stand) {
    let until = UnixMillis(NINE.0 + 3 * HOUR);
    let overview = stand
        .history
        .overview(NINE, until, Millis(HOUR))
        .await
        .unwrap();
    let totals = overview.totals;
    assert_eq!(totals.requests, 5);
    let endings = Endings {
        answered: 3,
        failed: 1,
        cut: 1,
        ..Endings::default()
    };
    assert_eq!(totals.endings, endings);
    assert_eq!(
        (totals.spend, totals.baseline),
        (NanoUsd(1_800), NanoUsd(25_000))
    );
    // The latest of the app's two verdicts beats the judge's: (80 % + 100 %) / 2.
    assert_eq!((totals.quality, totals.scored), (Some(Bps::new(9_000)), 2));
    assert_eq!(totals.total_p50, Some(Millis(20)));
    assert_eq!(totals.first_token_p50, Some(Millis(300)));
    assert_eq!(
        (totals.failovers, totals.abstained, totals.explored),
        (1, 1, 1)
    );
    let series: Vec<_> = overview
        .series
        .iter()
        .map(|p| (p.at.0 - NINE.0, p.figures.requests))
        .collect();
    assert_eq!(series, [(0, 3), (HOUR, 2), (2 * HOUR, 0)]);
    assert_eq!(overview.series[0].figures.spend, NanoUsd(1_300));
    assert_eq!(overview.series[1].figures.total_p50, None);
    let models: Vec<_> = overview
        .by_model
        .iter()
        .map(|(m, f)| (m.as_str(), f.requests, f.spend.0))
        .collect();
    assert_eq!(models, [("large", 2, 1_500), ("small", 2, 300)]);
    let routes: Vec<_> = overview
        .by_route
        .iter()
        .map(|(r, f)| (r.as_str(), f.requests))
        .collect();
    assert_eq!(routes, [("auto", 4), ("chat", 1)]);
    let none = stand
        .history
        .overview(until, UnixMillis(until.0 + 1), Millis(1))
        .await
        .unwrap();
    assert_eq!((none.totals.requests, none.series.len()), (0, 1));
}

#[tokio::test]
async fn the_overview_is_what_one_computes_by_hand() {
    let stand = small_set().await;
    check(&stand).await;
    let stand = stand.reopened();
    check(&stand).await;
    stand.history.compact(clock(30 * 24 * HOUR)).await.unwrap();
    check(&stand).await;
    check(&stand.reopened()).await;
}

/// Beyond what is kept in memory, figures come from the files themselves.
#[tokio::test]
async fn large_and_small_files_are_counted_together() {
    let stand = Stand::new();
    stand.append(0, 4_999).await;
    stand.append(5_000, 5_009).await;
    let verdicts = [verdict(40, VerdictSource::App, 5_000, 1)];
    stand
        .history
        .append_verdicts(&batch(0, 0), &verdicts)
        .await
        .unwrap();
    let stand = stand.reopened();
    let (since, until) = (UnixMillis(NINE.0 + 40_000), UnixMillis(NINE.0 + 5_005_000));
    let overview = stand
        .history
        .overview(since, until, Millis(HOUR))
        .await
        .unwrap();
    assert_eq!(
        (overview.totals.requests, overview.totals.scored),
        (4_965, 1)
    );
    let filter = RequestFilter {
        before: Some(until),
        ..RequestFilter::default()
    };
    let page = stand.history.recent(7, &filter).await.unwrap();
    let numbers: Vec<_> = page.iter().map(|row| row.total.0).collect();
    assert_eq!(numbers, [5_004, 5_003, 5_002, 5_001, 5_000, 4_999, 4_998]);
}

#[tokio::test]
async fn too_fine_a_series_is_refused() {
    let stand = Stand::new();
    let error = stand
        .history
        .overview(UnixMillis(0), NINE, Millis(1))
        .await
        .unwrap_err();
    assert!(matches!(error, HistoryError::TooManyPoints { .. }));
}

/// So many outcomes take more than a query may hold, and a tenth of them are judged.
#[tokio::test]
async fn a_busy_window_is_summed_without_being_held() {
    let stand = Stand::new();
    stand.append(1, 48_000).await;
    // Too many to be kept in memory, where their number would be known.
    let judged: Vec<_> = (1..=5_000)
        .map(|number| verdict(number, VerdictSource::App, 9_000, 100))
        .collect();
    let batch = batch(1, 5_000);
    let stored = stand.history.append_verdicts(&batch, &judged).await;
    assert!(stored.unwrap().new);
    let shelf = Shelf::local(stand.dir.path()).unwrap();
    let small = History::on(shelf, 6 * 1024 * 1024).unwrap();
    let until = UnixMillis(NINE.0 + 24 * HOUR);
    let overview = small.overview(NINE, until, Millis(HOUR)).await.unwrap();
    assert_eq!(overview.totals.requests, 48_000);
    assert_eq!(overview.totals.scored, 5_000);
}

/// `cargo nextest run -p spillway-history --run-ignored all --no-capture how_fast`.
#[tokio::test]
#[ignore = "prints times, asserts none"]
async fn how_fast_ten_thousand_outcomes_are() {
    let stand = Stand::new();
    let rows: Vec<_> = (0..10_000).map(outcome).collect();
    let started = Instant::now();
    let large: Vec<_> = (100_000..150_000).map(outcome).collect();
    stand
        .history
        .append_outcomes(&batch(100_000, 149_999), &large)
        .await
        .unwrap();
    println!("append 50000 in one batch: {:?}", started.elapsed());
    let started = Instant::now();
    let (since, until) = (NINE, UnixMillis(NINE.0 + 150_000_000));
    stand
        .history
        .overview(since, until, Millis(600_000))
        .await
        .unwrap();
    println!("overview of 50000 from one file: {:?}", started.elapsed());
    let started = Instant::now();
    for i in 0..500usize {
        let (first, last) = (i * 20, i * 20 + 19);
        let batch = batch(first as u64, last as u64);
        stand
            .history
            .append_outcomes(&batch, &rows[first..=last])
            .await
            .unwrap();
    }
    println!("append 10000 in 500 batches: {:?}", started.elapsed());
    let (since, until) = (NINE, UnixMillis(NINE.0 + 10_000_000));
    let ask = async |stand: &Stand, what: &str| {
        for round in 0..2 {
            let started = Instant::now();
            let overview = stand
                .history
                .overview(since, until, Millis(60_000))
                .await
                .unwrap();
            assert_eq!(overview.totals.requests, 10_000);
            println!("overview {what}, round {round}: {:?}", started.elapsed());
        }
        let started = Instant::now();
        stand
            .history
            .recent(50, &RequestFilter::default())
            .await
            .unwrap();
        println!("recent {what}: {:?}", started.elapsed());
        let started = Instant::now();
        stand.history.window(since, until, 10_000).await.unwrap();
        println!("window of 10000 {what}: {:?}", started.elapsed());
    };
    ask(&stand, "500 live files").await;
    let stand = stand.reopened();
    ask(&stand, "500 files after a restart").await;
    let started = Instant::now();
    let compacted = stand.history.compact(clock(60_000)).await.unwrap();
    println!("compaction: {:?} {compacted:?}", started.elapsed());
    ask(&stand, "compacted").await;
    ask(&stand.reopened(), "compacted, after a restart").await;
}
