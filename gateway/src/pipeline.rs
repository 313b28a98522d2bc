//! From a reading to what a broker gets.
//!
//! [`Routes`] is pure, so that it can be asked again at any time: when a reading arrives (does any
//! route take it?) and when it is published (what, for this broker?). Only the reading is stored,
//! so the configuration in force at the time of publishing decides, and a corrected topic applies
//! to what still waits. [`Inlet`] and [`Intake`] are the way from the sources to the store.

mod device_clock;
mod encode;
mod intake;
mod pattern;
mod routes;
mod topic;
mod topic_filter;
mod transform;

pub(crate) use device_clock::DeviceClock;
pub(crate) use encode::{export_line, rfc3339_text, value_object};
pub(crate) use intake::{Busy, Inlet, Intake, IntakeStatus, Receipt, SteppedIntake};
pub(crate) use pattern::Pattern;
pub(crate) use routes::{
    Explained, Gathered, NotSent, Publish, PublishProperties, Recipient, Routes, Share,
    UserProperties, Verdict,
};
pub(crate) use topic::{MAX_TOPIC, TopicTemplate, decode_level, is_mqtt_text, push_level};
pub(crate) use topic_filter::TopicFilter;
pub(crate) use transform::{Condition, Conversion, LeftOut, Memory, Windows, known_units};
