//! Problems of a configuration: every one that a run found, each with where, what and what to do.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{
    AnnotationKind, Element, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};
use serde_json::{Value, json};

use super::source_file::SourceFile;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What is wrong.
    title: String,
    /// Where it stands.
    place: Place,
    /// What was expected there.
    expected: Option<String>,
    /// More that helps to see it.
    notes: Vec<String>,
    /// What to do.
    help: Vec<String>,
}

/// Where a problem stands.
#[derive(Clone, Debug)]
pub enum Place {
    /// In no place: something is not there at all.
    Nowhere,
    /// In a file.
    Span {
        /// The position of its layer.
        layer: usize,
        /// The file.
        file: Arc<SourceFile>,
        /// The bytes.
        span: Range<usize>,
        /// A byte of the header of the table around it.
        context: Option<usize>,
        /// Whether the line is shown only up to here.
        cut: bool,
    },
    /// A file as a whole, a variable or an argument.
    Named {
        /// The position of its layer.
        layer: usize,
        /// How it is called.
        name: String,
    },
}

impl Place {
    /// The layer and the line in it.
    pub fn line(&self) -> Option<(usize, usize)> {
        match self {
            Self::Span { layer, file, span, .. } => Some((*layer, file.position(span.start).0)),
            Self::Nowhere | Self::Named { .. } => None,
        }
    }

    /// Where messages are sorted.
    fn order(&self) -> (usize, usize) {
        match self {
            Self::Nowhere => (usize::MAX, 0),
            Self::Span { layer, span, .. } => (*layer, span.start),
            Self::Named { layer, .. } => (*layer, 0),
        }
    }
}

/// In few words: `configs/gateway.toml:4`, `GATEWAY_BROKERS__CLOUD__URL`.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("default"),
            Self::Span { file, span, .. } => {
                write!(f, "{}:{}", file.name(), file.position(span.start).0)
            }
            Self::Named { name, .. } => f.write_str(name),
        }
    }
}

impl Problem {
    /// A problem at a place.
    pub fn new(title: impl Into<String>, place: Place) -> Self {
        let (notes, help) = (Vec::new(), Vec::new());
        Self { title: title.into(), place, expected: None, notes, help }
    }

    /// A problem of what is not there at all.
    pub fn nowhere(title: impl Into<String>) -> Self {
        Self::new(title, Place::Nowhere)
    }

    /// Says what was expected; what follows a line feed is help.
    pub fn expected(mut self, sentence: impl AsRef<str>) -> Self {
        let mut lines = sentence.as_ref().lines();
        self.expected = lines.next().map(str::to_owned);
        self.help.extend(lines.map(str::to_owned));
        self
    }

    /// Adds a note.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Adds what to do.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// Where it stands.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    fn render(&self, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(self.title.as_str());
        let mut elements: Vec<Element<'_>> = Vec::new();
        let mut is_hidden = false;
        // What was expected stands under the value, or in a line of its own without a snippet.
        let mut expected = self.expected.as_deref();
        match &self.place {
            Place::Nowhere => {}
            Place::Named { name, .. } => elements.push(Origin::path(name.as_str()).into()),
            Place::Span { file, span, context, cut, .. } => {
                match file.excerpt(span, *context, *cut) {
                    Some(excerpt) => {
                        let mark =
                            AnnotationKind::Primary.span(excerpt.span).label(expected.take());
                        let context =
                            excerpt.context.map(|line| AnnotationKind::Visible.span(line));
                        let snippet = Snippet::source(excerpt.text)
                            .line_start(excerpt.first_line)
                            .path(file.name())
                            .annotation(mark)
                            .annotations(context);
                        elements.push(snippet.into());
                    }
                    None => {
                        let (line, column) = file.position(span.start);
                        let origin = Origin::path(file.name()).line(line).char_column(column);
                        elements.push(origin.into());
                        is_hidden = true;
                    }
                }
            }
        }
        let message = |level: Level<'static>, text: &str| {
            Element::from(level.message(normalize_untrusted_str(text)))
        };
        elements.extend(expected.map(|text| message(Level::NOTE.no_name(), text)));
        if is_hidden {
            elements.push(message(Level::NOTE, "the line is not shown: it may hold a secret"));
        }
        elements.extend(self.notes.iter().map(|text| message(Level::NOTE, text)));
        elements.extend(self.help.iter().map(|text| message(Level::HELP, text)));
        renderer.render(&[Group::with_title(title).elements(elements)])
    }

    fn to_json(&self) -> Value {
        let mut object = json!({ "message": self.title, "notes": self.notes, "help": self.help });
        let mut set = |key: &str, value: Value| {
            if let Some(map) = object.as_object_mut() {
                map.insert(key.to_owned(), value);
            }
        };
        if let Some(expected) = &self.expected {
            set("expected", json!(expected));
        }
        match &self.place {
            Place::Nowhere => {}
            Place::Named { name, .. } => set("origin", json!(name)),
            Place::Span { file, span, .. } => {
                let (line, column) = file.position(span.start);
                set("origin", json!(file.name()));
                set("line", json!(line));
                set("column", json!(column));
            }
        }
        object
    }
}

/// Every problem that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What the problems are in.
    subject: &'static str,
    problems: Vec<Problem>,
}

impl Report {
    /// None yet, in the `subject` that it names at its end.
    pub const fn new(subject: &'static str) -> Self {
        Self { subject, problems: Vec::new() }
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// The number of problems.
    pub fn len(&self) -> usize {
        self.problems.len()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Sorts the problems by layer and line.
    pub fn sort(&mut self) {
        self.problems.sort_by_key(|problem| problem.place.order());
    }

    /// The problems for a person to read.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.problems {
            text.push_str(&problem.render(&renderer));
            text.push_str("\n\n");
        }
        text.push_str(&match self.len() {
            1 => format!("1 problem in the {}\n", self.subject),
            count => format!("{count} problems in the {}\n", self.subject),
        });
        text
    }

    /// The problems for a program to read.
    pub fn to_json(&self) -> Value {
        self.problems.iter().map(Problem::to_json).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

/// What the system says about a file, without its error number.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_lowercase()
}
