//! Numbers that are keys of tables: units of a bus, and codes that have a meaning.

use std::fmt;
use std::str::FromStr;

use super::text_value;

/// The address of a unit on its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnitAddress(u8);

/// A value of a register that has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Code(i64);

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of a unit: 0 to 255, on a serial line 1 to 247")]
pub(crate) struct NoUnit;

/// Why a text is no code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected an integer, such as 0 or -1")]
pub(crate) struct NoCode;

impl UnitAddress {
    /// The address.
    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}

impl Code {
    /// The value.
    pub(crate) const fn get(self) -> i64 {
        self.0
    }
}

impl FromStr for UnitAddress {
    type Err = NoUnit;

    fn from_str(text: &str) -> Result<Self, NoUnit> {
        canonical(text).map(Self).ok_or(NoUnit)
    }
}

impl FromStr for Code {
    type Err = NoCode;

    fn from_str(text: &str) -> Result<Self, NoCode> {
        canonical(text).map(Self).ok_or(NoCode)
    }
}

/// A number that is written in the one way in which it is shown: `01` would be a second name of `1`.
fn canonical<T: FromStr + ToString>(text: &str) -> Option<T> {
    text.parse().ok().filter(|number: &T| number.to_string() == text)
}

impl fmt::Display for UnitAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(UnitAddress, "unit", "expected the address of a unit", {
    "pattern": "^(0|[1-9][0-9]{0,2})$",
});
text_value!(Code, "code", "expected an integer", { "pattern": "^(0|-?[1-9][0-9]*)$" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
        assert_eq!("7".parse(), Ok(UnitAddress(7)));
        assert_eq!("-1".parse(), Ok(Code(-1)));
        for text in ["07", "+7", "256", "-1", "", "a"] {
            assert_eq!(text.parse::<UnitAddress>(), Err(NoUnit), "{text}");
        }
        for text in ["00", "-0", "+1", "", "1.0"] {
            assert_eq!(text.parse::<Code>(), Err(NoCode), "{text}");
        }
    }
}
