//! Whole runs on a made-up world.

use super::*;
use crate::align::aligned;
use crate::gate::Check;
use crate::synthetic::{MODELS, audits};
use spillway_routing::catalogue::{Price, Rates};
use spillway_routing::check::flaws;
use spillway_routing::table::Draft;
use spillway_routing::unit::{NanoUsdPerMtok, UnixMillis};

fn bar(bar: u16) -> Bar {
    Bar {
        route: RouteId::new(&format!("auto-{bar}")),
        bar: Bps::new(bar),
        guard: Bps::ONE,
        models: Vec::new(),
        default: None,
    }
}

fn trained(audits: &[Audit], bars: &[Bar]) -> Result<Trained, TrainingError> {
    let settings = Settings {
        seed: 5,
        bars,
        held_out: 0.3,
        current: None,
        flips_max: Bps::ONE,
        terms: &BTreeMap::new(),
    };
    run(audits, &[], &settings, &mut |_, _| ())
}

#[test]
fn what_can_be_learnt_is_learnt_and_let_through() {
    let trained = trained(&audits(2_500, true, true, 2), &[bar(9_500), bar(10_000)]).unwrap();
    let report = &trained.report;
    assert_eq!(report.declined, None);
    let learned = report.learned.as_ref().unwrap();
    assert!(learned.gain.low > 0.0, "{:?}", learned.gain);
    let route = &report.routes[0];
    assert!(route.learned, "{:?}", route.checks);
    let (with, without) = (route.deployed.unwrap(), route.deployed_blind.unwrap());
    assert!(with.cost < 0.3 * with.best_cost && without.cost > 0.5 * without.best_cost);
    assert_eq!(route.best, Some(ModelId::new("dear")));
    assert_eq!(trained.observed.len(), 3);
    assert_eq!(trained.multipliers.len(), 2);
}

#[test]
fn noise_is_not_let_through() {
    let trained = trained(&audits(2_500, false, false, 2), &[bar(9_500)]).unwrap();
    let route = &trained.report.routes[0];
    assert!(
        !route.learned && !trained.multipliers[0].learned,
        "{:?}",
        route.checks
    );
    // And the prompt-blind λ is the one that is handed out: it buys the dear model.
    assert!(route.solved.as_ref().unwrap().quality > 0.9);
}

#[test]
fn few_prompts_and_equal_models_are_declined_in_words() {
    // Every model right on nine of ten prompts, whatever they are: nothing to learn.
    let mut all = audits(559, true, true, 3);
    for (i, audit) in all.iter_mut().enumerate() {
        for (m, answer) in audit.answers.iter_mut().enumerate() {
            let right = (i * 7 + m * 3) % 10 != 0;
            answer.score = Bps::from_share(f64::from(u8::from(right)));
        }
    }
    let trained = trained(&all, &[bar(10_000)]).unwrap();
    let route = &trained.report.routes[0];
    assert!(!route.learned && !trained.multipliers[0].learned);
    let failed: Vec<&str> = route
        .checks
        .iter()
        .filter(|c| !c.held)
        .map(|c| c.detail.as_str())
        .collect();
    assert!(
        failed
            .iter()
            .any(|why| why.contains("curve above prompt-blind mixes")),
        "{failed:?}"
    );
}

#[test]
fn the_second_run_is_held_against_the_first() {
    let mut audits = audits(1_500, true, true, 2);
    for (i, audit) in audits.iter_mut().enumerate() {
        audit.at = UnixMillis(i as u64);
    }
    let bars = [bar(9_500)];
    let settings = Settings {
        seed: 7,
        bars: &bars,
        held_out: 0.3,
        current: None,
        flips_max: Bps::ZERO,
        terms: &BTreeMap::new(),
    };
    let first = run(&audits, &[], &settings, &mut |_, _| ()).unwrap();
    assert!(
        first.report.routes[0].learned,
        "nothing is in use: {:?}",
        first.report.routes[0].checks
    );
    let steady = |learnt_at: UnixMillis| {
        let committee = &first.committee;
        let second = Settings {
            seed: 6,
            current: Some(InUse {
                committee,
                learnt_at,
            }),
            ..settings
        };
        let second = run(&audits, &[], &second, &mut |_, _| ()).unwrap();
        let mut checks = second.report.routes[0].checks.clone().into_iter();
        checks.find(|c| c.check == Check::Steady).unwrap()
    };
    let new = steady(UnixMillis(1_000));
    assert!(!new.held && new.detail.contains("go elsewhere"), "{new:?}");
    // On prompts that the heads in use know the labels of, nothing can be compared.
    let old = steady(UnixMillis(u64::MAX));
    assert!(old.held && old.detail.contains("new to them"), "{old:?}");
}

#[test]
fn the_same_run_twice_is_the_same_to_the_bit() {
    let audits = audits(700, true, true, 4);
    let run = || trained(&audits, &[bar(9_000)]).unwrap();
    assert_eq!(run(), run());
}

#[test]
fn a_bar_among_others_is_worth_what_it_is_alone() {
    let audits = audits(1_200, true, true, 2);
    let cheap = Bar {
        models: MODELS[..2]
            .iter()
            .map(|model| ModelId::new(model))
            .collect(),
        ..bar(9_000)
    };
    let bars = [bar(9_500), cheap, bar(10_000)];
    let together = trained(&audits, &bars).unwrap().report.routes;
    assert_eq!(together.len(), bars.len());
    for (report, bar) in together.iter().zip(bars) {
        let alone = trained(&audits, &[bar]).unwrap().report.routes;
        assert_eq!(*report, alone[0]);
    }
    assert_ne!(together[0].solved, together[2].solved);
}

#[test]
fn few_prompts_are_prompt_blind_and_say_so() {
    let trained = trained(&audits(120, true, true, 2), &[bar(9_500)]).unwrap();
    assert_eq!(
        trained.report.declined,
        Some(Decline::FewPrompts {
            have: 120,
            need: PROMPTS_MIN
        })
    );
    assert!(trained.committee.heads.is_empty() && !trained.multipliers[0].learned);
}

#[test]
fn ten_rows_are_refused_with_what_to_do() {
    let error = trained(&audits(10, true, true, 2), &[]).unwrap_err();
    assert_eq!(
        error,
        TrainingError::TooFewLabels {
            models: 3,
            most: 10
        }
    );
    assert!(error.to_string().contains("audit more prompts"));
    assert_eq!(trained(&[], &[]).unwrap_err(), TrainingError::NoAudits);
}

#[test]
fn one_model_leaves_nothing_to_choose() {
    let mut all = audits(100, true, true, 2);
    all.iter_mut().for_each(|audit| audit.answers.truncate(1));
    assert_eq!(
        trained(&all, &[]).unwrap_err(),
        TrainingError::OneModel(ModelId::new(MODELS[0]))
    );
}

#[test]
fn without_costs_nothing_can_be_compared() {
    let mut all = audits(400, true, true, 2);
    let answers = all.iter_mut().flat_map(|audit| &mut audit.answers);
    answers.for_each(|answer| answer.cost = None);
    let trained = trained(&all, &[bar(9_500)]).unwrap();
    assert_eq!(trained.report.declined, Some(Decline::NothingComparable));
    assert!(trained.multipliers.is_empty() && trained.observed.is_empty());
}

#[test]
fn a_route_is_judged_on_its_own_models() {
    let narrow = Bar {
        models: MODELS[..2].iter().map(|m| ModelId::new(m)).collect(),
        ..bar(9_000)
    };
    let trained = trained(&audits(1_500, true, true, 2), &[narrow, bar(9_000)]).unwrap();
    let best: Vec<String> = trained
        .report
        .routes
        .iter()
        .map(|r| r.best.clone().unwrap().to_string())
        .collect();
    assert!(best[0].starts_with("cheap") && best[1] == "dear");
}

#[test]
fn progress_only_grows_and_ends_at_one() {
    let (mut last, settings) = (
        0.0,
        Settings {
            seed: 5,
            bars: &[],
            held_out: 0.3,
            current: None,
            flips_max: Bps::ONE,
            terms: &BTreeMap::new(),
        },
    );
    run(
        &audits(400, true, true, 2),
        &[],
        &settings,
        &mut |_, share| {
            assert!(share >= last);
            last = share;
        },
    )
    .unwrap();
    assert!((last - 1.0).abs() < 1e-6);
}

#[test]
fn the_committee_in_use_is_measured_in_its_own_order() {
    let audits = audits(1_500, true, true, 2);
    let mut current = trained(&audits, &[]).unwrap().committee;
    let same = aligned(&current, &current.models.clone()).unwrap();
    assert_eq!(same, current);
    let turned: Vec<ModelId> = current.models.iter().rev().cloned().collect();
    current = aligned(&current, &turned).unwrap();
    assert_eq!(aligned(&current, &same.models), Some(same));
    assert_eq!(aligned(&current, &[ModelId::new("new")]), None);
}

#[test]
fn a_table_takes_the_committee() {
    let trained = trained(&audits(700, true, true, 2), &[]).unwrap();
    let draft = Draft {
        committee: Some(trained.committee),
        ..Draft::default()
    };
    let about_shape = flaws(&draft).into_iter().filter(|flaw| {
        matches!(
            flaw,
            spillway_routing::check::Flaw::BadShape { .. }
                | spillway_routing::check::Flaw::NotFinite { .. }
        )
    });
    assert_eq!(about_shape.count(), 0);
}

#[test]
fn a_model_that_some_prompts_lack_takes_part_in_the_comparison() {
    let mut all = audits(1_500, true, true, 2);
    for (i, audit) in all.iter_mut().enumerate() {
        if i % 10 < 3 {
            audit
                .answers
                .retain(|answer| answer.model.as_str() != "cheap-code");
        }
    }
    let trained = trained(&all, &[bar(9_500)]).unwrap();
    // A column makes a candidate, and λ must have seen every candidate.
    let compared = trained.report.learned.unwrap().singles.len();
    assert_eq!(compared, trained.committee.models.len());
}

#[test]
fn a_new_price_counts_and_not_what_was_charged() {
    let all = audits(1_500, true, true, 2);
    let listed = |model: &str, usd: f64| {
        let rate = NanoUsdPerMtok::from_usd(usd);
        let terms = Terms {
            price: Price {
                rates: Rates {
                    input: rate,
                    output: rate,
                    ..Rates::default()
                },
                ..Price::default()
            },
            listed: true,
            ..Terms::default()
        };
        (ModelId::new(model), terms)
    };
    // Charged a hundred times what the others were; from now on the same.
    let terms = MODELS.map(|model| listed(model, 1.0)).into();
    let settings = Settings {
        seed: 5,
        bars: &[bar(9_500)],
        held_out: 0.3,
        current: None,
        flips_max: Bps::ONE,
        terms: &terms,
    };
    let trained = run(&all, &[], &settings, &mut |_, _| ()).unwrap();
    let singles = trained.report.learned.unwrap().singles;
    let costs: Vec<f64> = singles.iter().map(|single| single.cost).collect();
    let spread = costs.iter().copied().fold(0.0, f64::max) / costs[0];
    assert!(spread < 1.1, "{costs:?}");
}

/// Heads that cannot tell two prompts apart must not know the answer of one when they are
/// judged on the other.
#[test]
fn the_same_prompt_asked_twice_is_on_one_side_of_every_cut() {
    let mut audits = audits(300, true, true, 2);
    let again: Vec<Audit> = audits
        .iter()
        .map(|audit| Audit {
            id: format!("{} again", audit.id),
            ..audit.clone()
        })
        .collect();
    audits.extend(again);
    let data = Dataset::of(&audits, None);
    let folds = data.folds(4, 1);
    let (train, _) = data.cut(0.3, 1);
    let mut side = vec![false; data.len()];
    train.iter().for_each(|row| side[*row] = true);
    for row in 0..300 {
        assert_eq!(folds[row], folds[row + 300]);
        assert_eq!(side[row], side[row + 300]);
    }
}
