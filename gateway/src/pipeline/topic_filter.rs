//! Filters for topics, as MQTT has them (MQTT 5 §4.7).

use std::fmt;
use std::str::FromStr;

use super::topic::MAX_TOPIC;

/// A filter: `+` stands for one level, `#` at the end for any number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicFilter(String);

/// Why a text is no filter for topics.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TopicFilterError {
    #[error("a topic filter cannot be empty")]
    Empty,
    #[error("`+` stands for a whole level, as in `site/+/set`")]
    PartialPlus,
    #[error("`#` stands for all levels from there on, so it is the last one, as in `site/#`")]
    InnerHash,
    #[error("a topic cannot hold the character U+0000")]
    Nul,
    #[error("`$share` names a way to subscribe, not a topic")]
    Share,
    #[error("longer than the 65535 bytes that MQTT carries")]
    TooLong,
}

impl TopicFilter {
    /// Whether it takes in a topic. One that starts with `$` only where the filter starts so too:
    /// wildcards do not reach what brokers keep for themselves (MQTT 5 §4.7.2).
    pub(crate) fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.0.starts_with(['+', '#']) {
            return false;
        }
        let mut levels = topic.split('/');
        for wanted in self.0.split('/') {
            // `a/#` takes in `a` as well (MQTT 5 §4.7.1.2).
            if wanted == "#" {
                return true;
            }
            match levels.next() {
                Some(level) if wanted == "+" || wanted == level => {}
                Some(_) | None => return false,
            }
        }
        levels.next().is_none()
    }
}

impl FromStr for TopicFilter {
    type Err = TopicFilterError;

    fn from_str(text: &str) -> Result<Self, TopicFilterError> {
        if text.is_empty() {
            return Err(TopicFilterError::Empty);
        }
        if text.len() > MAX_TOPIC {
            return Err(TopicFilterError::TooLong);
        }
        if text.contains('\0') {
            return Err(TopicFilterError::Nul);
        }
        if text.split('/').next() == Some("$share") {
            return Err(TopicFilterError::Share);
        }
        let mut levels = text.split('/').peekable();
        while let Some(level) = levels.next() {
            if level.contains('+') && level != "+" {
                return Err(TopicFilterError::PartialPlus);
            }
            if level.contains('#') && (level != "#" || levels.peek().is_some()) {
                return Err(TopicFilterError::InnerHash);
            }
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_in_what_mqtt_says() {
        // MQTT 5 §4.7.1.2, §4.7.1.3, §4.7.2
        for (filter, topic, expected) in [
            ("site/a", "site/a", true),
            ("site/a", "site/b", false),
            ("site/a", "site/a/b", false),
            ("site/a/b", "site/a", false),
            ("site/+", "site/a", true),
            ("site/+", "site/", true),
            ("site/+", "site", false),
            ("site/+", "site/a/b", false),
            ("+/+", "/finance", true),
            ("+", "/finance", false),
            ("site/#", "site", true),
            ("site/#", "site/a/b", true),
            ("site/#", "sites", false),
            ("#", "a/b", true),
            ("site/+/set", "site/a/set", true),
            ("site/+/set", "site/a/get", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("$SYS/+", "$SYS/uptime", true),
            ("a/+", "a/$SYS", true),
        ] {
            let parsed: TopicFilter = filter.parse().unwrap();
            assert_eq!(parsed.matches(topic), expected, "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for (text, error) in [
            ("", TopicFilterError::Empty),
            ("a/b+", TopicFilterError::PartialPlus),
            ("a/#/b", TopicFilterError::InnerHash),
            ("a/b#", TopicFilterError::InnerHash),
            ("a\0", TopicFilterError::Nul),
            ("$share/g/a", TopicFilterError::Share),
        ] {
            assert_eq!(text.parse::<TopicFilter>(), Err(error), "{text:?}");
        }
        assert_eq!("x".repeat(65_536).parse::<TopicFilter>(), Err(TopicFilterError::TooLong));
    }
}
