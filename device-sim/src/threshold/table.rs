//! Thresholds as a table, of a scenario or of a report.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Limit, Metric, Threshold, Thresholds, Value};
use crate::suggest::did_you_mean;

/// The tables of those that belong together.
const TABLES: [&str; 2] = ["commands", "latency"];
const KEYS: [&str; 4] = ["limit", "max", "min", "except"];

impl Serialize for Thresholds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(metric, threshold)| (metric.name(), threshold)))
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let limit = self.limit.to_string();
        if self.except.is_empty() {
            return serializer.serialize_str(&limit);
        }
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("limit", &limit)?;
        map.serialize_entry("except", &self.except)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for Thresholds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut thresholds = BTreeMap::new();
        deserializer.deserialize_map(Table { prefix: "", thresholds: &mut thresholds })?;
        Ok(Self(thresholds))
    }
}

/// The table, or one in it: `latency.p99 = ...`.
struct Table<'a> {
    prefix: &'static str,
    thresholds: &'a mut BTreeMap<Metric, Threshold>,
}

impl<'de> Visitor<'de> for Table<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("thresholds by name, such as `lost = 0`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let table = TABLES.into_iter().find(|table| self.prefix.is_empty() && key == *table);
            if let Some(prefix) = table {
                map.next_value_seed(Inner(Table { prefix, thresholds: self.thresholds }))?;
                continue;
            }
            let name = match self.prefix {
                "" => key,
                prefix => format!("{prefix}.{key}"),
            };
            let metric = Metric::named(&name).ok_or_else(|| unknown(&name))?;
            let threshold: Threshold = map.next_value()?;
            let limit =
                threshold.limit.check(metric.name(), metric.kind()).map_err(Error::custom)?;
            if !threshold.except.is_empty() && !metric.has_phases() {
                let why = "`except` goes with latencies and recovery: counts are not kept by fault";
                return Err(Error::custom(format_args!("threshold `{name}`: {why}")));
            }
            if self.thresholds.insert(metric, Threshold { limit, ..threshold }).is_some() {
                return Err(Error::custom(format_args!("threshold `{name}` is there twice")));
            }
        }
        Ok(())
    }
}

/// A table in the table.
struct Inner<'a>(Table<'a>);

impl<'de> serde::de::DeserializeSeed<'de> for Inner<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self.0)
    }
}

fn unknown<E: Error>(name: &str) -> E {
    let names = Metric::ALL.map(Metric::name);
    let help = match did_you_mean(name, names) {
        help if help.is_empty() => format!("; there are {}", names.join(", ")),
        help => help,
    };
    E::custom(format_args!("unknown threshold `{name}`{help}"))
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(One)
    }
}

/// One threshold, in any of its forms.
struct One;

impl<'de> Visitor<'de> for One {
    type Value = Threshold;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a limit: `0`, `\"< 0.1%\"`, `\"< 2s\"` or `{ max = \"2s\", except = [...] }`")
    }

    fn visit_u64<E: Error>(self, count: u64) -> Result<Threshold, E> {
        Ok(Threshold { limit: Limit::at_most(Value::Count(count)), except: Vec::new() })
    }

    fn visit_i64<E: Error>(self, count: i64) -> Result<Threshold, E> {
        let negative = || E::invalid_value(Unexpected::Signed(count), &self);
        let count = u64::try_from(count).map_err(|_| negative())?;
        self.visit_u64(count)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Threshold, E> {
        Ok(Threshold { limit: text.parse().map_err(E::custom)?, except: Vec::new() })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Threshold, A::Error> {
        let (mut limit, mut except) = (None, Vec::new());
        while let Some(key) = map.next_key::<String>()? {
            let found = match &*key {
                "limit" => map.next_value::<Threshold>()?.limit,
                "max" => Limit::at_most(map.next_value::<Bound>()?.0),
                "min" => Limit::at_least(map.next_value::<Bound>()?.0),
                "except" => {
                    except = map.next_value()?;
                    continue;
                }
                key => {
                    let help = did_you_mean(key, KEYS);
                    return Err(Error::custom(format_args!(
                        "unknown key `{key}` of a threshold{help}"
                    )));
                }
            };
            if limit.replace(found).is_some() {
                return Err(Error::custom(
                    "one of `limit`, `max` and `min` says where a threshold ends",
                ));
            }
        }
        let limit =
            limit.ok_or_else(|| Error::custom("a threshold needs `max`, `min` or `limit`"))?;
        Ok(Threshold { limit, except })
    }
}

/// A value without a sign.
struct Bound(Value);

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Bound;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a count, a percentage or a duration, such as `\"2s\"`")
            }

            fn visit_u64<E: Error>(self, count: u64) -> Result<Bound, E> {
                Ok(Bound(Value::Count(count)))
            }

            fn visit_i64<E: Error>(self, count: i64) -> Result<Bound, E> {
                let negative = || E::invalid_value(Unexpected::Signed(count), &self);
                u64::try_from(count).map(|count| Bound(Value::Count(count))).map_err(|_| negative())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bound, E> {
                text.parse().map(Bound).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}
