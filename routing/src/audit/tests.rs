//! Strata and shares, over the decision's own small tables.

use super::*;
use crate::catalogue::{Capabilities, Lane, Model, Pace, Room, Tier, Upstream};
use crate::dialect::{Dialect, Fidelity};
use crate::encoder::DIMENSIONS;
use crate::head::weights::Weights;
use crate::head::{Committee, Lengths, Scaler};
use crate::table::{Choice, Draft, Route};
use crate::tokens::Family;
use crate::unit::{Millis, Tokens};

fn draft(models: &[&str]) -> Draft {
    let lane = |model: &str| LaneId::new(&format!("p:{model}/standard"));
    Draft {
        version: crate::id::TableVersion(1),
        models: models.iter().map(|name| model(name)).collect(),
        upstreams: models.iter().map(|name| upstream(name)).collect(),
        lanes: models
            .iter()
            .map(|name| Lane {
                id: lane(name),
                upstream: format!("p:{name}").as_str().into(),
                tier: Tier::Standard,
                price: None,
                pace: Pace::default(),
                room: Room::default(),
            })
            .collect(),
        routes: vec![Route {
            id: "auto".into(),
            models: vec![],
            default_lane: lane(models[0]),
            baseline: lane(models[0]),
            bar: Bps::ONE,
            choice: Choice::Floor(Bps::ZERO),
            guard: Bps::ONE,
            learned: true,
            explore: Bps::ZERO,
            max_cost: None,
            first_token_max: None,
            deadline: Millis(1_000),
            attempts_max: 1,
            lossy: Fidelity::Hints,
            overflow: None,
            certificate: None,
        }],
        audits: Some(Audits {
            share: Bps::new(200),
            starting: Bps::new(2_000),
            per_day: NanoUsd(1),
            judge: None,
        }),
        ..Draft::default()
    }
}

fn model(name: &str) -> Model {
    Model {
        id: name.into(),
        family: Family::O200k,
        context: Tokens(1_000),
        max_output: Tokens(1_000),
        capabilities: Capabilities::ALL,
        prior: None,
        typical_output: Tokens(10),
    }
}

fn upstream(model: &str) -> Upstream {
    Upstream {
        id: format!("p:{model}").as_str().into(),
        model: model.into(),
        provider: "p".into(),
        wire_model: model.to_owned(),
        dialects: vec![Dialect::OpenAiChat],
        credential: "p".into(),
    }
}

/// A committee without heads: it abstains from everything.
fn committee(models: &[&str], labels: u32) -> Committee {
    Committee {
        encoder: crate::encoder::EncoderId::MiniLm64,
        models: models.iter().map(|name| (*name).into()).collect(),
        mean_quality: vec![Bps::new(5_000); models.len()],
        mean_output: vec![Tokens(10); models.len()],
        labels,
        scaler: Scaler {
            mean: vec![0.0; DIMENSIONS],
            inverse_spread: vec![1.0; DIMENSIONS],
        },
        heads: vec![],
        mix: vec![],
        given: Bps::ZERO,
        lengths: Lengths {
            weights: Weights::of(DIMENSIONS, &vec![0.0; models.len() * DIMENSIONS]),
            bias: vec![1.0; models.len()],
        },
        calibration: vec![crate::head::curve::Curve::identity(); models.len()],
        labels_min: 20,
    }
}

fn facts() -> Facts {
    Facts {
        route: Some("auto".into()),
        ..Facts::default()
    }
}

fn share_picked(draft: &Draft) -> f64 {
    let table = Table::build(draft.clone()).unwrap();
    let draws = 0..20_000u64;
    let picked = draws.filter(|id| picked(&table, &facts(), Draw(*id)).is_some());
    picked.count() as f64 / 20_000.0
}

#[test]
fn more_is_audited_while_little_is_known() {
    let mut draft = draft(&["a", "b"]);
    let share = share_picked(&draft);
    assert!((share - 0.2).abs() < 0.01, "{share}");
    draft.committee = Some(committee(&["a", "b"], LABELS_ENOUGH));
    let table = Table::build(draft.clone()).unwrap();
    assert_eq!(stratum(&table, &facts()), Some(Stratum::Unlike));
    let known = committee(&["a"], LABELS_ENOUGH);
    draft.committee = Some(known);
    let table = Table::build(draft).unwrap();
    assert_eq!(stratum(&table, &facts()), Some(Stratum::FewLabels));
}

#[test]
fn the_usual_share_is_the_policys() {
    let audits = draft(&["a", "b"]).audits.unwrap();
    assert_eq!(audits.share_of(Stratum::Usual), Bps::new(200));
    assert_eq!(audits.share_of(Stratum::Unlike), Bps::new(2_000));
    // A policy that starts with less than its usual share means the larger of the two.
    let odd = Audits {
        starting: Bps::ZERO,
        ..audits
    };
    assert_eq!(odd.share_of(Stratum::FewLabels), Bps::new(200));
}

#[test]
fn what_leaves_no_choice_is_never_audited() {
    assert!(share_picked(&draft(&["a"])).abs() < f64::EPSILON);
    let mut without = draft(&["a", "b"]);
    without.audits = None;
    assert!(share_picked(&without).abs() < f64::EPSILON);
}

#[test]
fn a_judge_that_no_lane_serves_is_a_flaw() {
    let mut draft = draft(&["a", "b"]);
    draft.audits.as_mut().unwrap().judge = Some("p:nobody/standard".into());
    let flaws = Table::build(draft).unwrap_err();
    assert!(flaws[0].to_string().contains("judge"), "{}", flaws[0]);
}
