//! Small networks: one hidden layer that all models share, a logistic output each.
//!
//! Owns: their shape and the forward pass. Training them is the classifier's.

use super::weights::{COLUMNS_MAX, INPUT_ONE, Weights, rounded};
use crate::float;

/// One in the fixed-point format of the hidden layer, whose values reach 32.
pub const HIDDEN_ONE: f32 = 1024.0;

/// One network.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Network {
    /// `[unit][input]`.
    pub hidden: Weights,
    pub hidden_bias: Vec<f32>,
    /// `[model][unit]`.
    pub output: Weights,
    pub output_bias: Vec<f32>,
}

impl Network {
    /// The hidden layer's values, rectified; beyond its own units they are zero.
    fn units(&self, inputs: &[i16]) -> [i16; COLUMNS_MAX] {
        let mut units = [0; COLUMNS_MAX];
        let products = self.hidden.products(inputs, INPUT_ONE);
        let sums = products.zip(&self.hidden_bias);
        for (unit, (product, bias)) in units.iter_mut().zip(sums) {
            *unit = rounded((product + bias).max(0.0) * HIDDEN_ONE);
        }
        units
    }
}

/// Adds the networks' mean to `quality`, times `share`.
pub(super) fn add(networks: &[Network], inputs: &[i16], share: f64, quality: &mut [f64]) {
    let factor = share / networks.len().max(1) as f64;
    for network in networks {
        let units = network.units(inputs);
        let products = network.output.products(&units, HIDDEN_ONE);
        let logits = products.zip(&network.output_bias);
        for (sum, (product, bias)) in quality.iter_mut().zip(logits) {
            *sum += factor * float::logistic(f64::from(product + bias));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::weights::input;

    #[test]
    fn the_forward_pass_by_hand() {
        let network = Network {
            hidden: Weights::of(2, &[1.0, -1.0, 0.5, 0.5]),
            hidden_bias: vec![0.0, -2.0],
            output: Weights::of(2, &[2.0, 1.0]),
            output_bias: vec![-1.0],
        };
        let mut quality = [0.0];
        // Units: max(3 - 1, 0) = 2 and max(1.5 + 0.5 - 2, 0) = 0; logit 2·2 - 1 = 3.
        add(&[network], &[input(3.0), input(1.0)], 1.0, &mut quality);
        assert!((quality[0] - 0.952_574).abs() < 1e-3, "{quality:?}");
    }
}
