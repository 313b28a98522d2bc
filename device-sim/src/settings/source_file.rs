//! The text of a configuration file as messages may show it.
//!
//! A line that holds a secret never is shown. Two rules find it, because the second also works where
//! the file cannot be parsed: the spans of values that the schema calls secret, and words in the
//! line or in one that it continues. Hiding a harmless line costs a snippet; showing a secret one
//! cannot be undone.

use std::fmt;
use std::ops::Range;

/// Words that make a line one to hide.
const WORDS: [&str; 6] = ["pass", "secret", "token", "credential", "apikey", "api_key"];

/// A configuration file that was read.
#[derive(Clone)]
pub struct SourceFile {
    name: String,
    text: String,
    /// Spans of values that never are to be shown.
    secrets: Vec<Range<usize>>,
}

/// Lines of a file, ready to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The number of the first line.
    pub first_line: usize,
    /// The lines.
    pub text: String,
    /// Where in `text` the span is.
    pub span: Range<usize>,
    /// Where in `text` the line of context is.
    pub context: Option<Range<usize>>,
}

impl SourceFile {
    /// The file `name` with the spans of its secrets.
    pub fn new(name: String, text: String, secrets: Vec<Range<usize>>) -> Self {
        Self { name, text, secrets }
    }

    /// The name that the operator gave it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The line and column of a byte, both from 1; columns count characters.
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..self.floor(offset)).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        (line, before.get(line_start..).unwrap_or_default().chars().count() + 1)
    }

    /// The line of `span`, or with `cut` its part up to the end of `span`, and the lines between it
    /// and that of `context`, a byte before it; `None` where that would show a secret.
    pub fn excerpt(
        &self,
        span: &Range<usize>,
        context: Option<usize>,
        cut: bool,
    ) -> Option<Excerpt> {
        let mut marked = self.line(span.start);
        if cut {
            marked.end = self.floor(span.end).clamp(marked.start, marked.end);
        }
        if self.is_secret(&marked) {
            return None;
        }
        let context =
            context.map(|offset| self.line(offset)).filter(|line| line.end <= marked.start);
        let mut text = String::new();
        let mut shown_context = None;
        let mut at = context.as_ref().map_or(marked.start, |line| line.start);
        let first_line = self.position(at).0;
        while at < marked.start {
            let line = self.line(at);
            let start = text.len();
            // Only the header is shown: a line between can be a misspelt secret.
            match shown_context.is_some() || self.is_secret(&line) {
                true => text.push('…'),
                false => text.push_str(self.text.get(line.clone()).unwrap_or_default()),
            }
            shown_context.get_or_insert(start..text.len());
            text.push('\n');
            at = line.end + 1;
        }
        let offset = text.len();
        text.push_str(self.text.get(marked.clone()).unwrap_or_default());
        if cut {
            text.push_str(" …");
        }
        let start = self.floor(span.start).clamp(marked.start, marked.end) - marked.start + offset;
        let end = self.floor(span.end).clamp(marked.start, marked.end) - marked.start + offset;
        Some(Excerpt { first_line, text, span: start..end.max(start), context: shown_context })
    }

    /// The line that holds the byte at `offset`, without its line feed.
    fn line(&self, offset: usize) -> Range<usize> {
        let offset = self.floor(offset);
        let (before, after) = self.text.split_at_checked(offset).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        let end = after.find('\n').map_or(self.text.len(), |at| offset + at);
        start..end
    }

    /// The start of the character at `offset`.
    fn floor(&self, offset: usize) -> usize {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        offset
    }

    fn is_secret(&self, line: &Range<usize>) -> bool {
        let text = self.text.get(line.clone()).unwrap_or_default();
        let spanned = self
            .secrets
            .iter()
            .any(|secret| secret.start < line.end.max(line.start + 1) && line.start < secret.end);
        spanned || sounds_secret(text) || self.continues_secret(line)
    }

    /// Whether a line can be a part of a secret that was begun before it: its key stands alone in
    /// the line above, or starts a text of several lines, which may never end.
    fn continues_secret(&self, line: &Range<usize>) -> bool {
        let before = self.text.get(..line.start).unwrap_or_default();
        let opens = |line: &str| line.contains("\"\"\"") || line.contains("'''");
        let above = before.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
        let goes_on = above.trim_end().ends_with(['=', '[', '{', ',']);
        (goes_on && sounds_secret(above))
            || before.lines().any(|line| opens(line) && sounds_secret(line))
    }
}

/// Shows the name alone.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whether a text looks as if it held a secret. The name of a file that holds one is none.
pub fn sounds_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase().replace("password_file", "").replace("token_file", "");
    WORDS.iter().any(|word| text.contains(word)) || has_user_info(&text)
}

/// Whether a text holds an address with a user name and password: `mqtt://user:password@host`.
pub fn has_user_info(text: &str) -> bool {
    text.split("://").skip(1).any(|rest| rest.contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> SourceFile {
        SourceFile::new("a.toml".to_owned(), text.to_owned(), Vec::new())
    }

    #[test]
    fn positions_count_characters_from_one() {
        let file = file("a = 1\nü = 2\n");
        assert_eq!(file.position(0), (1, 1));
        assert_eq!(file.position(6), (2, 1));
        assert_eq!(file.position(8), (2, 2));
        assert_eq!(file.position(999), (3, 1));
    }

    #[test]
    fn an_excerpt_has_the_line_and_its_context() {
        let file = file("[a]\nb = 1\nc = 2\nd = 3\n");
        let excerpt = file.excerpt(&(14..15), Some(1), false).unwrap();
        assert_eq!(excerpt.text, "[a]\n…\nc = 2");
        assert_eq!(excerpt.first_line, 1);
        assert_eq!(excerpt.text.get(excerpt.span), Some("2"));
        assert_eq!(excerpt.text.get(excerpt.context.unwrap()), Some("[a]"));
    }

    #[test]
    fn a_secret_line_is_not_shown() {
        let text = "[a]\npassword = \"hunter2\"\nc = 2\n";
        assert_eq!(file(text).excerpt(&(15..24), None, false), None);
        assert_eq!(file(text).excerpt(&(29..30), Some(0), false).unwrap().text, "[a]\n…\nc = 2");
        let spanned = SourceFile::new(
            "a".to_owned(),
            "x = 1\ny = 2".to_owned(),
            std::iter::once(4..5).collect(),
        );
        assert_eq!(spanned.excerpt(&(4..5), None, false), None);
        assert!(spanned.excerpt(&(10..11), None, false).is_some());
        assert_eq!(file("passwd = \"\"\"hun\nter2").excerpt(&(16..20), None, false), None);
        assert_eq!(file("password =\n\n\"hunter2\"\n").excerpt(&(12..13), None, false), None);
        assert_eq!(file("url = \"mqtt://u:p@h\"").excerpt(&(0..3), None, false), None);
        let excerpt = file("pwsd = \"hunter2\"").excerpt(&(0..4), None, true).unwrap();
        assert_eq!(excerpt.text, "pwsd …");
        assert!(file("password_file = \"x\"").excerpt(&(0..3), None, false).is_some());
    }
}
