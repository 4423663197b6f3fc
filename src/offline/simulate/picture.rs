//! Cost and quality over time as a picture.
//!
//! Owns: what is drawn and how: two panels with requests from left to right, both as
//! shares of what the best single model would have given.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use super::teach::{TRAINED, Window};

const SIZE: (u32, u32) = (960, 640);
const OURS: RGBColor = RGBColor(200, 40, 60);
const AUDITS: RGBColor = RGBColor(44, 122, 190);
const MARK: RGBColor = RGBColor(120, 120, 120);
/// The axes end here: the first windows of a cheap route can lie far above.
const COST_SHOWN_MAX: f64 = 2.0;

/// A name, a colour and points.
type Line = (&'static str, RGBColor, Vec<(f64, f64)>);
type Failed = Box<dyn std::error::Error>;

/// # Errors
///
/// When there is nothing to draw.
pub(super) fn svg(windows: &[Window], bar: f64) -> anyhow::Result<String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    // A backend into a string has errors of its own type for nothing that can go wrong.
    draw(&area, windows, bar).map_err(|error| anyhow!("{error}"))?;
    drop(area);
    Ok(text)
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    windows: &[Window],
    bar: f64,
) -> Result<(), Failed> {
    area.fill(&WHITE)?;
    let (top, bottom) = area.split_vertically(SIZE.1 / 2);
    let line = |value: fn(&Window) -> f64| -> Vec<(f64, f64)> {
        windows.iter().map(|w| (w.until as f64, value(w))).collect()
    };
    let quality = [("quality", OURS, line(Window::quality_share))];
    let title = "quality, of the best model's";
    panel(&top, windows, title, &quality, bar, true)?;
    let cost = [
        ("cost", OURS, line(Window::cost_share)),
        ("with audits", AUDITS, line(Window::cost_share_with_audits)),
    ];
    let title = "cost, of the best model's";
    panel(&bottom, windows, title, &cost, 1.0, false)?;
    area.present()?;
    Ok(())
}

/// What happened and when, but for the runs, of which there are many.
fn told(windows: &[Window]) -> impl Iterator<Item = (f64, &String)> {
    let notes = windows
        .iter()
        .flat_map(|window| window.notes.iter().map(|note| (window.until as f64, note)));
    notes.filter(|(_, note)| !note.starts_with(TRAINED))
}

fn panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    windows: &[Window],
    title: &str,
    lines: &[Line],
    level: f64,
    titled: bool,
) -> Result<(), Failed> {
    let values = || {
        lines
            .iter()
            .flat_map(|(_, _, line)| line.iter().map(|(_, y)| *y))
    };
    let least = values().fold(level, f64::min);
    let most = values().fold(level, f64::max).min(COST_SHOWN_MAX);
    let end = windows.last().map_or(1.0, |window| window.until as f64);
    let room = (most - least).max(0.05) * 0.1;
    let mut chart = ChartBuilder::on(area)
        .margin(14)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..end, (least - room).max(0.0)..most + room)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(235, 235, 235))
        .x_label_formatter(&|requests| format!("{requests:.0}"))
        .x_desc("requests")
        .y_desc(title)
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .draw()?;
    let dashed = [(0.0, level), (end, level)];
    chart.draw_series(LineSeries::new(dashed, MARK.stroke_width(1)))?;
    for (name, colour, line) in lines {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(line.iter().copied(), style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    let ends = ((least - room).max(0.0), most + room);
    for (place, (x, note)) in told(windows).enumerate() {
        let upright = [(x, ends.0), (x, ends.1)];
        chart.draw_series(LineSeries::new(upright, MARK.mix(0.4)))?;
        // Three rows, so that what happens soon after one another can be read.
        let y = ends.1 - room * (0.4 + 0.6 * (place % 3) as f64);
        if titled {
            chart.draw_series([Text::new(note.clone(), (x, y), ("sans-serif", 11))])?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE)
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}
