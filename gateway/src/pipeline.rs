//! From a reading to what a broker gets: pure, so that it can be asked again at any time.

mod pattern;
mod topic;

pub(crate) use pattern::Pattern;
pub(crate) use topic::{TopicError, TopicTemplate};
