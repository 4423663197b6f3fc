//! The upper non-decreasing convex hull of (cost, quality) points, and areas under it.
//!
//! Owns: the geometry that every curve metric rests on (RouterBench's AIQ, Hu et al.
//! 2024). Between two points of a hull lies a random mix of the two policies. Knows
//! nothing of models.

use spillway_routing::float;

/// Mean cost in US dollars, mean quality 0..=1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub cost: f64,
    pub quality: f64,
}

/// Points by rising cost and rising quality, with falling slopes. Flat to the right of
/// its last point and, so that areas are defined, to the left of its first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hull {
    pub points: Vec<Point>,
}

impl Hull {
    #[must_use]
    pub fn of(points: &[Point]) -> Self {
        let mut sorted = points.to_vec();
        sorted.sort_by(|a, b| {
            a.cost
                .total_cmp(&b.cost)
                .then(b.quality.total_cmp(&a.quality))
        });
        let mut kept: Vec<Point> = Vec::new();
        for point in sorted {
            if kept
                .last()
                .is_some_and(|last| point.quality <= last.quality)
            {
                continue;
            }
            while let [.., a, b] = kept[..] {
                let flatter = (b.quality - a.quality) * (point.cost - a.cost)
                    <= (point.quality - a.quality) * (b.cost - a.cost);
                if !flatter {
                    break;
                }
                kept.pop();
            }
            kept.push(point);
        }
        Self { points: kept }
    }

    /// Best quality for a mean cost.
    #[must_use]
    pub fn at(&self, cost: f64) -> f64 {
        let right = self.points.partition_point(|point| point.cost <= cost);
        let (Some(left), Some(next)) = (right.checked_sub(1), self.points.get(right)) else {
            let edge = if right == 0 {
                self.points.first()
            } else {
                self.points.last()
            };
            return edge.map_or(0.0, |point| point.quality);
        };
        let from = self.points[left];
        let share = (cost - from.cost) / (next.cost - from.cost);
        from.quality + share * (next.quality - from.quality)
    }

    /// The smallest mean cost that reaches a quality; `None` if none does.
    #[must_use]
    pub fn cost_at(&self, quality: f64) -> Option<f64> {
        let right = self.points.partition_point(|point| point.quality < quality);
        let to = self.points.get(right)?;
        let Some(from) = right.checked_sub(1).map(|left| self.points[left]) else {
            return Some(to.cost);
        };
        let share = (quality - from.quality) / (to.quality - from.quality);
        Some(from.cost + share * (to.cost - from.cost))
    }

    #[must_use]
    pub fn best_quality(&self) -> f64 {
        self.points.last().map_or(0.0, |point| point.quality)
    }

    /// Mean height over a range of costs; the height itself for an empty range.
    #[must_use]
    pub fn mean(&self, from: f64, to: f64) -> f64 {
        if to <= from {
            return self.at(from);
        }
        let area = |a: f64, b: f64| (self.at(a) + self.at(b)) / 2.0 * (b - a);
        self.sum_pieces(from, to, area) / (to - from)
    }

    /// Mean height over a range of costs on a logarithmic axis: each halving counts
    /// alike.
    #[must_use]
    pub fn mean_log(&self, from: f64, to: f64) -> f64 {
        if to <= from || from <= 0.0 {
            return self.at(from);
        }
        // On a piece q = c + s·k, and the integral of q over d ln k is c·ln(b/a) + s·(b−a).
        let area = |a: f64, b: f64| {
            let slope = (self.at(b) - self.at(a)) / (b - a);
            let constant = self.at(a) - slope * a;
            constant * float::ln(b / a) + slope * (b - a)
        };
        self.sum_pieces(from, to, area) / float::ln(to / from)
    }

    fn sum_pieces(&self, from: f64, to: f64, area: impl Fn(f64, f64) -> f64) -> f64 {
        let inner = self.points.iter().map(|point| point.cost);
        let mut edges = vec![from];
        edges.extend(inner.filter(|cost| *cost > from && *cost < to));
        edges.push(to);
        edges.windows(2).map(|edge| area(edge[0], edge[1])).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn points(list: &[(f64, f64)]) -> Vec<Point> {
        list.iter()
            .map(|&(cost, quality)| Point { cost, quality })
            .collect()
    }

    #[test]
    fn dominated_and_inner_points_fall_away() {
        let hull = Hull::of(&points(&[
            (1.0, 0.2),
            (2.0, 0.3),
            (3.0, 0.8),
            (4.0, 0.7),
            (1.0, 0.1),
        ]));
        assert_eq!(hull.points, points(&[(1.0, 0.2), (3.0, 0.8)]));
        assert!((hull.at(2.0) - 0.5).abs() < 1e-12);
        assert!((hull.at(9.0) - 0.8).abs() < 1e-12);
        assert!((hull.cost_at(0.5).unwrap() - 2.0).abs() < 1e-12);
        assert_eq!(hull.cost_at(0.81), None);
        assert_eq!(hull.cost_at(0.0), Some(1.0));
    }

    #[test]
    fn areas_by_hand() {
        let hull = Hull::of(&points(&[(1.0, 0.2), (3.0, 0.8)]));
        // Over 1..5: a trapezoid of mean .5 and width 2, a rectangle of .8 and width 2.
        assert!((hull.mean(1.0, 5.0) - 0.65).abs() < 1e-12);
        // On the log axis over 1..3: q = -0.1 + 0.3 k; (-0.1 ln 3 + 0.6) / ln 3.
        let ln3 = 1.098_612_288_668;
        assert!((hull.mean_log(1.0, 3.0) - (-0.1 + 0.6 / ln3)).abs() < 1e-9);
        assert!((hull.mean_log(2.0, 2.0) - 0.5).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn no_point_lies_above_its_hull(
            list in prop::collection::vec((0.01f64..10.0, 0.0f64..1.0), 1..30)
        ) {
            let points = points(&list);
            let hull = Hull::of(&points);
            for point in &points {
                prop_assert!(hull.at(point.cost) >= point.quality - 1e-9);
            }
            let slope = |w: &[Point]| (w[1].quality - w[0].quality) / (w[1].cost - w[0].cost);
            let slopes: Vec<f64> = hull.points.windows(2).map(slope).collect();
            prop_assert!(slopes.iter().all(|slope| *slope > 0.0));
            prop_assert!(slopes.windows(2).all(|pair| pair[0] >= pair[1] - 1e-9));
        }
    }
}
