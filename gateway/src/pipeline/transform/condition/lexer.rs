//! The words of an expression.

use proto::Number;

use super::parser::ConditionError;

/// A word, and the byte at which it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Word {
    pub(super) token: Token,
    pub(super) at: usize,
}

/// A word.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Number(Number),
    Text(String),
    /// Operators and brackets.
    Symbol(&'static str),
    End,
}

/// The longer ones first, so that `<=` is not `<` and `=`.
const SYMBOLS: [&str; 23] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "+", "-", "*", "/", "%", "?", ":", "(", ")",
    "[", "]", ",", ".", "=",
];

/// Takes a text apart; the last word is the end.
pub(super) fn words(text: &str) -> Result<Vec<Word>, ConditionError> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let at = text.len() - rest.len();
        let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
        let (token, len) = match (first, symbol) {
            ('"' | '\'', _) => quoted(rest, first, text, at)?,
            ('0'..='9', _) => number(rest, text, at)?,
            ('a'..='z' | 'A'..='Z' | '_', _) => {
                let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                (Token::Name(rest.get(..len).unwrap_or_default().to_owned()), len)
            }
            (_, Some(symbol)) => (Token::Symbol(symbol), symbol.len()),
            (other, None) => {
                return Err(ConditionError::at(text, at, format!("unexpected `{other}`")));
            }
        };
        words.push(Word { token, at });
        rest = rest.get(len..).unwrap_or_default().trim_start();
    }
    words.push(Word { token: Token::End, at: text.len() });
    Ok(words)
}

/// Digits, with a fraction and an exponent where there are.
fn number(rest: &str, text: &str, at: usize) -> Result<(Token, usize), ConditionError> {
    let mut before = ' ';
    let mut len = 0;
    for c in rest.chars() {
        let is_sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        if !c.is_ascii_alphanumeric() && c != '.' && !is_sign {
            break;
        }
        before = c;
        len += 1;
    }
    let digits = rest.get(..len).unwrap_or_default();
    match digits.parse() {
        Ok(number) => Ok((Token::Number(number), len)),
        Err(_) => Err(ConditionError::at(text, at, format!("`{digits}` is not a number"))),
    }
}

/// A text in quotes; `\` stands before a quote, itself, `n`, `r` and `t`.
fn quoted(
    rest: &str,
    quote: char,
    text: &str,
    at: usize,
) -> Result<(Token, usize), ConditionError> {
    let mut unquoted = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((index, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((Token::Text(unquoted), index + 1)),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '"' | '\''))) => unquoted.push(escaped),
                Some((_, 'n')) => unquoted.push('\n'),
                Some((_, 'r')) => unquoted.push('\r'),
                Some((_, 't')) => unquoted.push('\t'),
                _ => {
                    let at = at + index;
                    return Err(ConditionError::at(text, at, "unknown escape after `\\`"));
                }
            },
            c => unquoted.push(c),
        }
    }
    Err(ConditionError::at(text, at, format!("no {quote} at the end of this text")))
}
