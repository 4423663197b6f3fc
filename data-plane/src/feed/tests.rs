//! What a proxy takes and what it refuses.

use super::*;
use spillway_proto::envelope::{SecretKey, seal};
use spillway_routing::conditions::Conditions;
use spillway_routing::decide::{Draw, decide};
use spillway_routing::features::Facts;
use spillway_routing::table::{Draft, Probe};
use spillway_routing::unit::UnixMillis;

fn keeper(folder: &Path) -> Keeper {
    let metrics = Arc::new(Metrics::new().unwrap());
    let trusted = [SecretKey::from_seed([1; 32]).public()];
    let current = Arc::new(ArcSwapOption::empty());
    Keeper::new(
        &ProxyId::new("p.1"),
        String::new(),
        folder,
        &trusted,
        current,
        metrics,
    )
    .unwrap()
}

fn bundle(draft: &Draft) -> Bundle {
    seal(draft, &SecretKey::from_seed([1; 32])).unwrap()
}

fn probed(version: u64) -> Draft {
    let mut draft = crate::tests::draft(version);
    let facts = Facts {
        route: Some("auto".into()),
        ..Facts::default()
    };
    let table = Table::build(draft.clone()).unwrap();
    let now = UnixMillis(5);
    let decision = decide(&table, &facts, &Conditions::default(), now, Draw(3)).unwrap();
    let expected = decision.plan.into_iter().map(|step| step.lane).collect();
    draft.probes = vec![Probe {
        facts,
        conditions: vec![],
        now,
        draw: Draw(3),
        expected,
    }];
    draft
}

#[tokio::test]
async fn a_good_table_is_served_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut first = keeper(folder.path());
    first.load().await;
    assert_eq!(first.newest(), None);
    first.take(bundle(&probed(4))).await;
    first.take(bundle(&probed(5))).await;
    let mut second = keeper(folder.path());
    second.load().await;
    assert_eq!(
        (second.newest(), second.ack.version),
        (Some(TableVersion(5)), 5)
    );
    std::fs::write(folder.path().join("table.bundle"), b"torn").unwrap();
    let mut third = keeper(folder.path());
    third.load().await;
    assert_eq!(third.newest(), Some(TableVersion(4)));
}

#[tokio::test]
async fn what_does_not_verify_is_refused_with_its_flaw() {
    let folder = tempfile::tempdir().unwrap();
    let mut keeper = keeper(folder.path());
    keeper.take(bundle(&probed(4))).await;
    let foreign = seal(&probed(5), &SecretKey::from_seed([2; 32])).unwrap();
    let mut changed = bundle(&probed(6));
    changed.payload[10] ^= 1;
    let mut differing = probed(7);
    differing.probes[0].expected.reverse();
    let cases = [
        (foreign, 5, "not trusted"),
        (changed, 6, "digest"),
        (bundle(&differing), 7, "probe 0"),
        (bundle(&probed(3)), 3, "never goes back"),
    ];
    for (i, (bundle, version, flaw)) in cases.into_iter().enumerate() {
        keeper.take(bundle).await;
        assert_eq!(
            (keeper.ack.version, keeper.ack.refused_version),
            (4, version)
        );
        assert!(keeper.ack.refusal.contains(flaw), "{}", keeper.ack.refusal);
        assert_eq!(keeper.metrics.table_refused.get(), i as u64 + 1);
    }
    keeper.take(bundle(&probed(8))).await;
    assert_eq!((keeper.ack.version, keeper.ack.refused_version), (8, 0));
}
