//! Topic names and topic filters: what is valid, and what matches what (MQTT 3.1.1 §4.7, MQTT 5
//! §4.7, §4.8.2).

use std::str::FromStr;

/// What a shared subscription begins with.
const SHARE: &str = "$share/";

/// A valid filter that is not shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(String);

/// A text is no topic filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no topic filter; write levels between slashes, + for any one and # for the rest")]
pub struct InvalidFilter(String);

impl Filter {
    /// Whether it selects `topic`, which is taken to be valid.
    pub fn matches(&self, topic: &str) -> bool {
        matches(&self.0, topic)
    }
}

impl FromStr for Filter {
    type Err = InvalidFilter;

    fn from_str(text: &str) -> Result<Self, InvalidFilter> {
        if is_plain_filter(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidFilter(text.to_owned()))
        }
    }
}

/// Whether a client may publish to `topic`: not empty, no wildcard, no U+0000
/// (§4.7.1, §4.7.3, §1.5.3).
pub fn is_valid_topic(topic: &str) -> bool {
    !topic.is_empty() && !topic.contains(['+', '#', '\0'])
}

/// Whether a client may subscribe to `filter`: not empty, no U+0000, each wildcard alone in its
/// level and `#` only in the last one (§4.7.1.2, §4.7.1.3); behind `$share/`, a name without
/// wildcards and such a filter (MQTT 5 §4.8.2).
pub fn is_valid_filter(filter: &str) -> bool {
    if let Some(shared) = filter.strip_prefix(SHARE) {
        let Some((name, filter)) = shared.split_once('/') else { return false };
        return !name.is_empty() && !name.contains(['+', '#', '\0']) && is_plain_filter(filter);
    }
    is_plain_filter(filter)
}

fn is_plain_filter(filter: &str) -> bool {
    if filter.is_empty() || filter.contains('\0') {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        let wildcard = level.contains(['+', '#']);
        if wildcard && level.len() > 1 || level == "#" && levels.peek().is_some() {
            return false;
        }
    }
    true
}

/// Whether `topic` is selected by `filter`; both are taken to be valid.
///
/// `#` also selects its parent level, and no wildcard at the start selects a topic that begins
/// with `$` (§4.7.1.2, §4.7.2).
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut levels = topic.split('/');
    for part in filter.split('/') {
        if part == "#" {
            return true;
        }
        match levels.next() {
            Some(level) if part == "+" || part == level => {}
            Some(_) | None => return false,
        }
    }
    levels.next().is_none()
}

/// The name of a shared subscription, if it is one, and the filter itself (MQTT 5 §4.8.2).
pub(super) fn split_share(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix(SHARE).and_then(|shared| shared.split_once('/')) {
        Some((name, filter)) => (Some(name), filter),
        None => (None, filter),
    }
}

/// Whether `filter` selects at most one topic.
pub(super) fn is_exact(filter: &str) -> bool {
    !filter.contains(['+', '#'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_select_what_the_specification_lists() {
        // MQTT 3.1.1 §4.7.1.2, §4.7.1.3, §4.7.2, §4.7.3: the examples given there.
        let table = [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "sport/tennis/player1", true),
            ("#", "/", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player2", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/tennis/#", "sport/tennis", true),
            ("sport/+/player1", "sport/tennis/player1", true),
            ("sport/+/player1", "sport/tennis/player2", false),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/monitor/Clients", false),
            ("+/monitor/Clients", "$SYS/monitor/Clients", false),
            ("$SYS/#", "$SYS/monitor/Clients", true),
            ("$SYS/monitor/+", "$SYS/monitor/Clients", true),
            ("ACCOUNTS", "Accounts", false),
            ("/finance", "finance", false),
            ("a//b", "a/b", false),
            ("a/+/b", "a//b", true),
            ("sport/tennis/#", "sport/tennisplayer", false),
            ("Accounts payable", "Accounts payable", true),
        ];
        for (filter, topic, expected) in table {
            assert_eq!(matches(filter, topic), expected, "{filter} against {topic}");
        }
    }

    #[test]
    fn filters_are_valid_as_the_specification_lists() {
        let table = [
            ("sport/tennis/#", true),
            ("#", true),
            ("+", true),
            ("+/tennis/#", true),
            ("sport/+/player1", true),
            ("/", true),
            ("//", true),
            ("sport/tennis#", false),
            ("sport/tennis/#/ranking", false),
            ("#/", false),
            ("sport+", false),
            ("sport/+tennis", false),
            ("++", false),
            ("##", false),
            ("+#", false),
            ("", false),
            ("a\0b", false),
        ];
        for (filter, expected) in table {
            assert_eq!(is_valid_filter(filter), expected, "{filter:?}");
        }
    }

    #[test]
    fn shared_filters_have_a_name_without_wildcards() {
        // MQTT 5 §4.8.2 [MQTT-4.8.2-1, -2]
        let table = [
            ("$share/group/a/+", Some("group"), "a/+"),
            ("$share/group//a", Some("group"), "/a"),
            ("$share", None, "$share"),
            ("$shared/a/b", None, "$shared/a/b"),
        ];
        for (filter, name, rest) in table {
            assert!(is_valid_filter(filter), "{filter}");
            assert_eq!(split_share(filter), (name, rest));
        }
        for wrong in ["$share/group", "$share//a", "$share/g/", "$share/+/a", "$share/g#/a"] {
            assert!(!is_valid_filter(wrong), "{wrong}");
        }
    }

    #[test]
    fn topics_are_valid_without_wildcards_and_nul() {
        let table = [
            ("a", true),
            ("/", true),
            ("$SYS/x", true),
            ("Accounts payable", true),
            ("a/#", false),
            ("a/+/b", false),
            ("a+", false),
            ("", false),
            ("a\0", false),
        ];
        for (topic, expected) in table {
            assert_eq!(is_valid_topic(topic), expected, "{topic:?}");
        }
    }
}
