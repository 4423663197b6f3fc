//! `exp`, `ln` and the logistic curve with the same bits on every machine.
//!
//! Owns: the only transcendental functions a decision may use. The platform's own
//! differ in the last bit from libm to libm, and one bit is enough to turn a tie
//! between two lanes. These use IEEE add, multiply and divide in a fixed order.
//! Relative error below 1e-7 (tested), far below what eight-bit weights carry.

const LN_2: f64 = std::f64::consts::LN_2;

/// 1/n! from 0 to 8.
const INVERSE_FACTORIALS: [f64; 9] = [
    1.0,
    1.0,
    1.0 / 2.0,
    1.0 / 6.0,
    1.0 / 24.0,
    1.0 / 120.0,
    1.0 / 720.0,
    1.0 / 5_040.0,
    1.0 / 40_320.0,
];

/// 1/(2n + 1) from 0 to 11.
const INVERSE_ODDS: [f64; 12] = {
    let mut inverse = [1.0; 12];
    let mut n = 1;
    while n < inverse.len() {
        inverse[n] = 1.0 / (2 * n + 1) as f64;
        n += 1;
    }
    inverse
};

/// To the nearest whole number, halves away from zero, for what fits a number of 32 bits.
/// The platform's `round` is a call of it for each.
#[must_use]
pub fn round(x: f32) -> i32 {
    let whole = x as i32;
    // Exact: both have the same exponent or nearly so.
    let rest = x - whole as f32;
    whole + i32::from(rest >= 0.5) - i32::from(rest <= -0.5)
}

/// e to the power `x`; saturates outside ±700.
#[must_use]
pub fn exp(x: f64) -> f64 {
    if x.is_nan() {
        return 0.0;
    }
    let x = x.clamp(-700.0, 700.0);
    let halvings = (x * (1.0 / LN_2) + 0.5f64.copysign(x)) as i32;
    let rest = x - f64::from(halvings) * LN_2; // |rest| <= 0.35
    // Taylor to the eighth power, Horner's scheme: the remainder is below 1e-9.
    let terms = INVERSE_FACTORIALS.iter().rev();
    let sum = terms.fold(0.0, |sum, term| sum * rest + term);
    sum * power_of_two(halvings)
}

/// Natural logarithm; `-700` for zero and below.
#[must_use]
pub fn ln(x: f64) -> f64 {
    if x.is_nan() || x <= f64::MIN_POSITIVE {
        return -700.0;
    }
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i32 - 1023;
    let mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52)); // 1..2
    // ln m = 2 atanh((m-1)/(m+1)); the argument is at most 1/3.
    let z = (mantissa - 1.0) / (mantissa + 1.0);
    let square = z * z;
    let terms = INVERSE_ODDS.iter().rev();
    let sum = terms.fold(0.0, |sum, term| sum * square + term);
    2.0 * z * sum + f64::from(exponent) * LN_2
}

/// 1 / (1 + e^-x).
#[must_use]
pub fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + exp(-x))
}

/// Turns scores into probabilities in place; an empty slice stays empty.
pub fn softmax(scores: &mut [f64]) {
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = exp(*score - top);
        sum += *score;
    }
    for score in scores.iter_mut() {
        *score /= sum;
    }
}

fn power_of_two(exponent: i32) -> f64 {
    // Two steps, so that exponents down to -1022-1022 do not leave the format at once.
    let half = exponent / 2;
    let pow = |e: i32| f64::from_bits(((e + 1023).clamp(1, 2046) as u64) << 52);
    pow(half) * pow(exponent - half)
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the platform's functions are the reference here"
)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exp_is_the_platforms_exp(x in -600.0f64..600.0) {
            prop_assert!((exp(x) / x.exp() - 1.0).abs() < 1e-7);
        }

        #[test]
        fn ln_is_the_platforms_ln(x in 1e-300f64..1e300) {
            prop_assert!((ln(x) - x.ln()).abs() < 1e-7 * x.ln().abs().max(1.0));
        }

        #[test]
        fn round_is_the_platforms_round(x in -1e6f32..1e6, half in -1_000i32..1_000) {
            let halves = half as f32 / 2.0;
            for x in [x, halves, halves.next_up(), halves.next_down()] {
                prop_assert_eq!(round(x) as f32, x.round());
            }
        }

        #[test]
        fn softmax_sums_to_one(mut scores in prop::collection::vec(-50.0f64..50.0, 1..20)) {
            softmax(&mut scores);
            prop_assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn odd_inputs_stay_finite() {
        for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0] {
            assert!(exp(x).is_finite());
            assert!(ln(x).is_finite() || x == f64::INFINITY);
            assert!((0.0..=1.0).contains(&logistic(x)));
        }
    }
}
