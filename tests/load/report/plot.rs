//! Time plots as SVG, drawn here: axes with units, a grid, a legend, and nothing that has to be loaded.

use std::fmt::Write as _;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Points of a line at most: about one for each dot of a screen.
const POINTS_MAX: usize = 700;
/// Ticks of values, and of time, about.
const TICKS: f64 = 5.0;
const TIME_TICKS: f64 = 8.0;

/// What stands for the seconds that share a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    Mean,
    Max,
}

/// One line.
#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub several: Several,
    /// Seconds and values; a gap where there is none.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A plot of lines over time.
#[derive(Clone, Debug)]
pub struct Plot {
    pub title: &'static str,
    pub unit: &'static str,
    pub note: String,
    /// Powers of ten are equally far apart.
    pub logarithmic: bool,
    pub series: Vec<Series>,
}

/// A part of the time that is shaded, with what it is.
#[derive(Clone, Copy, Debug)]
pub struct Shade {
    pub from: f64,
    pub to: f64,
    pub name: &'static str,
}

/// A number for people: 1,234 or 12 or 0.25.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 1.0 => 2,
        small if small < 10.0 && small.fract() != 0.0 => 1,
        _ => 0,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |rest| ("-", rest));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let dot = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{grouped}{dot}{fraction}")
}

/// The first of 1, 2, 5, 10, 20 … that is at least so much.
fn nice(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-9).log10().floor());
    let parts = [1.0, 2.0, 5.0, 10.0];
    parts.into_iter().map(|part| part * power).find(|nice| *nice >= step * 0.999).unwrap_or(10.0 * power)
}

/// Joins points so that no more than [`POINTS_MAX`] are left.
fn thinned(series: &Series) -> Vec<(f64, Option<f64>)> {
    let each = series.points.len().div_ceil(POINTS_MAX).max(1);
    let joined = |points: &[(f64, Option<f64>)]| {
        let values: Vec<f64> = points.iter().filter_map(|point| point.1).collect();
        let value = match series.several {
            _ if values.is_empty() => None,
            Several::Mean => Some(values.iter().sum::<f64>() / values.len() as f64),
            Several::Max => Some(values.iter().copied().fold(f64::MIN, f64::max)),
        };
        (points[points.len() / 2].0, value)
    };
    series.points.chunks(each).map(joined).collect()
}

/// A direction of a plot.
struct Axis {
    from: f64,
    to: f64,
    logarithmic: bool,
}

impl Axis {
    /// Where a value is, from 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let of = |value: f64| if self.logarithmic { value.max(self.from).log10() } else { value };
        (of(value) - of(self.from)) / (of(self.to) - of(self.from))
    }

    fn ticks(&self, about: f64) -> Vec<f64> {
        if self.logarithmic {
            let mut ticks = vec![self.from];
            while let Some(last) = ticks.last().copied().filter(|last| *last < self.to * 0.99) {
                ticks.push(last * 10.0);
            }
            return ticks;
        }
        let step = nice((self.to - self.from) / about);
        let first = (self.from / step).ceil() as i64;
        let ticks = (first..).map(|at| at as f64 * step);
        ticks.take_while(|tick| *tick <= self.to + step * 0.001).collect()
    }
}

/// Seconds, minutes or hours: what one is, and its name.
fn time_unit(seconds: f64) -> (f64, &'static str) {
    match seconds {
        short if short <= 300.0 => (1.0, "s"),
        middle if middle <= 3.0 * 3600.0 => (60.0, "min"),
        _ => (3600.0, "h"),
    }
}

impl Plot {
    fn values(&self) -> Axis {
        let values = || self.series.iter().flat_map(thinned).filter_map(|point| point.1);
        let max = values().fold(0.0, f64::max);
        if !self.logarithmic {
            let step = nice((max / TICKS).max(1e-3));
            return Axis { from: 0.0, to: (max / step).ceil().max(1.0) * step, logarithmic: false };
        }
        let min = values().filter(|value| *value > 0.0).fold(f64::MAX, f64::min).min(1.0);
        let power = |value: f64, round: fn(f64) -> f64| 10_f64.powf(round(value.max(1e-3).log10()));
        let (from, to) = (power(min, f64::floor), power(max.max(1.0), f64::ceil));
        Axis { from, to: to.max(from * 10.0), logarithmic: true }
    }

    /// The plot as a figure.
    pub fn figure(&self, seconds: f64, shades: &[Shade]) -> String {
        let (x, y) = (Axis { from: 0.0, to: seconds, logarithmic: false }, self.values());
        let across = |at: f64| LEFT + x.place(at).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
        let up = |value: f64| HEIGHT - BOTTOM - y.place(value).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM);
        let mut out = String::new();
        let (title, unit) = (self.title, self.unit);
        let _ = write!(out, "<figure><figcaption><b>{title}</b> <span class=unit>{unit}</span>");
        self.push_legend(&mut out);
        let _ = write!(
            out,
            "</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-label=\"{title}, {unit}\">"
        );
        for shade in shades {
            let (from, to) = (across(shade.from), across(shade.to));
            let _ = write!(
                out,
                "<rect class=shade x={from:.1} y={TOP} width={:.1} height={:.1} />",
                to - from,
                HEIGHT - TOP - BOTTOM
            );
            if to - from > 50.0 {
                let _ = write!(
                    out,
                    "<text class=note x={:.1} y={:.1}>{}</text>",
                    from + 4.0,
                    TOP + 11.0,
                    shade.name
                );
            }
        }
        push_axes(&mut out, &x, &y, &across, &up);
        for (number, series) in self.series.iter().enumerate() {
            push_line(&mut out, number, series, &across, &up);
        }
        out.push_str("</svg>");
        if !self.note.is_empty() {
            let _ = write!(out, "<p class=note>{}</p>", self.note);
        }
        out.push_str("</figure>\n");
        out
    }

    fn push_legend(&self, out: &mut String) {
        out.push_str("<span class=legend>");
        for (number, series) in self.series.iter().enumerate() {
            let _ = write!(out, "<span><i class=\"c{}\"></i>{}</span>", number % 8, series.name);
        }
        out.push_str("</span>");
    }
}

fn push_axes(out: &mut String, x: &Axis, y: &Axis, across: &impl Fn(f64) -> f64, up: &impl Fn(f64) -> f64) {
    for tick in y.ticks(TICKS) {
        let at = up(tick);
        let _ = write!(
            out,
            "<path class=grid d=\"M{LEFT} {at:.1}H{:.1}\"/><text class=y x={:.1} y={:.1}>{}</text>",
            WIDTH - RIGHT,
            LEFT - 7.0,
            at + 4.0,
            number(tick)
        );
    }
    let (unit, name) = time_unit(x.to);
    let bottom = HEIGHT - BOTTOM;
    for tick in (Axis { from: 0.0, to: x.to / unit, logarithmic: false }).ticks(TIME_TICKS) {
        let at = across(tick * unit);
        // The last tick makes room for the unit.
        let shown = if at > WIDTH - RIGHT - 60.0 { String::new() } else { number(tick) };
        let _ = write!(
            out,
            "<path class=grid d=\"M{at:.1} {TOP}V{:.1}\"/><text class=x x={at:.1} y={:.1}>{shown}</text>",
            bottom + 4.0,
            bottom + 18.0
        );
    }
    let _ = write!(out, "<path class=axis d=\"M{LEFT} {TOP}V{bottom}H{:.1}\"/>", WIDTH - RIGHT);
    let _ = write!(out, "<text class=y x={:.1} y={:.1}>time, {name}</text>", WIDTH - RIGHT, bottom + 18.0);
}

fn push_line(
    out: &mut String,
    number: usize,
    series: &Series,
    across: &impl Fn(f64) -> f64,
    up: &impl Fn(f64) -> f64,
) {
    let mut path = String::new();
    let mut pen = 'M';
    for (at, value) in thinned(series) {
        match value {
            Some(value) => {
                let _ = write!(path, "{pen}{:.1} {:.1}", across(at), up(value));
                pen = 'L';
            }
            None => pen = 'M',
        }
    }
    let _ = write!(out, "<path class=\"line c{}\" d=\"{path}\"/>", number % 8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_for_people() {
        for (value, text) in
            [(0.0, "0"), (0.25, "0.25"), (2.5, "2.5"), (5.0, "5"), (12345.0, "12,345"), (-1234.0, "-1,234")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn ticks_are_round_and_cover_the_axis() {
        let linear = Axis { from: 0.0, to: 60.0, logarithmic: false };
        assert_eq!(linear.ticks(5.0), [0.0, 20.0, 40.0, 60.0]);
        let logarithmic = Axis { from: 0.1, to: 100.0, logarithmic: true };
        assert_eq!(logarithmic.ticks(5.0).len(), 4);
        assert!((logarithmic.place(10.0) - 2.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_long_run_has_no_more_points_than_a_screen_and_keeps_its_peaks() {
        let points: Vec<_> = (0..28_800).map(|at| (f64::from(at), Some(f64::from(at % 1000)))).collect();
        let series = Series { name: "a".to_owned(), several: Several::Max, points };
        let thin = thinned(&series);
        assert!(thin.len() <= POINTS_MAX);
        assert_eq!(thin.iter().filter_map(|point| point.1).fold(0.0, f64::max), 999.0);
    }

    #[test]
    fn a_plot_without_a_point_is_still_a_plot() {
        let series = Series { name: "a".to_owned(), several: Several::Mean, points: Vec::new() };
        for logarithmic in [false, true] {
            let plot = Plot {
                title: "t",
                unit: "u",
                note: String::new(),
                logarithmic,
                series: vec![series.clone()],
            };
            let figure = plot.figure(0.0, &[]);
            assert!(figure.contains("</svg>") && !figure.contains("inf"), "{figure}");
        }
    }
}
