//! What the value of a command must be.

use std::fmt;

use proto::{Number, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::super::values::{self, Decimal};

/// Longest value of a command that says nothing else.
const DEFAULT_MAX_VALUE: u32 = 1024;

/// What the value of a command must be.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum ValueRule {
    /// There is none.
    #[default]
    None,
    /// A number.
    Number(NumberRule),
    /// `true` or `false`; as plain text also `on`, `off`, `1` and `0`.
    Boolean,
    /// Text in UTF-8.
    Text(TextRule),
    /// A JSON text.
    Json(SizeRule),
    /// Bytes; in JSON as base64.
    Bytes(SizeRule),
}

/// Which numbers.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct NumberRule {
    /// The lowest.
    pub(crate) min: Option<Decimal>,
    /// The highest.
    pub(crate) max: Option<Decimal>,
    /// Whether only whole numbers are.
    pub(crate) integer: bool,
    /// Its unit, for people and for `gateway devices`.
    #[serde(deserialize_with = "values::filled_option")]
    #[schemars(length(min = 1))]
    pub(crate) unit: Option<String>,
}

/// Which texts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct TextRule {
    /// The only ones, such as `["open", "shut"]`.
    pub(crate) values: Vec<String>,
    /// Most bytes, 1 to 65536.
    #[serde(deserialize_with = "values::whole::<_, _, 1, 65_536>")]
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) max: u32,
}

/// How large.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
pub(crate) struct SizeRule {
    /// Most bytes, 1 to 65536.
    #[serde(deserialize_with = "values::whole::<_, _, 1, 65_536>")]
    #[schemars(range(min = 1, max = 65_536))]
    pub(crate) max: u32,
}

/// A value is not what the operation takes: what it takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ValueError(String);

impl ValueRule {
    /// The value of a payload that is nothing but the value.
    pub(crate) fn parse_plain(&self, payload: &[u8]) -> Result<Option<Value>, ValueError> {
        let text =
            || std::str::from_utf8(payload).map_err(|_| self.refuse("bytes that are no UTF-8"));
        let trimmed = || text().map(str::trim);
        let value = match self {
            Self::None if payload.is_empty() => return Ok(None),
            Self::None => return Err(self.refuse("a value")),
            Self::Number(_) => {
                let text = trimmed()?;
                Value::Number(text.parse().map_err(|_| self.refuse(&shown(text)))?)
            }
            Self::Boolean => {
                let text = trimmed()?;
                Value::Boolean(match text.to_ascii_lowercase().as_str() {
                    "true" | "on" | "1" => true,
                    "false" | "off" | "0" => false,
                    _ => return Err(self.refuse(&shown(text))),
                })
            }
            Self::Text(_) | Self::Json(_) => Value::Text(text()?.to_owned()),
            Self::Bytes(_) => Value::Bytes(payload.to_vec()),
        };
        self.check(value).map(Some)
    }

    /// The value as JSON has it.
    pub(crate) fn parse_json(
        &self,
        value: Option<&serde_json::Value>,
    ) -> Result<Option<Value>, ValueError> {
        use serde_json::Value as Json;
        let Some(json) = value else {
            return match self {
                Self::None => Ok(None),
                Self::Number(_)
                | Self::Boolean
                | Self::Text(_)
                | Self::Json(_)
                | Self::Bytes(_) => Err(self.refuse("no value")),
            };
        };
        let refused = || self.refuse(&shown(&json.to_string()));
        let value = match (self, json) {
            (Self::None, Json::Null) => return Ok(None),
            (Self::Number(_), Json::Number(number)) => {
                Value::Number(number.to_string().parse().map_err(|_| refused())?)
            }
            (Self::Boolean, Json::Bool(value)) => Value::Boolean(*value),
            (Self::Text(_), Json::String(text)) => Value::Text(text.clone()),
            (Self::Json(_), any) => Value::Text(any.to_string()),
            (Self::Bytes(_), Json::String(text)) => {
                Value::Bytes(proto::base64::decode(text).ok_or_else(refused)?)
            }
            _ => return Err(refused()),
        };
        self.check(value).map(Some)
    }

    fn check(&self, value: Value) -> Result<Value, ValueError> {
        let size = match &value {
            Value::Text(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Number(_) | Value::Boolean(_) => 0,
        };
        let too_large = |max: u32| u32::try_from(size).map_or(true, |size| size > max);
        let is_right = match (self, &value) {
            (Self::Number(rule), Value::Number(number)) => rule.takes(*number),
            (Self::Text(rule), Value::Text(text)) => {
                !too_large(rule.max) && (rule.values.is_empty() || rule.values.contains(text))
            }
            (Self::Json(rule), Value::Text(text)) => {
                !too_large(rule.max) && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
            }
            (Self::Bytes(rule), Value::Bytes(_)) => !too_large(rule.max),
            (Self::Boolean, Value::Boolean(_)) => true,
            _ => false,
        };
        if is_right {
            return Ok(value);
        }
        Err(self.refuse(&match &value {
            Value::Number(number) => number.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Text(text) => shown(text),
            Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
        }))
    }

    /// Values that it takes: whatever carries these out can carry out all that lie between.
    pub(crate) fn samples(&self) -> Vec<Option<Value>> {
        let text = |text: &str| Some(Value::Text(text.to_owned()));
        match self {
            Self::None => vec![None],
            Self::Number(rule) => {
                let ends = [rule.min, rule.max].into_iter().flatten();
                let mut all: Vec<_> = ends.map(|end| Some(Value::Number(end.number()))).collect();
                if all.is_empty() {
                    all.push(Some(Value::Number(0.into())));
                }
                all
            }
            Self::Boolean => [false, true].map(|value| Some(Value::Boolean(value))).into(),
            Self::Text(rule) if rule.values.is_empty() => vec![text("x")],
            Self::Text(rule) => rule.values.iter().map(|value| text(value)).collect(),
            Self::Json(_) => vec![text("{}")],
            Self::Bytes(_) => vec![Some(Value::Bytes(vec![0]))],
        }
    }

    fn refuse(&self, found: &str) -> ValueError {
        ValueError(format!("expected {self}, found {found}"))
    }
}

/// In words, behind "expected".
impl fmt::Display for ValueRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no value"),
            Self::Number(rule) => {
                f.write_str(if rule.integer { "a whole number" } else { "a number" })?;
                match (rule.min, rule.max) {
                    (Some(min), Some(max)) => {
                        write!(f, " from {} to {}", min.number(), max.number())?
                    }
                    (Some(min), None) => write!(f, " of {} or more", min.number())?,
                    (None, Some(max)) => write!(f, " of at most {}", max.number())?,
                    (None, None) => {}
                }
                rule.unit.as_ref().map_or(Ok(()), |unit| write!(f, " {unit}"))
            }
            Self::Boolean => f.write_str("true or false"),
            Self::Text(rule) if rule.values.is_empty() => {
                write!(f, "text of at most {} bytes", rule.max)
            }
            Self::Text(rule) => f.write_str(&rule.values.join(" or ")),
            Self::Json(rule) => write!(f, "JSON of at most {} bytes", rule.max),
            Self::Bytes(rule) => write!(f, "at most {} bytes", rule.max),
        }
    }
}

impl NumberRule {
    fn takes(&self, number: Number) -> bool {
        let is_below = self.min.is_some_and(|min| number.compare(min.number()).is_lt());
        let is_above = self.max.is_some_and(|max| number.compare(max.number()).is_gt());
        !is_below && !is_above && (!self.integer || number.as_integer().is_some())
    }
}

/// A start of a text, in quotes.
fn shown(text: &str) -> String {
    const MAX_SHOWN: usize = 40;
    let start: String = text.chars().take(MAX_SHOWN).collect();
    let more = if start.len() < text.len() { "…" } else { "" };
    format!("`{start}{more}`")
}

impl Default for TextRule {
    fn default() -> Self {
        Self { values: Vec::new(), max: DEFAULT_MAX_VALUE }
    }
}

impl Default for SizeRule {
    fn default() -> Self {
        Self { max: DEFAULT_MAX_VALUE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(min: &str, max: &str) -> ValueRule {
        let text = format!("type = \"number\"\nmin = {min}\nmax = {max}\nunit = \"Cel\"");
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn a_number_out_of_its_range_is_refused_with_the_range() {
        let rule = number("5", "30.5");
        for good in ["5", "30.5", " 21.50\n", "3.05e1"] {
            assert!(rule.parse_plain(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["4.99", "30.51", "31", "warm", "", "NaN"] {
            let error = rule.parse_plain(bad.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("expected a number from 5 to 30.5 Cel, found"), "{error}");
        }
        assert!(rule.parse_json(Some(&serde_json::json!(30.5))).is_ok());
        assert!(rule.parse_json(Some(&serde_json::json!("21"))).is_err());
        assert!(rule.parse_json(None).is_err());
    }

    #[test]
    fn plain_booleans_are_those_that_people_send() {
        for (text, expected) in [("on", true), ("OFF", false), ("1", true), ("false", false)] {
            let value = ValueRule::Boolean.parse_plain(text.as_bytes()).unwrap();
            assert_eq!(value, Some(Value::Boolean(expected)), "{text}");
        }
        assert!(ValueRule::Boolean.parse_plain(b"yes").is_err());
        assert!(ValueRule::Boolean.parse_json(Some(&serde_json::json!(1))).is_err());
    }

    #[test]
    fn texts_json_and_bytes_have_a_size() {
        let rule: ValueRule =
            toml::from_str("type = \"text\"\nvalues = [\"open\", \"shut\"]").unwrap();
        assert!(rule.parse_plain(b"open").is_ok());
        let error = rule.parse_plain(b"ajar").unwrap_err().to_string();
        assert_eq!(error, "expected open or shut, found `ajar`");
        let rule: ValueRule = toml::from_str("type = \"bytes\"\nmax = 3").unwrap();
        assert_eq!(
            rule.parse_json(Some(&serde_json::json!("AAEC"))).unwrap(),
            Some(Value::Bytes(vec![0, 1, 2]))
        );
        assert!(rule.parse_plain(&[0; 4]).is_err());
        let rule: ValueRule = toml::from_str("type = \"json\"").unwrap();
        assert!(rule.parse_plain(b"{\"a\":[1]}").is_ok());
        assert!(rule.parse_plain(b"{\"a\":").is_err());
    }

    #[test]
    fn an_operation_without_a_value_takes_none() {
        assert_eq!(ValueRule::None.parse_plain(b""), Ok(None));
        assert!(ValueRule::None.parse_plain(b"1").is_err());
        assert_eq!(ValueRule::None.parse_json(None), Ok(None));
    }
}
