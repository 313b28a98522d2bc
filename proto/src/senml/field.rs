//! The fields that RFC 8428 defines, and their labels.

/// A field of §4.3, in the order of Table 4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Field {
    BaseVersion,
    BaseName,
    BaseTime,
    BaseUnit,
    BaseValue,
    BaseSum,
    Name,
    Unit,
    Value,
    StringValue,
    BooleanValue,
    Sum,
    Time,
    UpdateTime,
    DataValue,
}

impl Field {
    const ALL: [Self; 15] = [
        Self::BaseVersion,
        Self::BaseName,
        Self::BaseTime,
        Self::BaseUnit,
        Self::BaseValue,
        Self::BaseSum,
        Self::Name,
        Self::Unit,
        Self::Value,
        Self::StringValue,
        Self::BooleanValue,
        Self::Sum,
        Self::Time,
        Self::UpdateTime,
        Self::DataValue,
    ];

    /// The field with this label in JSON (§5, Table 2).
    pub(super) fn from_text(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.text() == label)
    }

    /// The field with this label in CBOR (§6, Table 4).
    pub(super) fn from_integer(label: i128) -> Option<Self> {
        Self::ALL.into_iter().find(|field| i128::from(field.integer()) == label)
    }

    /// Whether it holds for later records too: those have a negative label (§6).
    pub(super) const fn is_base(self) -> bool {
        self.integer() < 0
    }

    /// The label in JSON (§5, Table 2).
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::BaseVersion => "bver",
            Self::BaseName => "bn",
            Self::BaseTime => "bt",
            Self::BaseUnit => "bu",
            Self::BaseValue => "bv",
            Self::BaseSum => "bs",
            Self::Name => "n",
            Self::Unit => "u",
            Self::Value => "v",
            Self::StringValue => "vs",
            Self::BooleanValue => "vb",
            Self::Sum => "s",
            Self::Time => "t",
            Self::UpdateTime => "ut",
            Self::DataValue => "vd",
        }
    }

    /// The label in CBOR (§6, Table 4).
    pub(super) const fn integer(self) -> i8 {
        match self {
            Self::BaseVersion => -1,
            Self::BaseName => -2,
            Self::BaseTime => -3,
            Self::BaseUnit => -4,
            Self::BaseValue => -5,
            Self::BaseSum => -6,
            Self::Name => 0,
            Self::Unit => 1,
            Self::Value => 2,
            Self::StringValue => 3,
            Self::BooleanValue => 4,
            Self::Sum => 5,
            Self::Time => 6,
            Self::UpdateTime => 7,
            Self::DataValue => 8,
        }
    }
}
