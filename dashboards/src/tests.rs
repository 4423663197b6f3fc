//! That what lies in `page/` and `vendor/` is what is served, complete and under the policy.

use crate::{
    ALERTS, GRAFANA,
    asset::{ASSETS, Kind},
    headers::CONTENT_SECURITY_POLICY,
    router,
};
use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tower::ServiceExt;

fn here() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else {
            let relative = path.strip_prefix(here()).unwrap();
            found.insert(relative.to_str().unwrap().replace('\\', "/"));
        }
    }
}

async fn fetch(method: Method, path: &str, tag: Option<&str>) -> (StatusCode, HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(tag) = tag {
        request = request.header(header::IF_NONE_MATCH, tag);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap().to_vec();
    (head.status, head.headers, bytes)
}

fn assert_secured(headers: &HeaderMap, path: &str) {
    assert_eq!(
        headers[header::CONTENT_SECURITY_POLICY],
        CONTENT_SECURITY_POLICY,
        "{path}"
    );
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
    assert_eq!(headers[header::X_FRAME_OPTIONS], "DENY", "{path}");
}

/// What a module imports or a style sheet loads, as written.
fn references(text: &str, kind: Kind) -> Vec<String> {
    let marks: &[&str] = match kind {
        Kind::Page => &["href=\"", "src=\""],
        Kind::Script => &["from \"", "src: \"", "import \""],
        Kind::Style => &["url(\""],
        Kind::Picture | Kind::Text => &[],
    };
    marks
        .iter()
        .flat_map(|mark| text.split(mark).skip(1))
        .filter_map(|rest| rest.split('"').next())
        .filter(|found| !found.starts_with('#') && found.contains('.') && !found.contains(' '))
        .map(str::to_owned)
        .collect()
}

fn resolved(from: &str, reference: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in reference.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[test]
fn every_file_in_the_folders_is_listed() {
    let mut found = BTreeSet::new();
    files_below(&here().join("page"), &mut found);
    files_below(&here().join("vendor"), &mut found);
    let listed: BTreeSet<String> = ASSETS.iter().map(|asset| asset.file.to_owned()).collect();
    assert_eq!(found, listed);
}

#[tokio::test]
async fn every_listed_file_is_served_whole_and_secured() {
    for asset in ASSETS {
        let (status, headers, body) = fetch(Method::GET, asset.path, None).await;
        assert_eq!(status, StatusCode::OK, "{}", asset.path);
        assert_eq!(body, asset.bytes, "{}", asset.path);
        assert_eq!(headers[header::CONTENT_TYPE], asset.kind.content_type());
        assert_eq!(headers[header::CACHE_CONTROL], asset.kind.cache());
        assert_secured(&headers, asset.path);
    }
}

#[tokio::test]
async fn a_known_file_is_not_sent_again_but_the_page_always_is() {
    for asset in ASSETS {
        let (_, headers, _) = fetch(Method::GET, asset.path, None).await;
        let tag = headers[header::ETAG].to_str().unwrap().to_owned();
        let (status, headers, body) = fetch(Method::GET, asset.path, Some(&tag)).await;
        assert_secured(&headers, asset.path);
        if asset.kind == Kind::Page {
            assert_eq!(
                (status, headers[header::CACHE_CONTROL].as_bytes()),
                (StatusCode::OK, &b"no-store"[..])
            );
        } else {
            assert_eq!(
                (status, body.len()),
                (StatusCode::NOT_MODIFIED, 0),
                "{}",
                asset.path
            );
        }
        let (status, _, _) = fetch(Method::GET, asset.path, Some("\"another\"")).await;
        assert_eq!(status, StatusCode::OK);
    }
}

#[tokio::test]
async fn other_methods_and_paths_give_nothing() {
    let (status, headers, _) = fetch(Method::POST, "/", None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_secured(&headers, "/");
    for path in [
        "/js/../Cargo.toml",
        "/page/index.html",
        "/js/",
        "/api/v1/overview",
    ] {
        let (status, _, _) = fetch(Method::GET, path, None).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
}

#[test]
fn whatever_a_file_mentions_exists() {
    let served: BTreeSet<&str> = ASSETS.iter().map(|asset| asset.path).collect();
    let mut checked = 0;
    for asset in ASSETS
        .iter()
        .filter(|asset| asset.file.starts_with("page/"))
    {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        for reference in references(text, asset.kind) {
            // An address in an element is relative to the page, not to its module.
            let from = if reference.starts_with('.') {
                asset.path
            } else {
                "/"
            };
            let path = resolved(from, &reference);
            assert!(
                served.contains(path.as_str()),
                "{} mentions {path}",
                asset.file
            );
            checked += 1;
        }
    }
    assert!(checked > 80, "only {checked} references were found");
}

#[test]
fn nothing_is_inline_and_nothing_comes_from_elsewhere() {
    let page = include_str!("../page/index.html");
    assert!(!page.contains("<style") && !page.contains(" style="));
    assert!(!page.contains("javascript:") && !page.contains(" on"));
    assert_eq!(
        page.matches("<script").count(),
        page.matches("<script type=\"module\" src=").count()
    );
    for asset in ASSETS
        .iter()
        .filter(|asset| asset.file.starts_with("page/"))
    {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        for banned in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "\"style\"",
            "@import",
        ] {
            assert!(!text.contains(banned), "{} has {banned}", asset.file);
        }
        let namespaces = text
            .replace("http://www.w3.org/2000/svg", "")
            .replace("http://PROXY/v1", "");
        assert!(
            !namespaces.contains("http://") && !namespaces.contains("https://"),
            "{}",
            asset.file
        );
    }
}

#[test]
fn every_own_file_says_what_it_owns_and_stays_short() {
    for asset in ASSETS
        .iter()
        .filter(|asset| asset.file.starts_with("page/") && asset.kind != Kind::Picture)
    {
        let text = std::str::from_utf8(asset.bytes).unwrap();
        let head: String = text.lines().take(4).collect();
        assert!(
            head.contains("Owns:") && head.contains("Must not"),
            "{}",
            asset.file
        );
        assert!(text.lines().count() < 400, "{}", asset.file);
    }
}

#[test]
fn the_board_and_the_alerts_are_there() {
    assert!(GRAFANA.contains("\"__inputs\"") && GRAFANA.contains("spillway_requests_total"));
    assert!(ALERTS.starts_with('#') && ALERTS.contains("groups:"));
    let alerts = ALERTS.matches("- alert:").count();
    assert!(alerts > 8);
    for needed in ["summary:", "runbook:", "severity:"] {
        assert_eq!(ALERTS.matches(needed).count(), alerts, "{needed}");
    }
}
