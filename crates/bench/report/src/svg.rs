//! Shapes of an SVG picture, as text. Numbers are rounded to a tenth of a pixel.

use std::fmt::Write as _;

/// A picture that grows.
pub struct Picture {
    width: f64,
    body: String,
}

/// Where a text ends up beside its point.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Anchor {
    /// To the right of it.
    Start,
    /// Above it.
    Middle,
    /// To the left of it.
    End,
}

/// How a text looks: size in pixels, colour, and whether it is bold.
#[derive(Clone, Copy, Debug)]
pub struct Type {
    /// In pixels.
    pub size: f64,
    /// The colour.
    pub fill: &'static str,
    /// Whether it is bold.
    pub bold: bool,
}

impl Picture {
    /// An empty picture of this width.
    pub fn new(width: f64) -> Picture {
        Picture { width, body: String::new() }
    }

    /// A box.
    pub fn rectangle(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str) {
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"/>"#
        );
    }

    /// A line, dashed or not.
    pub fn line(&mut self, from: [f64; 2], to: [f64; 2], (colour, width): (&str, f64), dash: bool) {
        let dash = if dash { r#" stroke-dasharray="4 3""# } else { "" };
        let _ = writeln!(
            self.body,
            r#"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="{colour}" stroke-width="{width}"{dash}/>"#,
            from[0], from[1], to[0], to[1],
        );
    }

    /// A dot with a border; `fill` may be the background's colour.
    pub fn dot(&mut self, [x, y]: [f64; 2], radius: f64, fill: &str, border: &str) {
        let _ = writeln!(
            self.body,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" fill="{fill}" stroke="{border}" stroke-width="1.8"/>"#
        );
    }

    /// A text; its baseline is at the point.
    pub fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, look: Type, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if look.bold { r#" font-weight="600""# } else { "" };
        let (size, fill, text) = (look.size, look.fill, escaped(text));
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{weight}>{text}</text>"#
        );
    }

    /// The whole file: as high as `height`, on a background, so that it can be read in viewers that
    /// are dark by themselves. `title` is for those who cannot see it.
    pub fn finish(self, height: f64, background: &str, title: &str) -> String {
        let Picture { width, body } = self;
        let title = escaped(title);
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}" viewBox="0 0 {width:.0} {height:.0}" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" role="img">
<title>{title}</title>
<rect width="100%" height="100%" fill="{background}"/>
{body}</svg>
"#
        )
    }
}

/// Text as XML has it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c => escaped.push(c),
        }
    }
    escaped
}
