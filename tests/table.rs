//! Tables travel signed: what was changed on the way is refused, with the reason shown.

use bytes::Bytes;
use etcd_client::Client;
use serde_json::Value;
use spillway_proto::convert::decode_table;
use spillway_proto::envelope::{self, Bundle, SecretKey};
use spillway_proto::keys;
use spillway_routing::id::TableVersion;
use spillway_routing::table::Draft;

use crate::stand::{POLICY, Stand, eventually};

async fn value(etcd: &mut Client, key: &str) -> Vec<u8> {
    etcd.get(key, None).await.unwrap().kvs()[0].value().to_vec()
}

/// The current table's draft and signed pointer, read as anybody with etcd access could.
async fn current(etcd: &mut Client, trusted: &SecretKey) -> (Vec<u8>, Draft) {
    let signed = value(etcd, &keys::pointer()).await;
    let manifest = envelope::manifest_of(&signed, &[trusted.public()]).unwrap();
    let mut chunks = Vec::new();
    for hash in &manifest.chunks {
        chunks.push(value(etcd, &keys::chunk(hash)).await);
    }
    (
        signed,
        decode_table(&envelope::assemble(&manifest, &chunks).unwrap()).unwrap(),
    )
}

async fn put(etcd: &mut Client, bundle: &Bundle) {
    for (hash, chunk) in bundle.chunks() {
        etcd.put(keys::chunk(&hash), chunk, None).await.unwrap();
    }
    etcd.put(keys::pointer(), Bytes::from(bundle.signed.clone()), None)
        .await
        .unwrap();
}

async fn refusals(stand: &Stand) -> Vec<String> {
    let fleet = stand.api("/fleet").await;
    let proxies = fleet["proxies"].as_array().unwrap();
    proxies
        .iter()
        .filter_map(|p: &Value| p["refusal"].as_str().map(str::to_owned))
        .collect()
}

async fn all_refuse(stand: &Stand, reason: &str) {
    eventually(&format!("both proxies refuse: {reason}"), || async {
        let said = refusals(stand).await;
        said.len() == 2 && said.iter().all(|refusal| refusal.contains(reason))
    })
    .await;
    for proxy in 0..2 {
        let answer = crate::stand::chat(&stand.proxies[proxy].url, &serde_json::json!({ "model": "auto", "messages": [{ "role": "user", "content": "x" }] })).await;
        assert_eq!(answer.status, 200, "the old table keeps serving");
    }
}

fn signing_key(stand: &Stand) -> SecretKey {
    let path = stand.dir.path().join("control/signing.key");
    SecretKey::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tampered_foreign_and_old_tables_are_refused_by_every_proxy() {
    let stand = Stand::new().proxies(2).start().await;
    let key = signing_key(&stand);
    let mut etcd = stand.etcd.as_ref().unwrap().client().await;
    let second = stand
        .publish(&POLICY.replace("bar = 0.85", "bar = 0.86"))
        .await;
    served_everywhere(&stand, second).await;
    let (signed, draft) = current(&mut etcd, &key).await;

    let mut flipped = signed.clone();
    let last = flipped.len() / 2;
    flipped[last] ^= 1;
    etcd.put(keys::pointer(), flipped, None).await.unwrap();
    all_refuse(&stand, "").await;

    let thief = SecretKey::from_seed([66; 32]);
    let newer = Draft {
        version: TableVersion(draft.version.0 + 1),
        parent: draft.version,
        ..draft.clone()
    };
    put(&mut etcd, &envelope::seal(&newer, &thief).unwrap()).await;
    all_refuse(&stand, "not trusted").await;

    let older = Draft {
        version: TableVersion(1),
        parent: TableVersion(0),
        ..draft.clone()
    };
    put(&mut etcd, &envelope::seal(&older, &key).unwrap()).await;
    all_refuse(&stand, "never goes back").await;

    let mut lying = newer.clone();
    lying.probes[0].expected.clear();
    put(&mut etcd, &envelope::seal(&lying, &key).unwrap()).await;
    all_refuse(&stand, "probe 0").await;

    // The pointer is put right; the next good table is taken at once.
    put(
        &mut etcd,
        &Bundle {
            signed,
            payload: spillway_proto::convert::encode_table(&draft),
        },
    )
    .await;
    let third = stand.publish(POLICY).await;
    served_everywhere(&stand, third).await;
    assert!(stand.metric(0, "spillway_table_refused_total").await >= 3.0);
    eventually("the fleet page is calm again", || async {
        refusals(&stand).await.is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_new_table_shares_with_the_old_is_not_fetched_again() {
    let stand = Stand::new().proxies(2).start().await;
    let key = signing_key(&stand);
    let mut etcd = stand.etcd.as_ref().unwrap().client().await;
    let (_, mut draft) = current(&mut etcd, &key).await;
    served_everywhere(&stand, draft.version.0).await;
    let old = envelope::seal(&draft, &key).unwrap();
    draft.parent = draft.version;
    draft.version = TableVersion(draft.version.0 + 1);
    draft.note = "another note".to_owned();
    let new = envelope::seal(&draft, &key).unwrap();
    // Whoever asked etcd for the catalogue again would find nothing.
    let kept: Vec<[u8; 32]> = old.chunks().map(|(hash, _)| hash).collect();
    let (same, other): (Vec<_>, Vec<_>) = new.chunks().partition(|(hash, _)| kept.contains(hash));
    assert!(!same.is_empty() && other.len() == 1);
    for (hash, _) in same {
        etcd.delete(keys::chunk(&hash), None).await.unwrap();
    }
    let (hash, chunk) = other[0];
    etcd.put(keys::chunk(&hash), chunk, None).await.unwrap();
    etcd.put(keys::pointer(), Bytes::from(new.signed.clone()), None)
        .await
        .unwrap();
    served_everywhere(&stand, draft.version.0).await;
}

async fn served_everywhere(stand: &Stand, version: u64) {
    eventually("every proxy serves the new table", || async {
        let fleet = stand.api("/fleet").await;
        let proxies = fleet["proxies"].as_array().unwrap();
        proxies.len() == 2 && proxies.iter().all(|p| p["version"] == version)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roll_back_is_a_new_version_and_stays() {
    let stand = Stand::new().proxies(2).start().await;
    let second = stand
        .publish(&POLICY.replace("bar = 0.85", "bar = 1.0"))
        .await;
    served_everywhere(&stand, second).await;
    assert_eq!(stand.ask("x").await.header("x-spillway-model"), "large");
    let rolled = stand
        .api_post(
            "/tables/1/roll-back",
            &serde_json::json!({ "expected_current": second }),
        )
        .await;
    assert_eq!(rolled.json()["version"], second + 1);
    served_everywhere(&stand, second + 1).await;
    assert_eq!(stand.ask("x").await.header("x-spillway-model"), "small");
    // The policy went back with the table: what is compiled next starts from there.
    assert_eq!(stand.api("/policy").await["text"], POLICY);
    let stale = stand
        .api_post(
            "/tables/1/roll-back",
            &serde_json::json!({ "expected_current": second }),
        )
        .await;
    assert_eq!(stale.status, 409, "somebody else published meanwhile");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_with_a_typo_is_refused_with_its_line() {
    let stand = Stand::new().embedded().start().await;
    let wrong = POLICY.replace("baseline = \"large\"", "baseline = \"larger\"");
    let line = wrong
        .lines()
        .position(|line| line.contains("larger"))
        .unwrap()
        + 1;
    let checked = stand
        .api_post("/policy/validate", &serde_json::json!({ "text": wrong }))
        .await
        .json();
    assert_eq!(checked["ok"], false);
    assert_eq!(checked["errors"][0]["line"], line);
    let put = stand
        .api_post(
            "/policy",
            &serde_json::json!({ "text": wrong, "expected_version": 1 }),
        )
        .await;
    assert_eq!(put.status, 422);
    assert_eq!(
        stand.api("/tables").await["current"],
        1,
        "nothing was published"
    );
    let late = stand
        .api_post(
            "/policy",
            &serde_json::json!({ "text": POLICY, "expected_version": 0 }),
        )
        .await;
    assert_eq!(late.status, 409);
}
