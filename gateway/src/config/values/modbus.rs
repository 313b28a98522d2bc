//! Units of a bus.

use std::fmt;
use std::str::FromStr;

use super::code::canonical;
use super::text_value;

/// The address of a unit on its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnitAddress(u8);

/// Why a text is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the address of a unit: 0 to 255, on a serial line 1 to 247")]
pub(crate) struct NoUnit;

impl UnitAddress {
    /// The address.
    pub(crate) const fn get(self) -> u8 {
        self.0
    }
}

impl FromStr for UnitAddress {
    type Err = NoUnit;

    fn from_str(text: &str) -> Result<Self, NoUnit> {
        canonical(text).map(Self).ok_or(NoUnit)
    }
}

impl fmt::Display for UnitAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

text_value!(UnitAddress, "unit", "expected the address of a unit", {
    "pattern": "^(0|[1-9][0-9]{0,2})$",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_name() {
        assert_eq!("7".parse(), Ok(UnitAddress(7)));
        for text in ["07", "+7", "256", "-1", "", "a"] {
            assert_eq!(text.parse::<UnitAddress>(), Err(NoUnit), "{text}");
        }
    }
}
