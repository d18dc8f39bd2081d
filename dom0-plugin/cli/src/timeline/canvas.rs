//! Shapes and text, from the top down.

use std::fmt::Write as _;

/// Width of the drawing, in pixels.
pub const WIDTH: f64 = 960.0;
/// From here to [`RIGHT`] things are to scale; the names of lanes are left of it.
pub const LEFT: f64 = 150.0;
/// See [`LEFT`].
pub const RIGHT: f64 = WIDTH - 30.0;
/// Letters.
pub const TEXT: &str = "#222222";
/// Letters that matter less.
pub const FAINT: &str = "#666666";
/// Lines behind it all.
pub const GRID: &str = "#dddddd";

/// What has been drawn so far.
#[derive(Debug, Default)]
pub struct Canvas {
    body: String,
    height: f64,
}

/// A corner and a size, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Canvas {
    /// Room below what there is; where it begins.
    pub fn take(&mut self, height: f64) -> f64 {
        let top = self.height;
        self.height += height;
        top
    }

    /// One line of text; `y` is its base line.
    pub fn text(&mut self, x: f64, y: f64, size: f64, colour: &str, text: &str) {
        self.anchored("start", x, y, size, colour, text);
    }

    /// Text that ends at `x`.
    pub fn text_to(&mut self, x: f64, y: f64, size: f64, colour: &str, text: &str) {
        self.anchored("end", x, y, size, colour, text);
    }

    fn anchored(&mut self, anchor: &str, x: f64, y: f64, size: f64, colour: &str, text: &str) {
        let text = escaped(text);
        let _ = writeln!(
            self.body,
            r#"<text x="{x:.1}" y="{y:.1}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{text}</text>"#
        );
    }

    /// A filled rectangle that tells `about` when pointed at. One of no width is a line: what happened is seen.
    pub fn rect(&mut self, rect: Rect, colour: &str, about: &str) {
        let Rect { x, y, height, .. } = rect;
        let (width, about) = (rect.width.max(1.0), escaped(about));
        let _ = writeln!(
            self.body,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{colour}"><title>{about}</title></rect>"#
        );
    }

    /// A line through `points`.
    pub fn line(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let points: Vec<String> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let points = points.join(" ");
        let _ = writeln!(
            self.body,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>"#
        );
    }

    /// The file.
    pub fn finish(self) -> String {
        let (body, height) = (self.body, self.height + 20.0);
        format!(
            concat!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" "#,
                r#"viewBox="0 0 {width} {height}" font-family="sans-serif">"#,
                "\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
            ),
            width = WIDTH,
            height = height,
            body = body,
        )
    }
}

/// Text as XML has it: what comes from a guest must not become markup.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // XML has no way to write these.
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
