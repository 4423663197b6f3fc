//! Publishing against the embedded store; the same bytes go to etcd in the scenarios.

use super::*;
use crate::policy;

const POLICY: &str = "version = 1\n[[upstreams]]\nprovider = \"p\"\nmodels = [\"m\", \"n\"]\nprices.standard = { input = 1.0, output = 2.0 }\n[routes.auto]\nbaseline = \"m\"\n";

fn draft() -> Draft {
    policy::draft(
        &policy::parse(POLICY).unwrap(),
        POLICY,
        &policy::Learned::default(),
    )
    .unwrap()
}

fn publisher(dir: &std::path::Path, seed: u8) -> Publisher {
    Publisher::new(
        Arc::new(Store::local(dir).unwrap()),
        SecretKey::from_seed([seed; 32]),
    )
}

const NOW: UnixMillis = UnixMillis(1_795_262_400_000);

#[tokio::test]
async fn versions_only_grow_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let publisher = publisher(dir.path(), 1);
        for parent in 0..3 {
            let version = publisher
                .publish(draft(), TableVersion(parent), Vec::new(), NOW)
                .await
                .unwrap();
            assert_eq!(version, TableVersion(parent + 1));
        }
    }
    let publisher = publisher(dir.path(), 1);
    assert_eq!(
        publisher.current().await.unwrap().unwrap().version(),
        TableVersion(3)
    );
    assert_eq!(publisher.versions().await.unwrap().len(), 3);
    let rolled = publisher
        .roll_back(TableVersion(1), TableVersion(3), 0, NOW)
        .await
        .unwrap();
    assert_eq!(rolled, TableVersion(4));
    let (manifest, draft) = publisher.version(rolled).await.unwrap();
    assert_eq!(
        (manifest.parent, draft.note.as_str()),
        (TableVersion(3), "rolled back to version 1")
    );
}

#[tokio::test]
async fn of_two_publishers_one_is_told_that_it_was_late() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::local(dir.path()).unwrap());
    let one = Publisher::new(Arc::clone(&store), SecretKey::from_seed([1; 32]));
    let two = Publisher::new(store, SecretKey::from_seed([1; 32]));
    one.publish(draft(), TableVersion(0), Vec::new(), NOW)
        .await
        .unwrap();
    let late = two.publish(draft(), TableVersion(0), Vec::new(), NOW).await;
    assert!(
        matches!(
            late,
            Err(PublishError::Stale {
                current: TableVersion(1),
                ..
            })
        ),
        "{late:?}"
    );
}

#[tokio::test]
async fn what_another_key_signed_is_not_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    publisher(dir.path(), 1)
        .publish(draft(), TableVersion(0), Vec::new(), NOW)
        .await
        .unwrap();
    let stranger = publisher(dir.path(), 2).current().await;
    assert!(matches!(
        stranger,
        Err(PublishError::Envelope(EnvelopeError::UntrustedKey))
    ));
}

#[tokio::test]
async fn old_versions_and_their_chunks_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = publisher(dir.path(), 1);
    for parent in 0..(KEPT_VERSIONS as u64 + 5) {
        let mut changed = draft();
        changed.note = format!("number {parent}");
        publisher
            .publish(changed, TableVersion(parent), Vec::new(), NOW)
            .await
            .unwrap();
    }
    assert_eq!(publisher.versions().await.unwrap().len(), KEPT_VERSIONS);
    assert_eq!(
        publisher.store.list(&keys::chunks()).await.unwrap().len(),
        KEPT_VERSIONS + 1,
        "one each, and the catalogue of all"
    );
    let gone = publisher.version(TableVersion(1)).await;
    assert!(matches!(gone, Err(PublishError::NoSuchVersion(_))));
}

#[tokio::test]
async fn what_only_counts_again_pushes_nothing_out() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = publisher(dir.path(), 1);
    for parent in 0..KEPT_VERSIONS as u64 + 5 {
        let cause = if parent < 2 {
            Cause::Change
        } else {
            Cause::Recount
        };
        let mut changed = draft();
        changed.note = format!("number {parent}");
        publisher
            .publish_for(cause, changed, TableVersion(parent), Vec::new(), NOW)
            .await
            .unwrap();
    }
    let kept = publisher.versions().await.unwrap();
    assert_eq!(kept.len(), 2 + KEPT_RECOUNTS);
    assert_eq!(kept[0].version, TableVersion(KEPT_VERSIONS as u64 + 5));
    assert!(publisher.version(TableVersion(1)).await.is_ok());
    let marks = publisher.store.keys(&keys::recounts()).await.unwrap();
    assert_eq!(marks.len(), KEPT_RECOUNTS);
}

#[tokio::test]
async fn probes_carry_this_builds_decisions() {
    let dir = tempfile::tempdir().unwrap();
    let publisher = publisher(dir.path(), 1);
    let probe = Probe {
        facts: spillway_routing::features::Facts {
            route: Some("auto".into()),
            ..Default::default()
        },
        conditions: Vec::new(),
        now: NOW,
        draw: spillway_routing::decide::Draw(1),
        expected: Vec::new(),
    };
    publisher
        .publish(draft(), TableVersion(0), vec![probe], NOW)
        .await
        .unwrap();
    let (_, published) = publisher.version(TableVersion(1)).await.unwrap();
    assert_eq!(published.probes[0].expected.len(), 2);
}
