//! The run times as a picture: bars of the means by setting, and below them a line for each guest.

use crate::configuration::{Configuration, Engine, Frames};
use crate::grid::{Grid, Mean};
use crate::summary::{WORST, target_of};
use crate::svg::{Anchor, Picture, Type};

const WIDTH: f64 = 960.0;
/// Between labels and what they label, and the right end of it.
const LEFT: f64 = 250.0;
const RIGHT: f64 = 880.0;

const BACKGROUND: &str = "#ffffff";
const INK: &str = "#1f2328";
const GREY: &str = "#656d76";
const FAINT: &str = "#d8dee4";
const STRIPE: &str = "#f6f8fa";
const OURS: &str = "#0969da";
const THEIRS: &str = "#d4762c";
const DARK: &str = "#9a3412";
const RED: &str = "#cf222e";

const SMALL: Type = Type { size: 11.0, fill: GREY, bold: false };
const LABEL: Type = Type { size: 12.5, fill: INK, bold: false };
const BOLD: Type = Type { size: 12.5, fill: INK, bold: true };
const HEADING: Type = Type { size: 15.0, fill: INK, bold: true };
const TITLE: Type = Type { size: 20.0, fill: INK, bold: true };

const fn column(engine: Engine, metering: [bool; 2], frames: Frames) -> Configuration {
    let [fuel, epoch] = metering;
    Configuration { engine, fuel, epoch, frames, inlining: false }
}

/// A pair of bars: ours, and what is nearest to it there.
struct Pair {
    name: &'static str,
    ours: Configuration,
    theirs: Configuration,
}

const fn pair(name: &'static str, metering: [bool; 2], frames: Frames) -> Pair {
    let theirs = if matches!(frames, Frames::Off) { Frames::Off } else { Frames::All };
    Pair {
        name,
        ours: column(Engine::Stillframe, metering, frames),
        theirs: column(Engine::Wasmtime, metering, theirs),
    }
}

const PAIRS: [Pair; 7] = [
    pair("plain", [false, false], Frames::Off),
    pair("fuel", [true, false], Frames::Off),
    pair("epoch", [false, true], Frames::Off),
    pair("fuel + epoch", [true, true], Frames::Off),
    pair("frames: Live", [false, false], Frames::Live),
    pair("frames: All", [false, false], Frames::All),
    pair("fuel + epoch + frames: Live", [true, true], Frames::Live),
];

/// The dots of a guest: what it is, its colour, and whether it is filled.
const DOTS: [(&str, Configuration, &str, bool); 3] = [
    (
        "wasmtime, fuel + epoch + guest_debug",
        column(Engine::Wasmtime, [true, true], Frames::All),
        DARK,
        true,
    ),
    (
        "wasmtime, fuel + epoch, no frames",
        column(Engine::Wasmtime, [true, true], Frames::Off),
        THEIRS,
        false,
    ),
    (
        "Stillframe, fuel + epoch + frames (Live)",
        column(Engine::Stillframe, [true, true], Frames::Live),
        OURS,
        true,
    ),
];

/// The picture of a grid of run times. `told` is a line about how they came about.
pub fn draw(grid: &Grid, told: &str) -> String {
    let mut picture = Picture::new(WIDTH);
    let title = "Run time, compared to wasmtime with its default settings";
    picture.text([24.0, 36.0], Anchor::Start, TITLE, title);
    picture.text([24.0, 56.0], Anchor::Start, SMALL, told);
    let bottom = draw_means(&mut picture, grid, 88.0);
    let bottom = draw_guests(&mut picture, grid, bottom + 44.0);
    picture.finish(bottom + 20.0, BACKGROUND, title)
}

fn mean(grid: &Grid, configuration: Configuration) -> Option<Mean> {
    Some(grid.mean(grid.column(configuration)?))
}

/// Means, as bars from zero; answers where the next thing can begin.
fn draw_means(picture: &mut Picture, grid: &Grid, top: f64) -> f64 {
    const ROW: f64 = 40.0;
    const BAR: f64 = 14.0;
    let heading = format!("Geometric mean of {} guests, by setting", grid.rows.len());
    picture.text([24.0, top], Anchor::Start, HEADING, &heading);
    let entry = top + 24.0;
    picture.rectangle([24.0, entry - 10.0], [12.0, 12.0], OURS);
    picture.text([42.0, entry], Anchor::Start, LABEL, "Stillframe");
    picture.rectangle([129.0, entry - 12.0], [2.5, 16.0], INK);
    picture.text([139.0, entry], Anchor::Start, LABEL, "its target, where it has one");
    picture.rectangle([334.0, entry - 10.0], [12.0, 12.0], THEIRS);
    let theirs = "wasmtime, same setting (frames: guest_debug)";
    picture.text([352.0, entry], Anchor::Start, LABEL, theirs);
    let values = PAIRS.iter().flat_map(|pair| [pair.ours, pair.theirs]);
    let values = values.filter_map(|configuration| mean(grid, configuration)?.value);
    let greatest = values.fold(1.0, f64::max).ceil().max(2.0);
    let x = |value: f64| LEFT + (RIGHT - LEFT) * value / greatest;
    let (first, last) = (top + 50.0, top + 50.0 + ROW * PAIRS.len() as f64);
    for half in 0..=(2.0 * greatest) as u32 {
        let value = f64::from(half) / 2.0;
        let line = if value == 1.0 { (GREY, 1.5) } else { (FAINT, 1.0) };
        picture.line([x(value), first - 8.0], [x(value), last], line, false);
        picture.text([x(value), last + 14.0], Anchor::Middle, SMALL, &format!("{value:.1}"));
    }
    for (at, pair) in PAIRS.iter().enumerate() {
        let y = first + ROW * at as f64;
        picture.text([LEFT - 12.0, y + BAR + 4.0], Anchor::End, LABEL, pair.name);
        let target = target_of(pair.ours);
        for (bar, (configuration, colour)) in
            [(pair.ours, OURS), (pair.theirs, THEIRS)].into_iter().enumerate()
        {
            let y = y + BAR * bar as f64;
            let look = if bar == 0 { BOLD } else { LABEL };
            match mean(grid, configuration) {
                Some(Mean { value: Some(value), failed, .. }) => {
                    picture.rectangle([LEFT, y], [x(value) - LEFT, BAR - 2.0], colour);
                    let mut text = format!("{value:.2}");
                    if failed > 0 {
                        text += &format!(" ({failed} failed)");
                    }
                    // Beside the bar, and beside the mark where that is in the way.
                    let (bar_end, room) = (x(value), 42.0);
                    let mark = target.filter(|_| bar == 0).map_or(0.0, &x);
                    let is_in_the_way = failed > 0 || mark < bar_end + room;
                    let at = if is_in_the_way { bar_end.max(mark) } else { bar_end };
                    let at = [at + 6.0, y + 10.5];
                    picture.text(at, Anchor::Start, look, &text);
                }
                Some(Mean { failed, .. }) if failed > 0 => {
                    picture.text([LEFT + 6.0, y + 10.5], Anchor::Start, failed_look(), "failed");
                }
                _ => picture.text([LEFT + 6.0, y + 10.5], Anchor::Start, SMALL, "not measured"),
            }
        }
        if let Some(target) = target {
            picture.rectangle([x(target) - 1.2, y - 2.5], [2.5, BAR + 2.0], INK);
        }
    }
    let axis = "× wasmtime's default (less is faster)";
    picture.text([(LEFT + RIGHT) / 2.0, last + 32.0], Anchor::Middle, SMALL, axis);
    last + 32.0
}

fn failed_look() -> Type {
    Type { fill: RED, ..SMALL }
}

/// A line for each guest, with dots on a logarithmic axis; answers where the next thing can begin.
fn draw_guests(picture: &mut Picture, grid: &Grid, top: f64) -> f64 {
    const ROW: f64 = 21.0;
    picture.text([24.0, top], Anchor::Start, HEADING, "Each guest, with fuel and epochs");
    for (&(name, _, colour, filled), x) in DOTS.iter().rev().zip([24.0, 334.0, 604.0]) {
        let fill = if filled { colour } else { BACKGROUND };
        picture.dot([x + 6.0, top + 20.0], 5.0, fill, colour);
        picture.text([x + 18.0, top + 24.5], Anchor::Start, LABEL, name);
    }
    let columns = DOTS.map(|(_, configuration, ..)| grid.column(configuration));
    let values = grid.rows.iter().flat_map(|row| {
        columns.iter().flatten().filter_map(move |&column| grid.value(row, column))
    });
    let (least, greatest) =
        values.fold((0.7, 2.0), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
    // On the left there is a number beside the dot.
    let (low, high) = ((least / 1.25).ln(), (greatest * 1.15).ln());
    let x = |value: f64| LEFT + (RIGHT - LEFT) * (value.ln() - low) / (high - low);
    let first = top + 58.0;
    let last = first + ROW * (grid.rows.len() + 1) as f64;
    let y = |at: usize| first + ROW * at as f64;
    for at in (0..=grid.rows.len()).step_by(2) {
        picture.rectangle([24.0, y(at)], [WIDTH - 48.0, ROW], STRIPE);
    }
    let ticks: [f64; 16] =
        [0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0];
    for tick in ticks.into_iter().filter(|tick| (low..=high).contains(&tick.ln())) {
        let line = if tick == 1.0 { (GREY, 1.5) } else { (FAINT, 1.0) };
        let line = if tick == WORST { (OURS, 1.0) } else { line };
        picture.line([x(tick), first - 4.0], [x(tick), last], line, tick == WORST);
        picture.text([x(tick), last + 14.0], Anchor::Middle, SMALL, &format!("{tick}"));
    }
    let at_most = Type { fill: OURS, ..SMALL };
    picture.text([x(WORST) + 4.0, first - 6.0], Anchor::Start, at_most, "none slower: the target");
    let means = columns.map(|column| column.and_then(|column| grid.mean(column).value));
    picture.text([LEFT - 12.0, y(0) + 15.0], Anchor::End, BOLD, "geometric mean");
    draw_dots(picture, means, x, (y(0) + ROW / 2.0, STRIPE), 6.0);
    for (at, row) in grid.rows.iter().enumerate() {
        let middle = y(at + 1) + ROW / 2.0;
        picture.text([LEFT - 12.0, middle + 4.5], Anchor::End, LABEL, &row.name);
        picture.text([32.0, middle + 4.0], Anchor::Start, SMALL, row.group);
        let values = columns.map(|column| column.and_then(|column| grid.value(row, column)));
        let background = if at % 2 == 1 { STRIPE } else { BACKGROUND };
        draw_dots(picture, values, x, (middle, background), 4.5);
        let failed = columns.iter().flatten().filter(|&&column| row.cells[column].is_failed());
        let text = match failed.count() {
            0 => continue,
            1 => "1 failed".into(),
            count => format!("{count} failed"),
        };
        picture.text([WIDTH - 30.0, middle + 4.0], Anchor::End, failed_look(), &text);
    }
    let axis = "× wasmtime's default on the same guest (less is faster; logarithmic)";
    picture.text([(LEFT + RIGHT) / 2.0, last + 32.0], Anchor::Middle, SMALL, axis);
    last + 32.0
}

/// The dots of one line, what lies between them, and the number of the last one, which is ours.
fn draw_dots(
    picture: &mut Picture,
    values: [Option<f64>; DOTS.len()],
    x: impl Fn(f64) -> f64,
    (y, background): (f64, &str),
    radius: f64,
) {
    let known: Vec<_> = values.iter().flatten().copied().map(&x).collect();
    let ends = known
        .iter()
        .copied()
        .fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    if known.len() > 1 {
        picture.line([ends.0, y], [ends.1, y], (FAINT, 2.0), false);
    }
    for (value, (_, _, colour, filled)) in values.iter().zip(DOTS) {
        if let Some(value) = value {
            let fill = if filled { colour } else { BACKGROUND };
            picture.dot([x(*value), y], radius, fill, colour);
        }
    }
    // Beside the dots, where nothing else is: the nearest side, so that it is clear whose it is.
    if let Some(ours) = values[DOTS.len() - 1] {
        let look = Type { size: 11.0, fill: OURS, bold: radius > 5.0 };
        let is_last = known.len() > 1 && x(ours) == ends.1;
        let (at, anchor) = match is_last {
            true => (ends.1 + radius + 5.0, Anchor::Start),
            false => (ends.0 - radius - 5.0, Anchor::End),
        };
        let corner = if is_last { at - 1.0 } else { at - 26.0 };
        // Lines of the axis would go through the number.
        picture.rectangle([corner, y - 6.0], [27.0, 12.0], background);
        picture.text([at, y + 4.0], anchor, look, &format!("{ours:.2}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Cell;
    use crate::grid::{Quantity, Row};
    use quick_xml::events::Event;

    /// The elements' names and the texts, if the whole is XML with one element around it.
    fn parsed(svg: &str) -> (Vec<String>, Vec<String>) {
        let mut reader = quick_xml::Reader::from_str(svg);
        let (mut names, mut texts, mut depth) = (Vec::new(), Vec::new(), 0);
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(start) => {
                    assert!(depth > 0 || names.is_empty(), "a second root");
                    names.push(String::from_utf8(start.name().as_ref().to_vec()).unwrap());
                    start.attributes().for_each(|attribute| drop(attribute.expect("an attribute")));
                    depth += 1;
                }
                Event::Empty(empty) => {
                    assert!(depth > 0);
                    names.push(String::from_utf8(empty.name().as_ref().to_vec()).unwrap());
                    for attribute in empty.attributes() {
                        let value = attribute.expect("an attribute").value.to_vec();
                        let value = String::from_utf8(value).unwrap();
                        assert!(!value.contains("NaN") && !value.contains("inf"), "{value}");
                    }
                }
                Event::Text(text) => texts.push(text.decode().unwrap().into_owned()),
                Event::End(_) => depth -= 1,
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(depth, 0);
        (names, texts)
    }

    fn grid(rows: &[(&str, [Cell; 18])]) -> Grid {
        let rows = rows.iter().map(|(name, cells)| Row {
            name: name.to_string(),
            group: "calls",
            cells: cells.to_vec(),
        });
        let columns = Configuration::ALL.to_vec();
        Grid { quantity: Quantity::Run, columns, rows: rows.collect() }
    }

    fn cells(factor: f64) -> [Cell; 18] {
        std::array::from_fn(|at| Cell::Samples(vec![1.0 + factor * at as f64]))
    }

    #[test]
    fn the_picture_is_xml_with_a_dot_for_each_number_and_odd_names_stay_text() {
        let rows = [("fib", cells(0.1)), ("<a&b>", cells(0.2))];
        let (names, texts) = parsed(&draw(&grid(&rows), "two rounds & more"));
        assert_eq!(names[0], "svg");
        let dots = names.iter().filter(|name| *name == "circle").count();
        assert_eq!(dots, 3 + 3 + 2 * 3, "legend, means, and two guests");
        assert!(texts.iter().any(|text| text == "fib"));
        // In parts, since each escaped character is an event of its own.
        assert!(texts.iter().any(|text| text == "a"), "{texts:?}");
    }

    #[test]
    fn failed_guests_stay_in_the_picture_and_are_told() {
        let mut one = cells(0.1);
        one[13] = Cell::Failed("trap".into());
        let (_, texts) = parsed(&draw(&grid(&[("fib", one), ("good", cells(0.1))]), ""));
        assert!(texts.iter().any(|text| text == "1 failed"));
        assert!(texts.iter().any(|text| text.ends_with("(1 failed)")));
        let all = std::array::from_fn(|_| Cell::Failed("trap".into()));
        let (_, texts) = parsed(&draw(&grid(&[("fib", all)]), ""));
        assert!(texts.iter().any(|text| text == "3 failed"));
    }

    #[test]
    fn a_picture_of_nothing_is_a_picture() {
        let mut empty = grid(&[]);
        parsed(&draw(&empty, ""));
        empty.columns.truncate(1);
        let (_, texts) = parsed(&draw(&empty, ""));
        assert!(texts.iter().any(|text| text == "not measured"));
    }
}
