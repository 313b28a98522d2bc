//! "Did you mean": the name that is nearest to a misspelt one.

/// The nearest of `names`, where one is near enough to be meant, and nearer than all others.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = wanted.chars().count();
    let most = (length / 3).max(1).min(length.saturating_sub(1));
    let distances = names.into_iter().map(|name| (strsim::damerau_levenshtein(wanted, name), name));
    let mut near: Vec<_> =
        distances.filter(|(far, name)| *far <= most || continues(wanted, name)).collect();
    near.sort_unstable();
    match near.as_slice() {
        [(nearest, _), (next, _), ..] if nearest == next => None,
        [(_, name), ..] => Some(*name),
        [] => None,
    }
}

/// The nearest of `names` as the end of a message; empty if none is near.
pub(crate) fn did_you_mean<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(wanted, names).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Whether one is the start of the other and not too short to say anything: `pass`, `password`.
fn continues(wanted: &str, name: &str) -> bool {
    wanted.len() >= 3 && name.len() >= 3 && (name.starts_with(wanted) || wanted.starts_with(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_name_is_suggested_and_a_far_one_is_not() {
        let names = ["url", "username", "password", "window"];
        assert_eq!(nearest("usrname", names), Some("username"));
        assert_eq!(nearest("ulr", names), Some("url"));
        assert_eq!(nearest("pass", names), Some("password"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("senml", ["senml+json", "senml+cbor"]), None);
    }
}
