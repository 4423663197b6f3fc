//! Metrics against cases worked by hand.

use super::deployed::{Tried, deployed, deployed_all};
use super::*;
use crate::offers::Policy;
use ndarray::{Array2, array};
use spillway_routing::decide::Offer;
use spillway_routing::unit::{Bps, NanoUsd};

/// Two models at 1 and 4 dollars; four prompts. The small model is right on the first
/// two, the large one on all but the last.
fn truth() -> Truth {
    Truth {
        quality: array![[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]],
        cost: array![[1.0, 4.0], [1.0, 4.0], [1.0, 4.0], [1.0, 4.0]],
    }
}

fn rows(qualities: [[f64; 2]; 4]) -> Vec<Row> {
    let offer = |quality: f64, usd: f64| Offer {
        quality: Bps::from_share(quality),
        cost: NanoUsd::from_usd(usd),
    };
    let row = |q: [f64; 2]| Row {
        offers: vec![offer(q[0], 1.0), offer(q[1], 4.0)],
        abstained: false,
    };
    qualities.map(row).to_vec()
}

fn judged(qualities: [[f64; 2]; 4]) -> Evaluation {
    let models = [ModelId::new("small"), ModelId::new("large")];
    evaluate(&rows(qualities), &truth(), &models, 1, 1).unwrap()
}

#[test]
fn perfect_predictions_reach_the_oracle() {
    let e = judged([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]);
    // Only the third prompt needs the large model: (3·1 + 4) / 4 dollars, 3 of 4 right.
    assert_eq!(
        e.oracle,
        Point {
            cost: 1.75,
            quality: 0.75
        }
    );
    assert_eq!(
        e.hull.points,
        [
            Point {
                cost: 1.0,
                quality: 0.5
            },
            e.oracle
        ]
    );
    assert!((e.cost_share(1.0).unwrap() - 1.75 / 4.0).abs() < 1e-12);
    // 95 % of .75 is .7125: .85 of the way from .5 to .75.
    assert!((e.cost_share(0.95).unwrap() - (1.0 + 0.85 * 0.75) / 4.0).abs() < 1e-9);
    // Zero: .5 at 1 to .75 at 4.
    assert!((e.cost_at[0].zero.unwrap() - (1.0 + 0.85 * 3.0) / 4.0).abs() < 1e-9);
    assert!((e.aiq_zero - 0.625).abs() < 1e-12);
    assert!((e.aiq - (0.625 * 0.75 + 0.75 * 2.25) / 3.0).abs() < 1e-12);
    assert!(e.calibration.brier.abs() < 1e-12 && e.calibration.ece.abs() < 1e-12);
    for regret in &e.regret {
        assert!(regret.regret.abs() < 1e-9, "{regret:?}");
    }
}

#[test]
fn the_log_area_by_hand() {
    let e = judged([[0.5, 0.75]; 4]);
    // Prompt-blind predictions are the zero router: q = 5/12 + k/12 over 1..4.
    let ln4 = 4.0f64.ln();
    let expected = (5.0 / 12.0 * ln4 + 3.0 / 12.0) / ln4;
    assert!((e.aiq_log_zero - expected).abs() < 1e-9);
    assert!((e.aiq_log - e.aiq_log_zero).abs() < 1e-12);
    assert_eq!(
        e.gain,
        Interval {
            low: 0.0,
            high: 0.0
        }
    );
}

#[test]
fn worse_than_the_best_is_never_reached() {
    // Upside down: the large model only where it is not needed.
    let e = judged([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]);
    assert_eq!(e.cost_share(0.95), None);
    assert!(e.aiq_log < e.aiq_log_zero);
    // Both at the steepest willingness: the third prompt's point of quality is lost.
    assert!(e.regret.iter().all(|regret| regret.quality_regret >= 0.25));
}

#[test]
fn a_deployed_point_counts_what_was_picked() {
    let rows = rows([[0.9, 0.9], [0.9, 0.9], [0.1, 0.9], [0.1, 0.9]]);
    let d = deployed(&rows, &truth(), Policy::lambda(1), 1, Bps::new(9_000), 1);
    assert!((d.quality - 0.75).abs() < 1e-12 && (d.cost - 2.5).abs() < 1e-12);
    assert!((d.floor - 0.675).abs() < 1e-12 && (d.best_cost - 4.0).abs() < 1e-12);
    assert!(d.shortfall.low <= d.floor - d.quality && d.shortfall.high >= d.floor - d.quality);
}

#[test]
fn policies_held_against_their_bars_together_come_to_the_same() {
    let some = rows([[0.9, 0.9], [0.9, 0.9], [0.1, 0.9], [0.1, 0.9]]);
    let others = rows([[0.2, 0.9], [0.9, 0.3], [0.1, 0.9], [0.9, 0.1]]);
    let tried = |rows, lambda, bar| Tried {
        rows,
        policy: Policy::lambda(lambda),
        bar: Bps::new(bar),
    };
    let tried = [tried(&some, 1, 9_000), tried(&others, 2_000, 9_900)];
    let alone = |t: &Tried<'_>| deployed(t.rows, &truth(), t.policy, 1, t.bar, 5);
    let expected: Vec<_> = tried.iter().map(alone).collect();
    assert_eq!(deployed_all(&tried, &truth(), 1, 5), expected);
}

#[test]
fn a_higher_multiplier_never_costs_more() {
    let rows = rows([[0.5, 0.9], [0.6, 0.9], [0.1, 0.95], [0.3, 0.2]]);
    let predicted = |lambda: &u64| -> u64 {
        let policy = Policy::lambda(*lambda);
        rows.iter()
            .map(|row| row.offers[policy.pick(row)].cost.0)
            .sum()
    };
    let costs: Vec<u64> = lambdas(&rows).iter().map(predicted).collect();
    assert!(costs.windows(2).all(|pair| pair[0] >= pair[1]));
    assert_ne!(costs.first(), costs.last());
}

#[test]
fn nothing_to_measure_is_no_evaluation() {
    let empty = Truth {
        quality: Array2::zeros((0, 0)),
        cost: Array2::zeros((0, 0)),
    };
    assert_eq!(evaluate(&[], &empty, &[], 0, 1), None);
}
