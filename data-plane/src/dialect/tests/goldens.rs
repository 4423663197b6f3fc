//! Goldens: a case is a file in every dialect's folder. `SPILLWAY_REWRITE=1` rewrites
//! what a case becomes; read the difference before committing it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use serde_json::value::RawValue;
use spillway_routing::catalogue::Tier;
use spillway_routing::dialect::{Dialect, Fidelity};
use spillway_routing::unit::Tokens;

use super::{chat, folded, stamp, upstream};
use crate::dialect::sse::{Frame, Splitter};
use crate::dialect::{Ear, Reported, Speaker, answer, request, said, whole};

type Raw = BTreeMap<String, Box<RawValue>>;

fn folder(kind: &str, dialect: Dialect) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens");
    root.join(kind).join(dialect.name())
}

fn cases(kind: &str, dialect: Dialect) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder(kind, dialect)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Compares with the file, or rewrites it.
fn settle(path: &Path, text: &str) {
    // Set by whoever changed a translation on purpose.
    if std::env::var_os("SPILLWAY_REWRITE").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap();
    assert_eq!(known, text, "{}", path.display());
}

#[test]
fn every_dialect_has_the_same_cases() {
    for kind in ["requests", "answers"] {
        let names = |dialect| -> BTreeSet<String> {
            let paths = cases(kind, dialect).into_iter();
            let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
            paths.map(name).collect()
        };
        let first = names(Dialect::OpenAiChat);
        assert!(first.len() >= 4);
        let asked = kind == "requests";
        let dialects = if asked {
            Dialect::SPOKEN.as_slice()
        } else {
            Dialect::CONVERSING.as_slice()
        };
        for dialect in dialects.iter().copied() {
            assert_eq!(names(dialect), first, "{kind} of {}", dialect.name());
        }
    }
}

#[test]
fn requests_are_as_their_goldens_say() {
    for own in Dialect::SPOKEN {
        for path in cases("requests", own) {
            let golden: Raw =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let asked = chat(own, golden["in"].get());
            let mut lines = Vec::new();
            for to in Dialect::CONVERSING {
                let wire = request(&asked, to, &upstream(to), Tier::Flex, false, Tokens(4_096));
                let losses = asked.losses(to);
                let fidelity = losses.fidelity().map_or("never", Fidelity::name);
                lines.push(format!(
                    "    \"{}\": {{\n      \"path\": \"{}\",\n      \"fidelity\": \"{fidelity}\",\n      \
                     \"losses\": \"{losses}\",\n      \"body\": {}\n    }}",
                    to.name(),
                    wire.path,
                    std::str::from_utf8(&wire.body).unwrap(),
                ));
                let _: Value = serde_json::from_slice(&wire.body).unwrap();
            }
            let becomes = lines.join(",\n");
            let text = format!(
                "{{\n  \"in\": {},\n  \"to\": {{\n{becomes}\n  }}\n}}\n",
                golden["in"].get()
            );
            settle(&path, &text);
        }
    }
}

/// What a provider's frames become for a caller of another dialect.
fn spoken(own: Dialect, to: Dialect, frames: &[String]) -> String {
    let mut ear = Ear::new(own, true);
    let mut speaker = Speaker::new(to);
    let mut reported = Reported::default();
    let mut out = Vec::new();
    for frame in frames {
        let meaning = ear.hear(&Frame(format!("{frame}\n\n").into_bytes().into()));
        reported.add(meaning.reported);
        out.extend(speaker.say(meaning.events, &stamp()));
    }
    out.extend(speaker.end(&reported, &stamp()));
    String::from_utf8(out).unwrap()
}

#[test]
fn answers_are_as_their_goldens_say() {
    for own in Dialect::CONVERSING {
        for path in cases("answers", own) {
            let golden: BTreeMap<String, Raw> =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let body = golden["whole"]["in"].get();
            let frames: Vec<String> = serde_json::from_str(golden["stream"]["in"].get()).unwrap();
            let reported = answer(own, body.as_bytes()).unwrap().reported;
            let (mut wholes, mut streams) = (Vec::new(), Vec::new());
            for to in Dialect::SPOKEN.into_iter().filter(|to| *to != own) {
                let whole = whole(to, &said(own, body.as_bytes()), &reported, &stamp());
                let whole = std::str::from_utf8(&whole).unwrap();
                wholes.push(format!("      \"{}\": {whole}", to.name()));
                let spoken = spoken(own, to, &frames);
                let frames: Vec<String> = spoken
                    .split_terminator("\n\n")
                    .map(|frame| format!("        {}", Value::from(frame)))
                    .collect();
                streams.push(format!(
                    "      \"{}\": [\n{}\n      ]",
                    to.name(),
                    frames.join(",\n")
                ));
            }
            let text = format!(
                "{{\n  \"whole\": {{\n    \"in\": {body},\n    \"to\": {{\n{}\n    }}\n  }},\n  \
                 \"stream\": {{\n    \"in\": {},\n    \"to\": {{\n{}\n    }}\n  }}\n}}\n",
                wholes.join(",\n"),
                golden["stream"]["in"].get(),
                streams.join(",\n"),
            );
            settle(&path, &text);
        }
    }
}

/// A stream and the whole answer of the same case say the same and report the same.
#[test]
fn a_stream_says_what_the_whole_answer_says() {
    for own in Dialect::CONVERSING {
        for path in cases("answers", own) {
            let golden: BTreeMap<String, Raw> =
                serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            let body = golden["whole"]["in"].get().as_bytes();
            let frames: Vec<String> = serde_json::from_str(golden["stream"]["in"].get()).unwrap();
            let mut ear = Ear::new(own, true);
            let (mut events, mut reported, mut finished) = (Vec::new(), Reported::default(), false);
            let mut splitter = Splitter::default();
            // Byte by byte, as a network may deliver it.
            for byte in frames.join("\n\n").bytes().chain(*b"\n\n") {
                splitter.push(&[byte]);
                while let Some(frame) = splitter.next().unwrap() {
                    let meaning = ear.hear(&frame);
                    reported.add(meaning.reported);
                    finished |= meaning.finished || meaning.done;
                    events.extend(meaning.events);
                }
            }
            let case = path.display();
            assert!(finished, "{case}");
            assert_eq!(
                reported.usage,
                answer(own, body).unwrap().reported.usage,
                "{case}"
            );
            let (streamed, whole) = (folded(events), said(own, body));
            assert_eq!(streamed.end, whole.end, "{case}");
            // A blocked prompt has no words when whole.
            if !whole.pieces.is_empty() {
                assert_eq!(streamed.pieces, whole.pieces, "{case}");
            }
        }
    }
}
