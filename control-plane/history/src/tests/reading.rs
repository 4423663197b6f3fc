//! Pages, windows, single requests, and SQL.

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::UInt64Type;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use spillway_routing::id::{ModelId, RouteId};
use spillway_routing::outcome::{Ending, VerdictSource};
use spillway_routing::unit::{Bps, Millis, UnixMillis};

use super::random;
use super::stand::{NINE, Stand, batch, clock, id, outcome, verdict};
use crate::{HistoryError, RequestFilter};

#[tokio::test]
async fn the_latest_requests_come_first_and_pages_turn() {
    let stand = Stand::new();
    stand.append(0, 9).await;
    stand.append(10_000, 10_009).await;
    let verdicts = [verdict(9, VerdictSource::Judge, 7_000, 1)];
    stand
        .history
        .append_verdicts(&batch(0, 0), &verdicts)
        .await
        .unwrap();
    let page = |before| {
        let filter = RequestFilter {
            before,
            ..RequestFilter::default()
        };
        let history = &stand.history;
        async move { history.recent(12, &filter).await.unwrap() }
    };
    let first = page(None).await;
    let numbers: Vec<_> = first.iter().map(|row| row.total.0).collect();
    let expected: Vec<_> = (10_000..10_010).rev().chain([9, 8]).collect();
    assert_eq!(numbers, expected);
    assert_eq!(
        (first[10].id, first[10].quality),
        (id(9), Some(Bps::new(7_000)))
    );
    let words = "best quality for its cost under the route's multiplier";
    assert_eq!(first[0].chosen_reason.as_deref(), Some(words));
    let second = page(Some(first[11].at)).await;
    assert_eq!(second.len(), 8);
    assert_eq!(second[0].total.0, 7);
}

#[tokio::test]
async fn a_page_can_be_filtered() {
    let stand = Stand::new();
    let mut rows: Vec<_> = (0..4).map(outcome).collect();
    rows[1].facts.route = Some(RouteId::new("it's"));
    rows[2].served_model = Some(ModelId::new("large"));
    rows[3].ending = Ending::Cut;
    stand
        .history
        .append_outcomes(&batch(0, 3), &rows)
        .await
        .unwrap();
    let any = RequestFilter::default;
    let filters = [
        RequestFilter {
            route: Some(RouteId::new("it's")),
            ..any()
        },
        RequestFilter {
            model: Some(ModelId::new("large")),
            ..any()
        },
        RequestFilter {
            ending: Some(Ending::Cut),
            ..any()
        },
    ];
    for (filter, number) in filters.iter().zip(1..) {
        let page = stand.history.recent(9, filter).await.unwrap();
        assert_eq!(
            page.iter().map(|row| row.total.0).collect::<Vec<_>>(),
            [number]
        );
    }
}

#[tokio::test]
async fn a_window_gives_its_latest_rows_oldest_first() {
    let stand = Stand::new();
    stand.append(0, 9).await;
    stand.append(10, 19).await;
    let verdicts = [verdict(15, VerdictSource::App, 100, 1)];
    stand
        .history
        .append_verdicts(&batch(0, 0), &verdicts)
        .await
        .unwrap();
    let (since, until) = (UnixMillis(NINE.0 + 5_000), UnixMillis(NINE.0 + 17_000));
    let window = stand.history.window(since, until, 4).await.unwrap();
    let read: Vec<_> = window
        .iter()
        .map(|(o, quality)| (o.total.0, *quality))
        .collect();
    let judged = Some(Bps::new(100));
    assert_eq!(read, [(13, None), (14, None), (15, judged), (16, None)]);
    assert_eq!(window[0].0, outcome(13));
    let judged = stand.history.judged_window(since, until, 4).await.unwrap();
    assert_eq!(judged, [(outcome(15), Bps::new(100))]);
    // It is none of the last one.
    let judged = stand.history.judged_window(since, until, 1).await.unwrap();
    assert_eq!(judged, []);
    assert_eq!(
        stand.history.window(since, until, 100).await.unwrap().len(),
        12
    );
}

#[tokio::test]
async fn random_outcomes_survive_store_merge_and_query() {
    let mut runner = TestRunner::deterministic();
    let rows = proptest::collection::vec(random::outcome(), 12);
    let rows = rows.new_tree(&mut runner).unwrap().current();
    let stand = Stand::new();
    for (i, rows) in rows.chunks(3).enumerate() {
        let first = i as u64 * 3;
        stand
            .history
            .append_outcomes(&batch(first, first + 2), rows)
            .await
            .unwrap();
    }
    let check = async |stand: &Stand| {
        for row in &rows {
            let (read, verdicts) = stand.history.outcome(row.id).await.unwrap().unwrap();
            assert_eq!(&read, row);
            assert_eq!(verdicts, []);
        }
    };
    check(&stand).await;
    stand.history.compact(clock(0)).await.unwrap();
    let stand = stand.reopened();
    check(&stand).await;
    assert_eq!(stand.history.outcome(id(1)).await.unwrap(), None);
}

#[tokio::test]
async fn sql_answers_selects_and_nothing_else() {
    let stand = Stand::new();
    stand.append(1, 20).await;
    let sql = |query: &'static str| stand.history.sql(query);
    let rows = sql("SELECT sum(cost_nano_usd) FROM outcomes WHERE served_model = 'small'").await;
    assert_eq!(
        rows.unwrap()[0]
            .column(0)
            .as_primitive::<UInt64Type>()
            .value(0),
        20_000
    );
    let joined = "WITH v AS (SELECT request_id FROM verdicts) \
        SELECT count(*) FROM outcomes LEFT JOIN v ON id = request_id";
    assert_eq!(sql(joined).await.unwrap()[0].num_rows(), 1);
    let refused = [
        "DROP TABLE outcomes",
        "CREATE TABLE x AS SELECT 1",
        "INSERT INTO verdicts SELECT * FROM verdicts",
        "COPY outcomes TO '/tmp/spillway-stolen.csv'",
        "SET datafusion.execution.batch_size = 1",
        "CREATE EXTERNAL TABLE p STORED AS CSV LOCATION '/etc/passwd'",
        "EXPLAIN SELECT 1",
    ];
    for query in refused {
        let error = stand.history.sql(query).await.unwrap_err();
        assert!(
            matches!(error, HistoryError::NotASelect),
            "{query}: {error}"
        );
    }
    for query in [
        "SELECT 1; SELECT 2",
        "SELECT nothing FROM outcomes",
        "SELECT * FROM '/etc/passwd'",
        "SELEC",
    ] {
        let error = stand.history.sql(query).await.unwrap_err();
        assert!(
            matches!(error, HistoryError::Sql { .. }),
            "{query}: {error:?}"
        );
    }
    let many = "SELECT a.id FROM outcomes a, outcomes b, outcomes c, outcomes d";
    let rows = sql(many).await.unwrap();
    assert_eq!(
        rows.iter().map(|b| b.num_rows()).sum::<usize>(),
        crate::SQL_ROWS_MAX
    );
}

/// Handlers of the control plane run on any thread.
#[tokio::test]
async fn every_call_can_be_spawned() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let stand = Stand::new();
    let (history, now) = (&stand.history, clock(0));
    sendable(history.append_outcomes(&batch(1, 1), &[outcome(1)]))
        .await
        .unwrap();
    sendable(history.append_verdicts(&batch(1, 1), &[]))
        .await
        .unwrap();
    sendable(history.append_audits("set", &[])).await.unwrap();
    sendable(history.compact(now)).await.unwrap();
    sendable(history.recent(1, &RequestFilter::default()))
        .await
        .unwrap();
    sendable(history.outcome(id(1))).await.unwrap();
    sendable(history.window(NINE, now, 1)).await.unwrap();
    sendable(history.audits(None)).await.unwrap();
    sendable(history.overview(NINE, NINE, Millis(1)))
        .await
        .unwrap();
    sendable(history.counts()).await.unwrap();
    sendable(history.sql("SELECT 1")).await.unwrap();
}
