//! A reading before its device and time are settled.

use proto::binary::FieldError;
use proto::{Reading, TimeQuality, Timestamp, Value};

/// The longest name of a device or a reading, in bytes.
const MAX_NAME: usize = 256;
/// Most readings of one frame.
pub(crate) const MAX_READINGS: usize = 1024;

/// What a decoder found; what it did not find is filled in by the source.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Draft {
    pub(crate) device: Option<String>,
    pub(crate) name: String,
    pub(crate) unit: Option<String>,
    pub(crate) value: Value,
    /// By the device's clock.
    pub(crate) time: Option<Timestamp>,
    /// Whether the device said only how long ago that was: then it is by the gateway's clock.
    pub(crate) is_relative: bool,
    pub(crate) epoch: Option<u32>,
    pub(crate) sequence: Option<u64>,
}

/// Why a frame is no reading.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("not UTF-8 text")]
    NotText,
    #[error("not {expected}: {problem}")]
    Syntax { expected: &'static str, problem: String },
    #[error("`{field}` is missing")]
    Missing { field: String },
    #[error("`{field}` is {found}, expected {expected}")]
    Field { field: String, found: String, expected: &'static str },
    #[error("{found} columns, expected {expected}")]
    Columns { found: usize, expected: usize },
    #[error("`{field}` is {problem}")]
    Place { field: String, problem: FieldError },
    #[error("none of `decode.messages` fits it")]
    Message,
    #[error("none of `decode.items.kinds` fits what begins at byte {at}")]
    Item { at: usize },
    #[error("it ends within the item that begins at byte {at}")]
    ItemEnd { at: usize },
    #[error("nothing in it is a reading")]
    Empty,
    #[error("nothing in it is a reading: expected {expected}")]
    NoMember { expected: String },
    #[error("not a pack of readings; a value alone goes to /r/DEVICE/NAME")]
    Alone,
    #[error("the checksum in it is {found:x}, that of its bytes {expected:x}")]
    Check { found: u32, expected: u32 },
    #[error("the {what} `{name}` is not known")]
    Unsupported { what: &'static str, name: String },
    #[error("{what} holds no reading, which is as it should be")]
    Routine { what: String },
    #[error("more than {MAX_READINGS} readings in one frame")]
    TooMany,
    #[error("the {what} {name:?} is empty, longer than {MAX_NAME} bytes or has control characters")]
    Name { what: &'static str, name: String },
}

impl DecodeError {
    /// Whether a device sends such frames besides readings, so that nothing is wrong.
    pub(crate) const fn is_routine(&self) -> bool {
        matches!(self, Self::Routine { .. })
    }

    /// A short name to count by.
    pub(crate) const fn reason(&self) -> &'static str {
        match self {
            Self::NotText => "not_text",
            Self::Syntax { .. } | Self::Alone => "syntax",
            Self::Missing { .. } => "missing",
            Self::Field { .. } => "field",
            Self::Columns { .. } => "columns",
            Self::Place { problem, .. } => match problem {
                FieldError::Short { .. } => "short",
                FieldError::NotText => "not_text",
                FieldError::Digits(_) | FieldError::TooLarge => "field",
            },
            Self::Message => "unknown_message",
            Self::Item { .. } => "unknown_item",
            Self::ItemEnd { .. } => "short",
            Self::Empty | Self::NoMember { .. } => "empty",
            Self::Check { .. } => "bad_check",
            Self::Unsupported { .. } => "unsupported",
            Self::Routine { .. } => "routine",
            Self::TooMany => "too_many",
            Self::Name { .. } => "name",
        }
    }
}

impl Draft {
    /// A draft with a name and a value.
    pub(crate) fn new(name: impl Into<String>, value: Value) -> Self {
        let name = name.into();
        Self {
            device: None,
            name,
            unit: None,
            value,
            time: None,
            is_relative: false,
            epoch: None,
            sequence: None,
        }
    }

    /// The reading: `device` if it did not name itself, `now` if it had no clock.
    fn complete(
        self,
        device: impl FnOnce() -> String,
        now: Timestamp,
    ) -> Result<Reading, DecodeError> {
        let device = self.device.unwrap_or_else(device);
        check_name("device", &device)?;
        check_name("name", &self.name)?;
        let (time, time_quality) = match self.time {
            Some(time) if self.is_relative => (time, TimeQuality::Gateway),
            Some(time) => (time, TimeQuality::Device),
            // The gateway's own times have milliseconds.
            None => (now.whole_millis(), TimeQuality::Gateway),
        };
        Ok(Reading {
            device,
            name: self.name,
            unit: self.unit,
            value: self.value,
            time,
            time_quality,
            epoch: self.epoch,
            sequence: self.sequence,
        })
    }
}

/// The readings of a frame that arrived `now` from `device`, if it does not name itself.
pub(super) fn complete(
    drafts: Vec<Draft>,
    device: impl Fn() -> String,
    now: Timestamp,
) -> Result<Vec<Reading>, DecodeError> {
    if drafts.is_empty() {
        return Err(DecodeError::Empty);
    }
    if drafts.len() > MAX_READINGS {
        return Err(DecodeError::TooMany);
    }
    drafts.into_iter().map(|draft| draft.complete(&device, now)).collect()
}

fn check_name(what: &'static str, name: &str) -> Result<(), DecodeError> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        let name = name.chars().take(40).collect();
        return Err(DecodeError::Name { what, name });
    }
    Ok(())
}

/// What identifies a frame, as text in it says.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Identity {
    pub(super) device: Option<String>,
    pub(super) time: Option<Timestamp>,
    pub(super) epoch: Option<u32>,
    pub(super) sequence: Option<u64>,
}

impl Identity {
    /// The draft of one value of the frame.
    pub(super) fn draft(&self, name: &str, value: Value) -> Draft {
        Draft {
            device: self.device.clone(),
            time: self.time,
            epoch: self.epoch,
            sequence: self.sequence,
            ..Draft::new(name, value)
        }
    }
}

/// Text of a field as a whole number.
pub(super) fn whole<T: std::str::FromStr>(field: &str, text: &str) -> Result<T, DecodeError> {
    text.parse().map_err(|_| field_error(field, text, "a whole number in its range"))
}

/// A field whose text is not what it must be.
pub(super) fn field_error(field: &str, found: &str, expected: &'static str) -> DecodeError {
    let found = format!("`{}`", found.chars().take(40).collect::<String>());
    DecodeError::Field { field: field.to_owned(), found, expected }
}
