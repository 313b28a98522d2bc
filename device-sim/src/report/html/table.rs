//! Tables that become cards on a phone.

use super::super::markup::escape;
use super::super::text;

/// A cell.
pub(super) struct Cell {
    class: &'static str,
    html: String,
    is_head: bool,
}

impl Cell {
    const fn new(class: &'static str, html: String) -> Self {
        Self { class, html, is_head: false }
    }

    /// The name of a row.
    pub(super) fn head(text: &str) -> Self {
        Self { is_head: true, ..Self::text(text) }
    }

    pub(super) fn text(text: &str) -> Self {
        Self::new("", escape(text).into_owned())
    }

    pub(super) fn quiet(text: &str) -> Self {
        Self::new("quiet", escape(text).into_owned())
    }

    pub(super) fn number(text: &str) -> Self {
        Self::new("number", escape(text).into_owned())
    }

    /// A count; in red where that is bad.
    pub(super) fn count(count: u64, is_bad: bool) -> Self {
        Self::new(if is_bad { "number bad" } else { "number" }, text::count(count))
    }

    /// Markup, of a class.
    pub(super) const fn html(class: &'static str, html: String) -> Self {
        Self::new(class, html)
    }

    /// What may be long: on a phone it has a line of its own.
    pub(super) fn long(text: &str) -> Self {
        Self::new("long", escape(text).into_owned())
    }
}

/// A table whose cells know the head of their column, for a phone.
pub(super) fn table(heads: &[&str], rows: impl Iterator<Item = Vec<Cell>>) -> String {
    let mut body = String::new();
    let mut classes = vec![""; heads.len()];
    for row in rows {
        body.push_str("<tr>");
        for ((cell, head), column) in row.iter().zip(heads).zip(&mut classes) {
            let Cell { class, html, is_head } = cell;
            if class.starts_with("number") {
                *column = "number";
            }
            body.push_str(&match is_head {
                true => format!("<th scope=\"row\">{html}</th>"),
                false => {
                    format!("<td class=\"{class}\" data-label=\"{head}\"><span>{html}</span></td>")
                }
            });
        }
        body.push_str("</tr>\n");
    }
    let head =
        |(head, class): (&&str, &&str)| format!("<th scope=\"col\" class=\"{class}\">{head}</th>");
    let heads: String = heads.iter().zip(&classes).map(head).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>\n"
    )
}
