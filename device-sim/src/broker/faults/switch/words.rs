//! The words of a switch, taken one by one.

use std::str::FromStr;
use std::time::Duration;

use super::SwitchError;
use crate::broker::faults::{CutAfter, Matching, Which};
use crate::broker::topic::Filter;
use crate::broker::{QoS, Reason, UnknownReason};
use crate::settings::signed_duration;

/// Words between spaces; what stands between quotation marks is not divided.
pub(super) fn split(line: &str) -> Result<Vec<String>, SwitchError> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None, false);
    for character in line.chars() {
        match character {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_with(String::new);
            }
            character if character.is_whitespace() && !quoted => words.extend(word.take()),
            character => word.get_or_insert_with(String::new).push(character),
        }
    }
    words.extend(word);
    if quoted { Err(SwitchError::Quotation) } else { Ok(words) }
}

/// The arguments of one switch, taken one by one.
pub(super) struct Words<'a> {
    rest: Vec<&'a str>,
    usage: &'static str,
}

impl<'a> Words<'a> {
    /// The words behind the name of the switch that is used like this.
    pub(super) fn new(all: &'a [String], usage: &'static str) -> Self {
        Self { rest: all.iter().skip(1).map(String::as_str).collect(), usage }
    }

    fn wrong(&self, what: String) -> SwitchError {
        SwitchError::Arguments { what, usage: self.usage }
    }

    fn next(&mut self) -> Result<&str, SwitchError> {
        if self.rest.is_empty() {
            return Err(self.wrong("something is missing".to_owned()));
        }
        Ok(self.rest.remove(0))
    }

    /// Fails when a word is left.
    pub(super) fn end(&self) -> Result<(), SwitchError> {
        match self.rest.first() {
            Some(word) => Err(self.wrong(format!("{word:?} is too much"))),
            None => Ok(()),
        }
    }

    /// The next word, or `None` for `off`.
    pub(super) fn optional<T>(
        &mut self,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, SwitchError> {
        match self.next()? {
            "off" => Ok(None),
            word => parse(word).map(Some).map_err(|what| self.wrong(what)),
        }
    }

    pub(super) fn on_off(&mut self) -> Result<bool, SwitchError> {
        match self.next()? {
            "on" => Ok(true),
            "off" => Ok(false),
            word => {
                let what = format!("{word:?} is neither on nor off");
                Err(self.wrong(what))
            }
        }
    }

    pub(super) fn which(&mut self) -> Result<Which, SwitchError> {
        let which = self.optional(|word| match word {
            "all" => Ok(Which::All),
            _ => number(word).map(Which::EveryNth),
        })?;
        Ok(which.unwrap_or(Which::None))
    }

    pub(super) fn delay(&mut self) -> Result<Duration, SwitchError> {
        Ok(self.optional(time)?.unwrap_or(Duration::ZERO))
    }

    pub(super) fn matching_or_off(&mut self) -> Result<Option<Matching>, SwitchError> {
        if self.flag("off") { Ok(None) } else { self.matching().map(Some) }
    }

    pub(super) fn matching(&mut self) -> Result<Matching, SwitchError> {
        let mut matching = Matching::all();
        for word in std::mem::take(&mut self.rest) {
            matching = match word.split_once('=') {
                Some(("topic", filter)) => matching.topic(
                    filter.parse::<Filter>().map_err(|error| self.wrong(error.to_string()))?,
                ),
                Some(("payload", text)) => matching.payload(text.to_owned()),
                Some(("every", n)) => matching.every(number(n).map_err(|what| self.wrong(what))?),
                None if word == "once" => matching.once(),
                Some(_) | None => {
                    return Err(self.wrong(format!(
                        "{word:?} is none of topic=FILTER, payload=TEXT, every=N and once"
                    )));
                }
            };
        }
        Ok(matching)
    }

    pub(super) fn cut(&mut self) -> Result<Option<(CutAfter, bool)>, SwitchError> {
        let after = self.optional(|word| {
            let (unit, n) = word.split_once('=').unwrap_or((word, ""));
            let cut = match unit {
                "packets" => CutAfter::Packets,
                "bytes" => CutAfter::Bytes,
                "sent-bytes" => CutAfter::SentBytes,
                _ => return Err(format!("{word:?} is none of packets=N, bytes=N, sent-bytes=N")),
            };
            number(n).map(cut)
        })?;
        Ok(after.map(|after| (after, self.flag("once"))))
    }

    /// The value of the next word, which has to be `name=value`.
    pub(super) fn named<T>(
        &mut self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, SwitchError> {
        let value = self.next()?.strip_prefix(name).and_then(|word| word.strip_prefix('='));
        let parsed = value.ok_or_else(|| format!("{name} is missing")).and_then(parse);
        parsed.map_err(|what| self.wrong(what))
    }

    /// Whether the next word is this one, which is then taken.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let there = self.rest.first() == Some(&name);
        if there {
            self.rest.remove(0);
        }
        there
    }
}

pub(super) fn number<T: FromStr>(word: &str) -> Result<T, String> {
    word.parse().map_err(|_| format!("{word:?} is no number that fits there"))
}

pub(super) fn error(word: &str) -> Result<Reason, String> {
    let reason: Reason = word.parse().map_err(|error: UnknownReason| error.to_string())?;
    if reason.is_error() { Ok(reason) } else { Err(format!("{reason} is no error")) }
}

pub(super) fn qos(word: &str) -> Result<QoS, String> {
    match word {
        "0" => Ok(QoS::AtMostOnce),
        "1" => Ok(QoS::AtLeastOnce),
        _ => Err(format!("{word:?} is neither 0 nor 1")),
    }
}

pub(super) fn time(word: &str) -> Result<Duration, String> {
    let time = signed_duration(word);
    time.and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| format!("{word:?} is no time; write it like 200ms or 1m30s"))
}
