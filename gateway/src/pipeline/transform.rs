//! What a route does to a reading before it is published: which ones, in which unit, under which
//! name, and how often.
//!
//! [`Transform`] is a pure function of a record and its reading, in this order: the [condition](Condition) is asked
//! about the reading as it is stored; the value is converted; the reading is renamed. [`Thin`] and
//! its [`Memory`] decide what is sent at all, from what was sent before.
//!
//! A reading that a route leaves out stays in the store until all brokers are done with it, like
//! any other: what is left out is decided when it is published, so that a corrected configuration
//! holds for what waits.

mod condition;
mod thin;
mod unit;
mod window;

use std::borrow::Cow;

use proto::{Number, Reading, Value};

pub(crate) use condition::Condition;
pub(crate) use thin::Memory;
pub(super) use thin::Thin;
pub(crate) use unit::{Conversion, known_units};
pub(crate) use window::Window;
pub(crate) use window::Windows;

use self::window::NotANumber;
use crate::config;
use crate::store::Record;

/// Fills in for the reading's own name in `rename`.
const NAME: &str = "{name}";

/// What one route does to each reading on its own.
#[derive(Debug)]
pub(super) struct Transform {
    when: Option<Condition>,
    convert: Option<Convert>,
    rename: Option<String>,
}

/// How a value becomes another one.
#[derive(Debug)]
enum Convert {
    /// `value × scale + offset`, in another unit where one is given.
    Linear { scale: Number, offset: Number, unit: Option<String> },
    /// From the reading's unit, or this one where it has none.
    Unit { from: Option<String>, to: String },
}

/// Why a route does not publish a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    /// The configuration says so; the reason is its key.
    Meant(&'static str),
    /// It cannot be done: reason, and what is wrong.
    Failed(&'static str, String),
}

impl From<NotANumber> for LeftOut {
    fn from(error: NotANumber) -> Self {
        Self::Failed("not_a_number", error.to_string())
    }
}

impl Transform {
    /// `None` where a route changes nothing.
    pub(super) fn new(route: &config::Route) -> Option<Self> {
        let zero = Number::from(0_u8);
        let convert = route.convert.as_ref().map(|convert| match (convert.scale, convert.offset) {
            (None, None) => Convert::Unit {
                from: convert.from.clone(),
                to: convert.unit.clone().unwrap_or_default(),
            },
            (scale, offset) => Convert::Linear {
                scale: scale.map_or(1_u8.into(), |scale| scale.number()),
                offset: offset.map_or(zero, |offset| offset.number()),
                unit: convert.unit.clone(),
            },
        });
        let transform = Self { when: route.when.clone(), convert, rename: route.rename.clone() };
        let does_nothing =
            transform.when.is_none() && transform.convert.is_none() && transform.rename.is_none();
        (!does_nothing).then_some(transform)
    }

    /// What becomes of the reading of a record.
    pub(super) fn apply<'a>(
        &self,
        record: &Record,
        reading: &'a Reading,
    ) -> Result<Cow<'a, Reading>, LeftOut> {
        if let Some(when) = &self.when {
            match when.matches(record, reading) {
                Ok(true) => {}
                Ok(false) => return Err(LeftOut::Meant("when")),
                Err(failure) => return Err(LeftOut::Failed("when_failed", failure.to_string())),
            }
        }
        let mut changed = Cow::Borrowed(reading);
        if let Some(convert) = &self.convert {
            let (value, unit) = convert.apply(reading)?;
            let reading = changed.to_mut();
            reading.value = Value::Number(value);
            reading.unit = unit;
        }
        if let Some(rename) = &self.rename {
            changed.to_mut().name = rename.replace(NAME, &reading.name);
        }
        Ok(changed)
    }
}

impl Convert {
    fn apply(&self, reading: &Reading) -> Result<(Number, Option<String>), LeftOut> {
        let failed = |why: String| LeftOut::Failed("not_convertible", why);
        let Value::Number(value) = reading.value else {
            return Err(failed("its value is not a number".to_owned()));
        };
        let (converted, unit) = match self {
            Self::Linear { scale, offset, unit } => {
                let value = value.checked_mul(*scale).and_then(|v| v.checked_add(*offset));
                (value, unit.clone().or_else(|| reading.unit.clone()))
            }
            Self::Unit { from, to } => {
                let Some(from) = reading.unit.as_ref().or(from.as_ref()) else {
                    return Err(failed("it has no unit, and `from` says none".to_owned()));
                };
                if from == to {
                    return Ok((value, Some(to.clone())));
                }
                let Some(conversion) = Conversion::new(from, to) else {
                    return Err(failed(format!("no conversion from `{from}` to `{to}`")));
                };
                (conversion.apply(value), Some(to.clone()))
            }
        };
        converted.map(|value| (value, unit)).ok_or_else(|| failed("it is too large".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::store::tests::record;

    fn apply(route: &str, value: &str, unit: Option<&str>) -> Result<Reading, LeftOut> {
        let config: Config = toml::from_str(&format!("[routes.r]\n{route}")).unwrap();
        let (_, route) = config.routes.first_key_value().unwrap();
        let record = record("d", 1);
        let mut reading = record.reading().unwrap().clone();
        reading.name = "temp".to_owned();
        reading.unit = unit.map(str::to_owned);
        reading.value = match value.parse() {
            Ok(number) => Value::Number(number),
            Err(_) => Value::Text(value.to_owned()),
        };
        let transform = Transform::new(route).unwrap();
        transform.apply(&record, &reading).map(Cow::into_owned)
    }

    fn value(route: &str, value: &str, unit: Option<&str>) -> (String, Option<String>) {
        let reading = apply(route, value, unit).unwrap();
        let Value::Number(number) = reading.value else { panic!("{:?}", reading.value) };
        (number.to_string(), reading.unit)
    }

    #[test]
    fn a_value_is_scaled_exactly() {
        let scaled = value("convert = { scale = 0.1, offset = -40 }", "614", Some("raw"));
        assert_eq!(scaled, ("21.4".to_owned(), Some("raw".to_owned())));
        let named = value("convert = { scale = 0.001, unit = \"V\" }", "3300", None);
        assert_eq!(named, ("3.300".to_owned(), Some("V".to_owned())));
        let moved = value("convert = { offset = 273.15, unit = \"K\" }", "21.5", Some("Cel"));
        assert_eq!(moved, ("294.65".to_owned(), Some("K".to_owned())));
    }

    #[test]
    fn a_value_is_converted_from_the_unit_that_it_has() {
        let to = "convert = { unit = \"Cel\", from = \"degF\" }";
        let cel = Some("Cel".to_owned());
        assert_eq!(value(to, "71.6", Some("degF")), ("22".to_owned(), cel.clone()));
        assert_eq!(value(to, "71.6", None), ("22".to_owned(), cel.clone()));
        assert_eq!(value(to, "294.65", Some("K")), ("21.5".to_owned(), cel.clone()));
        assert_eq!(value(to, "21.50", Some("Cel")), ("21.50".to_owned(), cel), "nothing to do");
    }

    #[test]
    fn what_cannot_be_converted_is_left_out_and_told() {
        let to = "convert = { unit = \"Pa\" }";
        for (value, unit) in
            [("5", None), ("5", Some("Cel")), ("on", Some("hPa")), ("5", Some("x"))]
        {
            let left = apply(to, value, unit);
            assert!(matches!(left, Err(LeftOut::Failed("not_convertible", _))), "{left:?}");
        }
    }

    #[test]
    fn the_condition_is_about_the_reading_as_it_is_stored() {
        let route = "when = 'value < 30 && name == \"temp\"'\nrename = \"{name}erature\"\n\
                     convert = { unit = \"degF\" }\n";
        let reading = apply(route, "21.5", Some("Cel")).unwrap();
        assert_eq!(reading.name, "temperature");
        assert_eq!(reading.value, Value::Number("70.7".parse().unwrap()));
        assert_eq!(apply(route, "30", Some("Cel")), Err(LeftOut::Meant("when")));
        let failed = apply(route, "on", Some("Cel"));
        assert!(matches!(failed, Err(LeftOut::Failed("when_failed", _))));
    }
}
