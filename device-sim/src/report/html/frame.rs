//! What plots have in common: a width, a view, coordinates.

/// A drawing, once for a screen and once for a phone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    class: &'static str,
    /// In pixels of the size at which it is read.
    pub(super) width: f64,
}

/// Both.
pub(super) const FRAMES: [Frame; 2] =
    [Frame { class: "wide", width: 960.0 }, Frame { class: "narrow", width: 360.0 }];

impl Frame {
    /// Whether it is the one for a phone.
    pub(super) const fn is_narrow(self) -> bool {
        self.width < 600.0
    }

    /// The drawing.
    pub(super) fn svg(self, height: f64, label: &str, attributes: &str, content: &str) -> String {
        let Self { class, width } = self;
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{label}\"{attributes}>\n{content}</svg>\n"
        )
    }
}

/// Where a text is, seen from its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A text; it is markup.
pub(super) fn text(class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) -> String {
    let anchor = match anchor {
        Anchor::Start => "start",
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    format!(
        "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"
    )
}

/// A line.
pub(super) fn line(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> String {
    format!(
        "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
    )
}
