//! Mistakes in the grammar of TOML, in words for people.
//!
//! The parser goes on after a mistake, so that one run tells them all, with two exceptions. A key
//! without a value ends it: that line is blanked and the rest read again. A bracket that never is
//! closed makes everything after it look wrong: there, the bracket is the mistake.

use std::ops::Range;

use toml::de::DeTable;

/// The most lines that are blanked; a file of another kind has them everywhere.
const MAX_BLANKED: usize = 20;
/// What the parser says about a line that ends it.
const ENDS_PARSER: &str = "key with no value";

/// A mistake in a file.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where.
    pub span: Range<usize>,
    /// What.
    pub title: String,
    /// What was expected; what follows a line feed is help.
    pub expected: String,
    /// Whether nothing after it can be trusted.
    pub hides_rest: bool,
}

/// What is wrong with `text`, and the text with what ends the parser blanked: every byte that is
/// left is where it was.
pub fn mistakes(text: &str) -> (Vec<Mistake>, String) {
    let mut readable = text.to_owned();
    let mut told = Vec::new();
    for _ in 0..MAX_BLANKED {
        let (_, errors) = DeTable::parse_recoverable(&readable);
        let end = errors.iter().find(|error| error.message().starts_with(ENDS_PARSER));
        let blanked =
            end.and_then(|end| Some((end.clone(), blank_line(&readable, end.span()?.start)?)));
        let Some((end, blanked)) = blanked else {
            told.extend(errors);
            break;
        };
        told.push(end);
        readable = blanked;
    }
    told.sort_by_key(|error| error.span().map_or(0, |span| span.start));
    (describe_all(&told, text), readable)
}

/// `text` with spaces instead of the line at `at`; `None` where it already is blank.
fn blank_line(text: &str, at: usize) -> Option<String> {
    let (before, after) = text.split_at_checked(at)?;
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let end = after.find('\n').map_or(text.len(), |end| at + end);
    let line = text.get(start..end).filter(|line| !line.trim().is_empty())?;
    Some([text.get(..start)?, &" ".repeat(line.len()), text.get(end..)?].concat())
}

fn describe_all(errors: &[toml::de::Error], text: &str) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for error in errors {
        let mistake = unclosed(error, text).unwrap_or_else(|| describe(error, text));
        let hides_rest = mistake.hides_rest;
        mistakes.push(mistake);
        if hides_rest {
            break;
        }
    }
    mistakes
}

/// The bracket that is open at `error`, if what follows shows that it should have been closed.
fn unclosed(error: &toml::de::Error, text: &str) -> Option<Mistake> {
    let at = error.span()?.start;
    let (opened, bracket) = *open_brackets(text.get(..at)?).last()?;
    let line_end = text.get(opened..)?.find('\n').map_or(text.len(), |end| opened + end);
    if at <= line_end {
        return None;
    }
    let depth = open_brackets(text.get(..opened)?).len();
    let is_header = |line: &str| line.starts_with('[');
    // Closed before the next table starts: the mistake is inside of it.
    let mut end = line_end;
    for line in text.get(line_end..)?.split_inclusive('\n') {
        end += line.len();
        if is_header(line) {
            break;
        }
        if open_brackets(text.get(..end)?).len() <= depth {
            return None;
        }
    }
    let (what, close) = match bracket {
        '{' => ("unclosed inline table", '}'),
        _ => ("unclosed array", ']'),
    };
    Some(Mistake {
        span: opened..opened + 1,
        title: what.to_owned(),
        expected: format!("expected `{close}` after what it holds"),
        hides_rest: true,
    })
}

/// The brackets of values that are open at the end of `text`: their bytes and what they are.
fn open_brackets(text: &str) -> Vec<(usize, char)> {
    let mut open = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        // The brackets of a header are none of a value.
        if open.is_empty() && line.trim_start().starts_with('[') {
            start += line.len();
            continue;
        }
        let mut quote = None;
        let mut escaped = false;
        for (at, c) in line.char_indices() {
            match (quote, c) {
                (Some('"'), '\\') => {
                    escaped = !escaped;
                    continue;
                }
                (Some(end), c) if c == end && !escaped => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '#') => break,
                (None, '{' | '[') => open.push((start + at, c)),
                (None, '}' | ']') => drop(open.pop()),
                (None, _) => {}
            }
            escaped = false;
        }
        start += line.len();
    }
    open
}

fn describe(error: &toml::de::Error, text: &str) -> Mistake {
    let span = error.span().unwrap_or_default();
    let is_empty = text.get(span.clone()).is_none_or(|text| text.trim().is_empty());
    let (what, wanted) = match error.message().split_once(", expected ") {
        Some((what, wanted)) => (what, format!("expected {wanted}")),
        None => (error.message(), String::new()),
    };
    let wants_quote = ["expected `\"`", "expected `'`"].contains(&wanted.as_str());
    let (title, expected) = match what {
        "duplicate key" => {
            (what, "expected each key and each [table] once in a file\nremove one of the two")
        }
        "string values must be quoted" if is_empty => {
            ("missing value", "expected a value after `=`")
        }
        "string values must be quoted" => {
            ("text without quotes", "expected text in quotes, a number, true or false")
        }
        "invalid basic string" | "invalid literal string" if wants_quote => {
            ("text without its closing quote", wanted.as_str())
        }
        "invalid multi-line basic string" | "invalid multi-line literal string" if wants_quote => {
            ("text without its three closing quotes", wanted.as_str())
        }
        what => (what, wanted.as_str()),
    };
    Mistake { span, title: title.to_owned(), expected: expected.to_owned(), hides_rest: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(text: &str) -> Vec<(String, usize)> {
        let line = |span: &Range<usize>| text[..span.start].matches('\n').count() + 1;
        mistakes(text).0.into_iter().map(|m| (m.title, line(&m.span))).collect()
    }

    #[test]
    fn an_unclosed_bracket_is_the_one_mistake() {
        let expected = [("unclosed inline table".to_owned(), 1)];
        assert_eq!(titles("a = { b = 1\nc = 2\n[d]\ne = 3\n"), expected);
        let expected = [("unclosed array".to_owned(), 2)];
        assert_eq!(titles("[x]\na = [\"[\", 1\nc = 2\n[d]\ne = 3\n"), expected);
    }

    #[test]
    fn a_mistake_inside_of_closed_brackets_is_told_where_it_is() {
        let expected = [("missing comma between key-value pairs".to_owned(), 3)];
        assert_eq!(titles("a = {\n  b = 1\n  c = 2\n}\n[d]\ne = 3\n"), expected);
    }

    #[test]
    fn each_other_mistake_is_told() {
        let expected = [("missing value".to_owned(), 1), ("text without quotes".to_owned(), 2)];
        assert_eq!(titles("a =\nb = c\n"), expected);
        let expected = [ENDS_PARSER, "missing value", ENDS_PARSER].map(str::to_owned);
        let expected: Vec<_> = expected.into_iter().zip(1..).collect();
        assert_eq!(titles("a\nb =\nc 5\nd = 1\n"), expected);
    }
}
