//! From words to an expression whose types fit, by precedence as CEL has it.

use proto::{Number, Timestamp};

use super::lexer::{Token, Word, words};
use super::{MAX_DEPTH, MAX_LENGTH};

/// What is evaluated.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expression {
    Boolean(bool),
    Number(Number),
    Text(String),
    Time(Timestamp),
    Variable(Variable),
    Not(Box<Expression>),
    Negated(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    /// `condition ? yes : no`
    Choice(Box<Expression>, Box<Expression>, Box<Expression>),
    /// `needle in [list]`
    Within(Box<Expression>, Vec<Expression>),
    Binary(Binary, Box<Expression>, Box<Expression>),
    Call(Method, Box<Expression>, Option<Box<Expression>>),
}

/// What is known of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Device,
    Name,
    Value,
    Unit,
    Time,
    Source,
    N,
}

/// Operators with two sides, apart from those that leave a side out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Remainder,
}

/// Functions of a text or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    StartsWith,
    EndsWith,
    Contains,
    Size,
    GetHours,
    GetMinutes,
    GetDayOfWeek,
}

/// Why a text is no condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConditionError {
    #[error("column {column}: {problem}")]
    Wrong {
        /// Of the expression, from 1.
        column: usize,
        problem: String,
    },
    #[error("expected an expression of at most {MAX_LENGTH} bytes")]
    TooLong,
}

impl ConditionError {
    /// What is wrong at a byte of `text`.
    pub(super) fn at(text: &str, at: usize, problem: impl Into<String>) -> Self {
        let column = text.char_indices().take_while(|(index, _)| *index < at).count() + 1;
        Self::Wrong { column, problem: problem.into() }
    }
}

/// What is known of a value before there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Boolean,
    Number,
    Text,
    Time,
    /// Of `value`.
    Any,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Time => "a time",
            Self::Any => "a value",
        }
    }

    fn is(self, kind: Self) -> bool {
        self == kind || self == Self::Any || kind == Self::Any
    }
}

impl Variable {
    const ALL: [(&'static str, Self, Kind); 7] = [
        ("device", Self::Device, Kind::Text),
        ("name", Self::Name, Kind::Text),
        ("value", Self::Value, Kind::Any),
        ("unit", Self::Unit, Kind::Text),
        ("time", Self::Time, Kind::Time),
        ("source", Self::Source, Kind::Text),
        ("n", Self::N, Kind::Number),
    ];
}

impl Binary {
    const ALL: [(&'static str, Self); 10] = [
        ("==", Self::Equal),
        ("!=", Self::NotEqual),
        ("<", Self::Less),
        ("<=", Self::LessOrEqual),
        (">", Self::Greater),
        (">=", Self::GreaterOrEqual),
        ("+", Self::Plus),
        ("-", Self::Minus),
        ("*", Self::Times),
        ("%", Self::Remainder),
    ];

    pub(super) fn text(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, binary)| *binary == self).map_or("", |(text, _)| text)
    }

    fn of(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(text, _)| *text == symbol).map(|(_, binary)| binary)
    }
}

impl Method {
    /// What it is of, whether it has an argument, which is a text then, and what comes out.
    const ALL: [(&'static str, Self, Kind, bool, Kind); 7] = [
        ("startsWith", Self::StartsWith, Kind::Text, true, Kind::Boolean),
        ("endsWith", Self::EndsWith, Kind::Text, true, Kind::Boolean),
        ("contains", Self::Contains, Kind::Text, true, Kind::Boolean),
        ("size", Self::Size, Kind::Text, false, Kind::Number),
        ("getHours", Self::GetHours, Kind::Time, false, Kind::Number),
        ("getMinutes", Self::GetMinutes, Kind::Time, false, Kind::Number),
        ("getDayOfWeek", Self::GetDayOfWeek, Kind::Time, false, Kind::Number),
    ];

    pub(super) fn text(self) -> &'static str {
        Self::ALL.into_iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }
}

/// Reads an expression that is true or false.
pub(super) fn parse(text: &str) -> Result<Expression, ConditionError> {
    if text.len() > MAX_LENGTH {
        return Err(ConditionError::TooLong);
    }
    let mut parser = Parser { text, words: words(text)?, next: 0, depth: 0 };
    let (expression, kind) = parser.choice()?;
    if *parser.peek() != Token::End {
        return Err(parser.unexpected("an operator or the end"));
    }
    match kind.is(Kind::Boolean) {
        true => Ok(expression),
        false => Err(parser.wrong(0, format!("expected true or false, this is {}", kind.name()))),
    }
}

struct Parser<'a> {
    text: &'a str,
    words: Vec<Word>,
    next: usize,
    depth: usize,
}

/// An expression and what it will be.
type Typed = (Expression, Kind);

/// Binary operators from the loosest to the tightest, and whether a row may be repeated without
/// parentheses.
const LEVELS: [&[&str]; 5] =
    [&["||"], &["&&"], &["==", "!=", "<", "<=", ">", ">=", "in"], &["+", "-"], &["*", "/", "%"]];

impl Parser<'_> {
    fn choice(&mut self) -> Result<Typed, ConditionError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(self.at(), "nested too deeply"));
        }
        let start = self.at();
        let (condition, kind) = self.level(0)?;
        let result = if self.takes("?") {
            self.expect(kind, Kind::Boolean, start)?;
            let (yes, left) = self.choice()?;
            self.require(":")?;
            let at = self.at();
            let (no, right) = self.choice()?;
            self.expect(right, left, at)?;
            let kind = if left == Kind::Any { right } else { left };
            (Expression::Choice(Box::new(condition), Box::new(yes), Box::new(no)), kind)
        } else {
            (condition, kind)
        };
        self.depth -= 1;
        Ok(result)
    }

    fn level(&mut self, level: usize) -> Result<Typed, ConditionError> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let start = self.at();
        let mut left = self.level(level + 1)?;
        let depth = self.depth;
        while let Some(operator) = operators.iter().find(|operator| self.is_at(operator)) {
            let at = self.at();
            self.next += 1;
            // A chain nests to the left.
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(self.wrong(at, "too many operators in a row"));
            }
            left = self.operation(operator, left, level + 1, (start, at))?;
        }
        self.depth = depth;
        Ok(left)
    }

    /// What stands behind an operator, and both together.
    fn operation(
        &mut self,
        operator: &str,
        (left, left_kind): Typed,
        level: usize,
        (start, at): (usize, usize),
    ) -> Result<Typed, ConditionError> {
        if operator == "in" {
            let list = self.list(left_kind)?;
            return Ok((Expression::Within(Box::new(left), list), Kind::Boolean));
        }
        let right_at = self.at();
        let (right, right_kind) = self.level(level)?;
        let (left, right) = (Box::new(left), Box::new(right));
        if operator == "||" || operator == "&&" {
            self.expect(left_kind, Kind::Boolean, start)?;
            self.expect(right_kind, Kind::Boolean, right_at)?;
            return Ok(match operator {
                "||" => (Expression::Or(left, right), Kind::Boolean),
                _ => (Expression::And(left, right), Kind::Boolean),
            });
        }
        let Some(binary) = Binary::of(operator) else {
            return Err(self.wrong(at, "`/` is not supported: multiply the other side instead"));
        };
        let kind = match binary {
            Binary::Plus | Binary::Minus | Binary::Times | Binary::Remainder => {
                self.expect(left_kind, Kind::Number, start)?;
                self.expect(right_kind, Kind::Number, right_at)?;
                Kind::Number
            }
            Binary::Equal
            | Binary::NotEqual
            | Binary::Less
            | Binary::LessOrEqual
            | Binary::Greater
            | Binary::GreaterOrEqual => {
                self.expect(right_kind, left_kind, right_at)?;
                Kind::Boolean
            }
        };
        Ok((Expression::Binary(binary, left, right), kind))
    }

    fn list(&mut self, kind: Kind) -> Result<Vec<Expression>, ConditionError> {
        self.require("[")?;
        let mut list = Vec::new();
        while !self.takes("]") {
            if !list.is_empty() {
                self.require(",")?;
            }
            let at = self.at();
            let (item, item_kind) = self.choice()?;
            self.expect(item_kind, kind, at)?;
            list.push(item);
        }
        Ok(list)
    }

    fn unary(&mut self) -> Result<Typed, ConditionError> {
        let (is_not, is_minus) = (self.takes("!"), self.takes("-"));
        if !is_not && !is_minus {
            return self.member();
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.wrong(self.at(), "nested too deeply"));
        }
        let at = self.at();
        let (inner, kind) = self.unary()?;
        self.depth -= 1;
        let inner = Box::new(inner);
        if is_minus {
            self.expect(kind, Kind::Number, at)?;
        }
        match (is_not, is_minus) {
            (false, _) => Ok((Expression::Negated(inner), Kind::Number)),
            (true, true) => Err(self.wrong(at, "expected true or false after `!`")),
            (true, false) => {
                self.expect(kind, Kind::Boolean, at)?;
                Ok((Expression::Not(inner), Kind::Boolean))
            }
        }
    }

    fn member(&mut self) -> Result<Typed, ConditionError> {
        let start = self.at();
        let (mut target, mut kind) = self.primary()?;
        while self.takes(".") {
            let at = self.at();
            let Token::Name(name) = self.peek().clone() else {
                return Err(self.unexpected("a function"));
            };
            let Some((_, method, of, has_argument, result)) =
                Method::ALL.into_iter().find(|row| row.0 == name)
            else {
                let known = Method::ALL.map(|row| row.0).join(", ");
                return Err(self.wrong(at, format!("no function `{name}`; there are {known}")));
            };
            self.next += 1;
            self.expect(kind, of, start)?;
            self.require("(")?;
            let argument = if has_argument {
                let at = self.at();
                let (argument, kind) = self.choice()?;
                self.expect(kind, Kind::Text, at)?;
                Some(Box::new(argument))
            } else {
                None
            };
            self.require(")")?;
            target = Expression::Call(method, Box::new(target), argument);
            kind = result;
        }
        Ok((target, kind))
    }

    fn primary(&mut self) -> Result<Typed, ConditionError> {
        let at = self.at();
        let token = self.peek().clone();
        if token == Token::Symbol("(") {
            self.next += 1;
            let inner = self.choice()?;
            self.require(")")?;
            return Ok(inner);
        }
        let typed = match token {
            Token::Number(number) => (Expression::Number(number), Kind::Number),
            Token::Text(text) => (Expression::Text(text), Kind::Text),
            Token::Name(name) => match name.as_str() {
                "true" => (Expression::Boolean(true), Kind::Boolean),
                "false" => (Expression::Boolean(false), Kind::Boolean),
                "timestamp" => return self.timestamp(),
                name => self.variable(name, at)?,
            },
            Token::Symbol(_) | Token::End => return Err(self.unexpected("a value")),
        };
        self.next += 1;
        Ok(typed)
    }

    fn variable(&self, name: &str, at: usize) -> Result<Typed, ConditionError> {
        match Variable::ALL.into_iter().find(|row| row.0 == name) {
            Some((_, variable, kind)) => Ok((Expression::Variable(variable), kind)),
            None => {
                let known = Variable::ALL.map(|row| row.0).join(", ");
                Err(self.wrong(at, format!("no variable `{name}`; there are {known}")))
            }
        }
    }

    /// `timestamp("2026-11-20T22:39:00Z")`
    fn timestamp(&mut self) -> Result<Typed, ConditionError> {
        self.next += 1;
        self.require("(")?;
        let at = self.at();
        let time = match self.peek() {
            Token::Text(text) => text.parse::<jiff::Timestamp>().ok(),
            Token::Name(_) | Token::Number(_) | Token::Symbol(_) | Token::End => None,
        };
        let nanos = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        let Some(nanos) = nanos else {
            return Err(self.wrong(at, "expected a time such as \"2026-11-20T22:39:00Z\""));
        };
        self.next += 1;
        self.require(")")?;
        Ok((Expression::Time(Timestamp::from_nanos(nanos)), Kind::Time))
    }

    fn peek(&self) -> &Token {
        self.words.get(self.next).map_or(&Token::End, |word| &word.token)
    }

    /// The byte of the next word.
    fn at(&self) -> usize {
        self.words.get(self.next).map_or(self.text.len(), |word| word.at)
    }

    fn is_at(&self, operator: &str) -> bool {
        match self.peek() {
            Token::Symbol(symbol) => *symbol == operator,
            Token::Name(name) => name == operator,
            Token::Number(_) | Token::Text(_) | Token::End => false,
        }
    }

    fn takes(&mut self, symbol: &str) -> bool {
        let is_there = self.is_at(symbol);
        self.next += usize::from(is_there);
        is_there
    }

    fn require(&mut self, symbol: &str) -> Result<(), ConditionError> {
        match self.takes(symbol) {
            true => Ok(()),
            false => Err(self.unexpected(&format!("`{symbol}`"))),
        }
    }

    fn expect(&self, kind: Kind, expected: Kind, at: usize) -> Result<(), ConditionError> {
        match kind.is(expected) {
            true => Ok(()),
            false => {
                let (expected, kind) = (expected.name(), kind.name());
                Err(self.wrong(at, format!("expected {expected}, this is {kind}")))
            }
        }
    }

    fn unexpected(&self, expected: &str) -> ConditionError {
        if *self.peek() == Token::Symbol("=") {
            return self.wrong(self.at(), "`=` is not an operator: did you mean `==`?");
        }
        let found = match self.peek() {
            Token::End => "the end".to_owned(),
            Token::Symbol(symbol) => format!("`{symbol}`"),
            Token::Name(name) => format!("`{name}`"),
            Token::Number(number) => format!("`{number}`"),
            Token::Text(_) => "a text".to_owned(),
        };
        self.wrong(self.at(), format!("expected {expected}, found {found}"))
    }

    fn wrong(&self, at: usize, problem: impl Into<String>) -> ConditionError {
        ConditionError::at(self.text, at, problem)
    }
}
