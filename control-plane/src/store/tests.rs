//! The embedded store: swaps, restarts, disks that refuse.

use super::*;

async fn put(
    store: &Store,
    key: &str,
    value: &'static str,
    expected: Expected,
) -> Result<(), StoreError> {
    store
        .put(
            key,
            Bytes::from_static(value.as_bytes()),
            expected,
            Vec::new(),
        )
        .await
}

#[tokio::test]
async fn a_swap_needs_what_it_expects() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(dir.path()).unwrap();
    put(&store, "/a", "1", Expected::Absent).await.unwrap();
    assert!(matches!(
        put(&store, "/a", "2", Expected::Absent).await,
        Err(StoreError::Conflict { .. })
    ));
    let seen = store.get("/a").await.unwrap().unwrap();
    put(&store, "/a", "2", Expected::Revision(seen.revision))
        .await
        .unwrap();
    let late = put(&store, "/a", "3", Expected::Revision(seen.revision)).await;
    assert!(matches!(late, Err(StoreError::Conflict { .. })));
    assert_eq!(store.get("/a").await.unwrap().unwrap().value, "2");
}

#[tokio::test]
async fn values_survive_a_restart_and_are_listed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::local(dir.path()).unwrap();
        for key in ["/v/2", "/v/1", "/w/1"] {
            put(&store, key, "x", Expected::Absent).await.unwrap();
        }
        store.delete("/w/1").await.unwrap();
    }
    let store = Store::local(dir.path()).unwrap();
    let keys: Vec<String> = store
        .list("/v/")
        .await
        .unwrap()
        .into_iter()
        .map(|v| v.key)
        .collect();
    assert_eq!(keys, ["/v/1", "/v/2"]);
    assert_eq!(store.get("/w/1").await.unwrap(), None);
}

#[test]
fn an_unwritable_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::local(&file.join("below")).unwrap_err();
    assert!(error.to_string().contains("file/below"), "{error}");
}
