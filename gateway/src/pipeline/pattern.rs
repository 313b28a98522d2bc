//! Name patterns with `*` and `?`.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A pattern for names: `*` stands for any characters, `?` for any one, the rest for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern(String);

impl Pattern {
    /// Whether the whole of `name` fits.
    pub(crate) fn matches(&self, name: &str) -> bool {
        self.0 == "*" || glob(self.0.as_bytes(), name)
    }
}

/// Greedy with one point of return: the last `*`. Linear in practice, pattern × name at worst.
fn glob(pattern: &[u8], name: &str) -> bool {
    let pattern = std::str::from_utf8(pattern).unwrap_or_default();
    let (mut p, mut n) = (pattern.chars(), name.chars());
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let rest = (p.clone(), n.clone());
        match (p.next(), n.next()) {
            (None, None) => return true,
            (Some('*'), _) => {
                n = rest.1;
                retry = Some((p.clone(), n.clone()));
            }
            (Some(want), Some(have)) if want == '?' || want == have => {}
            _ => {
                let Some((after_star, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                p = after_star.clone();
                n = from.clone();
            }
        }
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Self("*".to_owned())
    }
}

impl FromStr for Pattern {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Pattern;

    #[test]
    fn a_pattern_fits_the_whole_name() {
        let table = [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("th-*", "th-0001", true),
            ("th-*", "xth-1", false),
            ("*-?", "a-b-c", true),
            ("*-?", "a-b-cd", false),
            ("?", "ü", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-b-b-d", false),
            ("**", "x", true),
        ];
        for (pattern, name, fits) in table {
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(name), fits, "{pattern} {name}");
        }
    }
}
