//! Whether a route may use the learned heads.
//!
//! Owns: the checks on held-out prompts and their limits. A head that is no better than
//! no head at all must not be used: with all models good or few prompts, that is what
//! happens. Knows nothing of tables; it only says yes or no, and why.

use spillway_routing::unit::Bps;

use crate::certificate::{ALLOWED, DELTA};
use crate::evaluate::Evaluation;
use crate::evaluate::deployed::Deployed;
use crate::multiplier::Solved;

/// Held-out prompts below this cannot tell a gain from luck.
const PROMPTS_MIN: usize = 100;
/// Expected calibration error, 0..=1.
const ECE_MAX: f64 = 0.05;
/// A floor counts as kept when it is missed by at most a point on held-out prompts.
const SHORTFALL_MAX: f64 = 0.01;

/// One question of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Are there enough held-out prompts?
    EnoughPrompts,
    /// Does some λ keep the bar on out-of-fold predictions?
    BarWithinReach,
    /// Is the curve above the best prompt-blind mix of models, beyond chance, and the
    /// route's own point as well?
    BeatsBlind,
    /// Do predicted shares come true?
    Calibrated,
    /// Did the policy keep its bar where it was not set?
    KeepsBar,
    /// Is it proven there, for any distribution, that it loses no more than is allowed?
    Certified,
}

impl Check {
    pub const ALL: [Self; 6] = [
        Self::EnoughPrompts,
        Self::BarWithinReach,
        Self::BeatsBlind,
        Self::Calibrated,
        Self::KeepsBar,
        Self::Certified,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EnoughPrompts => "enough_prompts",
            Self::BarWithinReach => "bar_within_reach",
            Self::BeatsBlind => "beats_blind",
            Self::Calibrated => "calibrated",
            Self::KeepsBar => "keeps_bar",
            Self::Certified => "certified",
        }
    }
}

/// A check's answer, with the numbers behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    pub check: Check,
    pub held: bool,
    pub detail: String,
}

/// What the gate looks at: everything on held-out prompts but `solved`.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    pub solved: &'a Solved,
    pub deployed: &'a Deployed,
    /// Of the learned offers, on the route's models.
    pub evaluation: &'a Evaluation,
    pub bar: Bps,
}

/// All checks, in the order of [`Check::ALL`]; the gate opens when each held.
#[must_use]
pub fn check(evidence: &Evidence<'_>) -> Vec<Checked> {
    Check::ALL.map(|check| answer(check, evidence)).to_vec()
}

fn answer(check: Check, evidence: &Evidence<'_>) -> Checked {
    let (held, detail) = match check {
        Check::EnoughPrompts => {
            let count = evidence.evaluation.prompts;
            let detail = format!("{count} held-out prompts, {PROMPTS_MIN} are needed");
            (count >= PROMPTS_MIN, detail)
        }
        Check::BarWithinReach => {
            let solved = evidence.solved;
            let detail = format!(
                "λ {} lies {:+.2} points from the floor at least (90 %), -1.00 is allowed",
                solved.lambda(),
                solved.margin * 100.0
            );
            (solved.kept, detail)
        }
        Check::BeatsBlind => beats_blind(evidence),
        Check::Calibrated => {
            let ece = evidence.evaluation.calibration.ece;
            let detail = format!("calibration error {ece:.3}, at most {ECE_MAX} is allowed");
            (ece <= ECE_MAX, detail)
        }
        Check::KeepsBar => {
            let deployed = evidence.deployed;
            let missed = deployed.floor - deployed.quality;
            let detail = format!(
                "quality {:.2} % for a floor of {:.2} % (bar {}), a point less is allowed",
                deployed.quality * 100.0,
                deployed.floor * 100.0,
                evidence.bar
            );
            (missed <= SHORTFALL_MAX, detail)
        }
        Check::Certified => {
            let detail = format!(
                "{} held-out prompts {} with {:.0} % confidence that the floor is missed by no more than {:.1} points",
                evidence.evaluation.prompts,
                if evidence.deployed.certified {
                    "prove"
                } else {
                    "do not prove"
                },
                (1.0 - DELTA) * 100.0,
                ALLOWED * 100.0
            );
            (evidence.deployed.certified, detail)
        }
    };
    Checked {
        check,
        held,
        detail,
    }
}

/// The gain in the area on the log axis (paired bootstrap), which looks at the whole
/// curve and so can tell a gain from luck; and the route's point, quality at equal cost.
fn beats_blind(evidence: &Evidence<'_>) -> (bool, String) {
    let gain = evidence.evaluation.gain;
    let zero = evidence.evaluation.zero_hull.at(evidence.deployed.cost);
    let point = evidence.deployed.quality - zero;
    let detail = format!(
        "curve above prompt-blind mixes by {:+.2} to {:+.2} points (95 %); this route's quality by {:+.2} at equal cost",
        gain.low * 100.0,
        gain.high * 100.0,
        point * 100.0
    );
    (gain.low > 0.0 && point >= 0.0, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::deployed::deployed;
    use crate::evaluate::evaluate;
    use crate::multiplier::solve;
    use crate::offers::{Policy, Row, Truth};
    use ndarray::Array2;
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256Plus;
    use spillway_routing::decide::Offer;
    use spillway_routing::id::ModelId;
    use spillway_routing::unit::NanoUsd;

    /// A dear model that is good at both kinds of prompts, a cheap one that is good at
    /// one. `informed` predictions know the kind, the others guess it.
    fn world(prompts: usize, informed: bool, seed: u64) -> (Vec<Row>, Truth) {
        let mut dice = Xoshiro256Plus::seed_from_u64(seed);
        let offer = |quality: f64, usd: f64| Offer {
            quality: Bps::from_share(quality),
            cost: NanoUsd::from_usd(usd),
        };
        let mut truth = Truth {
            quality: Array2::zeros((prompts, 2)),
            cost: Array2::from_shape_fn((prompts, 2), |(_, c)| [0.001, 0.01][c]),
        };
        let mut learned = Vec::new();
        for i in 0..prompts {
            let kind = dice.gen_bool(0.5);
            let chance = [if kind { 0.95 } else { 0.3 }, 0.95];
            for (c, p) in chance.iter().enumerate() {
                truth.quality[[i, c]] = f64::from(u8::from(dice.gen_bool(*p)));
            }
            let seems = if informed { kind } else { dice.gen_bool(0.5) };
            let guess = [if seems { 0.95 } else { 0.3 }, 0.95];
            let row = |q: [f64; 2]| Row {
                offers: vec![offer(q[0], 0.001), offer(q[1], 0.01)],
                abstained: false,
            };
            learned.push(row(guess));
        }
        (learned, truth)
    }

    fn verdict(prompts: usize, informed: bool) -> Vec<Checked> {
        let bar = Bps::new(9_000);
        let (rows, truth) = world(2_000, informed, 1);
        let solved = solve(&rows, &truth, 1, bar, Policy::lambda(0));
        let policy = Policy::lambda(solved.lambda());
        let (learned, truth) = world(prompts, informed, 2);
        let deployed = deployed(&learned, &truth, policy, 1, bar, 3);
        let models = [ModelId::new("cheap"), ModelId::new("dear")];
        let evaluation = evaluate(&learned, &truth, &models, 1, 4).unwrap();
        check(&Evidence {
            solved: &solved,
            deployed: &deployed,
            evaluation: &evaluation,
            bar,
        })
    }

    fn held(checks: &[Checked], wanted: Check) -> bool {
        checks
            .iter()
            .any(|checked| checked.check == wanted && checked.held)
    }

    #[test]
    fn knowledge_passes() {
        let checks = verdict(2_000, true);
        assert!(checks.iter().all(|checked| checked.held), "{checks:?}");
    }

    #[test]
    fn noise_is_declined() {
        let checks = verdict(2_000, false);
        assert!(!held(&checks, Check::BeatsBlind) && !held(&checks, Check::Calibrated));
    }

    #[test]
    fn few_prompts_are_declined() {
        assert!(!held(&verdict(40, true), Check::EnoughPrompts));
    }
}
