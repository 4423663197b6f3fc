//! Seeded randomness: every draw is a hash of a seed and of what it is drawn for.
//!
//! Owns: the hash and the distributions. It must not know what is drawn, nor read
//! any clock or entropy: the same seed gives the same world, faults and arrivals.

/// The FNV-1a offset basis and prime (64 bit).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;
/// The golden ratio step of SplitMix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of draws that belongs to one seed and one occasion.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice for an occasion that is named by words (a model, a prompt).
    pub(crate) fn of(seed: u64, words: &[&str]) -> Self {
        let mut state = seed ^ FNV_OFFSET;
        for word in words {
            state = mix(state ^ text_hash(word));
        }
        Self(mix(state))
    }

    /// Dice for the `number`-th occasion of one sort.
    pub(crate) fn numbered(seed: u64, label: &str, number: u64) -> Self {
        let Self(state) = Self::of(seed, &[label]);
        Self(mix(state ^ mix(number)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Uniform in 0..1, 1 excluded.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Uniform in 0..`bound`; 0 when `bound` is 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// One of `choices`, or `None` of an empty list.
    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len() as u64) as usize)
    }

    /// Log-normal with this median and this standard deviation of the logarithm.
    pub(crate) fn log_normal(&mut self, median: f64, spread: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let normal = radius * (std::f64::consts::TAU * self.unit()).cos();
        median * (spread * normal).exp()
    }

    /// Exponential with this mean.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }
}

/// A stable hash of a text (not cryptographic).
pub(crate) fn text_hash(text: &str) -> u64 {
    let mut hash = FNV_OFFSET;
    for byte in text.as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    }
    mix(hash)
}

fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_occasion_draws_the_same_and_another_does_not() {
        let draw = |number| Dice::numbered(7, "attempt", number).next();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
        assert_ne!(
            Dice::of(7, &["ab", "c"]).next(),
            Dice::of(7, &["a", "bc"]).next()
        );
    }

    #[test]
    fn distributions_have_their_centre_where_they_say() {
        let mut dice = Dice::of(1, &["centre"]);
        let mut drawn: Vec<f64> = (0..4001).map(|_| dice.log_normal(300.0, 0.5)).collect();
        drawn.sort_by(f64::total_cmp);
        assert!((drawn[2000] - 300.0).abs() < 20.0, "{}", drawn[2000]);
        let mean = (0..4000).map(|_| dice.exponential(2.0)).sum::<f64>() / 4000.0;
        assert!((mean - 2.0).abs() < 0.15, "{mean}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&dice.unit())));
    }

    #[test]
    fn picking_from_nothing_is_nothing() {
        let mut dice = Dice::of(1, &["pick"]);
        assert_eq!(dice.pick::<u8>(&[]), None);
        assert_eq!(dice.below(0), 0);
    }
}
