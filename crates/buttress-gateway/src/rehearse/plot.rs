//! Latency over time, all runs, as a picture.

use std::{fs, path::Path};

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{Shift, cartesian::Cartesian2d, types::RangedCoordf64},
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    element::{PathElement, Polygon, Rectangle, Text},
    prelude::SVGBackend,
    series::LineSeries,
    style::{Color, RGBColor, TextStyle, text_anchor},
};

use super::{
    error::Error,
    parameters::Parameters,
    timeline::{Point, Timeline},
};

const SIZE: (u32, u32) = (960, 520);
const HEADING: u32 = 84;
const FONT: &str = "sans-serif";
const PAPER: RGBColor = RGBColor(255, 255, 255);
const INK: RGBColor = RGBColor(38, 43, 51);
const FAINT_INK: RGBColor = RGBColor(107, 114, 128);
const GRID: RGBColor = RGBColor(229, 231, 235);
const WARM_UP: RGBColor = RGBColor(244, 245, 247);
/// Told apart by lightness as well as by hue, for print and for the colour-blind.
const BEFORE: RGBColor = RGBColor(213, 94, 0);
const AFTER: RGBColor = RGBColor(0, 92, 158);
const NGINX: RGBColor = RGBColor(0, 158, 115);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// One line of the plot.
struct Run {
    name: &'static str,
    colour: RGBColor,
    points: Vec<Point>,
}

impl Run {
    fn new(name: &'static str, colour: RGBColor, timeline: &Timeline) -> Self {
        Self { name, colour, points: timeline.points().collect() }
    }
}

/// Writes the plot of all runs to `path`, over what is there.
///
/// # Errors
///
/// [`Error::Plot`] if it cannot be written.
pub(super) fn write(
    path: &Path,
    parameters: &Parameters,
    before: &Timeline,
    after: &Timeline,
    nginx: Option<&Timeline>,
) -> Result<(), Error> {
    let mut runs = vec![
        Run::new("before: naive client", BEFORE, before),
        Run::new("after: Buttress", AFTER, after),
    ];
    runs.extend(nginx.map(|nginx| Run::new("nginx", NGINX, nginx)));
    let svg = svg(parameters, &runs).map_err(|error| Error::Plot(error.to_string()))?;
    fs::write(path, svg)
        .map_err(|error| Error::Plot(format!("{} cannot be written: {error}", path.display())))
}

/// The plot as SVG text.
fn svg(
    parameters: &Parameters,
    runs: &[Run],
) -> Result<String, DrawingAreaErrorKind<std::io::Error>> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        root.fill(&PAPER)?;
        let (heading, body) = root.split_vertically(HEADING);
        draw_heading(&heading, parameters, runs)?;
        draw_chart(&body, parameters, runs)?;
        root.present()?;
    }
    Ok(svg)
}

fn draw_heading(area: &Area<'_>, parameters: &Parameters, runs: &[Run]) -> Drawn {
    let title = "Latency over time: the same calls through a naive client and through Buttress";
    area.draw(&Text::new(title, (24, 16), text(21.0, INK)))?;
    let mut left = 24;
    for &Run { name, colour, .. } in runs {
        area.draw(&Rectangle::new([(left, 52), (left + 26, 66)], colour.mix(0.18).filled()))?;
        area.draw(&PathElement::new([(left, 66), (left + 26, 66)], colour.stroke_width(3)))?;
        area.draw(&Text::new(name, (left + 34, 53), text(16.0, INK)))?;
        left += if name.len() > 10 { 200 } else { 90 };
    }
    let traffic = &parameters.traffic;
    let weather = if parameters.server.busy.is_some() { "busy spells" } else { "calm" };
    let note = format!(
        "line: median, band: up to p99  \u{b7}  {} callers, {weather}, seed {}",
        traffic.callers, parameters.seed
    );
    area.draw(&Text::new(note, (left + 8, 53), text(16.0, FAINT_INK)))
}

fn draw_chart(area: &Area<'_>, parameters: &Parameters, runs: &[Run]) -> Drawn {
    let schedule = &parameters.schedule;
    let end = schedule.total().as_secs_f64();
    let points = runs.iter().flat_map(|run| &run.points);
    let top = points.map(|point| point.p99_s).fold(0.1, f64::max) * 1.08;
    let mut chart = ChartBuilder::on(area)
        .margin_left(12)
        .margin_right(28)
        .margin_bottom(10)
        .x_label_area_size(52)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, 0.0..top)?;

    let warm_up = schedule.warm_up.as_secs_f64();
    if warm_up > 0.0 {
        chart.draw_series([Rectangle::new([(0.0, 0.0), (warm_up, top)], WARM_UP.filled())])?;
    }
    chart
        .configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(PAPER.mix(0.0))
        .axis_style(FAINT_INK)
        .x_desc("time since the start of the run (s)")
        .y_desc("time per call (s)")
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.1}"))
        .label_style(text(16.0, INK))
        .axis_desc_style(text(17.0, INK))
        .draw()?;
    if warm_up > 0.0 {
        let label =
            Text::new("warm-up, not measured", (end * 0.008, top * 0.985), text(14.0, FAINT_INK));
        chart.draw_series([label])?;
    }
    runs.iter().try_for_each(|run| draw_run(&mut chart, &run.points, run.colour))
}

fn draw_run(chart: &mut Chart<'_, '_>, points: &[Point], colour: RGBColor) -> Drawn {
    let median = points.iter().map(|point| (point.at_s, point.p50_s));
    let tail = points.iter().map(|point| (point.at_s, point.p99_s));
    let band: Vec<(f64, f64)> = median.clone().chain(tail.clone().rev()).collect();
    chart.draw_series([Polygon::new(band, colour.mix(0.18).filled())])?;
    chart.draw_series(LineSeries::new(tail, colour.mix(0.55).stroke_width(1)))?;
    chart.draw_series(LineSeries::new(median, colour.stroke_width(3)))?;
    Ok(())
}

fn text(size: f64, colour: RGBColor) -> TextStyle<'static> {
    let top_left = text_anchor::Pos::new(text_anchor::HPos::Left, text_anchor::VPos::Top);
    let mut style = TextStyle::from((FONT, size)).pos(top_left);
    style.color = colour.to_backend_color();
    style
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_plot_names_its_axes_its_units_and_its_runs() {
        let parameters = Parameters::default();
        let mut before = Timeline::new(&parameters.schedule);
        before.record(Duration::from_secs(3), Duration::from_secs(2));
        before.record(Duration::from_secs(4), Duration::from_secs(3));
        let after = Timeline::new(&parameters.schedule);
        let runs = [
            Run::new("before: naive client", BEFORE, &before),
            Run::new("after: Buttress", AFTER, &after),
            Run::new("nginx", NGINX, &after),
        ];
        let svg = svg(&parameters, &runs).unwrap();
        for words in [
            "Latency over time",
            "time since the start of the run (s)",
            "time per call (s)",
            "before: naive client",
            "after: Buttress",
            "nginx",
            "400 callers, calm, seed 0",
            "warm-up, not measured",
        ] {
            assert!(svg.contains(words), "{words} is missing");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
