//! The cost-quality curve as a picture.
//!
//! Owns: what is drawn and how. Costs are on a logarithmic axis, in dollars per 1,000
//! requests, so that each halving of the bill is as wide.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;
use spillway_classifier::compare::{Comparison, Contender};
use spillway_classifier::evaluate::hull::Point;

const SIZE: (u32, u32) = (900, 560);
const PER: f64 = 1_000.0;
/// Points of quality above and below what is drawn.
const MARGIN: f64 = 0.02;
const DOT: RGBColor = RGBColor(90, 90, 90);

struct Curve {
    name: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// # Errors
///
/// When there is nothing to draw.
pub(super) fn svg(run: &Comparison) -> anyhow::Result<String> {
    let (_, any) = run
        .contests
        .first()
        .ok_or_else(|| anyhow!("nobody took part"))?;
    let zero = line(&any.zero_hull.points);
    let bottom = zero.first().map_or(0.0, |(_, quality)| *quality) - MARGIN;
    let singles = any.singles.iter().map(|s| (s.cost * PER, s.quality));
    let singles: Vec<(f64, f64)> = singles
        .filter(|(cost, quality)| *cost > 0.0 && *quality > bottom)
        .collect();
    let mut curves = vec![Curve {
        name: "zero router",
        colour: RGBColor(150, 150, 150),
        points: zero,
    }];
    curves.extend(run.contests.iter().map(|(who, evaluation)| Curve {
        name: who.name(),
        colour: colour(*who),
        points: line(&evaluation.hull.points),
    }));
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    // A backend into a string has errors of its own type for nothing that can go wrong.
    draw(&area, curves, &singles, bottom).map_err(|error| anyhow!("{error}"))?;
    drop(area);
    Ok(text)
}

type Failed = Box<dyn std::error::Error>;

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    curves: Vec<Curve>,
    singles: &[(f64, f64)],
    bottom: f64,
) -> Result<(), Failed> {
    let all = || curves.iter().flat_map(|curve| &curve.points).chain(singles);
    let (left, right) = range(all().map(|(cost, _)| *cost));
    let (_, top) = range(all().map(|(_, quality)| *quality));
    if !(left > 0.0 && left < right) {
        return Err("all models cost the same".into());
    }
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d((left * 0.9..right * 1.1).log_scale(), bottom..top + MARGIN)?;
    chart
        .configure_mesh()
        .light_line_style(RGBColor(240, 240, 240))
        .x_desc("dollars per 1,000 requests")
        .y_desc("mean quality")
        .draw()?;
    for curve in curves {
        let style = curve.colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve.points, style))?
            .label(curve.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    let dot = |at: (f64, f64)| Circle::new(at, 3, DOT.filled());
    chart
        .draw_series(singles.iter().map(|at| dot(*at)))?
        .label("single models")
        .legend(|(x, y)| Circle::new((x + 9, y), 3, DOT.filled()));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    area.present()?;
    Ok(())
}

fn colour(who: Contender) -> RGBColor {
    match who {
        Contender::NoFeatures => RGBColor(120, 94, 60),
        Contender::NearestNeighbours => RGBColor(44, 122, 190),
        Contender::Ridge => RGBColor(190, 130, 30),
        Contender::Committee => RGBColor(200, 40, 60),
        Contender::CommitteeWithSlices => RGBColor(120, 40, 160),
    }
}

fn line(points: &[Point]) -> Vec<(f64, f64)> {
    let drawn = points.iter().filter(|point| point.cost > 0.0);
    drawn
        .map(|point| (point.cost * PER, point.quality))
        .collect()
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(value), most.max(value)),
    )
}
