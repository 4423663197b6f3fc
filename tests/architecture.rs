//! The house rules as assertions: the arrows between packages, names that must exist,
//! files that must not grow.
//!
//! ARCHITECTURE.md draws the arrows; this reads the manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Who may depend on whom, of ours.
const ARROWS: [(&str, &[&str]); 9] = [
    (
        ".",
        &[
            "routing",
            "proto",
            "classifier",
            "data-plane",
            "control-plane",
            "history",
            "simulator",
        ],
    ),
    ("routing", &[]),
    ("proto", &["routing"]),
    ("classifier", &["routing"]),
    ("data-plane", &["routing", "proto"]),
    (
        "control-plane",
        &["routing", "proto", "classifier", "history", "dashboards"],
    ),
    ("control-plane/history", &["routing"]),
    ("dashboards", &[]),
    ("simulator", &[]),
];

/// What must not be reachable from where.
const BANNED: [(&str, &[&str]); 5] = [
    (
        "routing",
        &[
            "tokio",
            "serde",
            "tonic",
            "prost",
            "ndarray",
            "linfa",
            "etcd-client",
            "anyhow",
        ],
    ),
    (
        "classifier",
        &["tokio", "serde", "tonic", "prost", "etcd-client", "anyhow"],
    ),
    ("data-plane", &["linfa", "ndarray", "datafusion", "anyhow"]),
    ("control-plane", &["anyhow", "hyper-rustls"]),
    ("dashboards", &["tokio", "serde"]),
];

fn read(path: impl AsRef<Path>) -> String {
    let path = Path::new(ROOT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names below `[dependencies]` of a package.
fn dependencies(package: &str) -> BTreeSet<String> {
    let manifest: toml::Table = read(format!("{package}/Cargo.toml")).parse().unwrap();
    manifest["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .cloned()
        .collect()
}

/// Files that git would commit, with one of these endings.
fn files(endings: &[&str]) -> Vec<PathBuf> {
    fn walk(dir: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                if !name.starts_with('.')
                    && !["target", "node_modules", "vendor", "gen"].contains(&name)
                {
                    walk(&path, endings, found);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new(ROOT), endings, &mut found);
    found
}

#[test]
fn every_arrow_is_drawn_and_no_other() {
    for (package, allowed) in ARROWS {
        let ours: BTreeSet<String> = dependencies(package)
            .iter()
            .filter_map(|name| name.strip_prefix("spillway-").map(str::to_owned))
            .collect();
        let allowed: BTreeSet<String> = allowed.iter().map(ToString::to_string).collect();
        assert_eq!(ours, allowed, "arrows of {package}");
    }
}

#[test]
fn the_core_stays_pure() {
    for (package, banned) in BANNED {
        let found = dependencies(package);
        let wrong: Vec<&&str> = banned
            .iter()
            .filter(|name| found.contains(**name))
            .collect();
        assert!(wrong.is_empty(), "{package} must not name {wrong:?}");
    }
}

#[test]
fn boards_and_alerts_name_only_metrics_that_exist() {
    let known: BTreeSet<&str> = spillway_data_plane::NAMES
        .iter()
        .chain(&spillway_control_plane::metrics::NAMES)
        .copied()
        .collect();
    for file in [
        "dashboards/grafana/spillway.json",
        "dashboards/alerts/spillway.rules.yml",
    ] {
        let text = read(file);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let named: BTreeSet<&str> = words.filter(|word| word.starts_with("spillway_")).collect();
        assert!(named.len() > 10, "{file} names metrics");
        for name in named {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end))
                .unwrap_or(name);
            assert!(
                known.contains(name) || known.contains(base),
                "{file} names {name}, which no plane registers"
            );
        }
    }
}

#[test]
fn every_source_file_says_what_it_owns() {
    for file in files(&[".rs"]) {
        let text = fs::read_to_string(&file).unwrap();
        if text.lines().count() > 30 {
            assert!(
                text.trim_start().starts_with("//!"),
                "{} has no header",
                file.display()
            );
        }
    }
}

#[test]
fn no_module_is_a_drawer_for_leftovers() {
    for file in files(&[".rs"]) {
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let banned = [
            "util", "utils", "common", "helper", "helpers", "misc", "types", "core",
        ];
        assert!(
            !banned.contains(&stem),
            "{}: a thing that two need has a name",
            file.display()
        );
    }
}

#[test]
fn documents_name_only_files_that_exist() {
    for file in files(&[".md"]) {
        let text = fs::read_to_string(&file).unwrap();
        let here = file.parent().unwrap();
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let path = link.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                assert!(here.join(path).exists(), "{} links {link}", file.display());
            }
        }
        for name in text.split('`').skip(1).step_by(2) {
            let is_path =
                name.contains('/') && name.ends_with(".rs") && !name.contains(['*', '{', ' ']);
            if is_path {
                let known = here.join(name).exists() || Path::new(ROOT).join(name).exists();
                assert!(known, "{} names `{name}`", file.display());
            }
        }
    }
}

#[test]
fn one_copy_of_each_big_stack_is_linked() {
    let lock: toml::Table = read("Cargo.lock").parse().unwrap();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        versions
            .entry(name)
            .or_default()
            .push(package["version"].as_str().unwrap());
    }
    for name in [
        "tokio",
        "hyper",
        "tonic",
        "prost",
        "rustls",
        "axum",
        "arrow",
        "parquet",
        "datafusion",
        "ndarray",
        "http",
    ] {
        let found = &versions[name];
        assert_eq!(found.len(), 1, "{name} is locked as {found:?}");
    }
}
