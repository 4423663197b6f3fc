//! Every semantic check on a table, one function each, one `Flaw` each.
//!
//! Owns: what may be published and what a proxy refuses. A new check is one function
//! here, one variant of [`Flaw`], and a line in [`flaws`]. Bounds live here as well: a
//! limit found at publish is not found at three in the morning. What was learnt is
//! checked in `check/learned.rs`.

mod learned;

use std::collections::BTreeSet;
use std::fmt;

use crate::key::KeyTerms;
use crate::rule::Action;
use crate::table::{Choice, Draft};
use crate::unit::Millis;

pub const MODELS_MAX: usize = 512;
pub const LANES_MAX: usize = 1_024;
pub const ROUTES_MAX: usize = 1_024;
pub const RULES_MAX: usize = 1_024;
pub const KEYS_MAX: usize = 10_000;
/// λ beyond this cannot tell candidates apart any more.
pub const LAMBDA_MAX: u64 = 1_000_000_000_000_000;

/// Requests that may wait in front of one lane of one proxy.
pub const QUEUE_MAX: u32 = 10_000;
pub const QUEUE_WAIT_MAX: Millis = Millis(600_000);

/// What is wrong with a draft, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    TooMany {
        what: &'static str,
        count: usize,
        max: usize,
    },
    NothingToRoute {
        what: &'static str,
    },
    Duplicate {
        what: &'static str,
        name: String,
    },
    Unknown {
        what: &'static str,
        name: String,
        by: String,
    },
    NoCandidate {
        route: String,
    },
    NoDialect {
        upstream: String,
    },
    LongContextOrder {
        lane: String,
    },
    DefaultNotOnRoute {
        route: String,
        lane: String,
    },
    BadDeadline {
        route: String,
    },
    BadAttempts {
        route: String,
    },
    BadMultiplier {
        route: String,
    },
    BadShape {
        what: &'static str,
        expected: usize,
        found: usize,
    },
    NotFinite {
        what: &'static str,
    },
    BadTree {
        tree: usize,
        node: usize,
    },
    OverflowIsDefault {
        route: String,
    },
    BadRoom {
        lane: String,
    },
    BadVersion,
    ProbeDiffers {
        index: usize,
        expected: String,
        found: String,
    },
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany { what, count, max } => {
                write!(f, "{count} {what}, at most {max} are allowed")
            }
            Self::NothingToRoute { what } => write!(f, "the table has no {what}"),
            Self::Duplicate { what, name } => write!(f, "{what} {name:?} appears twice"),
            Self::Unknown { what, name, by } => write!(
                f,
                "{by} names the {what} {name:?}, which the table does not have"
            ),
            Self::NoCandidate { route } => write!(f, "route {route:?} allows no lane"),
            Self::NoDialect { upstream } => write!(f, "upstream {upstream:?} speaks no dialect"),
            Self::LongContextOrder { lane } => {
                write!(f, "long-context steps of lane {lane:?} do not ascend")
            }
            Self::DefaultNotOnRoute { route, lane } => write!(
                f,
                "the default lane {lane:?} of route {route:?} is not among its candidates"
            ),
            Self::BadDeadline { route } => write!(
                f,
                "the deadline of route {route:?} is not between 1 ms and 1 day"
            ),
            Self::BadAttempts { route } => {
                write!(f, "attempts_max of route {route:?} is not between 1 and 3")
            }
            Self::BadMultiplier { route } => write!(
                f,
                "the multiplier of route {route:?} is beyond {LAMBDA_MAX}"
            ),
            Self::BadShape {
                what,
                expected,
                found,
            } => write!(f, "{what} holds {found} numbers, {expected} are expected"),
            Self::NotFinite { what } => write!(f, "{what} holds a number that is not finite"),
            Self::BadTree { tree, node } => write!(
                f,
                "node {node} of tree {tree} does not lead to a later node or to a leaf, or reads an input that does not exist"
            ),
            Self::OverflowIsDefault { route } => write!(
                f,
                "the overflow lane of route {route:?} is its default lane: requests would have \
                 nothing to spill from"
            ),
            Self::BadRoom { lane } => write!(
                f,
                "lane {lane:?} has room for no request, or a queue of more than {QUEUE_MAX} or \
                 longer than {} s",
                QUEUE_WAIT_MAX.0 / 1_000
            ),
            Self::BadVersion => write!(f, "the version is not greater than its parent's"),
            Self::ProbeDiffers {
                index,
                expected,
                found,
            } => {
                write!(
                    f,
                    "probe {index} was decided as [{expected}] by the publisher and as [{found}] here"
                )
            }
        }
    }
}

impl std::error::Error for Flaw {}

/// All flaws of a draft; an empty list means it builds.
#[must_use]
pub fn flaws(draft: &Draft) -> Vec<Flaw> {
    let mut found = Vec::new();
    sizes(draft, &mut found);
    versions(draft, &mut found);
    duplicates(draft, &mut found);
    hashes(draft, &mut found);
    references(draft, &mut found);
    prices(draft, &mut found);
    rooms(draft, &mut found);
    dialects(draft, &mut found);
    routes(draft, &mut found);
    rules(draft, &mut found);
    if let Some(committee) = &draft.committee {
        found.extend(learned::flaws(committee));
    }
    found
}

fn sizes(draft: &Draft, found: &mut Vec<Flaw>) {
    let counts = [
        ("models", draft.models.len(), MODELS_MAX),
        ("upstreams", draft.upstreams.len(), LANES_MAX),
        ("lanes", draft.lanes.len(), LANES_MAX),
        ("routes", draft.routes.len(), ROUTES_MAX),
        ("rules", draft.rules.len(), RULES_MAX),
        ("keys", draft.keys.len(), KEYS_MAX),
        ("probes", draft.probes.len(), 64),
    ];
    for (what, count, max) in counts {
        if count > max {
            found.push(Flaw::TooMany { what, count, max });
        }
        if count == 0 && matches!(what, "models" | "lanes") {
            found.push(Flaw::NothingToRoute { what });
        }
    }
}

fn dialects(draft: &Draft, found: &mut Vec<Flaw>) {
    let silent = draft.upstreams.iter().filter(|u| u.dialects.is_empty());
    found.extend(silent.map(|upstream| Flaw::NoDialect {
        upstream: upstream.id.to_string(),
    }));
}

fn versions(draft: &Draft, found: &mut Vec<Flaw>) {
    if draft.version <= draft.parent {
        found.push(Flaw::BadVersion);
    }
}

fn duplicates(draft: &Draft, found: &mut Vec<Flaw>) {
    let names: [(&'static str, Vec<&str>); 6] = [
        (
            "model",
            draft.models.iter().map(|m| m.id.as_str()).collect(),
        ),
        (
            "upstream",
            draft.upstreams.iter().map(|u| u.id.as_str()).collect(),
        ),
        ("lane", draft.lanes.iter().map(|l| l.id.as_str()).collect()),
        (
            "route",
            draft.routes.iter().map(|r| r.id.as_str()).collect(),
        ),
        ("rule", draft.rules.iter().map(|r| r.id.as_str()).collect()),
        ("key", draft.keys.iter().map(|k| k.id.as_str()).collect()),
    ];
    for (what, names) in names {
        let mut seen = BTreeSet::new();
        let twice = names.into_iter().filter(|name| !seen.insert(*name));
        found.extend(twice.map(|name| Flaw::Duplicate {
            what,
            name: name.to_owned(),
        }));
    }
}

/// Two keys with one hash would be one key with two terms.
fn hashes(draft: &Draft, found: &mut Vec<Flaw>) {
    let mut seen = BTreeSet::new();
    let twice = |key: &&KeyTerms| key.sha256.is_some_and(|hash| !seen.insert(hash));
    let keys = draft.keys.iter().filter(twice);
    found.extend(keys.map(|key| Flaw::Duplicate {
        what: "hash of key",
        name: key.id.to_string(),
    }));
}

fn references(draft: &Draft, found: &mut Vec<Flaw>) {
    let models: BTreeSet<&str> = draft.models.iter().map(|m| m.id.as_str()).collect();
    let upstreams: BTreeSet<&str> = draft.upstreams.iter().map(|u| u.id.as_str()).collect();
    let lanes: BTreeSet<&str> = draft.lanes.iter().map(|l| l.id.as_str()).collect();
    let mut check = |what, known: &BTreeSet<&str>, name: &str, by: String| {
        if !known.contains(name) {
            found.push(Flaw::Unknown {
                what,
                name: name.to_owned(),
                by,
            });
        }
    };
    for upstream in &draft.upstreams {
        check(
            "model",
            &models,
            upstream.model.as_str(),
            format!("upstream {:?}", upstream.id),
        );
    }
    for lane in &draft.lanes {
        check(
            "upstream",
            &upstreams,
            lane.upstream.as_str(),
            format!("lane {:?}", lane.id),
        );
    }
    for route in &draft.routes {
        let by = format!("route {:?}", route.id);
        route
            .models
            .iter()
            .for_each(|model| check("model", &models, model.as_str(), by.clone()));
        check("lane", &lanes, route.default_lane.as_str(), by.clone());
        check("lane", &lanes, route.baseline.as_str(), by.clone());
        if let Some(overflow) = &route.overflow {
            check("lane", &lanes, overflow.lane.as_str(), by);
        }
    }
    if let Some(judge) = draft
        .audits
        .as_ref()
        .and_then(|audits| audits.judge.as_ref())
    {
        check(
            "lane",
            &lanes,
            judge.as_str(),
            "the audits' judge".to_owned(),
        );
    }
}

fn prices(draft: &Draft, found: &mut Vec<Flaw>) {
    for lane in &draft.lanes {
        let steps = lane
            .price
            .as_ref()
            .map_or(&[][..], |price| &price.long_context);
        if steps.windows(2).any(|pair| pair[0].above >= pair[1].above) {
            found.push(Flaw::LongContextOrder {
                lane: lane.id.to_string(),
            });
        }
    }
}

fn rooms(draft: &Draft, found: &mut Vec<Flaw>) {
    let bad = draft.lanes.iter().filter(|lane| {
        let room = &lane.room;
        room.in_flight == Some(0) || room.queue > QUEUE_MAX || room.wait > QUEUE_WAIT_MAX
    });
    found.extend(bad.map(|lane| Flaw::BadRoom {
        lane: lane.id.to_string(),
    }));
}

fn routes(draft: &Draft, found: &mut Vec<Flaw>) {
    const DAY: Millis = Millis(24 * 3_600_000);
    let model_of = |lane: &str| {
        let lane = draft.lanes.iter().find(|l| l.id.as_str() == lane)?;
        let upstream = draft.upstreams.iter().find(|u| u.id == lane.upstream)?;
        Some(&upstream.model)
    };
    for route in &draft.routes {
        let name = route.id.to_string();
        let on_route = |model| route.models.is_empty() || route.models.contains(model);
        let served = draft
            .lanes
            .iter()
            .filter_map(|lane| model_of(lane.id.as_str()))
            .any(on_route);
        if !served {
            found.push(Flaw::NoCandidate {
                route: name.clone(),
            });
        } else if !model_of(route.default_lane.as_str()).is_none_or(on_route) {
            let lane = route.default_lane.to_string();
            found.push(Flaw::DefaultNotOnRoute {
                route: name.clone(),
                lane,
            });
        }
        if route.overflow.as_ref().map(|overflow| &overflow.lane) == Some(&route.default_lane) {
            found.push(Flaw::OverflowIsDefault {
                route: name.clone(),
            });
        }
        if route.deadline == Millis(0) || route.deadline > DAY {
            found.push(Flaw::BadDeadline {
                route: name.clone(),
            });
        }
        if !(1..=3).contains(&route.attempts_max) {
            found.push(Flaw::BadAttempts {
                route: name.clone(),
            });
        }
        if matches!(route.choice, Choice::Multiplier(lambda) if lambda > LAMBDA_MAX) {
            found.push(Flaw::BadMultiplier { route: name });
        }
    }
}

fn rules(draft: &Draft, found: &mut Vec<Flaw>) {
    for rule in &draft.rules {
        let by = || format!("rule {:?}", rule.id);
        match &rule.then {
            Action::Only(models) | Action::Without(models) => {
                let unknown = models
                    .iter()
                    .filter(|id| !draft.models.iter().any(|m| m.id == **id));
                found.extend(unknown.map(|id| Flaw::Unknown {
                    what: "model",
                    name: id.to_string(),
                    by: by(),
                }));
            }
            Action::Pin(lane) if !draft.lanes.iter().any(|l| l.id == *lane) => {
                found.push(Flaw::Unknown {
                    what: "lane",
                    name: lane.to_string(),
                    by: by(),
                });
            }
            Action::WithoutProvider(provider)
                if !draft.upstreams.iter().any(|u| u.provider == *provider) =>
            {
                found.push(Flaw::Unknown {
                    what: "provider",
                    name: provider.to_string(),
                    by: by(),
                });
            }
            Action::Pin(_) | Action::WithoutProvider(_) => {}
        }
    }
}
